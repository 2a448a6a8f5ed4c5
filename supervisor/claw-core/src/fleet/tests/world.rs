//! A small world around a fleet: a clock that only tests move, and a journal that answers, fails
//! or keeps silent.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::action::{Action, Answer, Happened, SlotFate};
use crate::clock::{Mono, Now, Wall};
use crate::death::{Cause, ExitReport, ExitStatus};
use crate::event::{Command, Event, Fact};
use crate::fleet::Fleet;
use crate::id::{Generation, InstanceId, Ticket};
use crate::memory::Inheritance;
use crate::name::AgentName;
use crate::notification::{Lifecycle, Notification};
use crate::order::{Order, ProbeKind, ProbeOutcome, RunContext};
use crate::record::{Record, RecordId};
use crate::refusal::Refusal;
use crate::run::{Run, RunOutcome, RunPhase};
use crate::spec::schedule::RunOnStart;
use crate::spec::{
    AgentSpec, Backoff, CatchUp, Check, CleanExit, Condition, ExitCodes, FleetSpec, Hooks, Launch,
    LogPolicy, Mode, OnFull, Overlap, Probe, Probes, Program, Resources, Restart, RestartPolicy,
    Schedule, Shutdown, Timing,
};
use crate::status::{AgentStatus, PublicState};

/// 2026-01-01 00:00:00 UTC.
const BEGIN: i64 = 1_767_225_600;

/// What the journal of the world does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Journal {
    Answers,
    Fails,
    Silent,
}

pub(crate) struct World {
    pub(crate) fleet: Fleet,
    pub(crate) now: Now,
    pub(crate) journal: Journal,
    /// All that was done, from the beginning.
    pub(crate) done: Vec<Action>,
    tickets: u64,
}

impl World {
    pub(crate) fn new(agents: Vec<(&str, AgentSpec)>) -> Self {
        Self::restored(agents, Inheritance::default())
    }

    pub(crate) fn restored(agents: Vec<(&str, AgentSpec)>, inheritance: Inheritance) -> Self {
        Self::of(fleet_of(agents), inheritance)
    }

    pub(crate) fn of(spec: FleetSpec, inheritance: Inheritance) -> Self {
        let now = begin();
        let (fleet, actions) = Fleet::restore(Arc::new(spec), inheritance, 1, now);
        let mut world = Self {
            fleet,
            now,
            journal: Journal::Answers,
            done: Vec::new(),
            tickets: 0,
        };
        world.carry_out(actions);
        world
    }

    /// Takes an event and lets the journal answer. Returns what was done about it.
    pub(crate) fn event(&mut self, event: Event) -> Vec<Action> {
        let before = self.done.len();
        let actions = self.fleet.step(self.now, event);
        self.carry_out(actions);
        self.done[before..].to_vec()
    }

    pub(crate) fn fact(&mut self, fact: Fact) -> Vec<Action> {
        self.event(Event::Fact(fact))
    }

    /// Asks, and returns the answer if there is one yet.
    pub(crate) fn ask(&mut self, command: Command) -> Option<Result<Answer, Refusal>> {
        let ticket = self.ask_later(command);
        self.answer(ticket)
    }

    pub(crate) fn ask_later(&mut self, command: Command) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.event(Event::Command { ticket, command });
        ticket
    }

    pub(crate) fn configure(&mut self, agents: Vec<(&str, AgentSpec)>) -> Vec<Action> {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let fleet = Arc::new(fleet_of(agents));
        self.event(Event::Configure { ticket, fleet })
    }

    pub(crate) fn answer(&self, ticket: Ticket) -> Option<Result<Answer, Refusal>> {
        let to_it = |(to, result): (Ticket, &Result<Answer, Refusal>)| {
            (to == ticket).then(|| result.clone())
        };
        let mut answers = answers(&self.done).filter_map(to_it);
        let answer = answers.next();
        assert_eq!(answers.next(), None, "{ticket:?} was answered twice");
        answer
    }

    /// Lets time pass, with a tick at every deadline.
    pub(crate) fn pass(&mut self, span: Duration) -> Vec<Action> {
        let before = self.done.len();
        let end = self.now.mono + span;
        while let Some((at, why)) = self.fleet.deadline().filter(|(at, _)| *at <= end) {
            assert!(at >= self.now.mono, "{why} is due in the past");
            self.move_to(at);
            self.event(Event::Tick);
        }
        self.move_to(end);
        self.done[before..].to_vec()
    }

    /// Time passes and nobody wakes the fleet.
    pub(crate) fn sleep(&mut self, span: Duration) {
        self.move_to(self.now.mono + span);
    }

    pub(crate) fn started(&mut self, agent: &str) -> Vec<Action> {
        let instance = self.newest(agent);
        let at = self.now.wall;
        self.fact(Fact::Started {
            instance,
            pid: 100,
            at,
            image: None,
        })
    }

    pub(crate) fn gone(&mut self, agent: &str, status: ExitStatus) -> Vec<Action> {
        let instance = self.newest(agent);
        self.gone_of(instance, status)
    }

    pub(crate) fn gone_of(&mut self, instance: InstanceId, status: ExitStatus) -> Vec<Action> {
        let report = report(self.now.wall, status);
        self.fact(Fact::Gone { instance, report })
    }

    pub(crate) fn exits(&mut self, agent: &str, code: u8) -> Vec<Action> {
        self.gone(agent, ExitStatus::Code(code))
    }

    /// It starts and fails.
    pub(crate) fn crash_once(&mut self, agent: &str) {
        self.started(agent);
        self.exits(agent, 1);
    }

    /// It starts, fails, and waits for its next start.
    pub(crate) fn crashes(&mut self, agent: &str) {
        self.started(agent);
        self.exits(agent, 1);
        if let Some(backoff) = self.due_in() {
            self.pass(backoff);
        }
    }

    pub(crate) fn ready(&mut self, agent: &str) -> Vec<Action> {
        self.notify(
            agent,
            Notification {
                lifecycle: Some(Lifecycle::Ready),
                ..Notification::default()
            },
        )
    }

    pub(crate) fn notify(&mut self, agent: &str, notification: Notification) -> Vec<Action> {
        let instance = self.newest(agent);
        self.fact(Fact::Notified {
            instance,
            notification,
        })
    }

    /// Answers the last probe of a kind.
    pub(crate) fn probed(
        &mut self,
        agent: &str,
        kind: ProbeKind,
        outcome: ProbeOutcome,
    ) -> Vec<Action> {
        let asked = ordered(&self.done).rev().find_map(|order| {
            if let Order::Probe {
                instance,
                probe,
                sequence,
                ..
            } = order
            {
                let own = *probe == kind && instance.agent == name(agent);
                own.then(|| (instance.clone(), *sequence))
            } else {
                None
            }
        });
        let (instance, sequence) = asked.expect("the probe was ordered");
        self.fact(Fact::Probed {
            instance,
            probe: kind,
            sequence,
            outcome,
        })
    }

    /// The newest instance for which an intent was written.
    pub(crate) fn newest(&self, agent: &str) -> InstanceId {
        let newest = records(&self.done).rev().find_map(|(_, record)| {
            if let Record::Intent { instance, .. } = record {
                (instance.agent == name(agent)).then(|| instance.clone())
            } else {
                None
            }
        });
        newest.unwrap_or_else(|| InstanceId {
            agent: name(agent),
            generation: Generation(1),
        })
    }

    pub(crate) fn status(&self, agent: &str) -> AgentStatus {
        let status = self.fleet.status(&name(agent), self.now);
        status.expect("the agent is in the fleet")
    }

    pub(crate) fn face(&self, agent: &str) -> (PublicState, &'static str) {
        let status = self.status(agent);
        (status.state, status.reason.code())
    }

    /// When the fleet is due next, from now on.
    pub(crate) fn due_in(&self) -> Option<Duration> {
        let (at, _) = self.fleet.deadline()?;
        Some(at.since(self.now.mono))
    }

    fn move_to(&mut self, at: Mono) {
        let span = at.since(self.now.mono);
        self.now = Now {
            mono: self.now.mono + span,
            wall: self.now.wall.checked_add(span).expect("tests are short"),
        };
    }

    fn carry_out(&mut self, actions: Vec<Action>) {
        let asked: Vec<RecordId> = records(&actions).filter_map(|(id, _)| id).collect();
        self.done.extend(actions);
        for record in asked {
            let fact = match self.journal {
                Journal::Answers => Fact::Recorded(record),
                Journal::Fails => Fact::RecordFailed {
                    record,
                    reason: "the disk is full".to_owned(),
                },
                Journal::Silent => continue,
            };
            let actions = self.fleet.step(self.now, Event::Fact(fact));
            self.carry_out(actions);
        }
    }
}

pub(crate) fn begin() -> Now {
    Now {
        mono: Mono::new(Duration::from_secs(1000)),
        wall: Wall::from_second(BEGIN).expect("in range"),
    }
}

pub(crate) fn name(agent: &str) -> AgentName {
    agent.parse().expect("a good name")
}

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn report(at: Wall, status: ExitStatus) -> ExitReport {
    ExitReport {
        status,
        at,
        oom_kills: 0,
        leftovers: 0,
        cpu_us: 0,
        memory_peak: 0,
        log: None,
    }
}

/// Agents with a number at the end are replicas of one another.
pub(crate) fn fleet_of(agents: Vec<(&str, AgentSpec)>) -> FleetSpec {
    let numbered = agents.iter().map(|(agent, _)| *agent);
    let numbered = numbered.filter(|agent| agent.ends_with(|last: char| last.is_ascii_digit()));
    let replicas: Vec<AgentName> = numbered.map(name).collect();
    FleetSpec {
        project: "test".to_owned(),
        max_concurrent_starts: NonZeroU32::new(10).expect("not zero"),
        groups: vec![replicas],
        agents: agents
            .into_iter()
            .map(|(agent, spec)| (name(agent), Arc::new(spec)))
            .collect(),
    }
}

/// A daemon with the defaults of the fleet file, without jitter.
pub(crate) fn daemon() -> AgentSpec {
    AgentSpec {
        launch: Launch {
            command: vec!["/bin/agent".to_owned()],
            program: Program::Any,
            container: None,
            sandbox: None,
            env: BTreeMap::new(),
            secrets: BTreeMap::new(),
            working_dir: PathBuf::from("/"),
            user: None,
            data_dirs: Vec::new(),
            config: serde_json::Value::Null,
            models: None,
        },
        mode: Mode::Daemon,
        schedule: None,
        concurrency: NonZeroU32::MIN,
        depends_on: BTreeMap::new(),
        restart: Restart {
            policy: RestartPolicy::Always,
            max_retries: None,
            backoff: Backoff::Exponential,
            initial_delay: secs(5),
            max_delay: secs(300),
            reset_after: secs(3600),
            jitter_percent: 0,
            exit_codes: ExitCodes {
                success: [0].into(),
                retry: [75].into(),
                fatal: [78].into(),
                again: [99].into(),
            },
        },
        probes: Probes::default(),
        resources: Resources::default(),
        shutdown: Shutdown {
            timeout: secs(30),
            signal: 15,
            clean: vec![CleanExit::Code(0), CleanExit::Signal(15)],
        },
        hooks: Hooks::default(),
        logging: LogPolicy {
            max_size: 1 << 20,
            max_files: 5,
            retention: secs(86400),
            on_full: OnFull::Drop,
        },
    }
}

/// A oneshot without a schedule.
pub(crate) fn oneshot() -> AgentSpec {
    let mut spec = daemon();
    spec.mode = Mode::Oneshot;
    spec.restart.max_retries = Some(2);
    spec
}

/// A oneshot with a schedule that does not run at start.
pub(crate) fn every(span: Duration, overlap: Overlap) -> AgentSpec {
    let mut spec = oneshot();
    spec.schedule = Some(Schedule {
        timing: Timing::Every(span),
        overlap,
        catch_up: CatchUp::One,
        max_lateness: None,
        jitter: Duration::ZERO,
        timeout: None,
        run_on_start: RunOnStart::No,
    });
    spec
}

/// A worker with a schedule that does not run at start.
pub(crate) fn worker(overlap: Overlap) -> AgentSpec {
    let mut spec = every(secs(1_000_000), overlap);
    spec.mode = Mode::Worker;
    spec
}

pub(crate) fn depends(mut spec: AgentSpec, on: &str, condition: Condition) -> AgentSpec {
    spec.depends_on.insert(name(on), condition);
    spec
}

pub(crate) const fn probe(check: Check, interval: u64, threshold: u32) -> Probe {
    Probe {
        check,
        interval: secs(interval),
        timeout: secs(5),
        threshold,
    }
}

pub(crate) fn tcp() -> Check {
    Check::Tcp {
        host: "127.0.0.1".to_owned(),
        port: 80,
    }
}

pub(crate) fn start(agent: &str) -> Command {
    Command::Start { agent: name(agent) }
}

pub(crate) fn stop(agent: &str) -> Command {
    Command::Stop { agent: name(agent) }
}

pub(crate) fn restart(agent: &str) -> Command {
    Command::Restart { agent: name(agent) }
}

pub(crate) fn trigger(agent: &str) -> Command {
    Command::Trigger {
        agent: name(agent),
        payload: None,
        run: None,
    }
}

/// The records among actions, with who waits for them.
pub(crate) fn records(
    actions: &[Action],
) -> impl DoubleEndedIterator<Item = (Option<RecordId>, &Record)> {
    actions.iter().filter_map(|action| {
        if let Action::Record { id, record } = action {
            Some((*id, record))
        } else {
            None
        }
    })
}

/// The orders among actions.
fn ordered(actions: &[Action]) -> impl DoubleEndedIterator<Item = &Order> {
    actions.iter().filter_map(|action| {
        if let Action::Order(order) = action {
            Some(order)
        } else {
            None
        }
    })
}

/// The spawns among actions, with what the process is told of its run.
pub(crate) fn spawns(actions: &[Action]) -> impl Iterator<Item = (InstanceId, Option<RunContext>)> {
    ordered(actions).filter_map(|order| {
        if let Order::Spawn { instance, run, .. } = order {
            Some((instance.clone(), run.clone()))
        } else {
            None
        }
    })
}

/// The deliveries among actions.
pub(crate) fn deliveries(actions: &[Action]) -> impl Iterator<Item = (InstanceId, RunContext)> {
    ordered(actions).filter_map(|order| {
        if let Order::Deliver { instance, run, .. } = order {
            Some((instance.clone(), run.clone()))
        } else {
            None
        }
    })
}

/// The answers among actions.
pub(crate) fn answers(
    actions: &[Action],
) -> impl Iterator<Item = (Ticket, &Result<Answer, Refusal>)> {
    actions.iter().filter_map(|action| {
        if let Action::Reply { ticket, result } = action {
            Some((*ticket, result))
        } else {
            None
        }
    })
}

/// What was announced among actions.
fn happenings(actions: &[Action]) -> impl Iterator<Item = &Happened> {
    actions.iter().filter_map(|action| {
        if let Action::Announce(announcement) = action {
            Some(&announcement.happened)
        } else {
            None
        }
    })
}

/// The orders among actions, as short words with their generation.
pub(crate) fn orders(actions: &[Action]) -> Vec<String> {
    let word = |order: &Order| match order {
        Order::Spawn { .. } => "spawn".to_owned(),
        Order::Signal { signal, .. } => format!("signal {signal}"),
        Order::Kill { .. } => "kill".to_owned(),
        Order::Freeze { .. } => "freeze".to_owned(),
        Order::Thaw { .. } => "thaw".to_owned(),
        Order::Probe { probe, .. } => format!("probe {probe}"),
        Order::RunHook { hook, .. } => format!("hook {hook}"),
        Order::Deliver { run, .. } => format!("deliver {}", run.attempt),
        Order::CancelRun { .. } => "cancel".to_owned(),
        Order::Drain { .. } => "drain".to_owned(),
        Order::Release { .. } => "release".to_owned(),
    };
    ordered(actions)
        .map(|order| format!("{} {}", word(order), order.instance()))
        .collect()
}

/// The outcomes among actions: generation, cause code, failed.
pub(crate) fn outcomes(actions: &[Action]) -> Vec<(u64, &'static str, bool)> {
    let outcome = |(_, record)| {
        if let &Record::Outcome {
            ref instance,
            ref cause,
            failed,
            ..
        } = record
        {
            Some((instance.generation.0, cause.code(), failed))
        } else {
            None
        }
    };
    records(actions).filter_map(outcome).collect()
}

/// The slots settled among actions.
pub(crate) fn fates(actions: &[Action]) -> Vec<(Wall, SlotFate)> {
    let fate = |happened: &Happened| {
        if let Happened::SlotSettled { slot, fate, .. } = happened {
            Some((*slot, *fate))
        } else {
            None
        }
    };
    happenings(actions).filter_map(fate).collect()
}

/// The phases of runs as they were announced.
pub(crate) fn run_phases(actions: &[Action]) -> Vec<String> {
    let phase = |happened: &Happened| {
        if let Happened::RunChanged { run } = happened {
            Some(phase_word(run))
        } else {
            None
        }
    };
    happenings(actions).filter_map(phase).collect()
}

fn phase_word(run: &Run) -> String {
    match &run.phase {
        RunPhase::Queued => "queued".to_owned(),
        RunPhase::Running { .. } => "running".to_owned(),
        RunPhase::Retrying { .. } => "retrying".to_owned(),
        RunPhase::Finished { outcome, .. } => match outcome {
            RunOutcome::Succeeded => "succeeded".to_owned(),
            RunOutcome::Failed { cause } => format!("failed: {}", cause.code()),
            RunOutcome::Cancelled { cause } => format!("cancelled: {}", cause.code()),
            RunOutcome::Interrupted { cause } => format!("interrupted: {}", cause.code()),
        },
    }
}

/// How many facts were ignored.
pub(crate) fn stale(actions: &[Action]) -> usize {
    let stale = |happened: &&Happened| matches!(happened, Happened::StaleFact { .. });
    happenings(actions).filter(stale).count()
}

/// A cause for tests that need some failure.
pub(crate) const fn exit(code: u8) -> Cause {
    Cause::exit(code)
}
