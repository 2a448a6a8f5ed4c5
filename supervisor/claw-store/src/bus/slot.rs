//! Which slot a key has, and which replica a slot: the same in every backend and SDK.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Slots that keys are spread over.
pub const SLOTS: u64 = 64;

/// The slot of a key: the first 64 bits of its SHA-256, big end first, modulo [`SLOTS`].
#[must_use]
pub fn slot_of(key: &str) -> u8 {
    let slot = first_64_bits(key.as_bytes()) % SLOTS;
    u8::try_from(slot).expect("64 slots fit in a byte")
}

pub(crate) fn first_64_bits(bytes: &[u8]) -> u64 {
    let digest = Sha256::digest(bytes);
    let first = digest.first_chunk::<8>().expect("a digest has 32 bytes");
    u64::from_be_bytes(*first)
}

/// How the events of a group are divided among its replicas.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sharding {
    /// Whoever is free takes the next.
    #[default]
    None,
    /// Slot modulo this number of replicas.
    Hash(u32),
    /// By ranges of keys; range n belongs to replica n.
    Range(KeyRanges),
    /// In turn, over this number of replicas.
    RoundRobin(u32),
}

/// Ranges that together hold every key once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<KeyRange>", into = "Vec<KeyRange>")]
pub struct KeyRanges(Vec<KeyRange>);

/// Keys from one up to, and without, another; without one, from the first or to the last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRange {
    /// The first key.
    pub from: Option<String>,
    /// The first key that is not in it.
    pub to: Option<String>,
}

/// Why ranges are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// There are none.
    #[error("there are no ranges")]
    Empty,
    /// Keys before the first or after the last range would belong to nobody.
    #[error("the first range must have no `from` and the last no `to`")]
    OpenEnd,
    /// Between two ranges keys would belong to nobody, or to both.
    #[error("range {0} does not begin where the range before it ends")]
    Gap(usize),
    /// A range holds nothing.
    #[error("range {0} ends before it begins")]
    Reversed(usize),
}

impl KeyRanges {
    /// Checks that the ranges, in order, hold every key exactly once.
    ///
    /// # Errors
    ///
    /// See [`RangeError`].
    pub fn try_new(ranges: Vec<KeyRange>) -> Result<Self, RangeError> {
        let (Some(first), Some(last)) = (ranges.first(), ranges.last()) else {
            return Err(RangeError::Empty);
        };
        if first.from.is_some() || last.to.is_some() {
            return Err(RangeError::OpenEnd);
        }
        for (n, pair) in ranges.windows(2).enumerate() {
            if pair[0].to.is_none() || pair[0].to != pair[1].from {
                return Err(RangeError::Gap(n + 1));
            }
        }
        let reversed = |range: &KeyRange| {
            let ends = range.from.as_ref().zip(range.to.as_ref());
            ends.is_some_and(|(from, to)| from >= to)
        };
        match ranges.iter().position(reversed) {
            Some(n) => Err(RangeError::Reversed(n)),
            None => Ok(Self(ranges)),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Which range holds a key.
    #[must_use]
    pub fn position(&self, key: &str) -> usize {
        let below = |range: &KeyRange| range.to.as_deref().is_some_and(|to| to <= key);
        self.0.partition_point(below)
    }
}

impl TryFrom<Vec<KeyRange>> for KeyRanges {
    type Error = RangeError;

    fn try_from(ranges: Vec<KeyRange>) -> Result<Self, RangeError> {
        Self::try_new(ranges)
    }
}

impl From<KeyRanges> for Vec<KeyRange> {
    fn from(ranges: KeyRanges) -> Self {
        ranges.0
    }
}

impl Sharding {
    /// Replicas that events are divided among; nothing where any takes any.
    #[must_use]
    pub fn replicas(&self) -> Option<u32> {
        match self {
            Self::None => None,
            Self::Hash(replicas) | Self::RoundRobin(replicas) => Some((*replicas).max(1)),
            Self::Range(ranges) => u32::try_from(ranges.count()).ok(),
        }
    }
}
