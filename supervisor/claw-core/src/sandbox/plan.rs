//! Which layers an agent gets.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::ability::{Abilities, Privilege};
use super::shortfall::{Need, Shortfall};
use crate::spec::sandbox::{Landlock, OnMissing, Reach, Sandbox, SystemCalls};

/// How far a process is confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Not at all, but for its limits.
    None,
    /// By Landlock and a filter of system calls, among the processes of the host.
    Landlock,
    /// In namespaces of its own.
    Full,
}

/// One wall around a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// A user of the host's that no other agent has.
    OwnUser,
    /// A user namespace, without capabilities.
    UserNamespace,
    /// A root directory with what it may see and nothing else.
    RootDir,
    /// Its own processes, and no others.
    Processes,
    /// Its own network, with no way out but through the supervisor.
    Network,
    /// Landlock, of this version.
    Landlock(u32),
    /// A filter of system calls.
    Seccomp,
    /// Limits to what is written to disk.
    Quota,
    /// A limit to the number of processes, by the count of those of their user.
    ProcessCount,
    /// In the host's network, no connections but those to the port of its language models.
    OnlyModels,
}

/// Something that was wanted, and is not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// What.
    pub need: Need,
    /// Why.
    pub lack: super::Lack,
}

/// What an agent gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// How far it is confined.
    pub level: Level,
    /// By what, from the outside in.
    pub layers: Vec<Layer>,
    /// What it does without; empty unless it may be degraded.
    pub losses: Vec<Loss>,
}

/// Decides which layers an agent gets.
///
/// # Errors
///
/// The machine cannot do what is wanted, and less is not accepted.
pub fn plan(wanted: &Sandbox, machine: &Abilities) -> Result<Plan, Shortfall> {
    let losses = losses(wanted, machine);
    if wanted.on_missing == OnMissing::Refuse
        && let Some(loss) = losses.iter().find(|loss| loss.need.is_a_wall())
    {
        return Err(Shortfall {
            need: loss.need,
            lack: loss.lack.clone(),
            instead: machine.best(),
        });
    }
    let level = machine.best();
    Ok(Plan {
        level,
        layers: layers(wanted, machine, level),
        losses,
    })
}

/// All that is wanted and cannot be done, the outermost first.
fn losses(wanted: &Sandbox, machine: &Abilities) -> Vec<Loss> {
    let mut losses = Vec::new();
    let mut lose = |need: Need, lack: &super::Lack| {
        losses.push(Loss {
            need,
            lack: lack.clone(),
        });
    };
    let listed = matches!(&wanted.network, Reach::Listed(_));
    let own_network = match (&machine.namespaces, &machine.network) {
        (Err(lack), _) | (Ok(()), Err(lack)) => Err(lack),
        (Ok(()), Ok(())) => Ok(()),
    };
    if let (true, Err(lack)) = (listed, own_network) {
        lose(Need::network(&wanted.network), lack);
    }
    let walls = [&machine.namespaces, &machine.root_dir, &machine.proc];
    let no_root_dir = walls.into_iter().find_map(|wall| wall.as_ref().err());
    if let Some(lack) = no_root_dir {
        lose(Need::RootDir, lack);
    }
    if let (SystemCalls::Listed { .. } | SystemCalls::Learn, Err(lack)) =
        (&wanted.seccomp, &machine.seccomp)
    {
        lose(Need::Seccomp, lack);
    }
    match (wanted.landlock, &machine.landlock) {
        (Landlock::Require(version), Err(lack)) => lose(Need::Landlock(version), lack),
        (Landlock::Require(version), Ok(found)) if *found < version => {
            let lack = super::Lack {
                call: "landlock_create_ruleset".to_owned(),
                errno: 0,
                reason: format!("this kernel has version {found}"),
            };
            lose(Need::Landlock(version), &lack);
        }
        (Landlock::Require(_), Ok(_)) | (Landlock::BestEffort, _) => {}
    }
    // A file system of its own is seen in a root directory of its own, and nowhere else.
    let no_quota = no_root_dir.or(machine.quota.as_ref().err());
    if let (true, Some(lack)) = (has_quota(wanted), no_quota) {
        lose(Need::Quota, lack);
    }
    losses
}

fn has_quota(wanted: &Sandbox) -> bool {
    wanted.writable.iter().any(|one| one.size.is_some())
}

fn layers(wanted: &Sandbox, machine: &Abilities, level: Level) -> Vec<Layer> {
    let mut layers = Vec::new();
    if level == Level::None {
        return layers;
    }
    if machine.privilege == Privilege::Root {
        layers.push(Layer::OwnUser);
    }
    if level == Level::Full {
        layers.extend([Layer::UserNamespace, Layer::RootDir, Layer::Processes]);
        if machine.network.is_ok() && matches!(wanted.network, Reach::Listed(_)) {
            layers.push(Layer::Network);
        }
    }
    layers.extend(machine.landlock.as_ref().ok().copied().map(Layer::Landlock));
    if machine.seccomp.is_ok() && wanted.seccomp != SystemCalls::Any {
        layers.push(Layer::Seccomp);
    }
    if level == Level::Full && machine.quota.is_ok() && has_quota(wanted) {
        layers.push(Layer::Quota);
    }
    layers
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Landlock => "landlock",
            Self::Full => "full",
        })
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnUser => f.write_str("a user of its own"),
            Self::UserNamespace => f.write_str("a user namespace without capabilities"),
            Self::RootDir => f.write_str("a root directory of its own"),
            Self::Processes => f.write_str("processes of its own"),
            Self::Network => f.write_str("a network of its own"),
            Self::Landlock(version) => write!(f, "Landlock {version}"),
            Self::Seccomp => f.write_str("a filter of system calls"),
            Self::Quota => f.write_str("limits to what it writes to disk"),
            Self::ProcessCount => f.write_str("a limit to its processes without a cgroup"),
            Self::OnlyModels => f.write_str("connections to the port of its models alone"),
        }
    }
}

#[cfg(test)]
mod tests;
