//! What an image says of the file system in it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Where it begins, and how much of it is of interest here; both in bytes.
const OFFSET: u64 = 1024;
const LENGTH: usize = 1024;

/// What the kernel and its tools know a superblock of ext2, ext3 and ext4 by.
const MAGIC: u16 = 0xef53;

/// The bit of the state of a file system that was unmounted as it should be.
const CLEAN: u16 = 1;

/// The bit of the state of one in which the kernel met an error.
const HAS_ERRORS: u16 = 2;

/// The bit of the features that makes numbers of blocks 64 bits long.
const HAS_LONG_NUMBERS: u32 = 0x80;

/// The largest block is of 64 KiB.
const LARGEST_SHIFT: u32 = 6;

/// A file system, as its first block describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Superblock {
    /// In bytes.
    pub(super) size: u64,
    pub(super) state: State,
}

/// How a file system was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Clean,
    /// It was in use when the machine stopped, or has errors.
    Dirty,
}

/// Reads it; `None` if there is no file system of that kind.
pub(super) fn read(image: &File) -> io::Result<Option<Superblock>> {
    let mut block = [0; LENGTH];
    match image.read_exact_at(&mut block, OFFSET) {
        Ok(()) => Ok(parse(&block)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

fn parse(block: &[u8; LENGTH]) -> Option<Superblock> {
    let short = |at: usize| u16::from_le_bytes([block[at], block[at + 1]]);
    let long = |at: usize| u32::from(short(at)) | u32::from(short(at + 2)) << 16;
    let shift = long(24);
    if short(56) != MAGIC || shift > LARGEST_SHIFT {
        return None;
    }
    let high = if long(96) & HAS_LONG_NUMBERS == 0 {
        0
    } else {
        long(336)
    };
    let blocks = u64::from(high) << 32 | u64::from(long(4));
    Some(Superblock {
        size: blocks.checked_mul(1024 << shift)?,
        state: if short(58) & (CLEAN | HAS_ERRORS) == CLEAN {
            State::Clean
        } else {
            State::Dirty
        },
    })
}
