//! The life of a sandboxed agent, where it differs from that of another.

use claw_core::spec::HookSpec;
use claw_core::{ExitStatus, Fact, Hook, Order};
use std::time::Duration;

use super::{confined, whole};
use crate::agents;
use crate::world::{World, eventually, lives};

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_may_name_another_process_its_main_one() {
    if whole("an_agent_may_name_another_process_its_main_one").is_none() {
        return;
    }
    let mut world = World::new().await;
    let go = world.file("own/go");
    let command = agents::command(&["move-main", "6", &go.to_string_lossy()]);
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let spec = confined(&world, &command, |_| {});
    let (instance, _) = world.started(spec).await;
    let named = |fact: &Fact| match fact {
        Fact::Notified { notification, .. } => notification.main_pid,
        _ => None,
    };
    world.find(named).await;
    std::fs::write(go, "").unwrap();
    assert_eq!(world.gone(&instance).await.status, ExitStatus::Code(6));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_survives_the_death_of_a_shim() {
    if whole("nothing_survives_the_death_of_a_shim").is_none() {
        return;
    }
    let mut world = World::new().await;
    let script = "setsid sleep 4000 & (setsid sleep 4000 &); exec sleep 4000";
    let spec = confined(&world, &["/bin/sh", "-c", script], |_| {});
    let (instance, main) = world.started(spec).await;
    let keeper = crate::world::stat(main).unwrap().parent;
    let shim = crate::world::stat(keeper).unwrap().parent;
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(shim).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    eventually("their end", || !lives(main) && !lives(keeper)).await;
    world
        .find(|fact| match fact {
            Fact::Lost { instance: of } if *of == instance => Some(()),
            _ => None,
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_death_of_a_keeper_is_that_of_its_agent() {
    if whole("the_death_of_a_keeper_is_that_of_its_agent").is_none() {
        return;
    }
    let mut world = World::new().await;
    let spec = confined(&world, &["sleep", "4000"], |_| {});
    let (instance, main) = world.started(spec).await;
    let keeper = crate::world::stat(main).unwrap().parent;
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(keeper).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    assert_eq!(world.gone(&instance).await.status, ExitStatus::Signal(9));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_has_a_sandbox_of_the_same_kind() {
    if whole("a_hook_has_a_sandbox_of_the_same_kind").is_none() {
        return;
    }
    let mut world = World::new().await;
    let seen = world.file("own/seen");
    let script = format!(
        "ls /root /work; id -u > {}; cat /etc/shadow",
        seen.display()
    );
    let mut spec = confined(&world, &["true"], |_| {});
    spec.hooks.pre_start = Some(HookSpec {
        command: vec!["/bin/sh".to_owned(), "-c".to_owned(), script],
        timeout: Duration::from_secs(15),
    });
    let instance = world.instance("agent");
    world.order(Order::RunHook {
        instance,
        hook: Hook::PreStart,
        spec: spec.into(),
    });
    let outcome = world
        .find(|fact| match fact {
            Fact::HookDone { outcome, .. } => Some(format!("{outcome:?}")),
            _ => None,
        })
        .await;
    assert!(outcome.contains("No such file"), "{outcome}");
    assert!(!outcome.contains("cannot open"), "{outcome}");
    assert_eq!(std::fs::read_to_string(seen).unwrap(), "1000\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_not_to_be_seen_is_named_with_the_way_out() {
    if whole("a_program_that_is_not_to_be_seen_is_named_with_the_way_out").is_none() {
        return;
    }
    let mut world = World::new().await;
    let script = world.file("tool");
    std::fs::write(&script, "#!/opt/nowhere/bin/tool\n").unwrap();
    super::open_to_all(&script);
    let spec = confined(&world, &[&script.to_string_lossy()], |_| {});
    let instance = world.spawn(spec);
    let error = world.spawn_failed(&instance).await;
    let detail = "its interpreter `/opt/nowhere/bin/tool` does not exist, or is not to be seen in \
                  the sandbox; put what it needs under `readable`";
    assert!(error.detail.ends_with(detail), "{}", error.detail);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_run_where_the_agent_is() {
    if whole("a_command_is_run_where_the_agent_is").is_none() {
        return;
    }
    let mut world = World::new().await;
    let script = "echo there > /tmp/of-the-agent; exec sleep 4000";
    let spec = confined(&world, &["/bin/sh", "-c", script], |_| {});
    let (instance, main) = world.started(spec.clone()).await;
    let inside = |script: &str| ["/bin/sh", "-c", script].map(str::to_owned);
    let patience = Duration::from_secs(20);
    let script = "until cat /tmp/of-the-agent 2> /dev/null; do sleep 0.02; done; id -u; \
                  grep Seccomp: /proc/self/status; (sleep 4001 &) ; exit 3";
    let command = inside(script);
    let found = world.driver().execute(&instance, &spec, &command, patience);
    let found = found.await.unwrap();
    let lines: Vec<&str> = found.output.lines().collect();
    assert_eq!(found.status, Some(ExitStatus::Code(3)), "{lines:?}");
    assert_eq!(lines, ["there", "1000", "Seccomp:\t2"]);
    eventually("the end of what it left", || {
        !crate::conformance::stage::runs("4001")
    })
    .await;
    let late = Duration::from_millis(300);
    let hang = inside("sleep 4002");
    let found = world.driver().execute(&instance, &spec, &hang, late).await;
    assert_eq!(found.unwrap().status, None);
    eventually("the end of what took too long", || {
        !crate::conformance::stage::runs("4002")
    })
    .await;
    assert!(lives(main));
}
