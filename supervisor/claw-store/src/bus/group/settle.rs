//! What becomes of an event after it was handed out.

use super::retry::Jitter;
use super::state::{Effect, Group, OpenEvent, Phase, Recovered, Row};
use crate::bus::dead::DeadReason;
use crate::bus::delivery::{LeaseId, Settle, Settled};
use crate::bus::event::{Event, Seq};
use crate::store::UnixMs;

impl Group {
    /// The event of a lease, if this replica holds it.
    pub(crate) fn leased(&self, lease: LeaseId, replica: u32) -> Option<Seq> {
        let seq = *self.leases.get(&lease)?;
        match self.open.get(&seq)?.phase {
            Phase::InFlight {
                replica: holder, ..
            } if holder == replica => Some(seq),
            Phase::InFlight { .. } | Phase::Blocked | Phase::Ready | Phase::Waiting { .. } => None,
        }
    }

    /// Settles an event in flight.
    pub(crate) fn settle(
        &mut self,
        seq: Seq,
        settle: Settle,
        now: UnixMs,
        jitter: &mut Jitter,
    ) -> Settled {
        let attempts = self.open.get(&seq).map_or(0, |open| open.attempts);
        match settle {
            Settle::Ack => {
                self.close(seq);
                Settled::Done
            }
            Settle::Terminate { error } => {
                self.bury(seq, DeadReason::Terminated, Some(error.into()), now);
                Settled::Dead
            }
            Settle::Nak { delay: _, error } if self.config.retry.is_spent(attempts) => {
                self.bury(seq, DeadReason::MaxAttempts, Some(error.into()), now);
                Settled::Dead
            }
            Settle::Nak { delay, error } => {
                let delay = delay.unwrap_or_else(|| self.config.retry.delay(attempts, jitter));
                let due = now.after(delay);
                self.wait(seq, due, Some(error.into()));
                Settled::Again { due }
            }
            Settle::Return => {
                if let Some(open) = self.open.get_mut(&seq) {
                    open.attempts = attempts.saturating_sub(1);
                }
                self.put(seq, Phase::Ready);
                Settled::Again { due: now }
            }
        }
    }

    /// The process of a replica is gone.
    pub(crate) fn release(&mut self, replica: u32, now: UnixMs) {
        for (_lease, seq) in self.held(replica) {
            self.drop_lease(seq, now);
        }
        self.members.remove(&replica);
    }

    /// Nobody who held something is there any more.
    pub(crate) fn release_all(&mut self, now: UnixMs) {
        let replicas: Vec<u32> = self.members.keys().copied().collect();
        for replica in replicas {
            self.release(replica, now);
        }
    }

    /// Ends the lease of an event whose holder is gone: the attempt counts.
    pub(crate) fn drop_lease(&mut self, seq: Seq, now: UnixMs) {
        let Some(open) = self.open.get(&seq) else {
            return;
        };
        if self.config.retry.is_spent(open.attempts) {
            let error = open.error.clone();
            self.bury(seq, DeadReason::Crashed, error, now);
        } else {
            let (attempts, error) = (open.attempts, open.error.clone());
            self.note(seq, attempts, now, error);
            self.put(seq, Phase::Ready);
        }
    }

    /// Ends leases and waits whose time has come; whether there were any.
    pub(crate) fn expire(&mut self, now: UnixMs) -> Changed {
        let mut changed = Changed::No;
        while let Some((due, seq)) = self.due.first().copied()
            && due <= now
        {
            match self.open.get(&seq).map(|open| open.phase) {
                Some(Phase::InFlight { .. }) => self.drop_lease(seq, now),
                Some(Phase::Waiting { .. }) => self.put(seq, Phase::Ready),
                Some(Phase::Blocked | Phase::Ready) | None => {
                    self.due.remove(&(due, seq));
                }
            }
            changed = Changed::Yes;
        }
        changed
    }

    /// When something will be due.
    pub(crate) fn deadline(&self) -> Option<UnixMs> {
        self.due.first().map(|(due, _seq)| *due)
    }

    fn wait(&mut self, seq: Seq, due: UnixMs, error: Option<Box<str>>) {
        let attempts = self.open.get(&seq).map_or(0, |open| open.attempts);
        self.note(seq, attempts, due, error);
        self.put(seq, Phase::Waiting { due });
    }

    /// Writes down how often an event was delivered.
    fn note(&mut self, seq: Seq, attempts: u32, due: UnixMs, error: Option<Box<str>>) {
        if let Some(open) = self.open.get_mut(&seq) {
            open.row = Row::Present;
            open.error.clone_from(&error);
        }
        let wait = Effect::Wait {
            attempts,
            due,
            error,
        };
        self.unsaved.insert(seq, wait);
    }

    /// Gives an event up.
    pub(super) fn bury(
        &mut self,
        seq: Seq,
        reason: DeadReason,
        error: Option<Box<str>>,
        at: UnixMs,
    ) {
        let attempts = self.open.get(&seq).map_or(0, |open| open.attempts);
        self.close(seq);
        let dead = Effect::Dead {
            at,
            attempts,
            reason,
            error,
        };
        self.unsaved.insert(seq, dead);
    }

    /// An event is settled, one way or the other.
    pub(crate) fn close(&mut self, seq: Seq) {
        let Some(open) = self.open.remove(&seq) else {
            return;
        };
        self.unfile(seq, &open);
        if let Some(event) = &open.event {
            self.cached -= event.weight();
        }
        if open.row == Row::Present {
            self.unsaved.insert(seq, Effect::Clear);
        }
        if self.newest.get(&open.burst) == Some(&seq) {
            self.newest.remove(&open.burst);
        }
        self.mark_settled(seq);
        self.leave_chain(seq, open.chain);
    }

    /// All numbers around a settled one that are not open are settled too.
    fn mark_settled(&mut self, seq: Seq) {
        let before = self.open.range(..seq).next_back().map(|(seq, _)| *seq);
        let after = self.open.range(seq..).next().map(|(seq, _)| *seq);
        match before {
            None => self.settled.forget_to(self.floor()),
            Some(before) => {
                let last = after.map_or(self.cursor, |after| after - 1);
                self.settled.insert(before + 1, last);
            }
        }
    }

    fn leave_chain(&mut self, seq: Seq, chain: u64) {
        let Some(queue) = self.chains.get_mut(&chain) else {
            return;
        };
        queue.retain(|other| *other != seq);
        match queue.front().copied() {
            None => {
                self.chains.remove(&chain);
            }
            Some(next) => match self.open.get(&next) {
                Some(open) if open.phase == Phase::Blocked => {
                    let phase = match open.attempts {
                        0 => self.fresh_phase(open.at),
                        _ => Phase::Ready,
                    };
                    self.put(next, phase);
                }
                Some(_) | None => {}
            },
        }
    }

    /// Forgets an event without a trace, because it is opened again as it was.
    pub(crate) fn forget_open(&mut self, seq: Seq) {
        let unsaved = self.unsaved.remove(&seq);
        self.close(seq);
        self.unsaved.remove(&seq);
        self.unsaved.extend(unsaved.map(|effect| (seq, effect)));
    }

    /// Opens an event again that the group had given up, as if it were new.
    pub(crate) fn redrive(&mut self, event: &Event, now: UnixMs) {
        if event.seq > self.cursor || self.open.contains_key(&event.seq) {
            return;
        }
        let floor = self.floor();
        self.settled.remove(event.seq);
        if event.seq < floor {
            self.settled.insert(event.seq + 1, floor);
        }
        let known = Recovered {
            attempts: 0,
            phase: Phase::Ready,
            row: Row::Present,
            error: None,
        };
        self.admit(event, None, Some(known), now);
    }

    /// Opens a settled event again, as it was, when its settling could not be stored.
    pub(crate) fn reopen(&mut self, seq: Seq, open: OpenEvent) {
        let floor = self.floor();
        self.settled.remove(seq);
        if seq < floor {
            self.settled.insert(seq + 1, floor);
        }
        let mut open = open;
        if let Some(event) = &open.event {
            self.cached += event.weight();
        }
        if open.chain != 0 {
            let queue = self.chains.entry(open.chain).or_default();
            let place = queue.partition_point(|other| *other < seq);
            queue.insert(place, seq);
            let next = queue.get(place + 1).copied();
            if place > 0 && open.phase == Phase::Ready {
                open.phase = Phase::Blocked;
            }
            self.block(next);
        }
        self.file(seq, &open);
        self.open.insert(seq, open);
    }
}

/// Whether something changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Changed {
    Yes,
    No,
}
