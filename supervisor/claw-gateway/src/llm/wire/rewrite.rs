//! What the gateway changes in bodies that pass.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::object::{RawObject, quoted, typed};
use super::request::limit_fields;
use super::{Api, Delivery, Frame, Request, UsageChunk};
use crate::llm::money::Money;

/// What a provider of chat completions calls the limit of an answer. Some know only the older name
/// and would ignore the other, and a limit that is ignored bounds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChatLimit {
    /// `max_completion_tokens`, as OpenAI has it.
    MaxCompletionTokens,
    /// `max_tokens`, as most others have it.
    MaxTokens,
}

/// How a request is written for its provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upstream<'a> {
    /// The provider's id of the model.
    pub model: &'a str,
    /// The limit of one answer, where it is to be set.
    pub limit: Option<u64>,
    /// The name of that limit.
    pub chat_limit: ChatLimit,
}

impl Request {
    /// The body for a provider: with its model id, the limit, and for a stream of chat completions
    /// with the usage asked for. All else is as it came.
    ///
    /// The limit in force stands under the provider's own name alone, since one under another name
    /// would be ignored, and bound nothing.
    #[must_use]
    pub fn for_upstream(&self, upstream: &Upstream<'_>) -> String {
        let own = limit_field(self.api, upstream.chat_limit);
        let object = self.object();
        let ignored = limit_fields(self.api)
            .iter()
            .find(|field| Some(**field) != own && object.get(field).is_some());
        let Some(ignored) = ignored else {
            return self.written(&object, upstream, own.zip(upstream.limit));
        };
        let without = object.without(ignored);
        let object = RawObject::read(&without).expect("an object stays one with a member less");
        self.written(&object, upstream, own.zip(upstream.limit.or(self.limit)))
    }

    fn written(
        &self,
        object: &RawObject<'_>,
        upstream: &Upstream<'_>,
        limit: Option<(&'static str, u64)>,
    ) -> String {
        let mut changes = vec![("model", quoted(upstream.model))];
        changes.extend(limit.map(|(field, limit)| (field, limit.to_string())));
        if self.delivery == Delivery::Stream(UsageChunk::Unwanted) {
            let asked = ("include_usage", "true".to_owned());
            let options = object
                .get("stream_options")
                .and_then(|options| RawObject::read(options).ok())
                .map_or_else(
                    || r#"{"include_usage":true}"#.to_owned(),
                    |options| options.with(&[asked]),
                );
            changes.push(("stream_options", options));
        }
        object.with(&changes)
    }
}

/// The one name of the limit that a provider reads; embeddings have none.
fn limit_field(api: Api, chat_limit: ChatLimit) -> Option<&'static str> {
    let fields = limit_fields(api);
    match (api, chat_limit) {
        (Api::ChatCompletions, ChatLimit::MaxTokens) => fields.last(),
        (Api::ChatCompletions, ChatLimit::MaxCompletionTokens)
        | (Api::Responses | Api::Embeddings | Api::Messages, _) => fields.first(),
    }
    .copied()
}

/// An answer's body with the model named as the agent knows it. What is no object stays as it is.
#[must_use]
pub fn alias_model(body: &str, alias: &str) -> String {
    set(body, &["model"], &quoted(alias)).unwrap_or_else(|| body.to_owned())
}

/// A frame of a stream with the model named as the agent knows it; `None` when it names none.
#[must_use]
pub fn alias_model_in_frame(api: Api, frame: &Frame, alias: &str) -> Option<Frame> {
    let path: &[&str] = match api {
        Api::ChatCompletions | Api::Embeddings => &["model"],
        Api::Responses => &["response", "model"],
        Api::Messages => &["message", "model"],
    };
    // Most frames of the two other interfaces name no model, and this tells it without reading.
    let data = frame.data();
    if !data.contains("\"model\"") {
        return None;
    }
    if let (Api::ChatCompletions, Cow::Borrowed(data)) = (api, &data)
        && let Ok(Named { model }) = serde_json::from_str(data)
    {
        let (old, new) = (model?.get(), quoted(alias));
        return (old != new).then(|| frame.with_part(old, &new));
    }
    Some(frame.with_data(&set(&data, path, &quoted(alias))?))
}

/// Where a chunk of chat completions names its model.
#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    model: Option<&'a RawValue>,
}

/// An answer, or the data of a frame, with what it cost as `usage.cost_usd`; `None` when it has no
/// usage. In streams the usage may be inside of a response.
#[must_use]
pub fn with_cost(body: &str, cost: Money) -> Option<String> {
    let object = RawObject::read(body).ok()?;
    if let Some(response) = object.get("response") {
        let response = with_cost(response, cost)?;
        return Some(object.with(&[("response", response)]));
    }
    let usage = RawObject::read(object.get("usage")?).ok()?;
    let cost = typed::<f64>(&cost.to_string()).map_or_else(|| json!(null), |usd| json!(usd));
    let usage = usage.with(&[("cost_usd", cost.to_string())]);
    Some(object.with(&[("usage", usage)]))
}

/// The text with a member that is there replaced; `None` when it is not there.
fn set(text: &str, path: &[&str], value: &str) -> Option<String> {
    let (field, rest) = path.split_first()?;
    let object = RawObject::read(text).ok()?;
    let old = object.get(field)?;
    let new = if rest.is_empty() {
        value.to_owned()
    } else {
        set(old, rest, value)?
    };
    Some(object.with(&[(field, new)]))
}
