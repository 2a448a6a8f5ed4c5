//! What an agent's own code asks of a call: it lowers what the fleet file allows, and nothing more.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName};
use serde::Deserialize;

use super::denial::Denial;
use super::settings::AgentSettings;
use crate::llm::budget::Limits;
use crate::llm::money::Money;
use crate::llm::route::Failure;

/// The header of a router that was made in code, as the agents' protocol has it (§12).
pub(super) const ROUTER: HeaderName = HeaderName::from_static("x-openclaw-router");

/// What travels with one request; what is not said is left to the fleet file.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(super) struct Router {
    fallback: Option<Vec<String>>,
    retry_on: Option<Vec<RetryOn>>,
    max_retries: Option<u32>,
    timeout_ms: Option<u64>,
    #[serde(default)]
    budget: Budget,
}

/// An agent's limits on its own money, in USD.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
struct Budget {
    daily_limit_usd: Option<f64>,
    monthly_limit_usd: Option<f64>,
}

/// After which failures a call goes on, here or at the next target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RetryOn {
    RateLimited,
    Timeout,
    Connect,
    Error,
}

impl Router {
    /// Reads the header; without one nothing is lowered.
    ///
    /// # Errors
    /// It is not what the protocol says.
    pub(super) fn read(headers: &HeaderMap) -> Result<Self, Denial> {
        let Some(value) = headers.get(ROUTER) else {
            return Ok(Self::default());
        };
        serde_json::from_slice(value.as_bytes()).map_err(|error| Denial::BadRouter {
            why: error.to_string().into(),
        })
    }

    /// The limits on the agent's own money.
    ///
    /// # Errors
    /// One of them is no amount, or below nothing.
    pub(super) fn limits(&self) -> Result<Limits, Denial> {
        Ok(Limits {
            daily: amount("daily_limit_usd", self.budget.daily_limit_usd)?,
            monthly: amount("monthly_limit_usd", self.budget.monthly_limit_usd)?,
        })
    }

    /// The agent's settings for this call.
    ///
    /// # Errors
    /// A fallback is not among the agent's models.
    pub(super) fn lower(&self, agent: &Arc<AgentSettings>) -> Result<Arc<AgentSettings>, Denial> {
        if self.fallback.is_none() && self.max_retries.is_none() && self.timeout_ms.is_none() {
            return Ok(Arc::clone(agent));
        }
        let mut lowered = AgentSettings::clone(agent);
        if let Some(names) = &self.fallback {
            let own = |name: &String| {
                let found = agent.models.iter().find(|model| ***model == **name);
                found.map(Arc::clone).ok_or_else(|| Denial::UnknownModel {
                    asked: name.as_str().into(),
                    known: agent.models.iter().map(ToString::to_string).collect(),
                })
            };
            lowered.fallback = names.iter().map(own).collect::<Result<_, _>>()?;
        }
        if let Some(most) = self.max_retries {
            lowered.max_retries = lowered.max_retries.min(most);
        }
        if let Some(most) = self.timeout_ms {
            lowered.timeout = lowered.timeout.min(Duration::from_millis(most));
        }
        Ok(Arc::new(lowered))
    }

    /// Whether the call goes on after a failure.
    pub(super) fn goes_on(&self, failure: Failure) -> bool {
        let Some(wanted) = &self.retry_on else {
            return true;
        };
        wanted.contains(&match failure {
            Failure::Connect | Failure::Broken => RetryOn::Connect,
            Failure::TimedOut
            | Failure::Late
            | Failure::Status {
                status: 408 | 504, ..
            } => RetryOn::Timeout,
            Failure::Limited | Failure::Status { status: 429, .. } => RetryOn::RateLimited,
            Failure::Status { .. } => RetryOn::Error,
        })
    }
}

fn amount(name: &str, usd: Option<f64>) -> Result<Option<Money>, Denial> {
    let Some(usd) = usd else {
        return Ok(None);
    };
    let money = format!("{usd}").parse::<Money>();
    match money {
        Ok(money) if !money.is_negative() => Ok(Some(money)),
        Ok(_) | Err(_) => Err(Denial::BadRouter {
            why: format!("`{name}` is no amount in USD such as 0.05").into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(text: &'static str) -> Result<Router, String> {
        let mut headers = HeaderMap::new();
        headers.insert(ROUTER, http::HeaderValue::from_static(text));
        Router::read(&headers).map_err(|denial| denial.to_string())
    }

    fn agent() -> Arc<AgentSettings> {
        Arc::new(AgentSettings {
            models: vec!["big".into(), "small".into()],
            fallback: vec!["small".into()],
            max_retries: 2,
            ..AgentSettings::default()
        })
    }

    #[test]
    fn a_router_lowers_and_never_raises() {
        let high = r#"{"max_retries": 9, "timeout_ms": 900000, "budget": {"alert_at_pct": 80}}"#;
        let lowered = router(high).unwrap().lower(&agent()).unwrap();
        assert_eq!(lowered.max_retries, 2);
        assert_eq!(lowered.timeout, Duration::from_secs(30));
        let low = r#"{"max_retries": 0, "timeout_ms": 1500, "fallback": []}"#;
        let lowered = router(low).unwrap().lower(&agent()).unwrap();
        assert_eq!((lowered.max_retries, lowered.fallback.len()), (0, 0));
        assert_eq!(lowered.timeout, Duration::from_millis(1500));
    }

    #[test]
    fn a_fallback_is_one_of_the_agents_models() {
        let other = router(r#"{"fallback": ["other"]}"#).unwrap();
        let told = other.lower(&agent()).unwrap_err().to_string();
        assert_eq!(
            told,
            "model other is not among those of this agent: big, small"
        );
    }

    #[test]
    fn limits_are_amounts_of_money() {
        let limits = |text| router(text).unwrap().limits();
        let daily = limits(r#"{"budget": {"daily_limit_usd": 0.05}}"#)
            .unwrap()
            .daily;
        assert_eq!(daily, Some("0.05".parse().unwrap()));
        let whole = limits(r#"{"budget": {"monthly_limit_usd": 50}}"#)
            .unwrap()
            .monthly;
        assert_eq!(whole, Some(Money::from_usd(50)));
        for wrong in ["-1", "1e300", "1e-300"] {
            let text = format!(r#"{{"budget": {{"daily_limit_usd": {wrong}}}}}"#);
            assert!(limits(text.leak()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_router_that_cannot_be_read_is_refused_with_its_fault() {
        let told = router(r#"{"retry_on": ["never"]}"#).unwrap_err();
        assert!(
            told.contains("x-openclaw-router") && told.contains("never"),
            "{told}"
        );
        assert!(router("{").is_err());
    }

    #[test]
    fn a_call_goes_on_after_the_failures_that_were_named() {
        let busy = Failure::Status {
            status: 429,
            retry_after: None,
        };
        let some = router(r#"{"retry_on": ["rate_limited", "timeout"]}"#).unwrap();
        assert!(some.goes_on(busy) && some.goes_on(Failure::TimedOut));
        assert!(!some.goes_on(Failure::Connect));
        let none = router(r#"{"retry_on": []}"#).unwrap();
        assert!(!none.goes_on(busy));
        assert!(Router::default().goes_on(Failure::Connect));
    }
}
