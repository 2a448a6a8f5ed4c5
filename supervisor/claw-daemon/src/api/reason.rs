//! Reasons and causes of death: a stable code, a sentence, and the evidence.

use claw_core as core;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Halt, Time};

/// Why an agent is in its state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Reason {
    /// The stable code, such as `backing_off`.
    pub code: String,
    /// One sentence for people.
    pub text: String,
    /// How the last instance ended, where that is the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// When the agent is started again, while it backs off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Time>,
    /// Failures in a row, where they are the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures: Option<u32>,
    /// The provider of models whose outage is waited out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// When that outage was first heard of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Time>,
    /// How it is halted, where that is the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halt: Option<Box<Halt>>,
    /// The agents waited for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<String>,
    /// The runs under way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<String>,
}

impl Reason {
    fn new(code: &str, text: String) -> Self {
        Self {
            code: code.to_owned(),
            text,
            cause: None,
            until: None,
            failures: None,
            provider: None,
            since: None,
            halt: None,
            agents: Vec::new(),
            runs: Vec::new(),
        }
    }

    fn caused_by(mut self, cause: &core::Cause) -> Self {
        self.cause = Some(cause.into());
        self
    }
}

impl From<&core::Reason> for Reason {
    fn from(reason: &core::Reason) -> Self {
        let plain = Self::new(reason.code(), sentence(reason));
        match reason {
            core::Reason::WaitingFor { agents } => Self {
                agents: agents.iter().map(ToString::to_string).collect(),
                ..plain
            },
            core::Reason::Working { runs } => Self {
                runs: runs.iter().map(ToString::to_string).collect(),
                ..plain
            },
            core::Reason::BackingOff {
                cause,
                until,
                failures,
            } => Self {
                until: Some(*until),
                failures: Some(*failures),
                ..plain.caused_by(cause)
            },
            core::Reason::GaveUp { cause, failures } => Self {
                failures: Some(*failures),
                ..plain.caused_by(cause)
            },
            core::Reason::ProviderDown {
                provider,
                since,
                stage,
            } => Self {
                provider: Some(provider.clone()),
                since: Some(*since),
                agents: goes_first(stage)
                    .map(ToString::to_string)
                    .into_iter()
                    .collect(),
                ..plain
            },
            core::Reason::Halted(halt) => Self {
                halt: Some(Box::new(halt.into())),
                ..plain
            },
            core::Reason::Ending { cause } | core::Reason::NotRestarted { cause } => {
                plain.caused_by(cause)
            }
            core::Reason::Queued
            | core::Reason::PreStart
            | core::Reason::Spawning
            | core::Reason::Preparing { .. }
            | core::Reason::Unobserved { .. }
            | core::Reason::NeedsRestart { .. }
            | core::Reason::StartingUp
            | core::Reason::Up
            | core::Reason::Waiting
            | core::Reason::NotReady { .. }
            | core::Reason::Paused
            | core::Reason::Frozen
            | core::Reason::Asked
            | core::Reason::Completed
            | core::Reason::Refused { .. } => plain,
        }
    }
}

const fn goes_first(stage: &core::GateStage) -> Option<&core::AgentName> {
    match stage {
        core::GateStage::Tried { by } => Some(by),
        core::GateStage::Shut | core::GateStage::Opening => None,
    }
}

fn sentence(reason: &core::Reason) -> String {
    match reason {
        core::Reason::WaitingFor { agents } => {
            let names: Vec<&str> = agents.iter().map(core::AgentName::as_str).collect();
            format!("waits for {}", names.join(", "))
        }
        core::Reason::Queued => "waits for its turn to start".to_owned(),
        core::Reason::ProviderDown {
            provider,
            since,
            stage,
        } => match stage {
            core::GateStage::Shut => {
                format!("waits for the provider {provider}, down since {since:.0}")
            }
            core::GateStage::Tried { by } => format!(
                "waits for the provider {provider}, down since {since:.0}; {by} tries first"
            ),
            core::GateStage::Opening => format!(
                "the provider {provider}, down since {since:.0}, answers again; agents start one \
                 after another"
            ),
        },
        core::Reason::PreStart => "its pre_start hook runs".to_owned(),
        core::Reason::Spawning => "its process is being started".to_owned(),
        core::Reason::Preparing { detail } => detail.clone(),
        core::Reason::Unobserved { detail } => {
            format!("nobody knows whether it still runs: {detail}")
        }
        core::Reason::NeedsRestart { detail } => format!("runs, and needs a restart: {detail}"),
        core::Reason::StartingUp => "runs, and has yet to say that it is up".to_owned(),
        core::Reason::Up => "runs".to_owned(),
        core::Reason::Waiting => "waits for its next slot or trigger".to_owned(),
        core::Reason::Working { runs } if runs.len() == 1 => "works on a run".to_owned(),
        core::Reason::Working { runs } => format!("works on {} runs", runs.len()),
        core::Reason::NotReady { detail } => format!("runs, but is not ready: {detail}"),
        core::Reason::Paused => "was paused".to_owned(),
        core::Reason::Frozen => "was paused and frozen".to_owned(),
        core::Reason::Halted(halt) => format!("halted: {halt}"),
        core::Reason::BackingOff {
            cause, failures, ..
        } => format!("{cause} ({})", in_a_row(*failures)),
        core::Reason::Ending { cause } => format!("is being ended: {cause}"),
        core::Reason::Asked => "was stopped on request".to_owned(),
        core::Reason::Completed => "did what it had to do".to_owned(),
        core::Reason::GaveUp { cause, failures } => {
            format!("was given up: {cause} ({})", in_a_row(*failures))
        }
        core::Reason::Refused { reason } => reason.clone(),
        core::Reason::NotRestarted { cause } => {
            format!("{cause}, and its restart policy does not start it again")
        }
    }
}

fn in_a_row(failures: u32) -> String {
    match failures {
        0 | 1 => "first failure".to_owned(),
        more => format!("{more} failures in a row"),
    }
}

/// How an instance or a run ended: the verdict, with its evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Cause {
    /// The stable code: `exit`, `signal`, `oom`, `probe`, `watchdog`, `protocol`, `no_progress`,
    /// `start_timeout`, `run_timeout`, `run_failed`, `run_lost`, `spawn`, `hook`, `asked`,
    /// `reconfigured`, `replaced`, `halted`, `lost`, `host_reboot`.
    pub code: String,
    /// One sentence fragment for people, such as `exited with code 3`.
    pub text: String,
    /// The exit code, for `exit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<u8>,
    /// The signal's number, for `signal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Which probe, for `probe`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<String>,
    /// Which hook, for `hook`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
}

impl From<&core::Cause> for Cause {
    fn from(cause: &core::Cause) -> Self {
        let plain = Self {
            code: cause.code().to_owned(),
            text: cause.to_string(),
            exit_code: None,
            signal: None,
            probe: None,
            hook: None,
        };
        match cause {
            core::Cause::Exit { code, .. } => Self {
                exit_code: Some(*code),
                ..plain
            },
            core::Cause::Signal { signal } => Self {
                signal: Some(*signal),
                ..plain
            },
            core::Cause::Probe { probe, .. } => Self {
                probe: Some(probe.to_string()),
                ..plain
            },
            core::Cause::Hook { hook, .. } => Self {
                hook: Some(hook.to_string()),
                ..plain
            },
            core::Cause::Oom { .. }
            | core::Cause::Watchdog
            | core::Cause::Protocol
            | core::Cause::NoProgress(_)
            | core::Cause::StartTimeout
            | core::Cause::RunTimeout
            | core::Cause::RunFailed { .. }
            | core::Cause::RunLost
            | core::Cause::Spawn { .. }
            | core::Cause::Asked
            | core::Cause::Reconfigured
            | core::Cause::Replaced
            | core::Cause::Halted
            | core::Cause::Lost
            | core::Cause::HostReboot => plain,
        }
    }
}
