//! The points there are.

use std::fmt;

/// Where something dies: on one side of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// Which side.
    pub side: Side,
    /// Of what.
    pub step: Step,
}

/// A side of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// It is about to be done.
    Before,
    /// It is done, and nobody has heard of it.
    After,
}

impl Point {
    /// Every point there is.
    pub fn all() -> impl Iterator<Item = Self> {
        Step::ALL
            .iter()
            .flat_map(|step| [Side::Before, Side::After].map(|side| Self { side, step: *step }))
    }

    /// The file that kills whoever comes here for the time that `left` says; with 0 the mark that
    /// somebody has died here.
    #[must_use]
    pub fn file(&self, left: u32) -> String {
        format!("{self}@{left}")
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match self.side {
            Side::Before => "before",
            Side::After => "after",
        };
        write!(f, "{side}-{}", self.step.name())
    }
}

macro_rules! steps {
    ($($(#[$doc:meta])* $step:ident = $name:literal,)*) => {
        /// A step with a point before it and one after it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Step {
            $($(#[$doc])* $step,)*
        }

        impl Step {
            /// Every step.
            pub const ALL: &'static [Self] = &[$(Self::$step,)*];

            const fn name(self) -> &'static str {
                match self {
                    $(Self::$step => $name,)*
                }
            }
        }
    };
}

steps! {
    /// The start of a program of ours: before anything, and once the supervisor answers.
    Start = "start",
    /// The supervisor looks at what the one before it left.
    Recovery = "recovery",
    /// The journal commits the intent to start an instance.
    Intent = "intent",
    /// The journal commits that an instance runs.
    StartedRow = "started-row",
    /// The journal commits how an instance ended.
    Outcome = "outcome",
    /// The journal commits a goal.
    Goal = "goal",
    /// The journal commits counters and the time of the next start.
    RestartWait = "restart-wait",
    /// The journal commits the fate of a slot.
    Slot = "slot",
    /// The journal commits a run that waits.
    RunQueued = "run-queued",
    /// The journal commits that a run is with its agent.
    RunBegun = "run-begun",
    /// The journal commits that a run is to be tried again.
    RunRetried = "run-retried",
    /// The journal commits the outcome of a run.
    RunFinished = "run-finished",
    /// The journal commits that an agent has left the fleet.
    Removal = "removal",
    /// The journal commits that a request with a key was seen.
    Request = "request",
    /// The journal commits the answer to a request with a key.
    Answer = "answer",
    /// The journal is synced to the disk.
    JournalSync = "journal-sync",
    /// The supervisor hands a launch to the spawner.
    Launch = "launch",
    /// The supervisor asks a shim to signal its agent.
    Signal = "signal",
    /// The supervisor removes an instance directory.
    InstanceRemoval = "instance-removal",
    /// The spawner forks a shim.
    ShimFork = "shim-fork",
    /// A shim takes its lock.
    Lock = "lock",
    /// A shim forks its agent's process.
    ChildFork = "child-fork",
    /// The agent's process puts the run record in its place.
    RunRecord = "run-record",
    /// The agent's process executes the agent; its shim has heard that it did.
    Exec = "exec",
    /// A shim tells the supervisor that its agent runs.
    StartReport = "start-report",
    /// A shim puts the exit record in its place.
    ExitRecord = "exit-record",
    /// A shim tells the supervisor that nothing of its agent is left.
    ExitReport = "exit-report",
    /// A shim removes the cgroups of its agent.
    GroupRemoval = "group-removal",
    /// The fleet file in force is put in the place of the last good one.
    LastGood = "last-good",
    /// State, events and acknowledgements are committed.
    StoreCommit = "store-commit",
    /// The same are synced to the disk.
    StoreSync = "store-sync",
    /// The outcome of a piece of work is committed, with all that it changes.
    WorkDone = "work-done",
    /// Money is held for a call to a language model.
    Reservation = "reservation",
    /// What a call cost is booked.
    Settlement = "settlement",
}
