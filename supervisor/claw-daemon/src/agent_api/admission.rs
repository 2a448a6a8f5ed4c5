//! Who asks, and what every request must keep to; before any route sees it.
//!
//! ```text
//!  peer (at accept) ─► pace ─► head ─► token ─► process ─► session ─► route ─► refusals are counted
//! ```

use std::borrow::Cow;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use claw_core::redact::Redactor;
use claw_core::{AgentName, Fact, Generation};
use claw_gateway::Halt;
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use serde_json::json;
use tower::ServiceExt;

use super::api::AgentApi;
use super::endpoint::Endpoint;
use super::fault::{Code, Fault};
use super::limits;
use super::peer;
use super::refusals::Patience;
use super::serve::{Known, Peer};
use super::session::Session;
use super::token::{self, Verdict};

/// What every route has at hand.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) api: AgentApi,
    pub(super) endpoint: Arc<Endpoint>,
}

impl Context {
    /// Keeps in what would get out of an agent that is halted.
    pub(super) fn check_not_halted(&self, code: Code) -> Result<(), Fault> {
        let agent = &self.endpoint.agent;
        let halt = self.api.models().halts().of(agent.as_str());
        halt.map_or(Ok(()), |Halt { told, lift }| {
            let message = format!("{agent} is halted: {told}; `{lift}` lifts that");
            Err(Fault::new(code, message).detail(json!({ "reason": "halted" })))
        })
    }
}

/// Which life of the agent asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller(pub(super) Generation);

/// The header that names the session.
pub(super) const SESSION: &str = "openclaw-session";

/// Lets a request in, or says why not.
pub(super) async fn admission(
    context: &Context,
    peer: &Peer,
    app: &Router,
    mut request: Request,
) -> Response {
    if let Some(delay) = context.endpoint.pace.delay() {
        tokio::time::sleep(delay).await;
    }
    let (method, uri) = (request.method().clone(), request.uri().clone());
    // What a stranger's requests are answered says nothing about the agent.
    let (caused_by, response) = match admit(context, peer, &request) {
        Ok(generation) => {
            request.extensions_mut().insert(Caller(generation));
            request
                .extensions_mut()
                .insert(Mask::of(context, generation));
            request.extensions_mut().insert(peer.clone());
            (Some(generation), carry_out(context, app, request).await)
        }
        Err(refusal) => (None, *refusal),
    };
    if let Some(fault) = response.extensions().get::<Fault>() {
        let agent = &context.endpoint.agent;
        let (code, message, path) = (fault.code(), fault.message(), uri.path());
        if fault.is_nonsense() {
            tracing::warn!(target: "audit", %agent, %method, path, code, "refused: {message}");
            context.endpoint.series.count_refusal();
            if let Some(generation) = caused_by
                && context.endpoint.refusals.count(generation) == Patience::Over
            {
                end_broken(context, generation).await;
            }
        } else {
            tracing::debug!(%agent, %method, path, code, "{message}");
        }
    }
    response
}

/// Has a request answered once there is room for its body.
async fn carry_out(context: &Context, app: &Router, request: Request) -> Response {
    let length = content_length(request.headers()).unwrap_or(0);
    let Some(_room) = context.endpoint.bodies.take(length).await else {
        let message = "the agent sends more at a time than is kept of it; try again";
        return Fault::new(Code::Unavailable, message).into_response();
    };
    match app.clone().oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

fn content_length(head: &HeaderMap) -> Option<usize> {
    let length = head.get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

/// An agent that is refused again and again is broken, and is restarted under its policy.
async fn end_broken(context: &Context, generation: Generation) {
    let instance = context.endpoint.instance(generation);
    tracing::error!(target: "audit", %instance, "the agent breaks the protocol all the time; it is taken for broken");
    context.api.tell(Fact::BrokeProtocol { instance }).await;
}

fn admit(context: &Context, peer: &Peer, request: &Request) -> Result<Generation, Box<Response>> {
    let head = request.headers();
    let size = head
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4);
    let target = request.uri();
    let host = target.authority().map_or(0, |host| host.as_str().len());
    let path = target.path_and_query();
    let path = path.map_or(0, |path| path.as_str().len());
    if size.sum::<usize>() + host + path > limits::HEAD {
        return Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            .into_response()
            .into());
    }
    if head.contains_key(header::TRANSFER_ENCODING) {
        let message = "send a Content-Length; chunked requests are not taken";
        return Err(Fault::new(Code::LengthRequired, message)
            .into_response()
            .into());
    }
    let generation =
        authenticate(context, peer, head).map_err(|fault| Box::new(fault.into_response()))?;
    // Hello is how a session that was lost is replaced.
    if request.uri().path() != "/v1/hello" {
        in_session(context, head, generation).map_err(|fault| Box::new(fault.into_response()))?;
    }
    Ok(generation)
}

fn authenticate(context: &Context, peer: &Peer, head: &HeaderMap) -> Result<Generation, Fault> {
    let token = head
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    let unauthorized = |what: &str| Err(Fault::new(Code::Unauthorized, what));
    let Some(token) = token else {
        return unauthorized("there is no `Authorization: Bearer …`; send $OPENCLAW_TOKEN");
    };
    let known = peer.known.get();
    let known = known.filter(|known| token::same(known.token.as_bytes(), token.as_bytes()));
    let generation = match known {
        Some(known) => known.generation,
        None => match context.api.shared.key.judge(&context.endpoint.agent, token) {
            Verdict::Session(generation) => generation,
            Verdict::Forged => return unauthorized("the token is not one of this agent"),
        },
    };
    if context.endpoint.with(generation, |_| ()).is_none() {
        let message = "this life of the agent is over; another one has taken its place";
        return Err(Fault::new(Code::Fenced, message));
    }
    if known.is_none() {
        belongs(context, peer, generation)?;
        // A second token over the same connection is asked about again, and not remembered.
        let token = token.to_owned();
        peer.known.set(Known { generation, token }).ok();
    }
    Ok(generation)
}

fn belongs(context: &Context, peer: &Peer, generation: Generation) -> Result<(), Fault> {
    let main = context
        .endpoint
        .with(generation, |session| session.pid)
        .flatten();
    let instance = context.endpoint.instance(generation);
    let is_stranger = |pid| !peer::belongs(pid, &instance, main);
    if peer.pid.is_some_and(is_stranger) {
        let message = "the process at the other end does not belong to the agent";
        return Err(Fault::new(Code::Forbidden, message));
    }
    Ok(())
}

fn in_session(context: &Context, head: &HeaderMap, generation: Generation) -> Result<(), Fault> {
    let Some(given) = head.get(SESSION) else {
        return Ok(());
    };
    let session = context
        .endpoint
        .with(generation, |session| session.id.clone());
    if session
        .flatten()
        .is_some_and(|known| given.as_bytes() == known.as_bytes())
    {
        return Ok(());
    }
    Err(session_lost())
}

pub(super) fn session_lost() -> Fault {
    let message = "the session is not known any more; say hello with `resume`";
    Fault::new(Code::SessionLost, message)
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Fault> {
        let found = parts.extensions.get::<Self>().copied();
        found.ok_or_else(|| Fault::new(Code::Internal, "the request has not passed the gate"))
    }
}

/// What is masked in what a life of an agent says.
#[derive(Clone)]
struct Mask {
    agent: AgentName,
    redactor: Option<Arc<Redactor>>,
}

impl Mask {
    fn of(context: &Context, generation: Generation) -> Self {
        let redactor = |session: &mut Session| session.redactor.clone();
        Self {
            agent: context.endpoint.agent.clone(),
            redactor: context.endpoint.with(generation, redactor).flatten(),
        }
    }

    /// The body as it may be kept and shown.
    fn apply(&self, path: &str, body: Bytes) -> Bytes {
        let Some(redactor) = &self.redactor else {
            return body;
        };
        match redactor.document(&body) {
            Cow::Borrowed(_) => body,
            Cow::Owned(masked) => {
                let agent = &self.agent;
                tracing::warn!(target: "audit", %agent, path, "the agent said a secret of its own; it is masked");
                masked.into()
            }
        }
    }
}

/// A whole body, within its bounds of size and time. Secrets of the agent are masked: what it says
/// is kept and shown.
pub(super) struct WholeBody(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for WholeBody {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let mask = request.extensions().get::<Mask>().cloned();
        let path = request.uri().path().to_owned();
        let PlainBody(body) = PlainBody::from_request(request, state).await?;
        Ok(Self(match mask {
            Some(mask) => mask.apply(&path, body),
            None => body,
        }))
    }
}

/// A whole body as it was sent, for what is neither kept nor shown.
pub(super) struct PlainBody(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for PlainBody {
    type Rejection = Response;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Response> {
        let told = content_length(request.headers());
        let too_large = || {
            let fault = Fault::too_large("the body", limits::BODY);
            let close = [(header::CONNECTION, "close")];
            (close, fault).into_response()
        };
        if told.is_some_and(|length| length > limits::BODY) {
            return Err(too_large());
        }
        let reading = axum::body::to_bytes(request.into_body(), limits::BODY);
        match tokio::time::timeout(limits::REQUEST_TIME, reading).await {
            Ok(Ok(bytes)) => Ok(Self(bytes)),
            Ok(Err(_broken)) => Err(too_large()),
            Err(_elapsed) => {
                let message = "the body did not arrive in time";
                Err(Fault::new(Code::Timeout, message).into_response())
            }
        }
    }
}

/// An answer of JSON.
pub(super) fn json(value: &impl serde::Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(text) => bytes(text.into()),
        Err(error) => Fault::new(Code::Internal, error.to_string()).into_response(),
    }
}

/// An answer of JSON that is written already.
pub(super) fn bytes(text: Bytes) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, Body::from(text)).into_response()
}
