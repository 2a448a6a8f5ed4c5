//! What drivers report of an instance, by phase.

use crate::action::Happened;
use crate::clock::Wall;
use crate::death::{Cause, ExitReport, ExitStatus, SpawnError};
use crate::id::RunId;
use crate::image::Image;
use crate::models::ModelCall;
use crate::notification::Notification;
use crate::order::{Hook, HookOutcome, ProbeKind, ProbeOutcome, SelfCheck};
use crate::record::Record;
use crate::run::WorkOutcome;
use crate::spec::Mode;

use super::super::context::Context;
use super::super::end::{End, Ending, judge};
use super::{Instance, Life, Phase, Process, SPAWN_WAIT};

/// What a driver reports of this instance.
#[derive(Debug)]
pub(crate) enum Report {
    Preparing(String),
    Unobserved(String),
    Observed,
    NeedsRestart(String),
    Started {
        pid: u32,
        at: Wall,
        image: Option<Image>,
    },
    SpawnFailed(SpawnError),
    MainExited(ExitStatus),
    Gone(ExitReport),
    Lost,
    Probed(ProbeKind, u64, ProbeOutcome),
    SelfChecked(SelfCheck),
    Notified(Notification),
    Progressed,
    BrokeProtocol,
    RunTaken(RunId),
    RunProgressed(RunId),
    RunFinished(RunId, u32, WorkOutcome),
    Resumed(Vec<(RunId, u32)>),
    ModelCall(ModelCall),
    HookDone(Hook, HookOutcome),
}

impl Report {
    /// The word for it, for traces.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Preparing(_) => "preparation",
            Self::Unobserved(_) => "loss of sight",
            Self::Observed => "sight",
            Self::NeedsRestart(_) => "need of a restart",
            Self::Started { .. } => "start",
            Self::SpawnFailed(_) => "failed spawn",
            Self::MainExited(_) => "exit",
            Self::Gone(_) => "end",
            Self::Lost => "loss",
            Self::Probed(..) => "probe",
            Self::SelfChecked(_) => "own check",
            Self::Notified(_) => "notification",
            Self::Progressed => "progress",
            Self::BrokeProtocol => "breach of the protocol",
            Self::RunTaken(_) => "taking of a run",
            Self::RunProgressed(_) => "progress of a run",
            Self::RunFinished(..) => "end of a run",
            Self::Resumed(_) => "resumption",
            Self::ModelCall(_) => "call to a model",
            Self::HookDone(..) => "hook's end",
        }
    }
}

impl Report {
    /// Whether it may well come after the end of its instance: a call is read to its end for the
    /// sake of its cost, whoever has made it.
    pub(crate) const fn may_be_late(&self) -> bool {
        matches!(self, Self::ModelCall(_))
    }
}

impl Instance {
    /// A driver has reported.
    pub(crate) fn report(&mut self, cx: &mut Context<'_>, report: Report) -> Life {
        match report {
            Report::Preparing(detail) => self.prepares(cx, detail),
            Report::Unobserved(reason) => self.unobserved = Some(reason),
            Report::Observed => self.unobserved = None,
            Report::NeedsRestart(reason) => self.mute = Some(reason),
            Report::Started { pid, at, image } => self.started(cx, Process { pid, at, image }),
            Report::SpawnFailed(error) => return self.spawn_failed(cx, error),
            Report::MainExited(status) => self.main_exited(cx, status),
            Report::Gone(report) => return self.gone(cx, report),
            Report::Lost => return self.lost(cx),
            Report::Probed(kind, sequence, outcome) => self.probed(cx, kind, sequence, outcome),
            Report::SelfChecked(check) => self.self_checked(cx, check),
            Report::Notified(note) => self.notified(cx, &note),
            Report::Progressed => self.health.progressed(cx.mono()),
            Report::BrokeProtocol => self.broke_protocol(cx),
            Report::RunTaken(_)
            | Report::RunProgressed(_)
            | Report::RunFinished(..)
            | Report::Resumed(_) => self.spoke_of_runs(cx, report.name()),
            Report::ModelCall(call) => self.called(cx, call),
            Report::HookDone(hook, outcome) => return self.hook_done(cx, hook, outcome),
        }
        Life::GoesOn
    }

    /// Whoever speaks of runs works; what it means for the runs is their owner's to know.
    fn spoke_of_runs(&mut self, cx: &mut Context<'_>, what: &'static str) {
        match self.spec.mode {
            Mode::Worker => self.health.progressed(cx.mono()),
            Mode::Daemon | Mode::Oneshot => {
                let detail = format!("{what} from {}, which is given no runs", self.id);
                cx.stale(&self.id.agent, detail);
            }
        }
    }

    fn prepares(&mut self, cx: &mut Context<'_>, detail: String) {
        let wait = cx.after(SPAWN_WAIT);
        match &mut self.phase {
            Phase::Spawning { give_up, preparing } => {
                *give_up = wait;
                *preparing = Some(detail);
            }
            // It heard of its end after it had said this.
            Phase::Stopping { .. } | Phase::Killing { .. } if self.process.is_none() => {}
            Phase::Recording { .. }
            | Phase::PreStart { .. }
            | Phase::CallingOff { .. }
            | Phase::Up
            | Phase::Draining { .. }
            | Phase::Stopping { .. }
            | Phase::Killing { .. } => {
                let detail = format!("{} was reported to be prepared when it runs", self.id);
                cx.stale(&self.id.agent, detail);
            }
        }
    }

    fn started(&mut self, cx: &mut Context<'_>, process: Process) {
        let known = self.process.is_some();
        let expected = match &self.phase {
            Phase::Spawning { .. } | Phase::Stopping { .. } | Phase::Killing { .. } => !known,
            Phase::Recording { .. }
            | Phase::PreStart { .. }
            | Phase::CallingOff { .. }
            | Phase::Up
            | Phase::Draining { .. } => false,
        };
        if !expected {
            let detail = format!("{} was reported started when it was not expected", self.id);
            cx.stale(&self.id.agent, detail);
            return;
        }
        let Process { pid, at, image } = process.clone();
        self.process = Some(process);
        let instance = self.id.clone();
        cx.record(Record::Started {
            instance,
            pid,
            at,
            image,
        });
        let instance = self.id.clone();
        cx.announce(&self.id.agent, Happened::Started { instance, pid });
        if let Phase::Spawning { .. } = self.phase {
            self.phase = Phase::Up;
            self.health.started(cx.mono());
        }
    }

    fn spawn_failed(&self, cx: &mut Context<'_>, error: SpawnError) -> Life {
        match &self.phase {
            Phase::Spawning { .. } => Life::Over(End::own(Cause::Spawn { error }, None)),
            Phase::Stopping { ending, .. } | Phase::Killing { ending, .. }
                if self.process.is_none() =>
            {
                Life::Over(judge(ending, Cause::Spawn { error }, None, &self.spec))
            }
            Phase::Recording { .. }
            | Phase::PreStart { .. }
            | Phase::CallingOff { .. }
            | Phase::Up
            | Phase::Draining { .. }
            | Phase::Stopping { .. }
            | Phase::Killing { .. } => {
                let detail = format!("{} was reported as not started, but it was", self.id);
                cx.stale(&self.id.agent, detail);
                Life::GoesOn
            }
        }
    }

    fn main_exited(&mut self, cx: &mut Context<'_>, status: ExitStatus) {
        match &self.phase {
            Phase::Spawning { .. } | Phase::Up => {
                self.exit = Some(status);
                self.phase = Phase::Stopping {
                    ending: Ending::Own,
                    kill_at: cx.after(self.spec.shutdown.timeout),
                };
            }
            Phase::Draining { cause, kill_at, .. } => {
                let (ending, kill_at) = (Ending::Ours(cause.clone()), *kill_at);
                self.exit = Some(status);
                self.phase = Phase::Stopping { ending, kill_at };
            }
            Phase::Stopping { .. } | Phase::Killing { .. } => self.exit = Some(status),
            Phase::Recording { .. } | Phase::PreStart { .. } | Phase::CallingOff { .. } => {
                let detail = format!("{} was reported to exit before it was started", self.id);
                cx.stale(&self.id.agent, detail);
            }
        }
    }

    fn gone(&self, cx: &mut Context<'_>, report: ExitReport) -> Life {
        let ending = match &self.phase {
            Phase::CallingOff { cause, .. } => {
                return Life::Over(End::never_began(cause.clone()));
            }
            Phase::Recording { .. } | Phase::PreStart { .. } => {
                let detail = format!("{} was reported gone before it was started", self.id);
                cx.stale(&self.id.agent, detail);
                return Life::GoesOn;
            }
            Phase::Spawning { .. } | Phase::Up => Ending::Own,
            Phase::Draining { cause, .. } => Ending::Ours(cause.clone()),
            Phase::Stopping { ending, .. } | Phase::Killing { ending, .. } => ending.clone(),
        };
        let cause = self.explained(End::observed(&report));
        Life::Over(judge(&ending, cause, Some(report), &self.spec))
    }

    /// A program may say why it fails, by a status with the number of an error (`sd_notify(3)`).
    fn explained(&self, cause: Cause) -> Cause {
        if let Cause::Exit { code, said: None } = cause
            && code != 0
        {
            let said = self.failure.clone();
            return Cause::Exit { code, said };
        }
        cause
    }

    fn lost(&self, cx: &mut Context<'_>) -> Life {
        match &self.phase {
            Phase::Recording { .. } | Phase::PreStart { .. } => {
                let detail = format!("{} was reported lost before it was started", self.id);
                cx.stale(&self.id.agent, detail);
                Life::GoesOn
            }
            Phase::CallingOff { cause, .. } => Life::Over(End::never_began(cause.clone())),
            Phase::Spawning { .. } | Phase::Up => Life::Over(End::own(Cause::Lost, None)),
            Phase::Draining { cause, .. } => {
                let ending = Ending::Ours(cause.clone());
                Life::Over(judge(&ending, Cause::Lost, None, &self.spec))
            }
            Phase::Stopping { ending, .. } | Phase::Killing { ending, .. } => {
                Life::Over(judge(ending, Cause::Lost, None, &self.spec))
            }
        }
    }

    fn hook_done(&mut self, cx: &mut Context<'_>, hook: Hook, outcome: HookOutcome) -> Life {
        let detail = match (&self.phase, outcome) {
            (Phase::CallingOff { cause, .. }, _) => {
                return Life::Over(End::never_began(cause.clone()));
            }
            (Phase::PreStart { .. }, HookOutcome::Success) => {
                self.spawn(cx);
                return Life::GoesOn;
            }
            (Phase::PreStart { .. }, HookOutcome::Failure(detail)) => detail,
            (Phase::PreStart { .. }, HookOutcome::TimedOut(after)) => {
                format!("it took longer than {} s", after.as_secs())
            }
            (
                Phase::Recording { .. }
                | Phase::Spawning { .. }
                | Phase::Up
                | Phase::Draining { .. }
                | Phase::Stopping { .. }
                | Phase::Killing { .. },
                _,
            ) => {
                let detail = format!("hook {hook} of {} ended when none was awaited", self.id);
                cx.stale(&self.id.agent, detail);
                return Life::GoesOn;
            }
        };
        Life::Over(End::own(Cause::Hook { hook, detail }, None))
    }
}
