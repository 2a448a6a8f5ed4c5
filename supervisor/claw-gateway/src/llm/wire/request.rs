//! A request to a model: the few fields that decide, and the rest as it came.

use std::borrow::Cow;

use super::object::{RawObject, text, typed};
use super::{Api, Excerpt, NotObject, Prompt, refused};

/// The most answers one request may ask for: OpenAI's own bound of `n`.
const MAX_ANSWERS: u64 = 128;

/// The longest model id that is read, in bytes.
const MAX_MODEL: usize = 256;

/// Why a body is no request that can be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// It is not JSON with an object at its top.
    #[error("the body is not a JSON object in UTF-8")]
    NotObject,
    /// A field is there twice, and readers differ in which one they take.
    #[error("`{field}` is there twice; send it once")]
    Twice {
        /// The field.
        field: Excerpt,
    },
    /// A field that is needed is not there.
    #[error("`{field}` is missing")]
    Missing {
        /// The field.
        field: Excerpt,
    },
    /// A field has another type or range than its interface gives it.
    #[error("`{field}` is not {expected}")]
    Wrong {
        /// The field.
        field: Excerpt,
        /// What it should be.
        expected: &'static str,
    },
    /// A field asks for something whose cost is not reported with the answer, so no budget could be
    /// kept.
    #[error("`{field}` asks for what cannot be counted against a budget; leave it out")]
    Uncounted {
        /// The field.
        field: Excerpt,
    },
    /// A field chooses what only the operator chooses: the model, who serves it, or a paid extra.
    #[error("`{field}` chooses what only the supervisor chooses; leave it out")]
    Chosen {
        /// The field.
        field: &'static str,
    },
    /// A field that decides is not in lower case, and readers differ in whether they take it.
    #[error("`{field}` has to be in lower case")]
    Case {
        /// The field.
        field: Excerpt,
    },
}

impl BadRequest {
    /// The field at fault, where it is one.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::NotObject => None,
            Self::Twice { field }
            | Self::Missing { field }
            | Self::Wrong { field, .. }
            | Self::Uncounted { field }
            | Self::Case { field } => Some(field.as_str()),
            Self::Chosen { field } => Some(field),
        }
    }
}

/// Whether a stream of chat completions has a chunk with its usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsageChunk {
    /// The agent asked for it, or the interface always tells the usage.
    Wanted,
    /// The agent did not ask, so it is to see none.
    Unwanted,
}

/// How an answer comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// In one piece.
    Whole,
    /// As a stream of events.
    Stream(UsageChunk),
}

/// A request, read.
#[derive(Debug, Clone)]
pub struct Request {
    /// The interface it came by.
    pub api: Api,
    /// The model it asks for, as the agent names it.
    pub model: String,
    /// How the answer is to come.
    pub delivery: Delivery,
    /// The most tokens of one answer that the request allows.
    pub limit: Option<u64>,
    /// How many answers it asks for.
    pub answers: u64,
    /// What its prompt holds.
    pub prompt: Prompt,
    /// The service tier it asks for, which may have prices of its own.
    pub service_tier: Option<String>,
    /// The JSON schema its answer is to follow, as JSON.
    pub schema: Option<String>,
    body: String,
}

impl Request {
    /// Reads a request's body.
    ///
    /// # Errors
    /// With the field at fault.
    pub fn read(api: Api, body: Vec<u8>) -> Result<Self, BadRequest> {
        let body = String::from_utf8(body).map_err(|_not_text| BadRequest::NotObject)?;
        let object = RawObject::read(&body).map_err(|error| match error {
            NotObject::Malformed => BadRequest::NotObject,
            NotObject::Twice { key } => BadRequest::Twice { field: key },
        })?;
        refused::refuse(api, &object)?;
        let model = text_of(&object, "model")?.ok_or_else(|| missing("model"))?;
        if model.is_empty() || model.len() > MAX_MODEL {
            return Err(wrong("model", "a name of 1 to 256 bytes"));
        }
        let request = Self {
            api,
            model: model.into_owned(),
            delivery: delivery(api, &object)?,
            limit: limit(api, &object)?,
            answers: answers(api, &object)?,
            prompt: Prompt::read(api, &object)?,
            service_tier: text_of(&object, "service_tier")?.map(Cow::into_owned),
            schema: schema(api, &object)?,
            body: String::new(),
        };
        Ok(Self { body, ..request })
    }

    /// The body as it came.
    #[must_use]
    pub fn body(&self) -> &str {
        &self.body
    }

    /// The body with its members.
    pub(crate) fn object(&self) -> RawObject<'_> {
        RawObject::read(&self.body).expect("it was read before, and has not changed")
    }
}

/// The fields that limit an answer's tokens in an interface; the first one is the usual one.
pub(crate) const fn limit_fields(api: Api) -> &'static [&'static str] {
    match api {
        Api::ChatCompletions => &["max_completion_tokens", "max_tokens"],
        Api::Responses => &["max_output_tokens"],
        Api::Embeddings => &[],
        Api::Messages => &["max_tokens"],
    }
}

fn delivery(api: Api, object: &RawObject<'_>) -> Result<Delivery, BadRequest> {
    if api == Api::Embeddings || !flag_of(object, "stream")? {
        return Ok(Delivery::Whole);
    }
    if api != Api::ChatCompletions {
        return Ok(Delivery::Stream(UsageChunk::Wanted));
    }
    let wanted = match object.get("stream_options") {
        Some(options) => {
            let options = RawObject::read(options)
                .map_err(|_malformed| wrong("stream_options", "an object"))?;
            refused::other_case(&options, "stream_options.")?;
            match options.get("include_usage") {
                Some(value) => typed::<bool>(value)
                    .ok_or_else(|| wrong("stream_options.include_usage", "true or false"))?,
                None => false,
            }
        }
        None => false,
    };
    Ok(Delivery::Stream(if wanted {
        UsageChunk::Wanted
    } else {
        UsageChunk::Unwanted
    }))
}

/// With both fields of chat completions the larger one counts: providers differ in which they take.
fn limit(api: Api, object: &RawObject<'_>) -> Result<Option<u64>, BadRequest> {
    let mut limit = None;
    for field in limit_fields(api) {
        if let Some(value) = object.get(field) {
            let tokens = typed::<u64>(value)
                .filter(|tokens| *tokens > 0)
                .ok_or_else(|| wrong(field, "a whole number above 0"))?;
            limit = limit.max(Some(tokens));
        }
    }
    if limit.is_none() && api == Api::Messages {
        return Err(missing("max_tokens"));
    }
    Ok(limit)
}

fn answers(api: Api, object: &RawObject<'_>) -> Result<u64, BadRequest> {
    match (api, object.get("n")) {
        (Api::ChatCompletions, Some(value)) => typed::<u64>(value)
            .filter(|answers| (1..=MAX_ANSWERS).contains(answers))
            .ok_or_else(|| wrong("n", "a whole number from 1 to 128")),
        (Api::ChatCompletions | Api::Responses | Api::Embeddings | Api::Messages, _) => Ok(1),
    }
}

fn schema(api: Api, object: &RawObject<'_>) -> Result<Option<String>, BadRequest> {
    let paths: &[&[&'static str]] = match api {
        Api::ChatCompletions => &[&["response_format", "json_schema", "schema"]],
        Api::Responses => &[&["text", "format", "schema"]],
        Api::Embeddings => &[],
        Api::Messages => &[
            &["output_config", "format", "schema"],
            &["output_format", "schema"],
        ],
    };
    for path in paths {
        if let Some(schema) = at(object, path)? {
            return Ok(Some(schema.to_owned()));
        }
    }
    Ok(None)
}

fn at<'a>(object: &RawObject<'a>, path: &[&'static str]) -> Result<Option<&'a str>, BadRequest> {
    let [field, rest @ ..] = path else {
        return Ok(None);
    };
    let Some(value) = object.get(field) else {
        return Ok(None);
    };
    if rest.is_empty() {
        return Ok(Some(value));
    }
    let inner = RawObject::read(value).map_err(|_malformed| wrong(field, "an object"))?;
    at(&inner, rest)
}

pub(super) fn text_of<'a>(
    object: &RawObject<'a>,
    field: &'static str,
) -> Result<Option<Cow<'a, str>>, BadRequest> {
    match object.get(field) {
        Some(value) => match text(value) {
            Some(text) => Ok(Some(text)),
            None => Err(wrong(field, "a string")),
        },
        None => Ok(None),
    }
}

fn flag_of(object: &RawObject<'_>, field: &'static str) -> Result<bool, BadRequest> {
    match object.get(field) {
        Some(value) => typed(value).ok_or_else(|| wrong(field, "true or false")),
        None => Ok(false),
    }
}

pub(super) fn wrong(field: &str, expected: &'static str) -> BadRequest {
    BadRequest::Wrong {
        field: field.into(),
        expected,
    }
}

pub(super) fn missing(field: &str) -> BadRequest {
    BadRequest::Missing {
        field: field.into(),
    }
}
