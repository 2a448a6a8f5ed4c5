//! The OpenAPI document and the page that shows it.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};

use super::problem;
use crate::api::Code;

/// The page; it fetches the document from this server and nothing from anywhere else.
const PAGE: &str = include_str!("docs.html");

/// Where the table of codes goes; the `type` of a problem points into it.
const CODES: &str = "<!-- codes -->";

/// Allows the page its own script and style and questions to this server, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// The OpenAPI document as text, rendered once.
#[derive(Clone)]
pub(super) struct Document(pub(super) Arc<str>);

pub(super) async fn openapi(State(Document(text)): State<Document>) -> Response {
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, text.to_string()).into_response()
}

pub(super) async fn page() -> Response {
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, PAGE.replace(CODES, &codes())).into_response()
}

fn codes() -> String {
    let row = |(code, text): &(Code, &str)| {
        let (status, title) = problem::meaning(*code);
        let status = status.as_u16();
        format!("<tr id=\"{text}\"><td><code>{text}</code><td>{status}<td>{title}\n")
    };
    Code::ALL.iter().map(row).collect()
}
