//! Where a byte of a log came from.

use serde::{Deserialize, Serialize};

/// The origin of a piece of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// The agent's standard output.
    Stdout,
    /// The agent's standard error.
    Stderr,
    /// A marker line of the supervisor itself, such as the count of dropped output.
    Supervisor,
}

impl Stream {
    /// All streams, in the order of their index tags.
    pub const ALL: [Self; 3] = [Self::Stdout, Self::Stderr, Self::Supervisor];

    /// Returns the position of this stream in [`Stream::ALL`].
    pub(crate) fn slot(self) -> usize {
        usize::from(self.tag())
    }

    pub(crate) fn tag(self) -> u8 {
        match self {
            Self::Stdout => 0,
            Self::Stderr => 1,
            Self::Supervisor => 2,
        }
    }

    pub(crate) fn from_tag(tag: u8) -> Option<Self> {
        Self::ALL.get(usize::from(tag)).copied()
    }
}

/// A set of streams, used as a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamSet(u8);

impl StreamSet {
    /// Every stream.
    pub const ALL: Self = Self(0b111);

    /// Returns the set that holds `stream` alone.
    #[must_use]
    pub fn only(stream: Stream) -> Self {
        Self(1 << stream.tag())
    }

    /// Returns this set with `stream` added.
    #[must_use]
    pub fn with(self, stream: Stream) -> Self {
        Self(self.0 | (1 << stream.tag()))
    }

    /// Says whether `stream` is in the set.
    #[must_use]
    pub fn contains(self, stream: Stream) -> bool {
        self.0 & (1 << stream.tag()) != 0
    }
}

impl Default for StreamSet {
    fn default() -> Self {
        Self::ALL
    }
}
