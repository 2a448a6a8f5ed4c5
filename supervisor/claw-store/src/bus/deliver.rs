//! What replicas ask for, on the writer's thread.

use super::dead::Figures;
use super::delivery::{Delivery, LeaseId, Member, Pulled, Readiness, Resumed, Settle, Settled};
use super::engine::GroupId;
use super::event::SharedEvent;
use super::group::{Handed, Joined};
use super::refill::Behind;
use super::row;
use crate::store::limits::PULL_MAX;
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
        let mut handed = self.hand_out(id, member.replica, max)?;
        for _ in 0..REFILLS {
            if handed.len() >= max || self.refill(id)? == Behind::No {
                break;
            }
            handed.extend(self.hand_out(id, member.replica, max - handed.len())?);
        }
        if handed.len() < max {
            handed.extend(self.hand_out(id, member.replica, max - handed.len())?);
        }
        let gap = self.bus.entry(id)?.group.take_gap();
        if gap.is_some() || !handed.is_empty() {
            self.bus.touch(id);
        }
        let mut deliveries = Vec::with_capacity(handed.len());
        for one in handed {
            deliveries.extend(self.delivery(id, one)?);
        }
        Ok(Pulled { deliveries, gap })
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
        let now = self.now;
        let bus = &mut self.bus;
        let Some(entry) = bus.groups.get_mut(&id) else {
            return Err(StoreError::StaleLease(lease));
        };
        let settled = entry.group.settle(seq, settle, now, &mut bus.jitter);
        bus.touch(id);
        Ok(settled)
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
