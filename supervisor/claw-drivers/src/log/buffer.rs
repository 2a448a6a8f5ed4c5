//! The pipe an agent writes to and the buffer its bytes pass through.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::NonNull;

use nix::libc;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size};

/// The capacity asked for an agent's pipe: the most an unprivileged process may have by default,
/// so that an agent does not wait while the shim is busy with a slow disk.
const PIPE_SIZE: usize = 1 << 20;

/// Bytes read at once. Measured with 64 KiB to 1 MiB: 256 KiB is as fast as it gets, because it
/// still fits the second-level cache.
pub(crate) const BUFFER_SIZE: usize = 256 * 1024;

/// Memory in bytes the buffer may keep between bursts; more is given back when the pipe is idle.
pub(crate) const KEEP_BUFFER: usize = 16 * 1024;

/// Makes the read end of an agent's pipe ready for [`LogWriter::pump`](super::LogWriter::pump):
/// non-blocking, and 1 MiB large where the system allows it. Returns the capacity in bytes.
///
/// # Errors
/// Fails when `fd` is not a pipe.
pub fn prepare_pipe(fd: impl AsFd) -> io::Result<usize> {
    let fd: BorrowedFd<'_> = fd.as_fd();
    fcntl_setfl(fd, fcntl_getfl(fd)? | OFlags::NONBLOCK)?;
    match fcntl_setpipe_size(fd, PIPE_SIZE) {
        Ok(size) => Ok(size),
        // The user's quota of pipe pages is used up (EPERM): the default capacity works as well.
        Err(_) => Ok(fcntl_getpipe_size(fd)?),
    }
}

/// A read buffer that costs memory only while a flood goes through it.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    memory: Option<NonNull<u8>>,
}

// SAFETY: the pointer is to a private mapping that nobody else has; a mapping belongs to the whole
// process, so any of its threads may use and unmap it.
unsafe impl Send for Buffer {}

impl Buffer {
    /// Returns the buffer, [`BUFFER_SIZE`] bytes large; the memory comes with the first call.
    pub(crate) fn bytes(&mut self) -> io::Result<&mut [u8]> {
        let memory = match self.memory {
            Some(memory) => memory,
            None => *self.memory.insert(map()?),
        };
        // SAFETY: `memory` is a private mapping of BUFFER_SIZE readable and writable bytes, zeroed
        // by the kernel, unmapped only in `drop`; the borrow of `self` makes this the only slice.
        Ok(unsafe { std::slice::from_raw_parts_mut(memory.as_ptr(), BUFFER_SIZE) })
    }

    /// Gives the memory back to the system; the contents become zeroes.
    pub(crate) fn release(&mut self) {
        let Some(memory) = self.memory else { return };
        // SAFETY: the range is exactly the mapping made by `map`; private anonymous pages that
        // are given up read as zeroes afterwards, which every `[u8]` may be.
        let outcome =
            unsafe { libc::madvise(memory.as_ptr().cast(), BUFFER_SIZE, libc::MADV_DONTNEED) };
        debug_assert_eq!(outcome, 0, "MADV_DONTNEED of an own mapping cannot fail");
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Some(memory) = self.memory else { return };
        // SAFETY: the range is exactly the mapping made by `map`, and no slice of it outlives self.
        let outcome = unsafe { libc::munmap(memory.as_ptr().cast(), BUFFER_SIZE) };
        debug_assert_eq!(outcome, 0, "unmapping an own mapping cannot fail");
    }
}

fn map() -> io::Result<NonNull<u8>> {
    // SAFETY: a new anonymous mapping at an address of the kernel's choice touches nothing else.
    let address = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            BUFFER_SIZE,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(address.cast()).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))
}
