//! Where an agent is locked in, and how a supervisor comes to lock it in there.

use super::bait::Bait;
use super::rows::{Outcomes, ROWS};
use crate::fleet::Fleet;

/// The user that supervisors of an ordinary user run as.
const NOBODY: u32 = 65534;

/// A variable of supervisors that no agent has.
pub(crate) const CANARY: &str = "CLAW_CANARY";

/// The first Landlock that keeps processes apart: their signals and their abstract sockets.
const SCOPES: u32 = 6;

/// Where an agent is locked in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// A container.
    Container,
    /// A process in namespaces of its own.
    Full(User),
    /// A process behind Landlock of a version and a filter of system calls.
    Landlock(User, u32),
}

/// Who the supervisor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum User {
    Root,
    Ordinary,
    /// Root in a container of an engine's, with what is left of its rights there.
    RootInContainer,
}

impl Place {
    /// Has the supervisors of a fleet be at such a place; `None`, and said, where they cannot be.
    /// A version of Landlock is that of this machine.
    pub(crate) fn prepare(self, test: &str, fleet: &mut Fleet, bait: &Bait) -> Option<Self> {
        let root = rustix::process::geteuid().is_root();
        let skip = |why: &str| {
            eprintln!("SKIP {test}: {why}");
            None
        };
        if !std::path::Path::new("/usr/bin/python3").exists() {
            return skip("there is no /usr/bin/python3");
        }
        let ordinary = match self {
            Self::Container | Self::Full(User::Root) | Self::Landlock(User::Root, _) if !root => {
                return skip("not root");
            }
            Self::Full(User::Ordinary) | Self::Landlock(User::Ordinary, _) => true,
            Self::Container | Self::Full(_) | Self::Landlock(_, _) => false,
        };
        bait.place(fleet);
        fleet.set_env(CANARY, "a secret of the supervisor");
        if ordinary && root {
            fleet.set_user(NOBODY, NOBODY);
        }
        let mut wanted = serde_json::json!({});
        if let Some(resolver) = bait.resolver(fleet) {
            wanted["resolver"] = resolver.into();
        }
        if ordinary && root {
            wanted["user"] = NOBODY.into();
        }
        let found = match self {
            Self::Container => self,
            Self::Full(_) => {
                if !fleet.confines(test) {
                    return None;
                }
                self
            }
            Self::Landlock(user, _) => {
                let Some(version) = fleet.landlock() else {
                    return skip("this kernel has no Landlock");
                };
                wanted["namespaces"] = false.into();
                Self::Landlock(user, version)
            }
        };
        let words = ["/usr/bin/python3", &fleet.place("attempts/closed.py")];
        let mut words = words.map(str::to_owned).to_vec();
        words.push(wanted.to_string());
        fleet.set_launcher(words);
        Some(found)
    }

    /// The user that an agent runs as where it has none of its own.
    pub(super) fn user(self) -> Option<u32> {
        let own = rustix::process::geteuid();
        match self {
            Self::Landlock(User::Ordinary, _) if own.is_root() => Some(NOBODY),
            Self::Landlock(User::Ordinary, _) => Some(own.as_raw()),
            Self::Landlock(..) | Self::Full(_) | Self::Container => None,
        }
    }

    /// What has to come of an attempt here.
    pub(super) fn outcomes(self, what: &str) -> Outcomes {
        if self == Self::Full(User::Root) && what == "row 28 filling a directory of the host" {
            return &["ENOSPC"];
        }
        if let Self::Landlock(User::Ordinary, _) = self {
            match what {
                // The kernel counts the processes of the user, who has others.
                "row 25 fork bomb" => return &["allowed"],
                // The socket is one of its own user's, and where it leads it is told from that.
                "row 17 socket of another agent" => return &["allowed"],
                "row 21 control socket" => return &["403"],
                _ => {}
            }
        }
        if let Self::Landlock(user, version) = self
            && version < SCOPES
        {
            match (what, user) {
                ("row 18 abstract socket of the host", User::Root | User::Ordinary) => {
                    return &["allowed"];
                }
                ("row 24 signal to the supervisor", User::Ordinary) => return &["allowed"],
                ("row 24 signal to everybody", User::Ordinary) => return &["it may signal others"],
                _ => {}
            }
        }
        let mut rows = ROWS.iter().filter(|row| row.what == what);
        rows.next().expect("an attempt of the list").outcomes(self)
    }
}
