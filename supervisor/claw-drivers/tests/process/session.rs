//! Commands beside an agent, for somebody who looks on.

use std::time::Duration;

use claw_core::{AgentSpec, ExitStatus, InstanceId, SpawnError, SpawnStage};
use claw_drivers::session::{
    Interruption, Output, Session, SessionEnd, SessionOptions, Steer, Terminal, TerminalSize,
};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

use crate::world::{PATIENCE, World, agent, eventually, lives, pid_in};

const PIPES: SessionOptions = SessionOptions {
    timeout: None,
    terminal: None,
};

pub(crate) fn terminal() -> SessionOptions {
    SessionOptions {
        timeout: None,
        terminal: Some(Terminal {
            size: TerminalSize {
                rows: 30,
                columns: 101,
            },
            kind: "vt100".to_owned(),
        }),
    }
}

pub(crate) async fn open(
    world: &World,
    instance: &InstanceId,
    spec: &AgentSpec,
    command: &[&str],
    options: SessionOptions,
) -> Session {
    let command: Vec<String> = command.iter().map(|&text| text.to_owned()).collect();
    let opening = world
        .driver()
        .open_session(instance, spec, &command, options);
    opening.await.unwrap()
}

/// What it printed to either stream, and how it ended.
pub(crate) async fn finish(session: Session) -> (String, String, Result<SessionEnd, SpawnError>) {
    let _input = session.input;
    let _steering = session.steering;
    see_end(session.output, session.ended).await
}

async fn see_end(
    mut output: BoxStream<'static, Output>,
    ended: BoxFuture<'static, Result<SessionEnd, SpawnError>>,
) -> (String, String, Result<SessionEnd, SpawnError>) {
    let reading = async {
        let (mut printed, mut errors) = (Vec::new(), Vec::new());
        while let Some(piece) = output.next().await {
            match piece {
                Output::Stdout(bytes) => printed.extend(bytes),
                Output::Stderr(bytes) => errors.extend(bytes),
            }
        }
        (printed, errors)
    };
    let (printed, errors) = tokio::time::timeout(PATIENCE, reading).await.unwrap();
    let end = tokio::time::timeout(PATIENCE, ended).await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (text(printed), text(errors), end)
}

/// Reads until that was printed.
async fn read_until(session: &mut Session, wanted: &str) {
    let mut seen = String::new();
    let reading = async {
        while !seen.contains(wanted) {
            let Some(Output::Stdout(piece) | Output::Stderr(piece)) = session.output.next().await
            else {
                panic!("it ended with {seen:?}");
            };
            seen += &String::from_utf8_lossy(&piece);
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.unwrap();
}

async fn sleeper(world: &mut World) -> (InstanceId, AgentSpec) {
    let spec = agent(vec!["sleep".into(), "4000".into()]);
    let (instance, _) = world.started(spec.clone()).await;
    (instance, spec)
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_and_the_exit_code_are_its_own() {
    let mut world = World::new().await;
    let (instance, spec) = sleeper(&mut world).await;
    let script = "read line; echo \"$line $OPENCLAW_AGENT\"; cat >&2; exit 7";
    let session = open(&world, &instance, &spec, &["sh", "-c", script], PIPES).await;
    let Session {
        mut input,
        output,
        steering: _steering,
        ended,
    } = session;
    input.write(b"hello\nand more").await.unwrap();
    input.close().await;
    let (printed, errors, end) = see_end(output, ended).await;
    assert_eq!((&*printed, &*errors), ("hello agent\n", "and more"));
    assert_eq!(end, Ok(SessionEnd::Exited(ExitStatus::Code(7))));
}

#[tokio::test(flavor = "multi_thread")]
async fn much_is_printed_whole() {
    let mut world = World::new().await;
    let (instance, spec) = sleeper(&mut world).await;
    let session = open(&world, &instance, &spec, &["seq", "200000"], PIPES).await;
    let (printed, _, end) = finish(session).await;
    assert_eq!(printed.lines().count(), 200_000);
    assert!(printed.ends_with("200000\n"));
    assert_eq!(end, Ok(SessionEnd::Exited(ExitStatus::Code(0))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_is_one() {
    let mut world = World::new().await;
    let (instance, spec) = sleeper(&mut world).await;
    let script = "test -t 0 && test -t 1 && stty size && echo $TERM && read line && stty size; \
                  echo got $line";
    let mut session = open(&world, &instance, &spec, &["sh", "-c", script], terminal()).await;
    read_until(&mut session, "30 101\r\nvt100\r\n").await;
    let size = TerminalSize {
        rows: 50,
        columns: 60,
    };
    session.steering.send(Steer::Resize(size)).unwrap();
    // The size is set by the time that what is typed after it is read.
    tokio::time::sleep(Duration::from_millis(200)).await;
    session.input.write(b"word\n").await.unwrap();
    let (printed, _, end) = finish(session).await;
    assert!(printed.contains("50 60\r\ngot word\r\n"), "{printed:?}");
    assert_eq!(end, Ok(SessionEnd::Exited(ExitStatus::Code(0))));
}

#[tokio::test(flavor = "multi_thread")]
async fn control_c_on_a_terminal_interrupts() {
    let mut world = World::new().await;
    let (instance, spec) = sleeper(&mut world).await;
    let command = ["sh", "-c", "echo ready; exec sleep 4000"];
    let mut session = open(&world, &instance, &spec, &command, terminal()).await;
    read_until(&mut session, "ready").await;
    session.input.write(&[3]).await.unwrap();
    let (_, _, end) = finish(session).await;
    assert_eq!(end, Ok(SessionEnd::Exited(ExitStatus::Signal(2))));
}

/// Whether a program of this name is a child of a process.
fn runs_below(parent: i32, name: &str) -> bool {
    let children = format!("/proc/{parent}/task/{parent}/children");
    let children = std::fs::read_to_string(children).unwrap_or_default();
    children.split_whitespace().any(|child| {
        let running = std::fs::read_to_string(format!("/proc/{child}/comm"));
        running.is_ok_and(|running| running.trim_end() == name)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_reaches_all_that_it_has_started() {
    let mut world = World::new().await;
    let (instance, spec) = sleeper(&mut world).await;
    let file = world.file("shell");
    let script = format!(
        "trap 'echo caught; exit 4' INT; echo $$ > {0}.new; mv {0}.new {0}; sleep 4000; exit 5",
        file.display()
    );
    let session = open(&world, &instance, &spec, &["sh", "-c", &script], PIPES).await;
    let shell = pid_in(&file).await;
    // A child that is not yet `sleep` would take the signal for the shell, and then sleep.
    eventually("the shell sleeps", || runs_below(shell, "sleep")).await;
    let signal = Steer::Signal(Interruption::Interrupt);
    session.steering.send(signal).unwrap();
    let (printed, _, end) = finish(session).await;
    assert_eq!(printed, "caught\n");
    assert_eq!(end, Ok(SessionEnd::Exited(ExitStatus::Code(4))));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_when_its_time_is_over_or_nobody_looks_on() {
    let mut world = World::new().await;
    let spec = agent(vec!["sleep".into(), "4000".into()]);
    let (instance, main) = world.started(spec.clone()).await;
    for timeout in [Some(Duration::from_millis(300)), None] {
        let file = world.file(if timeout.is_some() { "first" } else { "second" });
        let script = format!(
            "(setsid sleep 4000 & echo $! > {0}.new; mv {0}.new {0}); exec sleep 4000",
            file.display()
        );
        let options = SessionOptions {
            timeout,
            terminal: None,
        };
        let session = open(&world, &instance, &spec, &["sh", "-c", &script], options).await;
        let left = pid_in(&file).await;
        match timeout {
            Some(_) => {
                let (_, _, end) = finish(session).await;
                assert_eq!(end, Ok(SessionEnd::Killed));
            }
            None => drop(session),
        }
        eventually("its end", || !lives(left)).await;
    }
    // The agent is not touched by any of it.
    assert!(lives(main));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_executed_is_said() {
    let mut world = World::new().await;
    let (instance, spec) = sleeper(&mut world).await;
    let session = open(&world, &instance, &spec, &["/no/such/program"], PIPES).await;
    let (_, _, end) = finish(session).await;
    let error = end.unwrap_err();
    assert_eq!((error.stage, error.errno), (SpawnStage::Exec, 2));
    assert_eq!(
        error.detail,
        "cannot execute `/no/such/program`: no such file"
    );
}
