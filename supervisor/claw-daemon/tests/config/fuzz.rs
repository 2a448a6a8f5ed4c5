//! Whatever the bytes, the loader answers. `CLAW_FUZZ_SECONDS` makes the long test longer.

use std::path::Path;
use std::time::{Duration, Instant};

use claw_daemon::config::{Environment, fuzz, load_str};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

const SAMPLE: &str = include_str!("fleets/sample.yaml");
/// Pieces that mean something, to get deeper than noise does.
const PIECES: [&str; 24] = [
    "agents:\n",
    "  a: ",
    "    command: [run]\n",
    "&x ",
    "*x",
    "<<: *x\n",
    "${SET}",
    "${NO:-${SET}}",
    "${",
    "$include: a.yaml\n",
    "schedule: \"* * * * *\"\n",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "'",
    ": ",
    "\n",
    "- ",
    "!tag ",
    "\u{feff}",
    "|\n ",
    "\t",
];

fn mutated() -> impl Strategy<Value = String> {
    let cut = (
        any::<prop::sample::Index>(),
        any::<prop::sample::Index>(),
        0..PIECES.len(),
    );
    prop::collection::vec(cut, 1..6).prop_map(|cuts| {
        let mut text: Vec<char> = SAMPLE.chars().collect();
        for (from, length, piece) in cuts {
            let from = from.index(text.len());
            let to = from + length.index(20.min(text.len() - from).max(1));
            text.splice(from..to, PIECES[piece].chars());
        }
        text.into_iter().collect()
    })
}

fn pieces() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..60)
        .prop_map(|list| list.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        fuzz(&bytes);
    }

    #[test]
    fn mutated_good_files_never_panic(text in mutated()) {
        fuzz(text.as_bytes());
    }

    #[test]
    fn meaningful_pieces_never_panic(text in pieces()) {
        fuzz(text.as_bytes());
    }
}

#[test]
fn the_loader_survives_a_while_of_noise() {
    let seconds = std::env::var("CLAW_FUZZ_SECONDS")
        .ok()
        .and_then(|seconds| seconds.parse().ok())
        .unwrap_or(2);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut runner = TestRunner::default();
    let strategy = prop_oneof![mutated(), pieces(), any::<String>()];
    let mut count = 0_u64;
    while Instant::now() < end {
        let text = strategy
            .new_tree(&mut runner)
            .expect("it generates")
            .current();
        fuzz(text.as_bytes());
        count += 1;
    }
    println!("{count} texts");
}

const HEAD: &str = "project: p\nversion: \"1.0\"\n";

fn many(count: usize, line: &dyn Fn(usize) -> String) -> String {
    HEAD.to_owned() + "agents:\n" + &(0..count).map(line).collect::<String>()
}

/// Files that would be slow if anything grew with the square of their size.
fn heavy_files() -> Vec<(&'static str, String)> {
    let head = HEAD;
    vec![
        (
            "many agents",
            many(4000, &|n| {
                format!("  a{n}: {{command: [x], data_dirs: [d{n}]}}\n")
            }),
        ),
        (
            "unknown dependencies",
            many(4000, &|n| {
                format!("  a{n}: {{command: [x], depends_on: [a0x]}}\n")
            }),
        ),
        (
            "a chain",
            many(4000, &|n| {
                format!("  a{n}: {{command: [x], depends_on: [a{}]}}\n", n + 1)
            }),
        ),
        (
            "unknown keys",
            many(4000, &|n| {
                format!("  a{n}: {{comand{n}: [x], reszart: 1}}\n")
            }),
        ),
        (
            "never firing",
            many(500, &|n| {
                format!(
                    "  a{n}: {{command: x, schedule: \"{} {} 31 2 *\"}}\n",
                    n % 60,
                    n / 60
                )
            }),
        ),
        (
            "defaults",
            format!("defaults: {{config: [{}]}}\n", "1,".repeat(9000))
                + &many(4000, &|n| format!("  a{n}: {{}}\n")),
        ),
        (
            "brackets",
            format!("{head}agents: {}", "[".repeat(1_000_000)),
        ),
        (
            "quotes",
            format!("{head}agents: {}", "\"a\" ".repeat(200_000)),
        ),
        (
            "one line",
            format!("{head}agents: {{{}}}", "a: 1, ".repeat(100_000)),
        ),
        ("a long key", format!("{head}{}: 1\n", "k".repeat(900_000))),
        (
            "dollars",
            format!("{head}agents: \"{}\"", "${".repeat(300_000)),
        ),
    ]
}

#[test]
fn nothing_takes_long() {
    for (name, text) in heavy_files() {
        let begin = Instant::now();
        drop(load_str(
            &text,
            Path::new("/nonexistent/openclaw.yaml"),
            &Environment::with([]),
        ));
        let took = begin.elapsed();
        println!("{name}: {took:?}");
        assert!(took < Duration::from_secs(20), "{name} took {took:?}");
    }
}
