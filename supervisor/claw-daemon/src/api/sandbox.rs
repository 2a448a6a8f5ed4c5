//! Sandboxes, as they travel. The Agent Protocol has the same bodies.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use claw_core::ExitStatus;
use claw_drivers::container::pool::{Command, OutFile, Outcome, SandboxStatus, Temperature};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::config::parse_duration;

/// A command to be run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SandboxCommand {
    /// The image, where the path names no sandbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The program and its arguments; no shell is added.
    pub command: Vec<String>,
    /// What it reads, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// What it reads, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin_base64: Option<String>,
    /// Variables beside the sandbox's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Files that are there when it starts; 16 MiB together at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<SandboxFile>,
    /// Names of files that are wanted when it has ended; 16 MiB together at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<String>,
    /// How long it may take, such as `10s`; as long as the sandbox allows when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
}

/// A file of a sandbox, before its command or after it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SandboxFile {
    /// Its name, below the working directory.
    pub name: String,
    /// What is in it, as text; bytes that are no UTF-8 are replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// What is in it, in base64; in an answer where some bytes were replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_base64: Option<String>,
    /// In an answer, why there is no content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent findings, each of which may be there with any other"
)]
pub struct SandboxOutcome {
    /// Its exit code; absent when a signal ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<u8>,
    /// The signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Whether its time was over; all that it had started was killed then.
    pub timed_out: bool,
    /// Whether something in the sandbox was killed for memory.
    pub oom: bool,
    /// What it wrote to its standard output; bytes that are no UTF-8 are replaced.
    pub stdout: String,
    /// The same in base64, where some were replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout_base64: Option<String>,
    /// What it wrote to its standard error; bytes that are no UTF-8 are replaced.
    pub stderr: String,
    /// The same in base64, where some were replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr_base64: Option<String>,
    /// Whether it wrote more than is kept.
    pub truncated: bool,
    /// From the call of the command to its end.
    pub duration_ms: u64,
    /// Whether no container was ready for it, so that one was made.
    pub cold: bool,
    /// The files that were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<SandboxFile>,
}

/// The sandboxes of the fleet file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SandboxList {
    /// By name.
    pub sandboxes: Vec<Sandbox>,
}

/// How a sandbox does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Sandbox {
    /// Its name.
    pub name: String,
    /// Its image.
    pub image: String,
    /// Containers that wait for a command.
    pub ready: usize,
    /// How many are to wait.
    pub wanted: usize,
    /// Commands that run.
    pub running: usize,
    /// Commands that wait for their turn.
    pub waiting: usize,
    /// Commands that may run at a time.
    pub max_running: usize,
    /// Whether nothing is kept ready because nobody has asked for so long.
    pub idle: bool,
    /// Commands that have ended, since the supervisor started or the sandbox changed.
    pub runs: u64,
    /// Those of them that found nothing ready.
    pub cold: u64,
    /// Those of them whose time was over.
    pub timeouts: u64,
    /// Those of them in which something was killed for memory.
    pub oom: u64,
    /// Commands that were turned away because too many ran.
    pub refused: u64,
    /// Containers that were removed because nobody asked for them.
    pub removed_idle: u64,
    /// Containers that were removed because of their age.
    pub removed_old: u64,
    /// What keeps it from being ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Bytes as text, and in base64 where text cannot hold them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bytes {
    /// As text, with what is no UTF-8 replaced.
    pub text: String,
    /// In base64, if something was replaced.
    pub base64: Option<String>,
}

impl Bytes {
    /// Bytes on their way out.
    #[must_use]
    pub fn of(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) => Self { text, base64: None },
            Err(error) => Self {
                text: String::from_utf8_lossy(error.as_bytes()).into_owned(),
                base64: Some(STANDARD.encode(error.as_bytes())),
            },
        }
    }

    /// The bytes themselves; `None` when they are no base64.
    #[must_use]
    pub fn decode(text: &str, base64: Option<&str>) -> Option<Vec<u8>> {
        match base64 {
            Some(encoded) => STANDARD.decode(encoded).ok(),
            None => Some(text.as_bytes().to_vec()),
        }
    }
}

impl SandboxFile {
    /// A file on its way to a sandbox.
    #[must_use]
    pub fn of(name: String, bytes: Vec<u8>) -> Self {
        let bytes = Bytes::of(bytes);
        Self {
            name,
            content: bytes.base64.is_none().then_some(bytes.text),
            content_base64: bytes.base64,
            problem: None,
        }
    }

    /// Its name and its bytes.
    ///
    /// # Errors
    ///
    /// A sentence that says why there are none.
    pub fn read(self) -> Result<(String, Vec<u8>), String> {
        let name = self.name;
        if let Some(problem) = self.problem {
            return Err(format!("the file `{name}`: {problem}"));
        }
        let bytes = match (&self.content, &self.content_base64) {
            (None, None) => {
                return Err(format!("the file `{name}` has no `content`"));
            }
            (text, encoded) => {
                Bytes::decode(text.as_deref().unwrap_or_default(), encoded.as_deref())
            }
        };
        let bytes =
            bytes.ok_or_else(|| format!("`content_base64` of the file `{name}` is not base64"))?;
        Ok((name, bytes))
    }

    fn taken((name, file): (String, OutFile)) -> Self {
        match file {
            OutFile::Taken(bytes) => {
                let bytes = Bytes::of(bytes);
                Self {
                    name,
                    content: Some(bytes.text),
                    content_base64: bytes.base64,
                    problem: None,
                }
            }
            OutFile::Missing(why) => Self {
                name,
                problem: Some(why),
                ..Self::default()
            },
        }
    }
}

impl SandboxCommand {
    /// The command as the driver knows it, or why it cannot be one.
    ///
    /// # Errors
    ///
    /// A sentence that says what cannot be used.
    pub(crate) fn read(self) -> Result<Command, String> {
        let stdin = match (self.stdin, self.stdin_base64) {
            (Some(_), Some(_)) => {
                return Err("`stdin` and `stdin_base64` are both there: send one".to_owned());
            }
            (text, encoded) => Bytes::decode(&text.unwrap_or_default(), encoded.as_deref())
                .ok_or("`stdin_base64` is not base64")?,
        };
        let mut files = BTreeMap::new();
        for file in self.files {
            let (name, bytes) = file.read()?;
            if files.insert(name.clone(), bytes).is_some() {
                return Err(format!("the file `{name}` is there twice"));
            }
        }
        let timeout = self.timeout.map(|text| read_time(&text)).transpose()?;
        Ok(Command {
            program: self.command,
            stdin,
            env: self.env,
            files,
            outputs: self.outputs,
            timeout,
        })
    }
}

fn read_time(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|why| format!("`timeout` is no duration such as `10s`: {why}"))
}

impl From<Outcome> for SandboxOutcome {
    fn from(outcome: Outcome) -> Self {
        let (stdout, stderr) = (Bytes::of(outcome.stdout), Bytes::of(outcome.stderr));
        let (exit_code, signal) = match outcome.status {
            ExitStatus::Code(code) => (Some(code), None),
            ExitStatus::Signal(signal) => (None, Some(signal)),
        };
        Self {
            exit_code,
            signal,
            timed_out: outcome.timed_out,
            oom: outcome.out_of_memory,
            stdout: stdout.text,
            stdout_base64: stdout.base64,
            stderr: stderr.text,
            stderr_base64: stderr.base64,
            truncated: outcome.truncated,
            duration_ms: u64::try_from(outcome.duration.as_millis()).unwrap_or(u64::MAX),
            cold: outcome.temperature == Temperature::Cold,
            files: outcome.files.into_iter().map(SandboxFile::taken).collect(),
        }
    }
}

impl From<SandboxStatus> for Sandbox {
    fn from(status: SandboxStatus) -> Self {
        Self {
            name: status.name,
            image: status.image,
            ready: status.ready,
            wanted: status.wanted,
            running: status.running,
            waiting: status.waiting,
            max_running: status.max_running,
            idle: status.idle,
            runs: status.runs,
            cold: status.cold,
            timeouts: status.timeouts,
            oom: status.out_of_memory,
            refused: status.refused,
            removed_idle: status.removed_idle,
            removed_old: status.removed_old,
            note: status.note,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_travel_in_base64() {
        let plain = Bytes::of(b"hi".to_vec());
        assert_eq!((plain.text.as_str(), plain.base64.as_deref()), ("hi", None));
        let cut = Bytes::of(vec![b'a', 0xc3]);
        assert_eq!(cut.text, "a\u{fffd}");
        let back = Bytes::decode(&cut.text, cut.base64.as_deref());
        assert_eq!(back, Some(vec![b'a', 0xc3]));
    }

    #[test]
    fn a_command_is_read_or_refused_with_a_sentence() {
        let asked = SandboxCommand {
            command: vec!["cat".to_owned()],
            stdin_base64: Some("/w==".to_owned()),
            timeout: Some("2s".to_owned()),
            ..SandboxCommand::default()
        };
        let read = asked.clone().read().unwrap();
        assert_eq!(read.stdin, [0xff]);
        assert_eq!(read.timeout, Some(Duration::from_secs(2)));
        let twice = SandboxCommand {
            stdin: Some("a".to_owned()),
            ..asked.clone()
        };
        assert!(twice.read().unwrap_err().contains("send one"));
        let late = SandboxCommand {
            timeout: Some("soon".to_owned()),
            ..asked
        };
        assert!(late.read().unwrap_err().contains("`timeout`"));
    }
}
