//! The API over the real loop, core and journal; only the processes are pretended.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use claw_core::event::ShutdownMode;
use claw_core::fleet::Fleet;
use claw_core::memory::{Inheritance, Recovered};
use claw_core::{ExitReport, ExitStatus, Fact, InstanceId, Order, RunId};
use claw_drivers::container::{ContainerConfig, ContainerDriver};
use claw_drivers::driver::{FactSender, Usage};
use claw_drivers::{Driver, OpenInstance};
use claw_store::journal::{Ack, Journal, Options};
use claw_store::{Store, StoreOptions};
use http::Request;
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::task::JoinHandle;
use tower::ServiceExt;

use super::{Parts, ports};
use crate::agent_api::AgentApi;
use crate::clock::Clock;
use crate::config::{self, Environment};
use crate::egress::Egress;
use crate::feed::Feed;
use crate::http::ApiState;
use crate::perform::Performer;
use crate::reload::Reloader;
use crate::supervise::{self, Handle, Senders};
use crate::telemetry::metrics::Metrics;

const FLEET: &str = "
project: pretended
version: '1.0'
agents:
  server: {command: [./server], mode: daemon}
  job: {command: [./job], mode: oneshot, schedule: {daily: '03:00'}}
";

/// A driver whose daemons run until they are told to end, and whose runs succeed at once.
struct Pretender {
    facts: FactSender,
}

impl Driver for Pretender {
    fn order(&self, order: Order) {
        let instance = order.instance().clone();
        match order {
            Order::Spawn { run, .. } => {
                self.tell(Fact::Started {
                    instance: instance.clone(),
                    pid: 4242,
                    at: now(),
                    image: None,
                });
                if run.is_some() {
                    self.end(instance, ExitStatus::Code(0));
                }
            }
            Order::Signal { signal, .. } => self.end(instance, ExitStatus::Signal(signal)),
            Order::Kill { .. } => self.end(instance, ExitStatus::Signal(9)),
            Order::Freeze { .. }
            | Order::Deliver { .. }
            | Order::CancelRun { .. }
            | Order::Drain { .. }
            | Order::Thaw { .. }
            | Order::Probe { .. }
            | Order::RunHook { .. }
            | Order::Release { .. } => {}
        }
    }

    async fn recover(
        &self,
        _open: Vec<OpenInstance>,
    ) -> Vec<(InstanceId, Option<RunId>, Recovered)> {
        Vec::new()
    }

    async fn usage(&self) -> BTreeMap<InstanceId, Usage> {
        BTreeMap::new()
    }
}

impl Pretender {
    fn end(&self, instance: InstanceId, status: ExitStatus) {
        self.tell(Fact::MainExited {
            instance: instance.clone(),
            status,
        });
        let report = ExitReport {
            status,
            at: now(),
            oom_kills: 0,
            leftovers: 0,
            cpu_us: 1000,
            memory_peak: 0,
            log: None,
        };
        self.tell(Fact::Gone { instance, report });
    }

    fn tell(&self, fact: Fact) {
        self.facts
            .try_send(fact)
            .expect("the inbox has room for a handful");
    }
}

fn now() -> claw_core::clock::Wall {
    jiff::Timestamp::now()
}

/// A supervisor with pretended processes.
struct Supervised {
    app: Router,
    handle: Handle,
    supervision: JoinHandle<()>,
    _dir: tempfile::TempDir,
}

fn supervised() -> Supervised {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("openclaw.yaml");
    let environment = Environment::with([]);
    let loaded = config::load_str(FLEET, &file, &environment).unwrap();
    let (handle, Senders { facts, acks }, inbox) = supervise::inbox();
    let journal = journal(dir.path(), acks);
    let clock = Clock::start();
    let (feed, metrics) = (Feed::new(0), Metrics::new());
    let store = Store::open(&dir.path().join("store.db"), StoreOptions::default()).unwrap();
    let agent_api = AgentApi::open(crate::agent_api::Parts {
        store,
        facts: facts.clone(),
        handle: handle.clone(),
        data_dir: dir.path().to_owned(),
        sandboxes: crate::sandboxes::start(dir.path(), None),
        models: crate::llm::Models::new(
            dir.path(),
            crate::llm::Told {
                metrics: metrics.llm().clone(),
                facts: facts.clone(),
            },
            crate::llm::Answers::Real,
        ),
    });
    let agent_api = agent_api.unwrap();
    let config = ContainerConfig::new(dir.path().to_owned(), facts.clone());
    let containers = Arc::new(ContainerDriver::start(config).unwrap());
    let driver = Arc::new(Pretender { facts });
    let told = (agent_api.clone(), feed.clone(), metrics.clone());
    let performer = Performer::new(Arc::clone(&driver), journal.clone(), told);
    let spec = Arc::new(loaded.fleet.clone());
    let (fleet, first) = Fleet::restore(spec, Inheritance::default(), 1, clock.now());
    let supervision = tokio::spawn(supervise::supervise(fleet, first, inbox, performer, clock));
    let last_good = dir.path().join("last-good.yaml");
    let resolver = Arc::new(claw_gateway::egress::SystemResolver::default());
    let halts = agent_api.models().halts().clone();
    let egress = Egress::start(dir.path(), Vec::new(), resolver, halts);
    let owners = (handle.clone(), agent_api.clone(), egress.clone());
    let reloader = Reloader::new(file, last_good, environment, owners, loaded);
    let data_dir = dir.path().to_owned();
    let parts = Parts {
        egress,
        handle: handle.clone(),
        feed,
        reloader,
        journal,
        driver,
        containers,
        agent_api,
        confinement: super::Confinement::unknown(),
        lockdown: crate::api::Lockdown::Off,
        upgrade: crate::http::ports::Port::new(|_question| async {
            Err(crate::http::ports::UpgradeRefusal::Service)
        }),
        data_dir: data_dir.clone(),
    };
    let app = crate::http::app(ApiState::new(ports(parts), metrics, data_dir));
    Supervised {
        app,
        handle,
        supervision,
        _dir: dir,
    }
}

fn journal(dir: &Path, acks: tokio::sync::mpsc::UnboundedSender<Vec<Ack>>) -> Journal {
    let answer = move |written: Vec<Ack>| drop(acks.send(written));
    let options = Options::new("boot");
    Journal::open(&dir.join("journal.db"), options, answer)
        .unwrap()
        .0
}

impl Supervised {
    async fn call(&self, method: &str, target: &str, key: Option<&str>) -> (u16, Value) {
        let mut request = Request::builder().method(method).uri(target);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let mut request = request.body(Body::empty()).unwrap();
        crate::http::as_admin(&mut request);
        let answering = self.app.clone().oneshot(request);
        let answer = tokio::time::timeout(Duration::from_secs(20), answering).await;
        let (parts, body) = answer.expect("an answer in time").unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (
            parts.status.as_u16(),
            serde_json::from_slice(&body).unwrap_or(Value::Null),
        )
    }

    async fn get(&self, target: &str) -> Value {
        self.call("GET", target, None).await.1
    }

    async fn post(&self, target: &str) -> (u16, Value) {
        self.call("POST", target, None).await
    }

    async fn end(self) {
        self.handle.shutdown(ShutdownMode::Stop).await;
        let ended = tokio::time::timeout(Duration::from_secs(20), self.supervision).await;
        ended.expect("it ends in time").unwrap();
    }
}

#[tokio::test]
async fn a_daemon_is_stopped_and_started() {
    let supervisor = supervised();
    let (status, stopped) = supervisor.post("/api/agents/server/stop?wait=10s").await;
    assert_eq!(
        (status, &stopped["state"]),
        (200, &"stopped".into()),
        "{stopped}"
    );
    assert_eq!(stopped["reason"]["code"], "asked");
    let (status, started) = supervisor.post("/api/agents/server/start").await;
    assert_eq!(status, 202, "{started}");
    let (status, restarted) = supervisor.post("/api/agents/server/restart?wait=10s").await;
    assert_eq!(status, 200, "{restarted}");
    let (status, at_once) = supervisor.post("/api/agents/server/stop").await;
    assert_eq!(status, 202, "{at_once}");
    let ends = supervisor.get("/api/agents/server/transitions").await;
    assert!(
        ends["transitions"]
            .as_array()
            .is_some_and(|ends| !ends.is_empty()),
        "{ends}"
    );
    supervisor.end().await;
}

#[tokio::test]
async fn a_run_is_waited_for_kept_and_listed() {
    let supervisor = supervised();
    let trigger = || supervisor.call("POST", "/api/agents/job/trigger?wait=10s", Some("key"));
    let (status, run) = trigger().await;
    assert_eq!((status, &run["state"]), (200, &"succeeded".into()), "{run}");
    assert_eq!(
        trigger().await,
        (status, run.clone()),
        "the key gets the kept answer"
    );
    let runs = supervisor.get("/api/agents/job/runs").await;
    assert_eq!(runs["runs"].as_array().map(Vec::len), Some(1), "{runs}");
    let id = run["id"].as_str().unwrap();
    assert_eq!(supervisor.get(&format!("/api/runs/{id}")).await, run);
    let (status, refused) = supervisor.post("/api/agents/server/trigger").await;
    assert_eq!((status, &refused["code"]), (409, &"takes_no_runs".into()));
    supervisor.end().await;
}

#[tokio::test]
async fn a_log_that_is_not_there_yet_is_empty() {
    let supervisor = supervised();
    let (status, _empty) = supervisor
        .call("GET", "/api/agents/server/logs", None)
        .await;
    assert_eq!(status, 200);
    supervisor.end().await;
}
