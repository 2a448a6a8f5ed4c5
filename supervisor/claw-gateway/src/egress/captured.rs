//! Connections that a local route in the agent's namespace led to us instead of the network.
//!
//! A client that knows no proxy resolves a name, gets an address that stands for it, and connects
//! there; the address our end of the connection has is the one it meant.

use std::net::{IpAddr, SocketAddr};

use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::agent::Agent;
use super::decision::Entrance;
use super::head::{self, Authority, Request};
use super::policy::{Host, Reason};
use super::proxy_port::{Read, bad_head, read_head};
use super::response::{ACCESS_DENIED, finish};
use super::tunnel::{FirstWords, Tunnel};

/// Serves one client that speaks TLS.
pub(super) async fn serve_tls(
    agent: &Agent,
    client: TcpStream,
    permit: OwnedSemaphorePermit,
    stopping: &CancellationToken,
) {
    let tunnel = stopping.run_until_cancelled(admit_tls(agent, client)).await;
    drop(permit);
    let Some(Some(tunnel)) = tunnel else {
        return;
    };
    if let Err(denied) = tunnel.run(Vec::new(), FirstWords::Tls, stopping).await {
        agent.refused(Entrance::CapturedTls, &denied.target, denied.reason);
        finish(denied.client, ACCESS_DENIED).await;
    }
}

/// Serves one client that speaks HTTP.
pub(super) async fn serve_http(
    agent: &Agent,
    client: TcpStream,
    permit: OwnedSemaphorePermit,
    stopping: &CancellationToken,
) {
    let admitted = stopping
        .run_until_cancelled(admit_http(agent, client))
        .await;
    drop(permit);
    let Some(Some((tunnel, said))) = admitted else {
        return;
    };
    // What is known already is not denied any more.
    if let Err(denied) = tunnel.run(said, FirstWords::Known, stopping).await {
        agent.refused(Entrance::CapturedHttp, &denied.target, denied.reason);
    }
}

async fn admit_tls(agent: &Agent, client: TcpStream) -> Option<Tunnel<'_>> {
    match agent.open(Entrance::CapturedTls, &meant(&client)?).await {
        Ok(opened) => Some(Tunnel::new(agent, client, opened)),
        Err(_on_record) => {
            finish(client, ACCESS_DENIED).await;
            None
        }
    }
}

async fn admit_http(agent: &Agent, mut client: TcpStream) -> Option<(Tunnel<'_>, Vec<u8>)> {
    let entrance = Entrance::CapturedHttp;
    let meant = meant(&client)?;
    let parse = |bytes: &[u8]| head::to_origin(bytes, meant.port);
    let (head, said) = match read_head(agent, &mut client, parse).await {
        Read::Head(head, said) => (head, said),
        Read::Gone => return None,
        Read::Bad(error) => {
            finish(client, &bad_head(agent, entrance, error)).await;
            return None;
        }
    };
    let Request::Forward { authority, head } = head.request else {
        return None;
    };
    let opened = match same(agent, &meant, &authority.host) {
        Ok(()) => agent.open(entrance, &authority).await,
        Err(reason) => Err(agent.refused(entrance, &meant, reason)),
    };
    match opened {
        Ok(opened) => Some((Tunnel::new(agent, client, opened), [head, said].concat())),
        Err(refusal) => {
            finish(client, &refusal.response(None)).await;
            None
        }
    }
}

/// Where the client meant to connect to.
fn meant(client: &TcpStream) -> Option<Authority> {
    let address: SocketAddr = client.local_addr().ok()?;
    let ip: IpAddr = address.ip().to_canonical();
    Some(Authority {
        host: Host::Address(ip),
        port: address.port(),
    })
}

/// Whether the request names the host that its connection was made to.
fn same(agent: &Agent, meant: &Authority, named: &Host) -> Result<(), Reason> {
    let host = match &meant.host {
        Host::Address(address) => agent.behind(*address)?,
        name @ Host::Name(_) => name.clone(),
    };
    if host == *named {
        return Ok(());
    }
    Err(Reason::OtherServerName(named.to_string()))
}
