//! Notifications: from the agent's own tree, and from nobody else.

use std::os::unix::net::UnixDatagram;

use claw_core::notification::Lifecycle;
use claw_core::{Fact, Order};

use crate::agents;
use crate::world::{World, agent, eventually, script};

#[tokio::test(flavor = "multi_thread")]
async fn ready_from_a_child_is_taken_and_from_a_stranger_is_not() {
    let mut world = World::new().await;
    let child = agents::command(&["notify", "'STATUS=mine\\nREADY=1'"]).join(" ");
    let go = world.file("go");
    let text = format!(
        "while [ ! -e {} ]; do sleep 0.01; done; {child} & wait",
        go.display()
    );
    let (instance, _) = world.started(script(&text)).await;
    let socket = world.instance_dir(&instance).join("notify.sock");
    let stranger = UnixDatagram::unbound().unwrap();
    stranger
        .send_to(b"STATUS=not mine\nREADY=1", &socket)
        .unwrap();
    std::fs::write(go, "").unwrap();
    let first = world
        .find(|fact| match fact {
            Fact::Notified { notification, .. } => Some(notification.clone()),
            _ => None,
        })
        .await;
    assert_eq!(first.status.as_deref(), Some("mine"));
    assert_eq!(first.lifecycle, Some(Lifecycle::Ready));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_too_long_for_a_socket_is_dodged() {
    let mut world = World::new().await;
    let agent_name = "a".repeat(60);
    let instance = world.instance(&agent_name);
    world.order(Order::Spawn {
        instance: instance.clone(),
        spec: agent(agents::command(&["notify", "READY=1"])).into(),
        run: None,
    });
    world.await_start(&instance).await;
    world
        .find(|fact| matches!(fact, Fact::Notified { .. }).then_some(()))
        .await;
    world.order(Order::Kill {
        instance: instance.clone(),
    });
    world.gone(&instance).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn output_is_progress_where_progress_is_watched() {
    let mut world = World::new().await;
    let mut spec = script("echo one; sleep 1000");
    spec.probes.progress = Some(claw_core::spec::Progress {
        max_silence: std::time::Duration::from_secs(4),
    });
    let (instance, _) = world.started(spec).await;
    world
        .find(|fact| {
            matches!(fact, Fact::Progressed { instance: of } if *of == instance).then_some(())
        })
        .await;
    let (quiet, _) = world.started(script("echo two; sleep 1000")).await;
    eventually("the output", || world.log(&quiet).contains("two")).await;
    assert!(
        !world
            .passed
            .iter()
            .any(|fact| matches!(fact, Fact::Progressed { instance: of } if *of == quiet))
    );
}
