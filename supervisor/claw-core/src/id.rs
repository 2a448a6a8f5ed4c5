//! Identities that the core hands out.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::name::AgentName;

/// Counts the lives of one agent, from 1; never reused, also not across restarts of the supervisor.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Generation(pub u64);

/// One life of an agent's process. Facts about another instance are stale and ignored.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InstanceId {
    /// Whose life it is.
    pub agent: AgentName,
    /// Which of its lives.
    pub generation: Generation,
}

impl InstanceId {
    /// All that an agent may ever have, in the order of their generations.
    #[must_use]
    pub fn all_of(agent: &AgentName) -> RangeInclusive<Self> {
        let of = |generation| Self {
            agent: agent.clone(),
            generation: Generation(generation),
        };
        of(0)..=of(u64::MAX)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.agent, self.generation)
    }
}

/// One unit of work; sortable by time of creation (UUID version 7, RFC 9562).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(u128);

/// The text is not a run id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a run id has the form of a UUID, such as 01932f6e-8c0a-7cc3-98c4-dc0c0c07398f")]
pub struct RunIdError;

impl RunId {
    /// Makes an id from milliseconds since 1970 (48 bits are used) and 74 bits of randomness.
    #[must_use]
    pub const fn new(unix_ms: u64, random: u128) -> Self {
        let time = ((unix_ms as u128) & 0xffff_ffff_ffff) << 80;
        let high = ((random >> 62) & 0xfff) << 64;
        let low = random & 0x3fff_ffff_ffff_ffff;
        Self(time | (0x7 << 76) | high | (0b10 << 62) | low)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", self.0);
        let groups = [
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..],
        ];
        f.pad(&groups.join("-"))
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RunId {
    type Err = RunIdError;

    fn from_str(text: &str) -> Result<Self, RunIdError> {
        let shape = text.len() == 36 && text.is_ascii();
        let dashes = [8, 13, 18, 23];
        if !shape || dashes.iter().any(|&at| text.as_bytes()[at] != b'-') {
            return Err(RunIdError);
        }
        let hex: String = text.chars().filter(|c| *c != '-').collect();
        if hex.len() != 32 || hex.starts_with('+') {
            return Err(RunIdError);
        }
        u128::from_str_radix(&hex, 16)
            .map(Self)
            .map_err(|_not_hex| RunIdError)
    }
}

impl TryFrom<String> for RunId {
    type Error = RunIdError;

    fn try_from(text: String) -> Result<Self, RunIdError> {
        text.parse()
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> Self {
        id.to_string()
    }
}

/// Stands for somebody who waits for an answer; the host maps it back to the waiter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_id_is_a_version_7_uuid_and_survives_text() {
        let id = RunId::new(0x0193_2f6e_8c0a, u128::MAX);
        assert_eq!(id.to_string(), "01932f6e-8c0a-7fff-bfff-ffffffffffff");
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn later_ids_sort_later() {
        assert!(RunId::new(1, u128::MAX) < RunId::new(2, 0));
    }

    #[test]
    fn texts_that_are_not_ids_are_refused() {
        for bad in [
            "",
            "01932f6e",
            "01932f6e-8c0a-7fff-bfff-fffffffffffg",
            "+1932f6e-8c0a-7fff-bfff-ffffffffffff",
        ] {
            assert_eq!(bad.parse::<RunId>(), Err(RunIdError));
        }
    }
}
