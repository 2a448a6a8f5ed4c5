//! The replicas of a group: who is there, and which lanes are whose.

use std::collections::BTreeMap;

use super::pull::Handed;
use super::state::{Group, Phase};
use crate::bus::delivery::{LeaseId, Readiness};
use crate::bus::event::Seq;
use crate::bus::slot::Sharding;
use crate::store::UnixMs;

/// A replica.
#[derive(Debug)]
pub(super) struct MemberState {
    pub(super) readiness: Readiness,
    pub(super) held: BTreeMap<LeaseId, Seq>,
}

impl Default for MemberState {
    fn default() -> Self {
        Self {
            readiness: Readiness::Ready,
            held: BTreeMap::new(),
        }
    }
}

impl Group {
    /// Makes a replica known; whether it was already.
    pub(crate) fn join(&mut self, replica: u32) -> Joined {
        let known = self.members.contains_key(&replica);
        self.members.entry(replica).or_default();
        if known { Joined::Before } else { Joined::Now }
    }

    pub(crate) fn set_ready(&mut self, replica: u32, readiness: Readiness) {
        self.members.entry(replica).or_default().readiness = readiness;
    }

    /// A replica's leases end later, those that are chosen.
    pub(crate) fn renew(&mut self, replica: u32, now: UnixMs, chosen: impl Fn(LeaseId) -> bool) {
        let later = now.after(self.config.lease);
        let Some(member) = self.members.get(&replica) else {
            return;
        };
        for (_, seq) in member.held.iter().filter(|(lease, _)| chosen(**lease)) {
            if let Some(open) = self.open.get_mut(seq)
                && let Phase::InFlight { until, .. } = &mut open.phase
                && later > *until
            {
                self.due.remove(&(*until, *seq));
                self.due.insert((later, *seq));
                *until = later;
            }
        }
    }

    /// What a replica holds.
    pub(crate) fn held(&self, replica: u32) -> Vec<(LeaseId, Seq)> {
        let member = self.members.get(&replica);
        let held = member.into_iter().flat_map(|member| &member.held);
        held.map(|(lease, seq)| (*lease, *seq)).collect()
    }

    /// What a replica holds, as it was handed out.
    pub(crate) fn in_hand(&self, replica: u32) -> Vec<Handed> {
        let mut hand = Vec::new();
        for (lease, seq) in self.held(replica) {
            if let Some(open) = self.open.get(&seq)
                && let Phase::InFlight { until, batch, .. } = open.phase
            {
                hand.push(Handed {
                    seq,
                    lease,
                    batch,
                    attempt: open.attempts,
                    until,
                    event: None,
                });
            }
        }
        hand
    }

    /// How many more a replica may have.
    pub(super) fn free_hands(&self, replica: u32) -> usize {
        let Some(member) = self.members.get(&replica) else {
            return 0;
        };
        match member.readiness {
            Readiness::Unready => 0,
            Readiness::Ready => {
                let most = usize::try_from(self.config.concurrency).unwrap_or(usize::MAX);
                most.saturating_sub(self.pieces(member))
            }
        }
    }

    /// Whether a lane is a replica's. One whose replica is away or unready is the next one's in
    /// the circle, so that nothing waits for somebody who does not come.
    pub(super) fn is_lane_of(&self, lane: usize, replica: u32) -> bool {
        let Some(replicas) = self.config.sharding.replicas() else {
            return true;
        };
        let lane = u32::try_from(lane).unwrap_or(0);
        let owner = match self.config.sharding {
            Sharding::None => return true,
            Sharding::Hash(_) => lane % replicas,
            Sharding::Range(_) | Sharding::RoundRobin(_) => lane,
        };
        let ready = |(index, member): (&u32, &MemberState)| {
            (member.readiness == Readiness::Ready).then_some(*index)
        };
        let below = |index: &u32| *index < replicas;
        let mut from_owner = self.members.range(owner..).filter_map(ready).filter(below);
        let mut from_first = self.members.iter().filter_map(ready).filter(below);
        from_owner.next().or_else(|| from_first.next()) == Some(replica)
    }
}

/// Whether a replica is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Joined {
    Before,
    Now,
}
