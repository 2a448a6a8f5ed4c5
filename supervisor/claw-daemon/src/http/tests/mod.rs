//! The server over a small fleet in memory.

mod answers;
mod bad_calls;
mod documents;
mod fleet;
mod halts;
mod hooks;
mod idempotency;
mod listeners;
mod llm;
mod models;
mod samples;
mod scrapes;
mod streams;

use axum::body::Body;
use axum::response::Response;
use http::{Method, Request};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use super::caller::{Caller, Link};
use fleet::Fleet;

/// A call of the API, with everything about it.
#[derive(Debug, Clone)]
struct Call {
    method: Method,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    caller: Caller,
}

/// An answer of the API.
#[derive(Debug, Clone, PartialEq)]
struct Answered {
    status: u16,
    headers: http::HeaderMap,
    body: String,
}

fn get(target: &str) -> Call {
    call(Method::GET, target)
}

fn post(target: &str) -> Call {
    call(Method::POST, target)
}

fn call(method: Method, target: &str) -> Call {
    Call {
        method,
        target: target.to_owned(),
        headers: vec![("x-request-id".to_owned(), "test".to_owned())],
        body: Vec::new(),
        caller: Caller::Admin { uid: 0 },
    }
}

impl Call {
    fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.header("content-type", content_type)
    }

    fn json(self, body: &str) -> Self {
        self.body("application/json", body)
    }

    fn over_tcp(mut self) -> Self {
        self.caller = Caller::Local {
            address: ([127, 0, 0, 1], 50_000).into(),
        };
        self
    }

    fn stranger(mut self) -> Self {
        self.caller = Caller::Stranger { uid: 4711 };
        self
    }

    /// Sends the call and gives the response with its body still to come.
    async fn open(self, fleet: &Fleet) -> Response {
        let mut request = Request::builder().method(self.method).uri(self.target);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let mut request = request.body(Body::from(self.body)).unwrap();
        request.extensions_mut().insert(Link::new(self.caller));
        fleet.app.clone().oneshot(request).await.unwrap()
    }

    async fn send(self, fleet: &Fleet) -> Answered {
        let (parts, body) = self.open(fleet).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answered {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }
}

impl Answered {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}
