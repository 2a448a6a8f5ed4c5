//! `/api/shared/state`: what agents share, its history, and changes of it from outside.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;

use super::extract::{KeyIn, Large, Whole};
use super::params::Params;
use super::problem::ApiError;
use super::state::ApiState;
use super::stored_state::{self, Whose};
use crate::api::{
    Problem, Rollback, StateDiff, StateKeyList, StateVersionList, StateWritten, routes,
};

/// Keys of the shared state
///
/// A page at a time, in the order of their bytes.
#[utoipa::path(
    get, path = routes::SHARED_STATE, tag = "state",
    params(
        ("prefix" = Option<String>, Query, description = "Only keys that begin so"),
        ("version" = Option<u64>, Query, description = "As of this version"),
        ("after" = Option<String>, Query, description = "Only keys behind this one"),
        ("limit" = Option<usize>, Query, description = "At most so many, 1000 by default"),
    ),
    responses(
        (status = 200, description = "The keys", body = StateKeyList),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Json<StateKeyList>, ApiError> {
    stored_state::list(&state, &Whose::Shared, &params).await
}

/// One key of the shared state
///
/// The value as it was written, byte by byte; its version is the `ETag`.
#[utoipa::path(
    get, path = routes::SHARED_STATE_KEY, tag = "state",
    params(
        ("key" = String, Path, description = "The key, percent-encoded"),
        ("version" = Option<u64>, Query, description = "As of this version"),
    ),
    responses(
        (status = 200, description = "The value", body = serde_json::Value),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get(
    State(state): State<ApiState>,
    KeyIn(key): KeyIn,
    params: Params,
) -> Result<Response, ApiError> {
    stored_state::get(&state, (&Whose::Shared, &key), &params).await
}

/// Set a key of the shared state
///
/// `If-Match` demands a version of the key, `If-None-Match: *` that there is none.
#[utoipa::path(
    put, path = routes::SHARED_STATE_KEY, tag = "state",
    params(
        ("key" = String, Path, description = "The key, percent-encoded"),
        ("ttl" = Option<String>, Query, description = "It disappears after so long, such as `1h`"),
    ),
    request_body(content = serde_json::Value, content_type = "application/json"),
    responses(
        (status = 200, description = "It is durable", body = StateWritten),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn put(
    State(state): State<ApiState>,
    KeyIn(key): KeyIn,
    params: Params,
    headers: HeaderMap,
    Large(body): Large,
) -> Result<Response, ApiError> {
    stored_state::put(&state, (&Whose::Shared, key), &params, &headers, &body).await
}

/// Delete a key of the shared state
#[utoipa::path(
    delete, path = routes::SHARED_STATE_KEY, tag = "state",
    params(
        ("key" = String, Path, description = "The key, percent-encoded"),
    ),
    responses(
        (status = 200, description = "It is gone", body = StateWritten),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn delete(
    State(state): State<ApiState>,
    KeyIn(key): KeyIn,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    stored_state::delete(&state, (&Whose::Shared, key), &params, &headers).await
}

/// Versions of the shared state
///
/// Newest first, a page at a time. `all=true` lists those too that nothing marks as worth keeping.
#[utoipa::path(
    get, path = routes::SHARED_STATE_VERSIONS, tag = "state",
    params(
        ("all" = Option<bool>, Query, description = "Every version, not only marked ones"),
        ("before" = Option<u64>, Query, description = "Only versions older than this one"),
        ("limit" = Option<usize>, Query, description = "At most so many, 1000 by default"),
    ),
    responses(
        (status = 200, description = "The versions", body = StateVersionList),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn versions(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Json<StateVersionList>, ApiError> {
    stored_state::versions(&state, &Whose::Shared, &params).await
}

/// What differs between two versions of the shared state
///
/// A page at a time, in the order of the keys.
#[utoipa::path(
    get, path = routes::SHARED_STATE_DIFF, tag = "state",
    params(
        ("from" = u64, Query, description = "The older version"),
        ("to" = Option<u64>, Query, description = "The newer one; the newest there is without"),
        ("after" = Option<String>, Query, description = "Only keys behind this one"),
        ("limit" = Option<usize>, Query, description = "At most so many, 100 by default"),
    ),
    responses(
        (status = 200, description = "The keys that differ", body = StateDiff),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn diff(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Json<StateDiff>, ApiError> {
    stored_state::diff(&state, &Whose::Shared, &params).await
}

/// Go back to an older version of the shared state
///
/// Its content becomes a new version; the version before is kept.
#[utoipa::path(
    post, path = routes::SHARED_STATE_ROLLBACK, tag = "state",
    request_body(content = Rollback, content_type = "application/json"),
    responses(
        (status = 200, description = "It is durable", body = StateWritten),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn rollback(
    State(state): State<ApiState>,
    params: Params,
    Whole(body): Whole,
) -> Result<Json<StateWritten>, ApiError> {
    stored_state::rollback(&state, &Whose::Shared, &params, &body).await
}

/// Export the shared state
#[utoipa::path(
    get, path = routes::SHARED_STATE_EXPORT, tag = "state",
    params(
        ("version" = Option<u64>, Query, description = "As of this version"),
    ),
    responses(
        (status = 200, description = "All keys and values", body = serde_json::Value),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn export(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, ApiError> {
    stored_state::export(&state, &Whose::Shared, &params).await
}

/// Replace the shared state by an exported one
#[utoipa::path(
    post, path = routes::SHARED_STATE_IMPORT, tag = "state",
    request_body(content = serde_json::Value, content_type = "application/json"),
    responses(
        (status = 200, description = "It is durable", body = StateWritten),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn import(
    State(state): State<ApiState>,
    params: Params,
    Large(body): Large,
) -> Result<Json<StateWritten>, ApiError> {
    stored_state::import(&state, &Whose::Shared, &params, &body).await
}
