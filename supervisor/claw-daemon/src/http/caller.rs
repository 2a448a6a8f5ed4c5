//! Who is at the other end of a connection, and what that allows.

use std::net::SocketAddr;

use claw_drivers::process::is_confined;
use tokio::net::unix::UCred;
use tokio_util::sync::CancellationToken;

use super::problem::ApiError;
use crate::api::Code;

/// Who is at the other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Caller {
    /// Connected to the unix socket, as the supervisor's own user or root.
    Admin {
        /// The user.
        uid: u32,
    },
    /// Connected to the unix socket as somebody else.
    Stranger {
        /// The user.
        uid: u32,
    },
    /// Connected to the unix socket, as the supervisor's own user, from an agent's sandbox.
    Confined {
        /// The process.
        pid: i32,
    },
    /// Connected over TCP from this machine; which user it is cannot be told.
    Local {
        /// From where.
        address: SocketAddr,
    },
}

impl Caller {
    /// Judges the kernel's word (`SO_PEERCRED`) on the peer of a unix socket.
    pub(super) fn of_peer(peer: &UCred) -> Self {
        let judged = Self::of_uid(peer.uid(), rustix::process::geteuid().as_raw());
        // Processes of other containers have no number here.
        match peer.pid().filter(|pid| *pid > 0) {
            Some(pid) if matches!(judged, Self::Admin { .. }) && is_confined(pid) => {
                Self::Confined { pid }
            }
            Some(_) | None => judged,
        }
    }

    pub(super) const fn of_uid(uid: u32, own: u32) -> Self {
        if uid == 0 || uid == own {
            Self::Admin { uid }
        } else {
            Self::Stranger { uid }
        }
    }
}

/// A connection, as its requests know it.
#[derive(Debug, Clone)]
pub(super) struct Link {
    /// Who is at the other end.
    pub(super) caller: Caller,
    /// Cuts the connection: the last resort against a reader that takes nothing.
    pub(super) cut: CancellationToken,
}

impl Link {
    pub(super) fn new(caller: Caller) -> Self {
        Self {
            caller,
            cut: CancellationToken::new(),
        }
    }

    /// Who it is, as it is remembered of what they did.
    pub(super) fn name(&self) -> String {
        match &self.caller {
            Caller::Admin { uid: 0 } => "root".to_owned(),
            Caller::Admin { uid } | Caller::Stranger { uid } => format!("user {uid}"),
            Caller::Confined { pid } => format!("process {pid}"),
            Caller::Local { .. } => "somebody of this machine".to_owned(),
        }
    }

    /// Refuses what only the supervisor's own user may do.
    pub(super) fn admin_only(&self, what: &str) -> Result<(), ApiError> {
        match self.caller {
            Caller::Admin { .. } => Ok(()),
            Caller::Stranger { .. } | Caller::Confined { .. } | Caller::Local { .. } => {
                let detail = format!(
                    "{what} is allowed on the control socket only, because over TCP the user \
                     cannot be told; use `clawctl` in the project's folder, without `--host`"
                );
                Err(ApiError::new(Code::Forbidden, detail))
            }
        }
    }
}

/// Makes a request one of the supervisor's own user, as from the control socket.
#[cfg(test)]
pub(crate) fn as_admin(request: &mut axum::extract::Request) {
    request
        .extensions_mut()
        .insert(Link::new(Caller::Admin { uid: 0 }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_the_own_user_are_admin_and_all_others_strangers() {
        assert_eq!(Caller::of_uid(0, 1000), Caller::Admin { uid: 0 });
        assert_eq!(Caller::of_uid(1000, 1000), Caller::Admin { uid: 1000 });
        assert_eq!(Caller::of_uid(1001, 1000), Caller::Stranger { uid: 1001 });
        assert_eq!(Caller::of_uid(1001, 0), Caller::Stranger { uid: 1001 });
    }

    #[tokio::test]
    async fn the_kernel_tells_who_connected() {
        let (left, _right) = tokio::net::UnixStream::pair().unwrap();
        let peer = left.peer_cred().unwrap();
        let uid = peer.uid();
        assert_eq!(Caller::of_peer(&peer), Caller::Admin { uid });
    }
}
