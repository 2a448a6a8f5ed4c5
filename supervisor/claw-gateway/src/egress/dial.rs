//! Reaches a host that was allowed: resolves it once, checks every address, dials those.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::limits::Limits;
use super::policy::{CheckedAddresses, Denial, EgressPolicy, Host, Reason};
use super::resolve::Resolver;

/// Why a host was not reached.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    /// What it resolved to is denied.
    #[error("{0}")]
    Denied(Denial),
    #[error("`{host}` cannot be resolved")]
    Resolve {
        host: String,
        #[source]
        source: io::Error,
    },
    #[error("`{host}` was not resolved in time")]
    ResolveTimeout { host: String },
    #[error("{address} cannot be reached")]
    Connect {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("{address} did not answer in time")]
    ConnectTimeout { address: SocketAddr },
}

/// Connects to a host.
pub(super) async fn dial(
    host: &Host,
    port: u16,
    policy: &EgressPolicy,
    limits: &Limits,
    resolver: &dyn Resolver,
) -> Result<(TcpStream, SocketAddr), DialError> {
    let deadline = Instant::now() + limits.connect;
    let found = resolved(host, resolver, deadline).await?;
    let checked = policy
        .check(host, port, &found)
        .map_err(DialError::Denied)?;
    if policy.supervisor_has_port(port)
        && let Some(own) = checked.as_slice().iter().find(|address| is_own(**address))
    {
        let reason = Reason::Supervisor(*own);
        return Err(DialError::Denied(policy.denial(
            host.to_string(),
            port,
            reason,
        )));
    }
    first_to_answer(&checked, deadline).await
}

/// Whether an address is one of this machine: who talks to one talks from it. Connecting a
/// datagram socket asks the kernel for that and sends nothing.
fn is_own(address: SocketAddr) -> bool {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let local = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect(address)?;
        socket.local_addr()
    });
    local.is_ok_and(|local| local.ip() == address.ip())
}

async fn resolved(
    host: &Host,
    resolver: &dyn Resolver,
    deadline: Instant,
) -> Result<Vec<IpAddr>, DialError> {
    let name = match host {
        Host::Address(address) => return Ok(vec![*address]),
        Host::Name(name) => name,
    };
    let host = || name.to_string();
    match timeout_at(deadline, resolver.resolve(name)).await {
        Ok(Ok(addresses)) => Ok(addresses),
        Ok(Err(source)) => Err(DialError::Resolve {
            host: host(),
            source,
        }),
        Err(_elapsed) => Err(DialError::ResolveTimeout { host: host() }),
    }
}

/// Tries the addresses in turn; each gets its share of the time that is left.
async fn first_to_answer(
    checked: &CheckedAddresses,
    deadline: Instant,
) -> Result<(TcpStream, SocketAddr), DialError> {
    let addresses = checked.as_slice();
    let mut last = None;
    for (address, untried) in addresses.iter().zip((1..=addresses.len()).rev()) {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(untried).unwrap_or(u32::MAX);
        last = Some(match timeout(share, TcpStream::connect(*address)).await {
            Ok(Ok(stream)) => return Ok((stream, *address)),
            Ok(Err(source)) => DialError::Connect {
                address: *address,
                source,
            },
            Err(_elapsed) => DialError::ConnectTimeout { address: *address },
        });
    }
    Err(last.expect("checked addresses are not empty"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_knows_its_own_addresses() {
        let trie = std::fs::read_to_string("/proc/net/fib_trie").expect("the kernel's routes");
        let lines: Vec<&str> = trie.lines().map(str::trim).collect();
        let mut own = 0;
        for pair in lines.windows(2).filter(|pair| pair[1] == "/32 host LOCAL") {
            let ip: IpAddr = pair[0]
                .trim_start_matches("|-- ")
                .parse()
                .expect("an address");
            assert!(is_own(SocketAddr::new(ip, 9)), "{ip}");
            own += 1;
        }
        assert!(own > 0, "not even loopback");
        for other in ["8.8.8.8:9", "[2606:4700::1111]:9"] {
            assert!(!is_own(other.parse().expect("an address")), "{other}");
        }
    }
}
