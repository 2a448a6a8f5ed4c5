//! From fork to exec for a program with namespaces of its own.
//!
//! ```text
//!  shim ──fork into new namespaces──► keeper ──fork──► agent
//!    │  maps users, says go ─────────►  │                │ root directory, network, limits
//!    │ ◄────────────────────────────────┼── ready ───────┤ capabilities, rules, filter
//!    │ ◄──────────────────── ended ─────┘                └ exec
//! ```
//!
//! What needs the host is done before the agent's process enters its root directory: the run
//! record, and as root the look at the files that it is to see.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};

use claw_core::{SpawnError, SpawnStage};
use nix::libc;
use nix::unistd::{Uid, setgroups};
use rustix::thread::UnshareFlags;

use super::child::{self, Birth, Newborn, Parentage, failure};
use super::exec;
use super::keeper::{self, Keeper};
use crate::process::cgroup::{Entrances, Group};
use crate::process::fork::{self, Forked};
use crate::process::procfs::ProcessIdentity;
use crate::process::wire::Program;
use crate::sandbox::{self, Confinement, Listeners, Namespaces, Network, Sources, privileges};

/// Makes the keeper, and through it the agent's process.
pub(super) fn spawn(
    birth: &Birth<'_>,
    confinement: &Confinement,
    namespaces: &Namespaces,
) -> Result<Newborn, SpawnError> {
    let mut entrances = child::entrances(birth)?;
    let (verdict, write_end) = child::verdict_pipe()?;
    let broken = |error: io::Error| failure(SpawnStage::Prepare, "cannot make a socket", &error);
    let (ours, theirs) = keeper::socket().map_err(broken)?;
    if Uid::effective().is_root() {
        // Nobody can clear them inside, where they would stay as groups without a name.
        setgroups(&[])
            .map_err(|errno| failure(SpawnStage::User, "cannot clear the groups", &errno.into()))?;
        // Programs open their output again by its name, `/dev/stdout`.
        for output in [birth.stdout, birth.stderr] {
            let (uid, gid) = (namespaces.uid, namespaces.gid);
            nix::unistd::fchown(output, Some(uid.into()), Some(gid.into())).map_err(|errno| {
                failure(
                    SpawnStage::User,
                    "cannot give away its output",
                    &errno.into(),
                )
            })?;
        }
    }
    // Root in a container has files like root, and makes no mounts.
    let sources = if privileges::may_mount() {
        Some(Sources::open(&namespaces.root).map_err(sandbox::Fault::into_spawn_error)?)
    } else {
        None
    };
    let shim = ProcessIdentity::own().map(|(own, _)| own);
    let kinds = kinds(namespaces);
    match fork_patiently(&mut entrances, birth.group, kinds)? {
        Forked::Parent(pid) => {
            drop((theirs, write_end, sources));
            let keeper = Keeper::new(pid, ours);
            let begun = map_users(pid, namespaces).and_then(|()| keeper.go());
            if let Err(error) = begun {
                keeper::abandon(pid);
                let what = "cannot map the user of the sandbox";
                return Err(failure(SpawnStage::Sandbox, what, &error));
            }
            Ok(Newborn {
                pid,
                verdict,
                keeper: Some(keeper),
            })
        }
        Forked::Child => {
            drop(ours);
            let inside = Inside {
                birth,
                confinement,
                namespaces,
                socket: theirs,
                shim,
            };
            let error = inside.become_keeper(&entrances, sources);
            child::report(write_end, &error)
        }
    }
}

/// The namespaces that are made with the process. That of cgroups comes later: its root is where
/// the process is then, which is not in its group yet.
fn kinds(namespaces: &Namespaces) -> libc::c_int {
    let always = libc::CLONE_NEWUSER
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS;
    match namespaces.network {
        Network::Host => always,
        Network::Closed | Network::Listened => always | libc::CLONE_NEWNET,
    }
}

fn fork_patiently(
    entrances: &mut Entrances,
    group: &Group,
    kinds: libc::c_int,
) -> Result<Forked, SpawnError> {
    child::patiently(entrances, group, |into, modern| {
        if modern {
            fork::fork_into(into, kinds)
        } else {
            fork::fork_plainly_into(kinds)
        }
    })
    .map_err(|mut error| {
        if error.stage == SpawnStage::Fork
            && !matches!(error.errno, libc::EAGAIN | libc::ENOMEM | libc::ENOSPC)
        {
            error.stage = SpawnStage::Sandbox;
            error.detail = format!("cannot make namespaces for the sandbox: {}", error.detail);
        }
        error
    })
}

/// Gives the namespace its one user and group.
fn map_users(pid: i32, namespaces: &Namespaces) -> io::Result<()> {
    let inside = privileges::INSIDE;
    let write = |file: &str, text: &str| {
        File::options()
            .write(true)
            .open(format!("/proc/{pid}/{file}"))?
            .write_all(text.as_bytes())
    };
    write("setgroups", "deny")?;
    write("gid_map", &format!("{inside} {} 1", namespaces.gid))?;
    write("uid_map", &format!("{inside} {} 1", namespaces.uid))
}

/// What the processes inside are made of.
struct Inside<'a> {
    birth: &'a Birth<'a>,
    confinement: &'a Confinement,
    namespaces: &'a Namespaces,
    socket: OwnedFd,
    shim: Option<ProcessIdentity>,
}

impl Inside<'_> {
    /// Returns only if it fails.
    fn become_keeper(&self, entrances: &Entrances, sources: Option<Sources>) -> SpawnError {
        if let Err(error) = self.begin(entrances) {
            return error;
        }
        match fork::fork_plainly() {
            Ok(Forked::Parent(agent)) => keeper::keep(agent, &self.socket),
            Ok(Forked::Child) => match self.prepare(sources) {
                Ok(program) => hint(exec::execute(&program)),
                Err(error) => error,
            },
            Err(error) => failure(SpawnStage::Fork, "cannot make a process", &error),
        }
    }

    fn begin(&self, entrances: &Entrances) -> Result<(), SpawnError> {
        child::enter_groups(entrances)?;
        child::set_limits()?;
        let broken = |error: io::Error| {
            failure(
                SpawnStage::Prepare,
                "the shim died during the start",
                &error,
            )
        };
        keeper::await_go(self.socket.as_fd()).map_err(broken)?;
        // Kernels before 4.6 have none; where groups are is then seen inside.
        // SAFETY: this process has one thread, and a namespace of cgroups shares no memory.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWCGROUP) }.ok();
        Ok(())
    }

    /// Everything up to the program itself, in the order in which it can be done.
    fn prepare(&self, sources: Option<Sources>) -> Result<Program, SpawnError> {
        let mut program = child::parse(self.birth)?;
        child::detach(self.birth)
            .map_err(|error| failure(SpawnStage::Prepare, "cannot set up", &error))?;
        let family = self.write_record()?;
        let listeners = self
            .confine(&program, sources)
            .map_err(sandbox::Fault::into_spawn_error)?;
        child::finish(&mut program);
        keeper::say_ready(self.socket.as_fd(), family, listeners)
            .map_err(|error| failure(SpawnStage::Prepare, "cannot speak to the shim", &error))?;
        if let Some(filter) = &self.confinement.filter {
            sandbox::install(filter).map_err(sandbox::Fault::into_spawn_error)?;
        }
        Ok(program)
    }

    /// This process and the keeper, as the host counts, and as the run record says.
    fn write_record(&self) -> Result<(ProcessIdentity, ProcessIdentity), SpawnError> {
        let broken =
            |error: &io::Error| failure(SpawnStage::Prepare, "cannot write the run record", error);
        let family = || {
            let (main, keeper) = ProcessIdentity::own()?;
            Some((main, ProcessIdentity::of(keeper)?, self.shim?))
        };
        let (main, keeper, shim) =
            family().ok_or_else(|| broken(&io::ErrorKind::NotFound.into()))?;
        if let Some(slot) = &self.birth.record {
            let parentage = Parentage {
                shim,
                main,
                keeper: Some(keeper),
            };
            child::write_record(slot, &parentage, self.birth).map_err(|error| broken(&error))?;
        }
        Ok((main, keeper))
    }

    fn confine(
        &self,
        program: &Program,
        sources: Option<Sources>,
    ) -> Result<Option<Listeners>, sandbox::Fault> {
        let namespaces = self.namespaces;
        privileges::become_inside()?;
        rustix::system::sethostname(namespaces.hostname.as_bytes())
            .map_err(sandbox::Fault::of("cannot name the sandbox"))?;
        let listeners = match namespaces.network {
            Network::Host => None,
            Network::Closed => sandbox::loopback_up().map(|()| None)?,
            Network::Listened => {
                sandbox::loopback_up()?;
                Some(sandbox::listen()?)
            }
        };
        let sources = match sources {
            Some(sources) => sources,
            None => Sources::open(&namespaces.root)?,
        };
        sandbox::enter(&namespaces.root, &sources)?;
        drop(sources);
        nix::unistd::chdir(&program.working_dir).map_err(sandbox::Fault::of(format!(
            "the working directory `{}` is not to be seen in the sandbox; put it under `readable`",
            program.working_dir.display()
        )))?;
        privileges::limit(self.confinement.limits)?;
        privileges::empty_bounding_set();
        privileges::drop_capabilities()?;
        privileges::forbid_gain()?;
        if let Some(rules) = &namespaces.rules {
            sandbox::apply(rules)?;
        }
        Ok(listeners)
    }
}

/// What is missing inside may be there outside.
pub(super) fn hint(mut error: SpawnError) -> SpawnError {
    if error.stage == SpawnStage::Exec && error.errno == libc::ENOENT {
        error.detail += ", or is not to be seen in the sandbox; put what it needs under `readable`";
    }
    error
}
