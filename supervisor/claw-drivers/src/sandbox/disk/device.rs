//! Loop devices: files as disks.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::libc;

/// Asks for a number that no device has a file for.
const GET_FREE: libc::Ioctl = 0x4c82;

/// Gives a device its file.
const CONFIGURE: libc::Ioctl = 0x4c0a;

/// Says which file a device has.
const GET_STATUS: libc::Ioctl = 0x4c05;

/// The device lets go of its file when the last one that has it open is gone.
const AUTOCLEAR: u32 = 4;

/// Others may take the free device first; as many as start at once.
const ATTEMPTS: u32 = 256;

/// `struct loop_info64` of `linux/loop.h`.
#[repr(C)]
struct Info {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    sizelimit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config` of `linux/loop.h`.
#[repr(C)]
struct Config {
    fd: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

impl Info {
    const fn new(flags: u32) -> Self {
        Self {
            device: 0,
            inode: 0,
            rdevice: 0,
            offset: 0,
            sizelimit: 0,
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags,
            file_name: [0; 64],
            crypt_name: [0; 64],
            encrypt_key: [0; 32],
            init: [0; 2],
        }
    }
}

/// A device with a file. It keeps its file for as long as this is there, or a mount of it.
#[derive(Debug)]
pub(super) struct Device {
    path: PathBuf,
    /// Keeps the device.
    _open: OwnedFd,
}

impl Device {
    /// Gives the file to a device that has none. The call that failed comes with its error.
    pub(super) fn attach(file: &File) -> Result<Self, (&'static str, io::Error)> {
        let control = open(Path::new("/dev/loop-control"))
            .map_err(|error| ("open /dev/loop-control", error))?;
        for _ in 0..ATTEMPTS {
            let number = free(&control).map_err(|error| ("LOOP_CTL_GET_FREE", error))?;
            let path = PathBuf::from(format!("/dev/loop{number}"));
            let device = match open(&path) {
                Ok(device) => device,
                Err(error) if is_taken(&error) => continue,
                Err(error) => return Err(("open /dev/loop", error)),
            };
            match configure(&device, file) {
                Ok(()) => {
                    return Ok(Self {
                        path,
                        _open: device.into(),
                    });
                }
                Err(error) if is_taken(&error) => {}
                Err(error) => return Err(("LOOP_CONFIGURE", error)),
            }
        }
        let busy = io::Error::from_raw_os_error(libc::EAGAIN);
        Err(("LOOP_CTL_GET_FREE", busy))
    }

    /// The device that has the file already.
    pub(super) fn of(file: &File) -> io::Result<Option<Self>> {
        let wanted = file.metadata()?;
        for entry in std::fs::read_dir("/sys/block")? {
            let name = entry?.file_name();
            let is_loop = name.to_str().is_some_and(|name| name.starts_with("loop"));
            if !is_loop || !Path::new("/sys/block").join(&name).join("loop").exists() {
                continue;
            }
            let path = Path::new("/dev").join(&name);
            // From here on it keeps its file, if that is the one.
            let Ok(device) = open(&path) else { continue };
            let found = status(&device).ok();
            if found.is_some_and(|of| (of.device, of.inode) == (wanted.dev(), wanted.ino())) {
                return Ok(Some(Self {
                    path,
                    _open: device.into(),
                }));
            }
        }
        Ok(None)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

fn open(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).open(path)
}

/// Whether somebody else took the device, or is about to let go of it.
fn is_taken(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBUSY | libc::ENXIO))
}

fn free(control: &File) -> io::Result<i32> {
    // SAFETY: the descriptor is open, and the request takes no argument.
    let number = unsafe { libc::ioctl(control.as_raw_fd(), GET_FREE) };
    if number >= 0 {
        Ok(number)
    } else {
        Err(io::Error::last_os_error())
    }
}

fn configure(device: &File, file: &File) -> io::Result<()> {
    let config = Config {
        fd: file.as_raw_fd().cast_unsigned(),
        block_size: 0,
        info: Info::new(AUTOCLEAR),
        reserved: [0; 8],
    };
    // SAFETY: both descriptors are open, and the structure, which is the kernel's, outlives the
    // call, which only reads it.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), CONFIGURE, &raw const config) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn status(device: &File) -> io::Result<Info> {
    let mut info = Info::new(0);
    // SAFETY: the descriptor is open, and the structure, which is the kernel's and valid whatever
    // is written to it, outlives the call.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), GET_STATUS, &raw mut info) };
    if result == 0 {
        Ok(info)
    } else {
        Err(io::Error::last_os_error())
    }
}
