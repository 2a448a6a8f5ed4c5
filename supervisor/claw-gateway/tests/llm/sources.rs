//! Answers that are kept, and answers that come from no provider.

use std::sync::{Arc, Mutex};

use claw_gateway::llm::cassette::{Cassette, Recorder, Recording};
use claw_gateway::llm::serve::Source;
use claw_gateway::llm::wire::{Answer, Api, Ended, Frames, StreamReading};
use fakellm::Behaviour;
use serde_json::{Value, json};

use crate::client::Asked;
use crate::world::{Setup, World, chat, settings, streamed};

/// Keeps recordings as a host does, without personal data.
#[derive(Debug, Default)]
struct Shelf(Mutex<Vec<Recording>>);

impl Recorder for Shelf {
    fn keep(&self, recording: Recording) {
        let redacted = recording.redacted().expect("it can be read");
        self.0.lock().expect("no panic").push(redacted);
    }
}

fn answering_from(world: &World, source: Source) {
    let mut other = settings(&world.setup, &world.fake);
    other.source = source;
    world.gateway.replace(other);
}

fn asked(api: Api, body: &Value) -> Asked {
    Asked::post(api.path(), body)
}

#[tokio::test]
async fn what_was_recorded_is_played_again_without_a_provider_and_for_nothing() {
    let world = World::start(Setup::default()).await;
    let shelf = Arc::new(Shelf::default());
    answering_from(&world, Source::Recorded(Arc::clone(&shelf) as _));
    let answer = Behaviour {
        text: Some("Write to ann@example.com.".to_owned()),
        answer_tokens: 25,
        ..Behaviour::default()
    };
    world.fake.script("big-1", [answer]);
    let bodies = [chat("big"), streamed("big")];
    for body in &bodies {
        let first = world.ask(asked(Api::ChatCompletions, body)).await;
        assert_eq!(first.status, 200);
    }
    let refused = world.chat("other").await;
    assert_eq!(refused.status, 404);
    world.settled().await;
    let spent = world.spent();
    let lines: String = {
        let kept = shelf.0.lock().expect("no panic");
        assert_eq!(kept.len(), 2, "refusals are not kept");
        let line = |kept: &Recording| serde_json::to_string(kept).expect("JSON") + "\n";
        kept.iter().map(line).collect()
    };
    let mut cassette = Cassette::default();
    cassette.add(&lines).expect("recordings");
    answering_from(&world, Source::Cassette(Arc::new(cassette)));
    for body in &bodies {
        let again = world.ask(asked(Api::ChatCompletions, body)).await;
        assert_eq!(again.status, 200);
        assert!(again.body.contains("[EMAIL]"), "{}", again.body);
    }
    let unknown = world.chat("spare").await;
    let told = (unknown.status, unknown.code());
    assert_eq!(told, (404, "not_recorded".to_owned()));
    world.settled().await;
    assert_eq!(world.spent(), spent);
    assert_eq!(world.asked().len(), 2);
}

#[tokio::test]
async fn an_answer_that_is_made_up_has_the_form_of_its_interface() {
    let world = World::start(Setup::default()).await;
    answering_from(&world, Source::MadeUp);
    for api in [Api::ChatCompletions, Api::Responses, Api::Messages] {
        let mut body = chat("big");
        if api == Api::Responses {
            body = json!({"model": "big", "input": "What is a supervisor good for?"});
        }
        let whole = world.ask(asked(api, &body)).await;
        assert_eq!(whole.status, 200, "{api}");
        let read = Answer::read(api, whole.body.as_bytes());
        assert!(
            read.text_bytes > 10 && read.usage.is_some(),
            "{api}: {read:?}"
        );
        body["stream"] = json!(true);
        let stream = world.ask(asked(api, &body)).await;
        let (mut frames, mut reading) = (Frames::default(), StreamReading::new(api));
        frames.push(stream.body.as_bytes());
        while let Some(frame) = frames.next_frame().expect("short frames") {
            reading.frame(&frame);
        }
        assert_eq!(reading.ended, Ended::Properly, "{api}");
        assert_eq!(reading.text_bytes, read.text_bytes, "{api}");
    }
    let body = json!({"model": "big", "input": ["one", "two"]});
    let vectors = world.ask(asked(Api::Embeddings, &body)).await.json();
    assert_eq!(vectors["data"].as_array().map(Vec::len), Some(2));
    world.settled().await;
    assert_eq!(world.spent(), 0);
    assert!(world.asked().is_empty());
}
