//! How long a container lives, and who removes it.

use std::time::Duration;

use claw_drivers::container::pool::{RunError, SandboxConfig, SandboxSpec, Sandboxes, Temperature};

use nix::sys::signal::Signal;

use crate::engine::{Engine, House, eventually, shell, spec, text};

#[tokio::test]
async fn a_container_is_used_once_and_replaced() {
    let Some(engine) = Engine::get("a_container_is_used_once_and_replaced") else {
        return;
    };
    let house = House::open(&engine, "once", SandboxSpec { ready: 2, ..spec() });
    let mut hosts = std::collections::BTreeSet::new();
    for _ in 0..5 {
        house.ready(2).await;
        let outcome = house.sh("ls /tmp; touch /tmp/left; hostname").await;
        assert_eq!(outcome.temperature, Temperature::Ready);
        hosts.insert(text(&outcome.stdout).to_owned());
    }
    assert_eq!(hosts.len(), 5, "{hosts:?}");
    house.ready(2).await;
    eventually(|| engine.containers(&house.name).len() == 2).await;
    assert_eq!(house.status().runs, 5);
    house.sandboxes.close().await;
    assert_eq!(engine.containers(&house.name), Vec::<String>::new());
}

#[tokio::test]
async fn what_nobody_asks_for_is_removed_until_somebody_asks() {
    let Some(engine) = Engine::get("what_nobody_asks_for_is_removed") else {
        return;
    };
    let spec = SandboxSpec {
        idle: Duration::from_secs(4),
        ..spec()
    };
    let house = House::open(&engine, "idle", spec);
    house.ready(1).await;
    eventually(|| house.status().idle).await;
    house.ready(0).await;
    eventually(|| engine.containers(&house.name).is_empty()).await;
    assert_eq!(house.status().removed_idle, 1);
    assert_eq!(house.sh("true").await.temperature, Temperature::Cold);
    house.ready(1).await;
    house.sandboxes.close().await;
}

#[tokio::test]
async fn an_old_container_is_replaced() {
    let Some(engine) = Engine::get("an_old_container_is_replaced") else {
        return;
    };
    let spec = SandboxSpec {
        max_age: Duration::from_secs(2),
        ..spec()
    };
    let house = House::open(&engine, "old", spec);
    house.ready(1).await;
    let first = engine.containers(&house.name);
    eventually(|| house.status().removed_old > 0).await;
    house.ready(1).await;
    eventually(|| {
        let now = engine.containers(&house.name);
        now.len() == 1 && now != first
    })
    .await;
    house.sandboxes.close().await;
}

#[tokio::test]
async fn one_that_was_removed_by_hand_costs_no_command() {
    let Some(engine) = Engine::get("one_that_was_removed_by_hand_costs_no_command") else {
        return;
    };
    let house = House::open(&engine, "byhand", spec());
    house.ready(1).await;
    for container in engine.containers(&house.name) {
        engine.docker(&["rm", "-f", &container]);
    }
    assert_eq!(text(&house.sh("echo here").await.stdout), "here\n");
    house.sandboxes.close().await;
}

#[tokio::test]
async fn a_caller_that_goes_away_ends_its_command() {
    let Some(engine) = Engine::get("a_caller_that_goes_away_ends_its_command") else {
        return;
    };
    for ready in [1, 0] {
        let house = House::open(&engine, "away", SandboxSpec { ready, ..spec() });
        house.ready(usize::try_from(ready).unwrap()).await;
        let command = crate::engine::shell("sleep 600");
        let running = house.sandboxes.run(&house.name, &command);
        let left = tokio::time::timeout(Duration::from_secs(2), running).await;
        assert!(left.is_err(), "it has ended: {left:?}");
        assert_eq!(house.status().running, 0);
        house
            .sandboxes
            .configure(&std::collections::BTreeMap::new());
        eventually(|| engine.containers(&house.name).is_empty()).await;
    }
}

#[tokio::test]
async fn an_engine_that_hangs_is_told_and_costs_nothing_once_it_goes_on() {
    let Some(engine) = Engine::own("an_engine_that_hangs_is_told") else {
        return;
    };
    let house = House::open(&engine, "hangs", spec());
    house.ready(1).await;
    engine.signal(Signal::SIGSTOP);
    for _ in 0..2 {
        let command = shell("echo here");
        let asked = house.sandboxes.run(&house.name, &command);
        let refused = tokio::time::timeout(Duration::from_secs(60), asked).await;
        let refused = refused.expect("a caller is not left waiting");
        let Err(RunError::Engine(error)) = refused else {
            panic!("{refused:?}");
        };
        assert!(error.to_string().contains("did not answer"), "{error}");
    }
    assert_eq!(house.status().running, 0);
    engine.signal(Signal::SIGCONT);
    house.ready(1).await;
    assert_eq!(text(&house.sh("echo here").await.stdout), "here\n");
    house.ready(1).await;
    eventually(|| engine.containers(&house.name).len() == 1).await;
    house.sandboxes.close().await;
    assert_eq!(engine.containers(&house.name), Vec::<String>::new());
}

#[test]
fn what_a_killed_supervisor_left_is_removed_at_the_next_start() {
    let Some(engine) = Engine::get("what_a_killed_supervisor_left_is_removed") else {
        return;
    };
    let first = tokio::runtime::Runtime::new().unwrap();
    let house = first.block_on(async {
        let house = House::open(&engine, "killed", spec());
        house.ready(1).await;
        house
    });
    // Nothing of it runs any more, and nothing was cleared up.
    first.shutdown_background();
    assert_eq!(engine.containers(&house.name).len(), 1);
    let second = tokio::runtime::Runtime::new().unwrap();
    second.block_on(async {
        let next = Sandboxes::start(SandboxConfig {
            engine: Some(engine.address.clone()),
            data_dir: house.dir.path().to_owned(),
        });
        // Also when the fleet file has no sandbox any more.
        eventually(|| engine.containers(&house.name).is_empty()).await;
        next.close().await;
    });
}
