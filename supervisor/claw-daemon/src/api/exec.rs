//! A command in the sandbox of an agent, as it travels over a WebSocket.
//!
//! Text messages are JSON: [`ExecAsk`] to the supervisor, [`ExecAnswer`] from it. Binary messages
//! are what the command reads and prints; their first byte says which stream it is.

use serde::{Deserialize, Serialize};

/// The first byte of what the command reads.
pub const STDIN: u8 = 0;
/// The first byte of what the command prints, or of all that a terminal shows.
pub const STDOUT: u8 = 1;
/// The first byte of what the command prints to its standard error.
pub const STDERR: u8 = 2;

/// What the supervisor is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecAsk {
    /// The first message: what to run.
    Start(ExecStart),
    /// The terminal has another size now.
    Resize(ExecTerminal),
    /// A signal for the command and all that it has started.
    Signal(ExecSignal),
    /// Nothing more is read.
    CloseStdin,
}

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecStart {
    /// The program and its arguments; no shell is added.
    pub command: Vec<String>,
    /// How long it may take, such as `10s`; as long as the connection when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// A terminal in place of pipes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<ExecTerminal>,
}

/// A terminal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecTerminal {
    /// Its lines.
    pub rows: u16,
    /// The characters in each.
    pub columns: u16,
    /// What it is, for `TERM`; `dumb` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

/// A signal that people send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecSignal {
    /// `SIGHUP`.
    Hup,
    /// `SIGINT`.
    Int,
    /// `SIGQUIT`.
    Quit,
    /// `SIGTERM`.
    Term,
}

/// What the supervisor says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecAnswer {
    /// There is a process for the command.
    Started(ExecStarted),
    /// The last message: it has ended.
    Ended(ExecEnded),
    /// The last message: it was not run.
    Failed(ExecFailed),
}

/// Where the command runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecStarted {
    /// The instance, `NAME#GENERATION`.
    pub instance: String,
    /// What a person should know of where it runs; absent in a sandbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecEnded {
    /// Its exit code; absent when a signal ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<u8>,
    /// The signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Whether its time was over; it was killed then with all that it had started.
    #[serde(default)]
    pub timed_out: bool,
}

/// Why a command was not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecFailed {
    /// The reason, and what to do about it.
    pub detail: String,
    /// What a shell would exit with: 127, there is no such program; 126, it cannot be executed;
    /// else 125.
    pub exit_code: u8,
}
