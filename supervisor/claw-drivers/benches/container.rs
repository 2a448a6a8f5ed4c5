//! What a start through the driver costs beside the engine's own share of it.
//!
//! Takes turns between the bare calls that `docker run --detach` makes (create, start, inspect) and
//! a start by the driver, of the same image under the same limits. Needs `CLAW_ENGINE`, an address
//! such as `scripts/engine start DIR` prints, and the image in `CLAW_IMAGE` there.
//!
//! ```text
//! CLAW_ENGINE=unix:///… CLAW_IMAGE=busybox cargo bench -p claw-drivers --bench container
//! ```

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement ends at the first surprise, and prints what it found"
)]

#[path = "../tests/conformance/spec.rs"]
mod spec;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    InspectContainerOptions, RemoveContainerOptionsBuilder, StartContainerOptions,
};
use claw_core::spec::Container;
use claw_core::spec::container::{Init, Network, PullPolicy, RootFs, Seccomp};
use claw_core::{AgentSpec, Fact, Generation, InstanceId, Order};
use claw_drivers::Driver;
use claw_drivers::container::{ContainerConfig, ContainerDriver};
use tokio::sync::mpsc;

const ROUNDS: u64 = 40;
const PROGRAM: [&str; 2] = ["sleep", "1000"];

#[tokio::main]
async fn main() {
    let (Ok(address), Ok(image)) = (std::env::var("CLAW_ENGINE"), std::env::var("CLAW_IMAGE"))
    else {
        println!("SKIP container: CLAW_ENGINE and CLAW_IMAGE are not set");
        return;
    };
    let docker = Docker::connect_with_unix(&address, 60, bollard::API_DEFAULT_VERSION).unwrap();
    let docker = docker.negotiate_version().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (sender, mut facts) = mpsc::channel(1024);
    let mut config = ContainerConfig::new(dir.path().to_owned(), sender);
    config.engine = Some(address);
    let driver = ContainerDriver::start(config);
    let spec = contained(&image);
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let by_hand = start_by_hand(&docker, &image).await;
        let by_driver = start_by_driver(&driver, &mut facts, &spec, round).await;
        // The first of each makes the connection, and warms the engine's caches.
        if round > 0 {
            bare.push(by_hand);
            ours.push(by_driver);
        }
    }
    show("bare calls", &mut bare);
    show("driver", &mut ours);
    driver.recover(Vec::new()).await;
}

fn show(name: &str, spans: &mut [Duration]) {
    spans.sort();
    let (min, p50) = (spans[0], spans[spans.len() / 2]);
    println!("{name:<12} min {min:>10.1?}   p50 {p50:>10.1?}");
}

async fn start_by_hand(docker: &Docker, image: &str) -> Duration {
    let begun = Instant::now();
    let body = ContainerCreateBody {
        image: Some(image.to_owned()),
        cmd: Some(PROGRAM.map(str::to_owned).to_vec()),
        user: Some("1000:1000".to_owned()),
        host_config: Some(HostConfig {
            network_mode: Some("none".to_owned()),
            readonly_rootfs: Some(true),
            init: Some(true),
            cap_drop: Some(vec!["ALL".to_owned()]),
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
    spec.launch.container = Some(Box::new(Container {
        image: image.to_owned(),
        pull: PullPolicy::Missing,
        build: None,
        entrypoint: None,
        working_dir: None::<PathBuf>,
        mounts: Vec::new(),
        ports: Vec::new(),
        root: RootFs::ReadOnly,
        tmpfs: Vec::new(),
        shm: 1 << 20,
        network: Network::None,
        seccomp: Seccomp::Default,
        capabilities: Vec::new(),
        nofile: 1024,
        init: Init::Engine,
    }));
    spec
}
