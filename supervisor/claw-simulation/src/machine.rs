//! The machine that the fleet runs on: processes, their probes and hooks, and the runs in their
//! hands.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use claw_core::memory::Recovered;
use claw_core::notification::{Lifecycle, Notification, WatchdogSignal};
use claw_core::order::HookOutcome;
use claw_core::spec::{AgentSpec, Check, Mode, Probe};
use claw_core::{
    AgentName, ExitReport, Fact, Hook, InstanceId, Order, ProbeKind, ProbeOutcome, RunId,
    SpawnError, SpawnStage, Wall, WorkOutcome,
};

use crate::assumption::{Assumption, Readiness};
use crate::faults::{Dice, Ending, Heeds, Lot, NEVER, Spawns};
use crate::queue::Queue;

/// From the order to start a process until it runs.
const SPAWNING: Duration = Duration::from_millis(20);
/// From what ends a process until nothing of it is left.
const ENDING: Duration = Duration::from_millis(50);
/// How long a probe takes.
const PROBING: Duration = Duration::from_millis(20);
/// How long a hook takes.
const HOOK: Duration = Duration::from_millis(200);
/// How soon a worker whose supervisor is away tries again to say what it has to say.
const AGAIN: Duration = Duration::from_secs(1);

const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

/// What happens on the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Happening {
    /// The process of a spawn runs, or could not be started.
    Starts,
    /// It says that it is ready.
    SaysReady,
    /// It gives a sign of life.
    Beats,
    /// It gives evidence of work.
    Works,
    /// Its main process ends, and all that is left of it.
    Ends(Ending),
    /// A probe has its answer.
    Answers(ProbeKind, u64),
    /// A hook is over.
    HookEnds(Hook),
    /// It calls a model, and so often again in this piece of work.
    Calls { run: Option<RunId>, left: u32 },
    /// A worker is done with a run.
    Finishes(RunId, u32, WorkOutcome),
    /// A worker connects to a new supervisor.
    Resumes,
}

pub(crate) type Doings = Queue<Deed>;

/// Something that has its time.
#[derive(Debug)]
pub(crate) enum Deed {
    /// On the machine, to an instance.
    Happens(InstanceId, Happening),
    /// To the supervisor and what is around it.
    World(crate::world::Turn),
}

/// How far a process has come.
#[derive(Debug, Clone, PartialEq)]
enum Life {
    Starting,
    Running {
        since: Duration,
        at: Wall,
    },
    /// It ended, and nobody was there to be told.
    Gone(ExitReport),
}

#[derive(Debug)]
struct Process {
    spec: Arc<AgentSpec>,
    run: Option<RunId>,
    life: Life,
    lot: Lot,
    /// The runs in the hands of a worker, each with its attempt.
    jobs: BTreeMap<RunId, u32>,
}

/// The time on both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    pub(crate) time: Duration,
    pub(crate) wall: Wall,
}

/// Who makes calls to models, and for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A process that lives for one run.
    Process,
    /// A worker, for a run that it works on.
    Run(RunId, u32),
    /// A daemon.
    Daemon,
}

#[derive(Debug)]
pub(crate) struct Machine<'a> {
    assumptions: &'a BTreeMap<AgentName, Assumption>,
    usual: Assumption,
    processes: BTreeMap<InstanceId, Process>,
}

impl<'a> Machine<'a> {
    pub(crate) fn new(assumptions: &'a BTreeMap<AgentName, Assumption>) -> Self {
        Self {
            assumptions,
            usual: Assumption::default(),
            processes: BTreeMap::new(),
        }
    }

    pub(crate) fn assumption(&self, agent: &AgentName) -> &Assumption {
        self.assumptions.get(agent).unwrap_or(&self.usual)
    }

    /// Carries out an order of the core.
    pub(crate) fn order(&mut self, order: Order, now: Clock, dice: &mut Dice, doings: &mut Doings) {
        let mut then = |after: Duration, id: InstanceId, happening: Happening| {
            doings.put(now.time + after, Deed::Happens(id, happening));
        };
        match order {
            Order::Spawn {
                instance,
                spec,
                run,
            } => {
                let assumption = self.assumption(&instance.agent);
                let lot = match spec.mode {
                    Mode::Oneshot => dice.run(assumption.run),
                    Mode::Daemon | Mode::Worker => dice.long_life(),
                };
                let process = Process {
                    spec,
                    run: run.map(|run| run.run),
                    life: Life::Starting,
                    lot,
                    jobs: BTreeMap::new(),
                };
                self.processes.insert(instance.clone(), process);
                then(SPAWNING, instance, Happening::Starts);
            }
            Order::Signal { instance, .. } => {
                let heeds = self.processes.get(&instance).is_some_and(|process| {
                    process.lot.heeds == Heeds::Yes && !process.hangs_at(now.time)
                });
                if heeds {
                    let ends = Happening::Ends(Ending::signal(SIGTERM));
                    then(ENDING, instance, ends);
                }
            }
            Order::Kill { instance } => {
                then(ENDING, instance, Happening::Ends(Ending::signal(SIGKILL)));
            }
            Order::Probe {
                instance,
                probe,
                sequence,
                ..
            } => then(PROBING, instance, Happening::Answers(probe, sequence)),
            Order::RunHook { instance, hook, .. } => {
                then(HOOK, instance, Happening::HookEnds(hook));
            }
            Order::Deliver { instance, run, .. } => {
                self.deliver(instance, (run.run, run.attempt), now, (dice, doings));
            }
            Order::CancelRun { instance, run } => {
                let process = self.processes.get(&instance);
                let attempt = process.and_then(|process| process.jobs.get(&run));
                if let Some(attempt) = attempt.copied() {
                    let outcome = failed("cancelled", Retryable::No);
                    let finishes = Happening::Finishes(run, attempt, outcome);
                    then(ENDING, instance, finishes);
                }
            }
            Order::Release { instance } => {
                self.processes.remove(&instance);
            }
            // Nobody pauses an agent here, and a worker that is told to finish does so anyway.
            Order::Freeze { .. } | Order::Thaw { .. } | Order::Drain { .. } => {}
        }
    }

    /// Something happens to an instance. Returns what the supervisor is told, if it is there.
    pub(crate) fn happen(
        &mut self,
        id: &InstanceId,
        happening: Happening,
        now: Clock,
        doings: &mut Doings,
    ) -> Option<Fact> {
        let instance = id.clone();
        match happening {
            Happening::Starts => self.starts(id, now, doings),
            Happening::SaysReady => {
                let running = self.running(id)?;
                (!running.hangs_at(now.time)).then(|| {
                    said(
                        instance,
                        Notification {
                            lifecycle: Some(Lifecycle::Ready),
                            ..Notification::default()
                        },
                    )
                })
            }
            Happening::Beats => self.beats(id, now, doings),
            Happening::Works => Some(Fact::Progressed { instance }),
            Happening::Ends(ending) => self.ends(id, ending, now),
            Happening::Answers(probe, sequence) => {
                let outcome = self.answer(id, probe, now)?;
                Some(Fact::Probed {
                    instance,
                    probe,
                    sequence,
                    outcome,
                })
            }
            Happening::HookEnds(hook) => Some(Fact::HookDone {
                instance,
                hook,
                outcome: HookOutcome::Success,
            }),
            Happening::Finishes(run, attempt, outcome) => {
                let process = self.processes.get_mut(id)?;
                if process.jobs.get(&run) != Some(&attempt) || process.hangs_at(now.time) {
                    return None;
                }
                process.jobs.remove(&run);
                Some(Fact::RunFinished {
                    instance,
                    run,
                    attempt,
                    outcome,
                })
            }
            Happening::Resumes => {
                let jobs = &self.running(id)?.jobs;
                let running = jobs.iter().map(|(run, attempt)| (*run, *attempt)).collect();
                Some(Fact::Resumed { instance, running })
            }
            // Calls are the world's: it knows what money is left.
            Happening::Calls { .. } => None,
        }
    }

    /// Who makes the calls of a piece of work, if it is still under way.
    pub(crate) fn caller(&self, id: &InstanceId, run: Option<RunId>, now: Clock) -> Option<Caller> {
        let process = self.running(id)?;
        if process.hangs_at(now.time) {
            return None;
        }
        match (process.spec.mode, run) {
            (Mode::Oneshot, _) => Some(Caller::Process),
            (Mode::Worker, Some(run)) => {
                let attempt = process.jobs.get(&run)?;
                Some(Caller::Run(run, *attempt))
            }
            (Mode::Daemon, _) | (Mode::Worker, None) => Some(Caller::Daemon),
        }
    }

    /// A supervisor has come: processes that live say again that they are ready, and workers what
    /// they work on.
    pub(crate) fn greet(&self, now: Clock, doings: &mut Doings) {
        for (id, process) in &self.processes {
            if !matches!(process.life, Life::Running { .. }) {
                continue;
            }
            if process.spec.mode == Mode::Worker {
                doings.put(now.time, Deed::Happens(id.clone(), Happening::Resumes));
            }
            if speaks(&process.spec) && self.is_up(id, process, now.time) {
                doings.put(now.time, Deed::Happens(id.clone(), Happening::SaysReady));
            }
        }
    }

    /// Nobody is there to be told any more of what was about to start.
    pub(crate) fn supervisor_dies(&mut self) {
        self.processes
            .retain(|_, process| process.life != Life::Starting);
    }

    /// Every process ends with the power.
    pub(crate) fn restarts(&mut self) {
        self.processes.clear();
    }

    /// What a new supervisor finds of an instance.
    pub(crate) fn find(&self, id: &InstanceId) -> Recovered {
        match self.processes.get(id).map(|process| &process.life) {
            None | Some(Life::Starting) => Recovered::NeverStarted,
            Some(Life::Running { at, .. }) => Recovered::Alive {
                pid: pid(id),
                at: *at,
                image: None,
            },
            Some(Life::Gone(report)) => Recovered::Ended(report.clone()),
        }
    }

    /// Something is to be said again, because nobody heard it.
    pub(crate) fn unheard(&mut self, fact: Fact, now: Clock, doings: &mut Doings) {
        let Fact::RunFinished {
            instance,
            run,
            attempt,
            outcome,
        } = fact
        else {
            return;
        };
        if let Some(process) = self.processes.get_mut(&instance) {
            process.jobs.insert(run, attempt);
            let again = Happening::Finishes(run, attempt, outcome);
            doings.put(now.time + AGAIN, Deed::Happens(instance, again));
        }
    }

    fn running(&self, id: &InstanceId) -> Option<&Process> {
        let process = self.processes.get(id)?;
        matches!(process.life, Life::Running { .. }).then_some(process)
    }

    fn is_up(&self, id: &InstanceId, process: &Process, time: Duration) -> bool {
        let assumption = self.assumption(&id.agent);
        let Life::Running { since, .. } = process.life else {
            return false;
        };
        assumption.readiness == Readiness::Comes
            && time >= since + assumption.start + process.lot.slower
    }

    fn starts(&mut self, id: &InstanceId, now: Clock, doings: &mut Doings) -> Option<Fact> {
        let assumption = self.assumptions.get(&id.agent).unwrap_or(&self.usual);
        let process = self.processes.get_mut(id)?;
        if process.life != Life::Starting {
            return None;
        }
        let instance = id.clone();
        if process.lot.spawns == Spawns::Fails {
            self.processes.remove(id);
            let error = SpawnError {
                stage: SpawnStage::Fork,
                errno: 11,
                detail: "no process could be created".to_owned(),
            };
            return Some(Fact::SpawnFailed { instance, error });
        }
        process.life = Life::Running {
            since: now.time,
            at: now.wall,
        };
        let mut then = |after: Duration, happening: Happening| {
            doings.put(now.time + after, Deed::Happens(id.clone(), happening));
        };
        let up = assumption.start + process.lot.slower;
        if speaks(&process.spec) && assumption.readiness == Readiness::Comes {
            then(up, Happening::SaysReady);
        }
        if let Some(every) = beats_every(&process.spec) {
            then(every, Happening::Beats);
        }
        let is_oneshot = process.spec.mode == Mode::Oneshot;
        let own = if is_oneshot {
            Some((
                assumption.run + process.lot.slower,
                Ending::code(assumption.exit),
            ))
        } else {
            let life = assumption.life;
            life.map(|life| (up + life, Ending::code(assumption.exit)))
        };
        let ends = own.into_iter().chain(process.lot.ends);
        if let Some((after, ending)) = ends.min_by_key(|(after, _)| *after)
            && after <= process.lot.hangs_after
        {
            then(after, Happening::Ends(ending));
        }
        if let Some(calls) = &assumption.calls
            && calls.number > 0
        {
            let run = process.run;
            let left = calls.number - 1;
            let first = match (process.spec.mode, assumption.every) {
                (Mode::Oneshot, _) => Some(between(assumption.run, calls.number)),
                (Mode::Daemon, Some(every)) => Some(up + every),
                (Mode::Daemon, None) | (Mode::Worker, _) => None,
            };
            if let Some(first) = first {
                then(first, Happening::Calls { run, left });
            }
        }
        Some(Fact::Started {
            instance,
            pid: pid(id),
            at: now.wall,
            image: None,
        })
    }

    fn beats(&self, id: &InstanceId, now: Clock, doings: &mut Doings) -> Option<Fact> {
        let process = self.running(id)?;
        if process.hangs_at(now.time) {
            return None;
        }
        let every = beats_every(&process.spec)?;
        let next = Deed::Happens(id.clone(), Happening::Beats);
        doings.put(now.time + every, next);
        if process.spec.probes.progress.is_some() {
            doings.put(now.time, Deed::Happens(id.clone(), Happening::Works));
        }
        let beat = Notification {
            watchdog: Some(WatchdogSignal::Alive),
            ..Notification::default()
        };
        Some(said(id.clone(), beat))
    }

    fn ends(&mut self, id: &InstanceId, ending: Ending, now: Clock) -> Option<Fact> {
        let process = self.processes.get_mut(id)?;
        if matches!(process.life, Life::Gone(_)) {
            return None;
        }
        let killed = ending.status == claw_core::ExitStatus::Signal(SIGKILL);
        if process.hangs_at(now.time) && !killed {
            return None;
        }
        process.jobs.clear();
        let report = ExitReport {
            status: ending.status,
            at: now.wall,
            oom_kills: ending.oom_kills,
            leftovers: 0,
            cpu_us: 0,
            memory_peak: 0,
            log: None,
        };
        process.life = Life::Gone(report.clone());
        let instance = id.clone();
        Some(Fact::Gone { instance, report })
    }

    fn answer(&self, id: &InstanceId, probe: ProbeKind, now: Clock) -> Option<ProbeOutcome> {
        let process = self.running(id)?;
        let passes = !process.hangs_at(now.time)
            && match probe {
                ProbeKind::Startup | ProbeKind::Readiness => self.is_up(id, process, now.time),
                ProbeKind::Liveness | ProbeKind::Progress => true,
            };
        Some(if passes {
            ProbeOutcome::Success
        } else {
            ProbeOutcome::Failure("it does not answer".to_owned())
        })
    }

    fn deliver(
        &mut self,
        id: InstanceId,
        (run, attempt): (RunId, u32),
        now: Clock,
        (dice, doings): (&mut Dice, &mut Doings),
    ) {
        let assumption = self.assumptions.get(&id.agent).unwrap_or(&self.usual);
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        process.jobs.insert(run, attempt);
        let lot = dice.run(assumption.run);
        let (after, outcome) = match lot.ends {
            Some((after, _)) => (after, failed("it crashed", Retryable::Yes)),
            None if assumption.exit == 0 => (assumption.run, WorkOutcome::Succeeded),
            None => (assumption.run, failed("it is assumed to", Retryable::Yes)),
        };
        if after <= lot.hangs_after {
            let finishes = Happening::Finishes(run, attempt, outcome);
            doings.put(now.time + after, Deed::Happens(id.clone(), finishes));
        }
        if let Some(calls) = &assumption.calls
            && calls.number > 0
        {
            let first = Happening::Calls {
                run: Some(run),
                left: calls.number - 1,
            };
            let after = between(assumption.run, calls.number);
            doings.put(now.time + after, Deed::Happens(id, first));
        }
    }
}

impl Process {
    fn hangs_at(&self, time: Duration) -> bool {
        match self.life {
            Life::Running { since, .. } => {
                self.lot.hangs_after < NEVER && time > since + self.lot.hangs_after
            }
            Life::Starting | Life::Gone(_) => false,
        }
    }
}

/// The distance of so many calls that are spread evenly over a span.
pub(crate) fn between(span: Duration, calls: u32) -> Duration {
    span / calls.saturating_add(1)
}

/// Whether a run that failed may be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retryable {
    Yes,
    No,
}

pub(crate) fn failed(message: &str, retryable: Retryable) -> WorkOutcome {
    WorkOutcome::Failed {
        message: message.to_owned(),
        retryable: retryable == Retryable::Yes,
    }
}

fn said(instance: InstanceId, notification: Notification) -> Fact {
    Fact::Notified {
        instance,
        notification,
    }
}

fn pid(id: &InstanceId) -> u32 {
    u32::try_from(id.generation.0)
        .unwrap_or(u32::MAX)
        .saturating_add(1)
}

fn is_heartbeat(probe: Option<&Probe>) -> bool {
    probe.is_some_and(|probe| probe.check == Check::Heartbeat)
}

/// Whether it has to say by itself that it is ready.
fn speaks(spec: &AgentSpec) -> bool {
    spec.mode == Mode::Worker
        || is_heartbeat(spec.probes.startup.as_ref())
        || is_heartbeat(spec.probes.readiness.as_ref())
}

/// Often enough for its watchdog and its progress probe.
fn beats_every(spec: &AgentSpec) -> Option<Duration> {
    let watchdog = spec.probes.liveness.as_ref();
    let watchdog = watchdog.filter(|probe| probe.check == Check::Heartbeat);
    let watchdog = watchdog.map(|probe| probe.interval / 2);
    let progress = spec.probes.progress.as_ref();
    let progress = progress.map(|progress| progress.max_silence / 3);
    watchdog.into_iter().chain(progress).min()
}
