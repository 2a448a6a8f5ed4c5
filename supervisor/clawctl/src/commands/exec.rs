//! `clawctl sandbox exec`

use std::io::{IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use claw_daemon::api::exec::{
    ExecAnswer, ExecAsk, ExecEnded, ExecSignal, ExecStart, ExecTerminal, STDERR, STDIN, STDOUT,
};
use claw_daemon::api::routes;
use futures_util::{SinkExt, StreamExt};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use super::sandbox::BY_SIGNAL;
use crate::client::{Client, Socket};
use crate::exit::{Exit, Failure};
use crate::{complete, print};

/// Pieces of input on their way.
const INPUT: usize = 4;

/// So much is read of the input at once.
const PIECE: usize = 32 * 1024;

pub(crate) const CODES: &str = "\
The command is run as the agent is: in its namespaces, as its user, with its limits, filter and
network. Its input, output and errors are those of clawctl; where input and output are a terminal
it has one too. Ctrl-C goes to the command, a second one ends it.

Exit codes: that of the command, 128 + N when signal N ended it, 124 when its time was over,
127 when there is no such program inside, 126 when it cannot be executed, 125 when it was not run.";

/// `clawctl sandbox exec`.
#[derive(Debug, Args)]
pub(crate) struct Exec {
    /// Beside which agent
    #[arg(add = ArgValueCompleter::new(complete::agents))]
    pub agent: String,
    /// Which of its replicas, by number [default: the first that runs]
    #[arg(long, value_name = "N")]
    pub instance: Option<u32>,
    /// How long it may take [default: as long as clawctl looks on]
    #[arg(long, value_name = "DURATION", value_parser = complete::duration)]
    pub timeout: Option<Duration>,
    /// No terminal, even where input and output are one
    #[arg(long)]
    pub no_terminal: bool,
    /// The program and its arguments; no shell is added
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Runs a command beside an agent, and ends as it has ended.
///
/// # Errors
///
/// It was not run, or did not succeed.
pub(super) async fn run(client: Result<Client, Failure>, exec: &Exec) -> Result<(), Failure> {
    // Whatever goes wrong before there is a command, it is not the command's doing.
    let not_run = |failure: Failure| Failure {
        exit: Exit::CommandNotRun,
        ..failure
    };
    let mut path = super::goals::path(routes::EXEC, &exec.agent).map_err(not_run)?;
    if let Some(instance) = exec.instance {
        path = format!("{path}?instance={instance}");
    }
    let mut socket = client
        .map_err(not_run)?
        .socket(&path)
        .await
        .map_err(not_run)?;
    let wants_terminal = !exec.no_terminal;
    let terminal = wants_terminal.then(Raw::enter).flatten();
    let start = ExecAsk::Start(ExecStart {
        command: exec.command.clone(),
        timeout: exec
            .timeout
            .map(|timeout| format!("{}ms", timeout.as_millis())),
        terminal: terminal.as_ref().and_then(|_| size()),
    });
    say(&mut socket, &start).await.map_err(not_run)?;
    let ended = converse(&mut socket, terminal.as_ref()).await;
    drop(terminal);
    match ended? {
        ExecAnswer::Started(_) => Err(Failure::silent(Exit::CommandNotRun)),
        ExecAnswer::Ended(ended) => end(&ended),
        ExecAnswer::Failed(failed) => {
            Err(Failure::new(Exit::Command(failed.exit_code), failed.detail))
        }
    }
}

fn end(ended: &ExecEnded) -> Result<(), Failure> {
    if ended.timed_out {
        print::note("clawctl: the command's time was over; it was killed");
        return Err(Failure::silent(Exit::CommandTimedOut));
    }
    super::sandbox::end_as(ended.exit_code, ended.signal)
}

/// Passes on what is said either way; the last word. A command that has ended is told nothing any
/// more, so what cannot be sent says nothing: what is read does.
async fn converse(socket: &mut Socket, terminal: Option<&Raw>) -> Result<ExecAnswer, Failure> {
    let mut typed = Some(input());
    let mut resized = signal(SignalKind::window_change())?;
    let mut interrupts = signal(SignalKind::interrupt())?;
    let mut interrupted = 0;
    loop {
        tokio::select! {
            message = socket.next() => {
                let message = match message {
                    Some(Ok(message)) => message,
                    Some(Err(error)) => return Err(gone(&error.to_string())),
                    None => return Err(gone("it hung up")),
                };
                if let Some(last) = take(&message)? {
                    return Ok(last);
                }
            }
            piece = next(typed.as_mut()) => match piece {
                Some(piece) => {
                    if send(socket, Message::Binary(piece.into())).await.is_err() {
                        typed = None;
                    }
                }
                None => {
                    typed = None;
                    say(socket, &ExecAsk::CloseStdin).await.ok();
                }
            },
            _ = resized.recv(), if terminal.is_some() => {
                if let Some(size) = size() {
                    say(socket, &ExecAsk::Resize(size)).await.ok();
                }
            }
            _ = interrupts.recv() => {
                interrupted += 1;
                if interrupted > 1 {
                    return Err(Failure::silent(Exit::Interrupted));
                }
                say(socket, &ExecAsk::Signal(ExecSignal::Int)).await.ok();
            }
        }
    }
}

/// What the supervisor said; the last of it is returned.
fn take(message: &Message) -> Result<Option<ExecAnswer>, Failure> {
    match message {
        Message::Binary(piece) => match piece.split_first() {
            Some((&STDOUT, bytes)) => write(std::io::stdout(), bytes).map(|()| None),
            Some((&STDERR, bytes)) => write(std::io::stderr(), bytes).map(|()| None),
            Some(_) | None => Ok(None),
        },
        Message::Text(text) => match serde_json::from_str(text) {
            Ok(ExecAnswer::Started(started)) => {
                if let Some(note) = started.note {
                    print::note(&format!("clawctl: {note}"));
                }
                Ok(None)
            }
            Ok(last) => Ok(Some(last)),
            // Of a newer supervisor.
            Err(_) => Ok(None),
        },
        Message::Close(_) => Err(gone("it closed the connection")),
        Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(None),
    }
}

fn gone(why: &str) -> Failure {
    let message = format!("the supervisor is gone, and the command with it: {why}");
    Failure::new(Exit::CommandNotRun, message)
}

/// Nobody reads it, as behind `head`: the command is ended like any other in a pipe.
fn write(mut stream: impl Write, bytes: &[u8]) -> Result<(), Failure> {
    let written = stream.write_all(bytes).and_then(|()| stream.flush());
    written.map_err(|error| {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            Failure::silent(Exit::Command(by_signal(SignalKind::pipe())))
        } else {
            error.into()
        }
    })
}

fn by_signal(kind: SignalKind) -> u8 {
    u8::try_from(BY_SIGNAL + kind.as_raw_value()).unwrap_or(u8::MAX)
}

async fn say(socket: &mut Socket, ask: &ExecAsk) -> Result<(), Failure> {
    let text =
        serde_json::to_string(ask).map_err(|error| Failure::new(Exit::Bug, error.to_string()))?;
    send(socket, Message::text(text)).await
}

async fn send(socket: &mut Socket, message: Message) -> Result<(), Failure> {
    let sent = socket.send(message).await;
    sent.map_err(|error| gone(&error.to_string()))
}

/// Standard input, read by a thread of its own: a read of a terminal cannot be given up.
fn input() -> mpsc::Receiver<Vec<u8>> {
    let (pieces_in, pieces) = mpsc::channel(INPUT);
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let mut buffer = vec![0; PIECE];
        loop {
            match stdin.read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(count) => {
                    let mut piece = Vec::with_capacity(count + 1);
                    piece.push(STDIN);
                    piece.extend_from_slice(&buffer[..count]);
                    if pieces_in.blocking_send(piece).is_err() {
                        return;
                    }
                }
            }
        }
    });
    pieces
}

async fn next(typed: Option<&mut mpsc::Receiver<Vec<u8>>>) -> Option<Vec<u8>> {
    match typed {
        Some(typed) => typed.recv().await,
        None => std::future::pending().await,
    }
}

fn size() -> Option<ExecTerminal> {
    let size = tcgetwinsize(std::io::stdout().as_fd()).ok()?;
    Some(ExecTerminal {
        rows: size.ws_row,
        columns: size.ws_col,
        kind: std::env::var("TERM").ok(),
    })
}

/// The terminal passes on every key as it is, until this is dropped.
struct Raw(Termios);

impl Raw {
    /// `None` where input or output is no terminal.
    fn enter() -> Option<Self> {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() || !std::io::stdout().is_terminal() {
            return None;
        }
        let before = tcgetattr(&stdin).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Drain, &raw).ok()?;
        Some(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that is gone cannot be restored.
        tcsetattr(std::io::stdin(), OptionalActions::Drain, &self.0).ok();
    }
}
