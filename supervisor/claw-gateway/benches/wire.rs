//! What the gateway does with bytes of model calls: a request with a long prompt, and a chunk of a
//! stream. `cargo bench -p claw-gateway --bench wire`.

use claw_gateway::llm::translate::{MessagesToChat, Shown, Target, chat_to_messages};
use claw_gateway::llm::validate::pii::{Action, Kind, PiiFilter, PiiFrames};
use claw_gateway::llm::wire::{
    Api, ChatLimit, Frames, Limits, Request, StreamReading, Upstream, UsageChunk,
    alias_model_in_frame,
};
use divan::{Bencher, black_box};

/// Chunks of a stream in one run.
const CHUNKS: usize = 512;

const UPSTREAM: Upstream<'static> = Upstream {
    model: "provider/model",
    limit: None,
    chat_limit: ChatLimit::MaxCompletionTokens,
};

fn main() {
    divan::main();
}

fn request(bytes: usize) -> Vec<u8> {
    let turn = format!(
        r#"{{"role":"user","content":"{}"}}"#,
        "word ".repeat(bytes / 50)
    );
    let turns = vec![turn; 10].join(",");
    format!(r#"{{"model":"m","stream":true,"messages":[{turns}]}}"#).into_bytes()
}

fn chat_stream() -> Vec<u8> {
    let chunk = "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\
        \"model\":\"gpt-x\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hello \"},\
        \"finish_reason\":null}]}\n\n";
    chunk.repeat(CHUNKS).into_bytes()
}

fn messages_stream() -> Vec<u8> {
    let chunk = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\
        \"delta\":{\"type\":\"text_delta\",\"text\":\"hello \"}}\n\n";
    chunk.repeat(CHUNKS).into_bytes()
}

fn each_frame(stream: &[u8], mut take: impl FnMut(claw_gateway::llm::wire::Frame)) {
    let mut frames = Frames::default();
    frames.push(stream);
    while let Some(frame) = frames.next_frame().expect("short frames") {
        take(frame);
    }
}

#[divan::bench(args = [1_000, 100_000])]
fn a_request_is_read_bounded_and_written(bencher: Bencher, bytes: usize) {
    let body = request(bytes);
    let limits = Limits {
        answer: Some(4_096),
        ..Limits::default()
    };
    bencher.with_inputs(|| body.clone()).bench_values(|body| {
        let request = Request::read(Api::ChatCompletions, body).expect("a request");
        let bound = request.bound(&limits).expect("a bound");
        (bound, request.for_upstream(&UPSTREAM))
    });
}

#[divan::bench(args = [1_000, 100_000])]
fn a_request_is_translated(bencher: Bencher, bytes: usize) {
    let body = String::from_utf8(request(bytes)).expect("text");
    let target = Target {
        model: "claude",
        limit: None,
        default_limit: 4_096,
        chat_limit: ChatLimit::MaxTokens,
    };
    bencher.bench(|| chat_to_messages(black_box(&body), &target));
}

#[divan::bench]
fn chunks_512_are_read(bencher: Bencher) {
    let stream = chat_stream();
    bencher.bench(|| {
        let mut reading = StreamReading::new(Api::ChatCompletions);
        each_frame(&stream, |frame| {
            black_box(reading.frame(&frame));
        });
        reading.text_bytes
    });
}

#[divan::bench]
fn chunks_512_are_named_anew(bencher: Bencher) {
    let stream = chat_stream();
    bencher.bench(|| {
        each_frame(&stream, |frame| {
            black_box(alias_model_in_frame(Api::ChatCompletions, &frame, "alias"));
        });
    });
}

#[divan::bench]
fn chunks_512_are_searched_for_personal_data(bencher: Bencher) {
    let stream = chat_stream();
    let filter = PiiFilter {
        kinds: Kind::ALL.into_iter().collect(),
        action: Action::Redact,
    };
    bencher.bench(|| {
        let mut texts = PiiFrames::new(filter.clone(), Api::ChatCompletions);
        each_frame(&stream, |frame| {
            black_box(texts.frame(&frame)).expect("they pass");
        });
    });
}

#[divan::bench]
fn chunks_512_are_translated(bencher: Bencher) {
    let stream = messages_stream();
    let shown = Shown {
        model: "alias",
        created: 1,
    };
    bencher.bench(|| {
        let mut translation = MessagesToChat::new(&shown, UsageChunk::Wanted);
        each_frame(&stream, |frame| {
            black_box(translation.frame(&frame));
        });
    });
}
