//! What follows from the end of a daemon's life, with the counters brought up to date.

use std::time::Duration;

use crate::clock::Mono;
use crate::death::Cause;
use crate::memory::Latch;
use crate::restart::{Verdict, delay, until_money};
use crate::spec::Mode;

use super::context::Context;
use super::dossier::Common;
use super::end::{End, EndKind};

/// What comes after an ended life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Then {
    Rest,
    Start,
    BackOff { until: Mono, cause: Cause },
}

/// Where an end leads, with the counters brought up to date.
pub(super) fn after(common: &mut Common, cx: &mut Context<'_>, end: &End) -> Then {
    common.memory.next_start = None;
    if common.must_end() {
        return Then::Rest;
    }
    match end.kind {
        EndKind::Clean | EndKind::Unclean | EndKind::NotBegun => return Then::Start,
        EndKind::Unrecorded => {
            // The journal's failure is not the agent's: it delays, and never gives up.
            let nth = common.memory.restarts_in_a_row.saturating_add(1);
            common.memory.restarts_in_a_row = nth;
            let wait = delay(&common.spec.restart, nth, cx.random());
            return back_off(common, cx, wait, end);
        }
        EndKind::Judged => {}
    }
    let random = cx.random();
    let verdict = common.decide(Mode::Daemon, &end.cause, common.counters(), random);
    match verdict {
        Verdict::Restart { delay, counters } => {
            common.set_counters(counters);
            common.memory.restarts_total = common.memory.restarts_total.saturating_add(1);
            let for_money = until_money(&end.cause, cx.now.wall, random);
            back_off(common, cx, delay.max(for_money), end)
        }
        Verdict::GiveUp { failures, .. } => {
            common.memory.failures = failures;
            let cause = end.cause.clone();
            common.memory.latch = Some(Latch::GaveUp { cause, failures });
            Then::Rest
        }
        Verdict::Refuse => {
            let reason = end.cause.to_string();
            common.memory.latch = Some(Latch::Refused { reason });
            Then::Rest
        }
        Verdict::Complete => {
            common.memory.latch = Some(Latch::Completed);
            Then::Rest
        }
        Verdict::Stay { .. } => {
            let cause = end.cause.clone();
            common.memory.latch = Some(Latch::NotRestarted { cause });
            Then::Rest
        }
    }
}

fn back_off(common: &mut Common, cx: &Context<'_>, delay: Duration, end: &End) -> Then {
    if delay.is_zero() {
        return Then::Start;
    }
    let until = cx.after(delay);
    common.memory.next_start = Some(cx.now.wall_at(until));
    Then::BackOff {
        until,
        cause: end.cause.clone(),
    }
}
