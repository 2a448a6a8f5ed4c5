//! What a group knows, and how it gets to know events.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::config::{GroupConfig, Ordering};
use super::members::MemberState;
use super::ranges::Ranges;
use crate::bus::dead::DeadReason;
use crate::bus::delivery::{BatchId, Gap, LeaseId};
use crate::bus::event::{Event, Seq, SharedEvent};
use crate::bus::slot::{Sharding, first_64_bits, slot_of};
use crate::store::UnixMs;
use crate::store::limits::{GROUP_CACHE_BYTES, HOP_LIMIT, RANGES, WINDOW};

/// The state of one group.
#[derive(Debug)]
pub struct Group {
    pub(crate) config: GroupConfig,
    pub(crate) paused: bool,
    /// Everything up to here has been looked at.
    pub(crate) cursor: Seq,
    /// Settled above the floor.
    pub(crate) settled: Ranges,
    pub(crate) open: BTreeMap<Seq, OpenEvent>,
    /// Ready events by lane; a lane belongs to one replica, or the only one to all.
    pub(super) lanes: Vec<BTreeSet<Seq>>,
    /// When waits and leases end.
    pub(super) due: BTreeSet<(UnixMs, Seq)>,
    pub(super) leases: BTreeMap<LeaseId, Seq>,
    pub(super) members: BTreeMap<u32, MemberState>,
    /// Open events of a topic and key, in order; only the first may be handed out.
    pub(super) chains: HashMap<u64, VecDeque<Seq>>,
    /// The newest event of a topic and key, where that may take the place of the one before it.
    pub(super) newest: HashMap<u64, Seq>,
    /// Events above the cursor that the group takes.
    pub(crate) beyond: u64,
    pub(crate) counts: Counts,
    pub(crate) redelivered: u64,
    pub(super) turn: u32,
    pub(super) cached: usize,
    /// What has to be written, by event; a later one replaces an earlier one.
    pub(crate) unsaved: BTreeMap<Seq, Effect>,
}

/// What is counted since the group began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) expired: u64,
    pub(crate) dropped: u64,
    pub(crate) lost: u64,
    #[serde(default)]
    pub(crate) superseded: u64,
    /// Not yet told to a replica.
    pub(crate) gap: Option<(Seq, Seq, u64)>,
}

/// An event that the group has looked at and not settled.
#[derive(Debug, Clone)]
pub(crate) struct OpenEvent {
    pub(crate) at: UnixMs,
    pub(crate) expires: Option<UnixMs>,
    /// 0 where it waits for no other.
    pub(crate) chain: u64,
    /// 0 where no other takes its place.
    pub(crate) burst: u64,
    pub(crate) lane: u8,
    /// Deliveries so far.
    pub(crate) attempts: u32,
    pub(crate) phase: Phase,
    /// Something is written about it beside the group's row.
    pub(crate) row: Row,
    pub(crate) error: Option<Box<str>>,
    pub(crate) event: Option<SharedEvent>,
}

/// Whether an event has a row of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Row {
    Absent,
    Present,
}

/// Where an open event stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// One of its topic and key comes first.
    Blocked,
    Ready,
    InFlight {
        lease: LeaseId,
        batch: Option<BatchId>,
        replica: u32,
        until: UnixMs,
    },
    /// For its next attempt, or for it to be quiet.
    Waiting {
        due: UnixMs,
    },
}

/// An event in the hands of a replica, as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InFlight {
    pub(crate) seq: Seq,
    pub(crate) attempts: u32,
    pub(crate) lease: LeaseId,
    pub(crate) batch: Option<BatchId>,
    pub(crate) replica: u32,
}

/// What has to be written about an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It waits to be tried again.
    Wait {
        attempts: u32,
        due: UnixMs,
        error: Option<Box<str>>,
    },
    /// Nothing needs to be known of it any more.
    Clear,
    /// The group has given it up.
    Dead {
        at: UnixMs,
        attempts: u32,
        reason: DeadReason,
        error: Option<Box<str>>,
    },
}

/// What was known of an event when the store was opened.
#[derive(Debug, Clone)]
pub(crate) struct Recovered {
    pub(crate) attempts: u32,
    pub(crate) phase: Phase,
    pub(crate) row: Row,
    pub(crate) error: Option<Box<str>>,
}

/// What a group did with an event that it was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offered {
    /// It can be handed out, or will be when those before it are settled.
    Taken,
    /// It was counted and is looked at later.
    Later,
    /// The group does not want it.
    Passed,
}

impl Group {
    /// A group that has settled everything up to `floor`.
    #[must_use]
    pub fn new(config: GroupConfig, floor: Seq) -> Self {
        let lanes = lanes_of(&config);
        Self {
            config,
            paused: false,
            cursor: floor,
            settled: Ranges::default(),
            open: BTreeMap::new(),
            lanes: vec![BTreeSet::new(); lanes],
            due: BTreeSet::new(),
            leases: BTreeMap::new(),
            members: BTreeMap::new(),
            chains: HashMap::new(),
            newest: HashMap::new(),
            beyond: 0,
            counts: Counts::default(),
            redelivered: 0,
            turn: 0,
            cached: 0,
            unsaved: BTreeMap::new(),
        }
    }

    /// Everything up to here is settled or not the group's concern.
    #[must_use]
    pub fn floor(&self) -> Seq {
        let first = self.open.first_key_value();
        first.map_or(self.cursor, |(seq, _)| seq - 1)
    }

    /// Events that wait: neither settled nor in flight.
    #[must_use]
    pub fn pending(&self) -> u64 {
        (self.open.len() - self.leases.len()) as u64 + self.beyond
    }

    /// Events in the hands of replicas.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.leases.len() as u64
    }

    /// What is in the hands of replicas.
    pub(crate) fn flying(&self) -> impl Iterator<Item = InFlight> {
        self.leases.values().filter_map(|seq| {
            let open = self.open.get(seq)?;
            match open.phase {
                Phase::InFlight {
                    lease,
                    batch,
                    replica,
                    until: _,
                } => Some(InFlight {
                    seq: *seq,
                    attempts: open.attempts,
                    lease,
                    batch,
                    replica,
                }),
                Phase::Blocked | Phase::Ready | Phase::Waiting { .. } => None,
            }
        })
    }

    /// Shows the group the newest event.
    pub fn offer(&mut self, event: &SharedEvent, now: UnixMs) -> Offered {
        let wanted = self.config.takes(event);
        if self.beyond > 0 || !self.has_room() {
            if self.beyond == 0 {
                // What lies between was not wanted, or it would have been counted.
                self.cursor = self.cursor.max(event.seq - 1);
            }
            self.beyond += u64::from(wanted);
            return if wanted {
                self.supersede_by(event);
                Offered::Later
            } else {
                Offered::Passed
            };
        }
        self.cursor = event.seq;
        if !wanted {
            return Offered::Passed;
        }
        self.admit(event, Some(event), None, now);
        Offered::Taken
    }

    /// Shows the group an event above its cursor that it counted before.
    pub(crate) fn catch_up(&mut self, event: &SharedEvent, now: UnixMs) {
        self.cursor = event.seq;
        if self.config.takes(event) {
            self.beyond = self.beyond.saturating_sub(1);
            self.admit(event, Some(event), None, now);
        }
    }

    /// Whether the group may look at more events.
    pub(crate) fn has_room(&self) -> bool {
        self.open.len() < WINDOW && self.settled.count() < RANGES
    }

    /// Opens an event that the group wants; its data may be missing, then it is read later.
    pub(crate) fn admit(
        &mut self,
        event: &Event,
        body: Option<&SharedEvent>,
        known: Option<Recovered>,
        now: UnixMs,
    ) {
        let chain = self.chain_of(event);
        // Who redrives the end of a loop lets it through once more.
        let looping = known.is_none() && event.attributes.hop > HOP_LIMIT;
        let is_new = known.is_none();
        let known = known.unwrap_or(Recovered {
            attempts: 0,
            phase: self.fresh_phase(event.at),
            row: Row::Absent,
            error: None,
        });
        let body = body.filter(|body| self.cached + body.weight() <= GROUP_CACHE_BYTES);
        let mut open = OpenEvent {
            at: event.at,
            expires: event.expires,
            chain,
            burst: self.burst_of(event),
            lane: self.lane_of(event),
            attempts: known.attempts,
            phase: known.phase,
            row: known.row,
            error: known.error,
            event: body.cloned(),
        };
        let seq = event.seq;
        self.cached += body.map_or(0, |body| body.weight());
        if chain != 0 {
            let queue = self.chains.entry(chain).or_default();
            let place = queue.partition_point(|other| *other < seq);
            queue.insert(place, seq);
            if place > 0 && !matches!(open.phase, Phase::InFlight { .. }) {
                open.phase = Phase::Blocked;
            }
            let next = queue.get(place + 1).copied();
            self.block(next);
        }
        if looping {
            open.phase = Phase::Blocked;
            self.open.insert(seq, open);
            self.bury(seq, DeadReason::HopLimit, None, now);
            return;
        }
        self.file(seq, &open);
        let (burst, at) = (open.burst, open.at);
        self.open.insert(seq, open);
        let before = self.note_newest(seq, burst);
        if is_new {
            self.supersede(before, at);
        }
    }

    /// One of its topic and key came before it after all.
    pub(super) fn block(&mut self, seq: Option<Seq>) {
        let open = seq.and_then(|seq| Some((seq, self.open.get(&seq)?.phase)));
        match open {
            Some((seq, Phase::Ready | Phase::Waiting { .. })) => self.put(seq, Phase::Blocked),
            Some((_, Phase::Blocked | Phase::InFlight { .. })) | None => {}
        }
    }

    /// Puts an event where its phase belongs.
    pub(super) fn file(&mut self, seq: Seq, open: &OpenEvent) {
        match open.phase {
            Phase::Blocked => {}
            Phase::Ready => {
                self.lanes[usize::from(open.lane)].insert(seq);
                // Somebody is woken for a batch that is not full by then.
                if let Some(ripe) = self.ripe_at(open) {
                    self.due.insert((ripe, seq));
                }
            }
            Phase::Waiting { due } => {
                self.due.insert((due, seq));
            }
            Phase::InFlight {
                lease,
                replica,
                until,
                batch: _,
            } => {
                self.due.insert((until, seq));
                self.leases.insert(lease, seq);
                let member = self.members.entry(replica).or_default();
                member.held.insert(lease, seq);
            }
        }
    }

    /// Takes an event from where its phase has it.
    pub(super) fn unfile(&mut self, seq: Seq, open: &OpenEvent) {
        match open.phase {
            Phase::Blocked => {}
            Phase::Ready => {
                self.lanes[usize::from(open.lane)].remove(&seq);
                if let Some(ripe) = self.ripe_at(open) {
                    self.due.remove(&(ripe, seq));
                }
            }
            Phase::Waiting { due } => {
                self.due.remove(&(due, seq));
            }
            Phase::InFlight {
                lease,
                replica,
                until,
                batch: _,
            } => {
                self.due.remove(&(until, seq));
                self.leases.remove(&lease);
                if let Some(member) = self.members.get_mut(&replica) {
                    member.held.remove(&lease);
                }
            }
        }
    }

    /// Moves an event to another phase.
    pub(super) fn put(&mut self, seq: Seq, phase: Phase) {
        let Some(mut open) = self.open.remove(&seq) else {
            return;
        };
        self.unfile(seq, &open);
        open.phase = phase;
        self.file(seq, &open);
        self.open.insert(seq, open);
    }

    fn chain_of(&self, event: &Event) -> u64 {
        match (self.config.ordering, self.config.key_of(event)) {
            (Ordering::None, _) | (Ordering::Key, None) => 0,
            (Ordering::Key, Some(key)) => {
                let named = format!("{}\0{key}", event.topic);
                first_64_bits(named.as_bytes()).max(1)
            }
        }
    }

    fn lane_of(&mut self, event: &Event) -> u8 {
        let key = self.config.key_of(event);
        let text = key.as_deref().unwrap_or(&event.id);
        let lane = match &self.config.sharding {
            Sharding::None => 0,
            Sharding::Hash(_) => usize::from(slot_of(text)),
            Sharding::Range(ranges) => ranges.position(text),
            Sharding::RoundRobin(replicas) => {
                let turn = self.turn;
                self.turn = (turn + 1) % (*replicas).max(1);
                usize::try_from(turn).unwrap_or(0)
            }
        };
        u8::try_from(lane.min(self.lanes.len() - 1)).unwrap_or(0)
    }

    /// Changes what the group takes and how; events that it has looked at already stay open.
    pub(crate) fn reconfigure(&mut self, config: GroupConfig, events: &[Event]) {
        let lanes = lanes_of(&config);
        self.config = config;
        self.lanes = vec![BTreeSet::new(); lanes];
        self.due.clear();
        self.chains.clear();
        self.newest.clear();
        self.turn = 0;
        let members = std::mem::take(&mut self.members);
        self.leases.clear();
        let mut open = std::mem::take(&mut self.open);
        self.cached = 0;
        for event in events {
            let Some(known) = open.remove(&event.seq) else {
                continue;
            };
            let untouched = known.attempts == 0 && known.row == Row::Absent;
            let phase = match known.phase {
                Phase::Blocked | Phase::Ready | Phase::Waiting { .. } if untouched => {
                    self.fresh_phase(known.at)
                }
                Phase::Blocked => Phase::Ready,
                other @ (Phase::Ready | Phase::InFlight { .. } | Phase::Waiting { .. }) => other,
            };
            let known = Recovered {
                attempts: known.attempts,
                phase,
                row: known.row,
                error: known.error,
            };
            self.admit(event, None, Some(known), event.at);
        }
        self.supersede_all();
        for (replica, member) in members {
            self.members.entry(replica).or_default().readiness = member.readiness;
        }
    }

    /// Drops the oldest events that wait as long as there are more than these.
    pub(crate) fn drop_oldest(&mut self, most: u64) {
        while self.pending() > most {
            let held = |open: &OpenEvent| matches!(open.phase, Phase::InFlight { .. });
            let Some((&seq, _)) = self.open.iter().find(|(_, open)| !held(open)) else {
                return;
            };
            self.counts.dropped += 1;
            self.close(seq);
        }
    }

    /// When the oldest event that is not settled was recorded.
    pub(crate) fn oldest(&self) -> Option<UnixMs> {
        self.open.first_key_value().map(|(_seq, open)| open.at)
    }

    /// Forgets where it was and begins again behind `floor`; replicas stay known.
    pub(crate) fn restart_at(&mut self, floor: Seq, beyond: u64) {
        let fresh = Self::new(self.config.clone(), floor);
        let old = std::mem::replace(self, fresh);
        self.paused = old.paused;
        self.counts = old.counts;
        self.redelivered = old.redelivered;
        self.beyond = beyond;
        for (replica, member) in old.members {
            self.members.entry(replica).or_default().readiness = member.readiness;
        }
    }

    /// Events that the group had not settled are gone.
    pub(crate) fn lose(&mut self, gap: Gap, lost: &[Seq]) {
        for seq in lost {
            if self.open.contains_key(seq) {
                self.close(*seq);
            } else {
                self.beyond = self.beyond.saturating_sub(1);
            }
        }
        self.counts.lost += gap.lost;
        let (from, to, lost) = self.counts.gap.unwrap_or((gap.from, gap.to, 0));
        self.counts.gap = Some((from.min(gap.from), to.max(gap.to), lost + gap.lost));
    }
}

fn lanes_of(config: &GroupConfig) -> usize {
    match &config.sharding {
        Sharding::None => 1,
        Sharding::Hash(_) => 64,
        Sharding::Range(ranges) => ranges.count().clamp(1, 256),
        Sharding::RoundRobin(replicas) => usize::try_from(*replicas).map_or(1, |n| n.clamp(1, 256)),
    }
}
