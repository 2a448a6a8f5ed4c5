//! `GET /api/metrics` and `/metrics`.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};

use super::params::Params;
use super::problem::ApiError;
use super::state::ApiState;
use crate::api::{Code, Problem, routes};
use crate::telemetry::exposition::Exposition;
use crate::telemetry::metrics::Sample;
use crate::telemetry::sandboxes;

/// Metrics
///
/// OpenMetrics 1.0 where `Accept` asks for it, else the Prometheus text format 0.0.4.
#[utoipa::path(
    get, path = routes::METRICS, tag = "supervisor",
    responses(
        (status = 200, description = "The metrics", content(
            (String = "text/plain"),
            (String = "application/openmetrics-text"),
        )),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn scrape(
    State(state): State<ApiState>,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    params.only(&[])?;
    let (statuses, used) = tokio::join!(state.statuses(), state.meter.read());
    let mut reported = (state.ports.agent_metrics)();
    reported.push_str(&sandboxes::expose(&state.ports.sandboxes.list()));
    let statuses = statuses?;
    let live = statuses.iter().filter(|status| status.instance.is_some());
    let confined = live.filter_map(|status| Some((status.name.clone(), state.confined(status)?)));
    let budgets = (state.ports.llm)().map(|llm| (llm.balances)().windows);
    let sample = Sample {
        statuses: &statuses,
        confined: &confined.collect(),
        usage: used.by_instance(),
        journal: (state.ports.journal_load)(),
        budgets: &budgets.unwrap_or_default(),
        reported: &reported,
        now: state.now(),
    };
    let accept = headers
        .get(ACCEPT)
        .map_or("", |value| value.to_str().unwrap_or(""));
    let exposition = Exposition::accepted(accept);
    let text = state
        .metrics
        .expose(&sample, exposition)
        .map_err(|error| ApiError::new(Code::Internal, error.to_string()))?;
    Ok(([(CONTENT_TYPE, exposition.media_type())], text).into_response())
}
