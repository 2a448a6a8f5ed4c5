//! Changes of the clock, and which slots of a schedule they touch.

use std::time::Duration;

use claw_core::Wall;
use claw_core::action::SlotFate;
use claw_core::slots::next_after;
use claw_core::spec::schedule::ClockChanges;
use claw_core::spec::{Schedule, Timing};
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

use crate::report::{self, Effect, MAX_LISTED};

const SECOND: Duration = Duration::from_secs(1);

/// A change of the clock in the zone of a schedule, and what was due around it so far.
#[derive(Debug)]
pub(crate) struct Watched {
    at: Wall,
    zone: TimeZone,
    effect: Effect,
    hour: (DateTime, DateTime),
    named: Vec<DateTime>,
    named_total: u64,
    /// What is due within is noted.
    window: (Wall, Wall),
    due: Vec<(Wall, SlotFate)>,
    due_total: u64,
}

/// The changes in a stretch of time that touch slots of a schedule.
pub(crate) fn of(schedule: &Schedule, from: Wall, until: Wall) -> Vec<Watched> {
    let (Timing::Cron { zone, .. } | Timing::Daily { zone, .. }) = &schedule.timing else {
        return Vec::new();
    };
    let changes = zone.following(from);
    let changes = changes.take_while(|change| change.timestamp() < until);
    changes
        .filter_map(|change| watched(schedule, zone, change.timestamp()))
        .collect()
}

fn watched(schedule: &Schedule, zone: &TimeZone, at: Wall) -> Option<Watched> {
    let before = zone.to_offset(at.checked_sub(SECOND).ok()?);
    let after = zone.to_offset(at);
    let (first, last) = (before.to_datetime(at), after.to_datetime(at));
    let is_fixed = match &schedule.timing {
        Timing::Cron { expression, .. } => expression.clock_changes() == ClockChanges::FixedTimes,
        Timing::Daily { .. } => true,
        Timing::Every(_) => return None,
    };
    let (hour, effect, window) = if first < last {
        let effect = if is_fixed {
            Effect::Moved
        } else {
            Effect::LeftOut
        };
        ((first, last), effect, (at, at.checked_add(SECOND).ok()?))
    } else if last < first {
        let effect = if is_fixed {
            Effect::Once
        } else {
            Effect::Twice
        };
        let hour = first.duration_since(last);
        let window = (at.checked_sub(hour).ok()?, at.checked_add(hour).ok()?);
        ((last, first), effect, window)
    } else {
        // Only the zone's name changed.
        return None;
    };
    let (named, named_total) = named(schedule, before, hour);
    (named_total > 0).then(|| Watched {
        at,
        zone: zone.clone(),
        effect,
        hour,
        named,
        named_total,
        window,
        due: Vec::new(),
        due_total: 0,
    })
}

/// The slots that a schedule names in a stretch of local time, as if no clock were ever changed.
fn named(
    schedule: &Schedule,
    offset: Offset,
    (first, last): (DateTime, DateTime),
) -> (Vec<DateTime>, u64) {
    let mut unchanging = schedule.clone();
    if let Timing::Cron { zone, .. } | Timing::Daily { zone, .. } = &mut unchanging.timing {
        *zone = TimeZone::fixed(offset);
    }
    let (mut named, mut total) = (Vec::new(), 0);
    let begin = offset.to_timestamp(first).ok();
    let mut after = begin.and_then(|begin| begin.checked_sub(SECOND).ok());
    while let Some(slot) = after.and_then(|after| next_after(&unchanging, after, after)) {
        let local = offset.to_datetime(slot);
        if local >= last {
            break;
        }
        total += 1;
        if named.len() < MAX_LISTED {
            named.push(local);
        }
        after = Some(slot);
    }
    (named, total)
}

impl Watched {
    /// A slot has its fate.
    pub(crate) fn note(&mut self, slot: Wall, fate: SlotFate) {
        if slot < self.window.0 || slot >= self.window.1 {
            return;
        }
        self.due_total += 1;
        if self.due.len() < MAX_LISTED {
            self.due.push((slot, fate));
        }
    }

    pub(crate) fn report(&self) -> report::ClockChange {
        let clock = |time: &DateTime| time.strftime("%Y-%m-%d %H:%M").to_string();
        let short = |time: &DateTime| time.strftime("%H:%M:%S").to_string();
        let with_offset = |at: Wall| {
            let zoned = at.to_zoned(self.zone.clone());
            zoned.strftime("%H:%M:%S%:z").to_string()
        };
        // What a rhythm has due after the time that is left out has nothing to do with it.
        let concerns = self.effect != Effect::LeftOut;
        let due = self.due.iter().filter(|_| concerns);
        report::ClockChange {
            at: self.at,
            zone: self.zone.iana_name().unwrap_or("local").to_owned(),
            effect: self.effect,
            hour: [clock(&self.hour.0), clock(&self.hour.1)],
            named: self.named.iter().map(short).collect(),
            named_total: self.named_total,
            due: due
                .map(|(slot, fate)| (with_offset(*slot), *fate))
                .collect(),
            due_total: if concerns { self.due_total } else { 0 },
        }
    }
}
