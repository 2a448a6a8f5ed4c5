//! What a command is given, and what comes of it.

use std::collections::BTreeMap;
use std::time::Duration;

use claw_core::ExitStatus;
use claw_drivers::container::pool::{Command, RunError, SandboxSpec, Temperature};

use crate::engine::{BARE, Engine, FULL, House, shell, spec, text};

/// With a container that waits, and without.
fn both() -> [(u32, Temperature); 2] {
    [(1, Temperature::Ready), (0, Temperature::Cold)]
}

async fn house(engine: &Engine, name: &str, ready: u32, spec: SandboxSpec) -> House {
    let house = House::open(engine, name, SandboxSpec { ready, ..spec });
    house.ready(usize::try_from(ready).unwrap()).await;
    house
}

#[tokio::test]
async fn a_command_gives_its_output_and_its_code() {
    let Some(engine) = Engine::get("a_command_gives_its_output_and_its_code") else {
        return;
    };
    for (ready, temperature) in both() {
        let house = house(&engine, "gives", ready, spec()).await;
        let outcome = house.sh("echo out; echo err >&2; exit 3").await;
        assert_eq!(text(&outcome.stdout), "out\n");
        assert_eq!(text(&outcome.stderr), "err\n");
        assert_eq!(outcome.status, ExitStatus::Code(3));
        assert_eq!(outcome.temperature, temperature);
        assert!(!outcome.timed_out && !outcome.truncated && !outcome.out_of_memory);
        house.sandboxes.close().await;
    }
}

#[tokio::test]
async fn input_and_variables_reach_the_command() {
    let Some(engine) = Engine::get("input_and_variables_reach_the_command") else {
        return;
    };
    for (ready, _) in both() {
        let env = BTreeMap::from([("A".to_owned(), "of the sandbox".to_owned())]);
        let house = house(&engine, "input", ready, SandboxSpec { env, ..spec() }).await;
        // More than a pipe holds at a time.
        let stdin = vec![b'x'; 300_000];
        let command = Command {
            stdin: stdin.clone(),
            env: BTreeMap::from([("B".to_owned(), "of the call".to_owned())]),
            ..shell("echo $A, $B >&2; cat")
        };
        let outcome = house.run(&command).await;
        assert_eq!(text(&outcome.stderr), "of the sandbox, of the call\n");
        assert!(outcome.stdout == stdin, "{} bytes", outcome.stdout.len());
        house.sandboxes.close().await;
    }
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_killed_with_all_it_started() {
    let Some(engine) = Engine::get("a_command_that_takes_too_long") else {
        return;
    };
    for (ready, _) in both() {
        let house = house(&engine, "late", ready, spec()).await;
        let command = Command {
            timeout: Some(Duration::from_secs(3)),
            ..shell("echo begun; (trap '' TERM; sleep 600) & trap '' TERM; sleep 600")
        };
        let outcome = house.run(&command).await;
        assert!(outcome.timed_out);
        assert_eq!(outcome.status, ExitStatus::Signal(9));
        assert_eq!(text(&outcome.stdout), "begun\n");
        assert!(outcome.duration >= Duration::from_secs(3));
        house.ready(usize::try_from(ready).unwrap()).await;
        let left = || engine.containers(&house.name).len();
        crate::engine::eventually(|| left() == usize::try_from(ready).unwrap()).await;
        house.sandboxes.close().await;
    }
}

#[tokio::test]
async fn output_above_the_bound_is_cut_and_said() {
    let Some(engine) = Engine::get("output_above_the_bound_is_cut_and_said") else {
        return;
    };
    for (ready, _) in both() {
        let spec = SandboxSpec {
            max_output: 100_000,
            ..spec()
        };
        let house = house(&engine, "much", ready, spec).await;
        let outcome = house.sh("yes | head -c 5000000; exit 4").await;
        assert!(outcome.truncated);
        assert_eq!(outcome.stdout.len(), 100_000);
        assert_eq!(outcome.status, ExitStatus::Code(4));
        house.sandboxes.close().await;
    }
}

#[tokio::test]
async fn a_command_that_takes_too_much_memory_is_told_apart() {
    let Some(engine) = Engine::get("a_command_that_takes_too_much_memory") else {
        return;
    };
    for (ready, _) in both() {
        let mut spec = spec();
        spec.resources.memory = Some(24 << 20);
        let house = house(&engine, "memory", ready, spec).await;
        let outcome = house
            .sh("x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done")
            .await;
        assert!(outcome.out_of_memory, "{outcome:?}");
        assert_eq!(outcome.status, ExitStatus::Signal(9));
        assert!(!outcome.timed_out);
        house.sandboxes.close().await;
    }
}

#[tokio::test]
async fn a_program_that_is_not_there_ends_as_in_a_shell() {
    let Some(engine) = Engine::get("a_program_that_is_not_there_ends_as_in_a_shell") else {
        return;
    };
    for (ready, _) in both() {
        let house = house(&engine, "missing", ready, spec()).await;
        let command = Command {
            program: vec!["no-such-program".to_owned()],
            ..Command::default()
        };
        let outcome = house.run(&command).await;
        assert_eq!(outcome.status, ExitStatus::Code(127));
        assert_eq!(text(&outcome.stdout), "");
        assert!(
            text(&outcome.stderr).contains("no-such-program"),
            "{outcome:?}"
        );
        house.sandboxes.close().await;
    }
}

#[tokio::test]
async fn an_image_without_sleep_runs_cold_and_says_so() {
    let Some(engine) = Engine::get("an_image_without_sleep_runs_cold_and_says_so") else {
        return;
    };
    let house = House::open(&engine, "bare", SandboxSpec::of_image(BARE.to_owned()));
    crate::engine::eventually(|| house.status().note.is_some()).await;
    let note = house.status().note.unwrap();
    assert!(note.contains("no `sleep`"), "{note}");
    let command = Command {
        program: ["echo", "hello"].map(str::to_owned).to_vec(),
        ..Command::default()
    };
    let outcome = house.run(&command).await;
    assert_eq!(text(&outcome.stdout), "hello\n");
    assert_eq!(outcome.temperature, Temperature::Cold);
    house.sandboxes.close().await;
}

#[tokio::test]
async fn an_image_without_a_name_runs_with_the_usual_bounds() {
    let Some(engine) = Engine::get("an_image_without_a_name") else {
        return;
    };
    let house = House::open(&engine, "other", SandboxSpec { ready: 0, ..spec() });
    let command = shell("id -u");
    let outcome = house.sandboxes.run_image(FULL, &command).await.unwrap();
    assert_eq!(text(&outcome.stdout), "1000\n");
    let refused = house
        .sandboxes
        .run_image("no-such-registry.invalid/x", &command);
    let refused = refused.await.unwrap_err();
    assert!(
        refused.to_string().contains("no-such-registry.invalid"),
        "{refused}"
    );
    house.sandboxes.close().await;
}

#[tokio::test]
async fn one_more_than_may_run_and_wait_is_refused() {
    let Some(engine) = Engine::get("one_more_than_may_run_and_wait_is_refused") else {
        return;
    };
    let spec = SandboxSpec {
        ready: 0,
        max_running: 1,
        ..spec()
    };
    let house = std::sync::Arc::new(House::open(&engine, "busy", spec));
    let begin = || {
        let house = std::sync::Arc::clone(&house);
        tokio::spawn(async move { house.sh("sleep 2; echo done").await })
    };
    let first = begin();
    crate::engine::eventually(|| house.status().running == 1).await;
    let second = begin();
    crate::engine::eventually(|| house.status().waiting == 1).await;
    let refused = house.sandboxes.run(&house.name, &shell("true")).await;
    assert!(matches!(refused, Err(RunError::Busy { .. })), "{refused:?}");
    assert_eq!(text(&first.await.unwrap().stdout), "done\n");
    assert_eq!(text(&second.await.unwrap().stdout), "done\n");
    assert_eq!(house.status().refused, 1);
    house.sandboxes.close().await;
}

#[tokio::test]
async fn without_an_engine_there_is_an_answer_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::absent(dir.path());
    let house = House::open(&engine, "nowhere", spec());
    let refused = house.sandboxes.run(&house.name, &shell("true")).await;
    assert!(matches!(refused, Err(RunError::Engine(_))), "{refused:?}");
    crate::engine::eventually(|| house.status().note.is_some()).await;
    house.sandboxes.close().await;
    let refused = house.sandboxes.run(&house.name, &shell("true")).await;
    assert_eq!(refused, Err(RunError::Ending));
}
