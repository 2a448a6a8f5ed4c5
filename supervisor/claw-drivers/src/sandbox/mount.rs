//! Mounts by descriptor: made apart from any tree, then put where they belong.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};

use nix::libc;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags};

/// Never devices that work, never privileges from a file.
pub(super) const CLOSED: MountAttrFlags =
    MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NODEV);

/// Mounts a file system that is in no tree yet.
pub(super) fn make(
    kind: &str,
    options: &[(&str, &str)],
    attributes: MountAttrFlags,
) -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        rustix::mount::fsconfig_set_string(context.as_fd(), *key, *value)?;
    }
    rustix::mount::fsconfig_create(context.as_fd())?;
    let flags = FsMountFlags::FSMOUNT_CLOEXEC;
    Ok(rustix::mount::fsmount(context.as_fd(), flags, attributes)?)
}

/// A directory in memory of a size in bytes.
pub(super) fn memory(size: u64, mode: &str, attributes: MountAttrFlags) -> io::Result<OwnedFd> {
    // A file takes a page at least, and few are larger than that of a source tree.
    let inodes = (size / 4096).max(64).to_string();
    let options = [
        ("size", &*size.to_string()),
        ("nr_inodes", &*inodes),
        ("mode", mode),
    ];
    make("tmpfs", &options, attributes)
}

/// A copy of what is mounted at a path and below, with these attributes, in no tree yet. The path
/// has no symbolic link in it: whoever may replace a part of it by one leads nowhere.
pub(super) fn copy(source: &Path, attributes: MountAttrFlags) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let place = rustix::fs::openat2(CWD, source, flags, Mode::empty(), resolve)?;
    copy_of(place.as_fd(), attributes)
}

/// The same of what is open.
pub(super) fn copy_of(place: BorrowedFd<'_>, attributes: MountAttrFlags) -> io::Result<OwnedFd> {
    let tree = copy_as_it_is(place)?;
    restrict(tree.as_fd(), attributes)?;
    Ok(tree)
}

/// A copy of what is below `dir` at a name that is no link; `None` if nothing is there.
pub(super) fn copy_in(
    dir: BorrowedFd<'_>,
    name: &str,
    attributes: MountAttrFlags,
) -> io::Result<Option<OwnedFd>> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_SYMLINK_NOFOLLOW
        | OpenTreeFlags::AT_RECURSIVE;
    match rustix::mount::open_tree(dir, name, flags) {
        Ok(tree) => {
            restrict(tree.as_fd(), attributes)?;
            Ok(Some(tree))
        }
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// The same, with the attributes of what it is a copy of.
pub(super) fn copy_as_it_is(place: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    Ok(rustix::mount::open_tree(place, "", flags)?)
}

/// Adds attributes to a mount and all below it, and cuts its ties to the one it is a copy of.
pub(super) fn restrict(tree: BorrowedFd<'_>, attributes: MountAttrFlags) -> io::Result<()> {
    set_attributes(tree, attributes, libc::AT_RECURSIVE)
}

/// The same, of that mount alone.
pub(super) fn restrict_one(tree: BorrowedFd<'_>, attributes: MountAttrFlags) -> io::Result<()> {
    set_attributes(tree, attributes, 0)
}

fn set_attributes(
    tree: BorrowedFd<'_>,
    attributes: MountAttrFlags,
    how: libc::c_int,
) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: u64::from(attributes.bits()),
        attr_clr: 0,
        propagation: libc::MS_PRIVATE,
        userns_fd: 0,
    };
    // SAFETY: the path is an empty, terminated text, and the structure lives across the call,
    // which is told its size and writes nothing to it.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | how,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Puts a mount on what is open.
pub(super) fn attach(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(rustix::mount::move_mount(tree, "", target, "", flags)?)
}

/// Puts a mount on a path below `root`, and makes what of it is missing. Nobody but us may have
/// written to what the path leads through.
pub(super) fn attach_at(
    tree: BorrowedFd<'_>,
    root: BorrowedFd<'_>,
    path: &Path,
    kind: Kind,
) -> io::Result<()> {
    match kind {
        Kind::Dir => make_dir(root, relative(path))?,
        Kind::File | Kind::Closed => drop(in_dirs(root, path, |path| {
            let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
            rustix::fs::openat(root, path, flags, Mode::from_raw_mode(0o444))
        })?),
    }
    attach_on(tree, root, relative(path))
}

/// Puts a mount on a path below `root` that is there, and leads through no link.
pub(super) fn attach_on(tree: BorrowedFd<'_>, root: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    Ok(rustix::mount::move_mount(tree, "", root, path, flags)?)
}

fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

/// Makes something at a path, given as one relative to `root`, and before that the directories
/// above it if they are missing. Most of the time they are not.
pub(super) fn in_dirs<T>(
    root: BorrowedFd<'_>,
    path: &Path,
    make: impl Fn(&Path) -> rustix::io::Result<T>,
) -> io::Result<T> {
    let path = relative(path);
    match make(path) {
        Err(rustix::io::Errno::NOENT) => {
            if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
                make_dir(root, above)?;
            }
            Ok(make(path)?)
        }
        other => Ok(other?),
    }
}

fn make_dir(root: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let mode = Mode::from_raw_mode(0o755);
    in_dirs(root, path, |path| {
        match rustix::fs::mkdirat(root, path, mode) {
            Err(rustix::io::Errno::EXIST) => Ok(()),
            other => other,
        }
    })
}

/// What a place is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Dir,
    File,
    /// A file that nobody can read.
    Closed,
}

/// Opens a path below `root`, whatever is mounted on it, and makes what of it is missing. Symbolic
/// links are not followed: what is below may be another one's to write.
pub(super) fn place(root: BorrowedFd<'_>, path: &Path, kind: Kind) -> io::Result<OwnedFd> {
    if let Some(found) = find(root, path)? {
        return Ok(found);
    }
    let mut at = root.try_clone_to_owned()?;
    let mut names = path
        .components()
        .filter(|part| matches!(part, Component::Normal(_)))
        .peekable();
    while let Some(name) = names.next() {
        let name = Path::new(name.as_os_str());
        let kind = if names.peek().is_some() {
            Kind::Dir
        } else {
            kind
        };
        at = match find(at.as_fd(), name)? {
            Some(found) => found,
            None => make_in(at.as_fd(), name, kind)?,
        };
    }
    Ok(at)
}

fn make_in(dir: BorrowedFd<'_>, name: &Path, kind: Kind) -> io::Result<OwnedFd> {
    match kind {
        Kind::Dir => rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(0o755))?,
        Kind::File | Kind::Closed => {
            let mode = if kind == Kind::File { 0o444 } else { 0 };
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            drop(rustix::fs::openat(
                dir,
                name,
                flags,
                Mode::from_raw_mode(mode),
            )?);
        }
    }
    find(dir, name)?.ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Opens a path below `root`, if it is there.
pub(super) fn find(root: BorrowedFd<'_>, path: &Path) -> io::Result<Option<OwnedFd>> {
    let relative = path.strip_prefix("/").unwrap_or(path);
    let relative = if relative.as_os_str().is_empty() {
        Path::new(".")
    } else {
        relative
    };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    match rustix::fs::openat2(root, relative, flags, Mode::empty(), resolve) {
        Ok(found) => Ok(Some(found)),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}
