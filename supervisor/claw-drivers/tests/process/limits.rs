//! Limits: they hold, from the first instruction, and what they did is told.

use std::time::Duration;

use claw_core::spec::Resources;
use claw_core::{ExitStatus, SpawnStage};
use claw_drivers::Driver;
use claw_drivers::process::{Backend, CgroupChoice};

use crate::agents;
use crate::world::{World, agent, eventually, pid_in, script};

const MIB: u64 = 1 << 20;

fn with_memory(mut spec: claw_core::AgentSpec, mib: u64) -> claw_core::AgentSpec {
    spec.resources = Resources {
        memory: Some(mib * MIB),
        ..Resources::default()
    };
    spec
}

#[tokio::test(flavor = "multi_thread")]
async fn a_main_process_that_takes_too_much_memory_is_killed_and_counted() {
    for choice in [CgroupChoice::Auto, CgroupChoice::Only(Backend::V1)] {
        let mut world = World::with(choice).await;
        if !world.can("a_main_process_that_takes_too_much", |driver| {
            &driver.capabilities().memory
        }) {
            return;
        }
        let hog = agent(agents::command(&["hog", "200000000"]));
        let (instance, _) = world.started(with_memory(hog, 32)).await;
        let report = world.gone(&instance).await;
        assert_eq!(report.status, ExitStatus::Signal(9));
        assert_eq!(report.oom_kills, 1);
        assert!(report.memory_peak <= 32 * MIB, "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grandchild_killed_for_memory_is_counted_in_its_own_agent_only() {
    let mut world = World::new().await;
    if !world.can("a_grandchild_killed_for_memory", |driver| {
        &driver.capabilities().memory
    }) {
        return;
    }
    let (bystander, _) = world
        .started(with_memory(agent(vec!["sleep".into(), "1000".into()]), 32))
        .await;
    let hog = agents::command(&["hog", "200000000"]).join(" ");
    let text = format!("(sh -c '{hog}; true'); exit 0");
    let (instance, _) = world.started(with_memory(script(&text), 32)).await;
    let report = world.gone(&instance).await;
    let backend = world.driver().capabilities().backend;
    if backend != Backend::V2 {
        // Version 2 kills the whole group instead.
        assert_eq!(report.status, ExitStatus::Code(0));
    }
    assert!(report.oom_kills >= 1, "{report:?}");
    let usage = world.driver().usage().await;
    assert_eq!(usage[&bystander].oom_kills, 0);
    assert!(usage[&bystander].memory > 0);
    assert_eq!(usage[&bystander].pids, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_bomb_stops_at_its_limit_and_ends_whole() {
    let mut world = World::new().await;
    if !world.can("a_fork_bomb_stops", |driver| &driver.capabilities().pids) {
        return;
    }
    let file = world.file("made");
    let mut spec = agent(agents::command(&["fork", "200", &file.to_string_lossy()]));
    spec.resources.pids = Some(20);
    let (instance, _) = world.started(spec).await;
    let report = world.gone(&instance).await;
    assert_eq!(report.status, ExitStatus::Code(0));
    let made: u32 = std::fs::read_to_string(file).unwrap().parse().unwrap();
    assert!((10..20).contains(&made), "{made}");
    assert_eq!(report.leftovers, made);
}

#[tokio::test(flavor = "multi_thread")]
async fn processor_time_is_held_down() {
    let mut world = World::new().await;
    if !world.can("processor_time", |driver| &driver.capabilities().cpu) {
        return;
    }
    let mut spec = script("while :; do :; done");
    spec.resources.cpu_millis = Some(100);
    let (instance, _) = world.started(spec).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let used = world.driver().usage().await[&instance].cpu_us;
    assert!((20_000..300_000).contains(&used), "{used} µs in a second");
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_from_the_first_instruction() {
    let mut world = World::new().await;
    let roots = world.driver().capabilities().roots.clone();
    if roots.is_empty() {
        eprintln!("SKIP limits_hold_from_the_first_instruction: there are no cgroups");
        return;
    }
    let file = world.file("found");
    let mut spec = agent(agents::command(&["describe", &file.to_string_lossy()]));
    spec.resources = Resources {
        cpu_millis: Some(500),
        memory: Some(64 * MIB),
        pids: Some(10),
    };
    let (instance, _) = world.started(spec).await;
    world.gone(&instance).await;
    let text = std::fs::read_to_string(file).unwrap();
    let inside = text
        .lines()
        .filter(|line| line.ends_with("/agent-1"))
        .count();
    assert_eq!(inside, roots.len(), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_cannot_be_enforced_is_refused() {
    let mut world = World::with(CgroupChoice::Only(Backend::None)).await;
    let instance = world.spawn(with_memory(script("true"), 32));
    let error = world.spawn_failed(&instance).await;
    assert_eq!(error.stage, SpawnStage::Cgroup);
    assert_eq!(
        error.detail,
        "`resources.memory` of `agent` cannot be enforced: there are no usable cgroups"
    );
    let text = world.driver().capabilities().to_string();
    assert!(
        text.contains("cgroups      none\n  memory     not enforced: "),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_is_told_without_cgroups_too() {
    let mut world = World::with(CgroupChoice::Only(Backend::None)).await;
    let file = world.file("pid");
    let text = format!(
        "sh -c 'echo $$ > {}; while :; do :; done'; true",
        file.display()
    );
    let (instance, _) = world.started(script(&text)).await;
    pid_in(&file).await;
    let mut seen = claw_drivers::Usage::default();
    for _ in 0..200 {
        seen = world.driver().usage().await[&instance];
        if seen.cpu_us > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(
        seen.cpu_us > 0 && seen.memory > 0 && seen.pids == 2,
        "{seen:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_an_agent_makes_itself_go_with_it() {
    let mut world = World::new().await;
    let Some(root) = world.driver().capabilities().roots.first().cloned() else {
        eprintln!("SKIP groups_an_agent_makes_itself: there are no cgroups");
        return;
    };
    let own = root.join("agent-1/nested");
    let text = format!(
        "mkdir {0} && echo $$ > {0}/cgroup.procs && sleep 1000",
        own.display()
    );
    let (instance, _) = world.started(script(&text)).await;
    let inside = || std::fs::read_to_string(own.join("cgroup.procs")).is_ok_and(|t| !t.is_empty());
    eventually("the move", inside).await;
    world.order(claw_core::Order::Kill {
        instance: instance.clone(),
    });
    world.gone(&instance).await;
    eventually("the removal", || !root.join("agent-1").exists()).await;
}
