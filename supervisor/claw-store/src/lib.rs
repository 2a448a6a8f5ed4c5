//! Durable things: the journal of lifecycles, always local, and the store of state and events.
//!
//! How a host uses the store:
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use claw_store::bus::{Done, GroupConfig, Held, Level, Member, NewEvent, Outcome, Publisher};
//! use claw_store::bus::{Settle, Start, TopicFilter};
//! use claw_store::state::{At, Commit, CommitCause, Expect, Namespace, StateOp, WriterId};
//! use claw_store::store::{Store, StoreError, StoreOptions};
//!
//! # async fn host() -> Result<(), Box<dyn std::error::Error>> {
//! let store = Store::open("store.db".as_ref(), StoreOptions::default())?;
//!
//! // An agent of the configuration has one group, whatever it subscribes to.
//! let filter = TopicFilter::try_new("data.*")?;
//! store.upsert_group("analyst", GroupConfig::new(filter), Start::Now).await?;
//!
//! // POST /v1/events
//! let event = NewEvent {
//!     id: "01JD".into(),
//!     source: "collector".into(),
//!     topic: "data.collected".into(),
//!     data: br#"{"rows":3}"#.to_vec(),
//!     ..NewEvent::default()
//! };
//! store.publish(vec![event], Level::Disk, Publisher::Outside).await?;
//!
//! // GET /v1/work?wait=30
//! let replica = Member::new("analyst", 0);
//! let work = store.next(&replica, 1, Duration::from_secs(30)).await?;
//! for delivery in work.deliveries {
//!     // While the process lives and its probe passes: store.renew(&replica).
//!     // When it has died: store.release_replica(&replica).
//!     let namespace = Namespace::agent("analyst");
//!     let seen = store.get(&namespace, "seen", At::Head).await?;
//!     let set = StateOp::Set {
//!         key: "seen".into(),
//!         value: b"3".to_vec(),
//!         ttl: None,
//!         expect: seen.map_or(Expect::Absent, |seen| Expect::Version(seen.version)),
//!     };
//!     // POST /v1/work/{lease}/done: all of it, once, or nothing.
//!     let done = Done {
//!         member: replica.clone(),
//!         work: Some(delivery.lease.to_string()),
//!         attempt: delivery.attempt,
//!         settle: Some((Held::One(delivery.lease), Settle::Ack)),
//!         look: None,
//!         commits: vec![Commit {
//!             namespace,
//!             writer: WriterId { name: "analyst/0".into(), epoch: 1 },
//!             ops: vec![set],
//!             cause: CommitCause::default(),
//!         }],
//!         events: vec![],
//!         outcome: Outcome::Succeeded,
//!     };
//!     match store.transact(done).await {
//!         Ok(_completed) => {}
//!         Err(StoreError::StaleLease(_)) => { /* 409 lease_lost */ }
//!         Err(error) => return Err(error.into()),
//!     }
//! }
//! store.close()?;
//! # Ok(())
//! # }
//! ```
//!
//! From time to time, an hour or so, a host calls [`Store::prune`](store::Store::prune); retention
//! of events, timers, expiry and back-off run by themselves.
#![forbid(unsafe_code)]

pub mod bus;
mod database;
pub mod journal;
pub mod llm;
pub mod state;
pub mod store;
mod version;
mod wal;

pub use journal::{Ack, Entry, Journal, JournalError, Opened, Options, Reader};
pub use store::{Store, StoreError, StoreOptions};
pub use version::{Database, SchemaVersion, VersionError};
