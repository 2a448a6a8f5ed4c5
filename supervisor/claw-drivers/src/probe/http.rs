//! The `http` check.

use bytes::Bytes;
use claw_core::ProbeOutcome;
use claw_core::spec::Check;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::reach::Reach;
use super::refusal;

/// How much of a body is looked at; the rest is not even received.
const BODY_LIMIT: usize = 4096;

/// Succeeds when a GET is answered as expected. Redirects are an answer like any other.
pub(super) async fn check(reach: &Reach, check: &Check) -> ProbeOutcome {
    let Check::Http {
        host,
        port,
        path,
        status,
        body,
    } = check
    else {
        return ProbeOutcome::Unknown("this is no http check".to_owned());
    };
    let target = format!("http://{host}:{port}{path}");
    let stream = match reach.connect(host, *port).await {
        Ok(stream) => stream,
        Err(error) => return refusal::outcome(&format!("cannot connect to {host}:{port}"), &error),
    };
    let response = match get(stream, &format!("{host}:{port}"), path).await {
        Ok(response) => response,
        Err(error) => return ProbeOutcome::Failure(format!("GET {target}: {error}")),
    };
    let got = response.response.status().as_u16();
    let expected = status.map_or((200..400).contains(&got), |status| status == got);
    if !expected {
        return ProbeOutcome::Failure(format!("GET {target}: status {got}"));
    }
    match body {
        Some(text) if !contains(response, text.as_bytes()).await => ProbeOutcome::Failure(format!(
            "GET {target}: status {got}, but `{text}` is not in the first {BODY_LIMIT} bytes of the body"
        )),
        Some(_) | None => ProbeOutcome::Success,
    }
}

/// A response, and the task that keeps its connection going; it ends with the check.
struct Answer {
    response: http::Response<Incoming>,
    _connection: tokio::task::JoinSet<()>,
}

/// Why there was no response.
#[derive(Debug, thiserror::Error)]
enum GetError {
    #[error("the path is not one")]
    Path(#[from] http::Error),
    #[error("{0}")]
    Protocol(#[from] hyper::Error),
}

async fn get(stream: TcpStream, authority: &str, path: &str) -> Result<Answer, GetError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut task = tokio::task::JoinSet::new();
    task.spawn(async move {
        // Its error is that of the request as well.
        connection.await.ok();
    });
    let request = http::Request::get(path)
        .header(http::header::HOST, authority)
        .header(http::header::USER_AGENT, "clawctl-probe")
        .header(http::header::ACCEPT, "*/*")
        .header(http::header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    Ok(Answer {
        response,
        _connection: task,
    })
}

/// Whether the text stands in the beginning of the body.
async fn contains(mut answer: Answer, text: &[u8]) -> bool {
    let mut seen: Vec<u8> = Vec::new();
    loop {
        let left = BODY_LIMIT - seen.len();
        let Some(Ok(frame)) = answer.response.body_mut().frame().await else {
            return false;
        };
        if let Some(data) = frame.data_ref() {
            seen.extend_from_slice(&data[..data.len().min(left)]);
        }
        if text.is_empty() || seen.windows(text.len()).any(|window| window == text) {
            return true;
        }
        if seen.len() >= BODY_LIMIT {
            return false;
        }
    }
}
