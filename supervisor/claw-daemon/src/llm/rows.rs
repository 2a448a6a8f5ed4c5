//! The gateway's calls and windows, as the store has them.

use std::sync::Arc;

use claw_gateway::llm::budget::{self, Scope, Window};
use claw_gateway::llm::prices::rates_to_json;
use claw_gateway::llm::rates::Rates;
use claw_gateway::llm::serve::{Attempt, AttemptFailure, CachedCall, CallEnd, CallRecord};
use claw_gateway::llm::usage::Usage;
use claw_store::llm::{Admitted, EndedCall, Period, Tokens, Told, WindowKey};
use claw_store::store::UnixMs;
use jiff::Timestamp;
use serde_json::{Value as Json, json};

/// The word for calls that were answered from the cache.
const CACHED: &str = "cached";

/// The call as it is written before it leaves.
pub(super) fn admitted(call: &CallRecord) -> Admitted {
    Admitted {
        id: call.id.0,
        admitted_at: unix_ms(call.admitted_at),
        day: call.day,
        agent: call.agent.to_string(),
        run: call.run.as_deref().map(str::to_owned),
        provider: call.provider.to_string(),
        model: call.model_asked.to_string(),
        model_id: call.model.to_string(),
        held: call.held.pico(),
        estimate: call.estimate.pico(),
        rates: rates(call.rates.as_deref()),
        clamped: call.clamped_to,
        request_hash: call.request_hash.to_vec(),
    }
}

/// What became of the call.
pub(super) fn ended(call: &CallRecord, end: &CallEnd) -> EndedCall {
    let attempts: Vec<Json> = call.attempts.iter().map(attempt).collect();
    EndedCall {
        outcome: end.ending.as_str().to_owned(),
        spent: end.settled.spent.pico(),
        uncertain: end.settled.uncertain.pico(),
        tokens: end.usage.as_ref().map(tokens).unwrap_or_default(),
        model_served: end.model_served.clone(),
        status: end.status,
        attempts: (!attempts.is_empty()).then(|| Json::Array(attempts).to_string()),
        started_at: None,
        first_byte_at: call.first_byte_at.map(unix_ms),
        ended_at: Some(unix_ms(end.at)),
    }
}

/// A call that was answered from the cache: it used nothing and cost nothing.
pub(super) fn cached(call: &CachedCall) -> (Admitted, EndedCall) {
    let at = unix_ms(call.at);
    let admitted = Admitted {
        id: call.id.0,
        admitted_at: at,
        day: call.day,
        agent: call.agent.to_string(),
        run: call.run.as_deref().map(str::to_owned),
        provider: call.provider.to_string(),
        model: call.model_asked.to_string(),
        model_id: call.model.to_string(),
        held: 0,
        estimate: 0,
        rates: Json::Null.to_string(),
        clamped: None,
        request_hash: call.request_hash.to_vec(),
    };
    let ended = EndedCall {
        outcome: CACHED.to_owned(),
        ended_at: Some(at),
        ..EndedCall::default()
    };
    (admitted, ended)
}

pub(super) fn unix_ms(at: Timestamp) -> UnixMs {
    UnixMs(at.as_millisecond())
}

pub(super) fn window_key(window: &Window) -> WindowKey {
    WindowKey {
        agent: match &window.scope {
            Scope::Fleet => None,
            Scope::Agent(name) => Some(name.to_string()),
        },
        period: match window.period {
            budget::Period::Day => Period::Day,
            budget::Period::Month => Period::Month,
        },
        start: window.start,
    }
}

/// The window of a key, with the name of its agent out of `name`.
pub(super) fn window(key: WindowKey, name: impl FnOnce(String) -> Arc<str>) -> Window {
    Window {
        scope: match key.agent {
            None => Scope::Fleet,
            Some(agent) => Scope::Agent(name(agent)),
        },
        period: match key.period {
            Period::Day => budget::Period::Day,
            Period::Month => budget::Period::Month,
        },
        start: key.start,
    }
}

pub(super) const fn told_column(told: budget::Told) -> Told {
    match told {
        budget::Told::Nothing => Told::Nothing,
        budget::Told::Nearing => Told::Nearing,
        budget::Told::Reached => Told::Reached,
    }
}

pub(super) const fn told(told: Told) -> budget::Told {
    match told {
        Told::Nothing => budget::Told::Nothing,
        Told::Nearing => budget::Told::Nearing,
        Told::Reached => budget::Told::Reached,
    }
}

const fn tokens(usage: &Usage) -> Tokens {
    Tokens {
        input: usage.input,
        cache_read: usage.cache_read,
        cache_write_5m: usage.cache_write_5m,
        cache_write_1h: usage.cache_write_1h,
        output: usage.output,
        reasoning: usage.reasoning,
        searches: usage.searches,
    }
}

fn attempt(attempt: &Attempt) -> Json {
    let at = attempt.at.to_string();
    match attempt.failure {
        AttemptFailure::Connect => json!({"at": at, "failure": "connect"}),
        AttemptFailure::Broken => json!({"at": at, "failure": "broken"}),
        AttemptFailure::TimedOut => json!({"at": at, "failure": "timed_out"}),
        AttemptFailure::Status(status) => json!({"at": at, "failure": "status", "status": status}),
    }
}

/// All that is needed to price the call again.
pub(crate) fn rates(rates: Option<&Rates>) -> String {
    rates.map_or_else(|| Json::Null.to_string(), rates_to_json)
}
