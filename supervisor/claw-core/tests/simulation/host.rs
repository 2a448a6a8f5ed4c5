//! The machine that the supervisor runs on: processes, hooks, probes, and the drivers' lies.
//!
//! What is true is kept here; what the supervisor is told of it is a fact that may come late,
//! twice or, where the contract has a way out, never.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use claw_core::event::Freeze;
use claw_core::memory::Recovered;
use claw_core::order::HookOutcome;
use claw_core::spec::AgentSpec;
use claw_core::{
    ExitReport, ExitStatus, Fact, Hook, InstanceId, Order, ProbeKind, RunId, SpawnError,
    SpawnStage, Wall,
};

use crate::jobs::{Deed, Job, Supervision};
use crate::random::Random;
use crate::temper::{Spawning, Temper};

/// What happens on the machine by itself, some time after something else.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Happening {
    /// The process of a spawn begins to run.
    Starts(InstanceId),
    /// The main process ends.
    Ends(InstanceId, ExitStatus),
    /// The last process of the tree is gone.
    TreeGone(InstanceId),
    /// The shim dies and takes its tree along.
    ShimDies(InstanceId),
    /// The agent speaks or works.
    Beats(InstanceId),
    /// The agent says that it is ready.
    SaysReady(InstanceId),
    /// A hook ends.
    HookEnds(InstanceId, Hook, HookOutcome),
    /// A probe ends.
    ProbeEnds(InstanceId, ProbeKind, u64),
    /// The agent calls a model.
    Calls(InstanceId),
    /// A worker does something about its runs.
    Does(InstanceId, Deed),
}

/// Something that follows, after a delay.
pub(crate) enum Then {
    Happens(Duration, Happening),
    /// The supervisor is told.
    Told(Duration, Fact),
}

/// How far an instance has come.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Life {
    /// Only a hook of it was ever run.
    Planned,
    Starting,
    Running,
    /// The main process is dead, others are not.
    Ending {
        status: ExitStatus,
    },
    Gone(Box<ExitReport>),
    Lost,
    /// It could not be started.
    Never,
    /// The machine was restarted.
    Rebooted,
}

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) spec: Arc<AgentSpec>,
    pub(crate) run: Option<RunId>,
    pub(crate) life: Life,
    pub(crate) frozen: Freeze,
    pub(crate) temper: Temper,
    /// When it was started.
    pub(crate) since: Wall,
    pub(crate) signalled: bool,
    pub(crate) hook: Option<Hook>,
    pub(crate) kills: u32,
    /// The runs in its hands.
    pub(crate) jobs: Vec<Job>,
}

impl Process {
    /// Whether anything of it may still run.
    pub(crate) const fn lives(&self) -> bool {
        match &self.life {
            Life::Starting | Life::Running | Life::Ending { .. } => true,
            Life::Planned | Life::Gone(_) | Life::Lost | Life::Never | Life::Rebooted => false,
        }
    }

    /// It runs from now on; what its life holds follows.
    pub(crate) fn live(&mut self, id: &InstanceId, clock: Clock, random: &mut Random) -> Vec<Then> {
        self.life = Life::Running;
        self.since = clock.wall;
        self.temper.start(clock.time);
        self.temper.course(id, random)
    }
}

/// The world's clocks as the machine sees them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    pub(crate) time: Duration,
    pub(crate) wall: Wall,
}

#[derive(Debug, Default)]
pub(crate) struct Host {
    pub(crate) processes: BTreeMap<InstanceId, Process>,
    /// What was started since the machine was, and what was started before.
    started: BTreeSet<InstanceId>,
    of_earlier_boots: BTreeSet<InstanceId>,
    /// No more faults: everything new is well-behaved.
    pub(crate) calm: bool,
    pub(crate) supervision: Supervision,
    /// Providers of models that do not answer.
    pub(crate) outages: BTreeSet<u64>,
}

impl Host {
    /// Carries out an order.
    pub(crate) fn order(&mut self, order: &Order, clock: Clock, random: &mut Random) -> Vec<Then> {
        match order {
            Order::Spawn {
                instance,
                spec,
                run,
            } => {
                let run = run.as_ref().map(|run| run.run);
                self.spawn(instance, spec, run, random)
            }
            Order::Signal { instance, .. } => self.signal(instance, random),
            Order::Kill { instance } => self.kill(instance, clock, random),
            Order::Freeze { instance } => self.freeze(instance, Freeze::Yes),
            Order::Thaw { instance } => self.freeze(instance, Freeze::No),
            Order::Probe {
                instance,
                probe,
                spec,
                sequence,
            } => self.probe(instance, (*probe, *sequence), spec, random),
            Order::RunHook {
                instance,
                hook,
                spec,
            } => self.hook(instance, *hook, spec, random),
            Order::Deliver { instance, run, .. } => self.deliver(instance, run, random),
            Order::CancelRun { instance, run } => self.cancel_run(instance, *run, random),
            Order::Drain { .. } => Vec::new(),
            Order::Release { instance } => {
                self.processes.remove(instance);
                Vec::new()
            }
        }
    }

    fn plan(
        &mut self,
        id: &InstanceId,
        spec: &Arc<AgentSpec>,
        random: &mut Random,
    ) -> &mut Process {
        let mut temper = Temper::sample(random, spec);
        if self.calm {
            temper.calm_down(spec.mode);
        }
        // A power cut may take the record of a generation with it, which is then used again.
        self.processes
            .retain(|known, process| known != id || process.life != Life::Rebooted);
        self.processes.entry(id.clone()).or_insert_with(|| Process {
            spec: Arc::clone(spec),
            run: None,
            life: Life::Planned,
            frozen: Freeze::No,
            temper,
            since: Wall::UNIX_EPOCH,
            signalled: false,
            hook: None,
            kills: 0,
            jobs: Vec::new(),
        })
    }

    fn spawn(
        &mut self,
        id: &InstanceId,
        spec: &Arc<AgentSpec>,
        run: Option<RunId>,
        random: &mut Random,
    ) -> Vec<Then> {
        self.started.insert(id.clone());
        self.of_earlier_boots.remove(id);
        let process = self.plan(id, spec, random);
        process.run = run;
        process.life = Life::Starting;
        let soon = random.millis(1, 300);
        match process.temper.spawning {
            Spawning::Works | Spawning::WorksUntold => {
                vec![Then::Happens(soon, Happening::Starts(id.clone()))]
            }
            Spawning::WorksLate => works_late(id, soon),
            Spawning::WorksUnseen => works_unseen(id, soon, random),
            Spawning::Fails => fails(process, id, soon, SpawnStage::Exec),
            Spawning::Hindered => fails(process, id, soon, SpawnStage::Engine),
            Spawning::Refused => fails(process, id, soon, SpawnStage::Image),
            Spawning::Hangs => Vec::new(),
        }
    }

    fn signal(&mut self, id: &InstanceId, random: &mut Random) -> Vec<Then> {
        let Some(process) = self.processes.get_mut(id) else {
            return Vec::new();
        };
        process.signalled = true;
        if process.frozen == Freeze::Yes || !matches!(process.life, Life::Running) {
            return Vec::new();
        }
        heed_signal(process, id, random)
    }

    fn kill(&mut self, id: &InstanceId, clock: Clock, random: &mut Random) -> Vec<Then> {
        let Some(process) = self.processes.get_mut(id) else {
            return Vec::new();
        };
        process.kills += 1;
        let soon = random.millis(1, 400);
        match &process.life {
            Life::Starting => {
                process.life = Life::Ending {
                    status: ExitStatus::Signal(9),
                };
                vec![Then::Happens(soon, Happening::TreeGone(id.clone()))]
            }
            Life::Running if process.kills <= process.temper.deaf_to_kills => Vec::new(),
            Life::Running => {
                let ends = Happening::Ends(id.clone(), ExitStatus::Signal(9));
                process.frozen = Freeze::No;
                vec![Then::Happens(soon, ends)]
            }
            Life::Ending { .. } => vec![Then::Happens(soon, Happening::TreeGone(id.clone()))],
            Life::Gone(_) | Life::Lost => vec![Then::Told(soon, end_of(id, &process.life, clock))],
            Life::Planned => process.hook.map_or_else(Vec::new, |hook| {
                let outcome = HookOutcome::Failure("killed".to_owned());
                vec![Then::Happens(
                    soon,
                    Happening::HookEnds(id.clone(), hook, outcome),
                )]
            }),
            Life::Never | Life::Rebooted => Vec::new(),
        }
    }

    fn freeze(&mut self, id: &InstanceId, frozen: Freeze) -> Vec<Then> {
        let Some(process) = self.processes.get_mut(id) else {
            return Vec::new();
        };
        process.frozen = frozen;
        if frozen == Freeze::Yes || !process.signalled || !matches!(process.life, Life::Running) {
            return Vec::new();
        }
        process.temper.heed_at_once(id)
    }

    fn probe(
        &mut self,
        id: &InstanceId,
        (kind, sequence): (ProbeKind, u64),
        spec: &Arc<AgentSpec>,
        random: &mut Random,
    ) -> Vec<Then> {
        let probes = &spec.probes;
        let probe = match kind {
            ProbeKind::Startup => &probes.startup,
            ProbeKind::Liveness => &probes.liveness,
            ProbeKind::Readiness => &probes.readiness,
            ProbeKind::Progress => &None,
        };
        let timeout = probe.as_ref().map_or(Duration::ZERO, |probe| probe.timeout);
        if !self.calm && random.rarely(5) {
            return Vec::new();
        }
        let takes = if random.chance(95) {
            random.millis(1, 100)
        } else {
            timeout + random.millis(0, if self.calm { 900 } else { 3000 })
        };
        let ends = Happening::ProbeEnds(id.clone(), kind, sequence);
        vec![Then::Happens(takes, ends)]
    }

    fn hook(
        &mut self,
        id: &InstanceId,
        hook: Hook,
        spec: &Arc<AgentSpec>,
        random: &mut Random,
    ) -> Vec<Then> {
        let calm = self.calm;
        let process = self.plan(id, spec, random);
        process.hook = Some(hook);
        let timeout = Duration::from_secs(5);
        let (takes, outcome) = match random.below(100) {
            _ if calm => (random.millis(10, 1000), HookOutcome::Success),
            0..85 => (random.millis(10, 4000), HookOutcome::Success),
            85..93 => (
                random.millis(10, 4000),
                HookOutcome::Failure("no".to_owned()),
            ),
            93..98 => (timeout, HookOutcome::TimedOut(timeout)),
            _ => return Vec::new(),
        };
        let ends = Happening::HookEnds(id.clone(), hook, outcome);
        vec![Then::Happens(takes, ends)]
    }

    /// A shim tells whoever connects that its agent has said that it is ready.
    pub(crate) fn ready_again(&self, clock: Clock) -> Vec<Then> {
        let running = self.processes.iter().filter(|(_, process)| {
            matches!(process.life, Life::Running) && process.temper.has_spoken(clock)
        });
        running
            .map(|(id, _)| Then::Told(Duration::from_millis(1), Temper::ready(id)))
            .collect()
    }

    /// Every process ends with the power.
    pub(crate) fn power_cut(&mut self) {
        self.of_earlier_boots.append(&mut self.started);
        for process in self.processes.values_mut() {
            process.life = Life::Rebooted;
            process.hook = None;
        }
    }

    /// The supervisor died: what only it would have carried on is over.
    /// What was being started is up or never will be.
    pub(crate) fn supervisor_died(&mut self, clock: Clock, random: &mut Random) -> Vec<Then> {
        self.lose_untaken();
        let mut follows = Vec::new();
        for (id, process) in &mut self.processes {
            process.hook = None;
            if process.life != Life::Starting {
                continue;
            }
            if random.chance(50) {
                follows.extend(process.live(id, clock, random));
            } else {
                process.life = Life::Never;
            }
        }
        follows
    }

    /// What a new supervisor finds of an instance that the journal has no outcome for.
    pub(crate) fn find(&self, id: &InstanceId) -> Recovered {
        // The boot id tells, also of those whose run directory was removed before.
        if self.of_earlier_boots.contains(id) {
            return Recovered::Rebooted;
        }
        match self.processes.get(id).map(|process| &process.life) {
            None | Some(Life::Planned | Life::Never | Life::Starting) => Recovered::NeverStarted,
            Some(Life::Running | Life::Ending { .. }) => Recovered::Alive {
                pid: pid_of(id),
                at: self.processes[id].since,
                image: None,
            },
            Some(Life::Gone(report)) => Recovered::Ended(ExitReport::clone(report)),
            Some(Life::Lost) => Recovered::Lost,
            Some(Life::Rebooted) => Recovered::Rebooted,
        }
    }

    /// From now on everybody behaves.
    pub(crate) fn calm_down(&mut self) {
        self.calm = true;
        self.outages.clear();
        for process in self.processes.values_mut() {
            process.temper.calm_down(process.spec.mode);
        }
    }
}

/// What the process does about a signal: ends in its own time, or does not care.
pub(crate) fn heed_signal(process: &Process, id: &InstanceId, random: &mut Random) -> Vec<Then> {
    match process.temper.heeds_signal {
        Some((most, status)) => {
            let takes = random.millis(1, most);
            vec![Then::Happens(takes, Happening::Ends(id.clone(), status))]
        }
        None => Vec::new(),
    }
}

pub(crate) fn pid_of(id: &InstanceId) -> u32 {
    u32::try_from(id.generation.0)
        .unwrap_or(u32::MAX)
        .saturating_add(1000)
}

/// The fact that says how a life ended.
pub(crate) fn end_of(id: &InstanceId, life: &Life, clock: Clock) -> Fact {
    let instance = id.clone();
    if let Life::Gone(report) = life {
        let report = ExitReport::clone(report);
        return Fact::Gone { instance, report };
    }
    assert_eq!(
        life,
        &Life::Lost,
        "only ended lives have an end at {:?}",
        clock.time
    );
    Fact::Lost { instance }
}

fn fails(process: &mut Process, id: &InstanceId, soon: Duration, stage: SpawnStage) -> Vec<Then> {
    process.life = Life::Never;
    let error = SpawnError {
        stage,
        errno: 2,
        detail: "cannot execute `agent`: no such file".to_owned(),
    };
    let instance = id.clone();
    vec![Then::Told(soon, Fact::SpawnFailed { instance, error })]
}

/// Each word comes before the wait for it is over; all together take longer than that.
fn works_late(id: &InstanceId, soon: Duration) -> Vec<Then> {
    let words = (0..3).map(|nth| {
        let fact = Fact::Preparing {
            instance: id.clone(),
            detail: format!("image: {nth} of 3"),
        };
        Then::Told(soon + nth * Duration::from_secs(30), fact)
    });
    let starts = Happening::Starts(id.clone());
    let start = Then::Happens(soon + Duration::from_secs(100), starts);
    words.chain([start]).collect()
}

fn works_unseen(id: &InstanceId, soon: Duration, random: &mut Random) -> Vec<Then> {
    let lost = soon + random.millis(10, 20_000);
    let reason = "the engine does not answer".to_owned();
    let unobserved = Fact::Unobserved {
        instance: id.clone(),
        reason,
    };
    let observed = Fact::Observed {
        instance: id.clone(),
    };
    vec![
        Then::Happens(soon, Happening::Starts(id.clone())),
        Then::Told(lost, unobserved),
        Then::Told(lost + random.millis(10, 60_000), observed),
    ]
}
