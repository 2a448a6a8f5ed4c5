//! The routes of the protocol.

use axum::Router;
use axum::routing::{get, post, put};

use super::admission::Context;
use super::fault::{Code, Fault};
use super::{batch, control, done, events, feedback, fleet, hello, others, sandboxes, state, work};

/// What one agent may ask for, once it is admitted. Bodies are bounded by
/// [`WholeBody`](super::admission::WholeBody).
pub(super) fn app(context: Context) -> Router {
    let own = get(state::get_own).merge(put(state::put_own).delete(state::delete_own));
    let shared = get(state::get_shared).merge(put(state::put_shared).delete(state::delete_shared));
    Router::new()
        .route("/v1/hello", post(hello::hello))
        .route("/v1/ready", post(hello::ready))
        .route("/v1/status", post(hello::status))
        .route("/v1/control", get(control::control))
        .route("/v1/control/{id}", post(control::answered))
        .route("/v1/probe/{id}", post(control::probed))
        .route("/v1/work", get(work::poll))
        .route("/v1/work/{id}/done", post(done::done))
        .route("/v1/work/{id}/extend", post(feedback::extend))
        .route("/v1/state", get(state::list_own))
        .route("/v1/state:batch", post(batch::batch_own))
        .route("/v1/state/{key}", own)
        .route("/v1/shared", get(state::list_shared))
        .route("/v1/shared:batch", post(batch::batch_shared))
        .route("/v1/shared/{key}", shared)
        .route("/v1/agents/{name}/state", get(others::all))
        .route("/v1/agents/{name}/state/{key}", get(others::one))
        .route("/v1/events", post(events::publish))
        .route("/v1/events:batch", post(events::publish_many))
        .route("/v1/alerts", post(feedback::alert))
        .route("/v1/notify", post(feedback::notify))
        .route("/v1/metrics", post(feedback::metrics))
        .route("/v1/logs", post(feedback::logs))
        .route("/v1/sandboxes/{name}/run", post(sandboxes::run))
        .route("/v1/fleet", get(fleet::list))
        .route("/v1/fleet/{agent}", get(fleet::show))
        .route("/v1/fleet/{agent}/{verb}", post(fleet::command))
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method)
        .with_state(context)
}

async fn no_such_route() -> Fault {
    Fault::new(
        Code::NotFound,
        "there is nothing here; see Agent Protocol 1",
    )
}

async fn no_such_method() -> Fault {
    Fault::new(
        Code::MethodNotAllowed,
        "this route does not take the method",
    )
}
