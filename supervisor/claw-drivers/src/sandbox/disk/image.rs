//! Images: made, mended and enlarged under a lock.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::libc;
use rustix::fs::FlockOperation;

use super::Disk;
use super::superblock::{self, State, Superblock};
use crate::sandbox::fault::Fault;

/// Where programs are that root runs.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

const MAKE: &str = "mkfs.ext4";
const CHECK: &str = "e2fsck";
const RESIZE: &str = "resize2fs";

/// What a file system is made of: nothing that a kernel of the last ten years does not know, and
/// no journal, since every write would be one twice.
const FEATURES: &str = "none,64bit,dir_index,dir_nlink,ext_attr,extent,extra_isize,filetype,\
                        flex_bg,huge_file,large_file,metadata_csum,resize_inode,sparse_super";

/// A file takes this many bytes on average; smaller ones run out of inodes before bytes.
const BYTES_PER_INODE: &str = "8192";

/// A file system may be so much smaller than its image, in bytes: groups of blocks that would hold
/// little beside their own tables are left out.
const REST: u64 = 8 << 20;

/// Bit of the exit code of `e2fsck`: something is wrong still.
const UNMENDED: i32 = !0b11;

/// What was there of an image before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    /// Nothing.
    New,
    /// All of it, and nobody uses it.
    Old,
    /// All of it, and others use it.
    Shared,
}

/// An image, open and locked.
#[derive(Debug)]
pub(super) enum Image {
    /// By us, and ready to be attached.
    Free(File, Age),
    /// By somebody who uses it.
    Used(File),
}

impl Image {
    /// Locks the image, and makes it ready if nobody uses it.
    pub(super) fn open(disk: &Disk) -> Result<Self, Fault> {
        let image = &disk.image;
        let broken = |error: io::Error| {
            Fault::of(format!("cannot open the image `{}`", image.display()))(error)
        };
        if let Some(dir) = image.parent() {
            let mut builder = DirBuilder::new();
            builder
                .recursive(true)
                .mode(0o711)
                .create(dir)
                .map_err(broken)?;
        }
        let file = loop {
            let file = open(image).map_err(broken)?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(Self::Used(file)),
                Err(errno) => return Err(broken(errno.into())),
            }
            // The file that was there before may have been replaced meanwhile.
            if is_at(&file, image).map_err(broken)? {
                break file;
            }
        };
        if file.metadata().map_err(broken)?.len() == 0 {
            return Ok(Self::Free(make(disk, &file)?, Age::New));
        }
        mend(disk, &file)?;
        Ok(Self::Free(file, Age::Old))
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    let flags = libc::O_NOFOLLOW | libc::O_CLOEXEC;
    options.read(true).write(true).create(true);
    options.mode(0o600).custom_flags(flags).open(path)
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let (open, there) = (file.metadata()?, path.symlink_metadata());
    Ok(there.is_ok_and(|there| (open.dev(), open.ino()) == (there.dev(), there.ino())))
}

/// Makes an image beside the empty file and puts it in its place: one that is half made is never
/// found.
fn make(disk: &Disk, empty: &File) -> Result<File, Fault> {
    let broken = |error: io::Error| {
        let (image, target) = (disk.image.display(), disk.target.display());
        Fault::of(format!("cannot make the image `{image}` of `{target}`"))(error)
    };
    let fresh = disk.image.with_extension("new");
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(broken(error)),
        Ok(()) | Err(_) => {}
    }
    let file = open(&fresh).map_err(broken)?;
    file.set_len(disk.size).map_err(broken)?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)
        .map_err(|errno| broken(errno.into()))?;
    let (uid, gid) = disk.owner;
    let extended = format!("root_owner={uid}:{gid},lazy_itable_init=0");
    let options = [
        ["-b", "4096"],
        ["-i", BYTES_PER_INODE],
        ["-I", "256"],
        ["-m", "0"],
        ["-L", "openclaw"],
        ["-O", FEATURES],
        ["-E", &extended],
    ];
    let mut command = program(MAKE, empty).map_err(broken)?;
    command.args(["-q", "-F"]).args(options.as_flattened());
    let said = run(command.arg(&fresh)).map_err(broken)?;
    if said.code != 0 {
        std::fs::remove_file(&fresh).ok();
        return Err(broken(said.into_error(MAKE)));
    }
    file.sync_data()
        .and_then(|()| std::fs::rename(&fresh, &disk.image))
        .map_err(broken)?;
    Ok(file)
}

/// Makes an image usable at its size, or says why it cannot be.
fn mend(disk: &Disk, file: &File) -> Result<(), Fault> {
    let image = disk.image.display();
    let broken = |error: io::Error| Fault::of(format!("cannot read the image `{image}`"))(error);
    let superblock = superblock::read(file).map_err(broken)?;
    let Some(superblock) = superblock else {
        let source = io::Error::other(format!(
            "move that file away to begin with an empty directory, or put the right one there for \
             `{}`",
            disk.target.display()
        ));
        let what = format!("`{image}` holds no file system");
        return Err(Fault { what, source });
    };
    let length = file.metadata().map_err(broken)?.len();
    refuse_less(disk, length.max(superblock.size))?;
    if superblock.state == State::Dirty {
        check(disk, file, Thoroughness::AsNeeded)?;
    }
    if length < disk.size || superblock.size.saturating_add(REST) < length {
        enlarge(disk, file)?;
    }
    Ok(())
}

fn refuse_less(disk: &Disk, has: u64) -> Result<(), Fault> {
    if has <= disk.size {
        return Ok(());
    }
    let (path, image) = (disk.target.display(), disk.image.display());
    let source = io::Error::other(format!(
        "it has {has} already, and is never made smaller; write {has} or more, or move `{image}` \
         away to begin with an empty directory",
    ));
    let what = format!("`{path}` cannot have a `size` of {} bytes", disk.size);
    Err(Fault { what, source })
}

/// How much of a file system is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Thoroughness {
    /// All of it, if it was not unmounted as it should be.
    AsNeeded,
    /// All of it.
    Whole,
}

fn check(disk: &Disk, lock: &File, how: Thoroughness) -> Result<(), Fault> {
    let image = &disk.image;
    let broken = |source: io::Error| Fault {
        what: format!("cannot mend the image `{}`", image.display()),
        source,
    };
    let mut command = program(CHECK, lock).map_err(broken)?;
    command.arg("-p");
    match how {
        Thoroughness::AsNeeded => {}
        Thoroughness::Whole => {
            command.arg("-f");
        }
    }
    let said = run(command.arg(image)).map_err(broken)?;
    if said.code & UNMENDED == 0 {
        return Ok(());
    }
    let advice = io::Error::other(format!(
        "{}; run `{CHECK} -y {}`, or move it away to begin with an empty directory",
        said.into_error(CHECK),
        image.display()
    ));
    let what = format!(
        "the image `{}` of `{}` is damaged",
        image.display(),
        disk.target.display()
    );
    Err(Fault {
        what,
        source: advice,
    })
}

/// The tool asks for a whole check before. What is not done when the machine stops is done the
/// next time: the file tells what was wanted.
fn enlarge(disk: &Disk, file: &File) -> Result<(), Fault> {
    let broken = |source: io::Error| Fault {
        what: format!("cannot enlarge the image `{}`", disk.image.display()),
        source,
    };
    check(disk, file, Thoroughness::Whole)?;
    file.set_len(disk.size).map_err(broken)?;
    let mut command = program(RESIZE, file).map_err(broken)?;
    let said = run(command.arg(&disk.image)).map_err(broken)?;
    if said.code != 0 {
        return Err(broken(said.into_error(RESIZE)));
    }
    match superblock::read(file).map_err(broken)? {
        Some(Superblock { size, .. }) if size.saturating_add(REST) >= disk.size => Ok(()),
        Some(_) | None => Err(broken(io::Error::other(format!(
            "{RESIZE} left it as it was"
        )))),
    }
}

/// What a program said, on its way out.
struct Said {
    code: i32,
    text: String,
}

impl Said {
    fn into_error(self, name: &str) -> io::Error {
        let mut lines = self.text.lines().map(str::trim);
        match lines.rfind(|line| !line.is_empty()) {
            Some(line) => io::Error::other(format!("{name} says: {line}")),
            None => io::Error::other(format!("{name} failed with code {}", self.code)),
        }
    }
}

fn run(command: &mut Command) -> io::Result<Said> {
    let output = command.output()?;
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Ok(Said {
        code: output.status.code().unwrap_or(UNMENDED),
        text,
    })
}

/// A program that has the lock for as long as it works, also when this process dies meanwhile.
fn program(name: &str, lock: &File) -> io::Result<Command> {
    let path = find(name).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("there is no `{name}`; install e2fsprogs"),
        )
    })?;
    let mut command = Command::new(path);
    command
        .env_clear()
        .env("PATH", PATH)
        .env("LC_ALL", "C")
        .stdin(Stdio::from(lock.try_clone()?));
    Ok(command)
}

fn find(name: &str) -> Option<PathBuf> {
    let places = PATH.split(':').map(|dir| Path::new(dir).join(name));
    places.into_iter().find(|path| path.is_file())
}

/// Whether all programs are there; the first that is not.
pub(super) fn find_programs() -> Result<(), &'static str> {
    let missing = [MAKE, CHECK, RESIZE]
        .into_iter()
        .find(|name| find(name).is_none());
    match missing {
        Some(name) => Err(name),
        None => Ok(()),
    }
}
