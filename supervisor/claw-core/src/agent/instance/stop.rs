//! How an instance is ended: signal, grace, kill.

use std::time::Duration;

use crate::death::Cause;
use crate::order::Order;

use super::super::context::Context;
use super::super::end::{End, Ending};
use super::{Instance, Life, Phase};

/// A kill that is not answered by then is ordered again: a leftover in uninterruptible sleep
/// dies when its system call returns, and not before.
const KILL_AGAIN: Duration = Duration::from_secs(10);

/// The most grace an agent gets that failed its health checks. It does not work any more, so a
/// drain of an hour, meant for a healthy agent, would be an hour of outage.
const UNHEALTHY_GRACE: Duration = Duration::from_secs(10);

impl Instance {
    /// Ends this life for `cause`, with the grace its shutdown gives it.
    pub(crate) fn stop(&mut self, cx: &mut Context<'_>, cause: Cause) -> Life {
        match &self.phase {
            Phase::Recording { .. } => return Life::Over(End::never_began(cause)),
            Phase::PreStart { give_up } => {
                self.phase = Phase::CallingOff {
                    cause,
                    kill_at: cx.after(self.spec.shutdown.timeout),
                    give_up: *give_up,
                };
            }
            Phase::Spawning { .. } | Phase::Up => {
                self.thaw(cx);
                cx.order(Order::Signal {
                    instance: self.id.clone(),
                    signal: self.spec.shutdown.signal,
                });
                self.begin_stopping(cx, cause);
            }
            Phase::CallingOff { .. } | Phase::Stopping { .. } | Phase::Killing { .. } => {}
        }
        Life::GoesOn
    }

    /// Ends this life at once.
    pub(crate) fn kill(&mut self, cx: &mut Context<'_>, cause: Cause) -> Life {
        let ending = match &self.phase {
            Phase::Recording { .. } => return Life::Over(End::never_began(cause)),
            Phase::PreStart { .. } | Phase::CallingOff { .. } => {
                self.stop(cx, cause);
                if let Phase::CallingOff { kill_at, .. } = &mut self.phase {
                    *kill_at = cx.mono();
                }
                return self.tick(cx);
            }
            Phase::Spawning { .. } | Phase::Up => Ending::Ours(cause),
            Phase::Stopping { ending, .. } => ending.clone(),
            Phase::Killing { .. } => return Life::GoesOn,
        };
        self.order_kill(cx, ending);
        Life::GoesOn
    }

    pub(super) fn order_kill(&mut self, cx: &mut Context<'_>, ending: Ending) {
        self.phase = Phase::Killing {
            ending,
            again_at: cx.after(KILL_AGAIN),
        };
        cx.order(Order::Kill {
            instance: self.id.clone(),
        });
    }

    pub(super) fn kill_hook(&mut self, cx: &mut Context<'_>) {
        if let Phase::CallingOff { kill_at, .. } = &mut self.phase {
            *kill_at = cx.after(KILL_AGAIN);
        }
        cx.order(Order::Kill {
            instance: self.id.clone(),
        });
    }

    pub(super) fn begin_stopping(&mut self, cx: &Context<'_>, cause: Cause) {
        let grace = match &cause {
            Cause::Probe { .. } | Cause::Watchdog | Cause::StartTimeout => {
                self.spec.shutdown.timeout.min(UNHEALTHY_GRACE)
            }
            Cause::Exit { .. }
            | Cause::Signal { .. }
            | Cause::Oom { .. }
            | Cause::RunTimeout
            | Cause::RunFailed { .. }
            | Cause::Spawn { .. }
            | Cause::Hook { .. }
            | Cause::Asked
            | Cause::Reconfigured
            | Cause::Replaced
            | Cause::Lost
            | Cause::HostReboot => self.spec.shutdown.timeout,
        };
        self.phase = Phase::Stopping {
            ending: Ending::Ours(cause),
            kill_at: cx.after(grace),
        };
    }
}
