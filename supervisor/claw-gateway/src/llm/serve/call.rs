//! One request on its way through the targets that may serve it.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Response, StatusCode, header::HeaderName};
use jiff::Timestamp;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::admission::{Admitted, admit};
use super::attempt::{Failed, Served, attempt};
use super::body::AnswerBody;
use super::chain::Target;
use super::crossing::{refusal_from, request_for};
use super::denial::{Denial, SHOULD_RETRY};
use super::gateway::Shared;
use super::hold::End;
use super::host::{AttemptFailure, Caller, Event};
use super::provider_state::{Probe, Turn, Verdict};
use super::router::Router;
use super::settings::AgentSettings;
use super::validators::Validators;
use crate::llm::budget::Limits;
use crate::llm::route::{self, Failing, Failure, Next, Passed, Room, Tries};
use crate::llm::translate::Shown;
use crate::llm::upstream;
use crate::llm::wire::{self, Api};

/// The header that names the provider's id of the model that answered.
pub(super) const MODEL: HeaderName = HeaderName::from_static("x-openclaw-model");
/// The header that names who answered.
pub(super) const PROVIDER: HeaderName = HeaderName::from_static("x-openclaw-provider");
pub(super) const ATTEMPTS: HeaderName = HeaderName::from_static("x-openclaw-attempts");
pub(super) const CLAMPED: HeaderName = HeaderName::from_static("x-openclaw-clamped-to");

/// What its agent gets.
pub(super) type Answered = Result<Response<AnswerBody>, Denial>;

/// A request, read and allowed.
pub(super) struct Call {
    pub(super) shared: Arc<Shared>,
    pub(super) caller: Arc<Caller>,
    pub(super) agent: Arc<AgentSettings>,
    pub(super) id: Arc<str>,
    pub(super) request: Arc<wire::Request>,
    /// SHA-256 of the request's body.
    pub(super) hash: [u8; 32],
    pub(super) headers: HeaderMap,
    /// The agent's own money as the request limits it.
    pub(super) tighter: Limits,
    /// What else it asks for.
    pub(super) router: Router,
    /// How long a target may take by the fleet file; the request may ask for less.
    pub(super) fleet_timeout: Duration,
    pub(super) answer: Answering,
    /// At all targets together.
    pub(super) attempts: u32,
}

/// The agent's end of a call, until it is answered.
pub(super) struct Answering(Option<oneshot::Sender<Answered>>);

impl Answering {
    pub(super) const fn new(sender: oneshot::Sender<Answered>) -> Self {
        Self(Some(sender))
    }

    /// Answers, unless the agent has hung up or has an answer already.
    pub(super) fn send(&mut self, answered: Answered) {
        if let Some(sender) = self.0.take() {
            // Who has hung up wants no answer.
            let _unread = sender.send(answered);
        }
    }

    /// Hands on who waits for the answer.
    pub(super) const fn take(&mut self) -> Self {
        Self(self.0.take())
    }

    /// Waits until the agent has hung up.
    pub(super) async fn hung_up(&mut self) {
        match &mut self.0 {
            Some(sender) => sender.closed().await,
            None => std::future::pending().await,
        }
    }

    fn is_open(&self) -> bool {
        self.0.as_ref().is_some_and(|sender| !sender.is_closed())
    }
}

impl Call {
    /// Tries the targets in turn until one answers.
    pub(super) async fn run(mut self, targets: Vec<Target>) {
        let mut refusal: Option<Denial> = None;
        for target in &targets {
            match self.try_target(target).await {
                Ok(()) => return,
                Err(denial) => {
                    let is_told = |before: &Denial| before.rank() >= denial.rank();
                    if !refusal.as_ref().is_some_and(is_told) {
                        refusal = Some(denial);
                    }
                }
            }
            if !self.answer.is_open() {
                return;
            }
        }
        if let Some(denial) = refusal {
            self.answer.send(Err(denial));
        }
    }

    async fn try_target(&mut self, target: &Target) -> Result<(), Denial> {
        let request = request_for(&self.request, target, &self.agent)?;
        let provider = || target.provider_name.to_string();
        let now = self.shared.host.clock.monotonic();
        let admitted = self.shared.providers.admit(target, now);
        let mut probe = admitted.map_err(|left| Denial::Cooling {
            provider: provider(),
            left,
        })?;
        let deadline = Instant::now() + self.agent.timeout;
        let mut held: Option<Admitted> = None;
        // The attempt before, where its money was settled by itself.
        let mut settled: Option<AttemptFailure> = None;
        let mut failed = 0;
        loop {
            let ready = self.ready(target, &request, deadline, held.take());
            let Some(mut admitted) = ready.await? else {
                return Ok(());
            };
            if let Some(cause) = settled.take() {
                admitted.hold.failed(cause);
            }
            self.attempts += 1;
            let attempted = attempt(self, target, (&request, admitted), deadline).await;
            let failure = match attempted {
                Ok(Served::Answered) => {
                    probe.told();
                    return Ok(());
                }
                Ok(Served::HungUp) => return Ok(()),
                Err(failure) => failure,
            };
            failed += 1;
            self.learn(target, failure.failure, &mut probe);
            let next = self.next(failure.failure, failed, deadline);
            match next {
                Next::Retry { after } => {
                    held = failure.admitted;
                    match &mut held {
                        Some(admitted) => admitted.hold.failed(failure.cause),
                        None => settled = Some(failure.cause),
                    }
                    self.pause(Instant::now() + after).await;
                    if !self.answer.is_open() {
                        give_up(held);
                        return Ok(());
                    }
                }
                Next::NextTarget(passed) => {
                    let denial = self.passed(target, passed, &failure);
                    failure.give_up();
                    return Err(denial);
                }
                Next::GiveBack => {
                    self.give_back(target, request.api, failure);
                    return Ok(());
                }
            }
        }
    }

    /// What follows the latest of so many failed attempts at a target.
    fn next(&self, failure: Failure, failed: u32, deadline: Instant) -> Next {
        let tries = Tries {
            failed,
            max_retries: self.agent.max_retries,
            left: deadline.saturating_duration_since(Instant::now()),
        };
        if self.router.goes_on(failure) {
            route::next(failure, tries, chance())
        } else {
            Next::GiveBack
        }
    }

    /// Waits for room and takes the money that is not held yet; nothing, if the agent has hung up
    /// meanwhile.
    async fn ready(
        &mut self,
        target: &Target,
        request: &wire::Request,
        deadline: Instant,
        held: Option<Admitted>,
    ) -> Result<Option<Admitted>, Denial> {
        if let Err(denial) = self.wait_for_room(target, deadline).await {
            give_up(held);
            return Err(denial);
        }
        let admitted = match held {
            None if self.answer.is_open() => admit(self, target, request).await.map(Some),
            held => Ok(held),
        };
        match admitted {
            Ok(Some(admitted)) if self.answer.is_open() => Ok(Some(admitted)),
            Ok(held) => {
                self.give_room_back(target);
                give_up(held);
                Ok(None)
            }
            Err(denial) => {
                self.give_room_back(target);
                Err(denial)
            }
        }
    }

    async fn wait_for_room(&mut self, target: &Target, deadline: Instant) -> Result<(), Denial> {
        let now = self.shared.host.clock.monotonic();
        match self.shared.providers.take(target, now) {
            Room::Now => Ok(()),
            Room::After(wait) if Instant::now() + wait < deadline => {
                self.pause(Instant::now() + wait).await;
                Ok(())
            }
            Room::After(retry_after) => {
                self.give_room_back(target);
                Err(limited(target, retry_after))
            }
            Room::None { retry_after } => Err(limited(target, retry_after)),
        }
    }

    /// Gives back room that was taken for a request that is not sent.
    fn give_room_back(&self, target: &Target) {
        let now = self.shared.host.clock.monotonic();
        self.shared.providers.give_back(target, now);
    }

    /// Waits, unless the agent hangs up.
    async fn pause(&mut self, until: Instant) {
        tokio::select! {
            () = sleep_until(until) => {}
            () = self.answer.hung_up() => {}
        }
    }

    fn learn(&self, target: &Target, failure: Failure, probe: &mut Probe) {
        let verdict = match failure {
            Failure::Connect => Verdict::Failed(Failing::Unsent(Arc::clone(&self.id))),
            Failure::Broken => Verdict::Failed(self.failing()),
            Failure::TimedOut => Verdict::Silent(self.failing()),
            Failure::Status {
                status: 429,
                retry_after,
            } => Verdict::TooMany { retry_after },
            Failure::Status {
                status: 408 | 500..,
                ..
            } => Verdict::Failed(self.failing()),
            Failure::Status {
                status: 400 | 405..500,
                ..
            } => Verdict::Answered,
            // Nothing is wrong with the provider, but with what it is told, or how soon.
            Failure::Status { .. } | Failure::Late | Failure::Limited => return,
        };
        let now = self.shared.host.clock.monotonic();
        let turn = self.shared.providers.learn(target, verdict, now);
        self.tell_turn(target, turn);
        probe.told();
    }

    /// What failed, where its provider has seen it.
    fn failing(&self) -> Failing {
        Failing::Sent {
            instance: Arc::clone(&self.caller.instance),
            hash: self.hash,
        }
    }

    /// Whether an attempt that was sent then has as long as the fleet file gives it, but for what
    /// went before it. What was lowered by its agent, or is left after other attempts, says nothing
    /// of a provider that keeps silent.
    pub(super) fn has_patience(&self, sent: Instant, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(sent);
        self.agent.timeout >= self.fleet_timeout && left >= self.fleet_timeout / 2
    }

    /// Tells that a provider is left alone, or that it answers again.
    pub(super) fn tell_turn(&self, target: &Target, turn: Turn) {
        let provider = &*target.provider_name;
        match turn {
            Turn::None => {}
            Turn::Down { left } => {
                let until = self.shared.host.clock.now().saturating_add(left);
                let until = until.unwrap_or(Timestamp::MAX);
                self.shared.tell(Event::ProviderDown { provider, until });
            }
            Turn::Up => self.shared.tell(Event::ProviderUp { provider }),
        }
    }

    fn passed(&self, target: &Target, passed: Passed, failure: &Failed) -> Denial {
        let provider = target.provider_name.to_string();
        match (passed, failure.failure) {
            (Passed::Misconfigured { status }, _) => {
                self.shared.tell(Event::Misconfigured {
                    provider: &provider,
                    model: &target.model.id,
                    status,
                });
                Denial::Misconfigured { provider, status }
            }
            (Passed::TimedOut, _) | (_, Failure::TimedOut | Failure::Late) => Denial::TimedOut {
                provider,
                timeout: self.agent.timeout,
            },
            (
                Passed::Exhausted | Passed::TooLong,
                Failure::Status {
                    status,
                    retry_after,
                },
            ) => Denial::ProviderFailed {
                provider,
                status,
                retry_after,
            },
            (
                Passed::Exhausted | Passed::TooLong,
                Failure::Connect | Failure::Broken | Failure::Limited,
            ) => Denial::Unreachable { provider },
        }
    }

    /// Gives the agent the provider's own words, or says why there are none. What a provider says of
    /// the supervisor's key is not for an agent, and may quote it.
    fn give_back(&mut self, target: &Target, api: Api, failed: Failed) {
        if let Some(status) = failed.failure.misconfigured() {
            let passed = Passed::Misconfigured { status };
            let denial = self.passed(target, passed, &failed);
            self.answer.send(Err(denial));
        } else if let Some(said) = &failed.said {
            let mut response = self.response(target, said.status, &said.headers);
            let crossing = (api, self.request.api);
            let body = refusal_from(crossing, said.status.as_u16(), said.body.clone());
            *response.body_mut() = AnswerBody::whole(body);
            let no = HeaderValue::from_static("false");
            response.headers_mut().insert(SHOULD_RETRY, no);
            self.answer.send(Ok(response));
        } else {
            let denial = self.passed(target, Passed::Exhausted, &failed);
            self.answer.send(Err(denial));
        }
        failed.give_up();
    }

    /// How an answer in another interface is to be shown.
    pub(super) fn shown(&self) -> Shown<'_> {
        let now = self.shared.host.clock.now().as_second();
        Shown {
            model: &self.request.model,
            created: u64::try_from(now).unwrap_or_default(),
        }
    }

    /// What looks at its answer.
    pub(super) fn validators(&self) -> Validators {
        Validators {
            shared: Arc::clone(&self.shared),
            caller: Arc::clone(&self.caller),
            request: Arc::clone(&self.id),
        }
    }

    /// An answer without its body.
    pub(super) fn response(
        &self,
        target: &Target,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Response<AnswerBody> {
        let mut response = Response::new(AnswerBody::Whole(None));
        *response.status_mut() = status;
        let told = response.headers_mut();
        *told = upstream::to_agent(headers);
        for (name, text) in [(MODEL, &target.model.id), (PROVIDER, &target.provider_name)] {
            // A name that no header can carry is not worth a call.
            if let Ok(value) = HeaderValue::from_str(text) {
                told.insert(name, value);
            }
        }
        told.insert(ATTEMPTS, HeaderValue::from(self.attempts));
        response
    }

    /// The answer of a call whose limit was lowered says so.
    pub(super) fn mark_clamped(response: &mut Response<AnswerBody>, clamped_to: Option<u64>) {
        if let Some(limit) = clamped_to {
            response
                .headers_mut()
                .insert(CLAMPED, HeaderValue::from(limit));
        }
    }
}

fn limited(target: &Target, retry_after: Duration) -> Denial {
    Denial::Limited {
        provider: target.provider_name.to_string(),
        retry_after,
    }
}

fn give_up(held: Option<Admitted>) {
    if let Some(admitted) = held {
        admitted.hold.settle(End::failed(None)).write_beside();
    }
}

/// From 0 to 1. Without the kernel's randomness, calls that failed together come back together.
fn chance() -> f64 {
    let number = getrandom::u32().unwrap_or(u32::MAX / 2);
    f64::from(number) / f64::from(u32::MAX)
}
