//! Turns away whoever may not ask at all.
//!
//! On the unix socket the kernel says who asks. On TCP anybody on this machine may ask, also a
//! web page in somebody's browser; two checks keep pages out. A page that made its own name
//! resolve to 127.0.0.1 (DNS rebinding) sends that name as `Host`. A page that posts a form or
//! opens a WebSocket across sites sends its `Origin`.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{HOST, ORIGIN, UPGRADE};
use http::uri::Authority;
use http::{HeaderMap, Method};

use super::caller::{Caller, Link};
use super::problem::ApiError;
use crate::api::Code;

/// Lets a request through, or answers why not.
pub(super) async fn guard(request: Request, next: Next) -> Response {
    match admit(&request) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

fn admit(request: &Request) -> Result<(), ApiError> {
    let Some(link) = request.extensions().get::<Link>() else {
        return Err(forbidden("the connection is not known"));
    };
    match &link.caller {
        Caller::Admin { .. } => Ok(()),
        Caller::Stranger { uid } => Err(forbidden(&format!(
            "user {uid} may not use this socket; only the supervisor's own user and root may"
        ))),
        Caller::Confined { pid } => Err(forbidden(&format!(
            "process {pid} is in an agent's sandbox, and no sandbox leads to the supervisor"
        ))),
        Caller::Local { .. } => {
            let host = loopback_host(request)?;
            match changes_something(request) {
                true => same_origin(request.headers(), &host),
                false => Ok(()),
            }
        }
    }
}

fn forbidden(detail: &str) -> ApiError {
    ApiError::new(Code::Forbidden, detail)
}

/// A WebSocket counts: browsers open them across sites without asking.
fn changes_something(request: &Request) -> bool {
    let reads = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    !reads || request.headers().contains_key(UPGRADE)
}

fn loopback_host(request: &Request) -> Result<String, ApiError> {
    let from_header = request
        .headers()
        .get(HOST)
        .and_then(|host| host.to_str().ok());
    let host = request
        .uri()
        .authority()
        .map(Authority::as_str)
        .or(from_header)
        .unwrap_or("");
    if is_loopback(host) {
        return Ok(host.to_ascii_lowercase());
    }
    let detail = format!(
        "the host `{}` is not a name of this machine's loopback; use localhost or 127.0.0.1",
        host.escape_default()
    );
    Err(ApiError::new(Code::ForeignHost, detail).parameter("Host"))
}

fn is_loopback(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else {
        return false;
    };
    if authority.as_str().contains('@') {
        return false;
    }
    let name = authority.host();
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse::<std::net::IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|ip| ip.is_loopback())
}

fn same_origin(headers: &HeaderMap, host: &str) -> Result<(), ApiError> {
    let Some(origin) = headers.get(ORIGIN) else {
        return Ok(());
    };
    let origin = origin.to_str().unwrap_or("").to_ascii_lowercase();
    if origin.strip_prefix("http://") == Some(host) {
        return Ok(());
    }
    let detail = format!("a page of `{}` may not do this", origin.escape_default());
    Err(ApiError::new(Code::ForeignOrigin, detail).parameter("Origin"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_the_loopback_are_taken() {
        let good = [
            "localhost",
            "LOCALHOST:8400",
            "127.0.0.1:8400",
            "127.8.9.1",
            "[::1]:8400",
        ];
        for host in good {
            assert!(is_loopback(host), "{host}");
        }
        let bad = [
            "",
            "example.com",
            "localhost.example.com",
            "127.0.0.1.nip.io",
            "10.0.0.1",
            "0.0.0.0",
            "[::]",
            "user@localhost",
            "localhost:8400:1",
        ];
        for host in bad {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
