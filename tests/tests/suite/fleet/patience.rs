//! Waiting for a condition, with a bound, and never for a time alone.

use std::time::{Duration, Instant};

/// Nothing a test waits for takes this long, on a machine that also builds something else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How often a condition is looked at.
const PACE: Duration = Duration::from_millis(10);

/// The longest time between two looks that counts as waited. A machine that stops the tests for
/// minutes stops what they wait for too, so the rest of such a time is nobody's delay.
const LONGEST_LOOK: Duration = Duration::from_secs(5);

/// How long something has been waited for, as the one who waits has lived through it.
pub(crate) struct Waited {
    total: Duration,
    last: Instant,
}

impl Waited {
    /// The wait begins.
    pub(crate) fn start() -> Self {
        Self {
            total: Duration::ZERO,
            last: Instant::now(),
        }
    }

    /// What was waited for so far; to be asked at every look.
    pub(crate) fn total(&mut self) -> Duration {
        self.total_at(Instant::now())
    }

    fn total_at(&mut self, now: Instant) -> Duration {
        self.total += now.duration_since(self.last).min(LONGEST_LOOK);
        self.last = now;
        self.total
    }
}

/// Waits until `look` finds something.
pub(crate) fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, look)
}

/// Waits until `look` finds something, for so long at most.
pub(crate) fn within<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let mut waited = Waited::start();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(waited.total() < limit, "not within {limit:?}: {what}");
        pause(PACE);
    }
}

/// Checks that something stays true for a while.
pub(crate) fn holds_for(span: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + span;
    while Instant::now() < end {
        assert!(holds(), "did not stay true: {what}");
        pause(PACE);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the pace at which conditions of other processes are looked at"
)]
fn pause(span: Duration) {
    std::thread::sleep(span);
}

#[test]
fn the_time_in_which_a_test_was_stopped_is_not_counted_as_waited() {
    let mut waited = Waited::start();
    let begun = waited.last;
    let after = |seconds| begun + Duration::from_secs(seconds);
    assert_eq!(waited.total_at(after(2)), Duration::from_secs(2));
    assert_eq!(waited.total_at(after(600)), Duration::from_secs(7));
    assert_eq!(waited.total_at(after(601)), Duration::from_secs(8));
}
