//! From where a connection is made.

use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use nix::sched::CloneFlags;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::process::{Inner, ProcessIdentity};

/// Whose network a connection belongs to.
#[derive(Debug, Clone)]
pub(crate) enum Reach {
    /// The supervisor's own.
    Host,
    /// Another one's, whose loopback is meant.
    Namespace { network: Arc<File>, limit: Duration },
    /// That of an instance in a sandbox.
    Sandbox(Arc<Sandbox>),
}

/// The network of an instance in a sandbox.
#[derive(Debug)]
pub(crate) struct Sandbox {
    pub(super) inner: Arc<Inner>,
    pub(super) inside: (ProcessIdentity, ProcessIdentity),
    pub(super) limit: Duration,
}

/// Whether a host is the one that is asked itself.
pub(crate) fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

impl Reach {
    /// The network of a process; connections take `limit` at most. Blocks.
    ///
    /// # Errors
    ///
    /// The process is gone, or somebody else's: only root sees that far.
    pub(crate) fn namespace(pid: u32, limit: Duration) -> io::Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let network = File::open(format!("/proc/{pid}/ns/net"))?;
        Ok(Self::Namespace {
            network: Arc::new(network),
            limit,
        })
    }

    /// Connects.
    pub(super) async fn connect(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        match self {
            Self::Host => TcpStream::connect((host, port)).await,
            Self::Sandbox(sandbox) => {
                let Sandbox {
                    inner,
                    inside,
                    limit,
                } = &**sandbox;
                let addresses = addresses(host, port);
                let stream = crate::process::connect(inner, *inside, addresses, *limit).await?;
                stream.set_nonblocking(true)?;
                TcpStream::from_std(stream)
            }
            Self::Namespace { network, limit } => {
                let addresses = addresses(host, port);
                let stream = inside(Arc::clone(network), addresses, *limit).await?;
                stream.set_nonblocking(true)?;
                TcpStream::from_std(stream)
            }
        }
    }
}

fn addresses(host: &str, port: u16) -> Vec<SocketAddr> {
    match host.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, port)],
        Err(_name) => vec![
            (Ipv4Addr::LOCALHOST, port).into(),
            (Ipv6Addr::LOCALHOST, port).into(),
        ],
    }
}

/// Connects in another network, on a thread that enters it and ends with it: a thread of the
/// runtime must not be left there.
async fn inside(
    network: Arc<File>,
    addresses: Vec<SocketAddr>,
    limit: Duration,
) -> io::Result<std::net::TcpStream> {
    let (sender, receiver) = oneshot::channel();
    std::thread::Builder::new()
        .name("claw-probe".to_owned())
        .spawn(move || {
            let attempt = || {
                nix::sched::setns(&*network, CloneFlags::CLONE_NEWNET)?;
                // Of two addresses the first is the one that is meant.
                let mut first = None;
                for address in addresses {
                    match std::net::TcpStream::connect_timeout(&address, limit) {
                        Ok(stream) => return Ok(stream),
                        Err(error) => {
                            first.get_or_insert(error);
                        }
                    }
                }
                Err(first.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()))
            };
            // Nobody listens when the check has timed out.
            sender.send(attempt()).ok();
        })?;
    let answer = receiver.await;
    answer.unwrap_or_else(|_gone| Err(io::ErrorKind::Interrupted.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_known_by_name_and_by_number() {
        assert!(is_loopback("localhost") && is_loopback("127.0.0.1") && is_loopback("::1"));
        assert!(!is_loopback("example.org") && !is_loopback("10.0.0.1"));
    }
}
