//! Tests of the whole store: a real writer, real pipes, real files, and the reader.

mod capture;
mod flood;
mod full_disk;
mod kill;
mod model;
mod queries;

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::*;

/// A log directory, a writer and the agent's two pipes.
struct Agent {
    dir: tempfile::TempDir,
    policy: LogPolicy,
    writer: LogWriter,
    pipes: [(File, File); 2],
    clock: SystemTime,
    mono: Instant,
}

impl Agent {
    fn new(policy: LogPolicy) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mono = Instant::now();
        let clock = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let writer = LogWriter::open(dir.path(), policy, Stamp { mono, wall: clock });
        Self {
            dir,
            policy,
            writer,
            pipes: [pipe(), pipe()],
            clock,
            mono,
        }
    }

    fn stamp(&self) -> Stamp {
        Stamp {
            mono: self.mono,
            wall: self.clock,
        }
    }

    fn advance(&mut self, by: Duration) {
        self.clock += by;
        self.mono += by;
    }

    /// Prints to a stream, a millisecond after the last print, and lets the writer take it.
    fn print(&mut self, stream: Stream, text: impl AsRef<[u8]>) {
        self.advance(Duration::from_millis(1));
        let (reading, writing) = &mut self.pipes[usize::from(stream == Stream::Stderr)];
        writing.write_all(text.as_ref()).unwrap();
        let now = Stamp {
            mono: self.mono,
            wall: self.clock,
        };
        while let Pumped::Read(1..) = self.writer.pump(stream, reading.as_fd(), now) {}
    }

    /// Lets another writer take over, as after the death of a shim.
    fn restart(&mut self) {
        let elsewhere = LogWriter::open(self.dir.path().join("other"), self.policy, self.stamp());
        drop(std::mem::replace(&mut self.writer, elsewhere));
        self.writer = eventually(|| {
            let writer = LogWriter::open(self.dir.path(), self.policy, self.stamp());
            if writer.lane() == Some(0) {
                return Some(writer);
            }
            std::fs::remove_dir_all(self.dir.path().join("lane-1")).unwrap();
            None
        });
    }

    fn lane_dir(&self) -> PathBuf {
        self.dir.path().join("lane-0")
    }

    fn reader(&self) -> LogReader {
        LogReader::open(self.dir.path())
    }

    fn lines(&self, query: &LogQuery) -> Vec<LogLine> {
        lines_of(&self.reader(), query)
    }

    fn texts(&self, query: &LogQuery) -> Vec<String> {
        texts(&self.lines(query))
    }
}

/// Tries again, at most ten seconds. For what needs a lock just given up: a child that another
/// test forks at that moment keeps a copy of the lock until it executes its program.
pub(super) fn eventually<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(
            begin.elapsed() < Duration::from_secs(10),
            "not within ten seconds"
        );
        std::thread::yield_now();
    }
}

/// A policy without retention: these tests choose their own time of day, the files do not.
fn policy(max_size: u64, max_files: u32) -> LogPolicy {
    LogPolicy {
        max_size,
        max_files,
        retention: Duration::ZERO,
        ..LogPolicy::default()
    }
}

/// Returns the read end, prepared for a writer, and the write end.
fn pipe() -> (File, File) {
    let (reading, writing) = std::io::pipe().unwrap();
    prepare_pipe(&reading).unwrap();
    let file = |fd: std::os::fd::OwnedFd| File::from(fd);
    (file(reading.into()), file(writing.into()))
}

fn lines_of(reader: &LogReader, query: &LogQuery) -> Vec<LogLine> {
    let line = |item| match item {
        LogItem::Line(line) => line,
        LogItem::Gap(gap) => panic!("unexpected {gap:?}"),
    };
    reader
        .lines(query)
        .unwrap()
        .map(|item| line(item.unwrap()))
        .collect()
}

/// Shows lines as `stdout:text`, with `…` after a partial one.
fn texts(lines: &[LogLine]) -> Vec<String> {
    let text = |line: &LogLine| {
        let stream = match line.stream {
            Stream::Stdout => "out",
            Stream::Stderr => "err",
            Stream::Supervisor => "sup",
        };
        format!(
            "{stream}:{}{}",
            line.text_lossy(),
            if line.partial { "…" } else { "" }
        )
    };
    lines.iter().map(text).collect()
}

fn log_files(lane: &Path) -> Vec<(u64, Vec<u8>)> {
    let read = |start| {
        (
            start,
            std::fs::read(segment::log_path(lane, start)).unwrap(),
        )
    };
    segment::list(lane).unwrap().into_iter().map(read).collect()
}

/// Waits for readable data, at most ten seconds.
fn wait_readable(pipe: &File) {
    let mut fds = [rustix::event::PollFd::new(
        pipe,
        rustix::event::PollFlags::IN,
    )];
    let timeout = rustix::event::Timespec {
        tv_sec: 10,
        tv_nsec: 0,
    };
    assert_eq!(
        rustix::event::poll(&mut fds, Some(&timeout)).unwrap(),
        1,
        "nothing to read"
    );
}
