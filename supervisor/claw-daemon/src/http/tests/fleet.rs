//! A fleet of four agents that answers as the real one would, without processes.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};

use axum::Router;
use claw_core::action::Happened;
use claw_core::spec::{
    Backoff, ExitCodes, Hooks, Launch, LogPolicy, OnFull, Probes, Resources, Restart,
    RestartPolicy, Secret, Shutdown,
};
use claw_core::status::{LiveInstance, RunSummary};
use claw_core::{
    AgentName, AgentSpec, AgentStatus, Announcement, Answer, Cause, Command, FleetSpec, Generation,
    InstanceId, ProbeKind, PublicState, Reason, Refusal, Run, RunId, RunOutcome, RunPhase, Trigger,
    spec,
};
use claw_drivers::driver::Usage;
use futures_util::StreamExt;
use tempfile::TempDir;
use tokio::sync::{broadcast, watch};

use crate::api::{
    Applied, Change, ChangeKind, Degraded, Event, Exit, FieldError, LogLine, LogStream, Part, Plan,
    ReloadClass, Time, Transition, TransitionKind,
};
use crate::http::idempotency::Stored;
use crate::http::ports::{
    AskError, ConfigPorts, ConfigSource, Current, FleetPorts, Following, JournalFailure,
    JournalLatency, JournalLoad, JournalPorts, LogError, LogPage, LogQuestion, Port, Ports,
    ReloadFailure, RunsQuestion,
};
use crate::http::router;
use crate::http::state::ApiState;
use crate::telemetry::metrics::Metrics;

pub(super) const NOW: &str = "2026-11-20T10:00:00Z";

/// The run that was there before.
pub(super) const OLD_RUN: &str = "01932f6e-8c0a-7000-8000-000000000001";
/// The run that a trigger makes.
pub(super) const NEW_RUN: &str = "01932f6e-8c0a-7000-8000-000000000002";

/// The server's state over the fleet, and the strings to pull.
pub(super) struct Fleet {
    pub(super) state: ApiState,
    pub(super) app: Router,
    pub(super) world: Arc<World>,
    _data_dir: TempDir,
}

/// What the ports look at.
pub(super) struct World {
    pub(super) asked: Mutex<Vec<Command>>,
    pub(super) runs: Mutex<BTreeMap<RunId, Run>>,
    pub(super) kept: Mutex<BTreeMap<String, Stored>>,
    pub(super) log: Mutex<Vec<LogLine>>,
    pub(super) journal: Mutex<Result<(), String>>,
    pub(super) stopped: watch::Sender<bool>,
    pub(super) events: broadcast::Sender<Event>,
    pub(super) past: Mutex<Vec<Event>>,
}

impl Fleet {
    pub(super) fn new() -> Self {
        let world = Arc::new(World {
            asked: Mutex::default(),
            runs: Mutex::new(BTreeMap::from([(OLD_RUN.parse().unwrap(), old_run())])),
            kept: Mutex::default(),
            log: Mutex::new(Vec::new()),
            journal: Mutex::new(Ok(())),
            stopped: watch::Sender::new(false),
            events: broadcast::Sender::new(16),
            past: Mutex::default(),
        });
        let data_dir = tempfile::tempdir().unwrap();
        let state = ApiState::new(ports(&world), Metrics::new(), data_dir.path().to_owned());
        Self {
            app: router::app(state.clone()),
            state,
            world,
            _data_dir: data_dir,
        }
    }

    /// Tells everybody that something happened, as the supervision loop would.
    pub(super) fn announce(&self, agent: &str, happened: Happened) {
        let announcement = Announcement {
            at: now(),
            agent: name(agent),
            happened,
        };
        self.state.metrics.observe(&announcement);
        let mut past = self.world.past.lock().unwrap();
        let event = Event::render(past.len() as u64 + 1, &announcement);
        past.push(event.clone());
        // Nobody may be listening.
        drop(self.world.events.send(event));
    }

    /// Ends the run that a trigger made.
    pub(super) fn finish(&self, outcome: RunOutcome) {
        let run = Run {
            phase: RunPhase::Finished {
                started: Some(ago(30)),
                at: now(),
                outcome,
            },
            ..new_run()
        };
        self.world.runs.lock().unwrap().insert(run.id, run.clone());
        self.announce("nightly", Happened::RunChanged { run: Arc::new(run) });
    }

    pub(super) fn print(&self, texts: &[&str]) {
        let mut log = self.world.log.lock().unwrap();
        for text in texts {
            let cursor = Some(format!("0.{}", log.len() + 1));
            let stream = if text.starts_with('!') {
                LogStream::Stderr
            } else {
                LogStream::Stdout
            };
            let agent = "monitor".to_owned();
            let text = (*text).to_owned();
            log.push(LogLine {
                agent,
                at: now(),
                stream,
                text,
                continues: false,
                cursor,
            });
        }
    }

    pub(super) fn asked(&self) -> Vec<Command> {
        self.world.asked.lock().unwrap().clone()
    }
}

pub(super) fn now() -> Time {
    NOW.parse().unwrap()
}

fn ago(seconds: i64) -> Time {
    now() - jiff::SignedDuration::from_secs(seconds)
}

pub(super) fn name(text: &str) -> AgentName {
    text.parse().unwrap()
}

fn ports(world: &Arc<World>) -> Ports {
    Ports {
        fleet: fleet_ports(world),
        events: events(world),
        journal: journal_ports(world),
        logs: logs(world),
        config: config_ports(),
        usage: Port::new(|()| async { usage() }),
        degraded: degraded(world),
        journal_load: Arc::new(|| Some(journal_load())),
        now,
    }
}

fn fleet_ports(world: &Arc<World>) -> FleetPorts {
    let asking = Arc::clone(world);
    let ask = Port::new(move |command| answer(Arc::clone(&asking), command));
    let find = |agent| statuses().into_iter().find(|status| status.name == agent);
    FleetPorts {
        ask,
        status: Port::new(move |agent| async move { Ok(find(agent)) }),
        statuses: Port::new(|()| async { Ok(statuses()) }),
        shutdown: Port::new(|_mode| async {}),
    }
}

async fn answer(world: Arc<World>, command: Command) -> Result<Answer, AskError> {
    world.asked.lock().unwrap().push(command.clone());
    let agent = command.agent().clone();
    let Some(status) = statuses().into_iter().find(|status| status.name == agent) else {
        return Err(Refusal::NoSuchAgent { agent }.into());
    };
    let refusal = match (&command, agent.as_str()) {
        (Command::Trigger { .. }, "monitor") => Refusal::TakesNoRuns { agent },
        (Command::Trigger { .. }, "broken") => Refusal::BackingOff {
            agent,
            until: ago(-40),
        },
        (Command::Trigger { .. }, "idle") => Refusal::Stopped { agent },
        (Command::Resume { .. }, _) => Refusal::NotPaused { agent },
        (Command::Start { .. }, "broken") => Refusal::JournalUnavailable {
            reason: "the disk is full".to_owned(),
        },
        (Command::Cancel { run, .. }, _) => Refusal::NoSuchRun { run: *run },
        (Command::Trigger { .. }, _) => {
            let run = new_run();
            world.runs.lock().unwrap().insert(run.id, run.clone());
            return Ok(Answer::Run(Box::new(run)));
        }
        (Command::Stop { .. } | Command::Restart { .. }, _) => {
            let mut stopped = world.stopped.subscribe();
            drop(stopped.wait_for(|stopped| *stopped).await);
            return Ok(Answer::Status(Box::new(status)));
        }
        (Command::Start { .. } | Command::Pause { .. }, _) => {
            return Ok(Answer::Status(Box::new(status)));
        }
    };
    Err(refusal.into())
}

fn events(world: &Arc<World>) -> crate::http::ports::Subscribe {
    let world = Arc::clone(world);
    Arc::new(move |after| {
        let mut live = world.events.subscribe();
        let past = world.past.lock().unwrap();
        let after = after.map_or(past.len(), |after| usize::try_from(after).unwrap());
        let past = past[after..].to_vec();
        let live = async_stream::stream! {
            while let Ok(event) = live.recv().await {
                yield event;
            }
        };
        futures_util::stream::iter(past).chain(live).boxed()
    })
}

fn journal_ports(world: &Arc<World>) -> JournalPorts {
    let (runs, run, recall, remember) = (
        Arc::clone(world),
        Arc::clone(world),
        Arc::clone(world),
        Arc::clone(world),
    );
    JournalPorts {
        runs: Port::new(move |question: RunsQuestion| {
            let found = runs.runs_of(&question);
            async { found }
        }),
        run: Port::new(move |id| {
            let found = run.runs.lock().unwrap().get(&id).cloned();
            async { Ok(found) }
        }),
        transitions: Port::new(|_question| async { Ok(vec![transition()]) }),
        recall: Port::new(move |key: String| {
            let found = recall.kept.lock().unwrap().get(&key).cloned();
            async { Ok(found) }
        }),
        remember: Port::new(move |(key, stored)| {
            remember.kept.lock().unwrap().insert(key, stored);
            async { Ok(()) }
        }),
    }
}

impl World {
    fn runs_of(&self, question: &RunsQuestion) -> Result<Vec<Run>, JournalFailure> {
        self.journal
            .lock()
            .unwrap()
            .clone()
            .map_err(JournalFailure)?;
        let runs = self.runs.lock().unwrap();
        let newest_first = runs.values().rev();
        let wanted = newest_first.filter(|run| {
            run.agent == question.agent && question.before.is_none_or(|before| run.id < before)
        });
        Ok(wanted.take(question.limit as usize).cloned().collect())
    }
}

fn degraded(world: &Arc<World>) -> Arc<dyn Fn() -> Vec<Degraded> + Send + Sync> {
    let world = Arc::clone(world);
    Arc::new(move || match world.journal.lock().unwrap().clone() {
        Ok(()) => Vec::new(),
        Err(detail) => vec![Degraded {
            part: Part::Journal,
            detail,
        }],
    })
}

/// A log whose cursor is `0.` and the number of lines before it, in pages of two.
fn logs(world: &Arc<World>) -> crate::http::ports::ReadLog {
    let world = Arc::clone(world);
    Arc::new(move |question: &LogQuestion| {
        let log = world.log.lock().unwrap();
        let place = question.after.as_deref().unwrap_or("0.0");
        let skipped = place
            .strip_prefix("0.")
            .and_then(|text| text.parse::<usize>().ok());
        let skipped = skipped.ok_or_else(|| LogError::Cursor(place.to_owned()))?;
        let first = match question.tail {
            Some(tail) => log.len().saturating_sub(tail),
            None => skipped,
        };
        let wanted = |line: &&LogLine| question.streams.contains(&line.stream);
        let lines: Vec<LogLine> = log
            .iter()
            .skip(first)
            .filter(wanted)
            .take(2)
            .cloned()
            .collect();
        let full = lines.len() == 2 && question.follow == Following::No;
        let cursor = lines
            .last()
            .and_then(|line| line.cursor.clone())
            .unwrap_or_else(|| place.to_owned());
        Ok(LogPage {
            lines,
            cursor,
            full,
        })
    })
}

fn config_ports() -> ConfigPorts {
    ConfigPorts {
        current: Arc::new(|| Current {
            fleet: Arc::new(fleet_spec()),
            file: "/srv/fleet/openclaw.yaml".to_owned(),
        }),
        plan: Port::new(
            |source| async move { read(&source).map(|()| Plan { changes: changes() }) },
        ),
        apply: Port::new(|source| async move {
            let applied = |()| Applied {
                changes: changes(),
                held_back: Vec::new(),
            };
            read(&source).map(applied)
        }),
    }
}

fn read(source: &ConfigSource) -> Result<(), ReloadFailure> {
    match source {
        ConfigSource::Text(text) if text.contains("agnets") => {
            Err(ReloadFailure::Invalid(vec![FieldError {
                message: "there is no key `agnets`".to_owned(),
                file: Some("/srv/fleet/openclaw.yaml".to_owned()),
                line: Some(1),
                column: Some(1),
                path: Some("agnets".to_owned()),
                help: Some("did you mean `agents`?".to_owned()),
            }]))
        }
        ConfigSource::Text(text) if text.contains("listen") => {
            Err(ReloadFailure::NeedsRestart("supervisor.listen".to_owned()))
        }
        ConfigSource::Text(_) | ConfigSource::File => Ok(()),
    }
}

fn changes() -> Vec<Change> {
    vec![Change {
        agent: Some("monitor".to_owned()),
        kind: ChangeKind::Changed,
        class: ReloadClass::Restart,
        path: "agents.monitor.env.LEVEL".to_owned(),
        old: Some("info".into()),
        new: Some("debug".into()),
    }]
}

fn statuses() -> Vec<AgentStatus> {
    vec![
        AgentStatus {
            reason: Reason::BackingOff {
                cause: Cause::Exit { code: 3 },
                until: ago(-40),
                failures: 2,
            },
            restarts: 1,
            last_death: Some((Cause::Exit { code: 3 }, ago(60))),
            ..status("broken", PublicState::Error)
        },
        status("idle", PublicState::Stopped),
        AgentStatus {
            ready: true,
            reason: Reason::Up,
            instance: Some(LiveInstance {
                generation: Generation(7),
                pid: Some(4242),
                started_at: Some(ago(3600)),
            }),
            restarts: 5,
            status_text: Some("42 sites up".to_owned()),
            probes: vec![(ProbeKind::Liveness, 0)],
            ..status("monitor", PublicState::Running)
        },
        AgentStatus {
            ready: true,
            reason: Reason::Waiting,
            runs: RunSummary {
                succeeded: 9,
                failed: 1,
                last: Some(ago(90)),
                next: Some(ago(-7200)),
                ..RunSummary::default()
            },
            ..status("nightly", PublicState::Running)
        },
    ]
}

fn status(agent: &str, state: PublicState) -> AgentStatus {
    AgentStatus {
        name: name(agent),
        state,
        ready: false,
        reason: Reason::Asked,
        since: ago(3600),
        instance: None,
        restarts: 0,
        status_text: None,
        last_death: None,
        runs: RunSummary::default(),
        probes: Vec::new(),
    }
}

fn usage() -> BTreeMap<InstanceId, Usage> {
    let instance = InstanceId {
        agent: name("monitor"),
        generation: Generation(7),
    };
    let usage = Usage {
        cpu_us: 2_500_000,
        memory: 52_428_800,
        pids: 3,
        oom_kills: 0,
    };
    BTreeMap::from([(instance, usage)])
}

fn journal_load() -> JournalLoad {
    JournalLoad {
        waiting: 2,
        latency: vec![JournalLatency {
            class: "power_cut",
            count: 3,
            sum_seconds: 0.012,
            buckets: vec![(0.004, 2), (0.016, 1), (f64::INFINITY, 0)],
        }],
    }
}

fn old_run() -> Run {
    Run {
        id: OLD_RUN.parse().unwrap(),
        trigger: Trigger::Schedule { slot: ago(120) },
        payload: None,
        queued_at: ago(120),
        phase: RunPhase::Finished {
            started: Some(ago(119)),
            at: ago(90),
            outcome: RunOutcome::Failed {
                cause: Cause::Exit { code: 1 },
            },
        },
        attempts: 2,
        generation: Some(Generation(4)),
        log: Some(claw_core::death::LogRange {
            lane: 0,
            from: 100,
            to: 250,
        }),
        ..new_run()
    }
}

fn new_run() -> Run {
    Run {
        id: NEW_RUN.parse().unwrap(),
        agent: name("nightly"),
        trigger: Trigger::Manual,
        payload: Some(r#"{"day":1}"#.to_owned()),
        queued_at: now(),
        phase: RunPhase::Queued,
        attempts: 0,
        generation: None,
        log: None,
    }
}

fn transition() -> Transition {
    Transition {
        at: ago(60),
        text: "broken#2 exited with code 3".to_owned(),
        what: TransitionKind::Ended {
            generation: 2,
            cause: (&Cause::Exit { code: 3 }).into(),
            failed: true,
            exit: Some(Exit {
                exit_code: Some(3),
                signal: None,
                oom_kills: 0,
                leftovers: 1,
                cpu_seconds: 0.25,
                memory_peak_bytes: Some(1_048_576),
            }),
        },
    }
}

fn fleet_spec() -> FleetSpec {
    let spec = AgentSpec {
        launch: Launch {
            command: vec!["./monitor".to_owned()],
            env: BTreeMap::from([
                ("LEVEL".to_owned(), "info".to_owned()),
                ("SLACK_TOKEN".to_owned(), "xoxb-very-secret".to_owned()),
            ]),
            secrets: BTreeMap::from([("DB".to_owned(), Secret::new("hunter2".to_owned()))]),
            working_dir: "/srv/fleet".into(),
            user: None,
            data_dirs: Vec::new(),
            config: serde_json::json!({"urls": ["a"], "auth": {"api_key": "sk-very-secret"}}),
        },
        mode: spec::Mode::Daemon,
        schedule: None,
        depends_on: BTreeMap::new(),
        restart: restart(),
        probes: Probes::default(),
        resources: Resources::default(),
        shutdown: Shutdown {
            timeout: std::time::Duration::from_secs(30),
            signal: 15,
            clean: Vec::new(),
        },
        hooks: Hooks::default(),
        logging: LogPolicy {
            max_size: 1 << 20,
            max_files: 5,
            retention: std::time::Duration::from_secs(604_800),
            on_full: OnFull::Drop,
        },
    };
    FleetSpec {
        project: "test-fleet".to_owned(),
        max_concurrent_starts: NonZeroU32::MIN,
        agents: BTreeMap::from([(name("monitor"), Arc::new(spec))]),
    }
}

fn restart() -> Restart {
    Restart {
        policy: RestartPolicy::Always,
        max_retries: Some(5),
        backoff: Backoff::Exponential,
        initial_delay: std::time::Duration::from_secs(5),
        max_delay: std::time::Duration::from_secs(300),
        reset_after: std::time::Duration::from_secs(3600),
        jitter_percent: 10,
        exit_codes: ExitCodes {
            success: [0].into(),
            retry: [75].into(),
            fatal: [78].into(),
            again: std::collections::BTreeSet::new(),
        },
    }
}
