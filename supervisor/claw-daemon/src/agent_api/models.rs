//! `/llm/…` on the agent's socket: the gateway to language models, for programs without a network.

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::uri::PathAndQuery;
use http::{Request, Uri};
use hyper::body::Incoming;

use super::admission::Context;
use super::fault::{Code, Fault};
use super::serve::{Peer, is_stranger};

/// What the gateway has below it.
const PREFIX: &str = "/llm";

/// Whether a request is one for the gateway.
pub(super) fn is_for_models(uri: &Uri) -> bool {
    let below = uri.path().strip_prefix(PREFIX);
    below.is_some_and(|rest| rest.starts_with('/'))
}

/// Has the gateway answer.
pub(super) async fn answer(
    Context { api, endpoint }: &Context,
    peer: &Peer,
    mut request: Request<Incoming>,
) -> Response {
    if let Some(delay) = endpoint.pace.delay() {
        tokio::time::sleep(delay).await;
    }
    let Some(gateway) = api.models().gateway() else {
        let message = "no llm configured: set `llm:` in openclaw.yaml to let this agent use models";
        return Fault::new(Code::NotFound, message).into_response();
    };
    let stranger = peer.pid.is_some_and(|pid| is_stranger(endpoint, pid));
    let Some(caller) = api.living(endpoint).filter(|_| !stranger) else {
        let message = "the process at the other end does not belong to the agent";
        return Fault::new(Code::Forbidden, message).into_response();
    };
    if let Some(uri) = below(request.uri()) {
        *request.uri_mut() = uri;
    }
    let response = gateway.answer(request, Arc::new(caller)).await;
    response.map(Body::new)
}

/// The path and query below the prefix.
fn below(uri: &Uri) -> Option<Uri> {
    let path = uri.path_and_query()?.as_str().strip_prefix(PREFIX)?;
    let path: PathAndQuery = path.parse().ok()?;
    Some(Uri::from(path))
}
