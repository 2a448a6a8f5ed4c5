//! What a start through the driver costs beside the engine's own share of it, and what a sandbox
//! that waits saves.
//!
//! In turns, of the same image under the same limits: the bare calls that `docker run --detach`
//! makes (create, start, inspect), that program itself, and a start by the driver; then a command
//! in a sandbox that waits for it, and in one that is made for it. Needs `CLAW_ENGINE`, an address
//! such as `scripts/engine start DIR` prints, and an image with a `sleep` in `CLAW_IMAGE` there;
//! `scripts/bench containers` makes both.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement ends at the first surprise, and prints what it found"
)]

#[path = "../tests/conformance/spec.rs"]
mod spec;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig, ResourcesUlimits};
use bollard::query_parameters::{
    InspectContainerOptions, RemoveContainerOptionsBuilder, StartContainerOptions,
};
use claw_core::spec::Container;
use claw_core::spec::container::{Exec, Init, Network, PullPolicy, RootFs, Seccomp, Tmpfs};
use claw_core::{AgentSpec, Fact, Generation, InstanceId, Order};
use claw_drivers::Driver;
use claw_drivers::container::pool::{Command, SandboxConfig, SandboxSpec, Sandboxes, Temperature};
use claw_drivers::container::{ContainerConfig, ContainerDriver};
use tokio::sync::mpsc;

const ROUNDS: u64 = 40;
const PROGRAM: [&str; 2] = ["sleep", "1000"];
const MEMORY: u64 = 512 << 20;
const PIDS: u32 = 128;
const NOFILE: u64 = 1024;
const TMP: u64 = 64 << 20;
const SHM: u64 = 16 << 20;
/// The log of the engine that the driver asks for.
const LOG: [(&str, &str); 3] = [
    ("max-size", "32m"),
    ("max-file", "2"),
    ("compress", "false"),
];

#[tokio::main]
async fn main() {
    let (Ok(address), Ok(image)) = (std::env::var("CLAW_ENGINE"), std::env::var("CLAW_IMAGE"))
    else {
        println!("SKIP container: CLAW_ENGINE and CLAW_IMAGE are not set");
        return;
    };
    starts(&address, &image).await;
    sandboxes(&address, &image).await;
}

async fn starts(address: &str, image: &str) {
    let docker = Docker::connect_with_unix(address, 60, bollard::API_DEFAULT_VERSION).unwrap();
    let docker = docker.negotiate_version().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (sender, mut facts) = mpsc::channel(1024);
    let mut config = ContainerConfig::new(dir.path().to_owned(), sender);
    config.engine = Some(address.to_owned());
    let driver = ContainerDriver::start(config).unwrap();
    let spec = contained(image);
    let mut spans = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..=ROUNDS {
        // Nobody always comes after the same one.
        for turn in 0..3 {
            let who = usize::try_from((round + turn) % 3).unwrap();
            let span = match who {
                0 => start_by_hand(&docker, image).await,
                1 => start_by_program(address, image).await,
                _ => start_by_driver(&driver, &mut facts, &spec, round).await,
            };
            // The first of each makes the connection, and warms the engine's caches.
            if round > 0 {
                spans[who].push(span);
            }
        }
    }
    driver.recover(Vec::new()).await;
    let [bare, program, ours] = spans.map(sorted);
    println!(
        "{:<34}{:>10}{:>10}{:>14}",
        "start of a container", "min", "p50", "beside bare"
    );
    show("bare calls", &bare, Some(&bare));
    show("docker run --detach", &program, Some(&bare));
    show("driver", &ours, Some(&bare));
}

async fn sandboxes(address: &str, image: &str) {
    let dir = tempfile::tempdir().unwrap();
    let sandboxes = Sandboxes::start(SandboxConfig {
        engine: Some(address.to_owned()),
        data_dir: dir.path().to_owned(),
    });
    let of = |ready| SandboxSpec {
        ready,
        ..SandboxSpec::of_image(image.to_owned())
    };
    let wanted = [("cold", of(0)), ("ready", of(1))];
    sandboxes.configure(&wanted.map(|(name, spec)| (name.to_owned(), spec)).into());
    let command = Command {
        program: vec!["true".to_owned()],
        ..Command::default()
    };
    let kinds = [("cold", Temperature::Cold), ("ready", Temperature::Ready)];
    let mut spans: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    for round in 0..=ROUNDS {
        for (name, temperature) in kinds {
            // The place of the last one is filled beside the measurement, not in it.
            while sandboxes.list().iter().any(|each| each.ready < each.wanted) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let begun = Instant::now();
            let outcome = sandboxes.run(name, &command).await.unwrap();
            let span = begun.elapsed();
            assert_eq!(outcome.temperature, temperature);
            if round > 0 {
                spans.entry(name).or_default().push(span);
            }
        }
    }
    sandboxes.close().await;
    println!("{:<34}{:>10}{:>10}", "command in a sandbox", "min", "p50");
    for (name, _) in kinds {
        show(name, &sorted(spans.remove(name).unwrap()), None);
    }
}

fn sorted(mut spans: Vec<Duration>) -> Vec<Duration> {
    spans.sort();
    spans
}

fn median(spans: &[Duration]) -> f64 {
    spans[spans.len() / 2].as_secs_f64() * 1e3
}

fn show(name: &str, spans: &[Duration], beside: Option<&[Duration]>) {
    let (min, p50) = (spans[0].as_secs_f64() * 1e3, median(spans));
    let added = beside.map(|beside| format!("{:>+11.1} ms", p50 - median(beside)));
    println!(
        "{name:<34}{min:>7.1} ms{p50:>7.1} ms{}",
        added.unwrap_or_default()
    );
}

fn text(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    let owned = pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    owned.collect()
}

fn limit(name: &str, most: u64) -> ResourcesUlimits {
    let most = i64::try_from(most).ok();
    ResourcesUlimits {
        name: Some(name.to_owned()),
        soft: most,
        hard: most,
    }
}

async fn start_by_hand(docker: &Docker, image: &str) -> Duration {
    let begun = Instant::now();
    let tmp = format!("rw,nosuid,nodev,exec,mode=1777,size={TMP}");
    let memory = i64::try_from(MEMORY).ok();
    let body = ContainerCreateBody {
        image: Some(image.to_owned()),
        cmd: Some(PROGRAM.map(str::to_owned).to_vec()),
        user: Some("1000:1000".to_owned()),
        host_config: Some(HostConfig {
            network_mode: Some("none".to_owned()),
            readonly_rootfs: Some(true),
            init: Some(true),
            cap_drop: Some(vec!["ALL".to_owned()]),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            memory,
            memory_swap: memory,
            pids_limit: Some(i64::from(PIDS)),
            ulimits: Some(vec![limit("nofile", NOFILE), limit("core", 0)]),
            tmpfs: Some(text(&[("/tmp", &tmp)])),
            shm_size: i64::try_from(SHM).ok(),
            log_config: Some(HostConfigLogConfig {
                typ: Some("local".to_owned()),
                config: Some(text(&LOG)),
            }),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    let id = docker.create_container(None, body).await.unwrap().id;
    let started = docker.start_container(&id, None::<StartContainerOptions>);
    started.await.unwrap();
    let looked = docker.inspect_container(&id, None::<InspectContainerOptions>);
    looked.await.unwrap();
    let took = begun.elapsed();
    let force = RemoveContainerOptionsBuilder::new().force(true).build();
    docker.remove_container(&id, Some(force)).await.unwrap();
    took
}

async fn start_by_program(address: &str, image: &str) -> Duration {
    let program = || {
        let mut docker = tokio::process::Command::new("docker");
        docker.env("DOCKER_HOST", address);
        docker
    };
    let mut run = program();
    run.args(["run", "--detach", "--network=none", "--read-only", "--init"])
        .args(["--user=1000:1000", "--cap-drop=ALL"])
        .arg("--security-opt=no-new-privileges")
        .arg(format!("--memory={MEMORY}"))
        .arg(format!("--memory-swap={MEMORY}"))
        .arg(format!("--pids-limit={PIDS}"))
        .arg(format!("--ulimit=nofile={NOFILE}:{NOFILE}"))
        .arg("--ulimit=core=0:0")
        .arg(format!(
            "--tmpfs=/tmp:rw,nosuid,nodev,exec,mode=1777,size={TMP}"
        ))
        .arg(format!("--shm-size={SHM}"))
        .arg("--log-driver=local")
        .args(LOG.map(|(key, value)| format!("--log-opt={key}={value}")))
        .arg(image)
        .args(PROGRAM);
    let begun = Instant::now();
    let output = run.output().await.unwrap();
    let took = begun.elapsed();
    assert!(output.status.success(), "{output:?}");
    let id = String::from_utf8(output.stdout).unwrap();
    let removed = program().args(["rm", "--force", id.trim()]).output().await;
    assert!(removed.unwrap().status.success());
    took
}

async fn start_by_driver(
    driver: &ContainerDriver,
    facts: &mut mpsc::Receiver<Fact>,
    spec: &AgentSpec,
    round: u64,
) -> Duration {
    let instance = InstanceId {
        agent: "agent".parse().unwrap(),
        generation: Generation(round + 1),
    };
    let begun = Instant::now();
    driver.order(Order::Spawn {
        instance: instance.clone(),
        spec: spec.clone().into(),
        run: None,
    });
    while !matches!(facts.recv().await, Some(Fact::Started { .. })) {}
    let took = begun.elapsed();
    driver.order(Order::Kill {
        instance: instance.clone(),
    });
    while !matches!(facts.recv().await, Some(Fact::Gone { .. })) {}
    driver.order(Order::Release { instance });
    took
}

fn contained(image: &str) -> AgentSpec {
    let mut spec = spec::agent(PROGRAM.map(str::to_owned).to_vec());
    spec.resources.memory = Some(MEMORY);
    spec.resources.pids = Some(PIDS);
    spec.launch.container = Some(Box::new(Container {
        image: image.to_owned(),
        pull: PullPolicy::Missing,
        build: None,
        entrypoint: None,
        working_dir: None::<PathBuf>,
        mounts: Vec::new(),
        ports: Vec::new(),
        root: RootFs::ReadOnly,
        tmpfs: vec![Tmpfs {
            target: Path::new("/tmp").to_owned(),
            size: TMP,
            exec: Exec::Allowed,
        }],
        shm: SHM,
        network: Network::None,
        seccomp: Seccomp::Default,
        capabilities: Vec::new(),
        nofile: NOFILE,
        init: Init::Engine,
    }));
    spec
}
