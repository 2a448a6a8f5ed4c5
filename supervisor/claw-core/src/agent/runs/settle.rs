//! Due slots get their fate: each exactly one.

use crate::action::SlotFate;
use crate::clock::Wall;
use crate::memory::Hold;
use crate::slots::Downtime;

use super::super::context::Context;
use super::super::dossier::Common;
use super::accept::settle_slot;
use super::{Request, Runs, is_given_up};

impl<W> Runs<W> {
    /// Settles the slots that are due.
    pub(crate) fn settle_due(
        &mut self,
        common: &mut Common,
        cx: &mut Context<'_>,
        downtime: Downtime,
    ) {
        let Some(plan) = &mut self.plan else { return };
        let Some((due, downtime)) = plan.take_due(&common.name, cx.now, downtime) else {
            return;
        };
        let settled = plan.settled();
        for slot in due.missed {
            settle_slot(common, cx, slot, SlotFate::Missed);
        }
        for slot in due.run {
            self.settle(common, cx, slot, downtime);
        }
        common.memory.last_slot = Some(settled);
        if common.memory.armed_since > Some(settled) {
            // Armed later than that was another clock's opinion. Whoever takes over must not share
            // it: to them it would say that the slots in between were never planned.
            common.memory.armed_since = Some(settled);
            common.save_synced(cx);
        } else {
            common.save(cx);
        }
    }

    fn settle(
        &mut self,
        common: &mut Common,
        cx: &mut Context<'_>,
        slot: Wall,
        downtime: Downtime,
    ) {
        let held = common.memory.hold != Hold::None || is_given_up(common);
        let fate = match downtime {
            _ if held => SlotFate::Held,
            _ if self.has_room(common).is_err() => SlotFate::SkippedOverlap,
            Downtime::Up => SlotFate::Ran,
            Downtime::Down => SlotFate::CaughtUp,
        };
        match fate {
            SlotFate::Ran | SlotFate::CaughtUp => {
                self.accept(common, cx, Request::slot(slot, fate));
            }
            SlotFate::SkippedOverlap
            | SlotFate::Missed
            | SlotFate::Interrupted
            | SlotFate::Held => settle_slot(common, cx, slot, fate),
        }
    }
}
