//! An agent's client: one connection for each request.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What an agent sends.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Bytes,
}

impl Asked {
    pub(crate) fn post(path: &str, body: &Value) -> Self {
        Self {
            method: Method::POST,
            path: path.to_owned(),
            headers: vec![("authorization", "Bearer agent-token".to_owned())],
            body: body.to_string().into(),
        }
    }

    pub(crate) fn get(path: &str) -> Self {
        Self {
            method: Method::GET,
            body: Bytes::new(),
            ..Self::post(path, &Value::Null)
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.retain(|(other, _)| *other != name);
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(crate) fn without(mut self, name: &'static str) -> Self {
        self.headers.retain(|(other, _)| *other != name);
        self
    }
}

/// An answer that has begun.
pub(crate) struct Begun {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    body: Incoming,
    connection: JoinHandle<()>,
}

/// An answer, whole.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    /// Whether the body broke off.
    pub(crate) broke_off: bool,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The word for the reason of a refusal.
    pub(crate) fn code(&self) -> String {
        let body = self.json();
        body["error"]["code"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// The data of all events, in JSON where it is JSON.
    pub(crate) fn events(&self) -> Vec<Value> {
        let data = self
            .body
            .lines()
            .filter_map(|line| line.strip_prefix("data: "));
        data.map(|data| serde_json::from_str(data).unwrap_or_else(|_text| Value::from(data)))
            .collect()
    }
}

/// Sends a request and waits for the head of its answer.
pub(crate) async fn begin(address: SocketAddr, asked: Asked) -> Begun {
    let stream = TcpStream::connect(address).await.expect("connected");
    let io = TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io)
        .await
        .expect("a connection");
    let connection = tokio::spawn(async move {
        // How it ends is seen in the answer.
        let _end = connection.await;
    });
    let mut request = Request::new(Full::new(asked.body));
    *request.method_mut() = asked.method;
    *request.uri_mut() = asked.path.parse().expect("a path");
    for (name, value) in asked.headers {
        let value = value.parse().expect("a value");
        request.headers_mut().insert(name, value);
    }
    request
        .headers_mut()
        .insert("host", "openclaw".parse().expect("a value"));
    let response = timeout(PATIENCE, sender.send_request(request))
        .await
        .expect("an answer in time")
        .expect("an answer");
    let (head, body) = response.into_parts();
    Begun {
        status: head.status.as_u16(),
        headers: head.headers,
        body,
        connection,
    }
}

impl Begun {
    /// The next bytes; nothing at the end.
    pub(crate) async fn piece(&mut self) -> Option<Bytes> {
        let frame = timeout(PATIENCE, self.body.frame()).await;
        let frame = frame.expect("a piece in time")?.expect("no break");
        Some(frame.into_data().unwrap_or_default())
    }

    pub(crate) async fn whole(mut self) -> Answer {
        let mut bytes = Vec::new();
        let mut broke_off = false;
        while let Some(frame) = timeout(PATIENCE, self.body.frame())
            .await
            .expect("a piece in time")
        {
            match frame {
                Ok(frame) => bytes.extend(frame.into_data().unwrap_or_default()),
                Err(_) => {
                    broke_off = true;
                    break;
                }
            }
        }
        Answer {
            status: self.status,
            headers: self.headers,
            body: String::from_utf8(bytes).expect("text"),
            broke_off,
        }
    }

    /// Closes the connection.
    pub(crate) fn hang_up(self) {
        self.connection.abort();
    }
}

/// Sends a request and hangs up when it has reached the provider, before there is an answer.
pub(crate) async fn send_and_hang_up(
    address: SocketAddr,
    asked: Asked,
    reached: impl Future<Output = ()>,
) {
    let asking = tokio::spawn(async move {
        begin(address, asked).await;
    });
    timeout(PATIENCE, reached).await.expect("in time");
    asking.abort();
}
