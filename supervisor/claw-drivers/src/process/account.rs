//! The users agents run as.

use std::ffi::CString;
use std::path::PathBuf;

use claw_core::{SpawnError, SpawnStage};
use nix::unistd::{Gid, Uid, User, getgrouplist};

use super::wire::Identity;

/// What an agent is told about its user, and what it is made to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) home: PathBuf,
    pub(crate) shell: PathBuf,
    /// `None`: the supervisor's own user, nothing is changed.
    pub(crate) identity: Option<Identity>,
}

impl Account {
    /// The supervisor's own user. One without an entry in the user database is `nobody`'s kin:
    /// it has a number and the root directory.
    pub(crate) fn own() -> Self {
        let uid = Uid::effective();
        match User::from_uid(uid) {
            Ok(Some(user)) => Self {
                name: user.name,
                home: user.dir,
                shell: user.shell,
                identity: None,
            },
            Ok(None) | Err(_) => Self {
                name: uid.to_string(),
                home: PathBuf::from("/"),
                shell: PathBuf::from("/bin/sh"),
                identity: None,
            },
        }
    }

    /// Looks up a user by name, or by number where no such name exists. Reads files, or asks a
    /// directory service: not for the runtime's threads.
    pub(crate) fn find(name: &str) -> Result<Self, SpawnError> {
        let failed = |errno: i32, why: &str| SpawnError {
            stage: SpawnStage::User,
            errno,
            detail: format!("cannot run as the user `{name}`: {why}"),
        };
        let by_number = || {
            name.parse()
                .ok()
                .map(|uid| User::from_uid(Uid::from_raw(uid)))
        };
        let found = match User::from_name(name) {
            Ok(None) => by_number().unwrap_or(Ok(None)),
            other => other,
        };
        let user = found
            .map_err(|errno| failed(errno as i32, errno.desc()))?
            .ok_or_else(|| failed(nix::libc::ENOENT, "there is no such user"))?;
        let groups = supplementary(&user).map_err(|errno| failed(errno as i32, errno.desc()))?;
        Ok(Self {
            identity: Some(Identity {
                name: user.name.clone(),
                uid: user.uid.as_raw(),
                gid: user.gid.as_raw(),
                groups,
            }),
            name: user.name,
            home: user.dir,
            shell: user.shell,
        })
    }

    /// Owner and group for directories made on the agent's behalf.
    pub(crate) fn owner(&self) -> Option<(u32, u32)> {
        self.identity
            .as_ref()
            .map(|identity| (identity.uid, identity.gid))
    }
}

fn supplementary(user: &User) -> nix::Result<Vec<u32>> {
    let name = CString::new(user.name.as_str()).map_err(|_zero_byte| nix::errno::Errno::EINVAL)?;
    let groups = getgrouplist(&name, user.gid)?;
    Ok(groups.into_iter().map(Gid::as_raw).collect())
}
