//! A shim for one command that ends soon: an exec probe or a hook.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use claw_core::{ExitStatus, SpawnError, SpawnStage};
use nix::sys::signalfd::SignalFd;
use rustix::event::{PollFd, PollFlags};

use super::child::{self, Birth, Newborn};
use super::deadline::until;
use super::farewell;
use super::keeper::{Keeper, Said};
use super::peer::Peer;
use super::prepare;
use super::tree::{self, Children};
use crate::process::cgroup::Group;
use crate::process::wire::{ExecEnd, ExecReport, ExecTask, GroupOwnership, Report};

/// How much of a command's output is kept: its end, where the reason of a failure stands.
const OUTPUT_LIMIT: usize = 4096;

/// Between attempts to kill descendants that fork meanwhile.
const KILL_STEP: Duration = Duration::from_millis(5);

struct Command {
    signals: SignalFd,
    output: OwnedFd,
    tail: Vec<u8>,
    supervisor: OwnedFd,
    pid: i32,
    /// The process that keeps the command's namespaces, if it has some.
    keeper: Option<Keeper>,
    end: Option<ExecEnd>,
}

/// Runs a command to its end or its timeout and reports; nothing of it is left after.
pub(in crate::process) fn run_command(task: &ExecTask, program: &mut [u8], stream: OwnedFd) -> i32 {
    let started = start(task, program, &stream);
    program.fill(0);
    let report = match started {
        Ok((command, newborn)) => command.watch(task, &newborn),
        Err(error) => ExecReport {
            end: ExecEnd::Failed(error),
            output: String::new(),
        },
    };
    let mut peer = Peer::new(Some(stream));
    peer.tell(&Report::Executed(report));
    farewell::deliver(&mut peer);
    if task.ownership == GroupOwnership::Owner {
        farewell::remove_group(&task.group);
    }
    0
}

fn start(
    task: &ExecTask,
    program: &[u8],
    stream: &OwnedFd,
) -> Result<(Command, Newborn), SpawnError> {
    let broken = |error: std::io::Error| {
        child::failure(
            SpawnStage::Prepare,
            &format!("cannot set up {}", task.what),
            &error,
        )
    };
    prepare::become_session().map_err(broken)?;
    let signals = prepare::watch_children().map_err(broken)?;
    if task.ownership == GroupOwnership::Owner {
        task.group
            .create()
            .map_err(|error| child::cgroup_failure(&error))?;
    }
    let flags = rustix::pipe::PipeFlags::CLOEXEC;
    let (output, write_end) =
        rustix::pipe::pipe_with(flags).map_err(|errno| broken(errno.into()))?;
    rustix::io::ioctl_fionbio(&output, true).map_err(|errno| broken(errno.into()))?;
    let supervisor = stream.try_clone().map_err(broken)?;
    let mut newborn = child::spawn(&Birth {
        program,
        stdin: None,
        stdout: write_end.as_fd(),
        stderr: write_end.as_fd(),
        group: &task.group,
        record: None,
        confinement: task.confinement.as_deref(),
    })?;
    let command = Command {
        signals,
        output,
        tail: Vec::new(),
        supervisor,
        pid: newborn.pid,
        keeper: newborn.keeper.take(),
        end: None,
    };
    Ok((command, newborn))
}

impl Command {
    fn watch(mut self, task: &ExecTask, newborn: &Newborn) -> ExecReport {
        let mut deadline = Instant::now() + task.timeout;
        loop {
            self.wait(deadline);
            self.drain();
            let main = self.pid;
            let mut exited: Option<ExitStatus> = None;
            let children = tree::reap(|pid, status| {
                if pid == main {
                    exited = Some(status);
                }
            });
            if let Some(status) = self.kept_end().or(exited) {
                self.end.get_or_insert(ExecEnd::Exited(status));
            } else if Instant::now() >= deadline {
                self.end.get_or_insert(ExecEnd::TimedOut);
            }
            if self.end.is_none() {
                continue;
            }
            if children == Children::None && !self.group_is_in_use(task) {
                break;
            }
            self.kill(&task.group, task.ownership);
            deadline = Instant::now() + KILL_STEP;
        }
        self.drain();
        let ended = self.end.unwrap_or(ExecEnd::TimedOut);
        ExecReport {
            end: child::verdict(&newborn.verdict).map_or(ended, ExecEnd::Failed),
            output: String::from_utf8_lossy(&self.tail).into_owned(),
        }
    }

    /// Waits for a death, for output, or for the deadline. A supervisor that hangs up no longer
    /// wants to know: the command then ends at once.
    fn wait(&mut self, deadline: Instant) {
        let keeper = self.keeper.as_ref().and_then(Keeper::interest);
        let keeper = keeper.unwrap_or(self.signals.as_fd());
        let mut polled = [
            PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(keeper, PollFlags::IN),
            PollFd::from_borrowed_fd(self.output.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.supervisor.as_fd(), PollFlags::empty()),
        ];
        // After the end only deaths matter: an output at its end, or a supervisor that is gone,
        // would be ready for ever.
        let count = if self.end.is_some() { 1 } else { polled.len() };
        if rustix::event::poll(&mut polled[..count], Some(&until(deadline))).is_err() {
            return;
        }
        let [deaths, kept, output, supervisor] = polled.map(|entry| entry.revents());
        if !deaths.is_empty() {
            while matches!(self.signals.read_signal(), Ok(Some(_))) {}
        }
        let closed = output.contains(PollFlags::HUP) && !output.contains(PollFlags::IN);
        if closed && deaths.is_empty() && kept.is_empty() && self.end.is_none() {
            self.wait_for_death(deadline);
        }
        if supervisor.contains(PollFlags::HUP) {
            self.end.get_or_insert(ExecEnd::TimedOut);
        }
    }

    /// The command closed its output and goes on.
    fn wait_for_death(&self, deadline: Instant) {
        let keeper = self.keeper.as_ref().and_then(Keeper::interest);
        let keeper = keeper.unwrap_or(self.signals.as_fd());
        let mut polled = [
            PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(keeper, PollFlags::IN),
            PollFd::from_borrowed_fd(self.supervisor.as_fd(), PollFlags::empty()),
        ];
        // Whatever came, the caller looks for it again.
        rustix::event::poll(&mut polled, Some(&until(deadline))).ok();
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

    fn drain(&mut self) {
        let mut buffer = [0_u8; OUTPUT_LIMIT];
        // A flood is taken in portions, so that the timeout is looked at in between.
        for _ in 0..64 {
            match rustix::io::read(&self.output, &mut buffer) {
                Ok(count @ 1..) => self.tail.extend_from_slice(&buffer[..count]),
                Ok(_) | Err(_) => break,
            }
            let surplus = self.tail.len().saturating_sub(OUTPUT_LIMIT);
            self.tail.drain(..surplus);
        }
    }

    fn group_is_in_use(&self, task: &ExecTask) -> bool {
        task.ownership == GroupOwnership::Owner && task.group.is_populated()
    }

    fn kill(&self, group: &Group, ownership: GroupOwnership) {
        match ownership {
            GroupOwnership::Owner => tree::kill(group),
            GroupOwnership::Guest => tree::kill_descendants(),
        }
    }
}
