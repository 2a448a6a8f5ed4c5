//! Talks to a supervisor: HTTP/1.1 over its unix socket or loopback TCP.

use std::io;
use std::time::Duration;

use claw_daemon::api::Problem;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_tungstenite::tungstenite::{self, client::IntoClientRequest};

use crate::exit::{Exit, Failure};
use crate::locate::Target;

/// How long a connection may take; a supervisor on this machine needs microseconds.
const CONNECT: Duration = Duration::from_secs(5);

/// A client of one supervisor.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    target: Target,
    /// The token of an agent, when the client speaks for one.
    token: Option<String>,
}

impl Client {
    /// A client of the supervisor at `target`; connects when asked something.
    pub(crate) const fn new(target: Target) -> Self {
        Self {
            target,
            token: None,
        }
    }

    /// A client that speaks for an agent, over the agent's own socket.
    pub(crate) const fn of_agent(target: Target, token: String) -> Self {
        Self {
            target,
            token: Some(token),
        }
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

    /// Asks something and returns the body of the answer as it is.
    ///
    /// # Errors
    ///
    /// No supervisor answers, or it answers with a problem.
    pub(crate) async fn text(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<String, Failure> {
        text_of(self.send(method, path, body).await?).await
    }

    /// Puts JSON, perhaps under a condition in a header.
    ///
    /// # Errors
    ///
    /// No supervisor answers, or it answers with a problem.
    pub(crate) async fn put(
        &self,
        path: &str,
        body: String,
        condition: Option<(&'static str, String)>,
    ) -> Result<String, Failure> {
        let mut request = self.request(Method::PUT, path, Some(body))?;
        if let Some((name, value)) = condition {
            let value = http::HeaderValue::try_from(value)
                .map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
            request.headers_mut().insert(name, value);
        }
        text_of(self.exchange(request).await?).await
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

    /// Opens a WebSocket.
    ///
    /// # Errors
    ///
    /// No supervisor answers, or it answers with a problem.
    pub(crate) async fn socket(&self, path: &str) -> Result<Socket, Failure> {
        let host = self.host();
        let request = format!("ws://{host}{path}")
            .into_client_request()
            .map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
        let stream: Box<dyn Stream> = match self.connect().await? {
            Connection::Unix(stream) => Box::new(stream),
            Connection::Tcp(stream) => Box::new(stream),
        };
        match tokio_tungstenite::client_async(request, stream).await {
            Ok((socket, _response)) => Ok(socket),
            Err(tungstenite::Error::Http(response)) => {
                let (parts, body) = response.into_parts();
                Err(problem_of(parts.status, &body.unwrap_or_default()))
            }
            Err(error) => Err(Failure::new(
                Exit::Unreachable,
                format!("the supervisor did not answer: {error}"),
            )),
        }
    }

    /// The process of the supervisor as it is numbered here, if it is on this machine and asked over
    /// its socket.
    pub(crate) async fn peer(&self) -> Option<i32> {
        let Ok(Connection::Unix(stream)) = self.connect().await else {
            return None;
        };
        stream.peer_cred().ok()?.pid().filter(|pid| *pid > 0)
    }

    fn host(&self) -> &str {
        match &self.target {
            Target::Socket(_) => "localhost",
            Target::Tcp(address) => address,
        }
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
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.host());
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let bytes = Full::new(Bytes::from(body.unwrap_or_default()));
        request
            .body(bytes)
            .map_err(|error| Failure::new(Exit::Usage, error.to_string()))
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let connecting = async {
            match &self.target {
                Target::Socket(path) => UnixStream::connect(path).await.map(Connection::Unix),
                Target::Tcp(address) => TcpStream::connect(address).await.map(Connection::Tcp),
            }
        };
        tokio::time::timeout(CONNECT, connecting)
            .await
            .unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|error| self.unreachable(&error))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failure> {
        let exchanged = match self.connect().await? {
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

/// Any connection.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A WebSocket to a supervisor.
pub(crate) type Socket = tokio_tungstenite::WebSocketStream<Box<dyn Stream>>;

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

async fn text_of(response: Response<Incoming>) -> Result<String, Failure> {
    let bytes = whole(response).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

async fn whole(response: Response<Incoming>) -> Result<Bytes, Failure> {
    if !response.status().is_success() {
        return Err(problem(response).await);
    }
    let body = response.into_body().collect().await;
    let body = body.map_err(|error| {
        Failure::new(Exit::Unreachable, format!("the answer broke off: {error}"))
    })?;
    Ok(body.to_bytes())
}

async fn read<T: DeserializeOwned>(response: Response<Incoming>) -> Result<T, Failure> {
    let bytes = whole(response).await?;
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
    problem_of(status, &body.unwrap_or_default())
}

fn problem_of(status: StatusCode, bytes: &[u8]) -> Failure {
    if let Ok(refusal) = serde_json::from_slice::<AgentRefusal>(bytes) {
        return refusal.into();
    }
    match serde_json::from_slice::<Problem>(bytes) {
        Ok(problem) => problem.into(),
        Err(_) => Failure::new(exit_of(status), format!("the supervisor answered {status}")),
    }
}

/// An error of the Agent Protocol.
#[derive(Deserialize)]
struct AgentRefusal {
    code: String,
    message: String,
    /// Problems of the control API have none.
    #[serde(rename = "retryable")]
    _retryable: bool,
}

impl From<AgentRefusal> for Failure {
    fn from(refusal: AgentRefusal) -> Self {
        let exit = match refusal.code.as_str() {
            "unauthorized" | "forbidden" | "fenced" => Exit::NotPermitted,
            "refused" | "draining" | "lease_lost" | "version_conflict" => Exit::Refused,
            "bad_request" => Exit::Usage,
            _ => Exit::Failed,
        };
        Self::new(exit, format!("{} ({})", refusal.message, refusal.code))
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
