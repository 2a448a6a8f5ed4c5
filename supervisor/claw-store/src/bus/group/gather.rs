//! Events that wait for others: until it is quiet, or until there are enough for a batch.
//!
//! Which event took the place of which follows from the events alone, from their topics, keys and
//! times, so that a group that was restarted, or is behind, comes to the same end.

use std::collections::BTreeSet;

use super::config::Batch;
use super::members::MemberState;
use super::pull::{Handed, Source};
use super::state::{Group, OpenEvent, Phase, Row};
use crate::bus::delivery::{BatchId, LeaseId};
use crate::bus::event::{Event, Seq};
use crate::bus::slot::first_64_bits;
use crate::store::UnixMs;

impl Group {
    /// Where an event begins that nobody has had yet.
    pub(super) fn fresh_phase(&self, at: UnixMs) -> Phase {
        match self.config.debounce {
            None => Phase::Ready,
            Some(quiet) => Phase::Waiting {
                due: at.after(quiet),
            },
        }
    }

    /// Names the events of which only the last is delivered; 0 where there are none such.
    pub(super) fn burst_of(&self, event: &Event) -> u64 {
        if self.config.debounce.is_none() {
            return 0;
        }
        let named = match self.config.key_of(event) {
            None => event.topic.clone(),
            Some(key) => format!("{}\0{key}", event.topic),
        };
        first_64_bits(named.as_bytes()).max(1)
    }

    /// An event that was just opened is the newest of its topic and key, unless it is given again.
    /// Answers with the one before it.
    pub(super) fn note_newest(&mut self, seq: Seq, burst: u64) -> Option<Seq> {
        if burst == 0 {
            return None;
        }
        let before = self.newest.get(&burst).copied();
        if before.is_some_and(|newer| newer > seq) {
            return None;
        }
        self.newest.insert(burst, seq)
    }

    /// An event that the group has no room for yet takes the place of the one before it all the
    /// same.
    pub(crate) fn supersede_by(&mut self, event: &Event) {
        let before = self.newest.get(&self.burst_of(event)).copied();
        self.supersede(before, event.at);
    }

    /// An event of this time takes the place of the one before it, if nobody has had that.
    pub(super) fn supersede(&mut self, before: Option<Seq>, at: UnixMs) {
        let (Some(seq), Some(quiet)) = (before, self.config.debounce) else {
            return;
        };
        let gives_way = |open: &OpenEvent| {
            let nobody_had_it = open.attempts == 0 && open.row == Row::Absent;
            let held = matches!(open.phase, Phase::InFlight { .. });
            nobody_had_it && !held && at < open.at.after(quiet)
        };
        if self.open.get(&seq).is_some_and(gives_way) {
            self.counts.superseded += 1;
            self.close(seq);
        }
    }

    /// Finds anew which events took the place of which, once all are there.
    pub(super) fn supersede_all(&mut self) {
        self.newest.clear();
        let opened = self.open.iter();
        let opened: Vec<_> = opened
            .map(|(seq, open)| (*seq, open.burst, open.at))
            .collect();
        for (seq, burst, at) in opened {
            let before = self.note_newest(seq, burst);
            self.supersede(before, at);
        }
    }

    /// When a batch is given although it is not full, for this event.
    pub(super) fn ripe_at(&self, open: &OpenEvent) -> Option<UnixMs> {
        let wait = self.config.batch?.wait;
        let quiet = self.config.debounce.unwrap_or_default();
        Some(open.at.after(quiet).after(wait))
    }

    /// Hands out one batch if there is one for a replica.
    pub(super) fn pull_batch(
        &mut self,
        batch: Batch,
        (replica, lanes): (u32, &[usize]),
        now: UnixMs,
        names: &mut Source,
    ) -> Vec<Handed> {
        let size = usize::try_from(batch.size).unwrap_or(usize::MAX).max(1);
        let ready = self.ready_in(lanes, size, now);
        let opened = ready.iter().filter_map(|seq| self.open.get(seq));
        let ripe = opened.filter_map(|open| self.ripe_at(open)).min();
        if ready.len() < size && ripe.is_none_or(|ripe| ripe > now) {
            return Vec::new();
        }
        let id = names.batch();
        let hand = |seq| self.hand(seq, (replica, Some(id)), now, names.take());
        ready.into_iter().filter_map(hand).collect()
    }

    /// The first events that are ready, at most so many. Those that have expired are settled.
    fn ready_in(&mut self, lanes: &[usize], most: usize, now: UnixMs) -> Vec<Seq> {
        loop {
            let firsts = lanes.iter().flat_map(|lane| self.lanes[*lane].iter());
            let mut ready: Vec<Seq> = match lanes {
                [_only] => firsts.take(most).copied().collect(),
                _ => firsts.copied().collect(),
            };
            ready.sort_unstable();
            ready.truncate(most);
            let (expired, ready): (Vec<_>, Vec<_>) = ready
                .into_iter()
                .partition(|seq| self.has_expired(*seq, now));
            if expired.is_empty() {
                return ready;
            }
            for seq in expired {
                self.counts.expired += 1;
                self.close(seq);
            }
        }
    }

    /// Pieces of work in the hands of a replica: a batch is one.
    pub(super) fn pieces(&self, member: &MemberState) -> usize {
        let pieces: BTreeSet<u64> = (member.held.iter())
            .map(|(lease, seq)| self.batch_of(*seq).map_or(lease.0, |batch| batch.0))
            .collect();
        pieces.len()
    }

    /// What a replica holds of a batch.
    pub(crate) fn held_of(&self, batch: BatchId, replica: u32) -> Vec<(LeaseId, Seq)> {
        let mut held = self.held(replica);
        held.retain(|(_lease, seq)| self.batch_of(*seq) == Some(batch));
        held
    }

    fn batch_of(&self, seq: Seq) -> Option<BatchId> {
        match self.open.get(&seq)?.phase {
            Phase::InFlight { batch, .. } => batch,
            Phase::Blocked | Phase::Ready | Phase::Waiting { .. } => None,
        }
    }
}
