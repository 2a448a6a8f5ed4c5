//! What one step costs in a large fleet: `cargo bench -p claw-core`.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use claw_core::spec::{
    Backoff, Check, ExitCodes, Hooks, Launch, LogPolicy, Mode, OnFull, Probe, Probes, Program,
    Resources, Restart, RestartPolicy, Shutdown,
};
use claw_core::{
    Action, AgentName, AgentSpec, Event, ExitReport, ExitStatus, Fact, Fleet, FleetSpec,
    Generation, Inheritance, InstanceId, Mono, Now, Order, ProbeOutcome, RecordId, Wall,
};

/// As many agents as one supervisor is built for.
const AGENTS: u32 = 10_000;

/// One step may take 50 us at the 99th percentile.
const SAMPLES: u32 = 2_000;

fn main() {
    divan::main();
}

/// A fleet in which everything runs, and the time.
struct World {
    fleet: Fleet,
    now: Now,
    next: u32,
}

impl World {
    fn new() -> Self {
        let now = Now {
            mono: Mono::new(Duration::from_secs(1000)),
            wall: Wall::UNIX_EPOCH,
        };
        let agents = (0..AGENTS).map(|number| (name(number), Arc::new(agent())));
        let spec = FleetSpec {
            project: "bench".to_owned(),
            max_concurrent_starts: NonZeroU32::new(10).expect("not zero"),
            groups: Vec::new(),
            agents: agents.collect(),
        };
        let (fleet, actions) = Fleet::restore(Arc::new(spec), Inheritance::default(), 1, now);
        let mut world = Self {
            fleet,
            now,
            next: 0,
        };
        world.settle(actions);
        world
    }

    /// The journal acknowledges, processes start, probes pass, until nothing is left to answer.
    fn settle(&mut self, actions: Vec<Action>) {
        let mut open = std::collections::VecDeque::from(actions);
        while let Some(action) = open.pop_front() {
            if let Some(fact) = self.answer(action) {
                open.extend(self.fleet.step(self.now, Event::Fact(fact)));
            }
        }
    }

    fn answer(&self, action: Action) -> Option<Fact> {
        match action {
            Action::Record { id, .. } => id.map(Fact::Recorded),
            Action::Order(Order::Spawn { instance, .. }) => Some(Fact::Started {
                instance,
                pid: 1,
                at: self.now.wall,
                image: None,
            }),
            Action::Order(Order::Probe {
                instance,
                probe,
                sequence,
                ..
            }) => Some(Fact::Probed {
                instance,
                probe,
                sequence,
                outcome: ProbeOutcome::Success,
            }),
            Action::Order(_) | Action::Reply { .. } | Action::Announce(_) | Action::AllStopped => {
                None
            }
        }
    }

    /// The next agent in turn, in its first life.
    fn next_instance(&mut self) -> InstanceId {
        self.next = (self.next + 1) % AGENTS;
        InstanceId {
            agent: name(self.next),
            generation: Generation(1),
        }
    }
}

fn name(number: u32) -> AgentName {
    format!("agent-{number}").parse().expect("a good name")
}

fn agent() -> AgentSpec {
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
            liveness: Some(Probe {
                check: Check::Tcp {
                    host: "127.0.0.1".to_owned(),
                    port: 80,
                },
                interval: Duration::from_secs(30),
                timeout: Duration::from_secs(10),
                threshold: 3,
            }),
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
            retention: Duration::from_secs(86400),
            on_full: OnFull::Drop,
        },
    }
}

#[divan::bench(sample_count = SAMPLES, sample_size = 1)]
fn a_sign_of_work(bencher: divan::Bencher<'_, '_>) {
    let mut world = World::new();
    bencher.bench_local(|| {
        let instance = world.next_instance();
        let fact = Fact::Progressed { instance };
        world.fleet.step(world.now, Event::Fact(fact))
    });
}

#[divan::bench(sample_count = SAMPLES, sample_size = 1)]
fn the_end_of_an_instance(bencher: divan::Bencher<'_, '_>) {
    let mut world = World::new();
    bencher.bench_local(|| {
        let instance = world.next_instance();
        let report = ExitReport {
            status: ExitStatus::Code(1),
            at: world.now.wall,
            oom_kills: 0,
            leftovers: 0,
            cpu_us: 0,
            memory_peak: 0,
            log: None,
        };
        let fact = Fact::Gone { instance, report };
        world.fleet.step(world.now, Event::Fact(fact))
    });
}

#[divan::bench(sample_count = SAMPLES, sample_size = 1)]
fn an_answer_that_nobody_awaits(bencher: divan::Bencher<'_, '_>) {
    let mut world = World::new();
    bencher.bench_local(|| {
        let fact = Fact::Recorded(RecordId(u64::MAX));
        world.fleet.step(world.now, Event::Fact(fact))
    });
}
