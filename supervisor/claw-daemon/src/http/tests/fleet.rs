//! A fleet of four agents that answers as the real one would, without processes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use claw_core::action::Happened;
use claw_core::sandbox::Plan;
use claw_core::{
    Announcement, Answer, Command, Refusal, Run, RunId, RunOutcome, RunPhase, SpawnError,
    SpawnStage,
};
use claw_store::{Store, StoreOptions};
use futures_util::StreamExt;
use tempfile::TempDir;
use tokio::sync::{broadcast, watch};

use super::samples::{
    OLD_RUN, ago, changes, container, denials, fleet_spec, journal_load, learned, name, new_run,
    now, old_run, plan, statuses, transition, usage, webhook,
};
use crate::api::{
    self, Applied, Degraded, Event, FieldError, Lockdown, LogLine, LogStream, Part, ProcessSandbox,
    Time,
};
use crate::http::idempotency::Stored;
use crate::http::ports::{
    AskError, ConfigPorts, ConfigSource, Current, FleetPorts, Following, JournalFailure,
    JournalPorts, LogError, LogPage, LogQuestion, Port, Ports, ReloadFailure, RunsQuestion,
    SessionQuestion, UpgradeQuestion, UpgradeRefusal,
};
use crate::http::router;
use crate::http::state::ApiState;
use crate::telemetry::metrics::Metrics;

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
    pub(super) seen: Mutex<BTreeMap<String, Time>>,
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
            seen: Mutex::default(),
            log: Mutex::new(Vec::new()),
            journal: Mutex::new(Ok(())),
            stopped: watch::Sender::new(false),
            events: broadcast::Sender::new(16),
            past: Mutex::default(),
        });
        let data_dir = tempfile::tempdir().unwrap();
        let state = ApiState::new(
            ports(&world, data_dir.path()),
            Metrics::new(),
            data_dir.path().to_owned(),
        );
        Self {
            app: router::app(state.clone()),
            state,
            world,
            _data_dir: data_dir,
        }
    }

    /// Another supervisor in its place, which knows what was written down of runs and when keys
    /// were first seen, and of no answer.
    pub(super) fn restart(&mut self) {
        self.world.kept.lock().unwrap().clear();
        let data_dir = self.state.data_dir.to_path_buf();
        self.state = ApiState::new(self.state.ports.clone(), Metrics::new(), data_dir);
        self.app = router::app(self.state.clone());
    }

    /// The same fleet whose live agents were all started with this plan.
    pub(super) fn confined_by(mut self, plan: Plan) -> Self {
        let plan = Arc::new(plan);
        self.state.ports.sandbox = Arc::new(move |_agent, live| {
            let sandbox = live.map(|_instance| ProcessSandbox::from(plan.as_ref()));
            Some(sandbox.unwrap_or_default())
        });
        self.app = router::app(self.state.clone());
        self
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

fn ports(world: &Arc<World>, data_dir: &Path) -> Ports {
    let store = Store::open(&data_dir.join("store.db"), StoreOptions::default());
    Ports {
        fleet: fleet_ports(world),
        events: events(world),
        journal: journal_ports(world),
        logs: logs(world),
        config: config_ports(),
        usage: Port::new(|()| async { usage() }),
        engine: Port::new(|()| async { None }),
        llm: Arc::new(|| None),
        image_digest: Port::new(|_instance| async { Some("sha256:0a1b".to_owned()) }),
        sandbox: Arc::new(|agent, live| {
            let confined = agent.as_str() == "monitor" && live.is_some();
            confined.then(|| (&plan()).into())
        }),
        uncut: Arc::new(|_instance| Some("sandbox mode none".to_owned())),
        denials: Arc::new(denials),
        learned: Port::new(|agent| async move { learned(&agent) }),
        lockdown: Lockdown::On,
        upgrade: Port::new(|question: UpgradeQuestion| async move {
            let binary = question.binary;
            Err(UpgradeRefusal::Foreground { binary })
        }),
        session: Port::new(|question: SessionQuestion| async move { Err(no_session(&question)) }),
        store: store.unwrap(),
        sandboxes: crate::sandboxes::start(data_dir, None),
        webhook: Arc::new(|name| (name == "nightly").then(|| Arc::new(webhook()))),
        agent_metrics: Arc::new(String::new),
        degraded: degraded(world),
        journal_load: Arc::new(|| Some(journal_load())),
        now,
    }
}

fn no_session(question: &SessionQuestion) -> SpawnError {
    SpawnError {
        stage: SpawnStage::Exec,
        errno: 2,
        detail: format!("cannot execute `{}`: no such file", question.command[0]),
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
        (Command::Trigger { run, .. }, _) => {
            let run = Run {
                id: run.unwrap_or(new_run().id),
                ..new_run()
            };
            world.runs.lock().unwrap().insert(run.id, run.clone());
            return Ok(Answer::Run(Box::new(run)));
        }
        (Command::Stop { .. } | Command::Restart { .. }, _) => {
            let mut stopped = world.stopped.subscribe();
            drop(stopped.wait_for(|stopped| *stopped).await);
            return Ok(Answer::Status(Box::new(status)));
        }
        (Command::Halt { .. } | Command::Lift { .. }, "monitor") => {
            return Ok(Answer::Status(Box::new(status)));
        }
        (Command::Halt { .. }, _) => Refusal::HaltUnrecorded {
            agent,
            reason: "the disk is full".to_owned(),
        },
        (Command::Lift { .. }, _) => Refusal::NotHalted { agent },
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
    let (runs, run, first_seen, recall, remember) = (
        Arc::clone(world),
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
        first_seen: Port::new(move |(key, now): (String, Time)| {
            let first = *first_seen.seen.lock().unwrap().entry(key).or_insert(now);
            async move { Ok(first) }
        }),
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
        replicas: Arc::new(Arc::default),
        container: Arc::new(|agent| (agent.as_str() == "idle").then(container)),
        plan: Port::new(|source| async move {
            read(&source).map(|()| api::Plan { changes: changes() })
        }),
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
