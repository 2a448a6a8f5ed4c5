//! `schedule:` — when runs are due.

use std::time::Duration;

use jiff::civil;
use jiff::tz::TimeZone;
use serde::{Serialize, Serializer};

pub use crate::spec::cron::{ClockChanges, CronError, CronExpression};

/// When runs are due and what happens when they cannot be had then.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Schedule {
    /// When.
    pub timing: Timing,
    /// What a slot does while a run is under way.
    pub overlap: Overlap,
    /// What becomes of slots that fell due while nobody was there.
    pub catch_up: CatchUp,
    /// A slot later than this is missed, whatever `catch_up` says; `None`: never too late.
    pub max_lateness: Option<Duration>,
    /// Each slot starts up to this much later, at random but alike for the same slot.
    pub jitter: Duration,
    /// A run longer than this is stopped and has failed; `None`: no limit.
    pub timeout: Option<Duration>,
    /// Whether a run is due at start too. On by default for `every`, off for the others.
    pub run_on_start: RunOnStart,
}

/// When slots are.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Timing {
    /// So much time apart, on the monotonic clock, counted from the last planned start.
    Every(Duration),
    /// A cron expression in a time zone.
    Cron {
        /// The expression as written, five fields, or six with seconds first.
        expression: CronExpression,
        /// The zone its fields are meant in.
        #[serde(serialize_with = "zone_name")]
        zone: TimeZone,
    },
    /// Once a day.
    Daily {
        /// The wall-clock time.
        at: civil::Time,
        /// The zone it is meant in.
        #[serde(serialize_with = "zone_name")]
        zone: TimeZone,
    },
}

fn zone_name<S: Serializer>(zone: &TimeZone, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(zone.iana_name().unwrap_or("local"))
}

/// What a slot or trigger does while a run is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// The new one is dropped.
    Skip,
    /// The new one waits.
    Queue,
    /// The one under way is stopped and the new one takes its place.
    Replace,
    /// Both run.
    Allow,
}

/// What becomes of slots that fell due while nobody was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// They are missed.
    None,
    /// The latest is run once, the others are missed.
    One,
    /// Each is run, oldest first.
    All,
}

/// Whether a run is due at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunOnStart {
    /// It is.
    Yes,
    /// It is not.
    No,
}
