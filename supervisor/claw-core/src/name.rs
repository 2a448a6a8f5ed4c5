//! Names of agents, validated once at the edge.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest accepted name, in bytes: it becomes a directory, a cgroup and a
/// container name, and Docker's limit (63, from DNS labels) is the smallest.
pub const MAX_NAME_LEN: usize = 63;

/// The name of an agent: 1 to 63 of `a-z 0-9 - _`, starting with a letter or digit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AgentName(Arc<str>);

/// Why a text is not an agent name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("an agent name cannot be empty")]
    Empty,
    /// The text is longer than [`MAX_NAME_LEN`].
    #[error("an agent name has at most {MAX_NAME_LEN} characters, this one has {0}")]
    TooLong(usize),
    /// A character is not allowed, at all or in the first place.
    #[error(
        "`{0}` cannot stand in an agent name (lower-case letters, digits, `-` and `_`, beginning with a letter or digit)"
    )]
    Character(char),
}

impl AgentName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AgentName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let first = text.chars().next().ok_or(NameError::Empty)?;
        if text.chars().count() > MAX_NAME_LEN {
            return Err(NameError::TooLong(text.chars().count()));
        }
        if !first.is_ascii_lowercase() && !first.is_ascii_digit() {
            return Err(NameError::Character(first));
        }
        let allowed =
            |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
        match text.chars().find(|c| !allowed(c)) {
            Some(c) => Err(NameError::Character(c)),
            None => Ok(Self(text.into())),
        }
    }
}

impl TryFrom<String> for AgentName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<AgentName> for String {
    fn from(name: AgentName) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl Borrow<str> for AgentName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AgentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for AgentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_make_bad_directories_are_refused() {
        for bad in ["", "-a", "A", "a/b", "..", "a b", "ä", &"x".repeat(64)] {
            assert!(bad.parse::<AgentName>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn ordinary_names_are_accepted() {
        for good in [
            "monitor",
            "a",
            "0",
            "uptime-monitor",
            "a_b-1",
            &"x".repeat(63),
        ] {
            assert_eq!(
                good.parse::<AgentName>().map(|n| n.to_string()),
                Ok(good.to_owned())
            );
        }
    }
}
