//! The writer of an agent's log: used by the agent's shim, in its single-threaded poll loop.
//!
//! ```text
//!              write fails                      retry succeeds
//!  Writing ──────────────────► Failing ───────────────────────────► Writing
//!                              drop:  reads on, counts, then writes one marker
//!                              block: holds what was read, reads no more
//! ```
//!
//! No failure is fatal, not even that of opening the lane: the agent lives on. The process must
//! ignore SIGXFSZ, or a file size limit kills the shim.

use std::borrow::Cow;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use claw_core::redact::{Held, Redactor};
use nix::errno::Errno;

use super::buffer::{Buffer, KEEP_BUFFER};
use super::capture::Capture;
use super::failure::LogFailure;
use super::policy::{LogPolicy, OnFull};
use super::pumped::{LogStats, Pumped, Stamp};
use super::stream::Stream;

/// The most bytes one [`LogWriter::pump`] moves, so that a flood on one pipe cannot starve the
/// other pipe and the shim's socket.
pub const PUMP_LIMIT: usize = 1 << 20;

/// The most bytes [`LogWriter::finish`] takes from each pipe: more than a pipe can hold, so only
/// output of a process that outlived the agent is left behind.
pub const FINISH_LIMIT: usize = 4 << 20;

/// Between attempts to write again. Short against a user's patience, long against the cost of
/// an attempt on a full file system.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);

/// A burst's memory is given back after this much silence.
const RELEASE_AFTER: Duration = Duration::from_secs(1);

/// Markers wait here, in bytes, while nothing can be written; more are counted as dropped.
const MARKER_QUEUE: usize = 8 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Writing,
    Failing {
        failure: LogFailure,
        retry_at: Instant,
    },
}

/// Bytes dropped since the last marker, and why.
#[derive(Clone, Copy, Debug)]
struct Drops {
    bytes: u64,
    lines: u64,
    failure: LogFailure,
}

/// Writes what an agent prints to its log store.
#[derive(Debug)]
pub struct LogWriter {
    log_dir: PathBuf,
    policy: LogPolicy,
    capture: Option<Capture>,
    state: State,
    buffer: Buffer,
    release_at: Option<Instant>,
    /// Output that was read and could not be written; for `block` only.
    held: Option<(Stream, Vec<u8>)>,
    drops: Option<Drops>,
    /// Marker text still to be written.
    markers: Vec<u8>,
    stats: LogStats,
    mask: Option<Mask>,
}

/// What is masked in the output, and what of each stream waits because it may have to be.
#[derive(Debug)]
struct Mask {
    redactor: Redactor,
    waiting: [Held; 3],
}

impl LogWriter {
    /// Opens the first free lane below `log_dir` at its end. This never fails: a lane that cannot
    /// be opened is a log that cannot be written yet, see [`LogWriter::failure`].
    #[must_use]
    pub fn open(log_dir: impl Into<PathBuf>, policy: LogPolicy, now: Stamp) -> Self {
        Self::open_lane(log_dir, None, policy, now)
    }

    /// As [`LogWriter::open`], but takes the lane `wanted` if nobody writes it: the one that an
    /// earlier writer of the same output had.
    #[must_use]
    pub fn open_lane(
        log_dir: impl Into<PathBuf>,
        wanted: Option<u32>,
        policy: LogPolicy,
        now: Stamp,
    ) -> Self {
        let mut writer = Self {
            log_dir: log_dir.into(),
            policy,
            capture: None,
            state: State::Writing,
            buffer: Buffer::default(),
            release_at: None,
            held: None,
            drops: None,
            markers: Vec::new(),
            stats: LogStats::default(),
            mask: None,
        };
        if let Err(error) = writer.reopen(wanted) {
            writer.fail(&error, now);
        }
        writer
    }

    /// Masks the agent's secrets in what is written from here on.
    #[must_use]
    pub fn masking(mut self, redactor: Option<Redactor>) -> Self {
        self.mask = redactor.map(|redactor| Mask {
            redactor,
            waiting: Default::default(),
        });
        self
    }

    /// Appends output that did not come through a pipe. To be called only while
    /// [`LogWriter::wants`] says so: the policy `block` holds one piece of output, not two.
    pub fn write(&mut self, stream: Stream, bytes: &[u8], now: Stamp) {
        self.store(stream, bytes, now);
    }

    /// Moves what `fd` holds, at most [`PUMP_LIMIT`] bytes, to the log. To be called when poll
    /// says that `fd`, set up by [`prepare_pipe`](super::prepare_pipe), is readable or hung up.
    pub fn pump(&mut self, stream: Stream, fd: BorrowedFd<'_>, now: Stamp) -> Pumped {
        let mut buffer = std::mem::take(&mut self.buffer);
        let pumped = self.pump_through(&mut buffer, stream, fd, now);
        if matches!(pumped, Pumped::Read(n) if n > KEEP_BUFFER) {
            self.release_at = Some(now.mono + RELEASE_AFTER);
        }
        self.buffer = buffer;
        pumped
    }

    fn pump_through(
        &mut self,
        buffer: &mut Buffer,
        stream: Stream,
        fd: BorrowedFd<'_>,
        now: Stamp,
    ) -> Pumped {
        let mut total = 0;
        while total < PUMP_LIMIT {
            if !self.wants() {
                return if total == 0 {
                    Pumped::Waiting
                } else {
                    Pumped::Read(total)
                };
            }
            // Without memory the pipe is left as it is, and poll reports it again.
            let Ok(bytes) = buffer.bytes() else {
                return Pumped::Unreadable(Errno::ENOMEM);
            };
            let size = bytes.len();
            let n = match nix::unistd::read(fd, bytes) {
                Ok(n @ 1..) => n,
                Err(Errno::EINTR) => continue,
                Ok(0) if total == 0 => return Pumped::Closed,
                Err(errno) if total == 0 && errno != Errno::EAGAIN => {
                    return Pumped::Unreadable(errno);
                }
                Ok(0) | Err(_) => break,
            };
            self.store(stream, &bytes[..n], now);
            total += n;
            if n < size {
                break;
            }
        }
        Pumped::Read(total)
    }

    /// Says whether the pipes are to be polled. `false` only under the policy `block`, while
    /// nothing can be written; the agent then waits once its pipe is full.
    #[must_use]
    pub fn wants(&self) -> bool {
        self.policy.on_full == OnFull::Drop || self.state == State::Writing
    }

    /// Writes the line `[clawctl: <text>]` on the stream of the supervisor. While nothing can be
    /// written, a few KiB of markers are kept for later.
    pub fn marker(&mut self, text: &str, now: Stamp) {
        let line = marker_line(text);
        if self.markers.len() + line.len() > MARKER_QUEUE {
            self.stats.dropped_bytes += length(&line);
            self.stats.dropped_lines += 1;
            return;
        }
        self.markers.extend_from_slice(&line);
        if self.state == State::Writing
            && let Err(error) = self.flush_markers(now)
        {
            self.fail(&error, now);
        }
    }

    /// Returns when [`LogWriter::on_deadline`] is to be called next, if nothing happens before.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Failing { retry_at, .. } => Some(retry_at),
            State::Writing => self.release_at,
        }
    }

    /// Does what is due: tries to write again, or gives memory back.
    pub fn on_deadline(&mut self, now: Stamp) {
        self.retry_if_due(now);
        if self.release_at.is_some_and(|at| now.mono >= at) {
            self.buffer.release();
            self.release_at = None;
        }
    }

    /// Takes what is left in the pipes, at most [`FINISH_LIMIT`] bytes each, without waiting for
    /// anything: what still cannot be written is dropped and counted, whatever the policy. Returns
    /// the absolute offset after the last byte.
    pub fn finish(&mut self, pipes: &[(Stream, BorrowedFd<'_>)], now: Stamp) -> u64 {
        self.retry(now);
        self.policy.on_full = OnFull::Drop;
        if let Some((stream, bytes)) = self.held.take() {
            self.keep(stream, &bytes, now);
        }
        for (stream, fd) in pipes {
            let mut left = FINISH_LIMIT;
            while let Pumped::Read(n @ 1..) = self.pump(*stream, *fd, now) {
                left = left.saturating_sub(n);
                if left == 0 {
                    break;
                }
            }
        }
        for stream in Stream::ALL {
            if let Some(mask) = &mut self.mask {
                let rest = mask.redactor.rest(&mut mask.waiting[stream.slot()]);
                self.keep(stream, &rest, now);
            }
        }
        self.retry(now);
        self.position()
    }

    /// Makes what was written survive a power cut; may take as long as the disk does.
    ///
    /// # Errors
    /// Fails when the system cannot promise it.
    pub fn sync(&self) -> io::Result<()> {
        self.capture.as_ref().map_or(Ok(()), Capture::sync)
    }

    /// Returns the absolute offset after the last byte written in this lane.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.capture.as_ref().map_or(0, Capture::position)
    }

    /// Returns the lane being written; `None` as long as none could be opened.
    #[must_use]
    pub fn lane(&self) -> Option<u32> {
        self.capture.as_ref().map(Capture::lane)
    }

    /// Returns what became of the output so far.
    #[must_use]
    pub fn stats(&self) -> LogStats {
        self.stats
    }

    /// Returns why nothing can be written at present.
    #[must_use]
    pub fn failure(&self) -> Option<LogFailure> {
        match self.state {
            State::Failing { failure, .. } => Some(failure),
            State::Writing => None,
        }
    }

    fn store(&mut self, stream: Stream, bytes: &[u8], now: Stamp) {
        let masked = match &mut self.mask {
            Some(mask) => mask.redactor.piece(&mut mask.waiting[stream.slot()], bytes),
            None => Cow::Borrowed(bytes),
        };
        self.keep(stream, &masked, now);
    }

    fn keep(&mut self, stream: Stream, bytes: &[u8], now: Stamp) {
        self.retry_if_due(now);
        let written = match (&self.state, &mut self.capture) {
            (State::Writing, Some(capture)) => {
                let (n, outcome) = capture.append(stream, bytes, now.wall);
                if let Err(error) = outcome {
                    self.fail(&error, now);
                }
                n
            }
            (State::Writing | State::Failing { .. }, _) => 0,
        };
        self.stats.bytes += length(&bytes[..written]);
        let rest = &bytes[written..];
        let State::Failing { failure, .. } = self.state else {
            return;
        };
        match self.policy.on_full {
            _ if rest.is_empty() => {}
            OnFull::Drop => self.drop_output(rest, failure),
            OnFull::Block => self.held = Some((stream, rest.to_vec())),
        }
    }

    fn drop_output(&mut self, bytes: &[u8], failure: LogFailure) {
        let lines = bytes
            .iter()
            .map(|byte| u64::from(*byte == b'\n'))
            .sum::<u64>();
        let drops = self.drops.get_or_insert(Drops {
            bytes: 0,
            lines: 0,
            failure,
        });
        drops.bytes += length(bytes);
        drops.lines += lines;
        self.stats.dropped_bytes += length(bytes);
        self.stats.dropped_lines += lines;
    }

    fn fail(&mut self, error: &io::Error, now: Stamp) {
        let retry_at = now.mono + RETRY_INTERVAL;
        self.state = State::Failing {
            failure: LogFailure::from(error),
            retry_at,
        };
    }

    fn retry_if_due(&mut self, now: Stamp) {
        if let State::Failing { retry_at, .. } = self.state
            && now.mono >= retry_at
        {
            self.retry(now);
        }
    }

    fn retry(&mut self, now: Stamp) {
        if self.state == State::Writing {
            return;
        }
        match self.resume(now) {
            Ok(()) => self.state = State::Writing,
            Err(error) => self.fail(&error, now),
        }
    }

    /// Writes, in this order, what waits: held output, the marker of the drops, other markers.
    fn resume(&mut self, now: Stamp) -> io::Result<()> {
        if self.capture.is_none() {
            self.reopen(None)?;
        }
        if self.capture.as_ref().is_some_and(Capture::has_open_marker) {
            self.flush_markers(now)?;
        }
        let Some(capture) = &mut self.capture else {
            return Ok(());
        };
        if let Some((stream, bytes)) = &mut self.held {
            let (n, outcome) = capture.append(*stream, bytes, now.wall);
            self.stats.bytes += length(&bytes[..n]);
            bytes.drain(..n);
            outcome?;
            self.held = None;
        }
        if let Some(Drops {
            bytes,
            lines,
            failure,
        }) = self.drops
        {
            let text = format!("{bytes} bytes ({lines} lines) of output were dropped: {failure}");
            let mut line = marker_line(&text);
            if !capture.ends_line() {
                line.insert(0, b'\n');
            }
            capture.break_lines();
            let (n, outcome) = capture.append(Stream::Supervisor, &line, now.wall);
            if n > 0 {
                // The numbers are out; later drops are counted anew, and the rest of the
                // text goes first.
                self.drops = None;
                self.markers.splice(..0, line.drain(n..));
            }
            outcome?;
        }
        self.flush_markers(now)
    }

    fn flush_markers(&mut self, now: Stamp) -> io::Result<()> {
        let Some(capture) = &mut self.capture else {
            return Ok(());
        };
        if self.markers.is_empty() {
            return Ok(());
        }
        if !capture.ends_line() && !capture.has_open_marker() {
            self.markers.insert(0, b'\n');
        }
        let (n, outcome) = capture.append(Stream::Supervisor, &self.markers, now.wall);
        self.markers.drain(..n);
        outcome
    }

    fn reopen(&mut self, wanted: Option<u32>) -> io::Result<()> {
        self.capture = Some(Capture::open(&self.log_dir, wanted, self.policy)?);
        Ok(())
    }
}

/// Frames a marker's text as one line.
fn marker_line(text: &str) -> Vec<u8> {
    let text = text.replace(char::is_control, " ");
    format!("[clawctl: {text}]\n").into_bytes()
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).expect("a usize fits 64 bits")
}
