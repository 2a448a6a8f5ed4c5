//! What a new configuration changes: computed and shown before it is applied.

mod container;
mod fields;
mod render;
mod sandbox;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::name::AgentName;
use crate::spec::{AgentSpec, FleetSpec};
use fields::Field;

/// A change to one agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Whose.
    pub agent: AgentName,
    /// What.
    #[serde(flatten)]
    pub kind: ChangeKind,
}

/// What changes for an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It is written differently; at least one field.
    Changed {
        /// The fields that differ, by path.
        fields: Vec<FieldChange>,
    },
}

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldChange {
    /// Where it stands in the fleet file, below the agent, such as `restart_policy.max_delay`.
    pub path: String,
    /// Its value so far as YAML, `unset` when there is none, `***` for a secret.
    pub old: String,
    /// Its value from now on, in the same way.
    pub new: String,
    /// What it takes to bring it about.
    pub class: ReloadClass,
}

/// What it takes to bring a change about; later ones are stronger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReloadClass {
    /// It takes effect in the running agent.
    Live,
    /// A running instance has to be replaced.
    Restart,
}

impl fmt::Display for ReloadClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Live => "live",
            Self::Restart => "restart",
        })
    }
}

impl Change {
    /// The strongest class of its fields; `None` for an agent that is new or gone.
    #[must_use]
    pub fn class(&self) -> Option<ReloadClass> {
        match &self.kind {
            ChangeKind::Added | ChangeKind::Removed => None,
            ChangeKind::Changed { fields } => fields.iter().map(|field| field.class).max(),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ChangeKind::Added => write!(f, "+ {} is started", self.agent),
            ChangeKind::Removed => write!(f, "- {} is stopped and removed", self.agent),
            ChangeKind::Changed { fields } => {
                let consequence = match self.class() {
                    Some(ReloadClass::Restart) => "is restarted",
                    Some(ReloadClass::Live) | None => "goes on running",
                };
                write!(f, "~ {} {consequence}", self.agent)?;
                fields
                    .iter()
                    .try_for_each(|field| write!(f, "\n    {field}"))
            }
        }
    }
}

impl fmt::Display for FieldChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path,
            old,
            new,
            class,
        } = self;
        write!(f, "{path}: {old} -> {new} ({class})")
    }
}

/// What changes for the agents, by name.
#[must_use]
pub fn diff(old: &FleetSpec, new: &FleetSpec) -> Vec<Change> {
    let names: BTreeSet<&AgentName> = old.agents.keys().chain(new.agents.keys()).collect();
    names
        .into_iter()
        .filter_map(|agent| {
            let kind = match (old.agents.get(agent), new.agents.get(agent)) {
                (None, None) => return None,
                (None, Some(_)) => ChangeKind::Added,
                (Some(_), None) => ChangeKind::Removed,
                (Some(old), Some(new)) if old == new => return None,
                (Some(old), Some(new)) => ChangeKind::Changed {
                    fields: differing(fields::of_agent(old), fields::of_agent(new)),
                },
            };
            Some(Change {
                agent: agent.clone(),
                kind,
            })
        })
        .collect()
}

/// What changes for the fleet as a whole, beside its agents; paths count from the top of the file.
#[must_use]
pub fn diff_fleet(old: &FleetSpec, new: &FleetSpec) -> Vec<FieldChange> {
    differing(fields::of_fleet(old), fields::of_fleet(new))
}

/// The fields that stand in one only, or in both with different values.
fn differing(old: BTreeMap<String, Field>, mut new: BTreeMap<String, Field>) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    let mut note = |path: String, old: Option<Field>, new: Option<Field>| {
        let class = old.iter().chain(&new).map(|field| field.class).max();
        let (Some(class), true) = (class, old != new) else {
            return;
        };
        changes.push(FieldChange {
            path,
            old: shown(old),
            new: shown(new),
            class,
        });
    };
    for (path, was) in old {
        let is = new.remove(&path);
        note(path, Some(was), is);
    }
    for (path, is) in new {
        note(path, None, Some(is));
    }
    changes.sort_by(|one, other| one.path.cmp(&other.path));
    changes
}

/// A hash of the fields whose change takes a restart.
pub(crate) fn restart_hash(spec: &AgentSpec) -> String {
    let mut hash = Sha256::new();
    for (path, field) in fields::of_agent(spec) {
        if field.class == ReloadClass::Restart {
            // Lengths keep two neighbours from reading as two others.
            for text in [&path, &field.value] {
                hash.update(text.len().to_le_bytes());
                hash.update(text);
            }
        }
    }
    let digest = hash.finalize();
    let digits = digest.iter().take(8).map(|byte| format!("{byte:02x}"));
    digits.collect()
}

fn shown(field: Option<Field>) -> String {
    field.map_or_else(|| "unset".to_owned(), |field| field.shown)
}

#[cfg(test)]
mod tests;
