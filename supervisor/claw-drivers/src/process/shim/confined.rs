//! From fork to exec for a program with namespaces of its own.
//!
//! ```text
//!  shim ──fork into new namespaces──► keeper ──fork──► agent
//!    │ users, files                     │ network        │ run record
//!    ├──────────────────────────── go ──┼──────────────► │ root directory, rules
//!    │                                  ├── network ───► │ limits, capabilities
//!    │ ◄────────────────────────────────┼── ready ───────┤ filter
//!    │ ◄──────────────────── ended ─────┘                └ exec
//! ```
//!
//! The three work side by side: the kernel takes about as long for an empty network as all else
//! takes together. What needs the host is done before the agent's process enters its root
//! directory: the run record, and as root the look at the files that it is to see.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};

use claw_core::{SpawnError, SpawnStage};
use nix::libc;
use nix::unistd::{Uid, setgroups};
use rustix::thread::UnshareFlags;

use super::child::{self, Birth, Newborn, Parentage, failure};
use super::exec;
use super::keeper::{self, Handover, Keeper};
use crate::process::cgroup::{Entrances, Group};
use crate::process::fork::{self, Forked};
use crate::process::procfs::ProcessIdentity;
use crate::process::wire::Program;
use crate::sandbox::{self, Confinement, Namespaces, Network, Sources, network, privileges};

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
    let shim = ProcessIdentity::own().map(|(own, _)| own);
    match fork_patiently(&mut entrances, birth.group)? {
        Forked::Parent(pid) => {
            drop((theirs, write_end));
            let keeper = Keeper::new(pid, ours);
            if let Err(error) = support(&keeper, namespaces) {
                keeper::abandon(pid);
                return Err(error);
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
            let error = inside.become_keeper(&entrances);
            child::report(write_end, &error)
        }
    }
}

/// Does the shim's part while the keeper does its own.
fn support(keeper: &Keeper, namespaces: &Namespaces) -> Result<(), SpawnError> {
    let failed = |error: io::Error| {
        let what = "cannot map the user of the sandbox";
        failure(SpawnStage::Sandbox, what, &error)
    };
    map_users(keeper.pid, namespaces).map_err(failed)?;
    // Root in a container has files like root, and makes no mounts.
    if !privileges::may_mount() {
        return keeper.go(&[]).map_err(failed);
    }
    let sources = Sources::open(&namespaces.root).map_err(sandbox::Fault::into_spawn_error)?;
    keeper.go(&sources.files()).map_err(failed)
}

/// The namespaces that are made with the process. That of cgroups comes later: its root is where
/// the process is then, which is not in its group yet. So does the network, while others work.
const KINDS: libc::c_int = libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS;

fn fork_patiently(entrances: &mut Entrances, group: &Group) -> Result<Forked, SpawnError> {
    child::patiently(entrances, group, |into, modern| {
        if modern {
            fork::fork_into(into, KINDS)
        } else {
            fork::fork_plainly_into(KINDS)
        }
    })
    .map_err(without_namespaces)
}

/// What a start fails with for which the kernel made no namespaces. At a limit of theirs there may be
/// room the next time; a call that is forbidden stays so until somebody changes that.
fn without_namespaces(mut error: SpawnError) -> SpawnError {
    if error.stage != SpawnStage::Fork {
        return error;
    }
    if let Some(setting) = sandbox::setting_against_namespaces(error.errno) {
        error.stage = SpawnStage::Sandbox;
        error.detail = format!(
            "the kernel makes no namespaces for its sandbox any more: {setting}. Set it as it was, \
             and start the agent again with `clawctl start`"
        );
    } else if !matches!(error.errno, libc::EAGAIN | libc::ENOMEM | libc::ENOSPC) {
        error.stage = SpawnStage::Sandbox;
        error.detail = format!("cannot make namespaces for the sandbox: {}", error.detail);
    }
    error
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
    fn become_keeper(&self, entrances: &Entrances) -> SpawnError {
        let pair = self.begin(entrances).and_then(|()| {
            keeper::socket()
                .map_err(|error| failure(SpawnStage::Prepare, "cannot make a socket", &error))
        });
        let (ours, theirs) = match pair {
            Ok(pair) => pair,
            Err(error) => return error,
        };
        match fork::fork_plainly() {
            Ok(Forked::Parent(agent)) => {
                drop(theirs);
                match self.make_network() {
                    Ok(made) => {
                        let handover = Handover { socket: ours, made };
                        keeper::keep(agent, &self.socket, Some(handover))
                    }
                    // The agent's process ends with this one.
                    Err(fault) => fault.into_spawn_error(),
                }
            }
            Ok(Forked::Child) => {
                drop(ours);
                match self.prepare(&theirs) {
                    Ok(program) => hint(exec::execute(&program)),
                    Err(error) => error,
                }
            }
            Err(error) => failure(SpawnStage::Fork, "cannot make a process", &error),
        }
    }

    /// What the keeper makes for the agent: its network, and what listens in it.
    fn make_network(&self) -> Result<Vec<OwnedFd>, sandbox::Fault> {
        let Network::Own(ports) = self.namespaces.network else {
            return Ok(Vec::new());
        };
        network::make()?;
        let mut made = vec![network::loopback_up()?];
        made.extend(network::listen(ports)?.into_descriptors());
        Ok(made)
    }

    fn begin(&self, entrances: &Entrances) -> Result<(), SpawnError> {
        child::enter_groups(entrances)?;
        child::set_limits()?;
        // Kernels before 4.6 have none; where groups are is then seen inside.
        // SAFETY: this process has one thread, and a namespace of cgroups shares no memory.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWCGROUP) }.ok();
        Ok(())
    }

    /// Everything up to the program itself, in the order in which it can be done.
    fn prepare(&self, keeper: &OwnedFd) -> Result<Program, SpawnError> {
        let mut program = child::parse(self.birth)?;
        child::detach(self.birth)
            .map_err(|error| failure(SpawnStage::Prepare, "cannot set up", &error))?;
        let family = self.write_record()?;
        let files = keeper::await_go(self.socket.as_fd())
            .and_then(|files| keeper::say_user(keeper.as_fd()).map(|()| files))
            .map_err(|error| {
                let what = "the shim died during the start";
                failure(SpawnStage::Prepare, what, &error)
            })?;
        let listeners = self
            .confine(&program, files, keeper)
            .map_err(sandbox::Fault::into_spawn_error)?;
        child::finish(&mut program);
        keeper::say_ready(self.socket.as_fd(), family, &listeners)
            .map_err(|error| failure(SpawnStage::Prepare, "cannot speak to the shim", &error))?;
        if let Some(filter) = &self.confinement.filter {
            sandbox::install(filter, self.birth.learner)
                .map_err(sandbox::Fault::into_spawn_error)?;
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
        files: Vec<OwnedFd>,
        keeper: &OwnedFd,
    ) -> Result<Vec<OwnedFd>, sandbox::Fault> {
        let namespaces = self.namespaces;
        privileges::become_inside()?;
        rustix::system::sethostname(namespaces.hostname.as_bytes())
            .map_err(sandbox::Fault::of("cannot name the sandbox"))?;
        let sources = if files.is_empty() {
            Sources::open(&namespaces.root)?
        } else {
            Sources::from_files(&namespaces.root, files)?
        };
        sandbox::enter(&namespaces.root, &sources)?;
        drop(sources);
        nix::unistd::chdir(&program.working_dir).map_err(sandbox::Fault::of(format!(
            "the working directory `{}` is not to be seen in the sandbox; put it under `readable`",
            program.working_dir.display()
        )))?;
        privileges::empty_bounding_set();
        privileges::forbid_gain()?;
        if let Some(rules) = &namespaces.rules {
            sandbox::apply(rules)?;
        }
        let listeners = self.enter_network(keeper::await_handover(keeper.as_fd()))?;
        privileges::drop_capabilities()?;
        privileges::limit(self.confinement.limits)?;
        Ok(listeners)
    }

    /// Enters the network that the keeper made; what is left of that are listeners.
    fn enter_network(&self, made: Vec<OwnedFd>) -> Result<Vec<OwnedFd>, sandbox::Fault> {
        let expected = match self.namespaces.network {
            Network::Host => 0,
            Network::Own(ports) => 1 + ports.sockets(),
        };
        if made.len() != expected {
            let lost = io::Error::from_raw_os_error(libc::EMFILE);
            let what = "cannot take over the network of the sandbox";
            return Err(sandbox::Fault::of(what)(lost));
        }
        let mut made = made.into_iter();
        if let Some(own) = made.next() {
            network::join(own.as_fd())?;
        }
        Ok(made.collect())
    }
}

/// What is missing inside may be there outside.
pub(super) fn hint(mut error: SpawnError) -> SpawnError {
    if error.stage == SpawnStage::Exec && error.errno == libc::ENOENT {
        error.detail += ", or is not to be seen in the sandbox; put what it needs under `readable`";
    }
    error
}
