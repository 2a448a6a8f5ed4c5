//! Stands in for the log store until it lands; the same calls, one file, no rotation.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    pub(super) mono: Instant,
    #[expect(dead_code, reason = "the log store takes it")]
    pub(super) wall: SystemTime,
}

impl Stamp {
    pub(super) fn now() -> Self {
        Self { mono: Instant::now(), wall: SystemTime::now() }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnFull {
    Drop,
    Block,
}

#[derive(Clone, Copy, Debug)]
#[expect(dead_code, reason = "the log store takes it")]
pub(super) struct LogPolicy {
    pub(super) max_size: u64,
    pub(super) max_files: u32,
    pub(super) retention: Duration,
    pub(super) on_full: OnFull,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(dead_code, reason = "the log store makes them")]
pub(super) enum Pumped {
    Read(usize),
    Closed,
    Waiting,
    Unreadable(nix::errno::Errno),
}

#[derive(Debug)]
pub(super) struct LogWriter {
    file: Option<File>,
    position: u64,
}

pub(super) fn prepare_pipe(fd: impl AsFd) -> io::Result<usize> {
    rustix::io::ioctl_fionbio(fd, true)?;
    Ok(65536)
}

impl LogWriter {
    pub(super) fn open(log_dir: impl Into<PathBuf>, _: LogPolicy, _: Stamp) -> Self {
        let dir = log_dir.into().join("lane-0");
        std::fs::create_dir_all(&dir).ok();
        let path = dir.join("00000000000000000000.log");
        let mut file = File::options().create(true).append(true).open(path).ok();
        let position = file.as_mut().and_then(|file| file.seek(SeekFrom::End(0)).ok());
        Self { file, position: position.unwrap_or(0) }
    }

    pub(super) fn pump(&mut self, _: Stream, fd: BorrowedFd<'_>, _: Stamp) -> Pumped {
        let mut buffer = [0_u8; 4096];
        match nix::unistd::read(fd, &mut buffer) {
            Ok(0) => Pumped::Closed,
            Ok(count) => {
                if let Some(file) = &mut self.file {
                    file.write_all(&buffer[..count]).ok();
                    self.position += u64::try_from(count).unwrap_or(0);
                }
                Pumped::Read(count)
            }
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => Pumped::Read(0),
            Err(errno) => Pumped::Unreadable(errno),
        }
    }

    pub(super) fn wants(&self) -> bool {
        true
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        None
    }

    pub(super) fn on_deadline(&mut self, _: Stamp) {}

    pub(super) fn finish(&mut self, pipes: &[(Stream, BorrowedFd<'_>)], now: Stamp) -> u64 {
        for (stream, fd) in pipes {
            let mut left = 1024;
            while let (Pumped::Read(1..), 1..) = (self.pump(*stream, *fd, now), left) {
                left -= 1;
            }
        }
        self.position
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn lane(&self) -> Option<u32> {
        self.file.as_ref().map(|_| 0)
    }
}
