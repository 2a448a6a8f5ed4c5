//! Answers as they come: frames go to the agent as bytes and are read alongside.
//!
//! ```text
//!   first piece, in time ──► head and piece to the agent ──► piece by piece ──► settled
//!        │ late, broken, an error          │
//!        ▼                                 ├─the agent hangs up or stalls──► read on, or cancelled
//!   failed: the next target may serve      ├─the hold is spent──► ended properly, cancelled
//!                                          └─silent, broken──► the agent is told
//! ```
//!
//! Nothing is read from the provider before the agent has taken what came before.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::json;
use tokio::time::{Instant, sleep_until, timeout};

use super::admission::Admitted;
use super::attempt::{Failed, Said, Served, answered, is_cancelled};
use super::body::{AnswerBody, NotTaken, Piece, Reader};
use super::call::Call;
use super::chain::Target;
use super::crossing::Crossing;
use super::drain;
use super::host::{AttemptFailure, Ending, Event};
use super::stream::{Step, Stream};
use super::validators::StreamValidator;
use crate::llm::route::{Failure, retry_after};
use crate::llm::translate;
use crate::llm::wire::{self, Delivery, Ended, UsageChunk};

/// Anthropic's status of an overload, which stands for all errors in a stream that are not known.
const OVERLOADED: u16 = 529;

/// Waits for the first piece of a stream, hands the agent its answer, and sees to the rest.
pub(super) async fn answer(
    call: &mut Call,
    target: &Target,
    (request, admitted): (&wire::Request, Admitted),
    (response, deadline): (Response<Incoming>, Instant),
) -> Result<Served, Failed> {
    let (head, body) = response.into_parts();
    let Admitted { hold, limit } = admitted;
    // The agent's own wish counts: a translated request always asks for usage.
    let usage_chunk = match call.request.delivery {
        Delivery::Stream(chunk) => chunk,
        Delivery::Whole => UsageChunk::Wanted,
    };
    let clamped_to = hold.record().clamped_to;
    let how = (head.status.as_u16(), usage_chunk);
    let alias = call.request.model.clone();
    let mut stream = Stream::new(body, hold, (request.api, how, alias));
    let between = (request.api, call.request.api);
    let crossing = Crossing::new(between, &call.shown(), usage_chunk);
    let filter = call.agent.answers.as_ref();
    let validator =
        filter.map(|filter| StreamValidator::new(filter, call.request.api, call.validators()));
    stream.show(crossing, validator, call.request.api);
    let (mut stream, first) = match first(call, target, stream, deadline).await? {
        First::Piece(stream, step) => (*stream, step),
        First::Refused(stream) => {
            let wait = retry_after(&head.headers, call.shared.host.clock.now());
            return Err(refused(*stream, limit, wait));
        }
        First::HungUp => return Ok(Served::HungUp),
    };
    answered(call, target);
    stream.hold_mut().first_byte();
    let (agent, body) = AnswerBody::stream();
    let mut response = call.response(target, head.status, &head.headers);
    Call::mark_clamped(&mut response, clamped_to);
    *response.body_mut() = body;
    call.answer.send(Ok(response));
    forward(call, target, (stream, first), agent).await;
    Ok(Served::Answered)
}

enum First {
    Piece(Box<Stream>, Step),
    /// An error, which may come after the begin of an answer.
    Refused(Box<Stream>),
    HungUp,
}

async fn first(
    call: &mut Call,
    target: &Target,
    mut stream: Stream,
    deadline: Instant,
) -> Result<First, Failed> {
    let step = loop {
        tokio::select! {
            biased;
            step = stream.next() => match step {
                Step::More(bytes) if bytes.is_empty() => {}
                Step::More(_) | Step::End(_) | Step::Broken | Step::Stopped(..) => break step,
            },
            () = sleep_until(deadline) => {
                call.shared.tasks.spawn(drain::rest_of_stream(stream));
                return Err(Failed::settled(Failure::Late, AttemptFailure::TimedOut));
            }
            () = call.answer.hung_up() => {
                leave(target, stream).await;
                return Ok(First::HungUp);
            }
        }
    };
    match (&stream.reading().ended, &step) {
        (Ended::Failed { .. }, _) => Ok(First::Refused(Box::new(stream))),
        (Ended::Open | Ended::Properly, Step::Broken) => {
            stream.settle(Ending::CutByProvider).write_beside();
            Err(Failed::settled(Failure::Broken, AttemptFailure::Broken))
        }
        (Ended::Open | Ended::Properly, Step::More(_) | Step::End(_) | Step::Stopped(..)) => {
            Ok(First::Piece(Box::new(stream), step))
        }
    }
}

/// A stream with an error before the agent got anything of it. It is what the same error is that
/// comes with its status, and costs nothing either, unless a part of an answer was before it.
fn refused(stream: Stream, limit: Option<u64>, retry_after: Option<Duration>) -> Failed {
    let api = stream.reading().api;
    let (kind, message) = match &stream.reading().ended {
        Ended::Failed { kind, message } => (kind.as_str(), message.as_str()),
        Ended::Open | Ended::Properly => ("", ""),
    };
    let status = status_of(kind);
    let cause = AttemptFailure::Status(status);
    let failure = Failure::Status {
        status,
        retry_after,
    };
    if !stream.is_empty() {
        stream.settle(Ending::CutByProvider).write_beside();
        return Failed::settled(failure, cause);
    }
    let said = json!({"error": {"message": message}}).to_string();
    let body = translate::error_for(api.side(), status, said.as_bytes());
    let json = HeaderValue::from_static("application/json");
    let said = Said {
        status: StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY),
        headers: HeaderMap::from_iter([(CONTENT_TYPE, json)]),
        body: body.into(),
    };
    let hold = stream.into_hold();
    Failed {
        failure,
        cause,
        admitted: Some(Admitted { hold, limit }),
        said: Some(said),
    }
}

/// The status with which an error comes in place of a stream: OpenAI's guide to error codes,
/// Anthropic's page on errors.
fn status_of(kind: &str) -> u16 {
    match kind {
        "invalid_request_error" => 400,
        "authentication_error" | "invalid_api_key" => 401,
        "billing_error" | "insufficient_quota" => 402,
        "permission_error" => 403,
        "not_found_error" => 404,
        "request_too_large" => 413,
        "rate_limit_error" | "rate_limit_exceeded" => 429,
        "api_error" | "server_error" => 500,
        "timeout_error" => 504,
        _ => OVERLOADED,
    }
}

/// Passes pieces on until the stream ends, one way or another. Nothing that has ended waits for the
/// agent to read.
async fn forward(call: &Call, target: &Target, (mut stream, first): (Stream, Step), agent: Reader) {
    let idle = call.agent.idle_timeout;
    let mut step = first;
    loop {
        let bytes = match step {
            Step::More(bytes) => bytes,
            Step::End(last) if stream.is_whole() => {
                agent.end_with(Piece::More(last));
                return stream.settle(Ending::Answered).write().await;
            }
            Step::End(last) => {
                return broke_off(stream, agent, (last, Ending::CutByProvider)).await;
            }
            Step::Stopped(bytes, stopped) => {
                let how = (stopped.reason(), Ending::CutByValidator);
                return cut(stream, agent, &bytes, how).await;
            }
            Step::Broken => {
                let held_back = held_back(&mut stream);
                return broke_off(stream, agent, (held_back, Ending::CutByProvider)).await;
            }
        };
        if stream.is_overspent() {
            return overspent(stream, agent, &bytes).await;
        }
        call.shared.tell(Event::Progress {
            call: stream.hold().record(),
            text_bytes: stream.reading().text_bytes,
        });
        if !bytes.is_empty() {
            match agent.send(bytes, idle).await {
                Ok(()) => {}
                Err(NotTaken::HungUp) => return leave(target, stream).await,
                Err(NotTaken::Stalled) => {
                    agent.end_with(Piece::Broken(Bytes::new()));
                    return leave(target, stream).await;
                }
            }
        }
        step = tokio::select! {
            biased;
            next = timeout(idle, stream.next()) => match next {
                Ok(step) => step,
                Err(_silent) => {
                    let held_back = held_back(&mut stream);
                    return broke_off(stream, agent, (held_back, Ending::Abandoned)).await;
                }
            },
            () = agent.hung_up() => return leave(target, stream).await,
        };
    }
}

/// The agent has hung up, or does not read.
async fn leave(target: &Target, stream: Stream) {
    if is_cancelled(target) {
        stream.settle(Ending::Abandoned).write().await;
    } else {
        drain::rest_of_stream(stream).await;
    }
}

/// What a validator has held back of a stream that breaks off, where it may pass.
fn held_back(stream: &mut Stream) -> Bytes {
    stream.held_back().unwrap_or_default()
}

/// The provider has stopped in the middle: the agent is not to take it for the end.
async fn broke_off(stream: Stream, agent: Reader, (last, ending): (Bytes, Ending)) {
    agent.end_with(Piece::Broken(last));
    stream.settle(ending).write().await;
}

/// The answer has cost more than was held for it.
async fn overspent(mut stream: Stream, agent: Reader, bytes: &[u8]) {
    let (held_back, how) = match stream.held_back() {
        Ok(held_back) => (held_back, ("budget", Ending::CutByBudget)),
        Err(stopped) => (Bytes::new(), (stopped.reason(), Ending::CutByValidator)),
    };
    cut(stream, agent, &[bytes, &held_back].concat(), how).await;
}

/// The stream ends here with these bytes and as its interface says, and the provider is cancelled.
async fn cut(
    stream: Stream,
    agent: Reader,
    bytes: &[u8],
    (reason, ending): (&'static str, Ending),
) {
    let last = [bytes, &stream.ending(reason)].concat();
    agent.end_with(Piece::Cut(last.into()));
    stream.settle(ending).write().await;
}
