//! Reaches a host that was allowed: resolves it once, checks every address, dials those.

use std::io;
use std::net::{IpAddr, SocketAddr};

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
    let (stream, address) = first_to_answer(&checked, deadline).await?;
    // Who dials an address of this machine talks from that address.
    let here = stream
        .local_addr()
        .is_ok_and(|local| local.ip() == address.ip());
    if here && policy.supervisor_has_port(port) {
        let reason = Reason::Supervisor(address);
        return Err(DialError::Denied(policy.denial(
            host.to_string(),
            port,
            reason,
        )));
    }
    Ok((stream, address))
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
