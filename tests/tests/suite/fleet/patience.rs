//! Waiting for a condition, with a bound, and never for a time alone.

use std::time::{Duration, Instant};

/// Nothing a test waits for takes this long, on a machine that also builds something else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How often a condition is looked at.
const PACE: Duration = Duration::from_millis(10);

/// Waits until `look` finds something.
pub(crate) fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, look)
}

/// Waits until `look` finds something, for so long at most.
pub(crate) fn within<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
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
