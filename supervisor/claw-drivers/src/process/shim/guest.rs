//! From fork to exec for a command in the namespaces of an instance that runs.
//!
//! ```text
//!  shim ──fork──► usher ──enters, fork──► keeper ──fork──► command
//! ```
//!
//! A process does not change its own namespace of processes, but that of its children; so the one
//! that enters stays outside and waits. What the command leaves behind belongs to its keeper, and
//! not to that of the instance.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use claw_core::{SpawnError, SpawnStage};
use nix::sched::CloneFlags;
use nix::unistd::{Uid, setgroups};

use super::child::{self, Birth, Newborn, failure};
use super::confined::hint;
use super::exec;
use super::keeper::{self, Keeper};
use crate::process::cgroup::Entrances;
use crate::process::fork::{self, Forked};
use crate::process::procfs::ProcessIdentity;
use crate::process::wire::Program;
use crate::sandbox::{self, Confinement, Guest, privileges};

/// Those of a sandbox, in the order in which they are entered.
const KINDS: [(&str, CloneFlags); 7] = [
    ("user", CloneFlags::CLONE_NEWUSER),
    ("cgroup", CloneFlags::CLONE_NEWCGROUP),
    ("ipc", CloneFlags::CLONE_NEWIPC),
    ("uts", CloneFlags::CLONE_NEWUTS),
    ("net", CloneFlags::CLONE_NEWNET),
    ("pid", CloneFlags::CLONE_NEWPID),
    ("mnt", CloneFlags::CLONE_NEWNS),
];

/// Makes the usher, and through it the command's process.
pub(super) fn spawn(
    birth: &Birth<'_>,
    confinement: &Confinement,
    guest: &Guest,
) -> Result<Newborn, SpawnError> {
    let mut entrances = child::entrances(birth)?;
    let (verdict, write_end) = child::verdict_pipe()?;
    let broken = |error: io::Error| failure(SpawnStage::Prepare, "cannot make a socket", &error);
    let (ours, theirs) = keeper::socket().map_err(broken)?;
    let forked = child::patiently(&mut entrances, birth.group, |into, modern| {
        if modern {
            fork::fork(into)
        } else {
            fork::fork_plainly()
        }
    });
    match forked? {
        Forked::Parent(pid) => Ok(Newborn {
            pid,
            verdict,
            keeper: Some(Keeper::new(pid, ours)),
        }),
        Forked::Child => {
            drop(ours);
            let inside = Inside {
                birth,
                confinement,
                guest,
                socket: theirs,
            };
            let error = inside.become_usher(&entrances, &write_end);
            child::report(write_end, &error)
        }
    }
}

struct Inside<'a> {
    birth: &'a Birth<'a>,
    confinement: &'a Confinement,
    guest: &'a Guest,
    socket: OwnedFd,
}

impl Inside<'_> {
    /// Returns only if it fails.
    fn become_usher(&self, entrances: &Entrances, verdict: &OwnedFd) -> SpawnError {
        let parent = rustix::process::getppid();
        if let Err(error) = self.begin(entrances) {
            return error;
        }
        match fork::fork_plainly() {
            Ok(Forked::Parent(_)) => {
                close(verdict);
                close(&self.socket);
                child::die_with_parent(parent);
                keeper::wait_for_keeper()
            }
            Ok(Forked::Child) => self.become_keeper(),
            Err(error) => failure(SpawnStage::Fork, "cannot make a process", &error),
        }
    }

    fn begin(&self, entrances: &Entrances) -> Result<(), SpawnError> {
        child::enter_groups(entrances)?;
        child::set_limits()?;
        if Uid::effective().is_root() {
            setgroups(&[]).map_err(|errno| {
                failure(SpawnStage::User, "cannot clear the groups", &errno.into())
            })?;
        }
        let kinds: Vec<&str> = KINDS.iter().map(|(kind, _)| *kind).collect();
        enter(self.guest.keeper, self.guest.main, &kinds)
            .map_err(|error| failure(SpawnStage::Prepare, "cannot enter the sandbox", &error))
    }

    /// What it leaves behind belongs to this process.
    fn become_keeper(&self) -> SpawnError {
        if let Err(errno) = nix::sys::prctl::set_child_subreaper(true) {
            return failure(SpawnStage::Prepare, "cannot keep a command", &errno.into());
        }
        match fork::fork_plainly() {
            Ok(Forked::Parent(command)) => keeper::keep(command, &self.socket, None),
            Ok(Forked::Child) => match self.prepare() {
                Ok(program) => hint(exec::execute(&program)),
                Err(error) => error,
            },
            Err(error) => failure(SpawnStage::Fork, "cannot make a process", &error),
        }
    }

    fn prepare(&self) -> Result<Program, SpawnError> {
        let mut program = child::parse(self.birth)?;
        child::detach(self.birth)
            .map_err(|error| failure(SpawnStage::Prepare, "cannot set up", &error))?;
        self.confine(&program)
            .map_err(sandbox::Fault::into_spawn_error)?;
        child::finish(&mut program);
        if let Some(filter) = &self.confinement.filter {
            sandbox::install(filter).map_err(sandbox::Fault::into_spawn_error)?;
        }
        Ok(program)
    }

    fn confine(&self, program: &Program) -> Result<(), sandbox::Fault> {
        privileges::become_inside()?;
        nix::unistd::chdir(&program.working_dir).map_err(sandbox::Fault::of(format!(
            "cannot enter the working directory `{}`",
            program.working_dir.display()
        )))?;
        privileges::limit(self.confinement.limits)?;
        privileges::empty_bounding_set();
        privileges::drop_capabilities()?;
        privileges::forbid_gain()?;
        match &self.guest.rules {
            Some(rules) => sandbox::apply(rules),
            None => Ok(()),
        }
    }
}

/// Closes a descriptor that a process which ends by `exit` needs no more.
fn close(fd: &OwnedFd) {
    use std::os::fd::AsRawFd;
    // SAFETY: its owner is in a stack frame that this process never returns to, so it is closed
    // once and not used after.
    unsafe { rustix::io::close(fd.as_fd().as_raw_fd()) };
}

/// Enters namespaces of an instance; one that this process is in already is left alone.
///
/// Root looks at the keeper, which hides itself; others can look at the main process alone.
pub(super) fn enter(
    keeper: ProcessIdentity,
    main: ProcessIdentity,
    kinds: &[&str],
) -> io::Result<()> {
    let of = if Uid::effective().is_root() {
        keeper
    } else {
        main
    };
    let mut opened = Vec::with_capacity(kinds.len());
    for (kind, flag) in KINDS {
        if !kinds.contains(&kind) {
            continue;
        }
        let file = File::open(format!("/proc/{}/ns/{kind}", of.pid))?;
        let own = std::fs::metadata(format!("/proc/self/ns/{kind}"))?;
        if file.metadata()?.ino() != own.ino() {
            opened.push((file, flag));
        }
    }
    // Asked after they are open: from here on they are its and no other's.
    if !of.is_there() {
        return Err(io::ErrorKind::NotFound.into());
    }
    for (file, flag) in opened {
        nix::sched::setns(&file, flag)?;
    }
    Ok(())
}
