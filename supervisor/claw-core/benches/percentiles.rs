//! The cost of one step in a fleet of ten thousand, in percentiles: `cargo bench -p claw-core
//! --bench percentiles`. The promise is 50 µs at the 99th.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use claw_core::spec::{
    AgentSpec, Backoff, Check, ExitCodes, FleetSpec, Hooks, Launch, LogPolicy, Mode, OnFull, Probe,
    Probes, Program, Resources, Restart, RestartPolicy, Shutdown,
};
use claw_core::{
    Action, AgentName, Command, Event, ExitReport, ExitStatus, Fact, Fleet, Inheritance,
    InstanceId, Mono, Now, Order, ProbeKind, ProbeOutcome, Ticket, Wall,
};

const AGENTS: u32 = 10_000;

/// Steps behind each line.
const MEASURED: usize = 50_000;

/// Between two measured steps, so that not all fall due at once.
const PACE: Duration = Duration::from_micros(500);

#[expect(
    clippy::print_stdout,
    reason = "a benchmark reports on standard output"
)]
fn main() {
    println!("{AGENTS} agents, {MEASURED} steps each, in µs");
    println!(
        "{:>14} {:>8} {:>8} {:>8} {:>8}",
        "step", "p50", "p99", "p99.9", "worst"
    );
    let kinds: [(&str, Make); 5] = [
        ("trigger", World::trigger),
        ("exit", World::exit),
        ("probe result", World::probed),
        ("sign of work", World::progressed),
        ("tick", World::tick),
    ];
    for (name, event) in kinds {
        let mut world = World::new();
        let mut costs: Vec<f64> = (0..MEASURED).map(|_| world.cost_of(event)).collect();
        costs.sort_by(f64::total_cmp);
        let at = |per_mille: usize| costs[(costs.len() - 1) * per_mille / 1000];
        let (p50, p99, p999, worst) = (at(500), at(990), at(999), at(1000));
        println!("{name:>14} {p50:>8.1} {p99:>8.1} {p999:>8.1} {worst:>8.1}");
    }
}

#[expect(clippy::disallowed_types, reason = "a benchmark measures real time")]
fn micros(work: impl FnOnce()) -> f64 {
    let start = std::time::Instant::now();
    work();
    start.elapsed().as_secs_f64() * 1e6
}

/// Makes the next event of a kind.
type Make = fn(&mut World) -> Event;

/// A fleet in which everything runs, and a driver and a journal that answer at once.
struct World {
    fleet: Fleet,
    now: Now,
    open: VecDeque<Action>,
    /// Checks under way.
    asked: VecDeque<(InstanceId, u64)>,
    /// Daemons that run, longest first.
    live: VecDeque<InstanceId>,
    /// Agents that take runs.
    idle: VecDeque<AgentName>,
    runs: Vec<InstanceId>,
}

impl World {
    /// Nine of ten agents are daemons, the others take runs.
    fn new() -> Self {
        let now = Now {
            mono: Mono::new(Duration::from_secs(1)),
            wall: Wall::UNIX_EPOCH,
        };
        let agents = (0..AGENTS).map(|number| {
            let name = format!("agent-{number}").parse().expect("a good name");
            (name, Arc::new(agent(mode(number))))
        });
        let spec = FleetSpec {
            project: "bench".to_owned(),
            max_concurrent_starts: NonZeroU32::new(10).expect("not zero"),
            groups: Vec::new(),
            agents: agents.collect(),
        };
        let names = spec
            .agents
            .iter()
            .filter(|(_, spec)| spec.mode == Mode::Oneshot);
        let idle = names.map(|(name, _)| name.clone()).collect();
        let (fleet, actions) = Fleet::restore(Arc::new(spec), Inheritance::default(), 1, now);
        let mut world = Self {
            fleet,
            now,
            open: actions.into(),
            asked: VecDeque::new(),
            live: VecDeque::new(),
            idle,
            runs: Vec::new(),
        };
        world.settle();
        world
    }

    /// Measures one event; what follows from it is answered unmeasured.
    fn cost_of(&mut self, event: Make) -> f64 {
        self.pass(PACE);
        let event = event(self);
        let mut actions = Vec::new();
        let cost = micros(|| actions = self.fleet.step(self.now, event));
        self.open.extend(actions);
        self.settle();
        cost
    }

    fn pass(&mut self, span: Duration) {
        self.now.mono = self.now.mono + span;
        self.now.wall += jiff::SignedDuration::try_from(span).expect("a short span");
    }

    fn step(&mut self, event: Event) {
        let actions = self.fleet.step(self.now, event);
        self.open.extend(actions);
        self.settle();
    }

    /// The journal acknowledges and processes start, a millisecond apart, until all is answered.
    fn settle(&mut self) {
        while let Some(action) = self.open.pop_front() {
            let fact = match action {
                Action::Record { id, .. } => id.map(Fact::Recorded),
                Action::Order(Order::Spawn { instance, run, .. }) => {
                    self.pass(Duration::from_millis(1));
                    match run {
                        None => self.live.push_back(instance.clone()),
                        Some(_) => self.runs.push(instance.clone()),
                    }
                    Some(Fact::Started {
                        instance,
                        pid: 1,
                        at: self.now.wall,
                        image: None,
                    })
                }
                Action::Order(Order::Probe {
                    instance, sequence, ..
                }) => {
                    self.asked.push_back((instance, sequence));
                    None
                }
                Action::Order(_)
                | Action::Reply { .. }
                | Action::Announce(_)
                | Action::AllStopped => None,
            };
            if let Some(fact) = fact {
                self.open
                    .extend(self.fleet.step(self.now, Event::Fact(fact)));
            }
        }
    }

    fn until_due(&mut self) {
        if let Some((at, _)) = self.fleet.deadline() {
            self.pass(at.since(self.now.mono));
        }
    }

    /// An idle agent is triggered; the one before it is done with its run.
    fn trigger(&mut self) -> Event {
        while let Some(instance) = self.runs.pop() {
            self.idle.push_back(instance.agent.clone());
            let gone = gone(instance, 0, self.now.wall);
            self.step(gone);
        }
        let agent = self.idle.pop_front().expect("some agent is idle");
        Event::Command {
            ticket: Ticket(1),
            command: Command::Trigger {
                agent,
                payload: None,
                run: None,
            },
        }
    }

    /// A daemon fails; the longest living one, so that it backs off anew each time.
    fn exit(&mut self) -> Event {
        loop {
            if let Some(instance) = self.live.pop_front() {
                return gone(instance, 1, self.now.wall);
            }
            self.until_due();
            self.step(Event::Tick);
        }
    }

    fn probed(&mut self) -> Event {
        loop {
            if let Some((instance, sequence)) = self.asked.pop_front() {
                return passed(instance, sequence);
            }
            self.until_due();
            self.step(Event::Tick);
        }
    }

    fn progressed(&mut self) -> Event {
        self.live.rotate_left(1);
        let instance = self.live.front().expect("daemons run").clone();
        Event::Fact(Fact::Progressed { instance })
    }

    /// The host wakes the fleet at its deadline.
    fn tick(&mut self) -> Event {
        while let Some((instance, sequence)) = self.asked.pop_front() {
            self.step(passed(instance, sequence));
        }
        self.until_due();
        Event::Tick
    }
}

fn gone(instance: InstanceId, code: u8, at: Wall) -> Event {
    let report = ExitReport {
        status: ExitStatus::Code(code),
        at,
        oom_kills: 0,
        leftovers: 0,
        cpu_us: 0,
        memory_peak: 0,
        log: None,
    };
    Event::Fact(Fact::Gone { instance, report })
}

const fn passed(instance: InstanceId, sequence: u64) -> Event {
    Event::Fact(Fact::Probed {
        instance,
        probe: ProbeKind::Liveness,
        sequence,
        outcome: ProbeOutcome::Success,
    })
}

const fn mode(number: u32) -> Mode {
    if number.is_multiple_of(10) {
        Mode::Oneshot
    } else {
        Mode::Daemon
    }
}

fn agent(mode: Mode) -> AgentSpec {
    let liveness = Probe {
        check: Check::Tcp {
            host: "127.0.0.1".to_owned(),
            port: 80,
        },
        interval: Duration::from_secs(30),
        timeout: Duration::from_secs(10),
        threshold: 3,
    };
    AgentSpec {
        launch: Launch {
            command: vec!["/bin/agent".to_owned()],
            program: Program::Any,
            container: None,
            sandbox: None,
            env: BTreeMap::new(),
            secrets: BTreeMap::new(),
            working_dir: "/".into(),
            user: None,
            data_dirs: Vec::new(),
            config: serde_json::Value::Null,
            models: None,
        },
        mode,
        schedule: None,
        concurrency: NonZeroU32::MIN,
        depends_on: BTreeMap::new(),
        restart: Restart {
            policy: RestartPolicy::Always,
            max_retries: None,
            backoff: Backoff::Exponential,
            initial_delay: Duration::from_secs(5),
            max_delay: Duration::from_secs(300),
            reset_after: Duration::from_secs(3600),
            jitter_percent: 10,
            exit_codes: ExitCodes {
                success: [0].into(),
                retry: [75].into(),
                fatal: [78].into(),
                again: [].into(),
            },
        },
        probes: Probes {
            liveness: (mode == Mode::Daemon).then_some(liveness),
            ..Probes::default()
        },
        resources: Resources::default(),
        shutdown: Shutdown {
            timeout: Duration::from_secs(30),
            signal: 15,
            clean: Vec::new(),
        },
        hooks: Hooks::default(),
        logging: LogPolicy {
            max_size: 1 << 20,
            max_files: 5,
            retention: Duration::from_secs(86_400),
            on_full: OnFull::Drop,
        },
    }
}
