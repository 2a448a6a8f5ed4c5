//! What a host can do with events.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::watch;

use super::dead::{DeadId, DeadLetter, Figures, Which};
use super::delivery::{
    Completed, Delivery, Done, LastReport, LeaseId, Member, Pulled, Readiness, Resumed, Settle,
    Settled,
};
use super::event::{Level, NewEvent, Publisher, Receipt, Seq};
use super::group::{GroupConfig, Start, Subscription};
use super::publish::Publication;
use super::retention::{Force, Removed};
use super::{control, letters, publish, retention, tail, transact};
use crate::bus::event::SharedEvent;
use crate::store::{Kind, Store, StoreError};

/// Events.
impl Store {
    /// Publishes a batch, all of it or nothing. Waits where a group is full and says so.
    ///
    /// # Errors
    ///
    /// See [`StoreError`]; nothing is stored then.
    pub async fn publish(
        &self,
        events: Vec<NewEvent>,
        level: Level,
        publisher: Publisher,
    ) -> Result<Vec<Receipt>, StoreError> {
        let mut events = events;
        let mut waited: Option<tokio::time::Instant> = None;
        loop {
            let mut room = self.signals().room.subscribe();
            let weight = publish::weight(&events);
            let work =
                move |core: &mut crate::store::Core| publish::publish(core, events, publisher);
            let (back, group, wait) = match self.write(level, Kind::Checked, weight, work).await? {
                Publication::Stored(receipts) => return Ok(receipts),
                Publication::Full { back, group, wait } => (back, group, wait),
            };
            let until = *waited.get_or_insert_with(|| tokio::time::Instant::now() + wait);
            let full = StoreError::Backpressure {
                group,
                retry_after: publish::RETRY_AFTER,
            };
            match tokio::time::timeout_at(until, room.changed()).await {
                Ok(Ok(())) => events = back,
                Ok(Err(_closed)) => return Err(StoreError::Closed),
                Err(_elapsed) => return Err(full),
            }
        }
    }

    /// How many events a source may publish in a minute; without a number, as many as it likes.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn set_rate(
        &self,
        source: String,
        per_minute: Option<u32>,
    ) -> Result<(), StoreError> {
        self.set_rates(vec![(source, per_minute)]).await
    }

    /// Sets the rates of many sources; see [`Store::set_rate`].
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn set_rates(&self, rates: Vec<(String, Option<u32>)>) -> Result<(), StoreError> {
        self.write(Level::Os, Kind::Memory, 0, move |core| {
            for (source, per_minute) in rates {
                core.bus.set_rate(source, per_minute, core.now);
            }
            Ok(())
        })
        .await
    }

    /// Makes a group, or changes the one of this name; where it begins matters for a new one only.
    /// An orphaned group has an agent again.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn upsert_group(
        &self,
        name: &str,
        config: GroupConfig,
        start: Start,
    ) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.write(Level::Disk, Kind::Alone, 0, move |core| {
            control::upsert(core, &name, config, start)
        })
        .await
    }

    /// Says that the agent of a group is gone from the configuration. The group goes on to collect
    /// until its retention is over, then it is dropped.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn orphan_group(&self, name: &str) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.write(Level::Disk, Kind::Alone, 0, move |core| {
            control::orphan(core, &name)
        })
        .await
    }

    /// Drops a group and its dead letters at once.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn drop_group(&self, name: &str) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.write(Level::Disk, Kind::Alone, 0, move |core| {
            control::remove(core, &name)
        })
        .await
    }

    /// Stops or allows deliveries to a group, also over a restart.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn set_paused(&self, name: &str, pause: Pause) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.write(Level::Disk, Kind::Alone, 0, move |core| {
            control::set_paused(core, &name, pause)
        })
        .await
    }

    /// Puts a group somewhere else: everything from there on is delivered again, from attempt 1.
    /// What is in flight loses its lease.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn seek(&self, name: &str, to: Start) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.write(Level::Disk, Kind::Alone, 0, move |core| {
            control::seek(core, &name, to)
        })
        .await
    }

    /// The names of all groups.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn groups(&self) -> Result<Vec<String>, StoreError> {
        self.write(Level::Os, Kind::Memory, 0, |core| Ok(core.bus.names()))
            .await
    }

    /// The figures of a group.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn figures(&self, name: &str) -> Result<Figures, StoreError> {
        let name = name.to_owned();
        self.write(Level::Os, Kind::Memory, 0, move |core| core.figures(&name))
            .await
    }

    /// Makes a replica known, or says whether it may get new deliveries. A pull does so too.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn set_ready(&self, member: &Member, readiness: Readiness) -> Result<(), StoreError> {
        let member = member.clone();
        self.write(Level::Os, Kind::Memory, 0, move |core| {
            core.set_ready(&member, readiness)
        })
        .await
    }

    /// Leases what there is for a replica, at once, up to its concurrency.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn pull(&self, member: &Member, max: usize) -> Result<Pulled, StoreError> {
        let member = member.clone();
        self.write(Level::Os, Kind::Memory, 0, move |core| {
            core.pull(&member, max)
        })
        .await
    }

    /// Like [`Store::pull`], but waits for something, at most this long.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn next(
        &self,
        member: &Member,
        max: usize,
        wait: Duration,
    ) -> Result<Pulled, StoreError> {
        let until = tokio::time::Instant::now() + wait;
        let mut woken = self.wakeup(&member.group);
        loop {
            woken.mark_unchanged();
            let pulled = self.pull(member, max).await?;
            if !pulled.deliveries.is_empty() || pulled.gap.is_some() {
                return Ok(pulled);
            }
            match tokio::time::timeout_at(until, woken.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_closed)) => return Err(StoreError::Closed),
                Err(_elapsed) => return Ok(pulled),
            }
        }
    }

    /// Changes whenever there may be something to pull for a group.
    #[must_use]
    pub fn wakeup(&self, group: &str) -> watch::Receiver<u64> {
        self.signals().of(group)
    }

    /// Settles a delivery.
    ///
    /// # Errors
    ///
    /// [`StoreError::StaleLease`] if the replica does not hold the lease any more; nothing changes.
    pub async fn settle(
        &self,
        member: &Member,
        lease: LeaseId,
        settle: Settle,
    ) -> Result<Settled, StoreError> {
        let member = member.clone();
        self.write(Level::Os, Kind::Memory, 0, move |core| {
            core.settle(&member, lease, settle)
        })
        .await
    }

    /// Settles several deliveries with one request; each has an answer of its own.
    ///
    /// # Errors
    ///
    /// See [`StoreError`]; nothing changes then. That one lease has ended is no such error: it is
    /// the answer for that delivery.
    pub async fn settle_all(
        &self,
        member: &Member,
        settles: Vec<(LeaseId, Settle)>,
    ) -> Result<Vec<Result<Settled, StoreError>>, StoreError> {
        let member = member.clone();
        self.write(Level::Os, Kind::Memory, 0, move |core| {
            let settle = |(lease, settle)| core.settle(&member, lease, settle);
            Ok(settles.into_iter().map(settle).collect())
        })
        .await
    }

    /// Ends a piece of work: its state, its events and its lease together or not at all. A repeat
    /// of the same work and attempt changes nothing and gets the same answer.
    ///
    /// # Errors
    ///
    /// See [`StoreError`]; nothing was done then.
    pub async fn transact(&self, done: Done) -> Result<Completed, StoreError> {
        let mut done = done;
        let level = done.level();
        let mut commits = Vec::with_capacity(done.commits.len());
        for commit in std::mem::take(&mut done.commits) {
            commits.push(self.prepare(commit).await?);
        }
        let weight = publish::weight(&done.events);
        self.write(level, Kind::Guarded, weight, move |core| {
            transact::transact(core, done, commits)
        })
        .await
    }

    /// The last attempt of a piece of work up to this one that was ended by [`Store::transact`], as
    /// far back as that is remembered. Reads what is committed: ask when no such call is under way.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn last_report(
        &self,
        work: &str,
        attempt: u32,
    ) -> Result<Option<LastReport>, StoreError> {
        let work = work.to_owned();
        self.read(move |conn| transact::last_report(conn, &work, attempt))
            .await
    }

    /// Renews all leases of a replica that lives and is well.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn renew(&self, member: &Member) -> Result<(), StoreError> {
        let member = member.clone();
        self.write(Level::Os, Kind::Memory, 0, move |core| {
            core.renew(&member, |_every| true)
        })
        .await
    }

    /// Renews these leases of a replica that lives and is well; others that it is said to hold end
    /// in their time.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn renew_leases(
        &self,
        member: &Member,
        leases: BTreeSet<LeaseId>,
    ) -> Result<(), StoreError> {
        let member = member.clone();
        self.write(Level::Os, Kind::Memory, 0, move |core| {
            core.renew(&member, |lease| leases.contains(&lease))
        })
        .await
    }

    /// Says that the process of a replica is gone: its leases end at once, and the attempts count.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn release_replica(&self, member: &Member) -> Result<(), StoreError> {
        let member = member.clone();
        self.write(Level::Os, Kind::Memory, 0, move |core| {
            core.release(&member)
        })
        .await
    }

    /// After the store was opened: what a replica that lived on still does. Everything else that
    /// was in flight with it is delivered again.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn resume(
        &self,
        member: &Member,
        running: Vec<LeaseId>,
    ) -> Result<Resumed, StoreError> {
        let member = member.clone();
        self.write(Level::Os, Kind::Memory, 0, move |core| {
            core.resume(&member, &running)
        })
        .await
    }

    /// Deliveries in the hands of a replica.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn held(&self, member: &Member) -> Result<Vec<Delivery>, StoreError> {
        let member = member.clone();
        self.write(Level::Os, Kind::Memory, 0, move |core| core.held(&member))
            .await
    }

    /// Dead letters of a group, newest first.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn dead_letters(
        &self,
        group: &str,
        limit: u32,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        self.dead_letters_before(group, None, limit).await
    }

    /// Dead letters of a group that are older than one, newest first.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn dead_letters_before(
        &self,
        group: &str,
        before: Option<DeadId>,
        limit: u32,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let group = group.to_owned();
        self.read(move |conn| letters::list(conn, &group, before, limit))
            .await
    }

    /// Delivers dead letters again, from attempt 1. Answers how many.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn redrive(&self, group: &str, which: Which) -> Result<u64, StoreError> {
        let group = group.to_owned();
        self.write(Level::Disk, Kind::Alone, 0, move |core| {
            letters::redrive(core, &group, which)
        })
        .await
    }

    /// Deletes dead letters. Answers how many.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn discard(&self, group: &str, which: Which) -> Result<u64, StoreError> {
        let group = group.to_owned();
        self.write(Level::Disk, Kind::Alone, 0, move |core| {
            letters::discard(core, &group, which)
        })
        .await
    }

    /// Events from a number on that a subscription takes, without a group.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn read_events(
        &self,
        from: Seq,
        subscription: Option<Subscription>,
        limit: u32,
    ) -> Result<Vec<SharedEvent>, StoreError> {
        self.read(move |conn| tail::read(conn, from, subscription.as_ref(), limit))
            .await
    }

    /// The number of the newest event; changes when there is a newer one.
    #[must_use]
    pub fn head(&self) -> watch::Receiver<Seq> {
        self.signals().head.subscribe()
    }

    /// Takes over events that another store exported. Those that are here already, however old,
    /// are left out. Answers how many were new.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn import_events(&self, events: Vec<SharedEvent>) -> Result<u64, StoreError> {
        self.write(Level::Disk, Kind::Alone, 0, move |core| {
            tail::import(core, &events)
        })
        .await
    }

    /// Removes events by age and size, as the store does by itself from time to time.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn enforce_retention(&self, force: Force) -> Result<Removed, StoreError> {
        let mut all = Removed::default();
        loop {
            let step = self
                .write(Level::Os, Kind::Alone, 0, move |core| {
                    retention::step(core, force)
                })
                .await?;
            all.events += step.events;
            all.unsettled += step.unsettled;
            if step.events == 0 {
                return Ok(all);
            }
        }
    }
}

/// Whether a group gets deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    /// It does not; events are kept for it.
    Paused,
    /// It does.
    Running,
}
