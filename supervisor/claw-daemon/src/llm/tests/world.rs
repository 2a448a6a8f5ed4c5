//! A provider, a fleet file's worth of models, and supervisors that come and go over them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use claw_core::{AgentSpec, Generation, InstanceId, Order};
use claw_gateway::llm::budget::{Budgets, Limits, Period, Scope};
use claw_gateway::llm::money::Money;
use claw_gateway::llm::prices::PriceTable;
use claw_gateway::llm::rates::Rates;
use claw_gateway::llm::serve::{
    AgentSettings, Clock, Model, OnHangUp, Price, Provider, ProviderKind, Settings,
};
use claw_gateway::llm::upstream::Key;
use claw_gateway::llm::wire::ChatLimit;
use claw_store::bus::Level;
use claw_store::{Store, StoreOptions};
use fakellm::FakeLlm;
use jiff::Timestamp;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::{Answers, Models, Told};
use crate::agent_api::{AgentApi, Parts};
use crate::config::{Environment, LlmConfig, Loaded, MODELS_PORT, load_str};
use crate::supervise;
use crate::telemetry::llm::LlmMetrics;

/// Pico-USD of a token of a prompt and of an answer.
pub(super) const PROMPT: i64 = 1_000_000;
pub(super) const ANSWER: i64 = 2_000_000;

/// What the provider wants to be shown.
pub(super) const PROVIDER_KEY: &str = "sk-of-the-provider";

/// The agent of the fleet.
pub(super) const AGENT: &str = "coder";

/// A supervisor's part that has to do with models.
pub(super) struct Host {
    pub(super) api: AgentApi,
    pub(super) loaded: Loaded,
}

/// A life of the agent.
pub(super) struct Life {
    pub(super) instance: InstanceId,
    pub(super) spec: Arc<AgentSpec>,
}

impl Host {
    /// Brings one up over a data directory.
    pub(super) async fn up(dir: &Path, loaded: Loaded) -> Self {
        Self::at(dir, loaded, Arc::new(TestClock::default())).await
    }

    pub(super) async fn at(dir: &Path, loaded: Loaded, clock: Arc<TestClock>) -> Self {
        let host = Self::opened(dir, loaded, clock);
        host.configured().await
    }

    /// Brings one up whose bus takes nothing.
    pub(super) async fn without_bus(dir: &Path, loaded: Loaded, clock: Arc<TestClock>) -> Self {
        let host = Self::opened(dir, loaded, clock);
        let bus = host.api.store().clone();
        let closing = tokio::task::spawn_blocking(move || bus.close());
        closing.await.unwrap().unwrap();
        host.models()
            .configure(&host.loaded, &host.api)
            .await
            .unwrap();
        host
    }

    fn opened(dir: &Path, loaded: Loaded, clock: Arc<TestClock>) -> Self {
        let (handle, senders, _inbox) = supervise::inbox();
        let told = Told {
            metrics: LlmMetrics::default(),
            facts: senders.facts.clone(),
        };
        let api = AgentApi::open(Parts {
            store: Store::open(&dir.join("store.db"), StoreOptions::default()).unwrap(),
            facts: senders.facts,
            handle,
            data_dir: dir.to_owned(),
            sandboxes: crate::sandboxes::start(dir, None),
            models: Models::with_clock(dir, told, Answers::Real, clock),
        });
        Self {
            api: api.unwrap(),
            loaded,
        }
    }

    async fn configured(self) -> Self {
        let host = self;
        host.api.configure(&host.loaded).await.unwrap();
        host.models()
            .configure(&host.loaded, &host.api)
            .await
            .unwrap();
        host.models().serve();
        host
    }

    pub(super) fn models(&self) -> &Models {
        self.api.models()
    }

    /// Starts the agent, but for its process.
    pub(super) fn life(&self, generation: u64) -> Life {
        let instance = InstanceId {
            agent: AGENT.parse().unwrap(),
            generation: Generation(generation),
        };
        let spec = &self.loaded.fleet.agents[AGENT];
        let spec = self.api.prepare_launch(&instance, spec, None);
        Life { instance, spec }
    }

    /// A life of the agent is over.
    pub(super) fn ends(&self, life: &Life) {
        let instance = life.instance.clone();
        self.api.order(&Order::Release { instance });
    }

    /// Puts another configuration into force.
    pub(super) async fn reload(&mut self, loaded: Loaded) {
        self.loaded = loaded;
        let configured = self.models().configure(&self.loaded, &self.api);
        configured.await.unwrap();
    }

    /// What the agent has spent today, and what it may have spent besides, in pico-USD.
    pub(super) fn money(&self) -> (i64, i64) {
        let gateway = self.models().gateway().unwrap();
        let now = self.models().shared.clock.now();
        let balances = gateway.with_ledger(|ledger| ledger.balances(now, &AGENT.into()));
        let own = balances.iter().find(|balance| {
            balance.window.period == Period::Day && balance.window.scope != Scope::Fleet
        });
        let account = own.unwrap().account;
        (account.settled().pico(), account.uncertain().pico())
    }

    /// Ends in order. Answers with the data directory as the next one finds it.
    pub(super) async fn down(self, dir: &TempDir) -> TempDir {
        self.api.close().await;
        self.models().close().await;
        let store = self.api.store().clone();
        let closing = tokio::task::spawn_blocking(move || store.close());
        closing.await.unwrap().unwrap();
        left_behind(dir)
    }

    /// Ends as by a kill: nothing more is written of calls that are under way.
    pub(super) async fn killed(self, dir: &TempDir) -> TempDir {
        let calls = self.models().shared.started.get().unwrap().store.clone();
        let bus = self.api.store().clone();
        let closing = move || (calls.close(), bus.close());
        let (calls, bus) = tokio::task::spawn_blocking(closing).await.unwrap();
        calls.unwrap();
        bus.unwrap();
        self.models().shared.accepting.cancel();
        self.models().shared.cutting.cancel();
        self.models().shared.tasks.close();
        self.models().shared.tasks.wait().await;
        left_behind(dir)
    }
}

/// What a process that is gone leaves behind. Locks go with their process, and this one lives on.
fn left_behind(dir: &TempDir) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for below in ["", "llm"] {
        let (from, to) = (dir.path().join(below), copy.path().join(below));
        std::fs::create_dir_all(&to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
            }
        }
    }
    copy
}

impl Life {
    pub(super) fn port(&self) -> u16 {
        self.spec.launch.models.unwrap()
    }

    pub(super) fn token(&self) -> &str {
        self.spec.launch.secrets["OPENAI_API_KEY"].expose()
    }

    /// A chat over the agent's port.
    pub(super) async fn chat(&self) -> Answer {
        chat(self.port(), Some(self.token())).await
    }
}

/// The status and all the rest.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) text: String,
}

/// A chat over a port.
pub(super) async fn chat(port: u16, token: Option<&str>) -> Answer {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    ask(stream, "/v1/chat/completions", token).await
}

/// A chat over a connection.
pub(super) async fn ask(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    path: &str,
    token: Option<&str>,
) -> Answer {
    let body = r#"{"model": "big", "max_tokens": 100, "messages": [{"role": "user", "content": "Hello."}]}"#;
    let credential = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: models\r\nConnection: close\r\n{}Content-Length: {}\r\n\r\n",
        credential.unwrap_or_default(),
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let text = String::from_utf8(answer).unwrap();
    let status = text.split(' ').nth(1).unwrap_or_default();
    Answer {
        status: status.parse().unwrap_or_default(),
        text,
    }
}

/// A fleet of one agent, which may call one model and spend so much a day, in pico-USD.
pub(super) fn fleet(fake: &FakeLlm, daily: i64) -> Loaded {
    let mut loaded = without_models();
    let spec = loaded.fleet.agents.get_mut(AGENT).unwrap();
    Arc::make_mut(spec).launch.models = Some(MODELS_PORT);
    let limits = Limits {
        daily: Some(Money::from_pico(daily)),
        monthly: None,
    };
    loaded.llm = Some(Arc::new(LlmConfig {
        settings: settings(fake),
        budgets: Budgets {
            agents: BTreeMap::from([(AGENT.into(), limits)]),
            ..Budgets::default()
        },
        record: false,
        durability: Level::Os,
        prices: Arc::new(PriceTable::default()),
        unpriced: Vec::new(),
    }));
    loaded
}

/// The same fleet without access.
pub(super) fn without_models() -> Loaded {
    let text = format!("project: t\nversion: '1.0'\nagents:\n  {AGENT}: {{command: [x]}}\n");
    load_str(&text, Path::new("openclaw.yaml"), &Environment::with([])).unwrap()
}

fn settings(fake: &FakeLlm) -> Settings {
    let provider = Provider {
        kind: ProviderKind::OpenAi,
        base_url: fake.url().parse().unwrap(),
        key: Key::new(PROVIDER_KEY),
        rate_limit: None,
        on_hang_up: OnHangUp::Cancel,
        chat_limit: ChatLimit::MaxCompletionTokens,
    };
    let [input, output] = [PROMPT, ANSWER].map(Money::from_pico);
    let model = Model {
        provider: "hub".into(),
        id: "big-1".into(),
        price: Price::Known(Arc::new(Rates::flat(input, output))),
        max_output: Some(1000),
        context: Some(100_000),
        image_tokens: None,
    };
    let agent = AgentSettings {
        models: vec!["big".into()],
        max_retries: 0,
        ..AgentSettings::default()
    };
    Settings {
        providers: [("hub".into(), Arc::new(provider))].into(),
        models: [("big".into(), Arc::new(model))].into(),
        agents: [(AGENT.into(), Arc::new(agent))].into(),
        ..Settings::default()
    }
}

/// A clock that a test moves.
pub(super) struct TestClock(Mutex<(Timestamp, Duration)>);

impl Default for TestClock {
    fn default() -> Self {
        let noon = "2026-03-05T12:00:00Z".parse().unwrap();
        Self(Mutex::new((noon, Duration::from_secs(1000))))
    }
}

impl TestClock {
    pub(super) fn pass(&self, time: Duration) {
        let mut clock = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        clock.0 = clock.0.checked_add(time).unwrap();
        clock.1 += time;
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    fn monotonic(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}
