//! What a machine can do to confine processes, as `clawctl doctor` tells of it.

use std::fmt;

use claw_core::sandbox::{Abilities, Ability, Lack, Level, Privilege};
use serde::{Deserialize, Serialize};

use super::SandboxLevel;

/// What a machine can do to confine processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxReport {
    /// What a process gets here that is confined as far as possible.
    pub level: SandboxLevel,
    /// Whether the supervisor is root.
    pub root: bool,
    /// Each part, from the outside in.
    pub parts: Vec<SandboxPart>,
    /// What to do about what is missing, in sentences.
    pub advice: Vec<String>,
}

/// One part of what a machine can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxPart {
    /// Its short name.
    pub name: String,
    /// What can be done; absent if nothing can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// The call that failed, and how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lack: Option<String>,
    /// The error number of that call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<i32>,
}

const NAMESPACES: &str = "run the supervisor as root, or let ordinary users make user namespaces; in a container, start it with the seccomp profile of docs/process-sandbox.md";
const LANDLOCK: &str = "boot a kernel with CONFIG_SECURITY_LANDLOCK, and with `landlock` in its `lsm=`; without it a process has one wall less";
const SECCOMP: &str = "boot a kernel with CONFIG_SECCOMP_FILTER";
const QUOTA: &str = "a `size` of `writable` is not enforced; it is where the supervisor is root and has loop devices and e2fsprogs. `tmp` and `shm` have sizes that are";

impl From<&Abilities> for SandboxReport {
    fn from(machine: &Abilities) -> Self {
        let Abilities {
            privilege,
            namespaces,
            root_dir,
            proc,
            network,
            landlock,
            seccomp,
            quota,
            process_count,
        } = machine;
        let landlock_found = landlock
            .as_ref()
            .map(|version| format!("version {version}"));
        let mut advice = Vec::new();
        let walls = [namespaces, root_dir, proc, network];
        if walls.into_iter().any(Result::is_err) {
            advice.push(NAMESPACES.to_owned());
        }
        let others = [
            (landlock.is_err(), LANDLOCK),
            (seccomp.is_err(), SECCOMP),
            (quota.is_err(), QUOTA),
        ];
        let others = others.into_iter().filter(|(lacking, _)| *lacking);
        advice.extend(others.map(|(_, advice)| advice.to_owned()));
        Self {
            level: machine.best().into(),
            root: *privilege == Privilege::Root,
            parts: vec![
                part("namespaces", namespaces),
                part("root dir", root_dir),
                part("proc", proc),
                part("network", network),
                named("landlock", landlock_found),
                part("seccomp", seccomp),
                part("quota", quota),
                part("processes", process_count),
            ],
            advice,
        }
    }
}

fn part(name: &str, ability: &Ability) -> SandboxPart {
    named(name, ability.as_ref().map(|()| "yes".to_owned()))
}

fn named(name: &str, found: Result<String, &Lack>) -> SandboxPart {
    let (found, lack) = match found {
        Ok(found) => (Some(found), None),
        Err(lack) => (None, Some(lack)),
    };
    SandboxPart {
        name: name.to_owned(),
        found,
        errno: lack.map(|lack| lack.errno).filter(|errno| *errno != 0),
        lack: lack.map(ToString::to_string),
    }
}

impl fmt::Display for SandboxReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let means = match Level::from(self.level) {
            Level::Full => "processes see their own files, processes and network alone",
            Level::Landlock => {
                "processes are kept from files and system calls, and see the processes of the host"
            }
            Level::None => "processes cannot be locked in",
        };
        writeln!(f, "sandbox      {}: {means}", self.level)?;
        let users = if self.root {
            "one for each agent"
        } else {
            "the supervisor's own"
        };
        write!(f, "  user       {users}")?;
        for part in &self.parts {
            let SandboxPart {
                name, found, lack, ..
            } = part;
            match (found, lack) {
                (Some(found), _) => write!(f, "\n  {name:<10} {found}")?,
                (None, lack) => {
                    let lack = lack.as_deref().unwrap_or("unknown");
                    write!(f, "\n  {name:<10} no: {lack}")?;
                }
            }
        }
        for advice in &self.advice {
            write!(f, "\n  note       {advice}")?;
        }
        Ok(())
    }
}

impl From<SandboxLevel> for Level {
    fn from(level: SandboxLevel) -> Self {
        match level {
            SandboxLevel::None => Self::None,
            SandboxLevel::Landlock => Self::Landlock,
            SandboxLevel::Full => Self::Full,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything() -> Abilities {
        Abilities {
            privilege: Privilege::Root,
            namespaces: Ok(()),
            root_dir: Ok(()),
            proc: Ok(()),
            network: Ok(()),
            landlock: Ok(7),
            seccomp: Ok(()),
            quota: Ok(()),
            process_count: Ok(()),
        }
    }

    #[test]
    fn a_machine_that_can_do_everything_is_told_in_a_line_each() {
        let report = SandboxReport::from(&everything());
        insta::assert_snapshot!(report, @r"
        sandbox      full: processes see their own files, processes and network alone
          user       one for each agent
          namespaces yes
          root dir   yes
          proc       yes
          network    yes
          landlock   version 7
          seccomp    yes
          quota      yes
          processes  yes
        ");
    }

    #[test]
    fn what_fails_is_told_with_the_call_and_what_to_do() {
        let lack = |call: &str, reason: &str| Lack {
            call: call.to_owned(),
            errno: 1,
            reason: reason.to_owned(),
        };
        let refused = || lack("unshare", "EPERM, no user namespaces in this container");
        let docker = Abilities {
            privilege: Privilege::User,
            namespaces: Err(refused()),
            root_dir: Err(refused()),
            proc: Err(refused()),
            network: Err(refused()),
            quota: Err(lack("losetup", "EPERM")),
            process_count: Err(lack("clone", "EPERM")),
            ..everything()
        };
        let report = SandboxReport::from(&docker);
        assert_eq!(report.parts[0].errno, Some(1));
        insta::assert_snapshot!(report, @r"
        sandbox      landlock: processes are kept from files and system calls, and see the processes of the host
          user       the supervisor's own
          namespaces no: unshare: EPERM, no user namespaces in this container
          root dir   no: unshare: EPERM, no user namespaces in this container
          proc       no: unshare: EPERM, no user namespaces in this container
          network    no: unshare: EPERM, no user namespaces in this container
          landlock   version 7
          seccomp    yes
          quota      no: losetup: EPERM
          processes  no: clone: EPERM
          note       run the supervisor as root, or let ordinary users make user namespaces; in a container, start it with the seccomp profile of docs/process-sandbox.md
          note       a `size` of `writable` is not enforced; it is where the supervisor is root and has loop devices and e2fsprogs. `tmp` and `shm` have sizes that are
        ");
        let bare = Abilities {
            landlock: Err(lack("landlock_create_ruleset", "ENOSYS")),
            seccomp: Err(lack("seccomp", "EINVAL")),
            ..docker
        };
        let report = SandboxReport::from(&bare);
        assert_eq!((report.level, report.advice.len()), (SandboxLevel::None, 4));
    }
}
