//! Where the server listens.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// The mode of the control socket: for the supervisor's own user.
const MODE: u32 = 0o600;

/// The longest path of a unix socket (`unix(7)`, `sun_path` without its end).
const PATH: usize = 107;

/// Why the server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address is not this machine's loopback.
    #[error(
        "`supervisor.listen: {address}` is not a loopback address; without tokens the API is only for this machine, use 127.0.0.1:{port}",
        port = address.port()
    )]
    NotLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// The address is taken or cannot be had.
    #[error("cannot listen on {address} (`supervisor.listen`)")]
    Tcp {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The path of the socket is longer than a socket's may be.
    #[error(
        "the path of the control socket, {}, has {length} bytes, and a socket's has at most {PATH}; use a shorter `supervisor.data_dir`",
        path.display(), length = path.as_os_str().len()
    )]
    PathTooLong {
        /// The path.
        path: PathBuf,
    },
    /// Something that is no socket is in its place.
    #[error("{} is not a socket; move it away", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The socket cannot be made.
    #[error("cannot make the control socket {}", path.display())]
    Socket {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Bound listeners; nothing is accepted before [`serve`](super::serve).
#[derive(Debug)]
pub struct Listeners {
    pub(super) socket: ControlSocket,
    pub(super) tcp: Option<TcpListener>,
}

impl Listeners {
    /// Binds the control socket and, unless it is off, the TCP address.
    ///
    /// The caller owns the data directory, so a socket found there belongs to a supervisor that
    /// is dead, and is replaced.
    ///
    /// # Errors
    ///
    /// Says what cannot be bound, and why.
    pub fn bind(socket: &Path, listen: Option<SocketAddr>) -> Result<Self, ListenError> {
        let tcp = listen.map(bind_tcp).transpose()?;
        Ok(Self {
            socket: ControlSocket::bind(socket)?,
            tcp,
        })
    }

    /// The TCP address, with its port also where 0 was asked for.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().and_then(|tcp| tcp.local_addr().ok())
    }
}

/// The bound control socket.
#[derive(Debug)]
pub(super) struct ControlSocket {
    pub(super) listener: UnixListener,
    pub(super) place: Place,
}

/// The file by which the control socket is found.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    inode: Option<u64>,
}

impl ControlSocket {
    pub(super) fn bind(path: &Path) -> Result<Self, ListenError> {
        Ok(Self {
            listener: bind_socket(path)?,
            place: Place {
                path: path.to_owned(),
                inode: inode_of(path),
            },
        })
    }
}

impl Place {
    /// Whether the file is still the one that was made.
    pub(super) fn is_ours(&self) -> bool {
        inode_of(&self.path) == self.inode
    }

    /// Leaves it as it is now, until somebody changes it again.
    pub(super) fn leave(&mut self) {
        self.inode = inode_of(&self.path);
    }
}

fn inode_of(path: &Path) -> Option<u64> {
    let found = std::fs::symlink_metadata(path);
    found.ok().map(|found| found.ino())
}

fn bind_tcp(address: SocketAddr) -> Result<TcpListener, ListenError> {
    if !address.ip().is_loopback() {
        return Err(ListenError::NotLoopback { address });
    }
    let bound = TcpListener::bind(address);
    bound
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .map_err(|source| ListenError::Tcp { address, source })
}

/// The socket appears under its name with its mode: it is made beside it and moved there.
fn bind_socket(path: &Path) -> Result<UnixListener, ListenError> {
    let found = std::fs::symlink_metadata(path);
    if found.is_ok_and(|found| !found.file_type().is_socket()) {
        return Err(ListenError::NotASocket {
            path: path.to_owned(),
        });
    }
    let fresh = path.with_extension("new");
    if fresh.as_os_str().len() > PATH {
        return Err(ListenError::PathTooLong {
            path: path.to_owned(),
        });
    }
    let make = || -> io::Result<UnixListener> {
        remove_if_there(&fresh)?;
        let listener = UnixListener::bind(&fresh)?;
        listener.set_nonblocking(true)?;
        std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(MODE))?;
        std::fs::rename(&fresh, path)?;
        Ok(listener)
    };
    make().map_err(|source| ListenError::Socket {
        path: path.to_owned(),
        source,
    })
}

/// Removes a file; none there is as good.
pub(super) fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_for_its_owner_only_and_replaces_a_dead_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        drop(Listeners::bind(&path, None).unwrap());
        assert!(path.exists(), "a dead supervisor leaves its socket");
        let _listeners = Listeners::bind(&path, None).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, MODE);
        std::os::unix::net::UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        std::fs::write(&path, "precious").unwrap();
        let refused = Listeners::bind(&path, None).unwrap_err();
        assert!(
            matches!(refused, ListenError::NotASocket { .. }),
            "{refused}"
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn an_address_of_the_network_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let refused = Listeners::bind(&path, Some("0.0.0.0:0".parse().unwrap())).unwrap_err();
        assert!(
            matches!(refused, ListenError::NotLoopback { .. }),
            "{refused}"
        );
    }

    #[test]
    fn a_path_too_long_for_a_socket_is_named() {
        let path = Path::new("/tmp").join("x".repeat(120)).join("control.sock");
        let refused = Listeners::bind(&path, None).unwrap_err();
        assert!(
            matches!(refused, ListenError::PathTooLong { .. }),
            "{refused}"
        );
    }
}
