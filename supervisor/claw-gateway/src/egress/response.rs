//! What a client of the proxy is told when it does not get through.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::dial::DialError;
use super::policy::{Denial, Reason};

/// The answer that opens a tunnel.
pub(super) const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// The fatal alert `access_denied` of TLS, as a client reads it before any keys are agreed on.
pub(super) const ACCESS_DENIED: &[u8] = &[21, 3, 3, 0, 2, 2, 49];

/// How long a client that was refused may go on sending before the connection is cut. Without
/// reading on, the kernel would throw away the answer together with what was not read.
const LINGER: Duration = Duration::from_secs(1);

/// How much of that is read, in bytes.
const MAX_LINGER: u64 = 256 * 1024;

/// Why a request does not get through.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It is denied.
    Denied(Denial),
    /// It is denied for now.
    Later {
        denial: Denial,
        retry_after: Duration,
    },
    /// The host cannot be reached.
    Unreachable(DialError),
}

impl Refusal {
    /// The answer to a request in HTTP. A head that is malformed has a status of its own.
    pub(super) fn response(&self, malformed: Option<u16>) -> Vec<u8> {
        let (status, mut problem) = match self {
            Self::Denied(denial) | Self::Later { denial, .. } => {
                let status = malformed.unwrap_or_else(|| status_of(&denial.reason));
                let problem = json!({
                    "detail": denial.to_string(),
                    "code": denial.reason.code(),
                    "host": denial.host,
                    "port": denial.port,
                    "fix": denial.fix(),
                });
                (status, problem)
            }
            Self::Unreachable(error) => {
                let status = match error {
                    DialError::Denied(denial) => status_of(&denial.reason),
                    DialError::Resolve { .. } | DialError::Connect { .. } => 502,
                    DialError::ResolveTimeout { .. } | DialError::ConnectTimeout { .. } => 504,
                };
                let problem = json!({"detail": chain(error), "code": "unreachable"});
                (status, problem)
            }
        };
        problem["type"] = "about:blank".into();
        problem["title"] = title(status).into();
        problem["status"] = status.into();
        let retry = match self {
            // Rounded up, so that who obeys gets through.
            Self::Later { retry_after, .. } => {
                format!("Retry-After: {}\r\n", retry_after.as_secs() + 1)
            }
            Self::Denied(_) | Self::Unreachable(_) => String::new(),
        };
        let body = format!("{problem}\n");
        let title = title(status);
        let length = body.len();
        format!(
            "HTTP/1.1 {status} {title}\r\nContent-Type: application/problem+json\r\n\
             Content-Length: {length}\r\n{retry}Connection: close\r\n\r\n{body}"
        )
        .into_bytes()
    }
}

/// An error and what caused it, in one line.
pub(super) fn chain(error: &DialError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Sends a last answer and closes the connection so that the answer arrives.
pub(super) async fn finish(mut client: TcpStream, answer: &[u8]) {
    let last = async {
        client.write_all(answer).await?;
        client.shutdown().await?;
        let rest = &mut (&mut client).take(MAX_LINGER);
        tokio::io::copy(rest, &mut tokio::io::sink()).await
    };
    if let Ok(Err(error)) = timeout(LINGER, last).await {
        tracing::trace!(%error, "a client did not wait for its refusal");
    }
}

fn status_of(reason: &Reason) -> u16 {
    match reason {
        Reason::BadHost(_) | Reason::BadRequest(_) => 400,
        Reason::Halted(_)
        | Reason::NotListed
        | Reason::PortNotListed { .. }
        | Reason::Blocked { .. }
        | Reason::NotThroughProxy
        | Reason::MetadataName
        | Reason::Address { .. }
        | Reason::MixedAddresses { .. }
        | Reason::Supervisor(_)
        | Reason::UnknownAddress(_)
        | Reason::OtherServerName(_)
        | Reason::NoServerName
        | Reason::NotTls
        | Reason::TooManyBytes(_) => 403,
        Reason::NoAddress => 502,
        Reason::TooManyConnects(_) => 429,
        Reason::TooManyTunnels(_) => 503,
    }
}

fn title(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        403 => "Forbidden",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Bad Gateway",
    }
}
