//! The proxy's own port: CONNECT, and plain HTTP in absolute form.

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::agent::Agent;
use super::decision::Entrance;
use super::head::{self, Head, HeadError, Request};
use super::policy::Reason;
use super::response::{ACCESS_DENIED, ESTABLISHED, Refusal, finish};
use super::tunnel::{FirstWords, Tunnel};

/// The port of HTTPS. Who asks for it must speak TLS.
const HTTPS: u16 = 443;

/// How much of a head is read at a time, in bytes.
const STEP: usize = 2048;

/// Serves one client.
pub(super) async fn serve(
    agent: &Agent,
    client: TcpStream,
    permit: OwnedSemaphorePermit,
    stopping: &CancellationToken,
) {
    let admitted = stopping.run_until_cancelled(admit(agent, client)).await;
    drop(permit);
    let Some(Some(admitted)) = admitted else {
        return;
    };
    let Admitted {
        entrance,
        tunnel,
        said,
        first,
    } = admitted;
    if let Err(denied) = tunnel.run(said, first, stopping).await {
        // The client believes to be talking to the host: all that can be said is the end.
        agent.refused(entrance, &denied.target, denied.reason);
        finish(denied.client, ACCESS_DENIED).await;
    }
}

struct Admitted<'a> {
    entrance: Entrance,
    tunnel: Tunnel<'a>,
    said: Vec<u8>,
    first: FirstWords,
}

/// Reads what the client wants and reaches it; who is not admitted is told.
async fn admit(agent: &Agent, mut client: TcpStream) -> Option<Admitted<'_>> {
    let (head, said) = match read_head(agent, &mut client, head::to_proxy).await {
        Read::Head(head, said) => (head, said),
        Read::Gone => return None,
        Read::Bad(error) => {
            finish(client, &bad_head(agent, Entrance::Connect, error)).await;
            return None;
        }
    };
    let (entrance, authority) = match &head.request {
        Request::Connect(authority) => (Entrance::Connect, authority),
        Request::Forward { authority, .. } => (Entrance::Http, authority),
    };
    let opened = match agent.open(entrance, authority).await {
        Ok(opened) => opened,
        Err(refusal) => {
            finish(client, &refusal.response(None)).await;
            return None;
        }
    };
    let port = opened.target.port;
    let mut tunnel = Tunnel::new(agent, client, opened);
    let (said, first) = match head.request {
        Request::Forward { head, .. } => ([head, said].concat(), FirstWords::Known),
        Request::Connect(_) => {
            tunnel.tell(ESTABLISHED).await.ok()?;
            let tls_only = port == HTTPS;
            let first = if tls_only {
                FirstWords::Tls
            } else {
                FirstWords::TlsIfAny
            };
            (said, first)
        }
    };
    Some(Admitted {
        entrance,
        tunnel,
        said,
        first,
    })
}

/// What came of reading a head.
pub(super) enum Read {
    /// The head, and what came after it.
    Head(Head, Vec<u8>),
    /// It is refused.
    Bad(HeadError),
    /// The client went away, or said nothing in time.
    Gone,
}

/// Reads a head within the time and the size it may have.
pub(super) async fn read_head(
    agent: &Agent,
    client: &mut TcpStream,
    parse: impl Fn(&[u8]) -> Result<Option<Head>, HeadError>,
) -> Read {
    let mut bytes = Vec::new();
    let reading = async {
        loop {
            bytes.reserve(STEP);
            match client.read_buf(&mut bytes).await {
                Ok(0) | Err(_) => return Read::Gone,
                Ok(_) => {}
            }
            match parse(&bytes) {
                Ok(Some(head)) => {
                    let said = bytes.split_off(head.length);
                    return Read::Head(head, said);
                }
                Ok(None) => {}
                Err(error) => return Read::Bad(error),
            }
        }
    };
    let limit = agent.current().limits.handshake;
    match timeout(limit, reading).await {
        Ok(read) => read,
        Err(_elapsed) => Read::Bad(HeadError::Malformed("no request came in time")),
    }
}

/// Puts a bad head on record and says what is wrong with it.
pub(super) fn bad_head(agent: &Agent, entrance: Entrance, error: HeadError) -> Vec<u8> {
    let status = error.status();
    let (host, reason): (String, Reason) = error.into_reason();
    let settings = agent.current();
    let denial = settings.policy.denial(host, 0, reason);
    let refusal: Refusal = agent.denied(entrance, denial);
    refusal.response(Some(status))
}
