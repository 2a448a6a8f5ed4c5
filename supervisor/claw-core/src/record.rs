//! What must be written down, and how durably.

use serde::{Deserialize, Serialize};

use crate::action::SlotFate;
use crate::clock::Wall;
use crate::death::Cause;
use crate::id::{Generation, InstanceId, RunId};
use crate::image::Image;
use crate::memory::AgentMemory;
use crate::name::AgentName;
use crate::run::Run;

/// Asks the journal to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId(pub u64);

/// How much a record must survive before it counts as recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// The death of the supervisor: written, not synced. Enough for all that is about processes,
    /// because a power cut ends every one of them and the boot id says so.
    OurDeath,
    /// A power cut: synced to disk before it is acknowledged.
    PowerCut,
}

/// One entry for the journal. Entries are written in the order given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// An instance is about to be started.
    Intent {
        /// Which.
        instance: InstanceId,
        /// The hash of the spec it is started with.
        spec_hash: String,
        /// The run it is for.
        run: Option<RunId>,
        /// When.
        at: Wall,
    },
    /// An instance runs.
    Started {
        /// Which.
        instance: InstanceId,
        /// Its process id on the host.
        pid: u32,
        /// When.
        at: Wall,
        /// What it is made of, if it is a container.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        image: Option<Image>,
    },
    /// An instance ended. At most one per instance: a second one is dropped by the journal.
    Outcome {
        /// Which.
        instance: InstanceId,
        /// Why.
        cause: Cause,
        /// Whether it counts as a failure.
        failed: bool,
        /// What was observed, where anything was.
        report: Option<Box<crate::death::ExitReport>>,
        /// When.
        at: Wall,
    },
    /// What must be remembered of an agent: goal, counters, next start. Replaces the last one.
    Memory {
        /// Whose.
        agent: AgentName,
        /// What.
        memory: AgentMemory,
        /// A changed goal must survive a power cut, a counter need not.
        synced: bool,
    },
    /// A run as it is now. Replaces the last one of the same id. A queued run of a slot is refused
    /// unless the journal holds that slot with this very run: it comes right after its slot, and
    /// when the slot is refused, a death in between must not leave the run alone.
    Run(Box<Run>),
    /// A due slot of a schedule. Unique by agent and planned time: a second one is refused.
    Slot {
        /// Whose.
        agent: AgentName,
        /// The planned time.
        planned: Wall,
        /// What became of it.
        fate: SlotFate,
        /// The run it became.
        run: Option<RunId>,
    },
    /// An agent left the fleet; its memory may be dropped, its history stays.
    Removed {
        /// Who.
        agent: AgentName,
        /// Its last generation, so that none is ever reused.
        last: Generation,
    },
}

impl Record {
    /// The class of the record: what it must survive.
    #[must_use]
    pub fn durability(&self) -> Durability {
        match self {
            Self::Intent { .. } | Self::Started { .. } | Self::Outcome { .. } => {
                Durability::OurDeath
            }
            Self::Memory { synced: false, .. } => Durability::OurDeath,
            Self::Memory { synced: true, .. }
            | Self::Run(_)
            | Self::Slot { .. }
            | Self::Removed { .. } => Durability::PowerCut,
        }
    }
}
