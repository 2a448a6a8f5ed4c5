//! One connection: its requests are read, told apart, and refused or handed on.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;

use super::bodies::{Full, Room};
use super::body::AnswerBody;
use super::cache::{self, Asked, Looked};
use super::call::{Answering, Call};
use super::chain::{Target, chain};
use super::checked::{self, Checks};
use super::conclusion::Conclusion;
use super::denial::Denial;
use super::gateway::Shared;
use super::host::{Caller, Credential, Event, Life, Place};
use super::judge::Judge;
use super::router::Router;
use super::settings::{AgentSettings, RefusalStatus, Settings};
use super::source::hexadecimal;
use super::tape::{self, Taped};
use super::validators::Validators;
use super::{models, own_budget};
use crate::llm::validate::content_safety::NotJudged;
use crate::llm::validate::pii;
use crate::llm::wire::{self, Api, Side};

/// The longest body of a request, in bytes: Anthropic's own bound
/// (<https://docs.anthropic.com/en/api/errors>), which leaves room for some large images.
pub const MAX_BODY: usize = 32 * 1024 * 1024;

/// The header of every answer that names the request, as the records do.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-openclaw-request-id");

/// From this many bytes on, a body is looked at on a thread of its own: to hash, parse and search
/// it takes milliseconds, in which others would wait.
const LARGE: usize = 256 * 1024;

/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(30);

/// How long the body of a request may take.
const BODY: Duration = Duration::from_secs(60);

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Serves a connection until it ends.
pub(super) async fn serve<S>(shared: &Arc<Shared>, stream: S, caller: Arc<Caller>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request| {
        let exchange = Exchange {
            shared: Arc::clone(shared),
            caller: Arc::clone(&caller),
            id: request_id(),
            hash: OnceLock::new(),
        };
        exchange.answer(request)
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = serving.await {
        tracing::debug!(agent = %caller.agent, %error, "a connection to the models broke off");
    }
}

/// Answers a request that came over a connection of somebody else's.
pub(super) async fn answer(
    shared: &Arc<Shared>,
    request: Request<Incoming>,
    caller: Arc<Caller>,
) -> Response<Taped> {
    let exchange = Exchange {
        shared: Arc::clone(shared),
        caller,
        id: request_id(),
        hash: OnceLock::new(),
    };
    match exchange.answer(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// A request that may pass, and the SHA-256 of its body.
type Passes = (wire::Request, [u8; 32]);

/// One request.
struct Exchange {
    shared: Arc<Shared>,
    caller: Arc<Caller>,
    id: Arc<str>,
    /// SHA-256 of the body, once it is read.
    hash: OnceLock<[u8; 32]>,
}

impl Exchange {
    async fn answer(mut self, request: Request<Incoming>) -> Result<Response<Taped>, Infallible> {
        let (head, body) = request.into_parts();
        let identified = self.identify(&head.headers);
        let api = Api::of_path(head.uri.path());
        let side = side(api, &head.headers);
        let settings = self.shared.settings();
        let agent = settings.agents.get(&self.caller.agent);
        let for_budget = agent.map_or(RefusalStatus::PaymentRequired, |agent| agent.refusal_status);
        let admitted = identified.and_then(|()| self.admitted(agent));
        let answered = match (admitted, api) {
            (Err(denial), _) => Err(denial),
            (Ok(agent), Some(api)) if head.method == Method::POST => {
                let call = self.call(&settings, agent, (api, head, body));
                self.unless_halted(call).await
            }
            (Ok(agent), _) => self
                .other(&settings, agent, (&head, side))
                .map(|response| response.map(Taped::plain)),
        };
        self.conclude(&answered);
        let mut response = answered.unwrap_or_else(|denial| {
            self.shared.tell(Event::Refused {
                caller: &self.caller,
                status: denial.status(for_budget),
                code: denial.code(),
                message: &denial.told(),
            });
            denial.response(side, for_budget).map(Taped::plain)
        });
        if let Ok(id) = HeaderValue::from_str(&self.id) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        Ok(response)
    }

    /// Tells what the request came to, if it was read.
    fn conclude(&self, answered: &Result<Response<Taped>, Denial>) {
        let Some(hash) = self.hash.get() else {
            return;
        };
        let (conclusion, message) = match answered {
            Ok(response) => (
                Conclusion::of_response(response),
                format!("its provider answered {}", response.status().as_u16()),
            ),
            Err(denial) => (Conclusion::of_denial(denial), denial.told()),
        };
        self.shared.tell(Event::Concluded {
            caller: &self.caller,
            hash,
            conclusion: &conclusion,
            message: &message,
        });
    }

    /// Takes the caller for the life whose token it shows.
    fn identify(&mut self, headers: &HeaderMap) -> Result<(), Denial> {
        let life = match (&self.caller.credential, token(headers)) {
            (Credential::Trusted, _) | (Credential::OwnNetwork(_), None) => return Ok(()),
            (Credential::Token(_), None) => None,
            (Credential::Token(life_of) | Credential::OwnNetwork(life_of), Some(token)) => {
                life_of(token)
            }
        };
        let Life { instance, run } = life.ok_or(Denial::Unauthorized)?;
        self.caller = Arc::new(Caller {
            instance,
            run,
            ..Caller::clone(&self.caller)
        });
        Ok(())
    }

    fn admitted<'a>(
        &self,
        agent: Option<&'a Arc<AgentSettings>>,
    ) -> Result<&'a Arc<AgentSettings>, Denial> {
        agent.ok_or_else(|| Denial::NoAccess {
            agent: self.caller.agent.to_string(),
        })
    }

    /// A call for as long as its agent is not halted. Who waits for it hangs up then, so that it is
    /// settled as any is that nobody waits for.
    async fn unless_halted(
        &self,
        call: impl Future<Output = Result<Response<Taped>, Denial>>,
    ) -> Result<Response<Taped>, Denial> {
        let halted = || self.shared.host.halts.halted(&self.caller.replica);
        let answered = tokio::select! {
            biased;
            halt = halted() => {
                let agent = self.caller.replica.to_string();
                return Err(Denial::Halted { agent, halt });
            }
            answered = call => answered,
        };
        answered.map(|response| response.map(|body| body.until(halted())))
    }

    async fn call(
        &self,
        settings: &Settings,
        agent: &Arc<AgentSettings>,
        (api, head, body): (Api, Parts, Incoming),
    ) -> Result<Response<Taped>, Denial> {
        let router = Router::read(&head.headers)?;
        let tighter = router.limits()?;
        let fleet_timeout = agent.timeout;
        let agent = &router.lower(agent)?;
        let mut room = Room::of(&self.shared.bodies, &self.caller.agent);
        let body = read(body, &mut room).await?;
        let (request, hash) = self.examine(agent, api, body).await?;
        let targets = chain(settings, agent, &request.model)?;
        let source = &settings.source;
        if let Some(answered) = source.answer(&self.caller, (&request, &hash)) {
            return answered.map(|response| response.map(Taped::plain));
        }
        let now = self.shared.host.clock.now();
        let recorded = source.recorded(&self.caller, (&request, &hash), now);
        if let Some(judge) = self.judge(settings, agent, Place::Prompt) {
            judge_prompt(&judge, &request).await?;
        }
        let asked = Asked {
            caller: &self.caller,
            settings,
            agent,
            request: &request,
            hash: &hash,
            headers: &head.headers,
            targets: &targets,
        };
        let ask = match cache::look(&self.shared, &asked) {
            Looked::Hit(answer) => {
                let again = cache::give_again(&self.shared, (&asked, &self.id), &answer);
                return Ok(tape::copied(again.await, recorded, None));
            }
            Looked::Ask(ask) => ask,
        };
        let judge = self.judge(settings, agent, Place::Answer);
        let checks = Checks::of(agent, &request, judge).await?;
        let (answer, answered) = oneshot::channel();
        let call = Call {
            shared: Arc::clone(&self.shared),
            caller: Arc::clone(&self.caller),
            agent: Arc::clone(agent),
            id: Arc::clone(&self.id),
            hash,
            request: Arc::new(request),
            headers: head.headers,
            tighter,
            router,
            fleet_timeout,
            answer: Answering::new(answer),
            attempts: 0,
        };
        self.spawn(call, checks, (targets, room));
        // Without an answer the task has panicked; its money is settled as lost.
        let answered = answered.await.map_err(|_gone| Denial::Unrecorded)?;
        answered.map(|mut response| {
            let keeping = ask.meet(&mut response);
            tape::copied(response, recorded, keeping)
        })
    }

    /// A call outlives its agent: what is spent is known only at its end. Its body counts until then.
    fn spawn(&self, call: Call, checks: Option<Checks>, (targets, room): (Vec<Target>, Room)) {
        self.shared.tasks.spawn(async move {
            match checks {
                Some(checks) => checked::run(call, checks, targets).await,
                None => call.run(targets).await,
            }
            drop(room);
        });
    }

    /// Reads a body, which may pass without some of it, and answers with the hash of what passes.
    async fn examine(
        &self,
        agent: &Arc<AgentSettings>,
        api: Api,
        body: Vec<u8>,
    ) -> Result<Passes, Denial> {
        let validators = Validators {
            shared: Arc::clone(&self.shared),
            caller: Arc::clone(&self.caller),
            request: Arc::clone(&self.id),
        };
        let (sent, passes) = if body.len() < LARGE {
            examined(&validators, agent, (api, body))
        } else {
            let agent = Arc::clone(agent);
            let examining =
                tokio::task::spawn_blocking(move || examined(&validators, &agent, (api, body)));
            // It has panicked, or the supervisor is ending.
            examining.await.map_err(|_gone| Denial::Unread)?
        };
        self.hash.get_or_init(|| sent);
        passes
    }

    fn judge(&self, settings: &Settings, agent: &AgentSettings, place: Place) -> Option<Judge> {
        let whose = (&self.shared, &self.caller, &self.id);
        Judge::of((settings, agent), place, whose)
    }

    fn other(
        &self,
        settings: &Settings,
        agent: &AgentSettings,
        (head, side): (&Parts, Side),
    ) -> Result<Response<AnswerBody>, Denial> {
        let path = head.uri.path();
        if head.method == Method::GET {
            let told = match path {
                "/v1/models" | "/models" => Some(models::list(settings, agent, side)),
                "/v1/budget" => {
                    let now = self.shared.host.clock.now();
                    let ledger = self.shared.ledger();
                    Some(own_budget::balances(&ledger, now, &self.caller.agent))
                }
                _ => None,
            };
            if let Some(told) = told {
                let mut response = Response::new(AnswerBody::whole(told.to_string()));
                let json = HeaderValue::from_static("application/json");
                response.headers_mut().insert(CONTENT_TYPE, json);
                return Ok(response);
            }
        }
        Err(Denial::NoSuchPath {
            method: head.method.as_str().into(),
            path: path.into(),
        })
    }
}

/// The hash of a body as it was sent, and what of it passes, with its hash.
fn examined(
    validators: &Validators,
    agent: &AgentSettings,
    (api, body): (Api, Vec<u8>),
) -> ([u8; 32], Result<Passes, Denial>) {
    let sent = Sha256::digest(&body).into();
    let passes = || {
        let request = wire::Request::read(api, body)?;
        let redacted = validators.prompt(agent.prompts.as_ref(), (api, request.body()))?;
        let Some(redacted) = redacted else {
            return Ok((request, sent));
        };
        let request = wire::Request::read(api, redacted.into_bytes())?;
        let hash = Sha256::digest(request.body()).into();
        Ok((request, hash))
    };
    (sent, passes())
}

async fn judge_prompt(judge: &Judge, request: &wire::Request) -> Result<(), Denial> {
    match pii::request_texts(request.api, request.body()) {
        Ok(texts) => judge.judge(Place::Prompt, texts).await?,
        Err(pii::Unreadable) => judge.unjudged(Place::Prompt, &NotJudged::NoText)?,
    };
    Ok(())
}

/// Whose conventions a request follows. Clients of Anthropic name its version with every request.
fn side(api: Option<Api>, headers: &HeaderMap) -> Side {
    match api {
        Some(api) => api.side(),
        None if headers.contains_key("anthropic-version") => Side::Anthropic,
        None => Side::OpenAi,
    }
}

fn token(headers: &HeaderMap) -> Option<&[u8]> {
    let bearer = headers.get(AUTHORIZATION).and_then(|value| {
        let (scheme, token) = value.as_bytes().split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
    });
    let token = bearer.or_else(|| headers.get(API_KEY).map(HeaderValue::as_bytes))?;
    Some(token.trim_ascii())
}

async fn read(body: Incoming, room: &mut Room) -> Result<Vec<u8>, Denial> {
    let length = body.size_hint().lower();
    if length > u64::try_from(MAX_BODY).unwrap_or(u64::MAX) {
        return Err(Denial::TooLarge);
    }
    let reading = tokio::time::timeout(BODY, collect(body, room));
    reading.await.unwrap_or(Err(Denial::Unread))
}

/// All of a body, for which room is taken as it comes.
async fn collect(mut body: Incoming, room: &mut Room) -> Result<Vec<u8>, Denial> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_broken| Denial::Unread)?;
        // Trailers tell nothing.
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if data.len() > MAX_BODY - whole.len() {
            return Err(Denial::TooLarge);
        }
        room.take(data.len()).map_err(|Full| Denial::Busy)?;
        whole.extend_from_slice(&data);
    }
    Ok(whole)
}

/// An id that no other request has.
fn request_id() -> Arc<str> {
    let mut bytes = [0; 12];
    if let Err(error) = getrandom::fill(&mut bytes) {
        tracing::warn!(%error, "the kernel has no randomness for the id of a request");
    }
    format!("req_{}", hexadecimal(&bytes)).into()
}
