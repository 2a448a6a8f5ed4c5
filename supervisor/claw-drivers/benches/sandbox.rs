//! What a sandbox costs, from the order to start a program that does nothing to its end.
//!
//! Takes turns between a plain process and a sandboxed one, both by the driver, and between a bare
//! `posix_spawn` and one of bubblewrap with the same kinds of namespaces, where that is installed.
//!
//! ```text
//! cargo bench -p claw-drivers --bench sandbox
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

use claw_core::spec::Resources;
use claw_core::spec::container::Exec;
use claw_core::spec::sandbox::{
    Egress, HostRule, Landlock, OnMissing, Proc, ProcessLimits, Reach, Sandbox, Scratch,
    SystemCalls, Tracing,
};
use claw_core::{AgentSpec, Fact, Generation, InstanceId, Order};
use claw_drivers::Driver;
use claw_drivers::process::{ProcessConfig, ProcessDriver};
use tokio::sync::mpsc;

const ROUNDS: u64 = 300;
const PROGRAM: &str = "/bin/true";

fn main() {
    if let Some(code) = claw_drivers::process::reenter() {
        std::process::exit(i32::from(code));
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(measure());
}

async fn measure() {
    let dir = tempfile::tempdir().unwrap();
    let (sender, mut facts) = mpsc::channel(1024);
    let (egress, _changes) = mpsc::unbounded_channel();
    let mut config = ProcessConfig::new(dir.path().to_owned(), sender);
    config.egress = Some(egress);
    let driver = ProcessDriver::start(config).await.unwrap();
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
    let bubblewrap = Command::new("bwrap").arg("--version").output().is_ok();
    if !bubblewrap {
        println!("SKIP bubblewrap: there is no bwrap");
    }
    let mut spans: [Vec<Duration>; 5] = Default::default();
    for round in 0..=ROUNDS {
        let mut taken = Vec::new();
        for (at, spec) in [&plain, &closed, &listened].into_iter().enumerate() {
            let number = round * 3 + u64::try_from(at).unwrap();
            taken.push(by_driver(&driver, &mut facts, spec, number).await);
        }
        taken.push(by_hand(&[PROGRAM]));
        if bubblewrap {
            taken.push(by_hand(&BUBBLEWRAP));
        }
        // The first of each finds everything cold.
        if round > 0 {
            for (spans, span) in spans.iter_mut().zip(taken) {
                spans.push(span);
            }
        }
    }
    let names = [
        "plain",
        "sandboxed",
        "with listeners",
        "by hand",
        "bubblewrap",
    ];
    for (name, spans) in names.into_iter().zip(&mut spans) {
        show(name, spans);
    }
    driver.recover(Vec::new()).await;
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
        on_missing: OnMissing::Refuse,
        readable: Vec::new(),
        hidden: Vec::new(),
        writable: Vec::new(),
        tmp: Scratch {
            size: 64 << 20,
            exec: Exec::Allowed,
        },
        shm: 16 << 20,
        network: Reach::Listed(egress),
        seccomp: SystemCalls::Listed { also: Vec::new() },
        landlock: Landlock::BestEffort,
        proc: Proc::Masked,
        tracing: Tracing::Denied,
        limits: ProcessLimits {
            nofile: 1024,
            fsize: None,
        },
        usual: Resources::default(),
    }));
    spec
}

async fn by_driver(
    driver: &ProcessDriver,
    facts: &mut mpsc::Receiver<Fact>,
    spec: &AgentSpec,
    number: u64,
) -> Duration {
    let instance = InstanceId {
        agent: "bench".parse().unwrap(),
        generation: Generation(number + 1),
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

fn by_hand(command: &[&str]) -> Duration {
    let begun = Instant::now();
    let status = Command::new(command[0]).args(&command[1..]).status();
    assert!(status.unwrap().success());
    begun.elapsed()
}
