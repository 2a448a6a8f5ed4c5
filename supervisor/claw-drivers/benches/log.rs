//! Lines of 100 bytes through a real pipe into a log store, and back.
//!
//! `capture` is the shim's work; `read_and_write` and `splice` are the two bare ways to move a
//! pipe into files of the same size, without index and without regard for lines.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::thread::JoinHandle;

use claw_drivers::log::{
    LogPolicy, LogQuery, LogReader, LogWriter, Pumped, Stamp, Stream, prepare_pipe,
};
use divan::Bencher;
use divan::counter::BytesCount;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::pipe::{SpliceFlags, splice};

const TOTAL: usize = 1 << 30;
const SEGMENT: usize = 50 << 20;
const KEPT: usize = 5;

fn main() {
    divan::main();
}

/// Prints `TOTAL` bytes of 100-byte lines, so many at a time.
fn produce(write_size: usize) -> (File, JoinHandle<()>) {
    let (reading, mut writing) = std::io::pipe().expect("a pipe can be made");
    prepare_pipe(&reading).expect("the pipe is one");
    let line = [&[b'x'; 99][..], b"\n"].concat();
    let text: Vec<u8> = line.iter().copied().cycle().take(write_size).collect();
    let producer = std::thread::spawn(move || {
        for _ in 0..TOTAL / write_size {
            writing
                .write_all(&text)
                .expect("the other end reads to the end");
        }
    });
    (File::from(OwnedFd::from(reading)), producer)
}

fn wait_readable(pipe: &File) {
    poll(&mut [PollFd::new(pipe, PollFlags::IN)], None).expect("a pipe can be polled");
}

fn fill(dir: &Path, pipe: &File) {
    let mut writer = LogWriter::open(dir, LogPolicy::default(), Stamp::now());
    while writer.pump(Stream::Stdout, pipe.as_fd(), Stamp::now()) != Pumped::Closed {
        wait_readable(pipe);
    }
    assert_eq!(writer.stats().dropped_bytes, 0);
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory can be made")
}

#[divan::bench(args = [100, 4096, 65536], sample_count = 5)]
fn capture(bencher: Bencher<'_, '_>, write_size: usize) {
    bencher.counter(BytesCount::new(TOTAL)).bench_local(|| {
        let dir = directory();
        let (pipe, producer) = produce(write_size);
        fill(dir.path(), &pipe);
        producer.join().expect("the producer ends");
    });
}

#[divan::bench(args = [4096, 65536], sample_count = 5)]
fn read_and_write(bencher: Bencher<'_, '_>, write_size: usize) {
    let mut buffer = vec![0; 256 * 1024];
    bencher.counter(BytesCount::new(TOTAL)).bench_local(|| {
        bare(write_size, |pipe, mut file| {
            let n = nix::unistd::read(pipe, &mut buffer).unwrap_or(usize::MAX);
            if n != usize::MAX {
                file.write_all(&buffer[..n]).expect("the disk has room");
            }
            n
        });
    });
}

#[divan::bench(args = [4096, 65536], sample_count = 5)]
fn splice_only(bencher: Bencher<'_, '_>, write_size: usize) {
    bencher.counter(BytesCount::new(TOTAL)).bench_local(|| {
        bare(write_size, |pipe, file| {
            splice(pipe, None, file, None, 1 << 20, SpliceFlags::NONBLOCK).unwrap_or(usize::MAX)
        });
    });
}

/// Moves a pipe into files; `step` returns the bytes moved, 0 at the end, `MAX` for "not yet".
fn bare(write_size: usize, mut step: impl FnMut(&File, &File) -> usize) {
    let dir = directory();
    let (pipe, producer) = produce(write_size);
    for number in 0.. {
        let file = File::create(dir.path().join(number.to_string())).expect("room for a file");
        if number >= KEPT {
            let old = dir.path().join((number - KEPT).to_string());
            std::fs::remove_file(old).expect("the old file is there");
        }
        let mut len = 0;
        while len < SEGMENT {
            match step(&pipe, &file) {
                0 => return producer.join().expect("the producer ends"),
                usize::MAX => wait_readable(&pipe),
                n => len += n,
            }
        }
    }
}

/// A log of 250 MiB; what was before is rotated away.
fn filled() -> tempfile::TempDir {
    let dir = directory();
    let (pipe, producer) = produce(65536);
    fill(dir.path(), &pipe);
    producer.join().expect("the producer ends");
    dir
}

#[divan::bench(sample_count = 5)]
fn read_everything(bencher: Bencher<'_, '_>) {
    let dir = filled();
    let reader = LogReader::open(dir.path());
    let count = || {
        reader
            .lines(&LogQuery::default())
            .expect("readable")
            .count()
    };
    bencher
        .counter(BytesCount::new(count() * 100))
        .bench_local(count);
}

#[divan::bench(args = [10, 1000], sample_count = 20)]
fn tail(bencher: Bencher<'_, '_>, lines: usize) {
    let dir = filled();
    let reader = LogReader::open(dir.path());
    let query = LogQuery {
        tail: Some(lines),
        ..LogQuery::default()
    };
    bencher.bench_local(|| reader.lines(&query).expect("readable").count());
}
