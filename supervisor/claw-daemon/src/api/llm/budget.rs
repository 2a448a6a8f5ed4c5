//! How budgets stand, and what was billed.

use claw_gateway::llm::budget::{Balance, Period, Scope, Told};
use claw_gateway::llm::money::Money;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{LlmCall, Usd};
use crate::api::Time;

/// How budgets stand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LlmBudgets {
    /// At this moment.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// The time zone whose days and months the windows follow, where it has a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// The share of a limit from which on its alert is given, in percent.
    pub alert_at_pct: u8,
    /// The windows of that moment: the global ones, then those of each agent.
    pub windows: Vec<LlmWindow>,
}

/// The money of one day or month. Of a limit, as much is left as it exceeds what is spent, held
/// and uncertain together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LlmWindow {
    /// Which window.
    #[serde(flatten)]
    pub name: LlmWindowName,
    /// What may be spent; absent without a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub limit_usd: Option<Usd>,
    /// What is spent, as far as it is known.
    #[schema(value_type = String)]
    pub spent_usd: Usd,
    /// What is held for calls under way.
    #[schema(value_type = String)]
    pub held_usd: Usd,
    /// What may have been spent besides. It counts until the window ends or somebody says what
    /// was billed.
    #[schema(value_type = String)]
    pub uncertain_usd: Usd,
    /// What is left of the limit; less than nothing if it was lowered or overrun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub left_usd: Option<Usd>,
    /// Which alert it has given.
    pub alert: LlmAlert,
    /// When the limit is reached if money is spent on as it was since the window began; absent if
    /// it is reached already, or not before the window ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub reached_at: Option<Time>,
    /// When the window ends, and the next begins with nothing spent.
    #[schema(value_type = String, format = DateTime)]
    pub resets_at: Time,
}

/// Which window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LlmWindowName {
    /// Whose money.
    pub scope: LlmScope,
    /// The agent, by its name in the fleet file, which its replicas share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// How long it is.
    pub window: LlmPeriod,
    /// The day, or the first of the month. The present one where a question leaves it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Date)]
    pub starts_on: Option<Date>,
}

/// Whose money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LlmScope {
    /// All agents' together.
    Global,
    /// One agent's.
    Agent,
}

/// How long a window is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LlmPeriod {
    /// A day of the calendar.
    Day,
    /// A month of the calendar.
    Month,
}

/// Which alert a window has given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LlmAlert {
    /// None.
    None,
    /// The limit comes near.
    Nearing,
    /// The limit is reached.
    Reached,
}

/// What was billed: for one call whose cost is uncertain, or for all that has ended in a window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LlmReconcile {
    /// The call, by its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<u64>,
    /// The window, if it is not about a call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<LlmWindowName>,
    /// What the provider has billed: `0.00` for nothing.
    #[schema(value_type = String)]
    pub actual_usd: Usd,
}

/// What a correction has changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LlmReconciled {
    /// The call as it stands now, if it was about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<LlmCall>,
    /// The windows that have changed, as they stand now.
    pub windows: Vec<LlmWindow>,
}

impl LlmWindow {
    /// A window as it stands at a moment.
    pub(crate) fn new(balance: &Balance, at: Time, timezone: &TimeZone) -> Self {
        let account = &balance.account;
        let window = &balance.window;
        let agent = match &window.scope {
            Scope::Fleet => None,
            Scope::Agent(name) => Some(name.to_string()),
        };
        Self {
            name: LlmWindowName {
                scope: (&window.scope).into(),
                agent,
                window: window.period.into(),
                starts_on: Some(window.start),
            },
            limit_usd: balance.limit.map(Usd),
            spent_usd: account.settled().into(),
            held_usd: account.held().into(),
            uncertain_usd: account.uncertain().into(),
            left_usd: balance.limit.map(|limit| account.free(limit).into()),
            alert: account.told().into(),
            reached_at: balance.reached_at(at, timezone),
            resets_at: balance.resets_at,
        }
    }

    /// What of the limit is spent, held or uncertain, in percent.
    #[must_use]
    pub fn used_pct(&self) -> Option<f64> {
        let Usd(limit) = self.limit_usd?;
        if limit <= Money::ZERO {
            return Some(100.0);
        }
        let used = [self.spent_usd, self.held_usd, self.uncertain_usd];
        let used: Money = used.into_iter().map(|Usd(money)| money).sum();
        Some(used.as_usd() / limit.as_usd() * 100.0)
    }
}

impl LlmScope {
    /// The word, as in JSON and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Agent => "agent",
        }
    }
}

impl LlmPeriod {
    /// The word, as in JSON and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
        }
    }
}

impl From<&Scope> for LlmScope {
    fn from(scope: &Scope) -> Self {
        match scope {
            Scope::Fleet => Self::Global,
            Scope::Agent(_) => Self::Agent,
        }
    }
}

impl From<Period> for LlmPeriod {
    fn from(period: Period) -> Self {
        match period {
            Period::Day => Self::Day,
            Period::Month => Self::Month,
        }
    }
}

impl From<LlmPeriod> for Period {
    fn from(period: LlmPeriod) -> Self {
        match period {
            LlmPeriod::Day => Self::Day,
            LlmPeriod::Month => Self::Month,
        }
    }
}

impl From<Told> for LlmAlert {
    fn from(told: Told) -> Self {
        match told {
            Told::Nothing => Self::None,
            Told::Nearing => Self::Nearing,
            Told::Reached => Self::Reached,
        }
    }
}
