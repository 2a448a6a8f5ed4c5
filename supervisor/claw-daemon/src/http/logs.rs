//! `GET /api/agents/{name}/logs`: what an agent printed.

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use claw_core::{AgentName, RunId};
use futures_util::StreamExt;
use http::HeaderMap;
use http::header::ACCEPT;

use super::extract::Name;
use super::limits;
use super::log_source::{self, FollowEnd, Source};
use super::outlet::{self, Manners, Outlet};
use super::params::{self, Params};
use super::ports::{Following, LogQuestion};
use super::problem::ApiError;
use super::state::ApiState;
use super::stream_request::StreamRequest;
use crate::api::{Code, LogLine, LogStream, Problem, Run, routes};

const KNOWN: &[&str] = &[
    "follow", "tail", "since", "until", "run", "stream", "cursor", "format",
];

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// The text of each line.
    Text,
    /// A [`LogLine`] as JSON for each line.
    Ndjson,
}

/// The log of an agent
///
/// Plain text, or one JSON object for each line; over a WebSocket one JSON object in each
/// message. Without `tail`, `since`, `cursor` and `run`, the last 1000 lines.
#[utoipa::path(
    get, path = routes::LOGS, tag = "logs",
    params(
        ("name" = String, Path, description = "The agent's name"),
        ("follow" = Option<bool>, Query, description = "Go on with new lines"),
        ("tail" = Option<usize>, Query, description = "Only the last so many lines"),
        ("since" = Option<String>, Query, description = "Not before: a time, or `1h` ago"),
        ("until" = Option<String>, Query, description = "Before: a time, or `1h` ago"),
        ("run" = Option<String>, Query, description = "Only the output of this run"),
        ("stream" = Option<String>, Query,
            description = "Some of `stdout,stderr,supervisor`; all by default"),
        ("cursor" = Option<String>, Query, description = "Only what comes after this line"),
        ("format" = Option<String>, Query, description = "`text` or `ndjson`; else by `Accept`"),
    ),
    responses(
        (status = 200, description = "The lines", content(
            (String = "text/plain"),
            (LogLine = "application/x-ndjson"),
        )),
        (status = 101, description = "A WebSocket with one line in each message"),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn read(
    State(state): State<ApiState>,
    Name(agent): Name,
    request: StreamRequest,
) -> Result<Response, ApiError> {
    let StreamRequest {
        link,
        params,
        headers,
        upgrade,
    } = request;
    params.only(KNOWN)?;
    let format = format(&params, &headers)?;
    state.status(&agent).await?;
    let source = source(&state, agent, &params).await?;
    let pages = log_source::pages(source).await?;
    let permit = state.stream_permit()?;
    let (closing, cut) = (state.closing.clone(), link.cut);
    let Some(upgrade) = upgrade else {
        let source = pages.map(move |lines| page(format, &lines)).boxed();
        return Ok(outlet::body(
            Outlet {
                source,
                permit,
                closing,
                cut,
            },
            manners(format),
        ));
    };
    let messages = pages.flat_map(|lines| {
        let texts: Vec<String> = lines.iter().map(json).collect();
        futures_util::stream::iter(texts)
    });
    let source = messages.boxed();
    let outlet = Outlet {
        source,
        permit,
        closing,
        cut,
    };
    Ok(upgrade.on_upgrade(|socket| outlet::socket(outlet, socket)))
}

const TOO_SLOW: &str = r#"{"notice":"this reader was too slow; come back with the last cursor"}"#;

fn manners(format: Format) -> Manners {
    match format {
        Format::Text => Manners {
            media_type: "text/plain; charset=utf-8",
            keep_alive: None,
            notice: "-- this reader was too slow; the log goes on --\n".to_owned(),
        },
        Format::Ndjson => Manners {
            media_type: "application/x-ndjson",
            keep_alive: None,
            notice: format!("{TOO_SLOW}\n"),
        },
    }
}

fn format(params: &Params, headers: &HeaderMap) -> Result<Format, ApiError> {
    let asked = params.read("format", |text| match text {
        "text" => Ok(Format::Text),
        "ndjson" | "json" => Ok(Format::Ndjson),
        _ => Err("this is `text` or `ndjson`".to_owned()),
    })?;
    if let Some(format) = asked {
        return Ok(format);
    }
    let accept = headers
        .get(ACCEPT)
        .map_or("*/*", |value| value.to_str().unwrap_or(""));
    let ranges = accept.split(',').map(|range| {
        let bare = range.split(';').next().unwrap_or("");
        bare.trim().to_ascii_lowercase()
    });
    let mut offered = ranges.filter_map(|range| match range.as_str() {
        "application/x-ndjson" | "application/jsonl" | "application/json" => Some(Format::Ndjson),
        "*/*" | "text/*" | "text/plain" => Some(Format::Text),
        _ => None,
    });
    offered.next().ok_or_else(|| {
        let detail = "a log is `text/plain` or `application/x-ndjson`";
        ApiError::new(Code::NotAcceptable, detail).parameter("Accept")
    })
}

async fn source(state: &ApiState, agent: AgentName, params: &Params) -> Result<Source, ApiError> {
    let now = state.now();
    let run = params.read("run", |text| {
        text.parse()
            .map_err(|error: claw_core::id::RunIdError| error.to_string())
    })?;
    let follow = params.read("follow", params::switch)?.unwrap_or(false);
    let mut question = LogQuestion {
        agent,
        tail: params.read("tail", params::count(limits::LOG_TAIL_MOST))?,
        since: params.read("since", |text| params::point(text, now))?,
        until: params.read("until", |text| params::point(text, now))?,
        after: params.read("cursor", |text| Ok(text.to_owned()))?,
        range: None,
        streams: params.read("stream", streams)?.unwrap_or_else(all_streams),
        follow: if follow {
            Following::Yes
        } else {
            Following::No
        },
    };
    let anywhere = question.since.is_none() && question.after.is_none() && run.is_none();
    if anywhere && question.tail.is_none() {
        question.tail = Some(limits::LOG_TAIL);
    }
    if follow && question.until.is_some() {
        let detail = "`follow` goes on and `until` ends; leave one out";
        return Err(ApiError::bad_parameter("until", detail));
    }
    let until_end_of = match run {
        Some(run) => narrow_to_run(state, &mut question, run).await?,
        None => None,
    };
    let end = match (follow, until_end_of) {
        (false, _) => FollowEnd::AtOnce,
        (true, None) => FollowEnd::Never,
        (true, Some(run)) => FollowEnd::WithRun(run),
    };
    Ok(Source::new(state.clone(), question, end))
}

/// Narrows the question to the output of one run; names the run if it has not ended.
///
/// Where the output of a run lies is known when the run has ended. Before that it is what came
/// since its start, which for an agent with parallel runs includes the others'.
async fn narrow_to_run(
    state: &ApiState,
    question: &mut LogQuestion,
    id: RunId,
) -> Result<Option<RunId>, ApiError> {
    let found = state.ports.journal.run.call(id).await?;
    let found = found.filter(|run| run.agent == question.agent);
    let run = found.as_ref().map(Run::from).ok_or_else(|| {
        let detail = format!("{} has no run {id}", question.agent);
        ApiError::new(Code::NoSuchRun, detail).agent(&question.agent)
    })?;
    question.range = run.log.filter(|_| run.state.is_final());
    if question.range.is_none() {
        let began = run.started_at.unwrap_or(run.queued_at);
        question.since = question.since.max(Some(began));
        question.until = question.until.or(run.ended_at);
    }
    Ok((!run.state.is_final()).then_some(id))
}

fn streams(text: &str) -> Result<Vec<LogStream>, String> {
    let known = all_streams();
    let one = |word: &str| known.iter().find(|stream| stream.as_str() == word).copied();
    let found: Option<Vec<LogStream>> = text.split(',').map(one).collect();
    found.ok_or_else(|| "these are some of `stdout,stderr,supervisor`".to_owned())
}

fn all_streams() -> Vec<LogStream> {
    vec![LogStream::Stdout, LogStream::Stderr, LogStream::Supervisor]
}

fn page(format: Format, lines: &[LogLine]) -> Bytes {
    let mut text = String::new();
    for line in lines {
        match format {
            Format::Text => text.push_str(&line.text),
            Format::Ndjson => text.push_str(&json(line)),
        }
        if format == Format::Ndjson || !line.continues {
            text.push('\n');
        }
    }
    text.into()
}

fn json(line: &LogLine) -> String {
    serde_json::to_string(line)
        .expect("a log line has no map with keys that are not text and no failing Serialize")
}
