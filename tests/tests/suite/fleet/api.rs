//! The control API over the unix socket.

use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

/// An answer takes at most this long, waits excepted: no test asks for a longer one.
const ANSWER: Duration = Duration::from_secs(60);

/// Asks the supervisor at a socket.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    socket: PathBuf,
}

impl Api {
    pub(super) const fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// The status and body of a GET; `None` when nobody answers.
    pub(crate) fn ask(&self, path: &str) -> Option<(u16, String)> {
        self.exchange("GET", path, None)
    }

    /// The document at a path.
    #[track_caller]
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        let (status, body) = self.ask(path).expect("the supervisor answers");
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"))
    }

    /// The status and body of a POST.
    #[track_caller]
    pub(crate) fn post(&self, path: &str, body: Option<&str>) -> (u16, serde_json::Value) {
        let (status, text) = self
            .exchange("POST", path, body)
            .expect("the supervisor answers");
        let value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}"));
        (status, value)
    }

    /// The status and body of a POST with another header.
    #[track_caller]
    pub(crate) fn post_with(
        &self,
        path: &str,
        body: &str,
        (name, value): (&str, &str),
    ) -> (u16, serde_json::Value) {
        let answer = self.offer(path, body, (name, value));
        answer.expect("the supervisor answers")
    }

    /// The same, where the supervisor may die instead of answering.
    #[track_caller]
    pub(crate) fn offer(
        &self,
        path: &str,
        body: &str,
        (name, value): (&str, &str),
    ) -> Option<(u16, serde_json::Value)> {
        let request = request("POST", path).header(name, value);
        let body = Full::new(Bytes::from(body.to_owned()));
        let (status, text) = self.finish(request.body(body).unwrap())?;
        let value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}"));
        Some((status, value))
    }

    fn exchange(&self, method: &str, path: &str, body: Option<&str>) -> Option<(u16, String)> {
        let bytes = Bytes::from(body.unwrap_or_default().to_owned());
        self.finish(request(method, path).body(Full::new(bytes)).unwrap())
    }

    fn finish(&self, request: Request<Full<Bytes>>) -> Option<(u16, String)> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            tokio::time::timeout(ANSWER, self.send(request))
                .await
                .ok()?
                .ok()
        })
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<(u16, String), Broken> {
        let stream = UnixStream::connect(&self.socket).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move { drop(connection.await) });
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }
}

fn request(method: &str, path: &str) -> hyper::http::request::Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .header("content-type", "application/json")
}

type Broken = Box<dyn std::error::Error + Send + Sync>;
