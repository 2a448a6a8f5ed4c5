//! How an instance is ended: signal, grace, kill.

use std::time::Duration;

use crate::clock::Mono;
use crate::death::Cause;
use crate::order::Order;
use crate::spec::Mode;

use super::super::context::Context;
use super::super::end::{End, Ending};
use super::{Instance, Life, Phase};

/// A kill that is not answered by then is ordered again: a leftover in uninterruptible sleep
/// dies when its system call returns, and not before.
const KILL_AGAIN: Duration = Duration::from_secs(10);

/// The most grace an agent gets that failed its health checks. It does not work any more, so a
/// drain of an hour, meant for a healthy agent, would be an hour of outage.
const UNHEALTHY_GRACE: Duration = Duration::from_secs(10);

/// Of a worker's grace the last fifth, and no more than this, is for what it does after its work:
/// closing connections takes no longer, and work should get all the time there is.
const TEARDOWN: Duration = Duration::from_secs(5);

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
            Phase::Up if self.spec.mode == Mode::Worker => {
                self.thaw(cx);
                self.begin_draining(cx, cause);
            }
            Phase::Spawning { .. } | Phase::Up => {
                self.thaw(cx);
                self.order_signal(cx);
                self.begin_stopping(cx, cause);
            }
            Phase::CallingOff { .. }
            | Phase::Draining { .. }
            | Phase::Stopping { .. }
            | Phase::Killing { .. } => {}
        }
        Life::GoesOn
    }

    /// It has finished what it worked on, or had time enough for it.
    pub(crate) fn drained(&mut self, cx: &mut Context<'_>) {
        if let Phase::Draining { cause, kill_at, .. } = &self.phase {
            let (ending, kill_at) = (Ending::Ours(cause.clone()), *kill_at);
            self.order_signal(cx);
            self.phase = Phase::Stopping { ending, kill_at };
        }
    }

    /// It asks for time until `until`.
    pub(super) fn extend_grace(&mut self, until: Mono) {
        match &mut self.phase {
            Phase::Draining {
                signal_at, kill_at, ..
            } => {
                *signal_at = (*signal_at).max(until);
                *kill_at = (*kill_at).max(until);
            }
            Phase::Stopping { kill_at, .. } => *kill_at = (*kill_at).max(until),
            Phase::Recording { .. }
            | Phase::PreStart { .. }
            | Phase::CallingOff { .. }
            | Phase::Spawning { .. }
            | Phase::Up
            | Phase::Killing { .. } => {}
        }
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
            Phase::Draining { cause, .. } => Ending::Ours(cause.clone()),
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

    fn order_signal(&self, cx: &mut Context<'_>) {
        cx.order(Order::Signal {
            instance: self.id.clone(),
            signal: self.spec.shutdown.signal,
        });
    }

    fn begin_draining(&mut self, cx: &mut Context<'_>, cause: Cause) {
        let grace = self.grace(&cause);
        let signal_at = cx.after(grace - (grace / 5).min(TEARDOWN));
        cx.order(Order::Drain {
            instance: self.id.clone(),
            until: cx.now.wall_at(signal_at),
        });
        self.phase = Phase::Draining {
            cause,
            signal_at,
            kill_at: cx.after(grace),
        };
    }

    pub(super) fn begin_stopping(&mut self, cx: &Context<'_>, cause: Cause) {
        self.phase = Phase::Stopping {
            kill_at: cx.after(self.grace(&cause)),
            ending: Ending::Ours(cause),
        };
    }

    fn grace(&self, cause: &Cause) -> Duration {
        match cause {
            Cause::Probe { .. }
            | Cause::Watchdog
            | Cause::Protocol
            | Cause::NoProgress(_)
            | Cause::StartTimeout => self.spec.shutdown.timeout.min(UNHEALTHY_GRACE),
            Cause::Exit { .. }
            | Cause::Signal { .. }
            | Cause::Oom { .. }
            | Cause::RunTimeout
            | Cause::RunFailed { .. }
            | Cause::RunLost
            | Cause::Spawn { .. }
            | Cause::Hook { .. }
            | Cause::Asked
            | Cause::Reconfigured
            | Cause::Replaced
            | Cause::Halted
            | Cause::Lost
            | Cause::HostReboot => self.spec.shutdown.timeout,
        }
    }
}
