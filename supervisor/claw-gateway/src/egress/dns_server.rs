//! The DNS responder's sockets.

use std::io;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{sleep, timeout};

use super::agent::Agent;
use super::decision::Entrance;
use super::dns::{MAX_QUERY, answer};

/// The queries that one TCP connection may ask; after them a client connects again.
const MAX_QUERIES: usize = 100;

/// How long to wait after an error of the socket itself.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers datagrams for as long as it is polled.
pub(super) async fn serve_udp(agent: &Agent, socket: &UdpSocket) {
    let mut buffer = vec![0; MAX_QUERY + 1];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, client)) => {
                if let Some(reply) = reply(agent, &buffer[..length]) {
                    // A full socket drops the answer, as a network would; the client asks again.
                    if let Err(error) = socket.try_send_to(&reply, client) {
                        tracing::trace!(%error, "an answer to a DNS query was dropped");
                    }
                }
            }
            Err(error) => {
                tracing::trace!(%error, "the socket for DNS queries had an error");
                sleep(PAUSE).await;
            }
        }
    }
}

/// Answers the queries of one connection.
pub(super) async fn serve_tcp(agent: &Agent, mut client: TcpStream) {
    for _ in 0..MAX_QUERIES {
        let limit = agent.current().limits.handshake;
        match timeout(limit, one(agent, &mut client)).await {
            Ok(Ok(Asked::Again)) => {}
            Ok(Ok(Asked::Nonsense) | Err(_)) | Err(_) => return,
        }
    }
}

enum Asked {
    Again,
    Nonsense,
}

async fn one(agent: &Agent, client: &mut TcpStream) -> io::Result<Asked> {
    let length = usize::from(client.read_u16().await?);
    if length > MAX_QUERY {
        return Ok(Asked::Nonsense);
    }
    let mut query = vec![0; length];
    client.read_exact(&mut query).await?;
    let Some(reply) = reply(agent, &query) else {
        return Ok(Asked::Nonsense);
    };
    let length = u16::try_from(reply.len()).map_err(io::Error::other)?;
    client
        .write_all(&[&length.to_be_bytes(), reply.as_slice()].concat())
        .await?;
    Ok(Asked::Again)
}

fn reply(agent: &Agent, query: &[u8]) -> Option<Vec<u8>> {
    let settings = agent.current();
    let reply = {
        let names = agent.names.as_ref();
        let mut names = names.map(|names| names.lock().unwrap_or_else(PoisonError::into_inner));
        answer(query, &settings.policy, names.as_deref_mut())
    };
    if let Some(denial) = reply.denial {
        agent.log.deny(Entrance::Dns, denial);
    }
    reply.bytes
}
