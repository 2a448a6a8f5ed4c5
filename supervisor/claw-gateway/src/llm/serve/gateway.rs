//! What all connections share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::task::TaskTracker;

use super::bodies::Bodies;
use super::cache::Answers;
use super::drain::Drains;
use super::endpoint;
use super::host::{Caller, Clock, Event, Journal, Observer};
use super::provider_state::ProviderStates;
use super::settings::{Caching, Settings};
use crate::Halts;
use crate::llm::budget::{Alert, Budgets, Ledger};
use crate::llm::route::HourlyTokens;
use crate::llm::upstream::Client;

/// What the gateway needs of its host.
#[derive(Clone)]
pub struct Host {
    /// Keeps the money of calls.
    pub journal: Arc<dyn Journal>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Is told what happens.
    pub observer: Arc<dyn Observer>,
    /// Whose calls are cut.
    pub halts: Halts,
}

/// The way of all agents to language models. Clones are the same gateway.
#[derive(Clone)]
pub struct Gateway {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    settings: RwLock<Arc<Settings>>,
    ledger: Mutex<Ledger>,
    pub(super) hourly: Mutex<BTreeMap<Arc<str>, HourlyTokens>>,
    pub(super) providers: Arc<ProviderStates>,
    pub(super) client: Client,
    pub(super) drains: Drains,
    pub(super) bodies: Arc<Bodies>,
    pub(super) answers: Answers,
    pub(super) tasks: TaskTracker,
    pub(super) host: Host,
}

impl Gateway {
    /// A gateway with the money of a ledger.
    #[must_use]
    pub fn new(settings: Settings, ledger: Ledger, host: Host) -> Self {
        let shared = Shared {
            answers: Answers::new(room_for_answers(&settings)),
            settings: RwLock::new(Arc::new(settings)),
            ledger: Mutex::new(ledger),
            hourly: Mutex::default(),
            providers: Arc::default(),
            client: Client::new(),
            drains: Drains::default(),
            bodies: Arc::default(),
            tasks: TaskTracker::new(),
            host,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Serves one connection of a caller until it ends. Calls that are under way then go on by
    /// themselves until they are settled.
    ///
    /// Whoever accepts connections bounds how many of them an agent may have; each has one request
    /// under way, with a body of at most [`MAX_BODY`](super::MAX_BODY) bytes. What the bodies of an
    /// agent and of all take together is bounded here.
    pub async fn serve<S>(&self, stream: S, caller: Caller)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        endpoint::serve(&self.shared, stream, Arc::new(caller)).await;
    }

    /// Answers one request of a caller whose connection is served by the host, at the path that it
    /// would have here.
    pub async fn answer(
        &self,
        request: Request<Incoming>,
        caller: Arc<Caller>,
    ) -> Response<impl Body<Data = Bytes, Error: std::error::Error + Send + Sync> + Send + use<>>
    {
        endpoint::answer(&self.shared, request, caller).await
    }

    /// Exchanges the settings. Calls under way keep those they began with. A provider with another
    /// key or address is asked at once, however the one before it fared.
    pub fn replace(&self, settings: Settings) {
        let settings = Arc::new(settings);
        self.shared.answers.resize(room_for_answers(&settings));
        let mut hourly = lock(&self.shared.hourly);
        hourly.retain(|agent, _tokens| settings.agents.contains_key(agent));
        drop(hourly);
        let before = {
            let current = self.shared.settings.write();
            let mut current = current.unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, Arc::clone(&settings))
        };
        let providers = &self.shared.providers;
        for provider in providers.retain(&before.providers, &settings.providers) {
            let provider = &*provider;
            self.shared.tell(Event::ProviderUp { provider });
        }
    }

    /// Puts other budgets in force, and tells of alerts that are due by them.
    pub fn set_budgets(&self, budgets: Budgets) {
        let now = self.shared.host.clock.now();
        let alerts = self.shared.ledger().set_budgets(now, budgets);
        self.shared.tell_alerts(&alerts);
    }

    /// Looks at the ledger, or corrects it. No other call goes on meanwhile.
    pub fn with_ledger<T>(&self, look: impl FnOnce(&mut Ledger) -> T) -> T {
        look(&mut self.shared.ledger())
    }

    /// Waits until every call is settled, those included that nobody waits for any more. Further
    /// calls must not come.
    pub async fn settled(&self) {
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
        self.shared.tasks.reopen();
    }
}

impl Shared {
    pub(super) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    pub(super) fn tell(&self, event: Event<'_>) {
        self.host.observer.tell(event);
    }

    pub(super) fn tell_alerts(&self, alerts: &[Alert]) {
        for alert in alerts {
            self.tell(Event::Alert(alert));
        }
    }
}

/// What the answers that are kept may take; nothing, where no agent's are.
fn room_for_answers(settings: &Settings) -> u64 {
    let mut agents = settings.agents.values();
    let are_kept = agents.any(|agent| agent.cache == Caching::On);
    if are_kept { settings.cache.max_size } else { 0 }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
