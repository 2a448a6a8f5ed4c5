//! Single calls.

use claw_gateway::llm::money::Money;
use claw_store::llm::{CallRow, EndedCall};
use claw_store::store::UnixMs;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{LlmTokens, Usd};
use crate::api::Time;

/// A page of calls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LlmCallList {
    /// The newest first.
    pub calls: Vec<LlmCall>,
    /// `before` for the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// A call to a model of one provider. A request that went on to another provider has a call for
/// each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LlmCall {
    /// Its id.
    pub id: u64,
    /// Whose it is, by its name in the fleet file.
    pub agent: String,
    /// The run in which it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// To whom it went.
    pub provider: String,
    /// The model as the agent asked for it.
    pub model: String,
    /// The provider's id of the model to which it went.
    pub model_id: String,
    /// The model that answered, by its provider's word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_served: Option<String>,
    /// When it was admitted.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// From then to the first byte of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttft_seconds: Option<f64>,
    /// From then to its end; absent while it is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<f64>,
    /// How it ended, in one word such as `answered`; absent while it is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// The HTTP status of the provider's answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What it used, as the provider says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<LlmTokens>,
    /// What it might have cost at most.
    #[schema(value_type = String)]
    pub held_usd: Usd,
    /// What it cost, as far as it is known; absent while it is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub spent_usd: Option<Usd>,
    /// What it may have cost besides; absent while it is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub uncertain_usd: Option<Usd>,
    /// Tokens to which its answer was limited to fit into the budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clamped_to: Option<u64>,
    /// The rates by which it is charged, as a file of prices has them: in USD for a million tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rates: Option<Value>,
    /// Attempts that failed before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<Value>,
    /// The SHA-256 of the request's body, in hexadecimal digits.
    pub request_hash: String,
}

impl From<CallRow> for LlmCall {
    fn from(CallRow { admitted, ended }: CallRow) -> Self {
        let at = time(admitted.admitted_at);
        let ended = ended.as_ref();
        let usd = |amount: fn(&EndedCall) -> i64| {
            ended.map(|ended| Money::from_pico(amount(ended)).into())
        };
        let after = |moment: fn(&EndedCall) -> Option<UnixMs>| {
            let moment = ended.and_then(moment)?;
            Some(time(moment).duration_since(at).as_secs_f64().max(0.0))
        };
        Self {
            id: admitted.id,
            agent: admitted.agent,
            run_id: admitted.run,
            provider: admitted.provider,
            model: admitted.model,
            model_id: admitted.model_id,
            model_served: ended.and_then(|ended| ended.model_served.clone()),
            at,
            ttft_seconds: after(|ended| ended.first_byte_at),
            duration_seconds: after(|ended| ended.ended_at),
            outcome: ended.map(|ended| ended.outcome.clone()),
            status: ended.and_then(|ended| ended.status),
            tokens: ended.map(|ended| (&ended.tokens).into()),
            held_usd: Money::from_pico(admitted.held).into(),
            spent_usd: usd(|ended| ended.spent),
            uncertain_usd: usd(|ended| ended.uncertain),
            clamped_to: admitted.clamped,
            rates: json(&admitted.rates),
            attempts: ended.and_then(|ended| json(ended.attempts.as_deref()?)),
            request_hash: hex(&admitted.request_hash),
        }
    }
}

/// A moment too far away to tell is the end of time.
fn time(UnixMs(millis): UnixMs) -> Time {
    let end = if millis < 0 { Time::MIN } else { Time::MAX };
    Time::from_millisecond(millis).unwrap_or(end)
}

fn json(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
