//! What it costs. The bounds are loose, for machines that are busy; the figures are printed.

use std::time::{Duration, Instant};

use claw_core::{Fact, Order};

use crate::world::{World, agent, stat};

fn kib(pid: i32, key: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = text.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_ascii_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shim_costs_little_memory() {
    let mut world = World::new().await;
    let mut mains = Vec::new();
    for _ in 0..20 {
        mains.push(
            world
                .started(agent(vec!["sleep".into(), "1000".into()]))
                .await
                .1,
        );
    }
    let shims: Vec<i32> = mains
        .iter()
        .map(|main| stat(*main).unwrap().parent)
        .collect();
    let (mut private, mut pss) = (0, 0);
    for shim in &shims {
        private += kib(*shim, "Private_Dirty") + kib(*shim, "Private_Clean");
        pss += kib(*shim, "Pss:");
    }
    let (private, pss) = (private / 20, pss / 20);
    let spawner = world.driver().spawner_pid().await.unwrap().cast_signed();
    eprintln!(
        "shim: {private} KiB private, {pss} KiB PSS; spawner: {} KiB PSS",
        kib(spawner, "Pss:")
    );
    assert!(
        private <= 250 && pss <= 400,
        "{private} KiB private, {pss} KiB PSS"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn many_agents_come_up_together() {
    let mut world = World::new().await;
    let count: u32 = std::env::var("CLAW_MANY")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(200);
    let began = Instant::now();
    let spec = std::sync::Arc::new(agent(vec!["/bin/sleep".into(), "1000".into()]));
    let mut instances = Vec::new();
    for number in 0..count {
        let instance = world.instance(&format!("a{number}"));
        world.order(Order::Spawn {
            instance: instance.clone(),
            spec: spec.clone(),
            run: None,
        });
        instances.push(instance);
    }
    for _ in 0..count {
        world
            .find(|fact| match fact {
                Fact::Started { .. } => Some(()),
                Fact::SpawnFailed { error, .. } => panic!("{error:?}"),
                _ => None,
            })
            .await;
    }
    let up = began.elapsed();
    let began = Instant::now();
    for instance in &instances {
        world.order(Order::Kill {
            instance: instance.clone(),
        });
    }
    for _ in 0..count {
        world
            .find(|fact| matches!(fact, Fact::Gone { .. }).then_some(()))
            .await;
    }
    eprintln!(
        "{count} agents: up in {up:?}, killed in {:?}",
        began.elapsed()
    );
    assert!(up < Duration::from_secs(20));
}
