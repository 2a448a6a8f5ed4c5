//! One attempt at one target.
//!
//! ```text
//!   sent ──head of success──► whole or relay ──► the agent is answered
//!    │ │ ├─other head, no connection──► failed, and the money stays held for the next attempt
//!    │ └─no head in time──► failed; the late answer is read by a task of its own
//!    └─the agent hangs up──► read on or cancelled; nobody is answered
//! ```

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::admission::Admitted;
use super::call::Call;
use super::chain::Target;
use super::hold::{End, Hold, Spent, Written};
use super::host::{AttemptFailure, Ending};
use super::provider_state::Verdict;
use super::settings::OnHangUp;
use super::{drain, relay, whole};
use crate::llm::route::{Failure, Headroom, retry_after};
use crate::llm::upstream::{Outgoing, SendError};
use crate::llm::wire::{self, Delivery};

/// How much of a provider's refusal is read, in bytes.
const MAX_REFUSAL: usize = 256 * 1024;

/// How long reading it may take.
const REFUSAL: Duration = Duration::from_secs(2);

/// The head of an answer that is waited for.
pub(super) type Sending =
    Pin<Box<dyn Future<Output = Result<Response<Incoming>, SendError>> + Send>>;

/// How an attempt ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Served {
    /// With an answer for the agent.
    Answered,
    /// The agent hung up before there was one, so that nothing is learnt of the provider.
    HungUp,
}

/// An attempt that failed before its first byte reached the agent.
pub(super) struct Failed {
    pub(super) failure: Failure,
    pub(super) cause: AttemptFailure,
    /// What is still held; nothing, if the attempt may be billed and was settled by itself.
    pub(super) admitted: Option<Admitted>,
    /// What the provider said.
    pub(super) said: Option<Said>,
}

/// A provider's refusal.
pub(super) struct Said {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Failed {
    /// A failure after which nothing is held any more.
    pub(super) const fn settled(failure: Failure, cause: AttemptFailure) -> Self {
        Self {
            failure,
            cause,
            admitted: None,
            said: None,
        }
    }

    /// Settles what is held for a next attempt that will not be.
    pub(super) fn give_up(mut self) {
        if let Some(mut admitted) = self.admitted.take() {
            admitted.hold.failed(self.cause);
            let status = self.said.map(|said| said.status.as_u16());
            admitted.hold.settle(End::failed(status)).write_beside();
        }
    }
}

/// Sends a request and sees to its answer.
pub(super) async fn attempt(
    call: &mut Call,
    target: &Target,
    (request, admitted): (&wire::Request, Admitted),
    deadline: Instant,
) -> Result<Served, Failed> {
    let body = request.for_upstream(&wire::Upstream {
        model: &target.model.id,
        limit: admitted.limit,
        chat_limit: target.provider.chat_limit,
    });
    let bytes = body.len();
    let mut sending: Sending = Box::pin(call.shared.client.send(Outgoing {
        base_url: &target.provider.base_url,
        key: target.provider.key.as_ref(),
        api: request.api,
        headers: &call.headers,
        body: body.into(),
    }));
    let how = (request.api, request.delivery);
    let late = |sending, hold| drain::late((sending, bytes), hold, how);
    let silent = if call.has_patience(Instant::now(), deadline) {
        Failure::TimedOut
    } else {
        Failure::Late
    };
    let head = tokio::select! {
        biased;
        head = &mut sending => head,
        () = sleep_until(deadline) => {
            call.shared.tasks.spawn(late(sending, admitted.hold));
            return Err(Failed::settled(silent, AttemptFailure::TimedOut));
        }
        () = call.answer.hung_up() => {
            if request.delivery != Delivery::Whole && is_cancelled(target) {
                drop(sending);
                abandon(admitted.hold);
            } else {
                call.shared.tasks.spawn(late(sending, admitted.hold));
            }
            return Ok(Served::HungUp);
        }
    };
    match head {
        Ok(response) if response.status().is_success() => {
            notice(call, target, response.headers());
            let streams = request.delivery != Delivery::Whole && is_stream(response.headers());
            if streams {
                relay::answer(call, target, (request, admitted), (response, deadline)).await
            } else {
                whole::answer(call, target, (request, admitted.hold), (response, deadline)).await
            }
        }
        Ok(response) => {
            notice(call, target, response.headers());
            Err(refused(call, admitted, response).await)
        }
        Err(SendError::Connect(error)) => {
            tracing::debug!(provider = %target.provider_name, %error, "a provider was not reached");
            Err(Failed {
                failure: Failure::Connect,
                cause: AttemptFailure::Connect,
                admitted: Some(admitted),
                said: None,
            })
        }
        Err(SendError::Broken(error)) => {
            tracing::debug!(provider = %target.provider_name, %error, "a provider did not answer");
            abandon(admitted.hold);
            Err(Failed::settled(Failure::Broken, AttemptFailure::Broken))
        }
    }
}

/// Whether a target's streams are cancelled when nobody reads them.
pub(super) fn is_cancelled(target: &Target) -> bool {
    match target.provider.on_hang_up {
        OnHangUp::Cancel => true,
        OnHangUp::Drain => false,
    }
}

/// Settles a call that was sent, and of whose answer nothing was seen.
pub(super) fn abandon(hold: Hold) {
    let seen = hold.seen(None, Written::default());
    let end = End {
        ending: Ending::Abandoned,
        spent: Spent::Lost(seen),
        tier: None,
        model: None,
        status: None,
    };
    hold.settle(end).write_beside();
}

pub(super) fn is_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(|kind| kind.as_bytes());
    let events = b"text/event-stream";
    kind.and_then(|kind| kind.get(..events.len()))
        .is_some_and(|kind| kind.eq_ignore_ascii_case(events))
}

/// Takes note of what a provider says of its limits.
fn notice(call: &Call, target: &Target, headers: &HeaderMap) {
    let clock = &call.shared.host.clock;
    if let Some(headroom) = Headroom::read(headers, clock.now()) {
        let providers = &call.shared.providers;
        providers.observe(target, headroom, clock.monotonic());
    }
}

/// Takes note that a provider answers.
pub(super) fn answered(call: &Call, target: &Target) {
    let now = call.shared.host.clock.monotonic();
    let turn = call.shared.providers.learn(target, Verdict::Answered, now);
    call.tell_turn(target, turn);
}

async fn refused(call: &Call, admitted: Admitted, response: Response<Incoming>) -> Failed {
    let (head, body) = response.into_parts();
    let reading = Limited::new(body, MAX_REFUSAL).collect();
    // What is not read in time is not given back; the status tells enough.
    let body = match timeout_at(Instant::now() + REFUSAL, reading).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) | Err(_) => Bytes::new(),
    };
    let status = head.status.as_u16();
    Failed {
        failure: Failure::Status {
            status,
            retry_after: retry_after(&head.headers, call.shared.host.clock.now()),
        },
        cause: AttemptFailure::Status(status),
        admitted: Some(admitted),
        said: Some(Said {
            status: head.status,
            headers: head.headers,
            body,
        }),
    }
}
