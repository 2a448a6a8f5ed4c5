//! When runs are planned: the slots of a schedule, and what becomes of those that are due.
//!
//! A slot is a point of planned wall-clock time. All functions are pure and cost the same
//! after a clock jump of ten years as after one of a minute (`MAX_LISTED`, `HORIZON`).

mod calendar;

use std::time::Duration;

use sha2::Digest;

use crate::clock::Wall;
use crate::name::AgentName;
use crate::spec::{CatchUp, Schedule, Timing};
use calendar::Calendar;

/// The most slots that are named one by one; older ones are only counted. A thousand slots is
/// most of a day of minutes, and few enough to write down in one transaction.
pub const MAX_LISTED: usize = 1000;

/// How far back slots are looked for at all. Nobody's schedule reaches further, a broken clock does.
const HORIZON: jiff::SignedDuration = jiff::SignedDuration::from_hours(24 * 366 * 50);

/// How far the clock may go back and still be believed to come forward again soon. Within it
/// slots that were settled stay settled; beyond it the earlier time is taken for the mistake.
/// Three hours is Debian cron's limit, and more than any change of daylight saving.
const BELIEVED_STEP_BACK: jiff::SignedDuration = jiff::SignedDuration::from_hours(3);

/// The first planned slot strictly after `after`; `None` when there is none in the range of time.
///
/// `every` has its slots at whole multiples after `anchor` (none at `anchor` itself); the other
/// timings do not look at it.
#[must_use]
pub fn next_after(schedule: &Schedule, anchor: Wall, after: Wall) -> Option<Wall> {
    match &schedule.timing {
        Timing::Every(span) => Multiples::new(anchor, *span)?.next_after(after),
        Timing::Cron { expression, zone } => Calendar::cron(expression, zone).next_after(after),
        Timing::Daily { at, zone } => Calendar::daily(*at, zone).next_after(after),
    }
}

/// How much later than planned the slot starts: 0 to `jitter`, and the same whenever asked.
#[must_use]
pub fn jitter_of(schedule: &Schedule, agent: &AgentName, slot: Wall) -> Duration {
    let most = u64::try_from(schedule.jitter.as_millis()).unwrap_or(u64::MAX);
    if most == 0 {
        return Duration::ZERO;
    }
    let digest = sha2::Sha256::new()
        .chain_update(agent.as_str())
        .chain_update([0])
        .chain_update(slot.as_nanosecond().to_be_bytes())
        .finalize();
    let random = digest
        .iter()
        .take(8)
        .fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    Duration::from_millis(random % most.saturating_add(1))
}

/// The slot after which to look for due ones, when `last_settled` was settled and it is `now`.
///
/// Normally that is `last_settled`, also when the clock went back a little: a slot never runs
/// twice. When the clock went back further than any honest change does, the time before was
/// wrong, and slots are planned from `now` on instead of not at all until that time comes.
#[must_use]
pub fn resume_from(last_settled: Wall, now: Wall) -> Wall {
    if last_settled.duration_since(now) > BELIEVED_STEP_BACK {
        now
    } else {
        last_settled
    }
}

/// Whether somebody was there when the slots fell due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Downtime {
    /// Nobody (the supervisor was down, suspended or far too late): `catch_up` decides.
    Down,
    /// They are due just now. The latest runs; `catch_up` decides about older ones.
    Up,
}

/// What becomes of the slots that are due. Every slot in between stands in exactly one place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Due {
    /// To be run, oldest first.
    pub run: Vec<Wall>,
    /// Not made up for, oldest first.
    pub missed: Vec<Wall>,
    /// Older than all listed ones and missed: so many that they are only counted.
    pub truncated: u64,
}

impl Due {
    /// The latest of the slots, to be remembered as settled; `None` when nothing was due.
    #[must_use]
    pub fn latest(&self) -> Option<Wall> {
        self.run.last().max(self.missed.last()).copied()
    }
}

/// The slots after `last_settled` up to and including `now`, and what becomes of them.
///
/// A slot later than `max_lateness` (and the jitter) is missed whatever `catch_up` says.
#[must_use]
pub fn due(
    schedule: &Schedule,
    anchor: Wall,
    last_settled: Wall,
    now: Wall,
    downtime: Downtime,
) -> Due {
    let floor = now.checked_sub(HORIZON).unwrap_or(Wall::MIN);
    let (slots, truncated) = listed(schedule, anchor, last_settled.max(floor), now);
    let candidates = match (schedule.catch_up, downtime) {
        (CatchUp::None, Downtime::Down) => 0,
        (CatchUp::None, Downtime::Up) | (CatchUp::One, Downtime::Down | Downtime::Up) => 1,
        (CatchUp::All, Downtime::Down | Downtime::Up) => slots.len(),
    };
    let first_candidate = slots.len().saturating_sub(candidates);
    let earliest = earliest_in_time(schedule, now);
    let first_run = first_candidate.max(slots.partition_point(|slot| *slot < earliest));
    let mut missed = slots;
    let run = missed.split_off(first_run);
    Due {
        run,
        missed,
        truncated,
    }
}

/// How many slots have fallen due since `last_settled`; of `every`, counted from there.
#[must_use]
pub fn passed(schedule: &Schedule, last_settled: Wall, now: Wall) -> u64 {
    let floor = now.checked_sub(HORIZON).unwrap_or(Wall::MIN);
    count(schedule, last_settled, last_settled.max(floor), now)
}

fn earliest_in_time(schedule: &Schedule, now: Wall) -> Wall {
    schedule
        .max_lateness
        .map(|lateness| lateness.saturating_add(schedule.jitter))
        .map_or(Wall::MIN, |lateness| {
            now.checked_sub(lateness).unwrap_or(Wall::MIN)
        })
}

/// The newest slots in `(after, upto]`, at most [`MAX_LISTED`], and how many older ones there are.
fn listed(schedule: &Schedule, anchor: Wall, after: Wall, upto: Wall) -> (Vec<Wall>, u64) {
    let total = count(schedule, anchor, after, upto);
    let limit = MAX_LISTED as u64;
    let start = if total <= limit {
        after
    } else {
        newest_start(after, upto, |from| {
            count(schedule, anchor, from, upto) <= limit
        })
    };
    let slots: Vec<Wall> = std::iter::successors(next_after(schedule, anchor, start), |slot| {
        next_after(schedule, anchor, *slot)
    })
    .take_while(|slot| *slot <= upto)
    .take(MAX_LISTED)
    .collect();
    let truncated = total.saturating_sub(slots.len() as u64);
    (slots, truncated)
}

/// The earliest millisecond in `(after, upto]` from which on `few_enough` holds: doubles the
/// distance from `upto` until there are too many, then bisects.
fn newest_start(after: Wall, upto: Wall, few_enough: impl Fn(Wall) -> bool) -> Wall {
    let holds = |at: i64| Wall::from_millisecond(at).is_ok_and(&few_enough);
    let (oldest, mut few) = (after.as_millisecond(), upto.as_millisecond());
    let mut distance = 1;
    while few - distance > oldest && holds(few - distance) {
        few -= distance;
        distance *= 2;
    }
    let mut many = (few - distance).max(oldest);
    while few - many > 1 {
        let middle = many + (few - many) / 2;
        if holds(middle) {
            few = middle;
        } else {
            many = middle;
        }
    }
    Wall::from_millisecond(few).unwrap_or(upto)
}

/// How many slots lie in `(after, upto]`.
fn count(schedule: &Schedule, anchor: Wall, after: Wall, upto: Wall) -> u64 {
    if upto <= after {
        return 0;
    }
    match &schedule.timing {
        Timing::Every(span) => {
            Multiples::new(anchor, *span).map_or(0, |multiples| multiples.count(after, upto))
        }
        Timing::Cron { expression, zone } => Calendar::cron(expression, zone).count(after, upto),
        Timing::Daily { at, zone } => Calendar::daily(*at, zone).count(after, upto),
    }
}

/// The slots of `every`: whole multiples of a span after an anchor, in nanoseconds.
struct Multiples {
    anchor: i128,
    span: i128,
}

impl Multiples {
    /// `None` for a span of zero, which has no slots.
    fn new(anchor: Wall, span: Duration) -> Option<Self> {
        let span = i128::try_from(span.as_nanos()).ok()?;
        (span > 0).then_some(Self {
            anchor: anchor.as_nanosecond(),
            span,
        })
    }

    /// How many slots there are up to and including `upto`.
    fn number(&self, upto: Wall) -> i128 {
        (upto.as_nanosecond() - self.anchor)
            .div_euclid(self.span)
            .max(0)
    }

    fn next_after(&self, after: Wall) -> Option<Wall> {
        let ahead = self.span.checked_mul(self.number(after) + 1)?;
        Wall::from_nanosecond(self.anchor.checked_add(ahead)?).ok()
    }

    fn count(&self, after: Wall, upto: Wall) -> u64 {
        u64::try_from(self.number(upto) - self.number(after)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
