//! An answer that is kept.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AGE, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Response};

use super::super::attempt::is_stream;
use super::super::body::AnswerBody;
use super::super::call::{ATTEMPTS, MODEL, PROVIDER};
use super::super::checked::REPAIRED;
use super::super::whole::COST;
use super::record::CacheResult;
use crate::llm::money::Money;
use crate::llm::wire::{self, Api, Ended, Finish, Frames, RawObject, StreamReading};

/// The header that tells what came of a request where answers are kept.
const CACHE: HeaderName = HeaderName::from_static("x-openclaw-cache");

/// The headers that are kept with an answer. Others are of the call that brought it.
const KEPT: [HeaderName; 4] = [CONTENT_TYPE, MODEL, PROVIDER, REPAIRED];

/// An answer as it is given again.
#[derive(Debug)]
pub(in crate::llm::serve) struct Answer {
    headers: HeaderMap,
    body: Bytes,
    /// When it had come, by the clock that does not go back.
    came_at: Duration,
}

impl Answer {
    /// Reads what an agent got, and takes its cost out. Nothing, if the model was not done, or did
    /// not end as models do.
    pub(super) fn read(
        api: Api,
        headers: &HeaderMap,
        bytes: &Bytes,
        came_at: Duration,
    ) -> Option<Self> {
        let body = if is_stream(headers) {
            stream(api, bytes)?
        } else {
            whole(api, bytes)?
        };
        let kept = KEPT.into_iter();
        let kept = kept.filter_map(|name| Some((name.clone(), headers.get(&name)?.clone())));
        Some(Self {
            headers: kept.collect(),
            body,
            came_at,
        })
    }

    pub(super) fn length(&self) -> u64 {
        u64::try_from(self.body.len()).unwrap_or(u64::MAX)
    }

    pub(super) fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.came_at)
    }

    /// Who had given it.
    pub(super) fn provider(&self) -> Arc<str> {
        self.named(&PROVIDER)
    }

    /// The provider's id of the model that had given it.
    pub(super) fn model(&self) -> Arc<str> {
        self.named(&MODEL)
    }

    fn named(&self, header: &HeaderName) -> Arc<str> {
        let value = self.headers.get(header).map(HeaderValue::as_bytes);
        String::from_utf8_lossy(value.unwrap_or_default()).into()
    }

    /// The answer to another request.
    pub(super) fn response(&self, now: Duration) -> Response<AnswerBody> {
        let mut response = Response::new(AnswerBody::whole(self.body.clone()));
        let headers = response.headers_mut();
        headers.clone_from(&self.headers);
        headers.insert(AGE, HeaderValue::from(self.age(now).as_secs()));
        headers.insert(ATTEMPTS, HeaderValue::from(0));
        if let Ok(nothing) = HeaderValue::from_str(&Money::ZERO.to_string()) {
            headers.insert(COST, nothing);
        }
        mark(headers, CacheResult::Hit);
        response
    }
}

/// Tells an agent what came of its request.
pub(super) fn mark(headers: &mut HeaderMap, result: CacheResult) {
    headers.insert(CACHE, HeaderValue::from_static(result.as_str()));
}

/// Whether an answer is one that was kept.
pub(in crate::llm::serve) fn is_hit(headers: &HeaderMap) -> bool {
    headers
        .get(CACHE)
        .is_some_and(|result| result == CacheResult::Hit.as_str())
}

fn whole(api: Api, bytes: &Bytes) -> Option<Bytes> {
    let text = str::from_utf8(bytes).ok()?;
    let is_done = match api {
        Api::Embeddings => RawObject::read(text).ok()?.get("data").is_some(),
        Api::ChatCompletions | Api::Responses | Api::Messages => {
            is_final(wire::Answer::read(api, bytes).finish.as_ref())
        }
    };
    let free = || wire::with_cost(text, Money::ZERO).map(Bytes::from);
    is_done.then(|| free().unwrap_or_else(|| bytes.clone()))
}

fn stream(api: Api, bytes: &Bytes) -> Option<Bytes> {
    let (mut frames, mut reading) = (Frames::default(), StreamReading::new(api));
    let mut out = Vec::with_capacity(bytes.len());
    frames.push(bytes);
    while let Some(frame) = frames.next_frame().ok()? {
        reading.frame(&frame);
        let data = frame.data();
        // Most frames tell no cost, and this tells it without reading.
        let tells_cost = data.contains("\"cost_usd\"");
        let free = tells_cost.then(|| wire::with_cost(&data, Money::ZERO));
        match free.flatten() {
            Some(data) => out.extend_from_slice(frame.with_data(&data).bytes()),
            None => out.extend_from_slice(frame.bytes()),
        }
    }
    let has_ended = match reading.ended {
        Ended::Properly => true,
        Ended::Open => reading.has_finished(),
        Ended::Failed { .. } => false,
    };
    (has_ended && frames.finish().is_none() && is_final(reading.finish.as_ref()))
        .then(|| out.into())
}

/// Whether a model was done. A refusal, and a reason that is not known here, may be another one the
/// next time.
const fn is_final(finish: Option<&Finish>) -> bool {
    match finish {
        Some(Finish::Stop | Finish::Length | Finish::ToolCalls) => true,
        Some(Finish::Refusal | Finish::Other(_)) | None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(kind: &'static str, api: Api, body: &str) -> Option<String> {
        let headers = [(CONTENT_TYPE, HeaderValue::from_static(kind))];
        let bytes = Bytes::from(body.to_owned());
        let answer = Answer::read(api, &headers.into_iter().collect(), &bytes, Duration::ZERO)?;
        Some(String::from_utf8(answer.body.to_vec()).expect("text"))
    }

    #[test]
    fn an_answer_in_one_piece_is_kept_when_the_model_was_done() {
        let chat = |reason: &str| {
            let body = format!(
                r#"{{"choices":[{{"message":{{"content":"x"}},"finish_reason":{reason}}}],"usage":{{"prompt_tokens":5,"cost_usd":0.5}}}}"#
            );
            kept("application/json", Api::ChatCompletions, &body)
        };
        for done in [r#""stop""#, r#""length""#, r#""tool_calls""#] {
            let kept = chat(done).expect(done);
            assert!(
                kept.contains(r#""prompt_tokens":5,"cost_usd":0.0"#),
                "{kept}"
            );
        }
        for other in [r#""content_filter""#, r#""error""#, "null"] {
            assert_eq!(chat(other), None, "{other}");
        }
        for (api, body) in [
            (Api::ChatCompletions, r#"{"error":{"message":"no"}}"#),
            (Api::Responses, r#"{"status":"failed","output":[]}"#),
            (
                Api::Messages,
                r#"{"stop_reason":"pause_turn","content":[]}"#,
            ),
            (Api::Embeddings, r#"{"error":{"message":"no"}}"#),
            (Api::Embeddings, "{"),
        ] {
            assert_eq!(kept("application/json", api, body), None, "{body}");
        }
    }

    #[test]
    fn a_stream_is_kept_when_it_ended_properly_and_tells_no_cost_then() {
        let said = r#"data: {"choices":[{"index":0,"delta":{"content":"\"cost_usd\""}}]}"#;
        let end = r#"data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
        let usage = r#"data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2,"cost_usd":0.5}}"#;
        let kept = |frames: &[&str]| {
            let text = frames.iter().map(|frame| format!("{frame}\n\n"));
            let text: String = text.collect();
            kept("text/event-stream", Api::ChatCompletions, &text)
        };
        let whole = kept(&[said, end, usage, "data: [DONE]"]).expect("it is whole");
        let free = usage.replace("0.5", "0.0");
        assert_eq!(
            whole,
            format!("{said}\n\n{end}\n\n{free}\n\ndata: [DONE]\n\n")
        );
        assert!(kept(&[said, end]).is_some(), "some providers end so");
        assert_eq!(kept(&[said]), None);
        let failed = r#"data: {"error":{"type":"overloaded","message":"later"}}"#;
        assert_eq!(kept(&[said, end, failed, "data: [DONE]"]), None);
        assert_eq!(kept(&[said, "data: [DONE]"]), None, "it says no reason");
    }
}
