//! A shim for one command that somebody looks on: its streams go to the supervisor as they are.
//!
//! ```text
//!  supervisor ◄──the far ends of pipes or of a terminal──┐
//!      │ signals, hang-up                                 │
//!      └────────────────────────────────────────────────► shim ──fork, exec──► command
//! ```

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use claw_core::{ExitStatus, SpawnError, SpawnStage};
use nix::sys::signalfd::SignalFd;
use nix::unistd::{Uid, fchown};
use rustix::event::{PollFd, PollFlags};
use rustix::pty::OpenptFlags;

use super::child::{self, Birth, ControllingTerminal, Newborn};
use super::deadline::until;
use super::farewell;
use super::keeper::{Keeper, Said};
use super::peer::Peer;
use super::prepare;
use super::tree::{self, Children};
use crate::process::spawner::IGNORED;
use crate::process::wire::{ExecEnd, ExecReport, Report, Request, SessionTask};
use crate::process::{procfs, signal};
use crate::session::TerminalSize;

/// Between attempts to kill descendants that fork meanwhile.
const KILL_STEP: Duration = Duration::from_millis(5);

/// Runs a command to its end, to its timeout, or until nobody looks on any more.
pub(in crate::process) fn run_session(
    task: &SessionTask,
    program: &mut [u8],
    stream: OwnedFd,
) -> i32 {
    let mut peer = Peer::new(Some(stream));
    let started = start(task, program);
    program.fill(0);
    let end = match started {
        Ok((session, far_ends)) => {
            peer.tell_with(&Report::Opened, &far_ends);
            drop(far_ends);
            session.watch(task, &mut peer)
        }
        Err(error) => ExecEnd::Failed(error),
    };
    peer.tell(&Report::Executed(ExecReport {
        end,
        output: String::new(),
    }));
    farewell::deliver(&mut peer);
    0
}

/// The streams of a command: its own ends, and the far ones.
struct Streams {
    stdin: OwnedFd,
    stdout: OwnedFd,
    stderr: OwnedFd,
    far: Vec<OwnedFd>,
    terminal: ControllingTerminal,
}

impl Streams {
    fn open(terminal: Option<TerminalSize>) -> io::Result<Self> {
        match terminal {
            Some(size) => Self::terminal(size),
            None => Self::pipes(),
        }
    }

    fn pipes() -> io::Result<Self> {
        let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
        let ((stdin, to_it), (output, stdout), (errors, stderr)) = (pipe()?, pipe()?, pipe()?);
        Ok(Self {
            stdin,
            stdout,
            stderr,
            far: vec![to_it, output, errors],
            terminal: ControllingTerminal::None,
        })
    }

    fn terminal(size: TerminalSize) -> io::Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let far = rustix::pty::openpt(flags)?;
        rustix::pty::grantpt(&far)?;
        rustix::pty::unlockpt(&far)?;
        rustix::termios::tcsetwinsize(&far, size.into())?;
        // By the far end and not by its name, which may be another's where `/dev` is another's.
        let stdin = rustix::pty::ioctl_tiocgptpeer(&far, flags)?;
        Ok(Self {
            stdout: stdin.try_clone()?,
            stderr: stdin.try_clone()?,
            stdin,
            far: vec![far],
            terminal: ControllingTerminal::Stdin,
        })
    }

    /// Programs open their streams again by name, `/dev/stderr`.
    fn give_to(&self, owner: Option<(u32, u32)>) -> io::Result<()> {
        let Some((uid, gid)) = owner.filter(|_| Uid::effective().is_root()) else {
            return Ok(());
        };
        for fd in [&self.stdin, &self.stdout, &self.stderr] {
            fchown(fd, Some(uid.into()), Some(gid.into()))?;
        }
        Ok(())
    }
}

struct Session {
    signals: SignalFd,
    pid: i32,
    /// The process that keeps the command, if it is in namespaces.
    keeper: Option<Keeper>,
    verdict: OwnedFd,
    end: Option<ExecEnd>,
}

fn start(task: &SessionTask, program: &[u8]) -> Result<(Session, Vec<OwnedFd>), SpawnError> {
    let broken =
        |error: io::Error| child::failure(SpawnStage::Prepare, "cannot set up the command", &error);
    prepare::become_session().map_err(broken)?;
    let signals = prepare::watch_children().map_err(broken)?;
    let streams = Streams::open(task.terminal).map_err(broken)?;
    streams.give_to(task.owner).map_err(broken)?;
    let newborn = child::spawn(&Birth {
        program,
        stdin: Some(streams.stdin.as_fd()),
        stdout: streams.stdout.as_fd(),
        stderr: streams.stderr.as_fd(),
        group: &task.group,
        record: None,
        confinement: task.confinement.as_deref(),
        terminal: streams.terminal,
        learner: None,
    })?;
    let Newborn {
        pid,
        verdict,
        keeper,
    } = newborn;
    let session = Session {
        signals,
        pid,
        keeper,
        verdict,
        end: None,
    };
    Ok((session, streams.far))
}

impl Session {
    fn watch(mut self, task: &SessionTask, peer: &mut Peer) -> ExecEnd {
        let mut deadline = task.timeout.map(|timeout| Instant::now() + timeout);
        loop {
            self.wait(deadline, peer);
            for request in peer.requests() {
                obey(&request);
            }
            let main = self.pid;
            let mut exited: Option<ExitStatus> = None;
            let children = tree::reap(|pid, status| {
                if pid == main {
                    exited = Some(status);
                }
            });
            let over = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            if let Some(status) = self.kept_end().or(exited) {
                self.end.get_or_insert(ExecEnd::Exited(status));
            } else if over || peer.interest().is_none() {
                self.end.get_or_insert(ExecEnd::TimedOut);
            }
            if self.end.is_none() {
                continue;
            }
            if children == Children::None {
                break;
            }
            tree::kill_descendants();
            deadline = Some(Instant::now() + KILL_STEP);
        }
        let ended = self.end.unwrap_or(ExecEnd::TimedOut);
        child::verdict(&self.verdict).map_or(ended, ExecEnd::Failed)
    }

    /// Waits for a death, for a word of the supervisor's, or for the deadline.
    fn wait(&self, deadline: Option<Instant>, peer: &Peer) {
        let mut polled = vec![PollFd::from_borrowed_fd(
            self.signals.as_fd(),
            PollFlags::IN,
        )];
        // After the end only deaths matter: what is ready then would be ready for ever.
        if self.end.is_none() {
            let keeper = self.keeper.as_ref().and_then(Keeper::interest);
            polled.extend(keeper.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
            let supervisor = peer.interest();
            polled.extend(supervisor.map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags)));
        }
        let timeout = deadline.map(until);
        // Whatever came, the caller looks for it.
        rustix::event::poll(&mut polled, timeout.as_ref()).ok();
        while matches!(self.signals.read_signal(), Ok(Some(_))) {}
    }

    /// How the command ended, as its keeper says.
    fn kept_end(&mut self) -> Option<ExitStatus> {
        while let Some(said) = self.keeper.as_mut()?.said() {
            match said {
                Said::Ready(_) => {}
                Said::Ended(status, _) => return Some(status),
            }
        }
        None
    }
}

/// A signal goes to the whole tree, as that of a terminal does. The processes in between ignore
/// those that are passed on, and no others are.
fn obey(request: &Request) {
    let Request::Signal(number) = request else {
        return;
    };
    if IGNORED.iter().any(|ignored| *ignored as i32 == *number) {
        let own = rustix::process::getpid().as_raw_nonzero().get();
        for pid in procfs::descendants(own) {
            signal::send(pid, *number);
        }
    }
}
