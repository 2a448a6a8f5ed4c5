//! The rows.

use jiff::civil::Date;

use crate::store::UnixMs;

/// A call that was admitted, as it is written before it leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// Its id, never used twice and less than 2⁶³.
    pub id: u64,
    /// When.
    pub admitted_at: UnixMs,
    /// The day to which its money belongs, in the time zone of the budgets.
    pub day: Date,
    /// Whose it is.
    pub agent: String,
    /// The run in which it was made.
    pub run: Option<String>,
    /// To whom it goes.
    pub provider: String,
    /// The model as the agent asked for it.
    pub model: String,
    /// The provider's id of the model to which it goes: of another one than was asked for, if that
    /// failed.
    pub model_id: String,
    /// What it may cost at most.
    pub held: i64,
    /// What it costs at least, if nobody sees its end.
    pub estimate: i64,
    /// The rates by which it is charged, as JSON.
    pub rates: String,
    /// Tokens to which its answer was limited, if it was.
    pub clamped: Option<u64>,
    /// A hash of the request.
    pub request_hash: Vec<u8>,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EndedCall {
    /// In one word.
    pub outcome: String,
    /// Spent, as far as is known.
    pub spent: i64,
    /// May have been spent besides.
    pub uncertain: i64,
    /// What it used.
    pub tokens: Tokens,
    /// The model that answered, by its provider's word.
    pub model_served: Option<String>,
    /// The status of the provider's answer.
    pub status: Option<u16>,
    /// What was tried, as JSON.
    pub attempts: Option<String>,
    /// When it left.
    pub started_at: Option<UnixMs>,
    /// When the first byte of the answer came.
    pub first_byte_at: Option<UnixMs>,
    /// When it ended.
    pub ended_at: Option<UnixMs>,
}

/// Tokens by kind; none is counted twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tokens {
    /// Of the prompt, neither from a cache nor for one.
    pub input: u64,
    /// From a cache.
    pub cache_read: u64,
    /// Into a cache that lives for minutes.
    pub cache_write_5m: u64,
    /// Into a cache that lives for an hour.
    pub cache_write_1h: u64,
    /// Of the answer.
    pub output: u64,
    /// Of thought.
    pub reasoning: u64,
    /// Searches.
    pub searches: u64,
}

/// A call, in flight or ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallRow {
    /// As it was admitted.
    pub admitted: Admitted,
    /// As it ended.
    pub ended: Option<EndedCall>,
}

/// How long a window is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Period {
    /// A day.
    Day,
    /// A month.
    Month,
}

/// Which alerts a window has given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Told {
    /// None.
    #[default]
    Nothing,
    /// The limit comes near.
    Nearing,
    /// It is reached.
    Reached,
}

/// Which window.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowKey {
    /// The agent, or the fleet.
    pub agent: Option<String>,
    /// How long.
    pub period: Period,
    /// The day, or the first of the month.
    pub start: Date,
}

/// By how much a window is corrected as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowCorrection {
    /// Which window.
    pub key: WindowKey,
    /// What is added to its settled money; less than nothing if less was billed.
    pub settled: i64,
    /// What is uncertain no longer.
    pub cleared: i64,
    /// The calls whose uncertain money that is, also such as are not written as ended yet.
    pub calls: Vec<u64>,
}

/// The money of a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowRow {
    /// Which window.
    pub key: WindowKey,
    /// Spent, as far as is known.
    pub settled: i64,
    /// May have been spent besides.
    pub uncertain: i64,
    /// Which alerts it has given.
    pub told: Told,
}

/// A call whose cost is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uncertain {
    /// Its id.
    pub id: u64,
    /// The windows whose uncertain money has a part of it.
    pub windows: Vec<WindowKey>,
    /// What of it is settled.
    pub spent: i64,
    /// What it may have cost besides.
    pub uncertain: i64,
}

/// What is found when the supervisor starts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Restored {
    /// All windows that are kept.
    pub windows: Vec<WindowRow>,
    /// Calls that were admitted and not settled.
    pub in_flight: Vec<Admitted>,
    /// Calls whose cost is not known, the oldest first.
    pub uncertain: Vec<Uncertain>,
    /// The highest id ever used, or 0.
    pub last_id: u64,
    /// What was before this day was pruned.
    pub kept_since: Option<Date>,
}

/// How a call is settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settling {
    /// Its id.
    pub id: u64,
    /// How it ended.
    pub ended: EndedCall,
}

/// What came of a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// It is written.
    Written,
    /// The call was settled before; nothing has changed.
    Already,
    /// There is no such call; nothing has changed.
    Unknown,
}

/// What came of a correction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Correction {
    /// It is written.
    Written,
    /// There was nothing uncertain; nothing has changed.
    NothingUncertain,
}

/// Which calls, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CallFilter {
    /// Of this agent.
    pub agent: Option<String>,
    /// Of this run.
    pub run: Option<String>,
    /// Admitted at this time or later.
    pub since: Option<UnixMs>,
    /// Only those that may have cost more than is known.
    pub uncertain: bool,
    /// With a lower id: the last one of the page before.
    pub before: Option<u64>,
    /// So many, and never more than [`CHORE_ROWS`](crate::store::limits::CHORE_ROWS).
    pub limit: u32,
}

/// Names of which usage is told at most. Agents, models and the days that are kept are fewer.
pub const USAGE_ROWS: u32 = 1_000;

/// By what usage is summed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsageBy {
    /// By agent.
    Agent,
    /// By model, with the provider's id.
    Model,
    /// By day, as it was admitted.
    Day,
    /// By run, the last one first. Calls outside of runs are left out.
    Run,
}

/// What calls have used together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageRow {
    /// The agent, model, day or run.
    pub name: String,
    /// How many calls have ended.
    pub calls: u64,
    /// What they used.
    pub tokens: Tokens,
    /// What they cost, as far as is known.
    pub spent: i64,
    /// What they may have cost besides.
    pub uncertain: i64,
}

/// What all calls of an agent to a model have used, those included that are forgotten. It never
/// falls, whatever is forgotten or corrected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TotalRow {
    /// The agent.
    pub agent: String,
    /// The provider.
    pub provider: String,
    /// Its id of the model.
    pub model_id: String,
    /// How many calls have ended.
    pub calls: u64,
    /// What they used.
    pub tokens: Tokens,
    /// What they cost, as far as was known.
    pub spent: i64,
}

impl Tokens {
    /// The sums, which stay the largest where they are too large.
    #[must_use]
    pub const fn plus(&self, other: &Self) -> Self {
        Self {
            input: self.input.saturating_add(other.input),
            cache_read: self.cache_read.saturating_add(other.cache_read),
            cache_write_5m: self.cache_write_5m.saturating_add(other.cache_write_5m),
            cache_write_1h: self.cache_write_1h.saturating_add(other.cache_write_1h),
            output: self.output.saturating_add(other.output),
            reasoning: self.reasoning.saturating_add(other.reasoning),
            searches: self.searches.saturating_add(other.searches),
        }
    }
}

impl WindowKey {
    /// The windows of a call of an agent, admitted on a day.
    #[must_use]
    pub fn of(agent: &str, day: Date) -> [Self; 4] {
        let key = |agent: Option<&str>, period: Period, start: Date| Self {
            agent: agent.map(str::to_owned),
            period,
            start,
        };
        let month = day.first_of_month();
        [
            key(Some(agent), Period::Day, day),
            key(Some(agent), Period::Month, month),
            key(None, Period::Day, day),
            key(None, Period::Month, month),
        ]
    }
}
