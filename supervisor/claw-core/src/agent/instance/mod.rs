//! One life of a process. Driven by the daemon or oneshot machine that owns it.
//!
//! ```text
//!   Recording ──intent recorded──► PreStart ──hook passed──► Spawning ──Started──► Up
//!       │ refused, overdue            │ (skipped without hook)  │ SpawnFailed       │
//!       ▼                             ▼                         ▼                   │
//!     End                           End                       End                   │
//!                                                                                   │
//!   from PreStart, Spawning, Up:  stop(cause) ──► Stopping{kill_at} ◄──MainExited───┘
//!                                     │   drained ▲  │ grace over     │ Gone, Lost
//!                                     ▼           │  ▼                ▼
//!                     a worker: Draining{signal_at}  Killing ──Gone───► End
//! ```
//!
//! Nothing is ended by SIGKILL before its grace is over, and only `Gone`, `Lost` or `SpawnFailed`
//! (or a hook's end, before anything was spawned) ends a life: no successor starts beside a rest
//! of its predecessor.

mod facts;
mod stop;
mod time;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use crate::action::Happened;
use crate::clock::{Mono, Wall};
use crate::death::{Cause, ExitStatus, SpawnError, SpawnStage};
use crate::event::Freeze;
use crate::id::{Generation, InstanceId};
use crate::image::Image;
use crate::models::ProviderName;
use crate::order::{Hook, Order, RunContext};
use crate::record::{Record, RecordId};
use crate::spec::{AgentSpec, Mode};
use crate::status::LiveInstance;

use super::calls::Requests;
use super::context::Context;
use super::end::{End, Ending};
use super::health::{Begun, Health};

/// An intent that the journal does not acknowledge in this time is given up; the agent backs off
/// and tries again. Longer than a database lock of another process usually lasts.
const INTENT_WAIT: Duration = Duration::from_secs(30);

/// A driver that has not said anything about a spawn in this time has lost it.
const SPAWN_WAIT: Duration = Duration::from_secs(60);

/// How long after its own timeout a hook's answer may come. The driver kills the hook in time.
pub(crate) const HOOK_MARGIN: Duration = Duration::from_secs(5);

pub(crate) use facts::Report;

/// One life of a process.
#[derive(Debug)]
pub(crate) struct Instance {
    id: InstanceId,
    spec: Arc<AgentSpec>,
    run: Option<RunContext>,
    phase: Phase,
    process: Option<Process>,
    exit: Option<ExitStatus>,
    health: Health,
    requests: Requests,
    frozen_since: Option<Mono>,
    run_deadline: Option<Mono>,
    status_text: Option<String>,
    /// Why it is about to fail, in its own words.
    failure: Option<String>,
    /// Why nobody knows whether it still runs.
    unobserved: Option<String>,
    /// Why nothing more is heard of it in this life.
    mute: Option<String>,
}

#[derive(Debug)]
enum Phase {
    Recording {
        record: RecordId,
        give_up: Mono,
    },
    PreStart {
        give_up: Mono,
    },
    /// Called off while the `pre_start` hook ran; the hook ends first, nothing was spawned.
    CallingOff {
        cause: Cause,
        kill_at: Mono,
        give_up: Mono,
    },
    Spawning {
        give_up: Mono,
        preparing: Option<String>,
    },
    Up,
    /// A worker finishes what it works on; the signal follows, within the same grace.
    Draining {
        cause: Cause,
        signal_at: Mono,
        kill_at: Mono,
    },
    Stopping {
        ending: Ending,
        kill_at: Mono,
    },
    Killing {
        ending: Ending,
        again_at: Mono,
    },
}

#[derive(Debug, Clone)]
struct Process {
    pid: u32,
    at: Wall,
    image: Option<Image>,
}

/// Where an instance stands, for those who show or gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    Recording,
    PreStart,
    Spawning,
    Preparing(String),
    StartingUp,
    Up,
    Ending(Cause),
}

/// Whether the life is over.
#[derive(Debug)]
pub(crate) enum Life {
    GoesOn,
    Over(End),
}

impl Instance {
    /// Begins a life: writes down the intent. Nothing is started before the journal has it.
    pub(crate) fn begin(
        cx: &mut Context<'_>,
        id: InstanceId,
        plan: (Arc<AgentSpec>, String),
        run: Option<RunContext>,
    ) -> Self {
        let (spec, spec_hash) = plan;
        let record = cx.record_for(
            &id.agent,
            Record::Intent {
                instance: id.clone(),
                spec_hash,
                run: run.as_ref().map(|run| run.run),
                at: cx.now.wall,
            },
        );
        let give_up = cx.after(INTENT_WAIT);
        Self::new(id, spec, run, Phase::Recording { record, give_up })
    }

    /// Takes over a life that an earlier supervisor began. It may have died between a change of
    /// the hold and its order, so a tree that should run is thawed whatever it was.
    pub(crate) fn adopt(
        cx: &mut Context<'_>,
        id: InstanceId,
        spec: Arc<AgentSpec>,
        run: Option<RunContext>,
        adopted: Adopted,
    ) -> Self {
        let Adopted {
            pid,
            at,
            image,
            frozen,
        } = adopted;
        let mut instance = Self::new(id, spec, run, Phase::Up);
        instance.process = Some(Process { pid, at, image });
        let happened = Happened::Adopted {
            instance: instance.id.clone(),
            pid,
        };
        cx.announce(&instance.id.agent, happened);
        if frozen == Freeze::No {
            let instance = instance.id.clone();
            cx.order(Order::Thaw { instance });
        }
        instance
    }

    /// The health of an adopted life: as it was when it had come up, else from the start.
    pub(crate) fn adopt_health(&mut self, cx: &Context<'_>, had_come_up: HadComeUp) {
        match had_come_up {
            HadComeUp::Yes => self.health.adopted_up(cx.mono()),
            HadComeUp::No => self.health.started(cx.mono()),
        }
    }

    fn new(id: InstanceId, spec: Arc<AgentSpec>, run: Option<RunContext>, phase: Phase) -> Self {
        let health = Health::new(&spec);
        Self {
            id,
            spec,
            run,
            phase,
            process: None,
            exit: None,
            health,
            requests: Requests::default(),
            frozen_since: None,
            run_deadline: None,
            status_text: None,
            failure: None,
            unobserved: None,
            mute: None,
        }
    }

    pub(crate) const fn id(&self) -> &InstanceId {
        &self.id
    }

    pub(crate) const fn generation(&self) -> Generation {
        self.id.generation
    }

    pub(crate) const fn spec(&self) -> &Arc<AgentSpec> {
        &self.spec
    }

    pub(crate) fn live(&self) -> LiveInstance {
        LiveInstance {
            generation: self.id.generation,
            pid: self.process.as_ref().map(|process| process.pid),
            started_at: self.process.as_ref().map(|process| process.at),
        }
    }

    /// What it is made of, if it is a container that has started.
    pub(crate) fn image(&self) -> Option<&Image> {
        self.process.as_ref()?.image.as_ref()
    }

    pub(crate) const fn has_started(&self) -> bool {
        self.process.is_some()
    }

    /// What it says of itself, as long as its main process lives.
    pub(crate) fn status_text(&self) -> Option<&str> {
        let text = self.status_text.as_deref();
        text.filter(|_| self.exit.is_none())
    }

    pub(crate) const fn health(&self) -> &Health {
        &self.health
    }

    /// Ready for work, and nobody is ending it.
    pub(crate) fn is_ready(&self) -> bool {
        self.standing() == Standing::Up
            && self.frozen_since.is_none()
            && self.unobserved.is_none()
            && self.health.is_ready()
    }

    /// The provider of models whose outage an end just now is laid to.
    pub(crate) fn outage(&self, now: Mono) -> Option<&ProviderName> {
        self.requests.outage(now)
    }

    /// Why nobody knows whether it still runs, if so.
    pub(crate) fn unobserved(&self) -> Option<&str> {
        self.unobserved.as_deref()
    }

    /// Why nothing more is heard of it until it is restarted, if so.
    pub(crate) fn mute(&self) -> Option<&str> {
        self.mute.as_deref()
    }

    /// Whether it finishes what it works on before its signal comes.
    pub(crate) const fn is_draining(&self) -> bool {
        matches!(self.phase, Phase::Draining { .. })
    }

    pub(crate) const fn is_frozen(&self) -> bool {
        self.frozen_since.is_some()
    }

    /// Whether it has shown that it comes up, so that it need not once more for the next
    /// supervisor. What asks for no proof has none to remember.
    pub(crate) fn has_proved_itself(&self) -> bool {
        match self.spec.mode {
            Mode::Worker => self.health.is_up() && self.health.has_said_ready(),
            Mode::Daemon | Mode::Oneshot => {
                self.spec.probes.startup.is_some() && self.health.is_up()
            }
        }
    }

    pub(crate) fn standing(&self) -> Standing {
        match &self.phase {
            Phase::Recording { .. } => Standing::Recording,
            Phase::PreStart { .. } => Standing::PreStart,
            Phase::Spawning {
                preparing: Some(detail),
                ..
            } => Standing::Preparing(detail.clone()),
            Phase::Spawning { .. } => Standing::Spawning,
            Phase::Up if self.health.is_up() => Standing::Up,
            Phase::Up => Standing::StartingUp,
            Phase::CallingOff { cause, .. } | Phase::Draining { cause, .. } => {
                Standing::Ending(cause.clone())
            }
            Phase::Stopping { ending, .. } | Phase::Killing { ending, .. } => {
                Standing::Ending(ending.shown(self.exit))
            }
        }
    }

    /// Between intent and up: takes one of the fleet's places for starting agents. A frozen one
    /// comes up when somebody thaws it, and nobody shall wait for that, nor for an image.
    pub(crate) fn is_starting(&self) -> bool {
        if self.frozen_since.is_some() {
            return false;
        }
        match self.standing() {
            Standing::Recording
            | Standing::PreStart
            | Standing::Spawning
            | Standing::StartingUp => true,
            Standing::Preparing(_) | Standing::Up | Standing::Ending(_) => false,
        }
    }

    /// The run must end by then.
    pub(crate) const fn limit(&mut self, until: Option<Mono>) {
        self.run_deadline = until;
    }

    /// Takes over another spec without a restart.
    pub(crate) fn retune(&mut self, cx: &Context<'_>, spec: Arc<AgentSpec>) {
        if self.spec.probes != spec.probes {
            let begun = match &self.phase {
                Phase::Recording { .. } | Phase::PreStart { .. } => Begun::NotYet,
                Phase::CallingOff { .. }
                | Phase::Spawning { .. }
                | Phase::Up
                | Phase::Draining { .. }
                | Phase::Stopping { .. }
                | Phase::Killing { .. } => Begun::Yes,
            };
            self.health.retune(&spec, begun, cx.mono());
        }
        self.spec = spec;
    }

    /// The journal has answered a record of this life.
    pub(crate) fn recorded(
        &mut self,
        cx: &mut Context<'_>,
        id: RecordId,
        result: &Result<(), String>,
    ) -> Life {
        match &self.phase {
            Phase::Recording { record, .. } if *record == id => match result {
                Ok(()) => {
                    self.run_pre_start(cx);
                    Life::GoesOn
                }
                Err(reason) => Life::Over(End::unrecorded(reason)),
            },
            Phase::Recording { .. }
            | Phase::PreStart { .. }
            | Phase::CallingOff { .. }
            | Phase::Spawning { .. }
            | Phase::Up
            | Phase::Draining { .. }
            | Phase::Stopping { .. }
            | Phase::Killing { .. } => Life::GoesOn,
        }
    }

    fn run_pre_start(&mut self, cx: &mut Context<'_>) {
        let Some(hook) = &self.spec.hooks.pre_start else {
            self.spawn(cx);
            return;
        };
        self.phase = Phase::PreStart {
            give_up: cx.after(hook.timeout + HOOK_MARGIN),
        };
        cx.order(Order::RunHook {
            instance: self.id.clone(),
            hook: Hook::PreStart,
            spec: Arc::clone(&self.spec),
        });
    }

    fn spawn(&mut self, cx: &mut Context<'_>) {
        self.phase = Phase::Spawning {
            give_up: cx.after(SPAWN_WAIT),
            preparing: None,
        };
        cx.order(Order::Spawn {
            instance: self.id.clone(),
            spec: Arc::clone(&self.spec),
            run: self.run.clone(),
        });
    }
}

/// What is known of an adopted life.
#[derive(Debug, Clone)]
pub(crate) struct Adopted {
    pub pid: u32,
    pub at: Wall,
    pub image: Option<Image>,
    pub frozen: Freeze,
}

/// Whether an adopted instance had come up under an earlier supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HadComeUp {
    Yes,
    No,
}

/// The error of a start that the journal did not let happen.
pub(crate) fn journal_error(reason: &str) -> SpawnError {
    SpawnError {
        stage: SpawnStage::Prepare,
        errno: 0,
        detail: format!("the journal did not take the intent to start: {reason}"),
    }
}
