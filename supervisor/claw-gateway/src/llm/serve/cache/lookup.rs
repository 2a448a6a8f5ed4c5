//! One request and the cache: whether it has the answer, and what is kept of one that comes.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};

use super::super::body::AnswerBody;
use super::super::call::CLAMPED;
use super::super::chain::Target;
use super::super::gateway::Shared;
use super::super::host::{Caller, Event};
use super::super::settings::{AgentSettings, Caching, Settings};
use super::answer::{self, Answer};
use super::control::{CacheControl, depends_on_itself_alone};
use super::key::Key;
use super::record::{CacheResult, CachedCall};
use crate::llm::wire::{Api, Request};

/// A request that may pass.
#[derive(Clone, Copy)]
pub(in crate::llm::serve) struct Asked<'a> {
    pub(in crate::llm::serve) caller: &'a Caller,
    pub(in crate::llm::serve) settings: &'a Settings,
    pub(in crate::llm::serve) agent: &'a AgentSettings,
    pub(in crate::llm::serve) request: &'a Request,
    /// SHA-256 of its body.
    pub(in crate::llm::serve) hash: &'a [u8; 32],
    pub(in crate::llm::serve) headers: &'a HeaderMap,
    pub(in crate::llm::serve) targets: &'a [Target],
}

/// What came of looking.
pub(in crate::llm::serve) enum Looked {
    /// This is the answer.
    Hit(Arc<Answer>),
    /// A provider is to be asked.
    Ask(Ask),
}

/// What a request that goes to a provider has to do with the cache.
pub(in crate::llm::serve) struct Ask {
    /// What its agent is told; nothing, where the agent's answers are not kept.
    result: Option<CacheResult>,
    keeping: Option<Keeping>,
}

/// The place for an answer that is to come.
pub(in crate::llm::serve) struct Keeping {
    shared: Arc<Shared>,
    key: Key,
    api: Api,
    headers: HeaderMap,
}

/// Looks for the answer to a request.
pub(in crate::llm::serve) fn look(shared: &Arc<Shared>, asked: &Asked<'_>) -> Looked {
    let ask = |result, keeping| Looked::Ask(Ask { result, keeping });
    match asked.agent.cache {
        Caching::Off => return ask(None, None),
        Caching::On => {}
    }
    let tell = |result| {
        let caller = asked.caller;
        shared.tell(Event::Cache { caller, result });
    };
    let control = CacheControl::read(asked.headers);
    if control == CacheControl::NoStore || !depends_on_itself_alone(asked.request, asked.targets) {
        tell(CacheResult::Bypass);
        return ask(Some(CacheResult::Bypass), None);
    }
    let key = Key::of(asked);
    let (now, ttl) = (shared.host.clock.monotonic(), asked.settings.cache.ttl);
    let result = match control {
        CacheControl::NoCache | CacheControl::NoStore => CacheResult::Bypass,
        CacheControl::Usual => match shared.answers.get(&key, now, ttl) {
            Some(answer) => {
                tell(CacheResult::Hit);
                return Looked::Hit(answer);
            }
            None => CacheResult::Miss,
        },
    };
    tell(result);
    let keeping = Keeping {
        shared: Arc::clone(shared),
        key,
        api: asked.request.api,
        headers: HeaderMap::new(),
    };
    ask(Some(result), Some(keeping))
}

impl Ask {
    /// Tells the agent, and finds out whether the answer may be kept as far as its head shows.
    pub(in crate::llm::serve) fn meet(
        self,
        response: &mut Response<AnswerBody>,
    ) -> Option<Keeping> {
        if let Some(result) = self.result {
            answer::mark(response.headers_mut(), result);
        }
        let is_whole = response.status() == StatusCode::OK
            && !response.headers().contains_key(CLAMPED)
            && !matches!(response.body(), AnswerBody::Once(_));
        let keeping = self.keeping.filter(|_keeping| is_whole)?;
        Some(Keeping {
            headers: response.headers().clone(),
            ..keeping
        })
    }
}

impl Keeping {
    /// The longest answer that has room, in bytes.
    pub(in crate::llm::serve) fn longest(&self) -> usize {
        usize::try_from(self.shared.answers.longest()).unwrap_or(usize::MAX)
    }

    /// Keeps the answer, which has come to its end.
    pub(in crate::llm::serve) fn keep(self, bytes: &Bytes) {
        let now = self.shared.host.clock.monotonic();
        if let Some(answer) = Answer::read(self.api, &self.headers, bytes, now) {
            self.shared.answers.put(self.key, answer);
        }
    }
}

/// Gives a kept answer to another request, and writes that down.
pub(in crate::llm::serve) async fn give_again(
    shared: &Shared,
    (asked, id): (&Asked<'_>, &Arc<str>),
    answer: &Answer,
) -> Response<AnswerBody> {
    let clock = &shared.host.clock;
    let (now, caller) = (clock.now(), asked.caller);
    let (number, day) = shared.ledger().number(now);
    let call = CachedCall {
        id: number,
        request: Arc::clone(id),
        agent: Arc::clone(&caller.agent),
        instance: Arc::clone(&caller.instance),
        run: caller.run.clone(),
        at: now,
        day,
        provider: answer.provider(),
        model_asked: asked.request.model.as_str().into(),
        model: answer.model(),
        request_hash: *asked.hash,
    };
    if let Err(error) = shared.host.journal.cached(&call).await {
        // Nothing was spent, so nothing is lost but the row.
        tracing::error!(
            call = %call.id,
            error = &error as &dyn std::error::Error,
            "an answer from the cache is not in the journal"
        );
    }
    answer.response(clock.monotonic())
}
