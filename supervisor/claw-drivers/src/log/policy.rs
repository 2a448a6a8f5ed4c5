//! How much of a log is kept, and what happens when it cannot be written.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::segment::MAX_SEGMENT;

/// The most an agent's line may hold up a rotation, in bytes. A segment grows past `max_size` by
/// at most this much while the writer waits for the end of a line; a longer line is split.
pub(crate) const ROTATION_SLACK: u64 = 256 * 1024;

/// What a writer does with output it cannot write (disk full, I/O error).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFull {
    /// Discards the output, counts it, and writes one marker line once writing works again.
    #[default]
    Drop,
    /// Stops reading the agent's pipes, so that the agent waits in `write(2)`, until writing
    /// works again.
    Block,
}

/// The `logging:` keys of an agent that concern its log store. Limits hold for each lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogPolicy {
    /// The size in bytes at which a new segment starts. A segment may pass it by the rest of one
    /// line, at most 256 KiB. Values above 4 GiB - 1 MiB count as that.
    pub max_size: u64,
    /// How many segments are kept, the one being written included; 0 counts as 1.
    pub max_files: u32,
    /// Segments last written longer ago than this are deleted; zero keeps them for ever.
    pub retention: Duration,
    /// What happens to output that cannot be written.
    pub on_full: OnFull,
}

impl LogPolicy {
    pub(crate) fn segment_size(&self) -> u64 {
        self.max_size.clamp(1, MAX_SEGMENT)
    }

    pub(crate) fn kept_segments(&self) -> usize {
        usize::try_from(self.max_files.max(1)).unwrap_or(usize::MAX)
    }
}

impl Default for LogPolicy {
    fn default() -> Self {
        Self {
            max_size: 50 << 20,
            max_files: 5,
            retention: Duration::from_secs(7 * 24 * 3600),
            on_full: OnFull::Drop,
        }
    }
}
