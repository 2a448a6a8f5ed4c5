//! A command that runs beside an instance for somebody who looks on: its streams are handed over
//! while it runs, and it can be steered.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use claw_core::{ExitStatus, SpawnError};
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use rustix::termios::Winsize;
use serde::{Deserialize, Serialize};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

/// So much output is taken at once.
const PIECE: usize = 32 * 1024;

/// What ends the input of a terminal: control-D.
const END_OF_INPUT: &[u8] = &[4];

/// What a session is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionOptions {
    /// How long it may take; `None`: as long as somebody looks on.
    pub timeout: Option<Duration>,
    /// A terminal of its own in place of pipes.
    pub terminal: Option<Terminal>,
}

/// A terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terminal {
    /// How large it is.
    pub size: TerminalSize,
    /// What it is, for `TERM`.
    pub kind: String,
}

/// How large a terminal is, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters in each.
    pub columns: u16,
}

impl From<TerminalSize> for Winsize {
    fn from(size: TerminalSize) -> Self {
        Self {
            ws_row: size.rows,
            ws_col: size.columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        }
    }
}

/// A command that runs. Dropping `steering` ends it.
pub struct Session {
    /// What it reads.
    pub input: Input,
    /// What it prints, up to its end.
    pub output: BoxStream<'static, Output>,
    /// What it is told.
    pub steering: mpsc::UnboundedSender<Steer>,
    /// How it ended; resolves when nothing of it is left.
    pub ended: BoxFuture<'static, Result<SessionEnd, SpawnError>>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

/// Something that a command printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// To its standard output, or its terminal.
    Stdout(Bytes),
    /// To its standard error.
    Stderr(Bytes),
}

/// What a command is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steer {
    /// A signal to it and all that it has started.
    Signal(Interruption),
    /// Its terminal has another size now.
    Resize(TerminalSize),
}

/// Signals that people send to commands they look on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interruption {
    /// `SIGHUP`.
    Hangup,
    /// `SIGINT`.
    Interrupt,
    /// `SIGQUIT`.
    Quit,
    /// `SIGTERM`.
    Terminate,
}

impl Interruption {
    /// Its number.
    pub(crate) const fn number(self) -> i32 {
        match self {
            Self::Hangup => nix::libc::SIGHUP,
            Self::Interrupt => nix::libc::SIGINT,
            Self::Quit => nix::libc::SIGQUIT,
            Self::Terminate => nix::libc::SIGTERM,
        }
    }
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionEnd {
    /// By itself, or by a signal.
    Exited(ExitStatus),
    /// Its time was over, or nobody looked on any more: it was killed with all that it had started.
    Killed,
}

/// What a command reads. Dropped, a pipe is at its end.
pub struct Input(Writer);

enum Writer {
    Pipe(pipe::Sender),
    Terminal(Arc<AsyncFd<OwnedFd>>),
    Engine(Pin<Box<dyn AsyncWrite + Send>>),
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input").finish_non_exhaustive()
    }
}

impl Input {
    pub(crate) fn of_engine(input: Pin<Box<dyn AsyncWrite + Send>>) -> Self {
        Self(Writer::Engine(input))
    }

    /// Hands over what was typed.
    ///
    /// # Errors
    ///
    /// The command reads no more.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.0 {
            Writer::Pipe(pipe) => pipe.write_all(bytes).await,
            Writer::Engine(input) => {
                input.write_all(bytes).await?;
                input.flush().await
            }
            Writer::Terminal(terminal) => write_terminal(terminal, bytes).await,
        }
    }

    /// Says that nothing more comes.
    pub async fn close(self) {
        // Whoever reads no more need not be told.
        match self.0 {
            Writer::Pipe(pipe) => drop(pipe),
            Writer::Engine(mut input) => drop(input.shutdown().await),
            Writer::Terminal(terminal) => drop(write_terminal(&terminal, END_OF_INPUT).await),
        }
    }
}

async fn write_terminal(terminal: &AsyncFd<OwnedFd>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let mut ready = terminal.writable().await?;
        let attempt = ready.try_io(|fd| Ok(rustix::io::write(fd, bytes)?));
        if let Ok(written) = attempt {
            bytes = &bytes[written?..];
        }
    }
    Ok(())
}

/// The ends of the streams of a command that is a process of ours.
pub(crate) struct Ends {
    pub(crate) input: Input,
    pub(crate) output: BoxStream<'static, Output>,
    /// Its terminal, to be given another size.
    pub(crate) terminal: Option<Arc<AsyncFd<OwnedFd>>>,
}

impl Ends {
    /// Of three pipes (input, output, errors), or of one terminal.
    pub(crate) fn new(descriptors: Vec<OwnedFd>) -> io::Result<Self> {
        match <[OwnedFd; 3]>::try_from(descriptors) {
            Ok([input, output, errors]) => Self::of_pipes(input, output, errors),
            Err(mut descriptors) => match (descriptors.pop(), descriptors.pop()) {
                (Some(terminal), None) => Self::of_terminal(terminal),
                (None | Some(_), _) => Err(io::ErrorKind::InvalidData.into()),
            },
        }
    }

    fn of_pipes(input: OwnedFd, output: OwnedFd, errors: OwnedFd) -> io::Result<Self> {
        let output = pieces(pipe::Receiver::from_owned_fd(output)?, Output::Stdout);
        let errors = pieces(pipe::Receiver::from_owned_fd(errors)?, Output::Stderr);
        Ok(Self {
            input: Input(Writer::Pipe(pipe::Sender::from_owned_fd(input)?)),
            output: Box::pin(futures_util::stream::select(output, errors)),
            terminal: None,
        })
    }

    fn of_terminal(terminal: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&terminal, true)?;
        // SAFETY: an `OwnedFd` is open and stays the same descriptor until it is dropped, and the
        // `AsyncFd` owns it.
        let terminal = unsafe { AsyncFd::register(terminal) };
        let terminal = Arc::new(terminal.map_err(|error| error.into_parts().1)?);
        let reading = Arc::clone(&terminal);
        let output = futures_util::stream::unfold(reading, |terminal| async move {
            let piece = read_terminal(&terminal).await?;
            Some((Output::Stdout(piece), terminal))
        });
        Ok(Self {
            input: Input(Writer::Terminal(Arc::clone(&terminal))),
            output: Box::pin(output),
            terminal: Some(terminal),
        })
    }
}

fn pieces(
    pipe: pipe::Receiver,
    kind: fn(Bytes) -> Output,
) -> impl futures_util::Stream<Item = Output> + Send {
    futures_util::stream::unfold(pipe, move |pipe| async move {
        let mut buffer = vec![0; PIECE];
        loop {
            pipe.readable().await.ok()?;
            match pipe.try_read(&mut buffer) {
                Ok(0) => return None,
                Ok(count) => {
                    buffer.truncate(count);
                    return Some((kind(buffer.into()), pipe));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return None,
            }
        }
    })
}

/// `None` at its end, which is an error of the terminal's: nobody has it open any more.
async fn read_terminal(terminal: &AsyncFd<OwnedFd>) -> Option<Bytes> {
    let mut buffer = vec![0; PIECE];
    loop {
        let mut ready = terminal.readable().await.ok()?;
        let attempt = ready.try_io(|fd| Ok(rustix::io::read(fd, &mut buffer[..])?));
        match attempt {
            Ok(Ok(0) | Err(_)) => return None,
            Ok(Ok(count)) => {
                buffer.truncate(count);
                return Some(buffer.into());
            }
            Err(_would_block) => {}
        }
    }
}

/// Gives a terminal another size.
pub(crate) fn resize(terminal: &AsyncFd<OwnedFd>, size: TerminalSize) {
    // A terminal that is gone needs no size.
    rustix::termios::tcsetwinsize(terminal.get_ref().as_fd(), size.into()).ok();
}
