//! Where the kernel counts the processes of an agent by itself, without a cgroup.

use super::{Abilities, Level, Plan, Privilege};

/// Whose user an agent runs as, where the supervisor is root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserOf {
    /// One that no other agent has.
    Agent,
    /// One that its `user` names, who may run other things as well.
    Others,
}

/// Whether processes of an agent are counted apart from all others, so that a limit of the kernel's
/// to the processes of one user (`RLIMIT_NPROC`) is one to those of the agent.
///
/// An ordinary user's are in a namespace of users, where they are counted apart; root's are by the
/// user, which has to be the agent's own.
#[must_use]
pub const fn counts_processes(plan: &Plan, machine: &Abilities, user: UserOf) -> bool {
    match (plan.level, machine.privilege, user) {
        (Level::None, _, _)
        | (Level::Landlock, Privilege::User, _)
        | (Level::Landlock | Level::Full, Privilege::Root, UserOf::Others) => false,
        (Level::Landlock | Level::Full, Privilege::Root, UserOf::Agent)
        | (Level::Full, Privilege::User, _) => machine.process_count.is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::Lack;

    fn counted(level: Level, privilege: Privilege, user: UserOf) -> [bool; 2] {
        let lack = Lack {
            call: "fork".to_owned(),
            errno: 0,
            reason: "it was made".to_owned(),
        };
        [Ok(()), Err(lack)].map(|process_count| {
            let plan = Plan {
                level,
                layers: Vec::new(),
                losses: Vec::new(),
            };
            let machine = Abilities {
                privilege,
                namespaces: Ok(()),
                root_dir: Ok(()),
                proc: Ok(()),
                network: Ok(()),
                landlock: Ok(7),
                seccomp: Ok(()),
                quota: Ok(()),
                process_count,
            };
            counts_processes(&plan, &machine, user)
        })
    }

    #[test]
    fn processes_are_counted_where_they_share_their_count_with_nobody() {
        use Level::{Full, Landlock, None};
        use Privilege::{Root, User};
        use UserOf::{Agent, Others};
        for (level, privilege, user, expected) in [
            (Full, Root, Agent, true),
            (Full, Root, Others, false),
            (Landlock, Root, Agent, true),
            (Landlock, Root, Others, false),
            (None, Root, Agent, false),
            (Full, User, Others, true),
            (Landlock, User, Others, false),
            (None, User, Others, false),
        ] {
            let case = format!("{level} {privilege:?} {user:?}");
            assert_eq!(counted(level, privilege, user), [expected, false], "{case}");
        }
    }
}
