//! Trees: all of it ends, none of it stays.

use std::time::{Duration, Instant};

use claw_core::{ExitStatus, Fact, Order};
use claw_drivers::process::{Backend, CgroupChoice};

use crate::agents;
use crate::world::{World, agent, eventually, lives, pid_in, script};

const BOTH: [CgroupChoice; 3] = [
    CgroupChoice::Auto,
    CgroupChoice::Only(Backend::V1),
    CgroupChoice::Only(Backend::None),
];

/// A main process with a deaf child in its group, one in its own session, and a daemon.
fn family(world: &World) -> String {
    let file = |name| world.file(name).display().to_string();
    format!(
        "(trap '' TERM; exec sleep 1000) & echo $! > {}
         setsid sh -c 'trap \"\" TERM; echo $$ > {}; exec sleep 1000' &
         (setsid sh -c 'trap \"\" TERM; echo $$ > {}; exec sleep 1000' &)
         while [ ! -s {2} ] || [ ! -s {1} ]; do sleep 0.01; done; ",
        file("deaf"),
        file("session"),
        file("daemon"),
    )
}

async fn members(world: &World) -> Vec<i32> {
    let mut found = Vec::new();
    for name in ["deaf", "session", "daemon"] {
        found.push(pid_in(&world.file(name)).await);
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn what_outlives_the_main_process_is_ended_within_a_second() {
    for choice in BOTH {
        let mut world = World::with(choice).await;
        let text = family(&world) + "exit 3";
        let (instance, _) = world.started(script(&text)).await;
        assert_eq!(world.main_exit(&instance).await, ExitStatus::Code(3));
        let began = Instant::now();
        let report = world.gone(&instance).await;
        assert_eq!(
            (report.status, report.leftovers),
            (ExitStatus::Code(3), 3),
            "{choice:?}"
        );
        let took = began.elapsed();
        assert!(took < Duration::from_secs(3), "{choice:?} took {took:?}");
        for pid in members(&world).await {
            assert!(!lives(pid), "{choice:?}: {pid} lives");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_ends_the_whole_tree_at_once() {
    for choice in BOTH {
        let mut world = World::with(choice).await;
        let text = family(&world)
            + "trap '' TERM; echo up > "
            + &world.file("up").to_string_lossy()
            + "; while :; do sleep 1000; done";
        let (instance, main) = world.started(script(&text)).await;
        eventually("the family", || world.file("up").exists()).await;
        let began = Instant::now();
        world.order(Order::Kill {
            instance: instance.clone(),
        });
        let report = world.gone(&instance).await;
        assert_eq!(report.status, ExitStatus::Signal(9));
        assert!(
            began.elapsed() < Duration::from_secs(1),
            "{choice:?} took {:?}",
            began.elapsed()
        );
        for pid in members(&world).await {
            assert!(!lives(pid), "{choice:?}: {pid} lives");
        }
        assert!(!lives(main));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cgroups_go_with_the_instance() {
    let mut world = World::new().await;
    let (instance, _) = world.started(script("exit 0")).await;
    world.gone(&instance).await;
    let roots = world.driver().capabilities().roots.clone();
    eventually("the removal", || {
        roots.iter().all(|root| !root.join("agent-1").exists())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_held_open_elsewhere_delays_nothing() {
    let mut world = World::new().await;
    let up = world.file("up");
    let text = format!("echo last words; echo > {}; exec sleep 1000", up.display());
    let (instance, pid) = world.started(script(&text)).await;
    eventually("the last words", || up.exists()).await;
    let held = std::fs::File::options()
        .write(true)
        .open(format!("/proc/{pid}/fd/1"))
        .unwrap();
    let began = Instant::now();
    world.order(Order::Signal {
        instance: instance.clone(),
        signal: 9,
    });
    world.gone(&instance).await;
    assert!(
        began.elapsed() < Duration::from_millis(500),
        "took {:?}",
        began.elapsed()
    );
    assert_eq!(world.log(&instance), "last words\n");
    drop(held);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_agent_hears_the_stop_signal() {
    let mut world = World::new().await;
    let (instance, pid) = world
        .started(agent(vec!["sleep".into(), "1000".into()]))
        .await;
    world.order(Order::Signal {
        instance: instance.clone(),
        signal: 19,
    });
    eventually("the stop", || crate::world::stat(pid).unwrap().state == 'T').await;
    world.order(Order::Signal {
        instance: instance.clone(),
        signal: 15,
    });
    assert_eq!(world.gone(&instance).await.status, ExitStatus::Signal(15));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_tree_stands_still_and_goes_on_after() {
    for choice in BOTH {
        let mut world = World::with(choice).await;
        let file = world.file("count");
        let text = format!("while :; do echo x >> {}; sleep 0.01; done", file.display());
        let (instance, _) = world.started(script(&text)).await;
        let size = || std::fs::metadata(&file).map_or(0, |found| found.len());
        eventually("the first lines", || size() > 4).await;
        world.order(Order::Freeze {
            instance: instance.clone(),
        });
        // Frozen once nothing came for ten times as long as a round takes.
        let mut last = size();
        loop {
            tokio::time::sleep(Duration::from_millis(150)).await;
            if size() == last {
                break;
            }
            last = size();
        }
        world.order(Order::Thaw {
            instance: instance.clone(),
        });
        eventually("more lines", || size() > last).await;
        world.order(Order::Freeze {
            instance: instance.clone(),
        });
        world.order(Order::Kill {
            instance: instance.clone(),
        });
        assert_eq!(
            world.gone(&instance).await.status,
            ExitStatus::Signal(9),
            "{choice:?}"
        );
    }
}

/// Has another process made the main one, and then end with code 6: what is said of it.
async fn end_of_a_named_main_process(how: &str) -> ExitStatus {
    let mut world = World::new().await;
    let end = world.file("end");
    let command = agents::command(&[how, "6", &end.display().to_string()]);
    let (instance, first) = world.started(agent(command)).await;
    let moved = |fact: &Fact| match fact {
        Fact::Notified { notification, .. } => notification.main_pid,
        _ => None,
    };
    world.find(moved).await;
    std::fs::write(end, "").unwrap();
    let status = world.main_exit(&instance).await;
    assert_eq!(world.gone(&instance).await.status, status);
    assert!(!lives(first));
    status
}

/// The first two numbers of the kernel's version.
fn kernel() -> [u32; 2] {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split('.').map(|number| number.parse().unwrap());
    [numbers.next().unwrap(), numbers.next().unwrap()]
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_can_be_made_the_main_one() {
    let status = end_of_a_named_main_process("move-main").await;
    assert_eq!(status, ExitStatus::Code(6));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_main_process_whose_parent_waited_for_it_ended_as_the_kernel_still_tells() {
    let status = end_of_a_named_main_process("move-main-and-wait").await;
    // Linux 6.15 began to tell others than the parent; before, whoever asks first learns it.
    let told = kernel() >= [6, 15];
    let expected = status == ExitStatus::Code(6) || (!told && status == ExitStatus::Code(0));
    assert!(expected, "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_orphans_are_reaped() {
    let mut world = World::new().await;
    let text = "i=0; while [ $i -lt 300 ]; do (true &); i=$((i+1)); done; echo done; sleep 1000";
    let (instance, pid) = world.started(script(text)).await;
    eventually("the orphans", || world.log(&instance).contains("done")).await;
    let shim = crate::world::stat(pid).unwrap().parent;
    let zombies = || {
        let mine =
            |pid: i32| crate::world::stat(pid).is_some_and(|s| s.parent == shim && s.state == 'Z');
        (1..=40000).filter(|&pid| mine(pid)).count()
    };
    eventually("the reaping", || zombies() == 0).await;
}
