//! What a machine can do.

use serde::{Deserialize, Serialize};

/// What the supervisor can do on this machine to confine processes, found out by doing it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abilities {
    /// Whether the supervisor is root.
    pub privilege: Privilege,
    /// User namespaces, with the other namespaces of processes in them.
    pub namespaces: Ability,
    /// A root directory made of mounts (`open_tree(2)`, `pivot_root(2)`).
    pub root_dir: Ability,
    /// A `/proc` of its own, which a container with a masked one forbids.
    pub proc: Ability,
    /// A network namespace.
    pub network: Ability,
    /// The version of Landlock's interface.
    pub landlock: Result<u32, Lack>,
    /// Filters of system calls.
    pub seccomp: Ability,
    /// File systems of a fixed size on disk, for quotas.
    pub quota: Ability,
    /// A limit to the processes of one agent by the kernel's count of those of its user, which
    /// needs no cgroup. For an ordinary user the count has to be one of each user namespace.
    pub process_count: Ability,
}

/// Whether the supervisor is root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Privilege {
    /// It is.
    Root,
    /// It is not.
    User,
}

/// Whether something can be done.
pub type Ability = Result<(), Lack>;

/// Why something cannot be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{call}: {reason}")]
pub struct Lack {
    /// The call that failed, such as `unshare`.
    pub call: String,
    /// Its error number, 0 when there is none.
    pub errno: i32,
    /// The error in words, with what is known of its cause, such as
    /// ``EPERM, `kernel.unprivileged_userns_clone` is 0``.
    pub reason: String,
}

impl Abilities {
    /// What a process gets here that is confined as far as possible.
    #[must_use]
    pub const fn best(&self) -> super::Level {
        use super::Level;
        let walls = self.namespaces.is_ok() && self.root_dir.is_ok() && self.proc.is_ok();
        match (walls, &self.landlock, &self.seccomp) {
            (true, _, _) => Level::Full,
            (false, Ok(_), Ok(())) => Level::Landlock,
            (false, Err(_), _) | (false, _, Err(_)) => Level::None,
        }
    }
}
