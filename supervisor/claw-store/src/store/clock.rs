//! Time as an argument: the store never reads a clock but the one it was given.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A moment, in milliseconds since 1970.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UnixMs(pub i64);

impl UnixMs {
    /// Later than any moment that comes.
    pub const NEVER: Self = Self(i64::MAX);

    /// This much later.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        let span = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(span))
    }

    /// This much earlier.
    #[must_use]
    pub fn before(self, span: Duration) -> Self {
        let span = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(span))
    }

    /// How long after another moment this one is; nothing, if it is earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        let span = self.0.saturating_sub(earlier.0);
        Duration::from_millis(u64::try_from(span).unwrap_or(0))
    }
}

impl fmt::Display for UnixMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(at) => at.fmt(f),
            Err(_out_of_range) => write!(f, "{} ms", self.0),
        }
    }
}

/// Tells the time.
pub trait Clock: Send + Sync {
    /// The time now; it never goes back.
    fn now(&self) -> UnixMs;

    /// Asks to be called after the time has jumped. A clock that only runs never calls.
    fn on_jump(&self, wake: Box<dyn Fn() + Send + Sync>) {
        drop(wake);
    }
}

/// The clock of the machine. When it is set back, time stands still until it has caught up.
#[derive(Debug, Default)]
pub struct SystemClock {
    latest: AtomicI64,
}

impl Clock for SystemClock {
    fn now(&self) -> UnixMs {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let read = since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(0));
        let latest = self.latest.fetch_max(read, SeqCst);
        UnixMs(latest.max(read))
    }
}

/// A clock that is moved by hand. Clones share it.
#[derive(Clone)]
pub struct ManualClock {
    inner: Arc<Manual>,
}

struct Manual {
    now: AtomicI64,
    wakes: Mutex<Vec<Box<dyn Fn() + Send + Sync>>>,
}

impl ManualClock {
    /// Stands at the given moment.
    #[must_use]
    pub fn new(now: UnixMs) -> Self {
        Self {
            inner: Arc::new(Manual {
                now: AtomicI64::new(now.0),
                wakes: Mutex::default(),
            }),
        }
    }

    /// Moves on, and tells who asked to be told.
    pub fn advance(&self, span: Duration) {
        let span = i64::try_from(span.as_millis()).unwrap_or(0);
        self.inner.now.fetch_add(span, SeqCst);
        let wakes = self.inner.wakes.lock();
        for wake in wakes.unwrap_or_else(PoisonError::into_inner).iter() {
            wake();
        }
    }
}

impl Clock for ManualClock {
    fn now(&self) -> UnixMs {
        UnixMs(self.inner.now.load(SeqCst))
    }

    fn on_jump(&self, wake: Box<dyn Fn() + Send + Sync>) {
        let wakes = self.inner.wakes.lock();
        wakes.unwrap_or_else(PoisonError::into_inner).push(wake);
    }
}
