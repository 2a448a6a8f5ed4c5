//! Where a story plays: one clock, a journal that answers at once, processes that obey the script.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use claw_core::event::ShutdownMode;
use claw_core::memory::{AgentMemory, Recovered};
use claw_core::notification::{Lifecycle, Notification, WatchdogSignal};
use claw_core::order::HookOutcome;
use claw_core::spec::FleetSpec;
use claw_core::{
    Action, AgentName, Event, ExitReport, ExitStatus, Fact, Fleet, Inheritance, InstanceId, Mono,
    Now, Order, ProbeKind, ProbeOutcome, Record, Run, RunId, RunPhase, Ticket, Wall,
};

use crate::script;
use crate::telling::{self, Teller};
use crate::work::Delivered;

/// What the journal does with records.
#[derive(Clone, Copy, PartialEq)]
enum Journal {
    Well,
    Failing,
    Silent,
}

pub(crate) struct Stage {
    spec: FleetSpec,
    fleet: Option<Fleet>,
    time: Duration,
    /// The wall clock at time zero.
    begin: Wall,
    journal: Journal,
    memories: BTreeMap<AgentName, AgentMemory>,
    intents: BTreeMap<InstanceId, (Option<RunId>, bool)>,
    pub(crate) runs: BTreeMap<RunId, Run>,
    /// What is in the hands of workers, oldest first.
    pub(crate) delivered: Vec<Delivered>,
    /// Those that were started, and how they ended.
    processes: BTreeMap<InstanceId, Recovered>,
    probes: Vec<(InstanceId, ProbeKind, u64)>,
    answers: VecDeque<Event>,
    teller: Teller,
    tickets: u64,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self {
            spec: FleetSpec {
                project: "story".to_owned(),
                max_concurrent_starts: NonZeroU32::new(10).unwrap(),
                groups: Vec::new(),
                agents: BTreeMap::new(),
            },
            fleet: None,
            time: Duration::ZERO,
            begin: "2026-06-01T12:00:00Z".parse().unwrap(),
            journal: Journal::Well,
            memories: BTreeMap::new(),
            intents: BTreeMap::new(),
            runs: BTreeMap::new(),
            delivered: Vec::new(),
            processes: BTreeMap::new(),
            probes: Vec::new(),
            answers: VecDeque::new(),
            teller: Teller::default(),
            tickets: 0,
        }
    }

    /// Plays one line and tells what came of it.
    pub(crate) fn line(&mut self, line: &str) -> Vec<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["agent", name, ref keys @ ..] => {
                let spec = Arc::new(script::agent(keys));
                self.spec.agents.insert(name.parse().unwrap(), spec);
                Vec::new()
            }
            ["remove", name] => {
                self.spec.agents.remove(name);
                Vec::new()
            }
            ["up"] => self.take_over(),
            ["tick", span] => self.wait(script::span(span)),
            ["asleep", span] => {
                self.time += script::span(span);
                self.step(Event::Tick)
            }
            ["clock", by] => {
                let span = jiff::SignedDuration::try_from(script::span(&by[1..])).unwrap();
                self.begin += if by.starts_with('-') { -span } else { span };
                self.step(Event::Tick)
            }
            ["journal", mood] => {
                self.journal = match mood {
                    "well" => Journal::Well,
                    "failing" => Journal::Failing,
                    _ => Journal::Silent,
                };
                Vec::new()
            }
            ["crash", span] => self.crash(script::span(span)),
            ["reboot", span] => {
                for process in self.processes.values_mut() {
                    *process = Recovered::Rebooted;
                }
                self.crash(script::span(span))
            }
            ["down"] => {
                self.fleet = None;
                Vec::new()
            }
            ["show"] => self.show(),
            _ => {
                let of_models = self.of_models(&words);
                let events = of_models.unwrap_or_else(|| self.events(&words));
                events
                    .into_iter()
                    .flat_map(|event| self.step(event))
                    .collect()
            }
        }
    }

    fn events(&mut self, words: &[&str]) -> Vec<Event> {
        match *words {
            ["apply"] => {
                let fleet = Arc::new(self.spec.clone());
                vec![Event::Configure {
                    ticket: self.ticket(),
                    fleet,
                }]
            }
            ["shutdown", "stop"] => vec![Event::Shutdown(ShutdownMode::Stop)],
            ["shutdown", "keep"] => vec![Event::Shutdown(ShutdownMode::Keep)],
            ["shutdown", "hasten"] => vec![Event::Shutdown(ShutdownMode::Hasten)],
            ["exit", name, code] => self.ends(name, ExitStatus::Code(code.parse().unwrap())),
            ["dies", name, signal] => self.ends(name, ExitStatus::Signal(signal.parse().unwrap())),
            ["lost", name] => {
                let instance = self.newest(name);
                self.processes.insert(instance.clone(), Recovered::Lost);
                vec![Event::Fact(Fact::Lost { instance })]
            }
            ["ready", name] => self.says(
                name,
                Notification {
                    lifecycle: Some(Lifecycle::Ready),
                    ..Notification::default()
                },
            ),
            ["alive", name] => self.says(
                name,
                Notification {
                    watchdog: Some(WatchdogSignal::Alive),
                    ..Notification::default()
                },
            ),
            ["probe", name, kind, outcome] => self.probed(name, kind, outcome),
            ["done" | "fails" | "retries", name] => self.finishes(name, words[0]),
            ["resumes", name, what] => self.resumes(name, what),
            ["cancel", name] => self.cancels(name),
            [verb, name] => vec![Event::Command {
                ticket: self.ticket(),
                command: script::command(verb, name.parse().unwrap()),
            }],
            _ => panic!("`{}` is no line of a script", words.join(" ")),
        }
    }

    pub(crate) fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    pub(crate) fn newest(&self, name: &str) -> InstanceId {
        let of_agent = self.processes.keys().filter(|id| id.agent.as_str() == name);
        of_agent.max().unwrap().clone()
    }

    fn says(&self, name: &str, notification: Notification) -> Vec<Event> {
        let instance = self.newest(name);
        vec![Event::Fact(Fact::Notified {
            instance,
            notification,
        })]
    }

    fn ends(&mut self, name: &str, status: ExitStatus) -> Vec<Event> {
        let instance = self.newest(name);
        self.end(&instance, status)
    }

    fn end(&mut self, instance: &InstanceId, status: ExitStatus) -> Vec<Event> {
        let report = ExitReport {
            status,
            at: self.now().wall,
            oom_kills: 0,
            leftovers: 0,
            cpu_us: 0,
            memory_peak: 0,
            log: None,
        };
        let ended = Recovered::Ended(report.clone());
        self.processes.insert(instance.clone(), ended);
        let exited = Fact::MainExited {
            instance: instance.clone(),
            status,
        };
        let gone = Fact::Gone {
            instance: instance.clone(),
            report,
        };
        vec![Event::Fact(exited), Event::Fact(gone)]
    }

    fn probed(&mut self, name: &str, kind: &str, outcome: &str) -> Vec<Event> {
        let asked = |(id, probe, _): &(InstanceId, ProbeKind, u64)| {
            id.agent.as_str() == name && probe.to_string() == kind
        };
        let at = self.probes.iter().position(asked).unwrap();
        let (instance, probe, sequence) = self.probes.remove(at);
        let outcome = match outcome {
            "ok" => ProbeOutcome::Success,
            "fail" => ProbeOutcome::Failure("connection refused".to_owned()),
            _ => ProbeOutcome::Unknown("nobody knows".to_owned()),
        };
        vec![Event::Fact(Fact::Probed {
            instance,
            probe,
            sequence,
            outcome,
        })]
    }

    pub(crate) fn now(&self) -> Now {
        Now {
            mono: Mono::new(self.time),
            wall: self.begin + jiff::SignedDuration::try_from(self.time).unwrap(),
        }
    }

    fn wait(&mut self, span: Duration) -> Vec<String> {
        let until = self.time + span;
        let mut told = Vec::new();
        while let Some((at, _)) = self.fleet.as_ref().and_then(Fleet::deadline) {
            let at = at.since_origin().max(self.time);
            if at > until {
                break;
            }
            self.time = at;
            told.extend(self.step(Event::Tick));
        }
        self.time = until;
        told
    }

    /// One event, and all that the journal and the drivers answer at once.
    fn step(&mut self, event: Event) -> Vec<String> {
        let mut told = Vec::new();
        self.answers.push_back(event);
        while let Some(event) = self.answers.pop_front() {
            let now = self.now();
            let Some(fleet) = &mut self.fleet else {
                continue;
            };
            let actions = fleet.step(now, event);
            told.extend(self.perform(actions));
        }
        told
    }

    fn perform(&mut self, actions: Vec<Action>) -> Vec<String> {
        let mut told = Vec::new();
        for action in actions {
            told.extend(self.teller.tell(&action));
            match action {
                Action::Record { id, record } => {
                    let answer = match (self.journal, id) {
                        (Journal::Well, id) => {
                            self.write(record);
                            id.map(Fact::Recorded)
                        }
                        (Journal::Failing, Some(record)) => Some(Fact::RecordFailed {
                            record,
                            reason: "disk full".to_owned(),
                        }),
                        (Journal::Failing, None) | (Journal::Silent, _) => None,
                    };
                    self.answers.extend(answer.map(Event::Fact));
                }
                Action::Order(order) => self.carry_out(order),
                Action::Reply { .. } | Action::Announce(_) | Action::AllStopped => {}
            }
        }
        told
    }

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Spawn { instance, .. } => {
                let (pid, at) = (4711, self.now().wall);
                let alive = Recovered::Alive {
                    pid,
                    at,
                    image: None,
                };
                self.processes.insert(instance.clone(), alive);
                let started = Fact::Started {
                    instance,
                    pid,
                    at,
                    image: None,
                };
                self.answers.push_back(Event::Fact(started));
            }
            Order::Kill { instance } => {
                let ended = self.end(&instance, ExitStatus::Signal(9));
                self.answers.extend(ended);
            }
            Order::Probe {
                instance,
                probe,
                sequence,
                ..
            } => self.probes.push((instance, probe, sequence)),
            Order::RunHook { instance, hook, .. } => {
                let outcome = HookOutcome::Success;
                let done = Fact::HookDone {
                    instance,
                    hook,
                    outcome,
                };
                self.answers.push_back(Event::Fact(done));
            }
            Order::Deliver { instance, run, .. } => {
                self.delivered.push((instance, run.run, run.attempt));
            }
            Order::Signal { .. }
            | Order::CancelRun { .. }
            | Order::Drain { .. }
            | Order::Freeze { .. }
            | Order::Thaw { .. }
            | Order::Release { .. } => {}
        }
    }

    fn write(&mut self, record: Record) {
        match record {
            Record::Intent { instance, run, .. } => {
                self.intents.insert(instance, (run, false));
            }
            Record::Outcome { instance, .. } => {
                self.intents.entry(instance).or_default().1 = true;
            }
            Record::Memory { agent, memory, .. } => {
                self.memories.insert(agent, memory);
            }
            Record::Run(run) => {
                self.runs.insert(run.id, *run);
            }
            Record::Removed { agent, last } => {
                let memory = self.memories.entry(agent).or_default();
                *memory = AgentMemory {
                    last_generation: last,
                    ..AgentMemory::default()
                };
            }
            Record::Started { .. } | Record::Slot { .. } => {}
        }
    }

    fn crash(&mut self, away: Duration) -> Vec<String> {
        self.fleet = None;
        self.probes.clear();
        self.time += away;
        self.take_over()
    }

    fn take_over(&mut self) -> Vec<String> {
        let never = Recovered::NeverStarted;
        let open = self.intents.iter().filter(|(_, (_, ended))| !ended);
        let inheritance = Inheritance {
            agents: self.memories.clone(),
            instances: open
                .map(|(id, (run, _))| {
                    let found = self.processes.get(id).unwrap_or(&never);
                    (id.clone(), *run, found.clone())
                })
                .collect(),
            runs: self
                .runs
                .values()
                .filter(|run| !matches!(run.phase, RunPhase::Finished { .. }))
                .map(|run| Arc::new(run.clone()))
                .collect(),
            ..Inheritance::default()
        };
        let spec = Arc::new(self.spec.clone());
        let (fleet, actions) = Fleet::restore(spec, inheritance, 1, self.now());
        self.fleet = Some(fleet);
        let mut told = self.perform(actions);
        told.extend(self.step(Event::Tick));
        told
    }

    fn show(&self) -> Vec<String> {
        let statuses = self.fleet.as_ref().map(|fleet| fleet.statuses(self.now()));
        statuses
            .unwrap_or_default()
            .iter()
            .map(telling::line)
            .collect()
    }
}
