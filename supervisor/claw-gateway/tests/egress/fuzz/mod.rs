//! Whatever an agent or a name server sends, the policy and the readers answer, and what they let
//! through a simpler judge lets through as well. `CLAW_FUZZ_SECONDS` makes the tests longer.

mod names;
mod wire;

use std::fmt::Debug;
use std::time::{Duration, Instant};

use claw_gateway::egress::policy::EgressPolicy;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::world::Rules;

const ALLOWED: [&str; 7] = [
    "api.example.com",
    "*.internal",
    "*.example.org:8443",
    "git.example.com:22",
    "127.0.0.1:80",
    "2606:4700::1111",
    "metadata.google.internal",
];
const BLOCKED: [&str; 3] = ["bad.internal", "*.worse.internal", "half.internal:80"];

/// Runs a check on one value after the other. The five tests of this folder together take twice the
/// seconds that a fuzz test is given.
fn fuzzed<S: Strategy>(strategy: &S, mut check: impl FnMut(S::Value))
where
    S::Value: Debug,
{
    let seconds = std::env::var("CLAW_FUZZ_SECONDS").ok();
    let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(2);
    let limit = Duration::from_secs(seconds) * 2 / 5;
    let mut runner = TestRunner::default();
    let started = Instant::now();
    let mut count = 0_u64;
    while started.elapsed() < limit || count < 100 {
        let tree = strategy
            .new_tree(&mut runner)
            .expect("the strategy rejects nothing");
        check(tree.current());
        count += 1;
    }
}

fn texts(pieces: &'static [&'static str], most: usize) -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => prop::sample::select(pieces).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
        1 => "[a-z0-9.]{0,8}",
    ];
    prop::collection::vec(piece, 0..most).prop_map(|pieces| pieces.concat())
}

fn policy() -> EgressPolicy {
    let mut rules = Rules::allowing(&ALLOWED);
    rules.blocked = BLOCKED.map(str::to_owned).to_vec();
    rules.private = vec!["127.0.0.0/8".to_owned(), "10.1.0.0/16".to_owned()];
    rules.settings().policy
}

/// The judge of names that a reader believes at once: texts compared with texts.
fn plainly_allowed(host: &str, port: u16) -> bool {
    let covers = |line: &str, default: bool| {
        let (name, own_port) = match line.rsplit_once(':') {
            Some((name, own)) if !name.contains(':') => (name, own.parse().ok()),
            Some(_) | None => (line, None),
        };
        let named = match name.strip_prefix('*') {
            Some(end) => host.len() > end.len() && host.ends_with(end),
            None => host == name,
        };
        named && own_port.map_or(default, |own: u16| own == port)
    };
    ALLOWED
        .iter()
        .any(|line| covers(line, port == 443 || port == 80))
        && !BLOCKED.iter().any(|line| covers(line, true))
        && host != "metadata.google.internal"
}
