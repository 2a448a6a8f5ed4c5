//! Finding out what works, by doing it once.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use claw_core::spec::Resources;
use claw_core::{AgentSpec, InstanceId, SpawnError, SpawnStage};
use serde::{Deserialize, Serialize};

use super::capabilities::{Backend, Capabilities, Enforcement, KillMethod};
use super::file::{self, CgroupError};
use super::group::{Group, Limits};
use super::mounts::Mounts;
use crate::process::entry;
use crate::process::paths;

/// All our groups are below a directory of this name.
const OURS: &str = "openclaw";

/// Where the supervisor moves itself when its own group must be empty of processes.
const OWN_LEAF: &str = "openclaw-supervisor";

/// Which backend to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CgroupChoice {
    /// The best one that works.
    #[default]
    Auto,
    /// This one, with whatever it can do here.
    Only(Backend),
}

/// The groups of one project.
#[derive(Debug, Clone)]
pub(crate) struct Cgroups {
    capabilities: Capabilities,
    tree: Option<PathBuf>,
    memory: Option<PathBuf>,
    cpu: Option<PathBuf>,
    pids: Option<PathBuf>,
}

/// What was found of one backend, and why parts of it are missing.
#[derive(Debug)]
struct Found {
    tree: Result<PathBuf, String>,
    memory: Result<PathBuf, String>,
    cpu: Result<PathBuf, String>,
    pids: Result<PathBuf, String>,
}

impl Capabilities {
    /// Finds out what this machine can do for agents whose data lies below `data_dir`, and leaves
    /// nothing behind.
    #[must_use]
    pub fn probe(data_dir: &Path) -> Self {
        let data_dir = data_dir
            .canonicalize()
            .unwrap_or_else(|_missing| data_dir.to_owned());
        let project = paths::project(&data_dir);
        let cgroups = Cgroups::detect(CgroupChoice::Auto, &project, Path::new("/proc/self/exe"));
        cgroups.remove_if_empty();
        cgroups.capabilities
    }
}

impl Cgroups {
    /// Tries the backends, best first. `exe` is re-entered once to enter a group for trial.
    pub(crate) fn detect(choice: CgroupChoice, project: &str, exe: &Path) -> Self {
        let trial = Trial { project, exe };
        let mut notes = Vec::new();
        for backend in [Backend::V2, Backend::Hybrid, Backend::V1] {
            let asked = match choice {
                CgroupChoice::Auto => true,
                CgroupChoice::Only(only) => only == backend,
            };
            if !asked {
                continue;
            }
            let found = trial.find(backend);
            let limits = [&found.memory, &found.cpu, &found.pids];
            let enough = match backend {
                Backend::V2 => limits.iter().all(|part| part.is_ok()),
                Backend::Hybrid | Backend::V1 => limits.iter().any(|part| part.is_ok()),
                Backend::None => false,
            };
            if found.tree.is_ok() && (enough || choice != CgroupChoice::Auto) {
                return Self::of(backend, found, notes);
            }
            for root in [&found.tree, &found.memory, &found.cpu, &found.pids]
                .into_iter()
                .flatten()
            {
                remove_root(root);
            }
            let reasons: Vec<String> = [found.tree, found.memory, found.cpu, found.pids]
                .into_iter()
                .filter_map(Result::err)
                .collect();
            notes.push(format!("{backend}: {}", reasons.join("; ")));
        }
        if choice == CgroupChoice::Auto {
            let rest = trial.find(Backend::V2);
            if rest.tree.is_ok() {
                return Self::of(Backend::V2, rest, notes);
            }
        }
        Self::of(Backend::None, Found::default(), notes)
    }

    fn of(backend: Backend, found: Found, notes: Vec<String>) -> Self {
        let mut roots: Vec<PathBuf> = Vec::new();
        for path in [&found.tree, &found.memory, &found.cpu, &found.pids]
            .into_iter()
            .flatten()
        {
            if !roots.contains(path) {
                roots.push(path.clone());
            }
        }
        let tree_works = enforcement(&found.tree);
        let kill = match &found.tree {
            Err(_) => KillMethod::WalkDescendants,
            Ok(tree) if tree.join("cgroup.kill").exists() => KillMethod::CgroupKill,
            Ok(_) => KillMethod::FreezeAndSignal,
        };
        let memory = enforcement(&found.memory);
        let capabilities = Capabilities {
            backend,
            roots,
            memory: memory.clone(),
            cpu: enforcement(&found.cpu),
            pids: enforcement(&found.pids),
            kill,
            freeze: tree_works,
            oom_counter: memory,
            notes,
        };
        Self {
            capabilities,
            tree: found.tree.ok(),
            memory: found.memory.ok(),
            cpu: found.cpu.ok(),
            pids: found.pids.ok(),
        }
    }

    /// What this machine can do.
    pub(crate) const fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// What an agent may use: what is written, and of what its sandbox usually allows all that
    /// can be enforced here.
    pub(crate) fn limits_of(&self, spec: &AgentSpec) -> Resources {
        let mut limits = spec.resources.clone();
        let Some(sandbox) = &spec.launch.sandbox else {
            return limits;
        };
        let Resources {
            cpu_millis,
            memory,
            pids,
        } = &sandbox.usual;
        let able = &self.capabilities;
        if able.cpu == Enforcement::Yes {
            limits.cpu_millis = limits.cpu_millis.or(*cpu_millis);
        }
        if able.memory == Enforcement::Yes {
            limits.memory = limits.memory.or(*memory);
        }
        if able.pids == Enforcement::Yes {
            limits.pids = limits.pids.or(*pids);
        }
        limits
    }

    /// The groups of an instance, or of one of its hooks; none is made yet.
    pub(crate) fn group(
        &self,
        instance: &InstanceId,
        suffix: &str,
        resources: &Resources,
    ) -> Result<Group, SpawnError> {
        self.check(instance, resources)?;
        let name = format!("{}-{}{suffix}", instance.agent, instance.generation);
        Ok(self.named(&name, resources))
    }

    /// The groups of that name, for finding what an earlier supervisor left.
    pub(crate) fn named(&self, name: &str, resources: &Resources) -> Group {
        let version2 = self.capabilities.backend == Backend::V2;
        let below = |root: &Option<PathBuf>, wanted: bool| {
            root.as_ref().filter(|_| wanted).map(|root| root.join(name))
        };
        Group {
            backend: self.capabilities.backend,
            tree: below(&self.tree, true),
            memory: below(&self.memory, true),
            cpu: below(&self.cpu, version2 || resources.cpu_millis.is_some()),
            pids: below(&self.pids, version2 || resources.pids.is_some()),
            limits: Limits::from(resources),
        }
    }

    /// The groups of that name in every directory of ours, limited or not.
    pub(crate) fn every(&self, name: &str) -> Group {
        let everything = Resources {
            cpu_millis: Some(0),
            memory: Some(0),
            pids: Some(0),
        };
        self.named(name, &everything)
    }

    /// The names of all groups there are.
    pub(crate) fn names(&self) -> std::collections::BTreeSet<String> {
        [&self.tree, &self.memory, &self.cpu, &self.pids]
            .into_iter()
            .flatten()
            .filter_map(|root| fs::read_dir(root).ok())
            .flat_map(Iterator::flatten)
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect()
    }

    /// Removes our directories where nothing is left in them.
    pub(crate) fn remove_if_empty(&self) {
        for root in &self.capabilities.roots {
            remove_root(root);
        }
    }

    fn check(&self, instance: &InstanceId, asked: &Resources) -> Result<(), SpawnError> {
        let limits = [
            ("memory", asked.memory.is_some(), &self.capabilities.memory),
            ("cpu", asked.cpu_millis.is_some(), &self.capabilities.cpu),
            ("pids", asked.pids.is_some(), &self.capabilities.pids),
        ];
        for (name, wanted, enforcement) in limits {
            if let (true, Enforcement::No { why }) = (wanted, enforcement) {
                return Err(SpawnError {
                    stage: SpawnStage::Cgroup,
                    errno: nix::libc::EOPNOTSUPP,
                    detail: format!(
                        "`resources.{name}` of `{}` cannot be enforced: {why}",
                        instance.agent
                    ),
                });
            }
        }
        Ok(())
    }
}

/// Removes a directory of ours and the one above it where nothing is left in them: groups still in
/// use keep their parents, because rmdir refuses, and that is the point.
fn remove_root(root: &Path) {
    if fs::remove_dir(root).is_ok()
        && let Some(parent) = root.parent()
    {
        fs::remove_dir(parent).ok();
    }
}

fn enforcement(part: &Result<PathBuf, String>) -> Enforcement {
    match part {
        Ok(_) => Enforcement::Yes,
        Err(why) => Enforcement::No { why: why.clone() },
    }
}

impl Default for Found {
    fn default() -> Self {
        let missing = || Err("there are no usable cgroups".to_owned());
        Self {
            tree: missing(),
            memory: missing(),
            cpu: missing(),
            pids: missing(),
        }
    }
}

/// One attempt to use groups.
struct Trial<'a> {
    project: &'a str,
    exe: &'a Path,
}

impl Trial<'_> {
    fn find(&self, backend: Backend) -> Found {
        let mounts = Mounts::read();
        match backend {
            Backend::V2 => self.find_v2(&mounts),
            Backend::Hybrid => self.limits_v1(&mounts, self.bare_v2(&mounts)),
            Backend::V1 => {
                let tree = self.part_v1(&mounts, "freezer", "freezer.state");
                self.limits_v1(&mounts, tree)
            }
            Backend::None => Found::default(),
        }
    }

    fn limits_v1(&self, mounts: &Mounts, tree: Result<PathBuf, String>) -> Found {
        Found {
            tree,
            memory: self.part_v1(mounts, "memory", "memory.limit_in_bytes"),
            cpu: self.part_v1(mounts, "cpu", "cpu.cfs_quota_us"),
            pids: self.part_v1(mounts, "pids", "pids.max"),
        }
    }

    fn part_v1(&self, mounts: &Mounts, controller: &str, proof: &str) -> Result<PathBuf, String> {
        let top = mounts
            .top_v1(controller)
            .ok_or_else(|| format!("no version 1 hierarchy of `{controller}` is mounted"))?;
        self.works(&top.join(OURS).join(self.project), proof, "tasks")
    }

    fn bare_v2(&self, mounts: &Mounts) -> Result<PathBuf, String> {
        let own = own_v2(mounts)?;
        self.works(
            &own.join(OURS).join(self.project),
            "cgroup.procs",
            "cgroup.procs",
        )
    }

    fn find_v2(&self, mounts: &Mounts) -> Found {
        let tree = self.bare_v2(mounts);
        let limited = |controller: &str, proof: &str| {
            let root = tree.clone()?;
            let own = own_v2(mounts)?;
            enable(&own, controller)?;
            for below in [own.join(OURS), root.clone()] {
                let value = format!("+{controller}");
                file::write(&below, "cgroup.subtree_control", &value).map_err(|e| sentence(&e))?;
            }
            self.works(&root, proof, "cgroup.procs")
        };
        Found {
            memory: limited("memory", "memory.max"),
            cpu: limited("cpu", "cpu.max"),
            pids: limited("pids", "pids.max"),
            tree,
        }
    }

    /// Makes a group below `root`, looks for the control file, enters it, and removes it.
    fn works(&self, root: &Path, proof: &str, entrance: &str) -> Result<PathBuf, String> {
        file::make(root).map_err(|error| sentence(&error))?;
        let group = root.join(format!(".trial-{}", std::process::id()));
        file::make(&group).map_err(|error| sentence(&error))?;
        let result = if group.join(proof).exists() {
            self.enter(&group.join(entrance))
        } else {
            Err(format!("{} has no `{proof}`", group.display()))
        };
        file::remove(&group)
            .map_err(|error| format!("cannot remove {}: {error}", group.display()))?;
        if result.is_err() {
            remove_root(root);
        }
        result.map(|()| root.to_owned())
    }

    fn enter(&self, entrance: &Path) -> Result<(), String> {
        let status = Command::new(self.exe)
            .arg(entry::ENTER)
            .arg(entrance)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .map_err(|error| format!("cannot execute {}: {error}", self.exe.display()))?;
        match status.code() {
            Some(0) => Ok(()),
            Some(errno) => Err(format!(
                "cannot enter {}: {}",
                entrance.display(),
                io::Error::from_raw_os_error(errno)
            )),
            None => Err(format!(
                "the trial to enter {} was killed",
                entrance.display()
            )),
        }
    }
}

/// The group of version 2 below which ours are.
fn own_v2(mounts: &Mounts) -> Result<PathBuf, String> {
    let own = mounts.own_v2().ok_or("no version 2 hierarchy is mounted")?;
    let own = match (own.file_name(), own.parent()) {
        (Some(name), Some(parent)) if name == OWN_LEAF => parent.to_owned(),
        (Some(_) | None, _) => own,
    };
    let holder = holder_beside(&own).filter(|holder| holder.is_dir());
    Ok(holder.unwrap_or(own))
}

/// The unit of systemd that holds the agents of a supervisor which is a unit itself:
/// `NAME-agents.service` beside `NAME.service`, `NAME-agents@X.service` beside `NAME@X.service`.
/// systemd cannot start a unit again below whose group controllers are given out and processes are
/// left, so that must not be the supervisor's own (systemd 254 and later can, with
/// `DelegateSubgroup=`).
fn holder_beside(own: &Path) -> Option<PathBuf> {
    let unit = own.file_name()?.to_str()?.strip_suffix(".service")?;
    let holder = match unit.split_once('@') {
        Some((name, instance)) => format!("{name}-agents@{instance}.service"),
        None => format!("{unit}-agents.service"),
    };
    Some(own.with_file_name(holder))
}

/// Makes a controller available below `own`. Version 2 wants a group that hands out controllers
/// to hold no processes itself, so the supervisor moves into a leaf when it is in the way.
fn enable(own: &Path, controller: &str) -> Result<(), String> {
    let offered = fs::read_to_string(own.join("cgroup.controllers")).unwrap_or_default();
    if !offered.split_whitespace().any(|name| name == controller) {
        return Err(format!(
            "the controller `{controller}` is not offered in {}",
            own.display()
        ));
    }
    let value = format!("+{controller}");
    match file::write(own, "cgroup.subtree_control", &value) {
        Err(CgroupError::Write { source, .. })
            if source.raw_os_error() == Some(nix::libc::EBUSY) =>
        {
            let leaf = own.join(OWN_LEAF);
            file::make(&leaf).map_err(|error| sentence(&error))?;
            let pid = std::process::id().to_string();
            file::write(&leaf, "cgroup.procs", &pid).map_err(|error| sentence(&error))?;
            file::write(own, "cgroup.subtree_control", &value).map_err(|error| {
                format!(
                    "{} (other processes live in {})",
                    sentence(&error),
                    own.display()
                )
            })
        }
        other => other.map_err(|error| sentence(&error)),
    }
}

fn sentence(error: &CgroupError) -> String {
    format!("{error}: {}", error.io())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_of_a_unit_are_held_by_the_unit_beside_it() {
        let holder = |own: &str| holder_beside(Path::new(own));
        assert_eq!(
            holder("/sys/fs/cgroup/system.slice/openclaw.service"),
            Some("/sys/fs/cgroup/system.slice/openclaw-agents.service".into())
        );
        assert_eq!(
            holder("/sys/fs/cgroup/system.slice/claw@two.service"),
            Some("/sys/fs/cgroup/system.slice/claw-agents@two.service".into())
        );
        assert_eq!(holder("/sys/fs/cgroup/user.slice/session-1.scope"), None);
        assert_eq!(holder("/"), None);
    }
}
