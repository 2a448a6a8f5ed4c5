//! What of an agent outlives the supervisor.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::Wall;
use crate::death::{Cause, ExitReport};
use crate::halt::KillSwitch;
use crate::id::{Generation, InstanceId, RunId};
use crate::image::Image;
use crate::run::{Run, WorkOutcome};
use crate::spec::Mode;

/// What is remembered of an agent across restarts of the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentMemory {
    /// What the user wants.
    pub goal: Goal,
    /// Whether new work is held back.
    pub hold: Hold,
    /// Whether somebody has halted it, and the last times somebody did or undid it.
    #[serde(skip_serializing_if = "KillSwitch::is_untouched")]
    pub switch: Box<KillSwitch>,
    /// Why the agent is not started although the goal is up.
    pub latch: Option<Latch>,
    /// The last generation handed out.
    pub last_generation: Generation,
    /// Failures in a row; decides when to give up.
    pub failures: u32,
    /// Restarts in a row without `reset_after` of healthy operation; decides the next delay.
    pub restarts_in_a_row: u32,
    /// All restarts ever, for `status` and metrics.
    pub restarts_total: u64,
    /// When the next start is due, while the agent backs off.
    pub next_start: Option<Wall>,
    /// How the last instance ended.
    pub last_death: Option<(Cause, Wall)>,
    /// The last slot of the schedule that was settled.
    pub last_slot: Option<Wall>,
    /// Since when the goal has been up with this schedule; slots before it are nobody's.
    pub armed_since: Option<Wall>,
    /// Whether the run at the start is decided about since then.
    pub start_run: StartRun,
    /// Finished runs: succeeded, failed.
    pub runs: (u64, u64),
    /// The last generation whose end is contained in the counters, so that none is counted twice
    /// when its outcome was not recorded in time.
    pub settled: Generation,
    /// The last generation that came up; an adopted instance of it need not prove itself again.
    pub came_up: Generation,
    /// What the last generation was started with.
    pub start_proof: StartProof,
    /// The hash of the spec that the last generation was started with.
    pub started_with: Option<String>,
    /// As what its instances are started. One of another mode is not taken over: a daemon does not
    /// take runs because the fleet file was changed meanwhile.
    pub mode: Option<Mode>,
}

/// Whether an instance has to show that it comes up. A probe that is configured later asks nothing
/// of it: it is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartProof {
    /// Its startup probe has to pass.
    #[default]
    Probed,
    /// It is up once it is started.
    Unprobed,
}

/// Whether it is decided if an agent runs once at its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartRun {
    /// It was asked for, or nothing asks for it.
    #[default]
    Settled,
    /// Its program may still say that it has a schedule, and with it that it runs at the start.
    Undecided,
}

/// What the user wants of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// It should run.
    #[default]
    Up,
    /// It should not.
    Down,
}

/// Whether new work is held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// Work flows.
    #[default]
    None,
    /// Paused.
    Paused,
    /// Paused, and the tree is frozen.
    Frozen,
}

/// Why an agent is not started although it should run; cleared by `start` or a changed spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "latch", rename_all = "snake_case")]
pub enum Latch {
    /// Too many failures in a row.
    GaveUp {
        /// The last one.
        cause: Cause,
        /// How many.
        failures: u32,
    },
    /// It did what it had to do.
    Completed,
    /// It cannot be started as it is written.
    Refused {
        /// Why, for people.
        reason: String,
    },
    /// Its restart policy does not start it again.
    NotRestarted {
        /// How it ended.
        cause: Cause,
    },
}

/// What the driver found of an instance that the journal has no outcome for.
#[derive(Debug, Clone, PartialEq)]
pub enum Recovered {
    /// Its shim is alive and was connected to.
    Alive {
        /// Its process id.
        pid: u32,
        /// When it was started.
        at: Wall,
        /// What it is made of, if it is a container.
        image: Option<Image>,
    },
    /// It ended while nobody watched; the shim left a report.
    Ended(ExitReport),
    /// It ran, and nobody knows how it ended. What was left of it has been killed.
    Lost,
    /// The machine restarted since.
    Rebooted,
    /// It was never started.
    NeverStarted,
}

/// Everything a new supervisor knows of the one before it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Inheritance {
    /// Per agent of the journal.
    pub agents: std::collections::BTreeMap<crate::AgentName, AgentMemory>,
    /// Instances without an outcome, with the run they were started for.
    pub instances: Vec<(InstanceId, Option<RunId>, Recovered)>,
    /// Runs that had not finished, oldest first.
    pub runs: Vec<Arc<Run>>,
    /// How the last attempt of those of them ended whose agent had reported it, although that was
    /// not written down any more.
    pub reported: std::collections::BTreeMap<RunId, WorkOutcome>,
}
