//! Time as an argument.

use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Wall-clock time, for cron slots, records and people; never for intervals.
pub type Wall = jiff::Timestamp;

/// A point on the monotonic clock, as time since an origin that the host chooses.
///
/// It has no meaning outside one life of the supervisor; what must outlive it
/// is stored as [`Wall`].
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Mono(Duration);

impl Mono {
    /// The point `since_origin` after the origin.
    #[must_use]
    pub const fn new(since_origin: Duration) -> Self {
        Self(since_origin)
    }

    /// The time since the origin.
    #[must_use]
    pub const fn since_origin(self) -> Duration {
        self.0
    }

    /// The time from `earlier` to this point, zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Mono {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span))
    }
}

impl Sub<Duration> for Mono {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(span))
    }
}

/// A time in which the supervisor itself did nothing: stopped, swapped out, or the machine slept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gap {
    /// It lasted this long at least: so late came the step.
    pub(crate) late: Duration,
    /// And this long at most: so long ago was the step before.
    pub(crate) away: Duration,
}

/// The two clocks, read together by the host when an event is taken from the inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// For intervals, deadlines and backoff.
    pub mono: Mono,
    /// For schedules and records.
    pub wall: Wall,
}

impl Now {
    /// The wall time at which the monotonic point `at` is or was reached, judged from now.
    #[must_use]
    pub fn wall_at(&self, at: Mono) -> Wall {
        let ahead = at.since(self.mono);
        let behind = self.mono.since(at);
        let shifted = if ahead > Duration::ZERO {
            self.wall.checked_add(ahead)
        } else {
            self.wall.checked_sub(behind)
        };
        shifted.unwrap_or(if ahead > Duration::ZERO {
            Wall::MAX
        } else {
            Wall::MIN
        })
    }

    /// The monotonic point at which the wall clock will show `at`; now if that is past.
    #[must_use]
    pub fn mono_at(&self, at: Wall) -> Mono {
        let ahead = Duration::try_from(at.duration_since(self.wall)).unwrap_or(Duration::ZERO);
        self.mono + ahead
    }
}
