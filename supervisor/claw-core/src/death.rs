//! How an instance ended, as observed, and why, as judged.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::clock::Wall;
use crate::models::CallFailure;
use crate::order::{Hook, ProbeKind};

/// How the main process ended, as `waitpid` tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitStatus {
    /// It returned an exit code, 0 to 255.
    Code(u8),
    /// A signal ended it.
    Signal(i32),
}

/// What the driver observed at the end of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitReport {
    /// How the main process ended.
    pub status: ExitStatus,
    /// When the main process ended.
    pub at: Wall,
    /// How many processes of this agent's own tree the kernel killed for memory.
    pub oom_kills: u64,
    /// Processes that outlived the main process and had to be ended.
    pub leftovers: u32,
    /// User plus system time of the whole tree, in microseconds.
    pub cpu_us: u64,
    /// The most memory the tree used at once, in bytes; 0 when it could not be measured.
    pub memory_peak: u64,
    /// Where its output lies in the log.
    pub log: Option<LogRange>,
}

/// A stretch of an agent's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRange {
    /// Which of the agent's log lanes; parallel runs write to different ones.
    pub lane: u32,
    /// The offset of the first byte.
    pub from: u64,
    /// The offset after the last byte.
    pub to: u64,
}

/// The step of a start that failed; the numbers are systemd's exit codes for it (`systemd.exec(5)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpawnStage {
    /// The supervisor's own bookkeeping (run directory, lock, record).
    Prepare = 233,
    /// The log could not be opened.
    Log = 209,
    /// A cgroup could not be made, configured or entered.
    Cgroup = 219,
    /// A resource limit could not be set.
    Limits = 205,
    /// The user or group does not exist or cannot be assumed.
    User = 217,
    /// The working directory cannot be entered.
    WorkingDir = 200,
    /// A process could not be created.
    Fork = 254,
    /// The program could not be executed.
    Exec = 203,
    /// The container engine, or the registry of an image, could not be reached or failed; it says
    /// nothing about the agent (`EX_UNAVAILABLE` of `sysexits.h(3head)`).
    Engine = 69,
    /// There is no such image, or none for this machine; no repetition mends that (`EX_NOINPUT`).
    Image = 66,
    /// This machine cannot confine it as it is written; no repetition mends that
    /// (`EXIT_SECCOMP` of systemd).
    Sandbox = 228,
}

/// Why an instance could not be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{detail}")]
pub struct SpawnError {
    /// Where it failed.
    pub stage: SpawnStage,
    /// The error number of the system call, 0 when there was none.
    pub errno: i32,
    /// A sentence for people that names the object, such as ``cannot execute `node`: no such file``.
    pub detail: String,
}

/// Why an instance or a run ended: the verdict that is recorded, counted and shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Cause {
    /// It ended by itself with an exit code.
    Exit {
        /// 0 to 255.
        code: u8,
        /// Why, in its own words, if it said so before: one line.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        said: Option<String>,
    },
    /// A signal that we did not send ended it.
    Signal {
        /// The signal's number.
        signal: i32,
    },
    /// The kernel killed its main process for memory.
    Oom {
        /// Kills counted in its own tree.
        kills: u64,
    },
    /// It was ended because a probe failed too often.
    Probe {
        /// Which probe.
        probe: ProbeKind,
        /// The last failure's text.
        detail: String,
    },
    /// Its heartbeat stopped.
    Watchdog,
    /// It broke the rules of the agent protocol again and again.
    Protocol,
    /// It made the same call to a model again and again, and the call failed in the same way each
    /// time.
    NoProgress(Box<NoProgress>),
    /// It was not ready in time.
    StartTimeout,
    /// A run took longer than its schedule allows.
    RunTimeout,
    /// The agent said that it failed; the end of a run, never of an instance.
    RunFailed {
        /// What it said.
        message: String,
        /// Whether it thinks that another attempt may help.
        retryable: bool,
    },
    /// A worker that an earlier supervisor had given it to does not work on it any more, or does
    /// not say so; the end of an attempt, never of an instance.
    RunLost,
    /// It could not be started.
    Spawn {
        /// Which step failed and how.
        error: SpawnError,
    },
    /// A hook failed.
    Hook {
        /// Which hook.
        hook: Hook,
        /// What it did.
        detail: String,
    },
    /// Somebody asked for it (stop, restart, shutdown).
    Asked,
    /// The configuration changed.
    Reconfigured,
    /// A newer run took its place (`overlap: replace`).
    Replaced,
    /// The kill switch: it was killed for it, or its start was called off.
    Halted,
    /// What ran it is gone with it, its shim or its container; how it ended is not known.
    Lost,
    /// The machine restarted under it.
    HostReboot,
}

/// A call to a model that was made again and again, and failed each time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoProgress {
    /// How the last one failed.
    pub failure: CallFailure,
    /// How many failed.
    pub calls: u32,
    /// When the first of them did.
    pub since: Wall,
}

impl fmt::Display for NoProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            failure,
            calls,
            since,
        } = self;
        write!(
            f,
            "{calls} times since {since:.0} the same call to a model {failure}"
        )
    }
}

impl Cause {
    /// It ended by itself with an exit code, and did not say why.
    #[must_use]
    pub const fn exit(code: u8) -> Self {
        Self::Exit { code, said: None }
    }

    /// The stable one-word code, as in API, metrics and `why`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Exit { .. } => "exit",
            Self::Signal { .. } => "signal",
            Self::Oom { .. } => "oom",
            Self::Probe { .. } => "probe",
            Self::Watchdog => "watchdog",
            Self::Protocol => "protocol",
            Self::NoProgress(_) => "no_progress",
            Self::StartTimeout => "start_timeout",
            Self::RunTimeout => "run_timeout",
            Self::RunFailed { .. } => "run_failed",
            Self::RunLost => "run_lost",
            Self::Spawn { .. } => "spawn",
            Self::Hook { .. } => "hook",
            Self::Asked => "asked",
            Self::Reconfigured => "reconfigured",
            Self::Replaced => "replaced",
            Self::Halted => "halted",
            Self::Lost => "lost",
            Self::HostReboot => "host_reboot",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit { code, said: None } => write!(f, "exited with code {code}"),
            Self::Exit {
                code,
                said: Some(said),
            } => write!(f, "exited with code {code}: {said}"),
            Self::Signal { signal } => write!(f, "was ended by signal {signal}"),
            Self::Oom { kills } => write!(f, "was killed for memory ({kills} kills)"),
            Self::Probe { probe, detail } => write!(f, "failed its {probe} probe: {detail}"),
            Self::Watchdog => f.write_str("stopped sending its heartbeat"),
            Self::Protocol => f.write_str("broke the agent protocol again and again"),
            Self::NoProgress(evidence) => write!(f, "made no progress: {evidence}"),
            Self::StartTimeout => f.write_str("was not ready in time"),
            Self::RunTimeout => f.write_str("ran longer than its timeout"),
            Self::RunFailed { message, .. } => write!(f, "failed: {message}"),
            Self::RunLost => f.write_str("was lost while the supervisor was away"),
            Self::Spawn { error } => write!(f, "could not be started: {error}"),
            Self::Hook { hook, detail } => write!(f, "hook {hook} failed: {detail}"),
            Self::Asked => f.write_str("was stopped on request"),
            Self::Reconfigured => f.write_str("was replaced because its configuration changed"),
            Self::Replaced => f.write_str("was replaced by a newer run"),
            Self::Halted => f.write_str("was ended by the kill switch"),
            Self::Lost => f.write_str("was lost, and how it ended is not known"),
            Self::HostReboot => f.write_str("ended when the machine restarted"),
        }
    }
}
