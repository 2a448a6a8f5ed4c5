//! All routes, and what stands around them.
//!
//! ```text
//!  envelope (id, log, body of errors) ─► guard (who may ask) ─► idempotency ─► handler
//! ```

use axum::Router;
use axum::extract::Request;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use http::Uri;
use http::uri::PathAndQuery;
use tower::ServiceExt;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::docs::{self, Document};
use super::problem::ApiError;
use super::state::ApiState;
use super::{
    agent_state, agents, bus, config, denials, envelope, events, exec, goals, guard, halts, health,
    hooks, idempotency, learned, llm, logs, metrics, runs, sandboxes, seek, shared_state,
    transitions, upgrade,
};
use crate::api::routes as paths;
use crate::api::{BusEvent, Code, Problem};

/// What the OpenAPI document says of the whole.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "OpenClaw supervisor",
        description = "The control API. Errors are application/problem+json with a stable `code`.",
    ),
    components(schemas(BusEvent, Problem))
)]
struct About;

/// Makes the whole service.
pub(crate) fn app(state: ApiState) -> Router {
    let (routes, document) = documented().split_for_parts();
    let document = document.to_json().unwrap_or_else(|error| {
        tracing::error!(%error, "the OpenAPI document cannot be written");
        "{}".to_owned()
    });
    let inner = routes
        .route(paths::METRICS_ROOT, get(metrics::scrape))
        .layer(from_fn_with_state(state.clone(), idempotency::idempotent))
        .with_state(state)
        .route(
            paths::OPENAPI,
            get(docs::openapi).with_state(Document(document.into())),
        )
        .route(paths::DOCS, get(docs::page))
        .fallback(no_such_route)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn(guard::guard))
        .layer(from_fn(envelope::envelope));
    Router::new().fallback_service(inner.map_request(without_version))
}

/// The routes that the OpenAPI document describes.
pub(super) fn documented() -> OpenApiRouter<ApiState> {
    OpenApiRouter::with_openapi(About::openapi())
        .routes(routes!(agents::list))
        .routes(routes!(agents::show))
        .routes(routes!(goals::start))
        .routes(routes!(goals::stop))
        .routes(routes!(goals::restart))
        .routes(routes!(goals::pause))
        .routes(routes!(goals::resume))
        .routes(routes!(halts::list, halts::halt))
        .routes(routes!(halts::lift))
        .routes(routes!(transitions::list))
        .routes(routes!(runs::trigger))
        .routes(routes!(runs::list))
        .routes(routes!(runs::show))
        .routes(routes!(runs::cancel))
        .routes(routes!(logs::read))
        .routes(routes!(denials::list))
        .routes(routes!(learned::list))
        .routes(routes!(exec::exec))
        .routes(routes!(agent_state::list))
        .routes(routes!(
            agent_state::get,
            agent_state::put,
            agent_state::delete
        ))
        .routes(routes!(agent_state::versions))
        .routes(routes!(agent_state::diff))
        .routes(routes!(agent_state::rollback))
        .routes(routes!(agent_state::export))
        .routes(routes!(agent_state::import))
        .routes(routes!(shared_state::list))
        .routes(routes!(
            shared_state::get,
            shared_state::put,
            shared_state::delete
        ))
        .routes(routes!(shared_state::versions))
        .routes(routes!(shared_state::diff))
        .routes(routes!(shared_state::rollback))
        .routes(routes!(shared_state::export))
        .routes(routes!(shared_state::import))
        .routes(routes!(events::stream, bus::publish))
        .routes(routes!(sandboxes::list))
        .routes(routes!(sandboxes::run))
        .routes(routes!(sandboxes::run_image))
        .routes(routes!(hooks::call))
        .routes(routes!(bus::dead))
        .routes(routes!(bus::replay))
        .routes(routes!(bus::drop_letters))
        .routes(routes!(seek::replay))
        .routes(routes!(llm::budget))
        .routes(routes!(llm::usage))
        .routes(routes!(llm::calls))
        .routes(routes!(llm::reconcile))
        .routes(routes!(llm::prices))
        .routes(routes!(config::show))
        .routes(routes!(config::plan))
        .routes(routes!(config::apply))
        .routes(routes!(health::health))
        .routes(routes!(health::ready))
        .routes(routes!(health::shutdown))
        .routes(routes!(upgrade::upgrade))
        .routes(routes!(metrics::scrape))
}

/// `/api/v1/…` is the same as `/api/…`.
fn without_version(mut request: Request) -> Request {
    let target = request.uri().path_and_query().map(PathAndQuery::as_str);
    let rest = target.and_then(|target| target.strip_prefix("/api/v1/"));
    let plain = rest.map(|rest| format!("/api/{rest}").parse::<Uri>());
    if let Some(Ok(plain)) = plain {
        *request.uri_mut() = plain;
    }
    request
}

async fn no_such_route(request: Request) -> ApiError {
    let path: String = request.uri().path().chars().take(200).collect();
    let detail = format!("there is nothing at `{path}`; see {}", paths::DOCS);
    ApiError::new(Code::NoSuchRoute, detail)
}

async fn method_not_allowed(request: Request) -> ApiError {
    let detail = format!(
        "`{}` does not take {}; see the `Allow` header",
        request.uri().path(),
        request.method()
    );
    ApiError::new(Code::MethodNotAllowed, detail)
}
