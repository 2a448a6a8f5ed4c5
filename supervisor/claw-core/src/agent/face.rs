//! The public face of an agent: one function from machine and memory to the words users see.

use crate::action::Happened;
use crate::clock::{Now, Wall};
use crate::death::Cause;
use crate::halt::HaltLevel;
use crate::memory::{Goal, Hold, Latch};
use crate::status::{AgentStatus, PublicState, Reason, RunSummary};

use super::Agent;
use super::context::Context;
use super::daemon::{Daemon, Phase};
use super::dossier::{Common, Rest};
use super::instance::{Instance, Standing};
use super::machine::Machine;
use super::verdict::Then;

/// What was announced last.
#[derive(Debug)]
pub(crate) struct Face {
    shown: Option<(PublicState, bool, &'static str, Option<HaltLevel>)>,
    since: Wall,
}

impl Face {
    pub(crate) const fn new(since: Wall) -> Self {
        Self { shown: None, since }
    }
}

impl Agent {
    /// The agent as API and CLI show it.
    pub(crate) fn status(&self, now: Now) -> AgentStatus {
        let (state, ready, reason) = self.face(now);
        let memory = &self.common.memory;
        let instance = self.machine.newest();
        AgentStatus {
            name: self.common.name.clone(),
            state,
            ready,
            reason,
            since: self.face.since,
            instance: instance.map(Instance::live),
            restarts: memory.restarts_total,
            status_text: instance
                .and_then(Instance::status_text)
                .map(ToOwned::to_owned),
            last_death: memory.last_death.clone(),
            runs: self.machine.summary(&self.common, now),
            halt: self.common.shown_halt().cloned(),
            switch_changes: memory.switch.changes.clone(),
            probes: instance.map_or_else(Vec::new, |instance| instance.health().failures()),
        }
    }

    /// Tells the world when state, readiness or the kind of reason changed.
    pub(super) fn show_face(&mut self, cx: &mut Context<'_>) {
        let (state, ready, reason) = self.face(cx.now);
        let level = self.common.shown_halt().map(|halt| halt.level);
        let shown = Some((state, ready, reason.code(), level));
        if self.face.shown == shown {
            return;
        }
        self.face.shown = shown;
        self.face.since = cx.now.wall;
        let happened = Happened::StateChanged {
            state,
            ready,
            reason,
        };
        cx.announce(&self.common.name, happened);
    }

    fn face(&self, now: Now) -> (PublicState, bool, Reason) {
        let (state, reason) = match &self.machine {
            Machine::Daemon(daemon) => daemon_face(daemon, &self.common, now),
            Machine::Oneshot(oneshot) => oneshot.face(&self.common, now),
            Machine::Worker(worker) => worker.face(&self.common, now),
        };
        if state == PublicState::Stopped && self.common.rest == Rest::Ending {
            let cause = Cause::Reconfigured;
            return (PublicState::Stopping, false, Reason::Ending { cause });
        }
        let ready = state == PublicState::Running
            && match &self.machine {
                Machine::Daemon(daemon) => daemon.instance().is_some_and(Instance::is_ready),
                Machine::Worker(worker) => worker.life.instance().is_some_and(Instance::is_ready),
                Machine::Oneshot(_) => true,
            };
        (state, ready, reason)
    }
}

/// How the life of a daemon or of a worker is shown.
pub(super) fn daemon_face(daemon: &Daemon, common: &Common, now: Now) -> (PublicState, Reason) {
    match &daemon.phase {
        Phase::Live(instance) => instance_face(instance, common),
        Phase::PostStop { then, .. } => match then {
            Then::BackOff { until, cause } => backing_off(common, cause, now.wall_at(*until)),
            Then::Rest | Then::Start => {
                let cause = common.last_cause();
                (PublicState::Stopping, Reason::Ending { cause })
            }
        },
        Phase::Down => resting(common),
        Phase::Waiting | Phase::Queued | Phase::BackingOff { .. } if is_held(common) => {
            held(common)
        }
        Phase::Waiting => waiting(common),
        Phase::Queued => queued(common),
        Phase::BackingOff { until, cause } => backing_off(common, cause, now.wall_at(*until)),
    }
}

fn instance_face(instance: &Instance, common: &Common) -> (PublicState, Reason) {
    let standing = instance.standing();
    if is_held(common) && !matches!(standing, Standing::Ending(_)) {
        return held(common);
    }
    if !common.stopping.is_settled() && !matches!(standing, Standing::Ending(_)) {
        let cause = Cause::Asked;
        return (PublicState::Stopping, Reason::Ending { cause });
    }
    match standing {
        Standing::Recording | Standing::Spawning => (PublicState::Initializing, Reason::Spawning),
        Standing::PreStart => (PublicState::Initializing, Reason::PreStart),
        Standing::Preparing(detail) => (PublicState::Initializing, Reason::Preparing { detail }),
        Standing::StartingUp | Standing::Up if let Some(detail) = instance.mute() => {
            let detail = detail.to_owned();
            (PublicState::Running, Reason::NeedsRestart { detail })
        }
        Standing::StartingUp => (PublicState::Initializing, Reason::StartingUp),
        Standing::Up if instance.is_ready() => (PublicState::Running, Reason::Up),
        Standing::Up if let Some(detail) = instance.unobserved() => {
            let detail = detail.to_owned();
            (PublicState::Running, Reason::Unobserved { detail })
        }
        Standing::Up => {
            let detail = instance.health().unready_detail();
            (PublicState::Running, Reason::NotReady { detail })
        }
        Standing::Ending(cause) => (PublicState::Stopping, Reason::Ending { cause }),
    }
}

/// An agent of which nothing runs.
pub(super) fn resting(common: &Common) -> (PublicState, Reason) {
    if let Some(halt) = common.shown_halt() {
        let state = if common.memory.goal == Goal::Down || halt.level == HaltLevel::Kill {
            PublicState::Stopped
        } else {
            PublicState::Paused
        };
        return (state, Reason::Halted(halt.clone()));
    }
    if common.memory.goal == Goal::Down {
        return (PublicState::Stopped, Reason::Asked);
    }
    let reason = match &common.memory.latch {
        None if is_held(common) => return held(common),
        None => Reason::Asked,
        Some(Latch::Completed) => Reason::Completed,
        Some(Latch::GaveUp { cause, failures }) => Reason::GaveUp {
            cause: cause.clone(),
            failures: *failures,
        },
        Some(Latch::Refused { reason }) => Reason::Refused {
            reason: reason.clone(),
        },
        Some(Latch::NotRestarted { cause }) => Reason::NotRestarted {
            cause: cause.clone(),
        },
    };
    (PublicState::Stopped, reason)
}

/// An agent that waits for others.
pub(super) fn waiting(common: &Common) -> (PublicState, Reason) {
    let agents = common.missing.clone();
    (PublicState::Initializing, Reason::WaitingFor { agents })
}

/// An agent that waits for its turn, or for one who goes first.
pub(super) fn queued(common: &Common) -> (PublicState, Reason) {
    let outage = common.outage.as_ref();
    let standing = outage.and_then(|outage| Some((&outage.provider, outage.gate.as_ref()?)));
    let reason = standing.map_or(Reason::Queued, |(provider, (since, stage))| {
        Reason::ProviderDown {
            provider: provider.clone(),
            since: *since,
            stage: stage.clone(),
        }
    });
    (PublicState::Initializing, reason)
}

pub(super) fn is_held(common: &Common) -> bool {
    common.memory.hold != Hold::None || common.is_halted()
}

pub(super) fn held(common: &Common) -> (PublicState, Reason) {
    if let Some(halt) = common.shown_halt() {
        return (PublicState::Paused, Reason::Halted(halt.clone()));
    }
    let reason = match common.memory.hold {
        Hold::Frozen => Reason::Frozen,
        Hold::None | Hold::Paused => Reason::Paused,
    };
    (PublicState::Paused, reason)
}

fn backing_off(common: &Common, cause: &crate::Cause, until: Wall) -> (PublicState, Reason) {
    let reason = Reason::BackingOff {
        cause: cause.clone(),
        until: common.memory.next_start.unwrap_or(until),
        failures: common.memory.failures,
    };
    (PublicState::Error, reason)
}

impl Machine {
    /// The newest live instance.
    pub(crate) fn newest(&self) -> Option<&Instance> {
        match self {
            Self::Daemon(daemon) => daemon.instance(),
            Self::Worker(worker) => worker.life.instance(),
            Self::Oneshot(oneshot) => oneshot
                .instances()
                .max_by_key(|instance| instance.generation()),
        }
    }

    /// Whether anything of it lives.
    pub(crate) fn has_live(&self) -> bool {
        match self {
            Self::Daemon(daemon) => daemon.has_live(),
            Self::Oneshot(oneshot) => oneshot.has_live(),
            Self::Worker(worker) => worker.life.has_live(),
        }
    }

    /// Its runs in short.
    pub(crate) fn summary(&self, common: &Common, now: Now) -> RunSummary {
        let (succeeded, failed) = common.memory.runs;
        match self {
            Self::Daemon(_) => RunSummary {
                succeeded,
                failed,
                ..RunSummary::default()
            },
            Self::Oneshot(oneshot) => RunSummary {
                succeeded,
                failed,
                ..oneshot.runs.summary(common, now)
            },
            Self::Worker(worker) => RunSummary {
                succeeded,
                failed,
                ..worker.runs.summary(common, now)
            },
        }
    }
}
