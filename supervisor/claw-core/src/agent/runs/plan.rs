//! The slots of one schedule: which is next, and which are due.
//!
//! `every` counts on the monotonic clock; a wall clock that is set does not move it. Calendar
//! timings are planned on the wall clock and planned anew when that is set.

use std::time::Duration;

use crate::clock::{Mono, Now, Wall};
use crate::deadline::{Deadline, Why};
use crate::name::AgentName;
use crate::slots::{self, Downtime, Due};
use crate::spec::{Schedule, Timing};

/// A calendar slot that comes to light later than this was due while nobody was there: the wall
/// clock was set forward, or the machine slept.
const FAR_TOO_LATE: jiff::SignedDuration = jiff::SignedDuration::from_secs(60);

/// The least distance of two planned times on record, when the wall clock was set back.
const DISTANCE: Duration = Duration::from_millis(1);

/// The planning of one schedule.
#[derive(Debug)]
pub(super) struct Plan {
    schedule: Schedule,
    /// The origin of `every`.
    anchor: Wall,
    /// The last slot that has its fate.
    settled: Wall,
    next: Option<Next>,
}

#[derive(Debug, Clone, Copy)]
struct Next {
    slot: Wall,
    /// The slot on the monotonic clock.
    base: Mono,
    /// The slot with its jitter.
    at: Mono,
}

impl Plan {
    /// Plans from `settled` on.
    pub(super) fn new(schedule: Schedule, agent: &AgentName, settled: Wall, now: Now) -> Self {
        let mut plan = Self {
            schedule,
            anchor: settled,
            settled,
            next: None,
        };
        plan.look_ahead(agent, settled, now);
        plan
    }

    pub(super) const fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    pub(super) const fn settled(&self) -> Wall {
        self.settled
    }

    pub(super) const fn is_on_wall_clock(&self) -> bool {
        match self.schedule.timing {
            Timing::Every(_) => false,
            Timing::Cron { .. } | Timing::Daily { .. } => true,
        }
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.next.map(|next| (next.at, Why::Slot))
    }

    /// The next slot, for people.
    pub(super) fn next(&self, now: Now) -> Option<Wall> {
        let next = self.next?;
        Some(if self.is_on_wall_clock() {
            next.slot
        } else {
            now.wall_at(next.base)
        })
    }

    /// The wall clock was set.
    pub(super) fn clock_set(&mut self, agent: &AgentName, now: Now) {
        if self.is_on_wall_clock() {
            self.look_ahead(agent, self.settled, now);
        }
    }

    /// The slots that are due, to be settled by the caller, and how it was when they fell due.
    pub(super) fn take_due(
        &mut self,
        agent: &AgentName,
        now: Now,
        downtime: Downtime,
    ) -> Option<(Due, Downtime)> {
        let next = self.next.filter(|next| next.at <= now.mono)?;
        if let (Timing::Every(span), Downtime::Up) = (&self.schedule.timing, downtime) {
            let span = *span;
            let (due, downtime) = self.due_by_count(next, span, now);
            self.settled = due.latest().unwrap_or(next.slot).max(self.settled);
            self.count_on(agent, next, span, now);
            return Some((due, downtime));
        }
        if now.wall < next.slot {
            self.look_ahead(agent, self.settled, now);
            return None;
        }
        let (due, downtime) = self.due_by_wall(next, now, downtime);
        let upto = due.latest().unwrap_or(next.slot).max(self.settled);
        self.look_ahead(agent, upto, now);
        Some((due, downtime))
    }

    /// `every` while somebody is there: as many as spans have passed on the monotonic clock.
    fn due_by_count(&self, next: Next, span: Duration, now: Now) -> (Due, Downtime) {
        let slot = now.wall_at(next.base);
        if spans(now.mono.since(next.base), span) == 0 {
            let earliest = self.settled.checked_add(DISTANCE).unwrap_or(Wall::MAX);
            let due = Due {
                run: vec![slot.max(earliest)],
                ..Due::default()
            };
            return (due, Downtime::Up);
        }
        let anchor = slot.checked_sub(span).unwrap_or(Wall::MIN);
        let mut due = slots::due(&self.schedule, anchor, anchor, now.wall, Downtime::Down);
        due.run.retain(|slot| *slot > self.settled);
        due.missed.retain(|slot| *slot > self.settled);
        (due, Downtime::Down)
    }

    fn due_by_wall(&self, next: Next, now: Now, downtime: Downtime) -> (Due, Downtime) {
        let settled = slots::resume_from(self.settled, now.wall);
        let jitter = self.schedule.jitter;
        let upto = now.wall.checked_sub(jitter).unwrap_or(Wall::MIN);
        let upto = upto.max(next.slot.min(now.wall));
        let late = now.wall.duration_since(next.slot);
        let jitter = jiff::SignedDuration::try_from(jitter).unwrap_or_default();
        let downtime = if late > FAR_TOO_LATE.saturating_add(jitter) {
            Downtime::Down
        } else {
            downtime
        };
        let due = slots::due(&self.schedule, self.anchor, settled, upto, downtime);
        (due, downtime)
    }

    /// The next of `every`, so many spans after the last one.
    fn count_on(&mut self, agent: &AgentName, last: Next, span: Duration, now: Now) {
        let passed = spans(now.mono.since(last.base), span).saturating_add(1);
        let base = last.base + span.saturating_mul(passed);
        let slot = now.wall_at(base);
        let at = base + slots::jitter_of(&self.schedule, agent, slot);
        self.next = Some(Next { slot, base, at });
    }

    fn look_ahead(&mut self, agent: &AgentName, after: Wall, now: Now) {
        let after = slots::resume_from(after, now.wall);
        self.settled = after;
        let slot = slots::next_after(&self.schedule, self.anchor, after);
        self.next = slot.map(|slot| {
            let jitter = slots::jitter_of(&self.schedule, agent, slot);
            let with_jitter = slot.checked_add(jitter).unwrap_or(Wall::MAX);
            Next {
                slot,
                base: now.mono_at(slot),
                at: now.mono_at(with_jitter),
            }
        });
    }
}

/// How many whole spans have passed.
fn spans(passed: Duration, span: Duration) -> u32 {
    let whole = passed.as_nanos().checked_div(span.as_nanos()).unwrap_or(0);
    u32::try_from(whole).unwrap_or(u32::MAX)
}
