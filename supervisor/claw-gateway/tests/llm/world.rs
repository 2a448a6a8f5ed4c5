//! A gateway, a provider, and what the gateway's host would do.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use claw_gateway::Halts;
use claw_gateway::llm::budget::{Account, Balance, Budgets, CallId, Ledger, Limits, Period, Scope};
use claw_gateway::llm::money::Money;
use claw_gateway::llm::rates::{Rates, Tariff, TokenRates};
use claw_gateway::llm::serve::{
    AgentSettings, CacheSettings, CachedCall, CallRecord, Caller, Clock, Conclusion, Credential,
    Event, Gateway, Host, Journal, JournalError, Life, Model, Observer, OnHangUp, Price, Provider,
    ProviderKind, Settings, Written,
};
use claw_gateway::llm::upstream::Key;
use claw_gateway::llm::wire::ChatLimit;
use fakellm::FakeLlm;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio::sync::{RwLock, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::client::{Answer, Asked, Begun, PATIENCE, begin};

/// Pico-USD of a token of a prompt and of an answer.
pub(crate) const PROMPT: u64 = 1_000_000;
pub(crate) const ANSWER: u64 = 2_000_000;

/// What a test may choose.
pub(crate) struct Setup {
    pub(crate) agent: AgentSettings,
    pub(crate) daily: Option<Money>,
    pub(crate) fleet_daily: Option<Money>,
    pub(crate) on_hang_up: OnHangUp,
    pub(crate) rate_limit: Option<&'static str>,
    pub(crate) cache: CacheSettings,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            agent: AgentSettings {
                models: ["big", "spare", "claude", "unpriced", "free"]
                    .map(Arc::from)
                    .into(),
                fallback: Vec::new(),
                max_retries: 0,
                ..AgentSettings::default()
            },
            daily: Some(Money::from_usd(10)),
            fleet_daily: None,
            on_hang_up: OnHangUp::Cancel,
            rate_limit: None,
            cache: CacheSettings::default(),
        }
    }
}

impl Setup {
    /// With a fallback from `big` to `spare`, which is another provider's.
    pub(crate) fn with_spare() -> Self {
        let mut setup = Self::default();
        setup.agent.fallback = vec!["spare".into()];
        setup
    }
}

pub(crate) struct World {
    pub(crate) fake: FakeLlm,
    pub(crate) gateway: Gateway,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) book: Arc<Book>,
    pub(crate) halts: Halts,
    pub(crate) address: SocketAddr,
    /// How many connections have ended.
    pub(crate) closed: watch::Sender<u64>,
    pub(crate) setup: Setup,
}

impl World {
    pub(crate) async fn start(setup: Setup) -> Self {
        let fake = FakeLlm::start().await.expect("a provider");
        let settings = settings(&setup, &fake);
        let (clock, book) = (Arc::new(TestClock::default()), Arc::new(Book::default()));
        let halts = Halts::default();
        let host = Host {
            journal: Arc::clone(&book) as _,
            clock: Arc::clone(&clock) as _,
            observer: Arc::clone(&book) as _,
            halts: halts.clone(),
        };
        let ledger = Ledger::new(budgets(setup.daily, setup.fleet_daily));
        let gateway = Gateway::new(settings, ledger, host);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let address = listener.local_addr().expect("an address");
        let closed = watch::Sender::new(0);
        tokio::spawn(accept(listener, gateway.clone(), "coder", closed.clone()));
        Self {
            fake,
            gateway,
            clock,
            book,
            halts,
            address,
            closed,
            setup,
        }
    }

    /// A connection of the agent within this process, and what serves it.
    pub(crate) fn connect(&self) -> (DuplexStream, JoinHandle<()>) {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let gateway = self.gateway.clone();
        let serving = async move { gateway.serve(theirs, caller("coder")).await };
        (ours, tokio::spawn(serving))
    }

    /// Where another agent asks.
    pub(crate) async fn door_of(&self, agent: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let address = listener.local_addr().expect("an address");
        let gateway = self.gateway.clone();
        tokio::spawn(accept(listener, gateway, agent, self.closed.clone()));
        address
    }

    pub(crate) async fn begin(&self, asked: Asked) -> Begun {
        begin(self.address, asked).await
    }

    pub(crate) async fn ask(&self, asked: Asked) -> Answer {
        self.begin(asked).await.whole().await
    }

    /// A chat with a model, whose answer has at most a hundred tokens.
    pub(crate) async fn chat(&self, model: &str) -> Answer {
        self.ask(Asked::post("/v1/chat/completions", &chat(model)))
            .await
    }

    /// The same in other words than those of another number.
    pub(crate) async fn chat_numbered(&self, model: &str, number: usize) -> Answer {
        let body = numbered(model, number);
        self.ask(Asked::post("/v1/chat/completions", &body)).await
    }

    /// Waits until every call is settled.
    pub(crate) async fn settled(&self) {
        timeout(PATIENCE, self.gateway.settled())
            .await
            .expect("settled in time");
        let held = self.gateway.with_ledger(|ledger| ledger.in_flight());
        assert_eq!(held, 0, "money is held for nobody");
    }

    /// The agent's money of today.
    pub(crate) fn today(&self) -> Account {
        let now = self.clock.now();
        let balances = self
            .gateway
            .with_ledger(|ledger| ledger.balances(now, &"coder".into()));
        let today = |balance: &&Balance| {
            balance.window.period == Period::Day && balance.window.scope != Scope::Fleet
        };
        balances.iter().find(today).expect("a day").account
    }

    /// What is spent today, in pico-USD.
    pub(crate) fn spent(&self) -> u64 {
        u64::try_from(self.today().settled().pico()).expect("not below nothing")
    }

    /// What may be spent today at most, in pico-USD.
    pub(crate) fn spent_or_uncertain(&self) -> u64 {
        let uncertain = self.today().uncertain().pico();
        self.spent() + u64::try_from(uncertain).expect("not below nothing")
    }

    /// The provider's bill by the usual prices.
    pub(crate) fn bill(&self) -> u64 {
        self.fake.bill(PROMPT, ANSWER)
    }

    /// The models that the provider was asked for.
    pub(crate) fn asked(&self) -> Vec<String> {
        let seen = self.fake.seen();
        seen.into_iter().map(|seen| seen.model).collect()
    }
}

/// A chat whose answer has at most a hundred tokens.
pub(crate) fn chat(model: &str) -> Value {
    json!({
        "model": model,
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "What is a supervisor of agents good for?"}],
    })
}

/// The same in other words than those of another number.
pub(crate) fn numbered(model: &str, number: usize) -> Value {
    let mut body = chat(model);
    body["messages"][0]["content"] = json!(format!("What is {number} good for?"));
    body
}

/// The same as a stream.
pub(crate) fn streamed(model: &str) -> Value {
    let mut body = chat(model);
    body["stream"] = json!(true);
    body
}

pub(crate) fn pico(amount: u64) -> Money {
    Money::from_pico(i64::try_from(amount).expect("an amount"))
}

pub(crate) fn budgets(daily: Option<Money>, fleet_daily: Option<Money>) -> Budgets {
    let limits = |daily| Limits {
        daily,
        monthly: None,
    };
    Budgets {
        fleet: limits(fleet_daily),
        agents: BTreeMap::from([("coder".into(), limits(daily))]),
        ..Budgets::default()
    }
}

pub(crate) fn settings(setup: &Setup, fake: &FakeLlm) -> Settings {
    let provider = |kind: ProviderKind| {
        Arc::new(Provider {
            kind,
            base_url: fake.url().parse().expect("a URL"),
            key: Key::new("provider-key"),
            rate_limit: setup.rate_limit.map(|rate| rate.parse().expect("a rate")),
            on_hang_up: setup.on_hang_up,
            chat_limit: ChatLimit::MaxCompletionTokens,
        })
    };
    let model = |provider: &str, id: &str, price: Price| {
        Arc::new(Model {
            provider: provider.into(),
            id: id.into(),
            price,
            max_output: Some(1000),
            context: Some(100_000),
            image_tokens: None,
        })
    };
    Settings {
        providers: [
            ("hub".into(), provider(ProviderKind::OpenAi)),
            ("second".into(), provider(ProviderKind::OpenAi)),
            ("anthropic".into(), provider(ProviderKind::Anthropic)),
        ]
        .into(),
        models: [
            ("big".into(), model("hub", "big-1", price())),
            ("spare".into(), model("second", "spare-1", price())),
            ("claude".into(), model("anthropic", "claude-1", price())),
            (
                "unpriced".into(),
                model("hub", "unpriced-1", Price::Unknown),
            ),
            ("free".into(), model("hub", "free-1", Price::Free)),
        ]
        .into(),
        agents: [("coder".into(), Arc::new(setup.agent.clone()))].into(),
        cache: setup.cache,
        ..Settings::default()
    }
}

/// Tokens from a cache cost a tenth, those into one a quarter more, and searches nothing.
fn price() -> Price {
    let (input, output) = (pico(PROMPT), pico(ANSWER));
    let rates = TokenRates {
        cache_read: pico(PROMPT / 10),
        cache_write_5m: pico(PROMPT / 4 * 5),
        ..TokenRates::flat(input, output)
    };
    Price::Known(Arc::new(Rates {
        standard: Tariff::new(rates, Vec::new()),
        per_search: Some(Money::ZERO),
        ..Rates::default()
    }))
}

fn caller(agent: &str) -> Caller {
    Caller {
        agent: agent.into(),
        replica: agent.into(),
        instance: "1".into(),
        run: None,
        credential: Credential::Token(Arc::new(|token| {
            (token == b"agent-token").then(|| Life {
                instance: "coder#1".into(),
                run: None,
            })
        })),
    }
}

async fn accept(
    listener: TcpListener,
    gateway: Gateway,
    agent: &'static str,
    closed: watch::Sender<u64>,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let (gateway, closed) = (gateway.clone(), closed.clone());
        tokio::spawn(async move {
            gateway.serve(stream, caller(agent)).await;
            closed.send_modify(|closed| *closed += 1);
        });
    }
}

/// A clock that a test moves.
pub(crate) struct TestClock(Mutex<(Timestamp, Duration)>);

impl Default for TestClock {
    fn default() -> Self {
        let noon = "2026-03-05T12:00:00Z".parse().expect("a time");
        Self(Mutex::new((noon, Duration::from_secs(1000))))
    }
}

impl TestClock {
    pub(crate) fn pass(&self, time: Duration) {
        let mut clock = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        clock.0 = clock.0.checked_add(time).expect("not the end of time");
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

/// The journal and the observer in one: what was written and what was told.
#[derive(Default)]
pub(crate) struct Book {
    /// What requests came to.
    pub(crate) conclusions: Mutex<Vec<Conclusion>>,
    /// The same in words.
    pub(crate) messages: Mutex<Vec<String>>,
    pub(crate) broken: AtomicBool,
    /// Who holds it for writing keeps calls from being recorded.
    pub(crate) busy: RwLock<()>,
    /// How many calls were to be recorded.
    pub(crate) arrived: watch::Sender<u64>,
    reserved: Mutex<Vec<CallRecord>>,
    /// Calls that may cost less than was reserved, with that.
    pub(crate) shrunk: watch::Sender<Vec<(CallId, Money)>>,
    settled: Mutex<Vec<CallRecord>>,
    cached: Mutex<Vec<CachedCall>>,
    pub(crate) told: watch::Sender<Vec<String>>,
}

impl Book {
    pub(crate) fn reserved(&self) -> Vec<CallRecord> {
        self.reserved
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn settled(&self) -> Vec<CallRecord> {
        self.settled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn cached(&self) -> Vec<CachedCall> {
        self.cached
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn told(&self) -> Vec<String> {
        self.told.borrow().clone()
    }

    /// How the calls ended, in the order in which they did.
    pub(crate) fn endings(&self) -> Vec<&'static str> {
        let settled = self.settled();
        let ends = settled.iter().filter_map(|call| call.end.as_ref());
        ends.map(|end| end.ending.as_str()).collect()
    }
}

impl Journal for Book {
    fn reserve<'a>(&'a self, call: &'a CallRecord) -> Written<'a> {
        Box::pin(async {
            self.arrived.send_modify(|arrived| *arrived += 1);
            let _idle = self.busy.read().await;
            if self.broken.load(Ordering::SeqCst) {
                return Err(JournalError("told to fail".into()));
            }
            let mut reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
            reserved.push(call.clone());
            Ok(())
        })
    }

    fn shrink(&self, call: CallId, held: Money) -> Written<'_> {
        Box::pin(async move {
            let _idle = self.busy.read().await;
            if self.broken.load(Ordering::SeqCst) {
                return Err(JournalError("told to fail".into()));
            }
            self.shrunk.send_modify(|shrunk| shrunk.push((call, held)));
            Ok(())
        })
    }

    fn settle<'a>(&'a self, call: &'a CallRecord) -> Written<'a> {
        Box::pin(async {
            let mut settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
            settled.push(call.clone());
            Ok(())
        })
    }

    fn cached<'a>(&'a self, call: &'a CachedCall) -> Written<'a> {
        Box::pin(async {
            if self.broken.load(Ordering::SeqCst) {
                return Err(JournalError("told to fail".into()));
            }
            let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
            cached.push(call.clone());
            Ok(())
        })
    }
}

impl Observer for Book {
    fn tell(&self, event: Event<'_>) {
        let line = match event {
            Event::Begun(call) => format!("begun {}", call.model),
            Event::Failed { call, attempt } => {
                format!("failed {} {:?}", call.model, attempt.failure)
            }
            Event::FirstByte(call) => format!("first byte {}", call.model),
            Event::Progress { call, .. } => format!("progress {}", call.model),
            Event::Ended(call) => format!("ended {}", call.model),
            Event::Cache { result, .. } => format!("cache {}", result.as_str()),
            Event::Refused { status, code, .. } => format!("refused {status} {code}"),
            Event::OverBudget { .. } => "over budget".to_owned(),
            Event::PersonalData {
                place,
                action,
                found,
                ..
            } => {
                format!("{action:?} {found} in {place}")
            }
            Event::Unreadable { place, .. } => format!("unreadable {place}"),
            Event::WrongAnswer {
                action, violations, ..
            } => format!("{action:?} {} violations", violations.len()),
            Event::Unsafe {
                place, categories, ..
            } => format!("judged unsafe in {place}: {}", categories.join(", ")),
            Event::Unjudged { place, action, .. } => format!("unjudged {place} {action:?}"),
            Event::Alert(alert) => format!("alert {:?}", alert.told),
            Event::Concluded {
                conclusion,
                message,
                ..
            } => {
                let mut messages = self.messages.lock().expect("no panic");
                messages.push(message.to_owned());
                let mut conclusions = self.conclusions.lock().expect("no panic");
                return conclusions.push(conclusion.clone());
            }
            Event::ProviderDown { provider, .. } => format!("down {provider}"),
            Event::ProviderUp { provider } => format!("up {provider}"),
            Event::Misconfigured { model, status, .. } => format!("misconfigured {model} {status}"),
        };
        self.told.send_modify(|told| told.push(line));
    }
}
