//! `GET /api/events`: what happens, as it happens.

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use claw_core::AgentName;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use http::HeaderMap;

use super::bus_stream;
use super::outlet::{self, Manners, Outlet};
use super::params::{self, Params};
use super::problem::ApiError;
use super::state::ApiState;
use super::stream_request::StreamRequest;
use crate::api::{Code, Event, Problem, routes};

/// Events
///
/// What happens to agents; with `topic`, what is published on the bus (`BusEvent`). Each has
/// numbers of its own. Server-sent events, or JSON messages over a WebSocket. `Last-Event-ID`, or `after` in the
/// query, goes on after an event seen before; without it the stream begins with the next one.
/// When events are lost to a reader, an event `lagged` says how many. With `follow=false` the
/// stream ends with the newest event there is.
#[utoipa::path(
    get, path = routes::EVENTS, tag = "events",
    params(
        ("after" = Option<u64>, Query, description = "Only events after this number"),
        ("agent" = Option<String>, Query, description = "Only events of this agent"),
        ("topic" = Option<String>, Query,
            description = "Events of the bus of this name, or by a filter such as `orders.>`"),
        ("tail" = Option<u64>, Query,
            description = "With `topic`: begin so many events before the newest"),
        ("follow" = Option<bool>, Query, description = "Go on with new events, as is usual"),
        ("Last-Event-ID" = Option<u64>, Header, description = "As `after`, from an SSE client"),
    ),
    responses(
        (status = 200, description = "The events, each in `data`", body = Event,
            content_type = "text/event-stream"),
        (status = 101, description = "A WebSocket with one event in each message"),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn stream(
    State(state): State<ApiState>,
    request: StreamRequest,
) -> Result<Response, ApiError> {
    let StreamRequest {
        link,
        params,
        headers,
        upgrade,
    } = request;
    params.only(&["after", "agent", "follow", "topic", "tail"])?;
    let after = params.read("after", params::count(u64::MAX))?;
    let after = after.or(last_event_id(&headers)?);
    let events = match bus_stream::Wanted::read(&params)? {
        Some(wanted) => bus_stream::events(&state.ports.store, wanted, after, &params)?,
        None => lifecycle(&state, after, &params).await?,
    };
    let permit = state.stream_permit()?;
    let (closing, cut) = (state.closing.clone(), link.cut);
    let Some(upgrade) = upgrade else {
        let source = as_sse(events).boxed();
        return Ok(outlet::body(
            Outlet {
                source,
                permit,
                closing,
                cut,
            },
            manners(),
        ));
    };
    let source = events.map(|event| event.data).boxed();
    let outlet = Outlet {
        source,
        permit,
        closing,
        cut,
    };
    Ok(upgrade.on_upgrade(|socket| outlet::socket(outlet, socket)))
}

/// An event on its way to a reader.
pub(super) struct Frame {
    pub(super) id: u64,
    pub(super) kind: &'static str,
    /// As JSON.
    pub(super) data: String,
}

/// What happens to agents.
async fn lifecycle(
    state: &ApiState,
    after: Option<u64>,
    params: &Params,
) -> Result<BoxStream<'static, Frame>, ApiError> {
    let agent = params.read("agent", agent_name)?;
    if let Some(agent) = &agent {
        state.status(agent).await?;
    }
    let mut events = only_of(agent, (state.ports.events)(after));
    if params.read("follow", params::switch)? == Some(false) {
        events = known_by_now(events);
    }
    let frames = events.map(|event| Frame {
        id: event.id,
        kind: event.happened.kind(),
        data: json(&event),
    });
    Ok(frames.boxed())
}

fn manners() -> Manners {
    Manners {
        media_type: "text/event-stream",
        keep_alive: Some(": still here\n\n"),
        notice: ": this reader was too slow; come back with Last-Event-ID\n\n".to_owned(),
    }
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get("last-event-id") else {
        return Ok(None);
    };
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    let bad = || ApiError::new(Code::BadHeader, "`Last-Event-ID` is the number of an event");
    number
        .map(Some)
        .ok_or_else(|| bad().parameter("Last-Event-ID"))
}

fn agent_name(text: &str) -> Result<AgentName, String> {
    text.parse()
        .map_err(|error: claw_core::name::NameError| error.to_string())
}

/// Events of one agent, and those that concern every reader.
fn only_of(
    agent: Option<AgentName>,
    events: BoxStream<'static, Event>,
) -> BoxStream<'static, Event> {
    let Some(agent) = agent else { return events };
    let wanted = move |event: &Event| match &event.agent {
        Some(other) => other == agent.as_str(),
        None => true,
    };
    events
        .filter(move |event| std::future::ready(wanted(event)))
        .boxed()
}

/// The events that are there already, without those to come.
fn known_by_now(mut events: BoxStream<'static, Event>) -> BoxStream<'static, Event> {
    // Outside of the runtime's budget, so that "not yet" can only mean that there is none.
    let next = || tokio::task::unconstrained(events.next()).now_or_never()?;
    let known: Vec<Event> = std::iter::from_fn(next).collect();
    stream::iter(known).boxed()
}

/// The stream begins with a comment, so that a client sees at once that it stands.
fn as_sse(
    events: BoxStream<'static, Frame>,
) -> impl futures_util::Stream<Item = Bytes> + Send + 'static {
    let hello = Bytes::from_static(b"retry: 2000\n: events follow\n\n");
    let first = stream::once(std::future::ready(hello));
    first.chain(events.map(|Frame { id, kind, data }| {
        Bytes::from(format!("id: {id}\nevent: {kind}\ndata: {data}\n\n"))
    }))
}

fn json(event: &Event) -> String {
    serde_json::to_string(event)
        .expect("an event has no map with keys that are not text and no failing Serialize")
}
