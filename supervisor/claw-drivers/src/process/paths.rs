//! Where things are below the data directory.

use std::path::{Path, PathBuf};

use claw_core::{AgentName, Generation, InstanceId};

/// The layout of the data directory, and of the run directories that it leads to.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    data_dir: PathBuf,
    run_dir: PathBuf,
}

impl Paths {
    /// The layout below absolute paths.
    pub(crate) const fn new(data_dir: PathBuf, run_dir: PathBuf) -> Self {
        Self { data_dir, run_dir }
    }

    pub(crate) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Where the run directories of all agents lie.
    pub(crate) fn run_dir(&self) -> &Path {
        &self.run_dir
    }

    fn instances(&self, agent: &str) -> PathBuf {
        self.run_dir.join(agent)
    }

    /// The directory of an instance.
    pub(crate) fn instance(&self, instance: &InstanceId) -> PathBuf {
        self.instances(instance.agent.as_str())
            .join(instance.generation.to_string())
    }

    /// The directory of an agent's log lanes.
    pub(crate) fn log(&self, agent: &AgentName) -> PathBuf {
        log_dir(&self.data_dir, agent)
    }

    /// A directory for what an agent passes between its programs, where it shares `/tmp`.
    pub(crate) fn scratch(&self, agent: &AgentName) -> PathBuf {
        self.data_dir
            .join("agents")
            .join(agent.as_str())
            .join("tmp")
    }

    /// Where the images of an agent's directories of a fixed size are.
    pub(crate) fn disks(&self, agent: &AgentName) -> PathBuf {
        self.data_dir
            .join("agents")
            .join(agent.as_str())
            .join("disks")
    }

    /// A name for our cgroups that two projects on one machine do not share.
    pub(crate) fn project(&self) -> String {
        project(&self.data_dir)
    }

    /// Every instance that has a directory.
    pub(crate) fn all_instances(&self) -> Vec<InstanceId> {
        let agents = names_in(&self.run_dir);
        let of_agent = |agent: AgentName| {
            let generations = names_in(&self.instances(agent.as_str())).into_iter();
            generations.filter_map(move |name| {
                Some(InstanceId {
                    agent: agent.clone(),
                    generation: Generation(name.parse().ok()?),
                })
            })
        };
        agents
            .into_iter()
            .filter_map(|name| name.parse().ok())
            .flat_map(of_agent)
            .collect()
    }
}

/// The directory of an agent's log lanes, whatever runs it.
pub(crate) fn log_dir(data_dir: &Path, agent: &AgentName) -> PathBuf {
    data_dir.join("agents").join(agent.as_str()).join("log")
}

/// A name for what a project has outside its data directory.
pub(crate) fn project(data_dir: &Path) -> String {
    format!("{:016x}", hash(data_dir.as_os_str().as_encoded_bytes()))
}

/// FNV-1a, for what has to differ and not to be secret.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn names_in(path: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// The instance a cgroup of ours is named for: `<agent>-<generation>`, with `.hook` behind it for
/// a hook's.
pub(crate) fn instance_of_group(name: &str) -> Option<InstanceId> {
    let base = name.split_once('.').map_or(name, |(base, _)| base);
    let (agent, generation) = base.rsplit_once('-')?;
    Some(InstanceId {
        agent: agent.parse().ok()?,
        generation: Generation(generation.parse().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_name_leads_back_to_its_instance() {
        let expected = InstanceId {
            agent: "web-2".parse().expect("a good name"),
            generation: Generation(17),
        };
        assert_eq!(instance_of_group("web-2-17"), Some(expected.clone()));
        assert_eq!(instance_of_group("web-2-17.pre_start"), Some(expected));
        assert_eq!(instance_of_group("system.slice"), None);
        assert_eq!(instance_of_group(".trial-12"), None);
    }
}
