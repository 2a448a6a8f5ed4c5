//! Deaths of the shim, the spawner and the supervisor.

use claw_core::memory::Recovered;
use claw_core::{ExitStatus, Fact, InstanceId, Order};
use claw_drivers::Driver;
use claw_drivers::process::{Backend, CgroupChoice};

use crate::agents;
use crate::world::{World, agent, eventually, lives, pid_in, script, stat};

fn kill(pid: i32) {
    let pid = nix::unistd::Pid::from_raw(pid);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_shim_loses_its_instance_and_nothing_of_it_lives() {
    for choice in [CgroupChoice::Auto, CgroupChoice::Only(Backend::None)] {
        let mut world = World::with(choice).await;
        let file = world.file("daemon");
        let text = format!(
            "(setsid sh -c 'echo $$ > {}; exec sleep 1000' &) ; exec sleep 1000",
            file.display()
        );
        let (instance, main) = world.started(script(&text)).await;
        let daemon = pid_in(&file).await;
        kill(stat(main).unwrap().parent);
        world
            .find(|fact| {
                matches!(fact, Fact::Lost { instance: of } if *of == instance).then_some(())
            })
            .await;
        eventually("the death of the tree", || !lives(main) && !lives(daemon)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_fork_server_harms_no_agent_and_is_replaced() {
    let mut world = World::new().await;
    let (first, main) = world
        .started(agent(vec!["sleep".into(), "1000".into()]))
        .await;
    let before = world.driver().spawner_pid().await.unwrap();
    kill(before.cast_signed());
    eventually("its death", || !lives(before.cast_signed())).await;
    let (second, _) = world.started(script("exit 5")).await;
    assert_eq!(world.gone(&second).await.status, ExitStatus::Code(5));
    assert!(lives(main));
    world.order(Order::Kill {
        instance: first.clone(),
    });
    world.gone(&first).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_supervisor_takes_over_what_lives() {
    let mut world = World::new().await;
    let texts = ["notify", "READY=1\\nSTATUS=working"];
    let (instance, main) = world.started(agent(agents::command(&texts))).await;
    world
        .find(|fact| matches!(fact, Fact::Notified { .. }).then_some(()))
        .await;
    world.crash();
    world.restart().await;
    let open = world.open(&instance);
    let recovered = world.driver().recover(vec![open]).await;
    let [(of, None, Recovered::Alive { pid, .. })] = &recovered[..] else {
        panic!("{recovered:?}");
    };
    assert_eq!((of, *pid), (&instance, main.cast_unsigned()));
    let status = world
        .find(|fact| match fact {
            Fact::Notified { notification, .. } => Some(notification.status.clone()),
            _ => None,
        })
        .await;
    assert_eq!(status.as_deref(), Some("working"));
    world.order(Order::Signal {
        instance: instance.clone(),
        signal: 15,
    });
    assert_eq!(world.gone(&instance).await.status, ExitStatus::Signal(15));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_while_nobody_watched_is_known_in_full() {
    let mut world = World::new().await;
    let go = world.file("go");
    let text = format!(
        "while [ ! -e {} ]; do sleep 0.01; done; echo bye; exit 9",
        go.display()
    );
    let (instance, _) = world.started(script(&text)).await;
    world.crash();
    std::fs::write(go, "").unwrap();
    let record = world.instance_dir(&instance).join("exit.json");
    eventually("the exit record", || record.exists()).await;
    world.restart().await;
    let open = world.open(&instance);
    let recovered = world.driver().recover(vec![open]).await;
    let [(_, _, Recovered::Ended(report))] = &recovered[..] else {
        panic!("{recovered:?}");
    };
    assert_eq!(report.status, ExitStatus::Code(9));
    let log = report.log.unwrap();
    assert_eq!((log.from, log.to), (0, 4));
    assert_eq!(world.log(&instance), "bye\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shim_killed_while_nobody_watched_means_lost_and_a_dead_tree() {
    let mut world = World::new().await;
    let file = world.file("daemon");
    let text = format!(
        "(setsid sh -c 'echo $$ > {}; exec sleep 1000' &) ; exec sleep 1000",
        file.display()
    );
    let (instance, main) = world.started(script(&text)).await;
    let daemon = pid_in(&file).await;
    world.crash();
    kill(stat(main).unwrap().parent);
    world.restart().await;
    let open = world.open(&instance);
    let recovered = world.driver().recover(vec![open]).await;
    assert!(
        matches!(recovered[..], [(_, None, Recovered::Lost)]),
        "{recovered:?}"
    );
    let grouped = world.driver().capabilities().backend != Backend::None;
    eventually("the death of the tree", || {
        !lives(main) && (!grouped || !lives(daemon))
    })
    .await;
    if !grouped {
        eprintln!(
            "SKIP a_shim_killed_while_nobody_watched: there are no cgroups to find a daemon by"
        );
        kill(daemon);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_intent_without_a_start_and_a_start_of_another_boot_are_told_apart() {
    let mut world = World::new().await;
    let never = world.instance("agent");
    let (old, _) = world.started(script("exit 0")).await;
    world.gone(&old).await;
    world.crash();
    world.restart().await;
    let mut rebooted = world.open(&old);
    rebooted.boot_id = "another".to_owned();
    let recovered = world
        .driver()
        .recover(vec![world.open(&never), rebooted])
        .await;
    let of = |instance| &recovered.iter().find(|(of, ..)| *of == instance).unwrap().2;
    assert_eq!(of(never), &Recovered::NeverStarted);
    assert_eq!(of(old.clone()), &Recovered::Rebooted);
    assert!(!world.instance_dir(&old).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_no_open_instance_is_ended() {
    for choice in [CgroupChoice::Auto, CgroupChoice::Only(Backend::None)] {
        sweep_with(choice).await;
    }
}

async fn sweep_with(choice: CgroupChoice) {
    let mut world = World::with(choice).await;
    let (known, kept) = world
        .started(agent(vec!["sleep".into(), "1000".into()]))
        .await;
    let (unknown, swept) = world
        .started(agent(vec!["sleep".into(), "1000".into()]))
        .await;
    world.crash();
    world.restart().await;
    let open = world.open(&known);
    world.driver().recover(vec![open]).await;
    assert!(!lives(swept));
    assert!(lives(kept));
    eventually("its directory's", || !world.instance_dir(&unknown).exists()).await;
}

/// Rewrites the run record of an instance, as a shim of another age would have written it.
fn rewrite(world: &World, instance: &InstanceId, change: impl Fn(&mut serde_json::Value)) {
    let path = world.instance_dir(instance).join("run.json");
    let mut record = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut record);
    std::fs::write(&path, record.to_string()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shim_of_another_age_that_can_be_talked_to_is() {
    for protocol in [
        serde_json::Value::Null,
        serde_json::json!({"speaks": 9, "understood_by": 1, "more": [1]}),
    ] {
        let mut world = World::new().await;
        let (instance, main) = world.started(script("exec sleep 1000")).await;
        world.crash();
        rewrite(&world, &instance, |record| {
            let record = record.as_object_mut().unwrap();
            record.remove("protocol").unwrap();
            if !protocol.is_null() {
                record.insert("protocol".to_owned(), protocol.clone());
            }
        });
        world.restart().await;
        let open = world.open(&instance);
        let recovered = world.driver().recover(vec![open]).await;
        let alive = |pid: u32| pid == main.cast_unsigned();
        assert!(
            matches!(recovered[..], [(_, _, Recovered::Alive { pid, .. })] if alive(pid)),
            "{recovered:?}"
        );
        world.order(Order::Kill {
            instance: instance.clone(),
        });
        assert_eq!(world.gone(&instance).await.status, ExitStatus::Signal(9));
        let mute = |fact: &Fact| matches!(fact, Fact::NeedsRestart { .. });
        assert!(!world.passed.iter().any(mute), "{:?}", world.passed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_whose_shim_cannot_be_talked_to_goes_on_and_can_be_ended() {
    for choice in [CgroupChoice::Auto, CgroupChoice::Only(Backend::None)] {
        let mut world = World::with(choice).await;
        let (instance, main) = world.started(script("exec sleep 1000")).await;
        world.crash();
        rewrite(&world, &instance, |record| {
            record["protocol"] = serde_json::json!({"speaks": 9, "understood_by": 8});
            record["group"] = "written in another way".into();
        });
        world.restart().await;
        let open = world.open(&instance);
        let recovered = world.driver().recover(vec![open]).await;
        assert!(
            matches!(recovered[..], [(_, _, Recovered::Alive { .. })]),
            "{recovered:?}"
        );
        let reason = world
            .find(|fact| match fact {
                Fact::NeedsRestart { reason, .. } => Some(reason.clone()),
                _ => None,
            })
            .await;
        assert_eq!(
            reason,
            "its shim speaks version 9 of the protocol, this supervisor understands 1 to 2; \
             `clawctl restart agent`"
        );
        assert!(lives(main));
        world.order(Order::Signal {
            instance: instance.clone(),
            signal: 15,
        });
        assert_eq!(world.gone(&instance).await.status, ExitStatus::Signal(15));
    }
}
