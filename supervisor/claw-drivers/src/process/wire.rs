//! What supervisor, spawner and shim say to each other.
//!
//! ```text
//!  supervisor ──seqpacket──► spawner     one message: a flag byte, then two lines of JSON,
//!                                        [`Task`] and [`Program`]; descriptors: the other end
//!                                        of a stream, and what the flags announce
//!  supervisor ◄──stream──► shim          lines of JSON: [`Report`] up, [`Request`] down
//! ```
//!
//! A shim outlives the supervisor that made it and may meet a newer one or an older one, so these
//! types only ever grow: new fields have defaults, unknown requests and reports are skipped. What
//! has grown when stands in [`super::protocol`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use claw_core::{ExitReport, ExitStatus, InstanceId, SpawnError, Wall};
use serde::{Deserialize, Serialize};

use super::cgroup::Group;
use super::procfs::ProcessIdentity;
use super::protocol::Protocol;
use crate::sandbox::{Confinement, LearnedCall, Ports};
use crate::session::TerminalSize;

/// The longest message that is sent in one piece; a longer one travels as a memory file, since
/// socket buffers are small.
pub(crate) const INLINE_LIMIT: usize = 64 * 1024;

/// The longest message there may be. The command and environment of a program cannot be longer
/// than about 2 MiB in any case; beyond this somebody errs.
pub(crate) const MESSAGE_LIMIT: usize = 4 * 1024 * 1024;

/// Flag: the message is in a memory file, the first descriptor after the stream.
pub(crate) const FLAG_MEMORY_FILE: u8 = 1;

/// Flag: the last descriptor is the program's standard input.
pub(crate) const FLAG_STDIN: u8 = 2;

/// The longest line either side accepts.
pub(crate) const LINE_LIMIT: usize = 64 * 1024;

/// What a process made by the spawner is for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Task {
    /// Be the shim of an instance.
    Shim(Box<ShimTask>),
    /// Run one command to its end.
    Exec(ExecTask),
    /// Run one command to its end for somebody who looks on.
    Session(Box<SessionTask>),
    /// Connect in the network of an instance, and hand over the connection.
    Connect(ConnectTask),
    /// Start another supervisor when this one has ended.
    Succeed(Box<SuccessionTask>),
}

/// Who comes after which supervisor; see [`super::succession`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SuccessionTask {
    pub(crate) supervisor: ProcessIdentity,
    pub(crate) binary: PathBuf,
    pub(crate) socket: PathBuf,
    pub(crate) log: PathBuf,
    pub(crate) outcome: PathBuf,
    pub(crate) patience: Duration,
}

/// A connection that is made in the network of an instance.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ConnectTask {
    pub(crate) keeper: ProcessIdentity,
    pub(crate) main: ProcessIdentity,
    /// Tried in turn.
    pub(crate) addresses: Vec<SocketAddr>,
    /// What each may take.
    pub(crate) limit: Duration,
}

/// What a shim needs to know beside the program itself.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ShimTask {
    pub(crate) instance: InstanceId,
    /// `<data_dir>/run/<agent>/<generation>`.
    pub(crate) dir: PathBuf,
    pub(crate) notify: NotifyAddress,
    pub(crate) log_dir: PathBuf,
    pub(crate) log: LogSettings,
    /// What is masked in the log: the agent's secrets, which the shim therefore has.
    #[serde(default)]
    pub(crate) masked: Vec<String>,
    /// Made if missing, and owned by `owner`.
    pub(crate) data_dirs: Vec<PathBuf>,
    /// What is below it is ours to give to `owner`.
    pub(crate) own_dir: PathBuf,
    pub(crate) owner: Option<(u32, u32)>,
    pub(crate) group: Group,
    pub(crate) boot_id: String,
    pub(crate) stop_signal: i32,
    pub(crate) stop_grace: Duration,
    /// Report progress at most this often; `None`: never.
    pub(crate) progress: Option<Duration>,
    pub(crate) confinement: Option<Box<Confinement>>,
}

/// Where an agent's notifications go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NotifyAddress {
    /// `notify.sock` in the instance directory.
    Path,
    /// An abstract name, where the path is too long or closed to the agent's user.
    Abstract(String),
}

/// The log policy on the wire.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct LogSettings {
    pub(crate) max_size: u64,
    pub(crate) max_files: u32,
    pub(crate) retention: Duration,
    pub(crate) block_when_full: BlockWhenFull,
}

/// What happens when the log cannot be written, on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BlockWhenFull {
    No,
    Yes,
}

/// A command that is run to its end: a probe or a hook.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ExecTask {
    /// What it is, for error texts.
    pub(crate) what: String,
    pub(crate) timeout: Duration,
    pub(crate) group: Group,
    pub(crate) ownership: GroupOwnership,
    pub(crate) confinement: Option<Box<Confinement>>,
}

/// A command for somebody who looks on, in the agent's own group.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SessionTask {
    pub(crate) timeout: Option<Duration>,
    pub(crate) group: Group,
    pub(crate) confinement: Option<Box<Confinement>>,
    /// A terminal in place of pipes.
    pub(crate) terminal: Option<TerminalSize>,
    /// To whom its streams are given.
    pub(crate) owner: Option<(u32, u32)>,
}

/// Whose group a command runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum GroupOwnership {
    /// The agent's; only the command's own descendants may be killed.
    Guest,
    /// Its own; made before and removed after.
    Owner,
}

/// The program itself. Read by the child alone: of its environment no shim has more than it masks.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Program {
    pub(crate) command: Vec<String>,
    /// `KEY=value`, complete.
    pub(crate) env: Vec<String>,
    /// Set `WATCHDOG_PID`, which only the child knows.
    pub(crate) watchdog: Watchdog,
    pub(crate) working_dir: PathBuf,
    pub(crate) user: Option<Identity>,
}

impl Program {
    /// For a task that runs none.
    pub(crate) const fn none() -> Self {
        Self {
            command: Vec::new(),
            env: Vec::new(),
            watchdog: Watchdog::Off,
            working_dir: PathBuf::new(),
            user: None,
        }
    }
}

/// Whether the program is asked for a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Watchdog {
    Off,
    On,
}

/// A resolved user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// The supplementary groups, all of them; nothing is inherited.
    pub(crate) groups: Vec<u32>,
}

/// Supervisor to shim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// Signal the main process.
    Signal(i32),
    /// Kill the whole tree.
    Kill,
    /// Freeze the whole tree.
    Freeze,
    /// Undo `Freeze`.
    Thaw,
    /// Tell what was learned of its calls.
    Learned,
}

/// Shim to supervisor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Report {
    /// The program was executed.
    Started(Standing),
    /// It was not; nothing is left.
    SpawnFailed(SpawnError),
    /// The main process ended.
    MainExited(ExitStatus),
    /// A notification, as it was sent.
    Notified(String),
    /// The agent printed something.
    Progressed,
    /// Nothing is left; the exit record is written.
    Gone(ExitReport),
    /// What was learned of its calls so far.
    Learned(Vec<LearnedCall>),
    /// The streams of a command come along: pipes for input, output and errors, or a terminal.
    Opened,
    /// A command ended.
    Executed(ExecReport),
    /// A connection comes along, or the error number says why there is none.
    Connected(Result<(), i32>),
}

/// Where an instance stands; the first line to every supervisor that connects.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Standing {
    /// What the shim speaks.
    #[serde(default = "Protocol::first")]
    pub(crate) protocol: Protocol,
    pub(crate) main: ProcessIdentity,
    /// The first process of its namespaces, if it has its own.
    #[serde(default)]
    pub(crate) keeper: Option<ProcessIdentity>,
    pub(crate) at: Wall,
    /// Set when the main process has ended and its descendants are being ended.
    #[serde(default)]
    pub(crate) exited: Option<ExitStatus>,
    /// The last notification of each kind that is still of interest, as one text.
    #[serde(default)]
    pub(crate) notified: String,
    /// What the listeners are that come along. A shim that does not say it knows of those for hosts
    /// alone, and their number tells them apart.
    #[serde(default)]
    pub(crate) ports: Option<Ports>,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExecReport {
    pub(crate) end: ExecEnd,
    /// The end of its output, as far as it is text.
    pub(crate) output: String,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ExecEnd {
    Exited(ExitStatus),
    /// It took too long and was killed with its tree.
    TimedOut,
    Failed(SpawnError),
}

/// One value as a line.
pub(crate) fn line<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(value)
        .expect("wire types have text keys and no Serialize of their own that fails");
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shim_that_knows_of_no_models_is_understood() {
        let before = r#"{"started": {"main": {"pid": 7, "start": 1}, "at": "2026-11-01T00:00:00Z", "notified": ""}}"#;
        let Report::Started(standing) = serde_json::from_str(before).unwrap() else {
            panic!("{before}");
        };
        assert_eq!((standing.main.pid, standing.ports), (7, None));
        assert_eq!(standing.protocol, Protocol::first());
    }
}
