//! A root directory with what an agent may see and nothing else.
//!
//! It is made of mounts that are put into a small directory in memory, which then takes the place
//! of the host's root and is closed for writing. Everything is at its own path.

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use claw_core::spec::sandbox::Proc;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::mount::{MountAttrFlags, OpenTreeFlags, UnmountFlags};

use super::confinement::{Access, Bind, Exec, Memory, RootDir};
use super::disk;
use super::fault::Fault;
use super::mount::{self, CLOSED, Kind};

/// The size of the root directory itself, in bytes: it holds some links and small files.
const ROOT_SIZE: u64 = 4 << 20;

/// The size of what covers a hidden folder, in bytes: it holds places for what is seen below it.
const COVER_SIZE: u64 = 256 << 10;

/// Files of `/proc` that tell of the machine or act on it, and are for no agent.
const MASKED: [&str; 14] = [
    "cmdline",
    "config.gz",
    "kallsyms",
    "kcore",
    "key-users",
    "keys",
    "kmsg",
    "latency_stats",
    "modules",
    "sched_debug",
    "sysrq-trigger",
    "timer_list",
    "vmallocinfo",
    "interrupts",
];

/// Folders of `/proc` of that kind.
const MASKED_DIRS: [&str; 3] = ["acpi", "scsi", "dynamic_debug"];

/// Folders of `/proc` that are read at most.
const READ_ONLY: [&str; 4] = ["sys", "bus", "fs", "irq"];

/// Where a process finds nothing.
const EMPTY_FILE: &str = "dev/.masked";
const EMPTY_DIR: &str = "dev/.masked.d";

/// A file that nobody can read, in the place of one that is hidden.
const HIDDEN_FILE: &str = "dev/.hidden";

/// What of the host is put into a root directory, ready to be put there.
#[derive(Debug)]
pub(crate) struct Sources(Vec<Option<OwnedFd>>);

impl Sources {
    /// Copies the mounts of the host's files. Who may see them all does it: root does so outside,
    /// another user in the namespaces, where alone mounts can be made.
    pub(crate) fn open(root: &RootDir) -> Result<Self, Fault> {
        let opened = root.binds.iter().map(|bind| match bind.access {
            Access::Hide => Ok(None),
            Access::Read | Access::Write | Access::Use => {
                match root.disks.iter().find(|disk| disk.target == bind.target) {
                    Some(disk) => disk::open(disk, attributes(bind)).map(Some),
                    None => mount::copy(&bind.source, attributes(bind))
                        .map(Some)
                        .map_err(|error| unopened(bind, error)),
                }
            }
        });
        opened.collect::<Result<_, _>>().map(Self)
    }

    /// The files, in order, for who makes the root directory of them.
    pub(crate) fn files(&self) -> Vec<BorrowedFd<'_>> {
        self.0.iter().flatten().map(AsFd::as_fd).collect()
    }

    /// Takes [`Self::files`] from where they were sent.
    pub(crate) fn from_files(root: &RootDir, files: Vec<OwnedFd>) -> Result<Self, Fault> {
        let mut files = files.into_iter();
        let opened = root.binds.iter().map(|bind| match bind.access {
            Access::Hide => Ok(None),
            Access::Read | Access::Write | Access::Use => {
                let lost = || std::io::Error::from_raw_os_error(nix::libc::EMFILE);
                files.next().map(Some).ok_or_else(lost)
            }
        });
        let opened = opened.collect::<Result<_, _>>();
        opened.map(Self).map_err(Fault::of(
            "cannot take over the files that the sandbox shows",
        ))
    }
}

fn unopened(bind: &Bind, error: std::io::Error) -> Fault {
    let path = bind.target.display();
    let what = match error.raw_os_error() {
        Some(nix::libc::ENOENT) => {
            format!("`{path}` is to be seen in the sandbox, and is not there")
        }
        Some(nix::libc::ELOOP) => {
            format!("`{path}` leads through a symbolic link that came while it was opened")
        }
        Some(_) | None => format!("cannot open `{path}` for the sandbox"),
    };
    Fault::of(what)(error)
}

fn attributes(bind: &Bind) -> MountAttrFlags {
    let mut attributes = match bind.access {
        Access::Read => CLOSED | MountAttrFlags::MOUNT_ATTR_RDONLY,
        Access::Write => CLOSED,
        Access::Use => MountAttrFlags::MOUNT_ATTR_NOSUID,
        Access::Hide => CLOSED | MountAttrFlags::MOUNT_ATTR_RDONLY,
    };
    if bind.exec == Exec::Denied {
        attributes |= MountAttrFlags::MOUNT_ATTR_NOEXEC;
    }
    attributes
}

/// Makes the root directory and enters it; nothing of the host's is left to be seen.
pub(crate) fn enter(root: &RootDir, sources: &Sources) -> Result<(), Fault> {
    let base = mount::memory(ROOT_SIZE, "755", CLOSED)
        .map_err(Fault::of("cannot make the root directory of the sandbox"))?;
    attach_base(base.as_fd())?;
    memories(base.as_fd(), root)?;
    furnish(base.as_fd(), root)?;
    let mut covers = Vec::new();
    for (bind, source) in root.binds.iter().zip(&sources.0) {
        match source {
            Some(source) => put(base.as_fd(), (bind, ground(root, bind)), source.as_fd())?,
            None => covers.extend(cover(base.as_fd(), bind)?),
        }
    }
    for cover in covers {
        mount::restrict_one(cover.as_fd(), attributes_of_cover())
            .map_err(Fault::of("cannot close what is hidden in the sandbox"))?;
    }
    proc(base.as_fd(), root.proc)?;
    rustix::process::fchdir(&base)
        .and_then(|()| rustix::process::pivot_root(".", "."))
        .and_then(|()| rustix::mount::unmount(".", UnmountFlags::DETACH))
        .and_then(|()| rustix::process::chdir("/"))
        .map_err(Fault::of("cannot enter the root directory of the sandbox"))?;
    close(base.as_fd()).map_err(Fault::of("cannot close the root directory of the sandbox"))
}

/// A mount has to be in the tree for others to be put into it, and for it to become the root. It
/// is of no matter where, since that place goes with all others.
fn attach_base(base: BorrowedFd<'_>) -> Result<(), Fault> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let root = rustix::fs::open("/", flags, Mode::empty())
        .map_err(Fault::of("cannot open the root directory"))?;
    mount::attach(base, root.as_fd())
        .map_err(Fault::of("cannot mount the root directory of the sandbox"))
}

/// The root itself is closed for writing; what is mounted in it stays as it is.
fn close(base: BorrowedFd<'_>) -> std::io::Result<()> {
    mount::restrict_one(base, CLOSED | MountAttrFlags::MOUNT_ATTR_RDONLY)
}

/// Links, files and folders of our own.
fn furnish(base: BorrowedFd<'_>, root: &RootDir) -> Result<(), Fault> {
    for (path, text) in &root.files {
        write(base, path, text).map_err(Fault::of(format!("cannot make {}", path.display())))?;
    }
    for (path, target) in &root.links {
        link(base, path, target).map_err(Fault::of(format!("cannot make {}", path.display())))?;
    }
    Ok(())
}

fn write(base: BorrowedFd<'_>, path: &Path, text: &str) -> std::io::Result<()> {
    let file = mount::in_dirs(base, path, |path| {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        rustix::fs::openat(base, path, flags, Mode::from_raw_mode(0o644))
    })?;
    std::fs::File::from(file).write_all(text.as_bytes())
}

/// One that is there already is as good.
fn link(base: BorrowedFd<'_>, path: &Path, target: &Path) -> std::io::Result<()> {
    mount::in_dirs(base, path, |path| {
        match rustix::fs::symlinkat(target, base, path) {
            Err(rustix::io::Errno::EXIST) => Ok(()),
            other => other,
        }
    })
}

fn memories(base: BorrowedFd<'_>, root: &RootDir) -> Result<(), Fault> {
    for (path, memory) in [("tmp", root.tmp), ("dev/shm", root.shm)] {
        mount_memory(base, Path::new(path), memory)
            .map_err(Fault::of(format!("cannot mount /{path}")))?;
    }
    let made = mount::find(base, Path::new("tmp")).and_then(|tmp| {
        let tmp = tmp.ok_or(std::io::ErrorKind::NotFound)?;
        Ok(rustix::fs::mkdirat(
            &tmp,
            "home",
            Mode::from_raw_mode(0o700),
        )?)
    });
    made.map_err(Fault::of("cannot make the home directory"))
}

fn mount_memory(base: BorrowedFd<'_>, path: &Path, memory: Memory) -> std::io::Result<()> {
    let attributes = match memory.exec {
        Exec::Allowed => CLOSED,
        Exec::Denied => CLOSED | MountAttrFlags::MOUNT_ATTR_NOEXEC,
    };
    let tree = mount::memory(memory.size, "1777", attributes)?;
    mount::attach_at(tree.as_fd(), base, path, Kind::Dir)
}

/// Who made what a bind is put on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ground {
    /// We did: there are no links on the way but our own.
    Own,
    /// It is in something of the host's, or where agents write.
    Foreign,
}

fn ground(root: &RootDir, bind: &Bind) -> Ground {
    let target = &bind.target;
    let below = |above: &Path| target != above && target.starts_with(above);
    let in_another = root.binds.iter().any(|other| below(&other.target));
    if in_another || below(Path::new("/tmp")) || below(Path::new("/dev/shm")) {
        Ground::Foreign
    } else {
        Ground::Own
    }
}

fn put(
    base: BorrowedFd<'_>,
    (bind, ground): (&Bind, Ground),
    source: BorrowedFd<'_>,
) -> Result<(), Fault> {
    let kind = match rustix::fs::fstat(source) {
        Ok(found) if found.st_mode & nix::libc::S_IFMT == nix::libc::S_IFDIR => Kind::Dir,
        Ok(_) | Err(_) => Kind::File,
    };
    let put = match ground {
        Ground::Own => mount::attach_at(source, base, &bind.target, kind),
        Ground::Foreign => mount::place(base, &bind.target, kind)
            .and_then(|target| mount::attach(source, target.as_fd())),
    };
    put.map_err(Fault::of(format!(
        "cannot put `{}` into the sandbox",
        bind.target.display()
    )))
}

const fn attributes_of_cover() -> MountAttrFlags {
    CLOSED
        .union(MountAttrFlags::MOUNT_ATTR_RDONLY)
        .union(MountAttrFlags::MOUNT_ATTR_NOEXEC)
}

/// Puts something empty in the place of what is hidden; a folder is given back, to be closed once
/// everything below it is there.
fn cover(base: BorrowedFd<'_>, bind: &Bind) -> Result<Option<OwnedFd>, Fault> {
    let attempt = || -> std::io::Result<Option<OwnedFd>> {
        let Some(target) = mount::find(base, &bind.target)? else {
            return Ok(None);
        };
        if rustix::fs::fstat(&target)?.st_mode & nix::libc::S_IFMT == nix::libc::S_IFDIR {
            let tree = mount::memory(COVER_SIZE, "111", CLOSED)?;
            mount::attach(tree.as_fd(), target.as_fd())?;
            return Ok(Some(tree));
        }
        let closed = mount::place(base, Path::new(HIDDEN_FILE), Kind::Closed)?;
        let closed = mount::copy_of(closed.as_fd(), attributes_of_cover())?;
        mount::attach(closed.as_fd(), target.as_fd())?;
        Ok(None)
    };
    attempt().map_err(|error| {
        let hidden = bind.target.display();
        let what = match bind.target.parent() {
            Some(folder) if error.kind() == std::io::ErrorKind::PermissionDenied => format!(
                "cannot hide `{hidden}` from the sandbox, whose user may not enter `{}`: use a \
                 folder that others may enter (mode 0755), or name a `user` who may enter this one",
                folder.display()
            ),
            Some(_) | None => format!("cannot hide `{hidden}` from the sandbox"),
        };
        Fault::of(what)(error)
    })
}

fn proc(base: BorrowedFd<'_>, which: Proc) -> Result<(), Fault> {
    let options: &[(&str, &str)] = match which {
        Proc::Masked => &[("hidepid", "ptraceable")],
        Proc::Minimal => &[("hidepid", "ptraceable"), ("subset", "pid")],
    };
    let attributes = CLOSED | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let mounted = mount::make("proc", options, attributes).and_then(|tree| {
        mount::attach_at(tree.as_fd(), base, Path::new("proc"), Kind::Dir)?;
        Ok(tree)
    });
    let tree = mounted.map_err(Fault::of("cannot mount /proc"))?;
    match which {
        Proc::Masked => mask(base, tree.as_fd()).map_err(Fault::of("cannot mask /proc")),
        Proc::Minimal => Ok(()),
    }
}

/// Puts something empty on what is not for agents. What the agent's user may not touch by its mode
/// is left as it is.
fn mask(base: BorrowedFd<'_>, proc: BorrowedFd<'_>) -> std::io::Result<()> {
    let file = mount::place(base, Path::new(EMPTY_FILE), Kind::File)?;
    let dir = mount::place(base, Path::new(EMPTY_DIR), Kind::Dir)?;
    let shut = CLOSED | MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let covers = MASKED
        .iter()
        .map(|name| (name, &file))
        .chain(MASKED_DIRS.iter().map(|name| (name, &dir)));
    for (name, cover) in covers {
        let mode = match rustix::fs::statat(proc, *name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => found.st_mode,
            Err(rustix::io::Errno::NOENT) => continue,
            Err(errno) => return Err(errno.into()),
        };
        if mode & 0o007 != 0 {
            // Nothing but a file of the root directory's own, which is for this alone.
            let cover = mount::copy_as_it_is(cover.as_fd())?;
            mount::attach_on(cover.as_fd(), proc, Path::new(name))?;
        }
    }
    for name in READ_ONLY {
        if let Some(copy) = mount::copy_in(proc, name, shut)? {
            mount::attach_on(copy.as_fd(), proc, Path::new(name))?;
        }
    }
    Ok(())
}

/// Whether the calls are there of which a root directory is made: a copy of a mount, changed.
pub(crate) fn try_mounts() -> Result<(), (&'static str, std::io::Error)> {
    let base = mount::memory(ROOT_SIZE, "755", CLOSED).map_err(|error| ("fsopen", error))?;
    attach_base(base.as_fd()).map_err(|fault| ("move_mount", fault.source))?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let copy = rustix::mount::open_tree(CWD, "/usr", flags | OpenTreeFlags::AT_RECURSIVE)
        .map_err(|errno| ("open_tree", errno.into()))?;
    mount::restrict(copy.as_fd(), CLOSED).map_err(|error| ("mount_setattr", error))?;
    let target = mount::place(base.as_fd(), Path::new("usr"), Kind::Dir);
    target
        .and_then(|target| mount::attach(copy.as_fd(), target.as_fd()))
        .map_err(|error| ("move_mount", error))?;
    rustix::process::fchdir(&base)
        .and_then(|()| rustix::process::pivot_root(".", "."))
        .map_err(|errno| ("pivot_root", errno.into()))
}

/// Whether a `/proc` of this process's own can be mounted.
pub(crate) fn try_proc() -> std::io::Result<()> {
    mount::make("proc", &[("hidepid", "ptraceable")], CLOSED).map(drop)
}
