//! Chunks of chat completions as nearly all are, read without a tree.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::llm::wire::object::Text;

/// A chunk with text and nothing that ends a stream or tells its usage. Whatever has another shape
/// is none, and has to be read as a tree.
#[derive(Deserialize)]
pub(super) struct Chunk<'a> {
    #[serde(borrow)]
    pub(super) id: Text<'a>,
    pub(super) created: u64,
    #[serde(borrow)]
    pub(super) model: Text<'a>,
    #[serde(borrow)]
    pub(super) choices: Vec<Choice<'a>>,
    #[serde(default, rename = "usage")]
    _usage: (),
    #[serde(default, rename = "error")]
    _error: (),
}

#[derive(Deserialize)]
pub(super) struct Choice<'a> {
    pub(super) index: u64,
    #[serde(borrow)]
    delta: Delta<'a>,
    #[serde(default, rename = "finish_reason")]
    _finish_reason: (),
}

/// Other members may have texts too, so none is passed over.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Delta<'a> {
    #[serde(default, rename = "role")]
    _role: IgnoredAny,
    #[serde(default, borrow)]
    content: Option<Text<'a>>,
    #[serde(default, borrow)]
    refusal: Option<Text<'a>>,
    #[serde(default, borrow)]
    reasoning_content: Option<Text<'a>>,
}

impl<'a> Chunk<'a> {
    pub(super) fn read(data: &'a str) -> Option<Self> {
        let chunk: Self = serde_json::from_str(data).ok()?;
        (!chunk.choices.is_empty()).then_some(chunk)
    }
}

impl Choice<'_> {
    /// UTF-8 bytes of what the model wrote.
    pub(super) fn written(&self) -> u64 {
        let texts = [
            &self.delta.content,
            &self.delta.refusal,
            &self.delta.reasoning_content,
        ];
        let bytes = texts.map(|text| text.as_ref().map_or(0, |Text(text)| text.len() as u64));
        bytes.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::Chunk;
    use crate::llm::wire::{Api, Frame, StreamReading};

    fn anything() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(json!(null)),
            Just(json!(7)),
            Just(json!(7.0)),
            Just(json!(-7)),
            Just(json!({"content": "Hello"})),
            Just(json!([])),
            "[a-zé\n\"]{0,6}".prop_map(Value::from),
        ]
    }

    /// Members of an object, each as it mostly is, of any other kind, or not there.
    fn object(members: &[(&'static str, Value)]) -> impl Strategy<Value = Value> + use<> {
        let members: Vec<_> = members
            .iter()
            .map(|(name, usual)| {
                let value = prop_oneof![8 => Just(usual.clone()), 1 => anything()];
                (Just(*name), option::weighted(0.9, value))
            })
            .collect();
        members.prop_map(|members| {
            let there = members.into_iter();
            let there = there.filter_map(|(name, value)| Some((name.to_owned(), value?)));
            Value::Object(there.collect::<Map<_, _>>())
        })
    }

    fn choice() -> impl Strategy<Value = Value> {
        let delta = prop_oneof![
            8 => object(&[("role", json!("assistant")), ("content", json!("Hällo"))]),
            1 => object(&[("content", json!(null)), ("refusal", json!("No."))]),
            1 => object(&[("content", json!("x")), ("reasoning", json!("Well"))]),
            1 => object(&[("reasoning_content", json!("Well"))]),
        ];
        let rest = object(&[
            ("index", json!(0)),
            ("finish_reason", json!(null)),
            ("logprobs", json!(null)),
        ]);
        (rest, option::weighted(0.95, delta)).prop_map(|(mut choice, delta)| {
            if let Some(delta) = delta {
                choice["delta"] = delta;
            }
            choice
        })
    }

    fn chunk() -> impl Strategy<Value = Value> {
        let rest = object(&[
            ("id", json!("c1")),
            ("created", json!(5)),
            ("model", json!("gpt-x")),
            ("usage", json!(null)),
            ("error", json!(null)),
        ]);
        (rest, vec(choice(), 0..3)).prop_map(|(mut chunk, choices)| {
            chunk["choices"] = choices.into();
            chunk
        })
    }

    proptest! {
        #[test]
        fn a_chunk_tells_the_same_without_a_tree(chunks in vec(chunk(), 1..6)) {
            let mut with = StreamReading::new(Api::ChatCompletions);
            let mut without = with.clone();
            for chunk in chunks {
                let frame = Frame::new("", &chunk.to_string());
                prop_assert_eq!(without.frame(&frame), with.chat(&chunk));
                prop_assert_eq!(format!("{without:?}"), format!("{with:?}"));
            }
        }
    }

    #[test]
    fn most_chunks_need_no_tree() {
        let usual = r#"{"id":"c1","object":"chat.completion.chunk","created":5,"model":"gpt-x",
            "service_tier":"default","system_fingerprint":null,"usage":null,"choices":[{"index":0,
            "delta":{"role":"assistant","content":"Hi \"you\"","refusal":null},"logprobs":null,
            "finish_reason":null}]}"#;
        let chunk = Chunk::read(usual).expect("a usual chunk");
        assert_eq!(chunk.choices[0].written(), 8);
        for (old, new) in [
            (r#""finish_reason":null"#, r#""finish_reason":"stop""#),
            (r#""usage":null"#, r#""usage":{}"#),
            (r#""refusal":null"#, r#""tool_calls":[]"#),
            (r#""usage":null"#, r#""error":{}"#),
        ] {
            assert!(Chunk::read(&usual.replace(old, new)).is_none(), "{new}");
        }
    }
}
