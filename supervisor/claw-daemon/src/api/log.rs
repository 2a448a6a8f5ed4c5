//! Lines of an agent's log.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Time;

/// One line of an agent's log, or a notice of the supervisor between two of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// Whose log it is.
    pub agent: String,
    /// When its first byte was read from the agent.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// Where it came from.
    pub stream: LogStream,
    /// The text without its line end; bytes that are not UTF-8 are shown as U+FFFD.
    pub text: String,
    /// Whether the line was longer than a line may be and goes on in the next entry.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub continues: bool,
    /// Give this as `cursor` to go on after this line. Not every line has one: the last line of
    /// each stretch that is sent together does, which for a follower is the newest line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogStream {
    /// The agent's standard output.
    Stdout,
    /// The agent's standard error.
    Stderr,
    /// The supervisor itself: output that was dropped or removed, a reader that was too slow.
    Supervisor,
}

impl LogStream {
    /// The word, as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Supervisor => "supervisor",
        }
    }
}
