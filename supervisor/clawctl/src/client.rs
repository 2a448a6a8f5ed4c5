//! Talks to a supervisor: HTTP/1.1 over its unix socket or loopback TCP.

use std::io;
use std::time::Duration;

use claw_daemon::api::Problem;
use http::header::{ACCEPT, CONTENT_TYPE, HOST};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::exit::{Exit, Failure};
use crate::locate::Target;

/// How long a connection may take; a supervisor on this machine needs microseconds.
const CONNECT: Duration = Duration::from_secs(5);

/// A client of one supervisor.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    target: Target,
}

impl Client {
    /// A client of the supervisor at `target`; connects when asked something.
    pub(crate) const fn new(target: Target) -> Self {
        Self { target }
    }

    /// Gets a JSON document.
    ///
    /// # Errors
    ///
    /// No supervisor answers, or it answers with a problem.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let response = self.send(Method::GET, path, None).await?;
        read(response).await
    }

    /// Posts a body (JSON, unless empty) and reads the JSON answer.
    ///
    /// # Errors
    ///
    /// No supervisor answers, or it answers with a problem.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: Option<String>,
    ) -> Result<T, Failure> {
        let response = self.send(Method::POST, path, body).await?;
        read(response).await
    }

    /// Posts nothing and wants nothing back but consent.
    ///
    /// # Errors
    ///
    /// No supervisor answers, or it answers with a problem.
    pub(crate) async fn tell(&self, path: &str) -> Result<(), Failure> {
        let response = self.send(Method::POST, path, None).await?;
        if response.status().is_success() {
            Ok(())
        } else {
            Err(problem(response).await)
        }
    }

    /// Gets a document that comes in pieces, as lines. Ends with the document.
    ///
    /// # Errors
    ///
    /// No supervisor answers, it answers with a problem, or the connection breaks.
    pub(crate) async fn lines(&self, path: &str, accept: &'static str) -> Result<Lines, Failure> {
        let request = self.request(Method::GET, path, None)?;
        let (mut parts, body) = request.into_parts();
        parts
            .headers
            .insert(ACCEPT, http::HeaderValue::from_static(accept));
        let response = self.exchange(Request::from_parts(parts, body)).await?;
        if response.status().is_success() {
            return Ok(Lines {
                body: response.into_body(),
                pending: Vec::new(),
                searched: 0,
            });
        }
        Err(problem(response).await)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<Response<Incoming>, Failure> {
        self.exchange(self.request(method, path, body)?).await
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let host = match &self.target {
            Target::Socket(_) => "localhost",
            Target::Tcp(address) => address,
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, host);
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let bytes = Full::new(Bytes::from(body.unwrap_or_default()));
        request
            .body(bytes)
            .map_err(|error| Failure::new(Exit::Usage, error.to_string()))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failure> {
        let connecting = async {
            match &self.target {
                Target::Socket(path) => UnixStream::connect(path).await.map(Connection::Unix),
                Target::Tcp(address) => TcpStream::connect(address).await.map(Connection::Tcp),
            }
        };
        let connected = tokio::time::timeout(CONNECT, connecting)
            .await
            .unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|error| self.unreachable(&error))?;
        let exchanged = match connected {
            Connection::Unix(stream) => over(stream, request).await,
            Connection::Tcp(stream) => over(stream, request).await,
        };
        exchanged.map_err(|error| {
            Failure::new(
                Exit::Unreachable,
                format!("the supervisor did not answer: {error}"),
            )
        })
    }

    fn unreachable(&self, error: &io::Error) -> Failure {
        let place = match &self.target {
            Target::Socket(path) => path.display().to_string(),
            Target::Tcp(address) => address.clone(),
        };
        if error.kind() == io::ErrorKind::PermissionDenied {
            return Failure::new(Exit::NotPermitted, format!("{place} does not let you in"))
                .hint("only the user the supervisor runs as, and root, may use its socket");
        }
        let nobody = [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused];
        if nobody.contains(&error.kind()) {
            return Failure::new(Exit::Unreachable, format!("no supervisor runs at {place}"))
                .hint("start one with `clawctl up`, or name another with `--host URL`");
        }
        Failure::new(
            Exit::Unreachable,
            format!("cannot connect to {place}: {error}"),
        )
    }
}

enum Connection {
    Unix(UnixStream),
    Tcp(TcpStream),
}

async fn over<S>(stream: S, request: Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // The connection ends with its one exchange; what goes wrong on it shows in the answer.
    tokio::spawn(async move { drop(connection.await) });
    sender.send_request(request).await
}

async fn read<T: DeserializeOwned>(response: Response<Incoming>) -> Result<T, Failure> {
    if !response.status().is_success() {
        return Err(problem(response).await);
    }
    let body = response.into_body().collect().await;
    let bytes = body
        .map_err(|error| Failure::new(Exit::Unreachable, format!("the answer broke off: {error}")))?
        .to_bytes();
    serde_json::from_slice(&bytes).map_err(|error| {
        Failure::new(
            Exit::Failed,
            format!("the answer cannot be understood: {error}"),
        )
        .hint("clawctl and the supervisor may be of different versions")
    })
}

async fn problem(response: Response<Incoming>) -> Failure {
    let status = response.status();
    let body = response
        .into_body()
        .collect()
        .await
        .map(|body| body.to_bytes());
    match body
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Problem>(&bytes).ok())
    {
        Some(problem) => problem.into(),
        None => Failure::new(exit_of(status), format!("the supervisor answered {status}")),
    }
}

fn exit_of(status: StatusCode) -> Exit {
    match status {
        StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => Exit::NotPermitted,
        _ => Exit::Failed,
    }
}

/// The lines of an answer, as they arrive.
pub(crate) struct Lines {
    body: Incoming,
    pending: Vec<u8>,
    searched: usize,
}

impl Lines {
    /// The next line without its end; `None` after the last.
    ///
    /// # Errors
    ///
    /// The connection broke.
    pub(crate) async fn next(&mut self) -> Result<Option<String>, Failure> {
        loop {
            let end = self.pending[self.searched..]
                .iter()
                .position(|byte| *byte == b'\n');
            if let Some(end) = end {
                let line: Vec<u8> = self.pending.drain(..=self.searched + end).collect();
                self.searched = 0;
                return Ok(Some(text(&line)));
            }
            self.searched = self.pending.len();
            match self.body.frame().await {
                Some(Ok(frame)) => self.pending.extend(frame.into_data().unwrap_or_default()),
                Some(Err(error)) => {
                    let message = format!("the supervisor hung up: {error}");
                    return Err(Failure::new(Exit::Unreachable, message));
                }
                None if self.pending.is_empty() => return Ok(None),
                None => {
                    self.searched = 0;
                    return Ok(Some(text(&std::mem::take(&mut self.pending))));
                }
            }
        }
    }
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line)
        .trim_end_matches(['\n', '\r'])
        .to_owned()
}
