//! A request for a stream, which may want a WebSocket.

use axum::extract::FromRequestParts;
use axum::extract::ws::WebSocketUpgrade;
use http::HeaderMap;
use http::header::UPGRADE;
use http::request::Parts;

use super::caller::Link;
use super::params::Params;
use super::problem::ApiError;
use crate::api::Code;

/// The largest message taken from a reader, which has nothing to say.
const MESSAGE: usize = 4096;

/// What a request for a stream says beside its path.
pub(super) struct StreamRequest {
    pub(super) link: Link,
    pub(super) params: Params,
    pub(super) headers: HeaderMap,
    /// The upgrade to a WebSocket, if it wants one.
    pub(super) upgrade: Option<WebSocketUpgrade>,
}

impl<S: Send + Sync> FromRequestParts<S> for StreamRequest {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Ok(Self {
            link: Link::from_request_parts(parts, state).await?,
            params: params(parts, state).await,
            headers: parts.headers.clone(),
            upgrade: upgrade(parts, state).await?,
        })
    }
}

async fn params<S: Send + Sync>(parts: &mut Parts, state: &S) -> Params {
    let Ok(params) = Params::from_request_parts(parts, state).await;
    params
}

async fn upgrade<S: Send + Sync>(
    parts: &mut Parts,
    state: &S,
) -> Result<Option<WebSocketUpgrade>, ApiError> {
    if !parts.headers.contains_key(UPGRADE) {
        return Ok(None);
    }
    WebSocketUpgrade::from_request_parts(parts, state)
        .await
        .map(|upgrade| Some(upgrade.max_message_size(MESSAGE).max_frame_size(MESSAGE)))
        .map_err(|rejection| {
            ApiError::new(Code::BadHeader, rejection.body_text()).parameter("Upgrade")
        })
}
