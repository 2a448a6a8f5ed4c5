//! What a sandbox costs, from the order to start a program that does nothing to its end.
//!
//! Takes turns between a plain process and a sandboxed one, both by the driver, and between a bare
//! `posix_spawn`, one of bubblewrap with the same kinds of namespaces, where that is installed, and
//! one of `docker run` without a network. The last wants an engine's address in `CLAW_ENGINE`, and
//! an image with a `true` in `CLAW_IMAGE` there; `scripts/bench sandbox` makes both.
//!
//! ```text
//! cargo bench -p claw-drivers --bench sandbox [-- COLUMN…]
//! ```

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement ends at the first surprise, and prints what it found"
)]

#[path = "../tests/conformance/spec.rs"]
mod spec;

use std::process::Command;
use std::time::{Duration, Instant};

use claw_core::spec::sandbox::{Egress, HostRule, Reach, Sandbox};
use claw_core::{AgentSpec, Fact, Generation, InstanceId, Order};
use claw_drivers::Driver;
use claw_drivers::process::{ProcessConfig, ProcessDriver};
use tokio::sync::mpsc;

const ROUNDS: u64 = 300;
/// How many rounds there are to one start that takes a hundred times as long as others.
const RARELY: u64 = 10;
const PROGRAM: &str = "/bin/true";

fn main() {
    if let Some(code) = claw_drivers::process::reenter() {
        std::process::exit(i32::from(code));
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(measure());
}

/// What is measured, in turns.
struct Column {
    name: &'static str,
    how: How,
    spans: Vec<Duration>,
}

enum How {
    /// By the driver.
    Driver(Box<AgentSpec>),
    /// A command, by `posix_spawn`.
    Command(Vec<String>),
    /// The same, every [`RARELY`] rounds: it takes long.
    Slow(Vec<String>),
}

async fn measure() {
    let dir = tempfile::tempdir().unwrap();
    let (sender, mut facts) = mpsc::channel(1024);
    let (egress, _changes) = mpsc::unbounded_channel();
    let mut config = ProcessConfig::new(dir.path().to_owned(), sender);
    config.egress = Some(egress);
    let driver = ProcessDriver::start(config).await.unwrap();
    let mut columns = columns();
    let mut generation = 0;
    for round in 0..=ROUNDS {
        for column in &mut columns {
            let taken = match &column.how {
                How::Driver(spec) => {
                    generation += 1;
                    by_driver(&driver, &mut facts, spec, generation).await
                }
                How::Command(command) => by_hand(command),
                How::Slow(command) if round % RARELY == 0 => by_hand(command),
                How::Slow(_) => continue,
            };
            // The first of each finds everything cold.
            if round > 0 {
                column.spans.push(taken);
            }
        }
    }
    for column in &mut columns {
        show(column.name, &mut column.spans);
    }
    driver.recover(Vec::new()).await;
}

/// Those that are here, and among them those that the arguments name, if they name any.
fn columns() -> Vec<Column> {
    let plain = spec::agent(vec![PROGRAM.to_owned()]);
    let closed = confined(&plain, Egress::default());
    let rule = HostRule {
        pattern: "api.example.com".to_owned(),
        key: String::new(),
    };
    let listed = Egress {
        allowed: vec![rule],
        ..Egress::default()
    };
    let listened = confined(&plain, listed);
    let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut all = vec![
        ("plain", How::Driver(Box::new(plain))),
        ("sandboxed", How::Driver(Box::new(closed))),
        ("with listeners", How::Driver(Box::new(listened))),
        ("by hand", How::Command(words(&[PROGRAM]))),
    ];
    if Command::new("bwrap").arg("--version").output().is_ok() {
        all.push(("bubblewrap", How::Command(words(&BUBBLEWRAP))));
    } else {
        println!("SKIP bubblewrap: there is no bwrap");
    }
    match (std::env::var("CLAW_ENGINE"), std::env::var("CLAW_IMAGE")) {
        (Ok(engine), Ok(image)) => {
            let run = "docker --host ENGINE run --rm --network none IMAGE true";
            let run = run.split(' ').map(|word| match word {
                "ENGINE" => engine.clone(),
                "IMAGE" => image.clone(),
                other => other.to_owned(),
            });
            all.push(("docker run", How::Slow(run.collect())));
        }
        _ => println!("SKIP docker run: CLAW_ENGINE and CLAW_IMAGE are not set"),
    }
    let named: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    all.into_iter()
        .filter(|(name, _)| named.is_empty() || named.iter().any(|one| one == name))
        .map(|(name, how)| Column {
            name,
            how,
            spans: Vec::new(),
        })
        .collect()
}

fn show(name: &str, spans: &mut [Duration]) {
    spans.sort();
    if let (Some(min), Some(p50)) = (spans.first(), spans.get(spans.len() / 2)) {
        println!("{name:<16} min {min:>10.1?}   p50 {p50:>10.1?}");
    }
}

fn confined(plain: &AgentSpec, egress: Egress) -> AgentSpec {
    let mut spec = plain.clone();
    spec.launch.sandbox = Some(Box::new(Sandbox {
        network: Reach::Listed(egress),
        ..Sandbox::default()
    }));
    spec
}

async fn by_driver(
    driver: &ProcessDriver,
    facts: &mut mpsc::Receiver<Fact>,
    spec: &AgentSpec,
    generation: u64,
) -> Duration {
    let instance = InstanceId {
        agent: "bench".parse().unwrap(),
        generation: Generation(generation),
    };
    let begun = Instant::now();
    driver.order(Order::Spawn {
        instance: instance.clone(),
        spec: spec.clone().into(),
        run: None,
    });
    let taken = loop {
        let fact = facts.recv().await.unwrap();
        assert!(!matches!(fact, Fact::SpawnFailed { .. }), "{fact:?}");
        if let Fact::Gone { .. } = fact {
            break begun.elapsed();
        }
    };
    driver.order(Order::Release { instance });
    // What it leaves is cleared away before the next is measured.
    tokio::time::sleep(Duration::from_millis(5)).await;
    taken
}

/// The namespaces and about the mounts of a sandbox, without a filter or Landlock.
const BUBBLEWRAP: [&str; 27] = [
    "bwrap",
    "--unshare-all",
    "--die-with-parent",
    "--new-session",
    "--ro-bind",
    "/usr",
    "/usr",
    "--symlink",
    "usr/bin",
    "/bin",
    "--symlink",
    "usr/lib",
    "/lib",
    "--symlink",
    "usr/lib64",
    "/lib64",
    "--ro-bind",
    "/etc",
    "/etc",
    "--proc",
    "/proc",
    "--dev",
    "/dev",
    "--tmpfs",
    "/tmp",
    "--",
    PROGRAM,
];

fn by_hand(command: &[String]) -> Duration {
    let begun = Instant::now();
    let status = Command::new(&command[0]).args(&command[1..]).status();
    assert!(status.unwrap().success());
    begun.elapsed()
}
