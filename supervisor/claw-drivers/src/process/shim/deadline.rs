//! When a tree is killed, and waiting until then.

use std::time::{Duration, Instant};

use rustix::event::Timespec;

/// What outlives a main process that ended by itself gets this long to end by itself, too.
const LEFTOVER_GRACE: Duration = Duration::from_secs(1);

/// A tree that was killed is killed again after this long, then twice as long, if something of it
/// is still there: it forked in the wrong moment, or sleeps in the kernel.
const FIRST_STEP: Duration = Duration::from_millis(10);

/// The longest such wait.
const LAST_STEP: Duration = Duration::from_secs(1);

/// When the whole tree is killed.
#[derive(Debug)]
pub(super) struct KillTimer {
    at: Option<Instant>,
    step: Duration,
    /// Until when a stop that is under way leaves the tree alone.
    grace_until: Option<Instant>,
}

/// Whether something is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    Now,
    NotYet,
}

impl KillTimer {
    /// Nothing is to be killed.
    pub(super) const fn new() -> Self {
        Self {
            at: None,
            step: FIRST_STEP,
            grace_until: None,
        }
    }

    /// A stop began: what outlives the main process has the rest of this grace. Only the first
    /// stop counts, so that repeating it prolongs nothing.
    pub(super) fn stop_began(&mut self, now: Instant, grace: Duration) {
        self.grace_until.get_or_insert(now + grace);
    }

    /// The main process is gone and others are not.
    pub(super) fn main_exited(&mut self, now: Instant) {
        let grace = self.grace_until.unwrap_or(now + LEFTOVER_GRACE);
        self.at.get_or_insert(grace);
    }

    /// The tree is to be killed now.
    pub(super) const fn kill(&mut self, now: Instant) {
        self.at = Some(now);
    }

    /// The tree is to be killed now, if it is not being killed already.
    pub(super) fn begin(&mut self, now: Instant) {
        self.at.get_or_insert(now);
    }

    /// When it is next due.
    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.at
    }

    /// Whether to kill; if so, the next time is set.
    pub(super) fn take(&mut self, now: Instant) -> Due {
        if self.at.is_none_or(|at| at > now) {
            return Due::NotYet;
        }
        self.at = Some(now + self.step);
        self.step = (self.step * 2).min(LAST_STEP);
        Due::Now
    }
}

/// The time until then, for `poll`.
pub(super) fn until(at: Instant) -> Timespec {
    let span = at.saturating_duration_since(Instant::now());
    Timespec::try_from(span).unwrap_or(Timespec {
        tv_sec: 1,
        tv_nsec: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_has_a_second_or_the_rest_of_the_grace() {
        let now = Instant::now();
        let mut by_itself = KillTimer::new();
        by_itself.main_exited(now);
        assert_eq!(by_itself.deadline(), Some(now + Duration::from_secs(1)));
        let mut stopped = KillTimer::new();
        stopped.stop_began(now, Duration::from_secs(30));
        stopped.stop_began(now + Duration::from_secs(9), Duration::from_secs(30));
        stopped.main_exited(now + Duration::from_secs(10));
        assert_eq!(stopped.deadline(), Some(now + Duration::from_secs(30)));
    }

    #[test]
    fn a_tree_that_stays_is_killed_again_at_growing_distance() {
        let mut now = Instant::now();
        let mut timer = KillTimer::new();
        timer.kill(now);
        let mut steps = Vec::new();
        for _ in 0..9 {
            assert_eq!(timer.take(now), Due::Now);
            assert_eq!(timer.take(now), Due::NotYet);
            let next = timer.deadline().expect("it is set again");
            steps.push((next - now).as_millis());
            now = next;
        }
        assert_eq!(steps, [10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
    }
}
