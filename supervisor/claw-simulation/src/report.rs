//! What a simulation came to. The same setting makes the same report, byte for byte.

use std::collections::BTreeMap;
use std::time::Duration;

use claw_core::action::SlotFate;
use claw_core::spec::Mode;
use claw_core::{AgentName, PublicState, Wall};
use claw_gateway::llm::money::Money;
use serde::{Serialize, Serializer};

/// What happened to a fleet.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Its name.
    pub project: String,
    /// When it began.
    pub from: Wall,
    /// When it ended.
    pub until: Wall,
    /// What it was drawn from.
    pub seed: u64,
    /// What went wrong by itself; `None`: nothing was to.
    pub faults: Option<FaultCounts>,
    /// Steps of the core.
    pub steps: u64,
    /// The agents, by name.
    pub agents: Vec<Agent>,
    /// The budgets that have a limit.
    pub budgets: Vec<Budget>,
    /// What is worth a look before the fleet is left alone.
    pub warnings: Vec<Warning>,
}

/// How often something went wrong that no agent is to blame for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct FaultCounts {
    /// Deaths of the supervisor.
    pub supervisor_deaths: u64,
    /// Restarts of the machine.
    pub machine_restarts: u64,
    /// Outages of providers of models.
    pub provider_outages: u64,
}

/// What happened to one agent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Agent {
    /// Who.
    pub name: AgentName,
    /// What kind of agent it is.
    pub mode: Mode,
    /// Whether anything was assumed about it by its user.
    pub assumed: Assumed,
    /// The slots of its schedule.
    pub slots: Slots,
    /// Its runs.
    pub runs: Runs,
    /// Runs that failed, by the cause of the last attempt.
    pub failed_runs: BTreeMap<&'static str, u64>,
    /// Runs that waited at once, at most.
    pub most_queued: u32,
    /// Runs under way at once, at most.
    pub most_at_once: u32,
    /// Processes that were started.
    pub starts: u64,
    /// Starts and attempts after an end, by its cause.
    pub restarts: BTreeMap<&'static str, u64>,
    /// The longest wait between an end and the next start or attempt.
    pub longest_backoff_seconds: Seconds,
    /// How long it was not ready although it should have been up.
    pub not_ready_seconds: Seconds,
    /// How long it waited for agents that it depends on.
    pub waited_seconds: Seconds,
    /// For whom it waits at the end.
    pub waits_for: Vec<AgentName>,
    /// Since when it is not started any more, and why.
    pub given_up: Option<GivenUp>,
    /// Its state at the end.
    pub state: PublicState,
    /// The reason for that.
    pub reason: &'static str,
    /// Changes of the clock that touched its schedule.
    pub clock_changes: Vec<ClockChange>,
    /// What it spent on models.
    pub spend: Spend,
    /// The next slot after the end.
    pub next_slot: Option<Wall>,
}

/// How an agent was taken to behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Assumed {
    /// As its user says.
    Given,
    /// As agents are taken to behave of which nothing is said.
    Default,
}

/// What became of the slots of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Slots {
    /// All that were due.
    pub due: u64,
    /// Started in time.
    pub ran: u64,
    /// Started late, after a time nobody was there.
    pub caught_up: u64,
    /// Dropped because a run was under way, or too many waited.
    pub skipped_overlap: u64,
    /// Not made up for: the supervisor was away.
    pub missed_supervisor_away: u64,
    /// Not made up for: the machine was away.
    pub missed_machine_away: u64,
    /// Not made up for, for another reason.
    pub missed_late: u64,
    /// The agent was stopped or given up.
    pub held: u64,
    /// Its run was cut off before it began.
    pub interrupted: u64,
}

/// What became of runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Runs {
    /// Begun.
    pub started: u64,
    /// Ended well.
    pub succeeded: u64,
    /// Ended otherwise.
    pub failed: u64,
    /// Called off, before they began or later.
    pub cancelled: u64,
    /// Cut off, and nobody knows how they would have ended.
    pub interrupted: u64,
    /// Waiting or under way at the end.
    pub unfinished: u64,
}

/// That an agent is not started any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GivenUp {
    /// Since when.
    pub at: Wall,
    /// The reason's code.
    pub reason: &'static str,
    /// How its last life ended, for people.
    pub detail: String,
}

/// A change of the clock, and what it did to the slots of one schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClockChange {
    /// When the clock was changed.
    pub at: Wall,
    /// The zone of the schedule.
    pub zone: String,
    /// What the change did.
    pub effect: Effect,
    /// The first local time that was left out or repeated, and the first after it.
    pub hour: [String; 2],
    /// The slots that the schedule names within it, in local time; at most [`MAX_LISTED`].
    pub named: Vec<String>,
    /// How many it names.
    pub named_total: u64,
    /// What was due then, in local time with the offset, and what became of it; at most
    /// [`MAX_LISTED`].
    pub due: Vec<(String, SlotFate)>,
    /// How much was due.
    pub due_total: u64,
}

/// So many slots around a change of the clock are listed.
pub const MAX_LISTED: usize = 24;

/// What a change of the clock does to slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Times that do not exist are due at the next that does.
    Moved,
    /// Times that do not exist are left out.
    LeftOut,
    /// Times that exist twice are due once.
    Once,
    /// Times that exist twice are due twice.
    Twice,
}

/// What an agent spent on models.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Spend {
    /// It has no access to models.
    NoModels,
    /// Nobody said what it asks them.
    NotAssumed,
    /// As assumed.
    Estimated(Spent),
}

/// What assumed calls came to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Spent {
    /// Calls that were answered.
    pub calls: u64,
    /// Calls that no budget had money for.
    pub refused_calls: u64,
    /// What they cost, in USD.
    #[serde(serialize_with = "as_text")]
    pub usd: Money,
    /// The first that was refused.
    pub first_refusal: Option<OverBudget>,
}

/// A call that a budget had no money for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OverBudget {
    /// When.
    pub at: Wall,
    /// Whose budget.
    pub scope: String,
    /// Of a day or a month.
    pub period: &'static str,
    /// Its limit, in USD.
    pub limit_usd: String,
}

/// A budget with a limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Budget {
    /// Whose.
    pub scope: String,
    /// Of a day or a month.
    pub period: &'static str,
    /// The limit, in USD.
    pub limit_usd: String,
    /// The most that was spent in one day or month, in USD.
    pub most_usd: String,
    /// In how many days or months a call was refused for it.
    pub times_reached: usize,
}

/// Something that is worth a look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// What it is.
    pub code: WarningCode,
    /// Whom it is about.
    pub agents: Vec<AgentName>,
    /// What was seen, for people.
    pub text: String,
    /// What can be done about it, for people.
    pub advice: String,
}

/// What a warning is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WarningCode {
    /// It was given up.
    GivenUp,
    /// It waits for an agent that is not ready.
    NeverReady,
    /// Its runs take longer than their distance.
    Overlaps,
    /// More and more of its runs wait.
    QueueGrows,
    /// None of its slots was due.
    NeverDue,
    /// Heavy agents start in the same minutes.
    SameMinute,
    /// A budget stopped it.
    OverBudget,
    /// Its own program may say when it runs.
    ScheduleUnknown,
    /// It was restarted again and again.
    RestartsOften,
}

/// A span, as seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Seconds(pub Duration);

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0.as_secs_f64())
    }
}

fn as_text<S: Serializer>(money: &Money, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(money)
}
