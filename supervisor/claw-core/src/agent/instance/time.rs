//! What is due of an instance, and when; and what becomes of that when the supervisor was away.

use std::time::Duration;

use crate::clock::{Gap, Mono};
use crate::deadline::{Deadline, Why, earlier};
use crate::death::Cause;
use crate::order::Hook;

use super::super::context::Context;
use super::super::end::{End, Ending};
use super::{Instance, Life, Phase};

/// After a pause of ours nothing is killed sooner than this: its end may be in the inbox.
const SECOND_LOOK: Duration = Duration::from_secs(1);

impl Instance {
    /// Does what is due.
    pub(crate) fn tick(&mut self, cx: &mut Context<'_>) -> Life {
        let now = cx.mono();
        match &self.phase {
            Phase::Recording { give_up, .. } if *give_up <= now => {
                return Life::Over(End::unrecorded("it has not answered in time"));
            }
            Phase::PreStart { give_up } if *give_up <= now => {
                let cause = Cause::Hook {
                    hook: Hook::PreStart,
                    detail: "its end was never reported".to_owned(),
                };
                return Life::Over(End::own(cause, None));
            }
            Phase::CallingOff { cause, give_up, .. } if *give_up <= now => {
                return Life::Over(End::never_began(cause.clone()));
            }
            Phase::CallingOff { kill_at, .. } if *kill_at <= now => self.kill_hook(cx),
            Phase::Spawning { give_up, .. } if *give_up <= now => {
                self.order_kill(cx, Ending::Ours(Cause::StartTimeout));
            }
            Phase::Draining { signal_at, .. } if *signal_at <= now => self.drained(cx),
            Phase::Stopping { kill_at, ending } if *kill_at <= now => {
                let ending = ending.clone();
                self.order_kill(cx, ending);
            }
            Phase::Killing { again_at, ending } if *again_at <= now => {
                let ending = ending.clone();
                self.order_kill(cx, ending);
            }
            Phase::Up => return self.tick_up(cx),
            Phase::Recording { .. }
            | Phase::PreStart { .. }
            | Phase::CallingOff { .. }
            | Phase::Spawning { .. }
            | Phase::Draining { .. }
            | Phase::Stopping { .. }
            | Phase::Killing { .. } => {}
        }
        Life::GoesOn
    }

    /// The next point at which something is due.
    pub(crate) fn deadline(&self) -> Option<Deadline> {
        match &self.phase {
            Phase::Recording { give_up, .. } => Some((*give_up, Why::Journal)),
            Phase::PreStart { give_up } => Some((*give_up, Why::Hook)),
            Phase::CallingOff {
                kill_at, give_up, ..
            } => Some((*kill_at.min(give_up), Why::Hook)),
            Phase::Spawning { give_up, .. } => Some((*give_up, Why::Spawn)),
            Phase::Up if self.frozen_since.is_some() => None,
            Phase::Up => earlier(
                self.health.deadline().filter(|_| self.mute.is_none()),
                self.run_deadline.map(|at| (at, Why::RunTimeout)),
            ),
            Phase::Draining { signal_at, .. } => Some((*signal_at, Why::Grace)),
            Phase::Stopping { kill_at, .. } => Some((*kill_at, Why::Grace)),
            Phase::Killing { again_at, .. } => Some((*again_at, Why::Kill)),
        }
    }

    /// The supervisor was away: nothing of that time is held against the agent. Its grace goes on
    /// by what we were certainly late; its health gets back all the time we may have been away.
    pub(crate) fn shift(&mut self, gap: Gap, now: Mono) {
        let Gap { late, away } = gap;
        match &mut self.phase {
            Phase::Recording { give_up, .. }
            | Phase::PreStart { give_up }
            | Phase::Spawning { give_up, .. } => *give_up = *give_up + late,
            Phase::CallingOff {
                kill_at, give_up, ..
            } => {
                *kill_at = *kill_at + late;
                *give_up = *give_up + late;
            }
            Phase::Draining {
                signal_at, kill_at, ..
            } => {
                *signal_at = *signal_at + late;
                *kill_at = (*kill_at + late).max(now + SECOND_LOOK);
            }
            Phase::Stopping { kill_at, .. } => {
                *kill_at = (*kill_at + late).max(now + SECOND_LOOK);
            }
            Phase::Up | Phase::Killing { .. } => {}
        }
        if let Some(at) = &mut self.run_deadline {
            *at = *at + away;
        }
        self.health.shift(away, now);
    }
}
