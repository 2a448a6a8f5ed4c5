//! `/api/llm/…`: what models cost, what was spent on them, and what may be.
//!
//! Agents go by their names in the fleet file: the replicas of one share its models and its budget.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use claw_core::{AgentName, RunId};
use claw_gateway::llm::budget::{Balance, CallId, Scope, Window};
use claw_gateway::llm::money::Money;
use claw_store::llm::CallFilter;
use claw_store::store::UnixMs;
use http::HeaderMap;

use super::extract::{Whole, content_type, invalid_json};
use super::limits;
use super::llm_prices;
use super::params::{self, Params};
use super::ports::{Balances, LlmPorts, NotReconciled, Reconciliation};
use super::problem::ApiError;
use super::state::ApiState;
use crate::api::{
    Code, LlmBudgets, LlmCall, LlmCallList, LlmPriceList, LlmReconcile, LlmReconciled, LlmScope,
    LlmUsageBy, LlmUsageList, LlmWindow, LlmWindowName, Problem, Time, Usd, routes,
};

/// How budgets stand
///
/// The present day and month: of all agents together, and of each agent, or of one. Amounts are
/// texts in USD, exact.
#[utoipa::path(
    get, path = routes::LLM_BUDGET, tag = "llm",
    params(("agent" = Option<String>, Query, description = "Only this agent's, and the global ones")),
    responses(
        (status = 200, description = "The windows", body = LlmBudgets),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn budget(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Json<LlmBudgets>, ApiError> {
    params.only(&["agent"])?;
    let llm = llm(&state)?;
    let agent = agent(&state, &params).await?;
    let mut balances = (llm.balances)();
    if let Some(agent) = agent {
        balances
            .windows
            .retain(|balance| match &balance.window.scope {
                Scope::Fleet => true,
                Scope::Agent(name) => **name == *agent.as_str(),
            });
        let has_models = |balance: &Balance| balance.window.scope != Scope::Fleet;
        if !balances.windows.iter().any(has_models) {
            return Err(no_models(&agent));
        }
    }
    Ok(Json(LlmBudgets {
        at: balances.at,
        timezone: balances.timezone.iana_name().map(str::to_owned),
        alert_at_pct: balances.alert_at_pct,
        windows: told(&balances, &balances.windows),
    }))
}

/// What calls used
///
/// Summed up by agent, model, day or run over the calls that have ended.
#[utoipa::path(
    get, path = routes::LLM_USAGE, tag = "llm",
    params(
        ("since" = Option<String>, Query,
            description = "Calls admitted since then: a time, or a span before now; `7d` by default"),
        ("by" = Option<LlmUsageBy>, Query, description = "By what; `agent` by default"),
    ),
    responses(
        (status = 200, description = "What was used", body = LlmUsageList),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn usage(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Json<LlmUsageList>, ApiError> {
    params.only(&["since", "by"])?;
    let llm = llm(&state)?;
    let since = match since(&state, &params)? {
        Some(since) => since,
        None => {
            let now = state.now();
            now.checked_sub(limits::USAGE_SINCE).unwrap_or(Time::MIN)
        }
    };
    let by = params.read("by", usage_by)?.unwrap_or(LlmUsageBy::Agent);
    let rows = llm.store.llm_usage(unix_ms(since), by.into()).await?;
    Ok(Json(LlmUsageList {
        since,
        by,
        usage: rows.into_iter().map(Into::into).collect(),
    }))
}

/// Calls to models
///
/// The newest first, a page at a time, with those under way.
#[utoipa::path(
    get, path = routes::LLM_CALLS, tag = "llm",
    params(
        ("agent" = Option<String>, Query, description = "Only calls of this agent"),
        ("run" = Option<String>, Query, description = "Only calls of this run"),
        ("since" = Option<String>, Query,
            description = "Only calls admitted since then: a time, or a span before now"),
        ("uncertain" = Option<bool>, Query,
            description = "Only calls that may have cost more than is known"),
        ("before" = Option<u64>, Query, description = "Only calls older than this one"),
        ("limit" = Option<u32>, Query, description = "At most so many, 50 by default"),
    ),
    responses(
        (status = 200, description = "The calls", body = LlmCallList),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn calls(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Json<LlmCallList>, ApiError> {
    params.only(&["agent", "run", "since", "uncertain", "before", "limit"])?;
    let llm = llm(&state)?;
    let agent = agent(&state, &params).await?;
    let run = params.read("run", |text| {
        let id = text.parse::<RunId>();
        id.map_err(|error| error.to_string())
    })?;
    let limit = params.read("limit", params::count(limits::CALLS_PAGE_MOST))?;
    let limit = limit.unwrap_or(limits::CALLS_PAGE).max(1);
    let filter = CallFilter {
        agent: agent.map(|agent| agent.to_string()),
        run: run.map(|run| run.to_string()),
        since: since(&state, &params)?.map(unix_ms),
        uncertain: params.read("uncertain", params::switch)?.unwrap_or(false),
        before: params.read("before", params::count(i64::MAX.unsigned_abs()))?,
        limit,
    };
    let rows = llm.store.llm_calls(filter).await?;
    let full = rows.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
    let last = rows.last().map(|row| row.admitted.id);
    Ok(Json(LlmCallList {
        calls: rows.into_iter().map(Into::into).collect(),
        next: last.filter(|_| full),
    }))
}

/// Say what was billed
///
/// Puts what the provider has billed in the place of what is uncertain: for one call, in all its
/// windows, or for all that has ended in one window. A window without a beginning is the present
/// one.
#[utoipa::path(
    post, path = routes::LLM_RECONCILE, tag = "llm",
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "The same key, the same answer"),
    ),
    request_body(content = LlmReconcile, content_type = "application/json"),
    responses(
        (status = 200, description = "It is durable", body = LlmReconciled),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn reconcile(
    State(state): State<ApiState>,
    params: Params,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Result<Json<LlmReconciled>, ApiError> {
    params.only(&[])?;
    content_type(&headers, &["application/json"])?;
    let asked: LlmReconcile =
        serde_json::from_slice(&body).map_err(|error| invalid_json(&error))?;
    let llm = llm(&state)?;
    let question = question(&asked, &(llm.balances)())?;
    let windows = llm.reconcile.call(question).await.map_err(problem)?;
    let call = match asked.call {
        Some(id) => call(&llm, id).await?,
        None => None,
    };
    let windows = told(&(llm.balances)(), &windows);
    Ok(Json(LlmReconciled { call, windows }))
}

/// What models cost
///
/// By the configuration in force, in USD for a million tokens.
#[utoipa::path(
    get, path = routes::LLM_PRICES, tag = "llm",
    params(("all" = Option<bool>, Query,
        description = "Also models that the fleet file does not name")),
    responses(
        (status = 200, description = "The prices", body = LlmPriceList),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn prices(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Json<LlmPriceList>, ApiError> {
    params.only(&["all"])?;
    let which = match params.read("all", params::switch)? {
        Some(true) => llm_prices::Which::All,
        Some(false) | None => llm_prices::Which::Named,
    };
    let prices = (llm(&state)?.prices)();
    Ok(Json(llm_prices::list(&prices, which, state.now())))
}

fn llm(state: &ApiState) -> Result<LlmPorts, ApiError> {
    (state.ports.llm)().ok_or_else(|| {
        let detail = "there is no `llm` section in the fleet file; name `providers` and `models` \
                      there, and apply it";
        ApiError::new(Code::NoModels, detail)
    })
}

fn no_models(agent: &AgentName) -> ApiError {
    let detail = format!("agent `{agent}` may call no models; give it some in the fleet file");
    ApiError::new(Code::NoModels, detail).agent(agent)
}

/// The agent that a question is about, by its name in the fleet file.
async fn agent(state: &ApiState, params: &Params) -> Result<Option<AgentName>, ApiError> {
    let named = params.read("agent", |text| {
        let name = text.parse::<AgentName>();
        name.map_err(|error| error.to_string())
    })?;
    let Some(name) = named else {
        return Ok(None);
    };
    let replicas = (state.ports.config.replicas)();
    if replicas.members(&name).is_some() {
        return Ok(Some(name));
    }
    state.status(&name).await?;
    Ok(Some(replicas.identity(&name)))
}

fn since(state: &ApiState, params: &Params) -> Result<Option<Time>, ApiError> {
    let now = state.now();
    params.read("since", |text| params::point(text, now))
}

fn usage_by(text: &str) -> Result<LlmUsageBy, String> {
    let found = LlmUsageBy::ALL.into_iter().find(|by| by.as_str() == text);
    found.ok_or_else(|| "this is `agent`, `model`, `day` or `run`".to_owned())
}

fn unix_ms(at: Time) -> UnixMs {
    UnixMs(at.as_millisecond())
}

async fn call(llm: &LlmPorts, id: u64) -> Result<Option<LlmCall>, ApiError> {
    let filter = CallFilter {
        before: Some(id.saturating_add(1)),
        limit: 1,
        ..CallFilter::default()
    };
    let rows = llm.store.llm_calls(filter).await?;
    let found = rows.into_iter().find(|row| row.admitted.id == id);
    Ok(found.map(Into::into))
}

fn told(balances: &Balances, windows: &[Balance]) -> Vec<LlmWindow> {
    windows
        .iter()
        .map(|balance| LlmWindow::new(balance, balances.at, &balances.timezone))
        .collect()
}

fn question(asked: &LlmReconcile, present: &Balances) -> Result<Reconciliation, ApiError> {
    let Usd(billed) = asked.actual_usd;
    if billed < Money::ZERO {
        let detail = "nobody bills less than nothing: `actual_usd` is at least 0.00";
        return Err(ApiError::bad_parameter("actual_usd", detail));
    }
    match (asked.call, &asked.window) {
        (Some(id), None) => Ok(Reconciliation::Call {
            id: CallId(id),
            billed,
        }),
        (None, Some(name)) => Ok(Reconciliation::Window {
            window: window(name, present)?,
            billed,
        }),
        (Some(_), Some(_)) | (None, None) => {
            let detail = "name either a `call` or a `window`";
            Err(ApiError::bad_parameter("call", detail))
        }
    }
}

fn window(name: &LlmWindowName, present: &Balances) -> Result<Window, ApiError> {
    let scope = match (name.scope, &name.agent) {
        (LlmScope::Global, None) => Scope::Fleet,
        (LlmScope::Agent, Some(agent)) => Scope::Agent(Arc::from(agent.as_str())),
        (LlmScope::Global, Some(_)) | (LlmScope::Agent, None) => {
            let detail = "a window of scope `agent` names its `agent`, a global one none";
            return Err(ApiError::bad_parameter("window", detail));
        }
    };
    let period = name.window.into();
    let begins =
        |balance: &&Balance| balance.window.scope == scope && balance.window.period == period;
    let start = match name.starts_on {
        Some(start) => start,
        None => {
            let found = present.windows.iter().find(begins);
            let unknown = || {
                let detail = "no such window is open now; name a day of it by `starts_on` \
                              (`clawctl llm reconcile --on DATE`)";
                ApiError::bad_parameter("window", detail)
            };
            found.ok_or_else(unknown)?.window.start
        }
    };
    Ok(Window {
        scope,
        period,
        // A window is known by its first day, whichever of its days was named.
        start: period.first(start),
    })
}

fn problem(error: NotReconciled) -> ApiError {
    match error {
        NotReconciled::NotUncertain(error) => ApiError::new(Code::NotUncertain, error.to_string()),
        NotReconciled::Store(error) => error.into(),
    }
}
