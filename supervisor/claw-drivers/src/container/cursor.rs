//! How far a container's output is in the log, so that a killed supervisor's successor neither
//! repeats nor leaves out a byte.
//!
//! A note is made before each write to the log: how far the output went until now, what is about
//! to be written, and how far it goes then. How much of it was written is told by the log itself,
//! by its length.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::log::Stream;

/// A note has this length at least, blanks at its end: it is written over the one before.
const LENGTH: usize = 4096;

/// And this length at most, when the streams take turns at each line.
const LIMIT: usize = 128 * 1024;

/// A time of the engine's, in nanoseconds since 1970, and how many pieces of that time there were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Moment {
    pub(super) at: i64,
    pub(super) count: u32,
}

/// Where to go on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Resumption {
    pub(super) stdout: Option<Moment>,
    pub(super) stderr: Option<Moment>,
    /// Bytes of each stream that are in the log beyond its moment.
    #[serde(default)]
    pub(super) ahead: [usize; 2],
}

/// So many bytes of one stream that are written to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Segment(pub(super) Stream, pub(super) usize);

#[derive(Debug, Serialize, Deserialize)]
struct Note {
    lane: Option<u32>,
    position: u64,
    segments: Vec<Segment>,
    from: Resumption,
    to: Resumption,
}

/// The file with the note. One that cannot be written costs repeated lines after a crash, and
/// nothing else.
#[derive(Debug)]
pub(super) struct CursorFile {
    file: Option<File>,
    lane: Option<u32>,
}

impl CursorFile {
    /// Opens it, and judges by the log's lane and length where to go on.
    pub(super) fn open(path: &Path, lane: Option<u32>, position: u64) -> (Self, Resumption) {
        let opened = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path);
        let file = opened
            .inspect_err(
                |error| tracing::warn!(path = %path.display(), %error, "a cursor cannot be kept"),
            )
            .ok();
        let note = file.as_ref().and_then(read);
        let resumption = note.map_or_else(Resumption::default, |note| note.judge(lane, position));
        (Self { file, lane }, resumption)
    }

    /// Says what is about to be written at `position`.
    pub(super) fn note(
        &self,
        position: u64,
        segments: &[Segment],
        from: &Resumption,
        to: &Resumption,
    ) {
        let note = Note {
            lane: self.lane,
            position,
            segments: segments.to_vec(),
            from: *from,
            to: *to,
        };
        let Some(file) = &self.file else { return };
        let Ok(mut bytes) = serde_json::to_vec(&note) else {
            return;
        };
        bytes.resize(LENGTH.max(bytes.len()), b' ');
        file.write_all_at(&bytes, 0).ok();
    }
}

fn read(file: &File) -> Option<Note> {
    let mut bytes = vec![0; LIMIT];
    let length = file.read_at(&mut bytes, 0).ok()?;
    let mut notes = serde_json::Deserializer::from_slice(&bytes[..length]).into_iter();
    notes.next()?.ok()
}

impl Note {
    fn judge(&self, lane: Option<u32>, position: u64) -> Resumption {
        let total: usize = self.segments.iter().map(|segment| segment.1).sum();
        let written = usize::try_from(position.saturating_sub(self.position)).unwrap_or(usize::MAX);
        if lane != self.lane || written >= total {
            return self.to;
        }
        let mut resumption = self.from;
        let mut left = written;
        for segment in &self.segments {
            let part = left.min(segment.1);
            let slot = usize::from(segment.0 == Stream::Stderr);
            resumption.ahead[slot] += part;
            left -= part;
        }
        resumption
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(at: i64) -> Resumption {
        Resumption {
            stdout: Some(Moment { at, count: 1 }),
            ..Resumption::default()
        }
    }

    const SEGMENTS: [Segment; 3] = [
        Segment(Stream::Stdout, 10),
        Segment(Stream::Stderr, 5),
        Segment(Stream::Stdout, 7),
    ];

    fn resumed(lane: u32, position: u64) -> Resumption {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("1.cursor");
        let (file, fresh) = CursorFile::open(&path, Some(3), 100);
        assert_eq!(fresh, Resumption::default());
        // A longer one before, so that its end must not be read.
        file.note(50, &[SEGMENTS[0]; 40], &at(1), &at(2));
        file.note(100, &SEGMENTS, &at(2), &at(3));
        CursorFile::open(&path, Some(lane), position).1
    }

    #[test]
    fn what_was_written_of_a_note_is_judged_by_the_length_of_the_log() {
        assert_eq!(resumed(3, 100), at(2));
        assert_eq!(resumed(3, 122), at(3));
        let mut halfway = at(2);
        halfway.ahead = [10, 2];
        assert_eq!(resumed(3, 112), halfway);
        let mut almost = at(2);
        almost.ahead = [16, 5];
        assert_eq!(resumed(3, 121), almost);
    }

    #[test]
    fn another_lane_says_nothing_of_the_note_and_it_counts_as_written() {
        assert_eq!(resumed(4, 100), at(3));
    }
}
