//! Directories of a fixed size: each a file system of its own, in a file of the supervisor's.
//!
//! ```text
//!  <data_dir>/agents/<agent>/disks/work-<hash>.ext4 ──► a loop device ──► a mount in no tree
//!                                                                             │ put into
//!                                                          the sandbox, at the directory's path
//! ```
//!
//! Nothing of it is mounted on the host: the mount lives as long as a sandbox that has it, and the
//! device as long as the mount. The lock on the image lives as long as the device, since the
//! device has the file that is locked; so nobody checks or enlarges what is in use.

mod device;
mod image;
mod superblock;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use nix::libc;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use serde::{Deserialize, Serialize};

use super::fault::Fault;
use super::mount::{self, Kind};
use crate::process::pause;
use device::Device;
use image::{Age, Image};

/// The kind of the file systems.
const KIND: &str = "ext4";

/// What an image is looked for again after, and how often: one that is in use and on no device is
/// being checked, or on its way out.
const LOOK_AGAIN: Duration = Duration::from_millis(25);
const LOOKS: u32 = 200;

/// A directory of a fixed size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Disk {
    /// Where it is, outside and inside; without a symbolic link in it.
    pub(crate) target: PathBuf,
    /// The file that holds it.
    pub(crate) image: PathBuf,
    /// In bytes; what the file system itself takes is part of it.
    pub(crate) size: u64,
    /// The user and group of the host that it belongs to.
    pub(crate) owner: (u32, u32),
}

impl Disk {
    /// One whose image lies in `disks`.
    pub(super) fn new(target: &Path, disks: &Path, size: u64, owner: (u32, u32)) -> Self {
        Self {
            target: target.to_owned(),
            image: disks.join(file_name(target, disks)),
            size,
            owner,
        }
    }
}

/// The name of an image. It depends on where the directory is as seen from the images: a project
/// that is moved as a whole keeps its own.
fn file_name(target: &Path, disks: &Path) -> String {
    let common = target
        .components()
        .zip(disks.components())
        .take_while(|(one, other)| one == other)
        .count();
    let up = disks
        .components()
        .skip(common)
        .map(|_| Component::ParentDir);
    let way: PathBuf = up.chain(target.components().skip(common)).collect();
    let hash = crate::process::hash(way.as_os_str().as_encoded_bytes());
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let plain = |letter: &char| letter.is_ascii_alphanumeric() || "._-".contains(*letter);
    let name: String = name.chars().filter(plain).take(64).collect();
    format!("{name}-{hash:016x}.{KIND}")
}

/// Mounts a directory, in no tree yet; makes, mends and enlarges its image before, as is needed.
/// For root, in the namespaces of the host.
pub(super) fn open(disk: &Disk, attributes: MountAttrFlags) -> Result<OwnedFd, Fault> {
    make_target(disk)?;
    let (device, age) = find_device(disk)?;
    let tree = mount_device(&device, attributes).map_err(Fault::of(format!(
        "cannot mount the image `{}` of `{}`",
        disk.image.display(),
        disk.target.display()
    )))?;
    hand_over(tree.as_fd(), disk, age).map_err(Fault::of(format!(
        "cannot give `{}` to its agent",
        disk.target.display()
    )))?;
    Ok(tree)
}

/// What is to be mounted on. Without an image it holds nothing, since that would be hidden.
fn make_target(disk: &Disk) -> Result<(), Fault> {
    let path = disk.target.display();
    let failed = |error: io::Error| Fault::of(format!("cannot make the directory `{path}`"))(error);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open("/", flags, Mode::empty()).map_err(|errno| failed(errno.into()))?;
    let Some(found) = mount::find(root.as_fd(), &disk.target).map_err(failed)? else {
        let made = mount::place(root.as_fd(), &disk.target, Kind::Dir).map_err(failed)?;
        return give(made.as_fd(), disk.owner).map_err(failed);
    };
    let has_image = disk.image.metadata().is_ok_and(|image| image.len() > 0);
    if has_image || is_empty(found.as_fd()).map_err(failed)? {
        return Ok(());
    }
    let source = io::Error::other(
        "it holds files, and a directory with a `size` is a file system of its own, which begins \
         empty and covers them; move them away and copy them in from inside, name another \
         directory, or remove the `size`",
    );
    Err(Fault {
        what: format!("`{path}` cannot be limited to its `size`"),
        source,
    })
}

fn is_empty(dir: BorrowedFd<'_>) -> io::Result<bool> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(dir, ".", flags, Mode::empty())?;
    for entry in rustix::fs::Dir::new(opened)? {
        if ![&b"."[..], b".."].contains(&entry?.file_name().to_bytes()) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The device that has the image: a new one, or that of another sandbox of the same agent.
fn find_device(disk: &Disk) -> Result<(Device, Age), Fault> {
    let image = &disk.image;
    let broken =
        |error: io::Error| Fault::of(format!("cannot use the image `{}`", image.display()))(error);
    for _ in 0..LOOKS {
        match Image::open(disk)? {
            Image::Free(file, age) => {
                let device = Device::attach(&file).map_err(|(call, source)| {
                    let what = format!("cannot attach `{}` ({call})", image.display());
                    Fault { what, source }
                })?;
                return Ok((device, age));
            }
            Image::Used(file) => {
                if let Some(device) = Device::of(&file).map_err(broken)? {
                    return Ok((device, Age::Shared));
                }
                pause(LOOK_AGAIN);
            }
        }
    }
    Err(broken(io::Error::from_raw_os_error(libc::EAGAIN)))
}

fn mount_device(device: &Device, attributes: MountAttrFlags) -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen(KIND, FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(context.as_fd(), "source", device.path())?;
    rustix::mount::fsconfig_set_string(context.as_fd(), "errors", "remount-ro")?;
    // What is deleted inside is given back to the host.
    rustix::mount::fsconfig_set_flag(context.as_fd(), "discard")?;
    rustix::mount::fsconfig_create(context.as_fd())?;
    let flags = FsMountFlags::FSMOUNT_CLOEXEC;
    Ok(rustix::mount::fsmount(context.as_fd(), flags, attributes)?)
}

/// Everything in it belongs to the agent, also after its user has changed.
fn hand_over(tree: BorrowedFd<'_>, disk: &Disk, age: Age) -> io::Result<()> {
    match age {
        // Somebody writes to it, and could lead us elsewhere meanwhile.
        Age::Shared => return Ok(()),
        Age::New => {
            // Programs expect a new directory to be empty; a check makes it again if it needs it.
            rustix::fs::unlinkat(tree, "lost+found", AtFlags::REMOVEDIR)?;
            rustix::fs::chmodat(tree, ".", Mode::from_raw_mode(0o750), AtFlags::empty())?;
        }
        Age::Old => {}
    }
    let root = rustix::fs::fstat(tree)?;
    if (root.st_uid, root.st_gid) == disk.owner {
        return Ok(());
    }
    let path = PathBuf::from(format!("/proc/self/fd/{}/.", tree.as_raw_fd()));
    give_all(&path, disk.owner)
}

/// Links are given away, and not what they lead to.
fn give_all(path: &Path, owner: (u32, u32)) -> io::Result<()> {
    if path.symlink_metadata()?.is_dir() {
        for entry in std::fs::read_dir(path)? {
            give_all(&entry?.path(), owner)?;
        }
    }
    std::os::unix::fs::lchown(path, Some(owner.0), Some(owner.1))
}

fn give(dir: BorrowedFd<'_>, (uid, gid): (u32, u32)) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    let flags = AtFlags::EMPTY_PATH;
    Ok(rustix::fs::chownat(dir, "", Some(uid), Some(gid), flags)?)
}

/// Whether such directories can be made here: the programs, the devices and the file system. What
/// fails is told by its call and error number.
pub(crate) fn attempt() -> Result<(), (String, i32)> {
    let failed =
        |call: &str, error: &io::Error| (call.to_owned(), error.raw_os_error().unwrap_or(0));
    if !rustix::process::geteuid().is_root() {
        return Err(("mount of an image".to_owned(), libc::EPERM));
    }
    image::find_programs().map_err(|missing| (missing.to_owned(), libc::ENOENT))?;
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    let memory = rustix::fs::memfd_create("claw-trial", flags)
        .map_err(|errno| failed("memfd_create", &errno.into()))?;
    let memory = std::fs::File::from(memory);
    memory
        .set_len(1 << 20)
        .map_err(|error| failed("ftruncate", &error))?;
    Device::attach(&memory).map_err(|(call, error)| failed(call, &error))?;
    rustix::mount::fsopen(KIND, FsOpenFlags::FSOPEN_CLOEXEC)
        .map(drop)
        .map_err(|errno| failed("fsopen", &errno.into()))
}
