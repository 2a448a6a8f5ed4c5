//! Answers in one piece.

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Response, header::HeaderName};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::attempt::{Failed, Served, answered};
use super::body::AnswerBody;
use super::call::Call;
use super::chain::Target;
use super::crossing::answer_from;
use super::denial::Denial;
use super::drain::{self, MAX_BYTES, NoRoom};
use super::hold::{End, Hold, Spent, Unwritten, Written};
use super::host::{AttemptFailure, Ending};
use super::tier;
use crate::llm::money::Money;
use crate::llm::route::Failure;
use crate::llm::wire::{self, Api};

pub(super) const COST: HeaderName = HeaderName::from_static("x-openclaw-cost-usd");

/// A body that is read to its end.
pub(super) struct Reading {
    body: Incoming,
    bytes: BytesMut,
}

/// Why a body did not come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unread {
    Broken,
    TooLong,
    /// Answers that nobody waits for take all the memory that there is for them.
    NoRoom,
}

impl Reading {
    pub(super) fn new(body: Incoming) -> Self {
        Self {
            body,
            bytes: BytesMut::new(),
        }
    }

    /// Reads on, and asks before it keeps more bytes in memory. Nothing is lost when the future is
    /// dropped.
    pub(super) async fn read_on(
        &mut self,
        mut keep: impl FnMut(usize) -> Result<(), NoRoom>,
    ) -> Result<(), Unread> {
        keep(self.bytes.len()).map_err(|NoRoom| Unread::NoRoom)?;
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|_broken| Unread::Broken)?;
            if let Ok(data) = frame.into_data() {
                if self.bytes.len() + data.len() > MAX_BYTES {
                    return Err(Unread::TooLong);
                }
                keep(self.bytes.len() + data.len()).map_err(|NoRoom| Unread::NoRoom)?;
                self.bytes.extend_from_slice(&data);
            }
        }
        Ok(())
    }

    /// Settles the call by what was read.
    pub(super) fn settle(
        &self,
        hold: Hold,
        (api, status): (Api, u16),
        ending: Ending,
    ) -> Unwritten {
        let answer = wire::Answer::read(api, &self.bytes);
        let spent = match (answer.usage, ending) {
            (Some(usage), _) => Spent::Reported(usage),
            (None, Ending::Answered | Ending::Drained) => {
                let written = Written {
                    counted: wire::least_tokens(answer.text_bytes),
                    bytes: answer.text_bytes,
                };
                Spent::Estimated(hold.seen(None, written))
            }
            // A body that is no whole JSON: its bytes are more than its text.
            (
                None,
                Ending::Failed
                | Ending::CutByProvider
                | Ending::CutByBudget
                | Ending::CutByValidator
                | Ending::Abandoned,
            ) => {
                let bytes = u64::try_from(self.bytes.len()).unwrap_or(u64::MAX);
                Spent::Lost(hold.seen(None, Written { counted: 0, bytes }))
            }
        };
        hold.settle(End {
            ending,
            spent,
            tier: str::from_utf8(&self.bytes).ok().and_then(tier::served),
            model: answer.model,
            status: Some(status),
        })
    }
}

/// Reads an answer, settles it and hands it to the agent.
pub(super) async fn answer(
    call: &mut Call,
    target: &Target,
    (request, mut hold): (&wire::Request, Hold),
    (response, deadline): (Response<Incoming>, Instant),
) -> Result<Served, Failed> {
    let (head, body) = response.into_parts();
    let how = (request.api, head.status.as_u16());
    hold.first_byte();
    let mut reading = Reading::new(body);
    // An agent that hangs up changes nothing: the provider charges for all of it.
    match timeout_at(deadline, reading.read_on(|_bytes| Ok(()))).await {
        Ok(Ok(())) => {}
        Ok(Err(unread)) => {
            let unwritten = reading.settle(hold, how, Ending::CutByProvider);
            unwritten.write_beside();
            tracing::debug!(provider = %target.provider_name, ?unread, "an answer broke off");
            return Err(Failed::settled(Failure::Broken, AttemptFailure::Broken));
        }
        Err(_elapsed) => {
            let rest = drain::rest(reading, hold, how);
            call.shared.tasks.spawn(rest);
            return Err(Failed::settled(Failure::Late, AttemptFailure::TimedOut));
        }
    }
    answered(call, target);
    let clamped_to = hold.record().clamped_to;
    let is_priced = hold.record().rates.is_some();
    let unwritten = reading.settle(hold, how, Ending::Answered);
    let mut response = call.response(target, head.status, &head.headers);
    Call::mark_clamped(&mut response, clamped_to);
    let cost = unwritten.spent();
    let body = shown(
        call,
        request.api,
        reading.bytes.freeze(),
        is_priced.then_some(cost),
    );
    let bytes = match body {
        Ok(bytes) => bytes,
        Err(untranslatable) => {
            call.answer.send(Err(untranslatable));
            unwritten.write().await;
            return Ok(Served::Answered);
        }
    };
    if is_priced && let Ok(value) = HeaderValue::from_str(&cost.to_string()) {
        response.headers_mut().insert(COST, value);
    }
    *response.body_mut() = AnswerBody::whole(bytes);
    call.answer.send(Ok(response));
    unwritten.write().await;
    Ok(Served::Answered)
}

/// The body as the agent is to see it.
fn shown(call: &Call, theirs: Api, bytes: Bytes, cost: Option<Money>) -> Result<Bytes, Denial> {
    let Ok(text) = str::from_utf8(&bytes) else {
        return Ok(bytes);
    };
    let crossing = (theirs, call.request.api);
    let translated = answer_from(crossing, text, &call.shown());
    let text = match translated.map_err(Denial::Answer)? {
        Some(text) => text,
        None => wire::alias_model(text, &call.request.model),
    };
    let filter = call.agent.answers.as_ref();
    let passes = call
        .validators()
        .answer(filter, (call.request.api, &text))?;
    let text = passes.unwrap_or(text);
    let with_cost = cost.and_then(|cost| wire::with_cost(&text, cost));
    Ok(Bytes::from(with_cost.unwrap_or(text)))
}
