//! `GET /api/agents/{name}/exec`: a command beside an agent, over a WebSocket.

use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use axum::response::Response;
use bytes::Bytes;
use claw_core::{AgentName, ExitStatus, InstanceId, SpawnError, SpawnStage};
use claw_drivers::session::{
    Input, Interruption, Output, Session, SessionEnd, SessionOptions, Steer, Terminal, TerminalSize,
};
use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;

use super::extract::Name;
use super::limits;
use super::params;
use super::ports::SessionQuestion;
use super::problem::ApiError;
use super::state::ApiState;
use super::stream_request::StreamRequest;
use crate::api::exec::{
    ExecAnswer, ExecAsk, ExecEnded, ExecFailed, ExecSignal, ExecStart, ExecStarted, ExecTerminal,
    STDERR, STDIN, STDOUT,
};
use crate::api::{Code, Problem, State as AgentState, routes};

/// The longest message: a command line, or a piece of input.
const MESSAGE: usize = 1024 * 1024;

/// Pieces of input that wait for a command that does not read.
const INPUT: usize = 4;

/// How long the first message may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a shell exits with when it did not run a command.
const NOT_RUN: u8 = 125;
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

/// Run a command in the sandbox of an agent
///
/// Over a WebSocket alone. The first message is `{"start": {"command": […], "timeout": "10s",
/// "terminal": {"rows": 24, "columns": 80}}}`; after it binary messages whose first byte is 0 are
/// its input, those with 1 and 2 its output and its errors. `{"signal": "int"}`, `{"resize": …}`
/// and `"close_stdin"` steer it, and hanging up ends it. The last message is `{"ended": {…}}` or
/// `{"failed": {…}}`. Allowed on the control socket only.
#[utoipa::path(
    get, path = routes::EXEC, tag = "agents",
    params(
        ("name" = String, Path, description = "The agent's name"),
        ("instance" = Option<u32>, Query, description = "Which replica, by its number"),
    ),
    responses(
        (status = 101, description = "A WebSocket"),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn exec(
    State(state): State<ApiState>,
    Name(name): Name,
    request: StreamRequest,
) -> Result<Response, ApiError> {
    let StreamRequest {
        link,
        params,
        upgrade,
        ..
    } = request;
    params.only(&["instance"])?;
    link.admin_only("running a command in the sandbox of an agent")?;
    let replica = params.read("instance", params::count(u32::MAX))?;
    let instance = find(&state, name, replica).await?;
    let Some(upgrade) = upgrade else {
        let detail = "this is done over a WebSocket; use `clawctl sandbox exec`";
        return Err(ApiError::new(Code::BadHeader, detail).parameter("Upgrade"));
    };
    let permit = state.stream_permit()?;
    let upgrade = upgrade.max_message_size(MESSAGE).max_frame_size(MESSAGE);
    Ok(upgrade.on_upgrade(move |socket| serve(state, instance, socket, permit)))
}

/// The live instance of an agent, or of one of its replicas.
async fn find(
    state: &ApiState,
    name: AgentName,
    replica: Option<u32>,
) -> Result<InstanceId, ApiError> {
    let members = match (state.replicas(&name), replica) {
        (None, None | Some(0)) => vec![name.clone()],
        (None, Some(_)) => {
            let detail = format!("`{name}` has one instance; leave `instance` out");
            return Err(ApiError::bad_parameter("instance", detail));
        }
        (Some(members), None) => members,
        (Some(members), Some(number)) => vec![replica_of(state, &name, &members, number)?],
    };
    let mut what = String::new();
    for member in members {
        let status = state.status(&member).await?;
        if let Some(live) = &status.instance {
            return Ok(InstanceId {
                agent: member,
                generation: live.generation,
            });
        }
        let shown = state.render(&status, None).state;
        what = format!("`{member}` is not running, it is {}", words(shown));
    }
    let hint = format!("start it with `clawctl start {name}`");
    Err(ApiError::new(Code::NotRunning, format!("{what}; {hint}")).agent(&name))
}

fn words(state: AgentState) -> String {
    state.as_str().replace('_', " ")
}

fn replica_of(
    state: &ApiState,
    name: &AgentName,
    members: &[AgentName],
    number: u32,
) -> Result<AgentName, ApiError> {
    let replicas = (state.ports.config.replicas)();
    let is_it = |member: &&AgentName| {
        let place = replicas.place(member);
        place.is_some_and(|place| place.index == number)
    };
    members.iter().find(is_it).cloned().ok_or_else(|| {
        let detail = format!(
            "`{name}` has no instance {number}; it has {}",
            members.len()
        );
        ApiError::bad_parameter("instance", detail)
    })
}

async fn serve(
    state: ApiState,
    instance: InstanceId,
    mut socket: WebSocket,
    permit: OwnedSemaphorePermit,
) {
    let _permit = permit;
    let answer = match begin(&state, &instance, &mut socket).await {
        Ok(None) => return,
        Ok(Some(session)) => converse(session, &mut socket, &state.closing).await,
        Err(failed) => Some(ExecAnswer::Failed(failed)),
    };
    let Some(answer) = answer else { return };
    let goodbye = async {
        say(&mut socket, &answer).await?;
        let frame = CloseFrame {
            code: close_code::NORMAL,
            reason: Utf8Bytes::from_static("the command has ended"),
        };
        socket.send(Message::Close(Some(frame))).await
    };
    // A caller that does not read it has hung up.
    tokio::time::timeout(limits::GOODBYE, goodbye).await.ok();
}

/// Reads what to run and runs it; `None` when the caller hung up.
async fn begin(
    state: &ApiState,
    instance: &InstanceId,
    socket: &mut WebSocket,
) -> Result<Option<Session>, ExecFailed> {
    let first = tokio::time::timeout(PATIENCE, socket.recv()).await;
    let text = match first {
        Ok(Some(Ok(Message::Text(text)))) => text,
        Ok(Some(Ok(_)) | None) => return Err(not_run("the first message is `start`".to_owned())),
        Ok(Some(Err(_))) => return Ok(None),
        Err(_elapsed) => return Err(not_run("nothing came to be run".to_owned())),
    };
    let start = match serde_json::from_str(&text) {
        Ok(ExecAsk::Start(start)) => start,
        Ok(_) => return Err(not_run("the first message is `start`".to_owned())),
        Err(error) => {
            return Err(not_run(format!(
                "the message cannot be understood: {error}"
            )));
        }
    };
    let question = question(instance, start)?;
    tracing::info!(
        target: "audit", %instance, command = ?question.command,
        "a command is run beside an agent"
    );
    let opened = state.ports.session.call(question).await;
    let session = opened.map_err(|error| failed(&error))?;
    let started = ExecAnswer::Started(ExecStarted {
        instance: instance.to_string(),
        note: note(state, instance),
    });
    match say(socket, &started).await {
        Ok(()) => Ok(Some(session)),
        Err(_hung_up) => Ok(None),
    }
}

/// A command without walls should not be taken for one with them.
fn note(state: &ApiState, instance: &InstanceId) -> Option<String> {
    let agent = &instance.agent;
    if (state.ports.config.container)(agent).is_some() {
        return None;
    }
    let sandbox = (state.ports.sandbox)(agent, Some(instance));
    sandbox.is_none().then(|| {
        format!("`{agent}` has no sandbox: the command runs on the host, with its user and limits")
    })
}

fn question(instance: &InstanceId, start: ExecStart) -> Result<SessionQuestion, ExecFailed> {
    let ExecStart {
        command,
        timeout,
        terminal,
    } = start;
    if command.first().is_none_or(String::is_empty) {
        return Err(not_run("there is no command".to_owned()));
    }
    let timeout = timeout.map(|text| {
        let bad = |why| not_run(format!("`timeout` {text}: {why}"));
        params::span(&text).map_err(bad)
    });
    Ok(SessionQuestion {
        instance: instance.clone(),
        command,
        options: SessionOptions {
            timeout: timeout.transpose()?,
            terminal: terminal.map(|terminal| Terminal {
                size: size(&terminal),
                kind: terminal.kind.unwrap_or_else(|| "dumb".to_owned()),
            }),
        },
    })
}

const fn size(terminal: &ExecTerminal) -> TerminalSize {
    TerminalSize {
        rows: terminal.rows,
        columns: terminal.columns,
    }
}

/// Passes on what is said either way until the command has ended; `None` when the caller hung up.
async fn converse(
    session: Session,
    socket: &mut WebSocket,
    closing: &CancellationToken,
) -> Option<ExecAnswer> {
    let Session {
        input,
        mut output,
        steering,
        mut ended,
    } = session;
    let (typed_in, typed) = mpsc::channel(INPUT);
    let feeding = tokio::spawn(feed(input, typed));
    let mut typed_in = Some(typed_in);
    let mut pending: Option<Bytes> = None;
    let mut end = None;
    let mut printing = true;
    let outcome = loop {
        if let (Some(end), false) = (&end, printing) {
            break Some(answer(end));
        }
        tokio::select! {
            piece = output.next(), if printing => match piece {
                Some(piece) => {
                    let sent = tokio::time::timeout(limits::STALL, socket.send(frame(piece)));
                    if !matches!(sent.await, Ok(Ok(()))) {
                        break None;
                    }
                }
                None => printing = false,
            },
            ending = &mut ended, if end.is_none() => end = Some(ending),
            room = reserve(typed_in.clone()), if pending.is_some() => {
                let taken = match (room, pending.take()) {
                    (Some(room), Some(piece)) => {
                        drop(room.send(piece));
                        true
                    }
                    (None, _) | (_, None) => false,
                };
                if !taken {
                    // It reads no more.
                    typed_in = None;
                }
            }
            heard = socket.recv(), if pending.is_none() => match heard {
                Some(Ok(Message::Binary(piece))) if piece.first() == Some(&STDIN) => {
                    pending = typed_in.is_some().then(|| piece.slice(1..));
                }
                Some(Ok(Message::Text(text))) => match serde_json::from_str(&text) {
                    Ok(ExecAsk::CloseStdin) => typed_in = None,
                    Ok(ask) => steer(&steering, &ask),
                    // Of a newer client.
                    Err(_) => {}
                },
                Some(Ok(Message::Close(_)) | Err(_)) | None => break None,
                Some(Ok(_)) => {}
            },
            () = closing.cancelled() => break Some(ExecAnswer::Failed(not_run(
                "the supervisor ends; the command was ended".to_owned(),
            ))),
            () = tokio::time::sleep(limits::KEEP_ALIVE) => {
                if socket.send(Message::Ping(Bytes::new())).await.is_err() {
                    break None;
                }
            }
        }
    };
    feeding.abort();
    outcome
}

async fn reserve(typed_in: Option<mpsc::Sender<Bytes>>) -> Option<mpsc::OwnedPermit<Bytes>> {
    typed_in?.reserve_owned().await.ok()
}

/// Apart from the rest, since a command may print before it reads.
async fn feed(mut input: Input, mut typed: mpsc::Receiver<Bytes>) {
    while let Some(piece) = typed.recv().await {
        if input.write(&piece).await.is_err() {
            return;
        }
    }
    input.close().await;
}

fn steer(steering: &mpsc::UnboundedSender<Steer>, ask: &ExecAsk) {
    let steer = match ask {
        ExecAsk::Start(_) | ExecAsk::CloseStdin => return,
        ExecAsk::Resize(terminal) => Steer::Resize(size(terminal)),
        ExecAsk::Signal(signal) => Steer::Signal(match signal {
            ExecSignal::Hup => Interruption::Hangup,
            ExecSignal::Int => Interruption::Interrupt,
            ExecSignal::Quit => Interruption::Quit,
            ExecSignal::Term => Interruption::Terminate,
        }),
    };
    // A command that has ended is steered no more.
    steering.send(steer).ok();
}

fn frame(piece: Output) -> Message {
    let (stream, bytes) = match piece {
        Output::Stdout(bytes) => (STDOUT, bytes),
        Output::Stderr(bytes) => (STDERR, bytes),
    };
    let mut frame = Vec::with_capacity(bytes.len() + 1);
    frame.push(stream);
    frame.extend_from_slice(&bytes);
    Message::Binary(frame.into())
}

fn answer(end: &Result<SessionEnd, SpawnError>) -> ExecAnswer {
    let (exit_code, signal, timed_out) = match end {
        Ok(SessionEnd::Exited(ExitStatus::Code(code))) => (Some(*code), None, false),
        Ok(SessionEnd::Exited(ExitStatus::Signal(signal))) => (None, Some(*signal), false),
        Ok(SessionEnd::Killed) => (None, None, true),
        Err(error) => return ExecAnswer::Failed(failed(error)),
    };
    ExecAnswer::Ended(ExecEnded {
        exit_code,
        signal,
        timed_out,
    })
}

fn failed(error: &SpawnError) -> ExecFailed {
    const ENOENT: i32 = rustix::io::Errno::NOENT.raw_os_error();
    let exit_code = match (error.stage, error.errno) {
        (SpawnStage::Exec, ENOENT) => NOT_FOUND,
        (SpawnStage::Exec, errno) if errno != 0 => NOT_EXECUTABLE,
        (_, _) => NOT_RUN,
    };
    ExecFailed {
        detail: error.detail.clone(),
        exit_code,
    }
}

const fn not_run(detail: String) -> ExecFailed {
    ExecFailed {
        detail,
        exit_code: NOT_RUN,
    }
}

async fn say(socket: &mut WebSocket, answer: &ExecAnswer) -> Result<(), axum::Error> {
    let text = serde_json::to_string(answer).map_err(axum::Error::new)?;
    socket.send(Message::text(text)).await
}
