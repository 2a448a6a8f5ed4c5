//! Hooks.

use std::time::{Duration, Instant};

use claw_core::order::HookOutcome;
use claw_core::spec::HookSpec;
use claw_core::{AgentSpec, Fact, Hook, InstanceId, Order};

use crate::world::{World, lives, pid_in, script};

fn hook(text: &str, timeout: Duration) -> Option<HookSpec> {
    Some(HookSpec {
        command: vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned()],
        timeout,
    })
}

async fn run(
    world: &mut World,
    instance: &InstanceId,
    which: Hook,
    spec: &AgentSpec,
) -> HookOutcome {
    world.order(Order::RunHook {
        instance: instance.clone(),
        hook: which,
        spec: spec.clone().into(),
    });
    world
        .find(|fact| match fact {
            Fact::HookDone { hook, outcome, .. } if *hook == which => Some(outcome.clone()),
            _ => None,
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_succeeds_or_fails_with_what_it_said() {
    let mut world = World::new().await;
    let instance = world.instance("agent");
    let mut spec = script("true");
    spec.hooks.pre_start = hook("test $OPENCLAW_AGENT = agent", Duration::from_secs(5));
    assert_eq!(
        run(&mut world, &instance, Hook::PreStart, &spec).await,
        HookOutcome::Success
    );
    spec.hooks.pre_start = hook("echo no database >&2; exit 3", Duration::from_secs(5));
    assert_eq!(
        run(&mut world, &instance, Hook::PreStart, &spec).await,
        HookOutcome::Failure("exited with code 3: no database".to_owned())
    );
    spec.hooks.pre_start = hook("true", Duration::from_secs(5));
    spec.hooks.pre_start.as_mut().unwrap().command = vec!["/no/such/hook".to_owned()];
    assert_eq!(
        run(&mut world, &instance, Hook::PreStart, &spec).await,
        HookOutcome::Failure("cannot execute `/no/such/hook`: no such file".to_owned())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_hangs_is_killed_with_its_tree() {
    let mut world = World::new().await;
    let instance = world.instance("agent");
    let file = world.file("pid");
    let mut spec = script("true");
    let text = format!(
        "setsid sh -c 'echo $$ > {}; exec sleep 1000' & sleep 1000",
        file.display()
    );
    let timeout = Duration::from_millis(300);
    spec.hooks.pre_start = hook(&text, timeout);
    let began = Instant::now();
    assert_eq!(
        run(&mut world, &instance, Hook::PreStart, &spec).await,
        HookOutcome::TimedOut(timeout)
    );
    assert!(began.elapsed() < Duration::from_secs(2));
    assert!(!lives(pid_in(&file).await));
    for root in &world.driver().capabilities().roots {
        assert!(!root.join("agent-1").exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_stop_hook_knows_how_the_agent_ended() {
    let mut world = World::new().await;
    let file = world.file("told");
    let mut spec = script("exit 5");
    let text = format!(
        "echo $SERVICE_RESULT $EXIT_CODE $EXIT_STATUS > {}",
        file.display()
    );
    spec.hooks.post_stop = hook(&text, Duration::from_secs(5));
    let (instance, _) = world.started(spec.clone()).await;
    world.gone(&instance).await;
    assert_eq!(
        run(&mut world, &instance, Hook::PostStop, &spec).await,
        HookOutcome::Success
    );
    assert_eq!(
        std::fs::read_to_string(&file).unwrap(),
        "exit-code exited 5\n"
    );
    let mut spec = spec;
    spec.launch.command = script("kill -TERM $$").launch.command;
    let (instance, _) = world.started(spec.clone()).await;
    world.gone(&instance).await;
    assert_eq!(
        run(&mut world, &instance, Hook::PostStop, &spec).await,
        HookOutcome::Success
    );
    assert_eq!(
        std::fs::read_to_string(&file).unwrap(),
        "signal killed TERM\n"
    );
}
