//! The agent's output on its way into the log.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use claw_core::death::LogRange;
use claw_core::redact::Redactor;

use crate::log::{LogPolicy, LogWriter, OnFull, Pumped, Stamp, Stream, prepare_pipe};
use crate::process::wire::{BlockWhenFull, LogSettings, ShimTask};

/// Both pipes of an agent and the log they go to. Nothing that goes wrong with a log is fatal:
/// the agent lives on, and what is lost is counted in the log itself.
#[derive(Debug)]
pub(super) struct Output {
    log: LogWriter,
    redactor: Option<Redactor>,
    from: u64,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
}

/// The ends of the pipes that are read here.
#[derive(Debug)]
pub(super) struct ReadEnds {
    stdout: OwnedFd,
    stderr: OwnedFd,
}

/// The ends of the pipes that the agent writes to.
#[derive(Debug)]
pub(super) struct WriteEnds {
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

/// Whether anything came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activity {
    Silent,
    Spoke,
}

/// Makes the pipes of an agent.
pub(super) fn pipes() -> io::Result<(ReadEnds, WriteEnds)> {
    let (stdout, agent_stdout) = pipe()?;
    let (stderr, agent_stderr) = pipe()?;
    let ours = ReadEnds { stdout, stderr };
    let theirs = WriteEnds {
        stdout: agent_stdout,
        stderr: agent_stderr,
    };
    Ok((ours, theirs))
}

impl Output {
    /// Opens the log that goes with the pipes. The agent may run by then: what it writes waits.
    pub(super) fn open(task: &ShimTask, pipes: ReadEnds) -> Self {
        let redactor = Redactor::new(task.masked.clone());
        let log = LogWriter::open(&task.log_dir, policy(task.log), Stamp::now())
            .masking(redactor.clone());
        Self {
            from: log.position(),
            log,
            redactor,
            stdout: Some(pipes.stdout),
            stderr: Some(pipes.stderr),
        }
    }

    /// What to poll for reading.
    pub(super) fn interest(&self) -> [Option<BorrowedFd<'_>>; 2] {
        if self.log.wants() {
            [&self.stdout, &self.stderr].map(|pipe| pipe.as_ref().map(AsFd::as_fd))
        } else {
            [None, None]
        }
    }

    /// Moves what the agent printed to the log.
    pub(super) fn pump(&mut self) -> Activity {
        let now = Stamp::now();
        let mut activity = Activity::Silent;
        for (stream, pipe) in [
            (Stream::Stdout, &mut self.stdout),
            (Stream::Stderr, &mut self.stderr),
        ] {
            let Some(fd) = pipe else { continue };
            match self.log.pump(stream, fd.as_fd(), now) {
                Pumped::Read(0) | Pumped::Waiting => {}
                Pumped::Read(_) => activity = Activity::Spoke,
                Pumped::Closed | Pumped::Unreadable(_) => *pipe = None,
            }
        }
        activity
    }

    /// A text of the agent's without its secrets.
    pub(super) fn masked(&self, text: String) -> String {
        match &self.redactor {
            Some(redactor) => redactor.text(text),
            None => text,
        }
    }

    /// When the log wants to be called although nothing happened.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.log.deadline()
    }

    /// Does what is due.
    pub(super) fn on_deadline(&mut self) {
        if self.deadline().is_some_and(|at| at <= Instant::now()) {
            self.log.on_deadline(Stamp::now());
        }
    }

    /// Takes what is left without waiting for the pipes to be closed: a process that got away
    /// may hold them for ever.
    pub(super) fn finish(&mut self) -> Option<LogRange> {
        let pipes: Vec<(Stream, BorrowedFd<'_>)> = [
            (Stream::Stdout, &self.stdout),
            (Stream::Stderr, &self.stderr),
        ]
        .into_iter()
        .filter_map(|(stream, pipe)| pipe.as_ref().map(|fd| (stream, fd.as_fd())))
        .collect();
        let to = self.log.finish(&pipes, Stamp::now());
        let lane = self.log.lane()?;
        Some(LogRange {
            lane,
            from: self.from.min(to),
            to,
        })
    }
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    prepare_pipe(&read)?;
    Ok((read, write))
}

const fn policy(settings: LogSettings) -> LogPolicy {
    LogPolicy {
        max_size: settings.max_size,
        max_files: settings.max_files,
        retention: settings.retention,
        on_full: match settings.block_when_full {
            BlockWhenFull::No => OnFull::Drop,
            BlockWhenFull::Yes => OnFull::Block,
        },
    }
}
