//! What holds for every conversation.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::Value;

use super::super::*;
use super::TARGET;
use crate::llm::wire::{Delivery, UsageChunk};

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{1,6}", "\\PC{1,12}", "[\"\\\\\n\u{0}-\u{1f}é😀]{1,6}"]
}

fn object() -> impl Strategy<Value = String> {
    vec(("[a-z]{1,4}", text()), 0..3).prop_map(|pairs| {
        let pairs = pairs
            .into_iter()
            .map(|(key, value)| (key, Value::from(value)));
        Value::Object(pairs.collect()).to_string()
    })
}

fn image() -> impl Strategy<Value = Image> {
    prop_oneof![
        (
            prop_oneof![Just("image/png"), Just("image/webp")],
            "[A-Za-z0-9+/]{0,16}"
        )
            .prop_map(|(media, data)| Image::Inline {
                media: media.to_owned(),
                data
            }),
        "https://[a-z]{1,8}/[a-z?&]{0,8}".prop_map(Image::Url),
    ]
}

fn part() -> impl Strategy<Value = Part> {
    prop_oneof![
        text().prop_map(Part::Text),
        image().prop_map(Part::Image),
        ("[a-z0-9_]{1,8}", vec(text(), 0..3))
            .prop_map(|(call, texts)| Part::Result { call, texts }),
    ]
}

fn said() -> impl Strategy<Value = Said> {
    prop_oneof![
        text().prop_map(Said::Text),
        ("[a-z0-9_]{1,8}", "[a-z]{1,8}", object()).prop_map(|(id, name, arguments)| Said::Call {
            id,
            name,
            arguments
        }),
    ]
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        vec(part(), 0..4).prop_map(Turn::User),
        vec(said(), 0..4).prop_map(Turn::Assistant),
    ]
}

fn tool() -> impl Strategy<Value = Tool> {
    (
        "[a-z]{1,8}",
        option::of(text()),
        object(),
        option::of(any::<bool>()),
    )
        .prop_map(|(name, description, schema, strict)| Tool {
            name,
            description,
            schema,
            strict,
        })
}

fn choice() -> impl Strategy<Value = (Choice, Parallel)> {
    (
        prop_oneof![
            Just(Choice::Auto),
            Just(Choice::Never),
            Just(Choice::Any),
            "[a-z]{1,8}".prop_map(Choice::Named),
        ],
        prop_oneof![Just(Parallel::Allowed), Just(Parallel::One)],
    )
}

prop_compose! {
    fn conversation()(
        system in vec(text(), 0..3),
        turns in vec(turn(), 0..6),
        tools in vec(tool(), 0..3),
        (choice, parallel) in choice(),
        limit in 1..100_000_u64,
        stop in vec(text(), 0..=4),
        (temperature, top_p) in (option::of("0\\.[0-9]{1,3}"), option::of("0\\.[0-9]{1,3}")),
        schema in option::of(object()),
        delivery in prop_oneof![
            Just(Delivery::Whole), Just(Delivery::Stream(UsageChunk::Wanted))],
    ) -> Conversation {
        let mut conversation = Conversation {
            model: TARGET.model.to_owned(),
            system, tools, choice, parallel, limit: Some(limit), stop, temperature, top_p, schema,
            delivery, turns: Vec::new(),
        };
        for turn in turns {
            match turn {
                Turn::User(parts) => conversation.user_says(parts),
                Turn::Assistant(said) => conversation.assistant_says(said),
            }
        }
        conversation.settled()
    }
}

proptest! {
    #[test]
    fn a_chat_request_means_the_same_after_messages(expected in conversation()) {
        let chat = expected.write_chat(&TARGET).expect("chat");
        prop_assert_eq!(&Conversation::read_chat(&chat).expect("read"), &expected);
        let messages = chat_to_messages(&chat, &TARGET).expect("messages");
        prop_assert_eq!(&Conversation::read_messages(&messages).expect("read"), &expected);
        let again = messages_to_chat(&messages, &TARGET).expect("chat");
        prop_assert_eq!(Conversation::read_chat(&again).expect("read"), expected);
    }

    #[test]
    fn a_reply_means_the_same_on_both_sides(
        texts in vec(text(), 0..2), calls in vec(said(), 0..3),
    ) {
        let text = texts.concat();
        let mut said: Vec<Said> = calls.into_iter()
            .filter(|said| matches!(said, Said::Call { .. })).collect();
        if !text.is_empty() {
            said.insert(0, Said::Text(text));
        }
        let expected = Reply {
            id: "id".to_owned(),
            said,
            finish: Some(crate::llm::wire::Finish::Stop),
            stop_sequence: None,
            usage: Some(crate::llm::usage::Usage { input: 5, cache_read: 2, output: 3, ..Default::default() }),
        };
        let chat = expected.write_chat(&super::SHOWN);
        prop_assert_eq!(&Reply::read_chat(&chat).expect("read"), &expected);
        let message = chat_to_message(&chat, &super::SHOWN).expect("a message");
        prop_assert_eq!(Reply::read_message(&message).expect("read"), expected);
    }

    #[test]
    fn no_body_is_too_odd_to_be_refused(
        body in "[\\[\\]{}\":,0-9a-z]{0,40}",
        value in "(null|7|\"x\"|\\[\\]|\\{\\}|\\[7\\]|\\[\\{\\}\\])",
        field in prop_oneof![Just("messages"), Just("tools"), Just("stop"), Just("tool_choice"),
            Just("system"), Just("response_format"), Just("output_config"), Just("model")],
    ) {
        let odd = format!("{{\"messages\":[],\"{field}\":{value}}}");
        for body in [&body, &odd] {
            let _only_panics_matter = (
                Conversation::read_chat(body).is_ok(),
                Conversation::read_messages(body).is_ok(),
                Reply::read_chat(body).is_ok(),
                Reply::read_message(body).is_ok(),
            );
        }
    }
}
