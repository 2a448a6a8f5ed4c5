//! What a shim sets up before there is an agent.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, lchown};
use std::path::Path;

use claw_core::{SpawnError, SpawnStage};
use claw_failpoint::Step;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::child::{cgroup_failure, failure};
use super::farewell::remove_group;
use super::notify::Notify;
use super::output::{self, Output, ReadEnds, WriteEnds};
use crate::process::record::{EXIT, InstanceDir, Lock, RUN, SHIM_SOCKET};
use crate::process::wire::ShimTask;

/// Supervisors that connect in the same moment wait here; there is one, or at most its successor.
const BACKLOG: i32 = 4;

/// Directories are passable, not readable: the agent's user reaches its sockets by name.
const DIR_MODE: u32 = 0o711;

/// What a shim holds for as long as it lives.
#[derive(Debug)]
pub(super) struct Holdings {
    pub(super) dir: InstanceDir,
    #[expect(dead_code, reason = "the lock is held, not used")]
    lock: Lock,
    pub(super) listener: OwnedFd,
    pub(super) notify: Notify,
    pub(super) output: Output,
    pub(super) signals: SignalFd,
}

/// What there is before the agent: all that a shim holds but the log, which is opened while the
/// agent starts.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) dir: InstanceDir,
    lock: Lock,
    listener: OwnedFd,
    notify: Notify,
    pipes: ReadEnds,
    signals: SignalFd,
}

impl Prepared {
    /// Opens the log.
    pub(super) fn complete(self, task: &ShimTask) -> Holdings {
        Holdings {
            output: Output::open(task, self.pipes),
            dir: self.dir,
            lock: self.lock,
            listener: self.listener,
            notify: self.notify,
            signals: self.signals,
        }
    }
}

/// Sets everything up but the agent itself.
pub(super) fn prepare(
    task: &ShimTask,
    supervisor: &OwnedFd,
) -> Result<(Prepared, WriteEnds), SpawnError> {
    let broken = |what: &str| {
        let what = format!("cannot {what} for `{}`", task.instance);
        move |error: io::Error| failure(SpawnStage::Prepare, &what, &error)
    };
    become_session().map_err(broken("set up the shim"))?;
    let dir = open_dir(&task.dir).map_err(broken("make the run directory"))?;
    claw_failpoint::before(Step::Lock);
    let lock = dir.lock().map_err(broken("take the lock"))?;
    claw_failpoint::after(Step::Lock);
    check(task, &dir, &lock, supervisor)?;
    for path in &task.data_dirs {
        make_data_dir(path, task)?;
    }
    let listener = listen(&dir).map_err(broken("make the shim's socket"))?;
    let notify = Notify::bind(&dir, &task.notify).map_err(broken("make the notify socket"))?;
    let (pipes, ends) = output::pipes().map_err(broken("make the pipes"))?;
    let signals = watch_children().map_err(broken("watch children"))?;
    task.group.create().map_err(|error| {
        remove_group(&task.group);
        cgroup_failure(&error)
    })?;
    let prepared = Prepared {
        dir,
        lock,
        listener,
        notify,
        pipes,
        signals,
    };
    Ok((prepared, ends))
}

/// Leaves the spawner's session, takes over its orphans, and gets a name of its own.
pub(super) fn become_session() -> io::Result<()> {
    rustix::process::setsid()?;
    nix::sys::prctl::set_child_subreaper(true)?;
    nix::sys::prctl::set_name(c"claw-shim")?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    Ok(())
}

/// SIGCHLD as something to poll; it is blocked since the spawner.
pub(super) fn watch_children() -> io::Result<SignalFd> {
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    mask.thread_set_mask()?;
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    Ok(SignalFd::with_flags(&mask, flags)?)
}

fn open_dir(path: &Path) -> io::Result<InstanceDir> {
    match InstanceDir::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new()
                .recursive(true)
                .mode(DIR_MODE)
                .create(path)?;
            InstanceDir::open(path)
        }
        other => other,
    }
}

/// One generation is started at most once, and only for a supervisor that is there to know.
fn check(
    task: &ShimTask,
    dir: &InstanceDir,
    lock: &Lock,
    supervisor: &OwnedFd,
) -> Result<(), SpawnError> {
    let refuse = |why: &str| {
        Err(SpawnError {
            stage: SpawnStage::Prepare,
            errno: 0,
            detail: format!("`{}` was not started: {why}", task.instance),
        })
    };
    if dir.has(RUN) || dir.has(EXIT) {
        return refuse("this generation has run already");
    }
    if matches!(lock, Lock::Held) {
        return refuse("another shim holds its lock");
    }
    let mut polled = [PollFd::new(supervisor, PollFlags::empty())];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let gone = rustix::event::poll(&mut polled, Some(&now)).is_ok()
        && polled[0].revents().contains(PollFlags::HUP);
    if gone {
        return refuse("the supervisor is gone");
    }
    Ok(())
}

/// A directory that is there already keeps its owner and mode: it is the user's.
fn make_data_dir(path: &Path, task: &ShimTask) -> Result<(), SpawnError> {
    let broken = |error: io::Error| {
        let what = format!("cannot make the data directory {}", path.display());
        failure(SpawnStage::Prepare, &what, &error)
    };
    if let Some(link) = planted(path, task) {
        return Err(SpawnError {
            stage: SpawnStage::Sandbox,
            errno: nix::libc::ELOOP,
            detail: format!(
                "the data directory {} leads through the symbolic link {}, which `{}` may have \
                 made; remove it, or name what it leads to in `data_dirs`",
                path.display(),
                link.display(),
                task.instance.agent,
            ),
        });
    }
    if let Ok(found) = path.metadata()
        && found.is_dir()
    {
        return match (&task.confinement, task.owner) {
            (Some(_), Some(owner)) => give(path, &found, owner, task),
            (None, _) | (Some(_), None) => Ok(()),
        };
    }
    let make = || {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        DirBuilder::new().mode(0o750).create(path)?;
        match task.owner {
            Some((uid, gid)) => lchown(path, Some(uid), Some(gid)),
            None => Ok(()),
        }
    };
    make().map_err(broken)
}

/// A link on the way that the agent may have made: it lies in a directory of the agent's user, who
/// is not us, or, of one in a sandbox, in another directory that it is given.
fn planted<'a>(path: &'a Path, task: &ShimTask) -> Option<&'a Path> {
    let own = rustix::process::geteuid().as_raw();
    let foreign = task.owner.map(|(uid, _)| uid).filter(|uid| *uid != own);
    let is_link = |path: &Path| path.symlink_metadata().is_ok_and(|it| it.is_symlink());
    let theirs = |dir: &Path| {
        foreign.is_some_and(|uid| dir.metadata().is_ok_and(|it| it.uid() == uid))
            || task.confinement.is_some() && task.data_dirs.iter().any(|it| dir.starts_with(it))
    };
    let mut ways = path.ancestors();
    ways.find(|way| is_link(way) && way.parent().is_some_and(theirs))
}

/// A directory of ours goes to the agent's own user, which the fleet file could not name. Another
/// one has to be the agent's to write already.
fn give(
    path: &Path,
    found: &fs::Metadata,
    (uid, gid): (u32, u32),
    task: &ShimTask,
) -> Result<(), SpawnError> {
    let mode = found.mode();
    let writes =
        found.uid() == uid || (found.gid() == gid && mode & 0o020 != 0) || mode & 0o002 != 0;
    if writes {
        return Ok(());
    }
    if path.starts_with(&task.own_dir) {
        return chown_all(path, uid, gid).map_err(|error| {
            let what = format!("cannot give the data directory {} to {uid}", path.display());
            failure(SpawnStage::Prepare, &what, &error)
        });
    }
    Err(SpawnError {
        stage: SpawnStage::Sandbox,
        errno: nix::libc::EACCES,
        detail: format!(
            "the data directory {} belongs to user {}, and `{}` runs as {uid} in its sandbox; run \
             `chown -R {uid}:{gid} {}`, write it below {}, or name a `user`",
            path.display(),
            found.uid(),
            task.instance.agent,
            path.display(),
            task.own_dir.display(),
        ),
    })
}

/// Links are given away, and not what they lead to.
fn chown_all(path: &Path, uid: u32, gid: u32) -> io::Result<()> {
    if path.symlink_metadata()?.is_dir() {
        for entry in fs::read_dir(path)? {
            chown_all(&entry?.path(), uid, gid)?;
        }
    }
    lchown(path, Some(uid), Some(gid))
}

fn listen(dir: &InstanceDir) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    dir.remove(SHIM_SOCKET);
    let path = dir.short_path(SHIM_SOCKET);
    // The mode is that of the umask until the next line; nobody is accepted who is not us anyway.
    rustix::net::bind(&socket, &SocketAddrUnix::new(path.as_str())?)?;
    rustix::fs::chmod(
        path.as_str(),
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
    )?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}
