//! A container's output on its way into the log.
//!
//! The engine keeps output by itself and gives it away again, each piece with the time at which it
//! took it. What was taken over is known by that time and, of several pieces of one time, by their
//! number; so a stream that breaks, of a supervisor or of an engine that is started anew, is
//! continued where it was left.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bollard::container::LogOutput;
use bollard::query_parameters::{LogsOptions, LogsOptionsBuilder};
use bytes::Bytes;
use claw_core::death::LogRange;
use claw_core::redact::Redactor;
use claw_core::{Fact, InstanceId};
use futures_util::StreamExt;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::cursor::{CursorFile, Moment, Resumption, Segment};
use super::engine::Client;
use super::fault::EngineError;
use super::record::OutputPlace;
use crate::driver::FactSender;
use crate::log::{LogPolicy, LogWriter, Stamp, Stream};

/// Pieces that are written together, at most; each is a line, or 16 KiB of a long one.
const BATCH: usize = 1024;

/// An engine that has output of an ended container to give hands it out without such a pause.
const SILENCE: Duration = Duration::from_secs(5);

/// The clocks of both streams of a container are one, but the pieces are taken by two threads.
const SKEW: i64 = 1;

/// Between attempts to write to a log that is full.
const FULL_PAUSE: Duration = Duration::from_millis(250);

/// Writes what a container prints to its log.
#[derive(Debug)]
pub(super) struct Output {
    /// `None` only while a thread has it.
    sink: Option<Sink>,
    /// What was taken over.
    taken: Taken,
    place: OutputPlace,
    progress: Progress,
}

/// Tells that something was printed, not too often.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) facts: FactSender,
    pub(super) instance: InstanceId,
    /// At most this often; `None`: never.
    pub(super) interval: Option<Duration>,
    pub(super) last: Option<Instant>,
}

impl Progress {
    async fn tell(&mut self) {
        let due = self
            .interval
            .is_some_and(|interval| self.last.is_none_or(|last| last.elapsed() >= interval));
        if due {
            self.last = Some(Instant::now());
            let instance = self.instance.clone();
            // A supervisor that is ending no longer listens.
            self.facts.send(Fact::Progressed { instance }).await.ok();
        }
    }
}

/// The log and the note of how far it goes.
#[derive(Debug)]
struct Sink {
    log: LogWriter,
    cursor: CursorFile,
}

/// How far each stream was taken over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Taken {
    stdout: Option<Moment>,
    stderr: Option<Moment>,
    /// Bytes of each stream that are in the log beyond the moment.
    ahead: [usize; 2],
}

/// Where the log of an instance lies.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) log_dir: PathBuf,
    pub(super) policy: LogPolicy,
    pub(super) cursor: PathBuf,
    /// Masks the agent's secrets.
    pub(super) redactor: Option<Redactor>,
}

/// Why a stream was left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Left {
    /// The engine ended it: the container ended, or the engine does.
    Ended,
    /// It was asked to.
    Asked,
    /// It broke.
    Broken(EngineError),
}

/// Output as the engine gives it, read ahead: what comes while the log is written goes into it
/// together, however long a machine that is busy takes to change from one to the other.
struct Incoming {
    pieces: mpsc::Receiver<Result<LogOutput, bollard::errors::Error>>,
    _reader: JoinSet<()>,
}

impl Incoming {
    fn open(client: &Client, id: &str, options: LogsOptions) -> Self {
        let mut stream = Box::pin(client.docker.logs(id, Some(options)));
        let (sender, pieces) = mpsc::channel(BATCH);
        let mut reader = JoinSet::new();
        reader.spawn(async move {
            while let Some(piece) = stream.next().await {
                if sender.send(piece).await.is_err() {
                    return;
                }
            }
        });
        Self {
            pieces,
            _reader: reader,
        }
    }

    /// What has come; `None` at the end. May be cancelled.
    async fn next(&mut self) -> Option<Vec<Result<LogOutput, bollard::errors::Error>>> {
        let mut chunk = Vec::new();
        let count = self.pieces.recv_many(&mut chunk, BATCH).await;
        (count > 0).then_some(chunk)
    }
}

/// Neighbours of one stream: a flood of short lines is one write.
struct Stretch {
    stream: Stream,
    at: Option<i64>,
    bytes: Vec<u8>,
}

/// A piece of output as the engine gives it.
struct Piece {
    stream: Stream,
    at: Option<i64>,
    bytes: Bytes,
}

impl Output {
    /// Opens the log, where an earlier supervisor left it if `known` says so. Blocks.
    pub(super) fn open(place: &Place, known: Option<OutputPlace>, progress: Progress) -> Self {
        let wanted = known.and_then(|known| known.lane);
        let log = LogWriter::open_lane(&place.log_dir, wanted, place.policy, Stamp::now())
            .masking(place.redactor.clone());
        let (cursor, resumption) = CursorFile::open(&place.cursor, log.lane(), log.position());
        let from = known.map_or_else(|| log.position(), |known| known.from);
        Self {
            place: OutputPlace {
                lane: log.lane(),
                from,
            },
            taken: Taken::of(&resumption),
            sink: Some(Sink { log, cursor }),
            progress,
        }
    }

    /// Where the output begins.
    pub(super) const fn place(&self) -> OutputPlace {
        self.place
    }

    /// Takes output over until the stream ends or somebody asks to stop.
    pub(super) async fn follow(
        &mut self,
        client: &Client,
        id: &str,
        stop: &mut watch::Receiver<bool>,
    ) -> Left {
        let options = self.options().follow(true).build();
        let mut incoming = Incoming::open(client, id, options);
        let mut filter = Filter::new(self.taken);
        loop {
            let chunk = tokio::select! {
                chunk = incoming.next() => chunk,
                _asked = stop.wait_for(|asked| *asked) => return Left::Asked,
            };
            let Some(chunk) = chunk else {
                return Left::Ended;
            };
            if let Err(error) = self.take(chunk, &mut filter).await {
                return Left::Broken(client.fault(error));
            }
        }
    }

    /// Takes over what the engine still has of a container that has ended.
    pub(super) async fn catch_up(&mut self, client: &Client, id: &str) -> Result<(), EngineError> {
        let mut incoming = Incoming::open(client, id, self.options().build());
        let mut filter = Filter::new(self.taken);
        loop {
            let chunk = tokio::time::timeout(SILENCE, incoming.next()).await;
            let chunk = chunk.map_err(|_elapsed| EngineError::Silent {
                address: client.address.clone(),
                after: SILENCE,
            })?;
            let Some(chunk) = chunk else {
                return Ok(());
            };
            let taken = self.take(chunk, &mut filter).await;
            taken.map_err(|error| client.fault(error))?;
        }
    }

    fn options(&self) -> LogsOptionsBuilder {
        let newest = [self.taken.stdout, self.taken.stderr].into_iter().flatten();
        let since = newest.map(|moment| moment.at / 1_000_000_000).max();
        LogsOptionsBuilder::new()
            .stdout(true)
            .stderr(true)
            .timestamps(true)
            .since(since.map_or(0, |second| i32::try_from(second - SKEW).unwrap_or_default()))
            .tail("all")
    }

    async fn take(
        &mut self,
        chunk: Vec<Result<LogOutput, bollard::errors::Error>>,
        filter: &mut Filter,
    ) -> Result<(), bollard::errors::Error> {
        let mut pieces = Vec::with_capacity(chunk.len());
        let mut failure = None;
        for each in chunk {
            match each {
                Ok(output) => pieces.extend(Piece::of(output).and_then(|piece| filter.pass(piece))),
                Err(error) => failure = Some(error),
            }
        }
        self.store(pieces).await;
        failure.map_or(Ok(()), Err)
    }

    /// Writes, off the runtime; a log that is full and says `block` is waited for.
    async fn store(&mut self, pieces: Vec<Piece>) {
        if pieces.is_empty() {
            return;
        }
        let (before, mut after) = (self.taken, self.taken);
        for piece in &pieces {
            after.note(piece);
        }
        self.taken = after;
        let mut rest = merge(&pieces);
        let segments = rest.iter().map(segment).collect::<Vec<_>>();
        let mut note = Some(move |sink: &Sink| {
            let position = sink.log.position();
            let (from, to) = (before.resumption(), after.resumption());
            sink.cursor.note(position, &segments, &from, &to);
        });
        while !rest.is_empty() {
            let first = note.take();
            let left = self.with_sink(move |sink| {
                if let Some(first) = first {
                    first(sink);
                }
                write(&mut sink.log, rest)
            });
            let left = left.await;
            // The runtime ends, and the supervisor with it; the next one goes on here.
            let Some(left) = left else { return };
            rest = left;
            if !rest.is_empty() {
                tokio::time::sleep(FULL_PAUSE).await;
            }
        }
        self.progress.tell().await;
    }

    async fn with_sink<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Sink) -> T + Send + 'static,
    ) -> Option<T> {
        let mut sink = self.sink.take()?;
        let done = tokio::task::spawn_blocking(move || {
            let answer = work(&mut sink);
            (sink, answer)
        });
        let (sink, answer) = done.await.ok()?;
        self.sink = Some(sink);
        Some(answer)
    }

    /// Writes a line of the supervisor's own.
    pub(super) async fn marker(&mut self, text: String) {
        self.with_sink(move |sink| sink.log.marker(&text, Stamp::now()))
            .await;
    }

    /// Closes the log; where the output lies in it.
    pub(super) async fn finish(mut self) -> Option<LogRange> {
        let to = self
            .with_sink(|sink| sink.log.finish(&[], Stamp::now()))
            .await?;
        let lane = self.sink.as_ref()?.log.lane()?;
        Some(LogRange {
            lane,
            from: self.place.from.min(to),
            to,
        })
    }
}

/// Writes as much as the log takes; what is left waits for room.
fn write(log: &mut LogWriter, stretches: Vec<Stretch>) -> Vec<Stretch> {
    let mut stretches = stretches.into_iter();
    let now = Stamp::now();
    if log.deadline().is_some_and(|at| at <= now.mono) {
        log.on_deadline(now);
    }
    while log.wants() {
        let Some(stretch) = stretches.next() else {
            return Vec::new();
        };
        let wall = stretch.at.and_then(wall).unwrap_or(now.wall);
        log.write(
            stretch.stream,
            &stretch.bytes,
            Stamp {
                mono: now.mono,
                wall,
            },
        );
    }
    stretches.collect()
}

fn wall(nanoseconds: i64) -> Option<std::time::SystemTime> {
    let since = Duration::from_nanos(u64::try_from(nanoseconds).ok()?);
    std::time::UNIX_EPOCH.checked_add(since)
}

fn merge(pieces: &[Piece]) -> Vec<Stretch> {
    let mut merged: Vec<Stretch> = Vec::new();
    for piece in pieces {
        match merged.last_mut() {
            Some(last) if last.stream == piece.stream => last.bytes.extend_from_slice(&piece.bytes),
            Some(_) | None => merged.push(Stretch {
                stream: piece.stream,
                at: piece.at,
                bytes: piece.bytes.to_vec(),
            }),
        }
    }
    merged
}

const fn segment(stretch: &Stretch) -> Segment {
    Segment(stretch.stream, stretch.bytes.len())
}

impl Piece {
    /// Takes the time off; `None` for what no container without a terminal prints.
    fn of(output: LogOutput) -> Option<Self> {
        let (stream, mut bytes) = match output {
            LogOutput::StdOut { message } => (Stream::Stdout, message),
            LogOutput::StdErr { message } => (Stream::Stderr, message),
            LogOutput::StdIn { .. } | LogOutput::Console { .. } => return None,
        };
        // `2026-11-21T16:36:00.123456789Z ` and then the text.
        let end = bytes.iter().take(48).position(|byte| *byte == b' ');
        let at = end.and_then(|end| {
            let text = std::str::from_utf8(&bytes[..end]).ok()?;
            let at: claw_core::Wall = text.parse().ok()?;
            i64::try_from(at.as_nanosecond()).ok()
        });
        if let (Some(end), Some(_)) = (end, at) {
            drop(bytes.split_to(end + 1));
        }
        Some(Self { stream, at, bytes })
    }
}

/// Holds back what was taken over before.
struct Filter {
    known: Taken,
    /// How many pieces of the last moment came again.
    again: [u32; 2],
}

impl Filter {
    const fn new(known: Taken) -> Self {
        Self {
            known,
            again: [0; 2],
        }
    }

    fn pass(&mut self, mut piece: Piece) -> Option<Piece> {
        let slot = slot(piece.stream);
        if let (Some(known), Some(at)) = (self.known.of_stream(slot), piece.at) {
            if at < known.at {
                return None;
            }
            if at == known.at && self.again[slot] < known.count {
                self.again[slot] += 1;
                return None;
            }
        }
        let ahead = self.known.ahead[slot].min(piece.bytes.len());
        if ahead > 0 {
            self.known.ahead[slot] -= ahead;
            drop(piece.bytes.split_to(ahead));
        }
        Some(piece)
    }
}

const fn slot(stream: Stream) -> usize {
    match stream {
        Stream::Stdout | Stream::Supervisor => 0,
        Stream::Stderr => 1,
    }
}

impl Taken {
    fn of(resumption: &Resumption) -> Self {
        Self {
            stdout: resumption.stdout,
            stderr: resumption.stderr,
            ahead: resumption.ahead,
        }
    }

    const fn resumption(&self) -> Resumption {
        Resumption {
            stdout: self.stdout,
            stderr: self.stderr,
            ahead: [0; 2],
        }
    }

    const fn of_stream(&self, slot: usize) -> Option<Moment> {
        if slot == 0 { self.stdout } else { self.stderr }
    }

    fn note(&mut self, piece: &Piece) {
        let Some(at) = piece.at else { return };
        let slot = slot(piece.stream);
        // What was ahead has come by now.
        self.ahead[slot] = 0;
        let known = if slot == 0 {
            &mut self.stdout
        } else {
            &mut self.stderr
        };
        let count = known
            .filter(|moment| moment.at == at)
            .map_or(1, |moment| moment.count + 1);
        *known = Some(Moment { at, count });
    }
}
