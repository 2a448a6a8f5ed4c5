//! What replicas ask for, on the writer's thread.

use super::dead::Figures;
use super::delivery::{Delivery, Held, LeaseId, Member, Pulled, Readiness, Resumed};
use super::delivery::{Settle, Settled};
use super::engine::GroupId;
use super::event::{Seq, SharedEvent};
use super::group::{Handed, Joined};
use super::refill::Behind;
use super::row;
use crate::store::limits::{PULL_BYTES, PULL_MAX};
use crate::store::{Core, StoreError};

/// How often one pull reads on before it lets others have a turn.
const REFILLS: usize = 8;

impl Core {
    pub(super) fn pull(&mut self, member: &Member, max: usize) -> Result<Pulled, StoreError> {
        let id = self.bus.id(&member.group)?;
        let max = max.min(PULL_MAX);
        if self.bus.entry(id)?.group.join(member.replica) == Joined::Now {
            self.bus.touch(id);
        }
        let handed = if self.bus.entry(id)?.group.config.gathers() {
            self.hand_out_gathered(id, member.replica, max)?
        } else {
            self.hand_out_all(id, member.replica, max)?
        };
        let gap = self.bus.entry(id)?.group.take_gap();
        if gap.is_some() || !handed.is_empty() {
            self.bus.touch(id);
        }
        let deliveries = self.deliveries(id, handed)?;
        Ok(Pulled { deliveries, gap })
    }

    fn hand_out_all(
        &mut self,
        id: GroupId,
        replica: u32,
        max: usize,
    ) -> Result<Vec<Handed>, StoreError> {
        let mut handed = self.hand_out(id, replica, max)?;
        for _ in 0..REFILLS {
            if handed.len() >= max || self.refill(id)? == Behind::No {
                break;
            }
            handed.extend(self.hand_out(id, replica, max - handed.len())?);
        }
        if handed.len() < max {
            handed.extend(self.hand_out(id, replica, max - handed.len())?);
        }
        Ok(handed)
    }

    /// Hands out what has waited for others, at most so many pieces. What follows an event decides
    /// about it, so a group that is behind reads on first; if that takes long, with the next pull.
    fn hand_out_gathered(
        &mut self,
        id: GroupId,
        replica: u32,
        max: usize,
    ) -> Result<Vec<Handed>, StoreError> {
        for _ in 0..REFILLS {
            if self.refill(id)? == Behind::No {
                let batch = self.bus.entry(id)?.group.config.batch;
                let size = batch.map_or(1, |batch| batch.size.max(1));
                let most = PULL_MAX / usize::try_from(size).unwrap_or(PULL_MAX);
                return self.hand_out(id, replica, max.min(most.max(1)));
            }
        }
        self.bus.touch(id);
        Ok(Vec::new())
    }

    /// With their events. Of a batch, what would be too much for one answer is somebody else's.
    fn deliveries(
        &mut self,
        id: GroupId,
        handed: Vec<Handed>,
    ) -> Result<Vec<Delivery>, StoreError> {
        let mut deliveries: Vec<Delivery> = Vec::with_capacity(handed.len());
        let mut bytes = 0;
        for one in handed {
            let (seq, batch) = (one.seq, one.batch);
            let Some(delivery) = self.delivery(id, one)? else {
                continue;
            };
            bytes += delivery.event.data.len();
            let begun = deliveries.last().is_some_and(|last| last.batch == batch);
            if batch.is_some() && begun && bytes > PULL_BYTES {
                self.settle_one(id, seq, Settle::Return)?;
                continue;
            }
            deliveries.push(delivery);
        }
        Ok(deliveries)
    }

    fn hand_out(
        &mut self,
        id: GroupId,
        replica: u32,
        max: usize,
    ) -> Result<Vec<Handed>, StoreError> {
        let now = self.now;
        let bus = &mut self.bus;
        let Some(entry) = bus.groups.get_mut(&id) else {
            return Ok(Vec::new());
        };
        let expired = entry.group.counts.expired;
        let handed = entry.group.pull(replica, max, now, &mut bus.lease_names);
        if entry.group.counts.expired != expired {
            bus.touch(id);
        }
        Ok(handed)
    }

    /// With the event, from memory or the file.
    fn delivery(&mut self, id: GroupId, handed: Handed) -> Result<Option<Delivery>, StoreError> {
        let event = match handed.event {
            Some(event) => Some(event),
            None => row::one(&self.conn, handed.seq)?,
        };
        let Some(event) = event else {
            tracing::error!(
                seq = handed.seq,
                "an event that is not settled is not there"
            );
            self.bus.entry(id)?.group.close(handed.seq);
            return Ok(None);
        };
        Ok(Some(Delivery {
            lease: handed.lease,
            batch: handed.batch,
            attempt: handed.attempt,
            until: handed.until,
            event,
        }))
    }

    pub(super) fn settle(
        &mut self,
        member: &Member,
        lease: LeaseId,
        settle: Settle,
    ) -> Result<Settled, StoreError> {
        let (id, seq) = self.leased(member, lease)?;
        self.settle_one(id, seq, settle)
    }

    fn settle_one(&mut self, id: GroupId, seq: Seq, settle: Settle) -> Result<Settled, StoreError> {
        let now = self.now;
        let jitter = &mut self.bus.jitter;
        let entry = self.bus.groups.get_mut(&id);
        let settled = entry.map(|entry| entry.group.settle(seq, settle, now, jitter));
        self.bus.touch(id);
        // Whoever asks has found the event in the group.
        settled.ok_or_else(|| StoreError::NotFound {
            kind: "group",
            name: id.to_string(),
        })
    }

    /// Settles what a replica holds, all of it in one way: what failed together comes again
    /// together. Of a batch, the answer is that of the event that fared best.
    pub(super) fn settle_held(
        &mut self,
        (id, seqs): &(GroupId, Vec<Seq>),
        settle: Settle,
    ) -> Result<Option<Settled>, StoreError> {
        let settle = self.same_delay(*id, seqs, settle)?;
        let mut answer = None;
        for seq in seqs {
            let settled = self.settle_one(*id, *seq, settle.clone())?;
            answer = match (answer, settled) {
                (Some(Settled::Dead) | None, other) => Some(other),
                (better, _) => better,
            };
        }
        Ok(answer)
    }

    fn same_delay(
        &mut self,
        id: GroupId,
        seqs: &[Seq],
        settle: Settle,
    ) -> Result<Settle, StoreError> {
        let Settle::Nak { delay: None, error } = settle else {
            return Ok(settle);
        };
        let mut jitter = self.bus.jitter.clone();
        let group = &self.bus.entry(id)?.group;
        let attempts = seqs
            .iter()
            .filter_map(|seq| Some(group.open.get(seq)?.attempts));
        let attempts = attempts.filter(|attempts| !group.config.retry.is_spent(*attempts));
        let delay =
            (attempts.max()).map(|attempts| group.config.retry.delay(attempts, &mut jitter));
        self.bus.jitter = jitter;
        Ok(Settle::Nak { delay, error })
    }

    /// The events of what the replica holds.
    pub(super) fn holds(
        &mut self,
        member: &Member,
        held: Held,
    ) -> Result<(GroupId, Vec<Seq>), StoreError> {
        match held {
            Held::One(lease) => {
                let (id, seq) = self.leased(member, lease)?;
                Ok((id, vec![seq]))
            }
            Held::Batch(batch) => {
                let id = self.bus.id(&member.group)?;
                let held = self.bus.entry(id)?.group.held_of(batch, member.replica);
                if held.is_empty() {
                    return Err(StoreError::StaleLease(LeaseId(batch.0)));
                }
                Ok((id, held.into_iter().map(|(_lease, seq)| seq).collect()))
            }
        }
    }

    /// The event of a lease that the replica holds.
    pub(super) fn leased(
        &mut self,
        member: &Member,
        lease: LeaseId,
    ) -> Result<(GroupId, u64), StoreError> {
        let id = self.bus.id(&member.group)?;
        let seq = self.bus.entry(id)?.group.leased(lease, member.replica);
        seq.map(|seq| (id, seq))
            .ok_or(StoreError::StaleLease(lease))
    }

    pub(super) fn set_ready(
        &mut self,
        member: &Member,
        readiness: Readiness,
    ) -> Result<(), StoreError> {
        let id = self.bus.id(&member.group)?;
        self.bus
            .entry(id)?
            .group
            .set_ready(member.replica, readiness);
        self.bus.touch(id);
        Ok(())
    }

    pub(super) fn renew(
        &mut self,
        member: &Member,
        chosen: impl Fn(LeaseId) -> bool,
    ) -> Result<(), StoreError> {
        let (id, now) = (self.bus.id(&member.group)?, self.now);
        let group = &mut self.bus.entry(id)?.group;
        group.renew(member.replica, now, chosen);
        self.bus.touch(id);
        Ok(())
    }

    pub(super) fn release(&mut self, member: &Member) -> Result<(), StoreError> {
        let (id, now) = (self.bus.id(&member.group)?, self.now);
        self.bus.entry(id)?.group.release(member.replica, now);
        self.bus.touch(id);
        Ok(())
    }

    pub(super) fn held(&mut self, member: &Member) -> Result<Vec<Delivery>, StoreError> {
        let id = self.bus.id(&member.group)?;
        let held = self.bus.entry(id)?.group.in_hand(member.replica);
        let mut deliveries = Vec::with_capacity(held.len());
        for one in held {
            deliveries.extend(self.delivery(id, one)?);
        }
        Ok(deliveries)
    }

    pub(super) fn resume(
        &mut self,
        member: &Member,
        running: &[LeaseId],
    ) -> Result<Resumed, StoreError> {
        let (id, now) = (self.bus.id(&member.group)?, self.now);
        let group = &mut self.bus.entry(id)?.group;
        group.join(member.replica);
        for (lease, seq) in group.held(member.replica) {
            if !running.contains(&lease) {
                group.drop_lease(seq, now);
            }
        }
        group.renew(member.replica, now, |_every| true);
        self.bus.touch(id);
        let kept = self.held(member)?;
        let still = |lease: &LeaseId| kept.iter().any(|one| one.lease == *lease);
        let abandoned = running
            .iter()
            .filter(|lease| !still(lease))
            .copied()
            .collect();
        Ok(Resumed { kept, abandoned })
    }

    pub(super) fn figures(&mut self, name: &str) -> Result<Figures, StoreError> {
        let id = self.bus.id(name)?;
        // What was given up a moment ago is counted in the table.
        if self.broken.is_none() {
            self.flush_bus()?;
        }
        let sql = "SELECT count(*) FROM dead WHERE grp = ?1";
        let dead: i64 = self
            .conn
            .prepare_cached(sql)?
            .query_row([id], |row| row.get(0))?;
        let head = self.bus.head();
        let mut oldest = self.bus.entry(id)?.group.oldest();
        if oldest.is_none() && self.bus.entry(id)?.group.beyond > 0 {
            self.refill(id)?;
            oldest = self.bus.entry(id)?.group.oldest();
        }
        let entry = self.bus.entry(id)?;
        let group = &entry.group;
        Ok(Figures {
            pending: group.pending(),
            in_flight: group.in_flight(),
            redelivered: group.redelivered,
            dead: row::number(dead),
            expired: group.counts.expired,
            dropped: group.counts.dropped,
            superseded: group.counts.superseded,
            lost: group.counts.lost,
            oldest,
            floor: entry.floor(head),
        })
    }

    /// Reads an event that is in flight, for what follows from it.
    pub(super) fn handled(&self, seq: u64) -> Result<Option<SharedEvent>, StoreError> {
        row::one(&self.conn, seq)
    }
}
