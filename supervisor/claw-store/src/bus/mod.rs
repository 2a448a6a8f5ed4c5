//! Events: published once, delivered to every group that wants them, settled by a replica.
//!
//! ```text
//!   publish ──► event (seq) ──► each group whose filters take it
//!                                 │
//!               ready ──pull──► in flight ──ack──► settled
//!                 ▲                │  │
//!                 │   process died,│  └─nak──► waiting ──due──► ready
//!                 └────lease ended─┘                │
//!                                                   └─too often──► dead letter ──redrive──► ready
//! ```
//!
//! Who may call what: `group/` is pure, it knows neither the clock nor the file; `Bus` holds the
//! groups and belongs to the writer thread; everything else reaches it through a
//! [`Store`](crate::Store).

mod announce;
mod api;
mod control;
mod dead;
mod dedup;
mod deliver;
mod delivery;
mod engine;
mod event;
mod group;
mod letters;
mod persist;
mod publish;
mod rate;
mod refill;
mod retention;
mod row;
mod slot;
mod tail;
mod timer;
mod topic;
mod transact;

pub use api::Pause;
pub use dead::{DeadId, DeadLetter, DeadReason, Figures, Which};
pub use delivery::{
    BatchId, Completed, Delivery, Done, Gap, Held, LastReport, LeaseId, Member, NoLease, Outcome,
    Pulled, Readiness, Repeated, Resumed, Seen, Settle, Settled,
};
pub use event::{Attributes, Cause, Event, Level, NewEvent, Publisher, Receipt, Seq, Stored};
pub use group::{
    Batch, Bound, Group, GroupConfig, Handed, Offered, Ordering, Overflow, RetryPolicy, Start,
    Subscription,
};
pub use retention::{Force, Removed};
pub use slot::{KeyRange, KeyRanges, RangeError, SLOTS, Sharding, slot_of};
pub use topic::{RESERVED, TopicError, TopicFilter, check_topic, is_reserved};

pub(crate) use engine::{Bus, GroupId};
pub(crate) use group::OpenEvent;
pub(crate) use row::{column, number};
