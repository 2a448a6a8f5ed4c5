//! Which event is next, and for whom.

use super::state::{Group, Phase};
use crate::bus::delivery::{BatchId, Gap, LeaseId};
use crate::bus::event::{Seq, SharedEvent};
use crate::store::UnixMs;

/// An event that was handed to a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handed {
    /// The event.
    pub seq: Seq,
    /// Its lease.
    pub lease: LeaseId,
    /// The batch that it is part of.
    pub batch: Option<BatchId>,
    /// Which delivery of it this is, from 1.
    pub attempt: u32,
    /// When the lease ends.
    pub until: UnixMs,
    /// The event itself, where it is in memory.
    pub event: Option<SharedEvent>,
}

/// Gives out names of leases.
#[derive(Debug)]
pub(crate) struct Source {
    next: u64,
}

impl Source {
    /// For the given opening of the store: no two openings give the same names.
    pub(crate) fn new(opening: u64) -> Self {
        Self {
            next: opening << 40,
        }
    }

    pub(super) fn take(&mut self) -> LeaseId {
        self.next += 1;
        LeaseId(self.next)
    }

    /// The batch that begins with the next lease.
    pub(super) fn batch(&self) -> BatchId {
        BatchId(self.next + 1)
    }
}

impl Group {
    /// Hands out what is next for a replica, at most so many; where events are collected, so many
    /// batches.
    pub(crate) fn pull(
        &mut self,
        replica: u32,
        max: usize,
        now: UnixMs,
        names: &mut Source,
    ) -> Vec<Handed> {
        let mut handed = Vec::new();
        if self.paused {
            return handed;
        }
        let free = self.free_hands(replica).min(max);
        let mine: Vec<usize> = (0..self.lanes.len())
            .filter(|lane| self.is_lane_of(*lane, replica))
            .collect();
        if let Some(batch) = self.config.batch {
            for _ in 0..free {
                let together = self.pull_batch(batch, (replica, &mine), now, names);
                if together.is_empty() {
                    break;
                }
                handed.extend(together);
            }
            return handed;
        }
        while handed.len() < free {
            let firsts = mine.iter().filter_map(|lane| self.lanes[*lane].first());
            let Some(seq) = firsts.min().copied() else {
                break;
            };
            if self.has_expired(seq, now) {
                self.counts.expired += 1;
                self.close(seq);
                continue;
            }
            handed.extend(self.hand(seq, (replica, None), now, names.take()));
        }
        handed
    }

    /// Events that were removed unseen, if nobody was told yet.
    pub(crate) fn take_gap(&mut self) -> Option<Gap> {
        let (from, to, lost) = self.counts.gap.take()?;
        Some(Gap { from, to, lost })
    }

    /// Whether anybody could get something now.
    pub(crate) fn has_work(&self) -> bool {
        let ready = self.lanes.iter().any(|lane| !lane.is_empty());
        !self.paused && (ready || self.beyond > 0 || self.counts.gap.is_some())
    }

    pub(super) fn has_expired(&self, seq: Seq, now: UnixMs) -> bool {
        let expires = self.open.get(&seq).and_then(|open| open.expires);
        expires.is_some_and(|at| at <= now)
    }

    pub(super) fn hand(
        &mut self,
        seq: Seq,
        (replica, batch): (u32, Option<BatchId>),
        now: UnixMs,
        lease: LeaseId,
    ) -> Option<Handed> {
        let until = now.after(self.config.lease);
        let open = self.open.get_mut(&seq)?;
        open.attempts += 1;
        let attempt = open.attempts;
        let event = open.event.take();
        if let Some(event) = &event {
            self.cached -= event.weight();
        }
        self.redelivered += u64::from(attempt > 1);
        let phase = Phase::InFlight {
            lease,
            batch,
            replica,
            until,
        };
        self.put(seq, phase);
        Some(Handed {
            seq,
            lease,
            batch,
            attempt,
            until,
            event,
        })
    }
}
