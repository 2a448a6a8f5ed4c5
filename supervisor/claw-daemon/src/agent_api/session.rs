//! One life of an agent, as its socket knows it. Owned by its [`Endpoint`](super::endpoint::Endpoint).
//!
//! ```text
//!   Pending ──hello──► Greeted ──ready──► Ready
//!   Expected ──hello──┘                     ▲
//!   Pending ── asks for work without hello ─┘
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use claw_core::order::RunContext;
use claw_core::redact::Redactor;
use claw_core::{AgentSpec, RunId, Wall};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::message::{Message, Messages};
use super::origin::Leases;

/// Ends of work that are remembered, so that a repeated `done` is known for what it is.
const ENDED: usize = 1024;

/// How far an agent has come in introducing itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Handshake {
    /// It has said nothing.
    Pending,
    /// It is known to say hello, and has yet to do so: an earlier supervisor heard it, or its
    /// connection broke.
    Expected,
    /// It has said hello.
    Greeted,
    /// It has said that it is ready.
    Ready,
}

/// Whether an adopted agent is still to say what it works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resumption {
    Awaited,
    NotAwaited,
}

/// Whether it may be given work, beside being ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// It may.
    Open,
    /// Its own readiness check fails, or has yet to pass for the first time.
    Unwell,
    /// It was asked to finish.
    Draining(Instant),
}

/// Whether its program has a readiness check of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OwnCheck {
    /// It says of none.
    Absent,
    /// It has one that nobody has waited for yet.
    Declared,
    /// It has one, and gets no work before that has passed once.
    Awaited,
}

/// One life.
#[derive(Debug)]
pub(super) struct Session {
    /// With which spec it was started.
    pub(super) spec: Arc<AgentSpec>,
    /// The run that it was started for, if it lives for that one alone.
    pub(super) run: Option<RunId>,
    /// Masks its secrets in what it says.
    pub(super) redactor: Option<Arc<Redactor>>,
    /// Its main process, once that is known.
    pub(super) pid: Option<u32>,
    pub(super) handshake: Handshake,
    /// What hello answered, and later requests carry.
    pub(super) id: Option<String>,
    pub(super) resumption: Resumption,
    pub(super) flow: Flow,
    pub(super) own_check: OwnCheck,
    /// The poll that is open, by number: another one ends it.
    pub(super) poll: u64,
    /// Runs that the core has delivered.
    pub(super) given: BTreeMap<RunId, Given>,
    /// Events in its hands.
    pub(super) leases: Leases,
    /// Runs that it has reported, oldest first.
    pub(super) ended: VecDeque<(RunId, u32)>,
    /// Control lines that are in force or not answered.
    pub(super) messages: Messages,
    pub(super) control: Option<mpsc::Sender<Bytes>>,
    /// Who waits for the answer to a probe.
    pub(super) probes: BTreeMap<String, oneshot::Sender<ProbeAnswer>>,
    /// Failures in a row of its own readiness check.
    pub(super) misses: u32,
    /// When the core last heard of evidence of work.
    pub(super) evidence: Option<Instant>,
}

/// A run that the core has delivered.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) context: RunContext,
    pub(super) deadline: Option<Wall>,
    pub(super) taken: Taken,
}

/// Whether the agent was told of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    Yes,
    No,
    /// It was not, and is not before the store has said that no earlier attempt was reported.
    Checking,
}

/// What an agent said to a probe.
#[derive(Debug)]
pub(super) struct ProbeAnswer {
    pub(super) ok: bool,
    pub(super) detail: Option<String>,
}

impl Session {
    pub(super) fn new(spec: Arc<AgentSpec>) -> Self {
        Self {
            redactor: Redactor::of(&spec.launch).map(Arc::new),
            spec,
            run: None,
            pid: None,
            handshake: Handshake::Pending,
            id: None,
            resumption: Resumption::NotAwaited,
            flow: Flow::Open,
            own_check: OwnCheck::Absent,
            poll: 0,
            given: BTreeMap::new(),
            leases: Leases::new(),
            ended: VecDeque::new(),
            messages: Messages::default(),
            control: None,
            probes: BTreeMap::new(),
            misses: 0,
            evidence: None,
        }
    }

    /// Takes note of what its hello says of its own readiness check.
    pub(super) fn declare_check(&mut self, said: OwnCheck) {
        self.own_check = match (said, self.own_check) {
            (OwnCheck::Declared | OwnCheck::Awaited, OwnCheck::Awaited) => OwnCheck::Awaited,
            (said, _) => said,
        };
    }

    /// Holds back work until its own readiness check has passed, once in a life. Says whether it
    /// does so from now on.
    pub(super) fn await_own_check(&mut self) -> bool {
        let begins = self.own_check == OwnCheck::Declared;
        if begins {
            self.own_check = OwnCheck::Awaited;
            self.misses = 0;
            if self.flow == Flow::Open {
                self.flow = Flow::Unwell;
            }
        }
        begins
    }

    /// Pieces of work in its hands; a batch is one.
    pub(super) fn busy(&self) -> usize {
        let taken = self
            .given
            .values()
            .filter(|given| given.taken == Taken::Yes);
        let held = self.leases.iter().map(|(lease, held)| held.piece(*lease));
        taken.count() + held.collect::<BTreeSet<_>>().len()
    }

    /// Whether there is nothing that it could work on.
    pub(super) fn is_idle(&self) -> bool {
        self.handshake != Handshake::Expected && self.given.is_empty() && self.leases.is_empty()
    }

    /// Whether it has this attempt of a run.
    pub(super) fn has(&self, run: RunId, attempt: u32) -> bool {
        let given = self.given.get(&run);
        given.is_some_and(|given| given.context.attempt == attempt)
    }

    /// Takes a run out of its hands that the core does not count as its any more.
    pub(super) fn drop_run(&mut self, run: RunId) {
        if self.given.remove(&run).is_some() {
            self.messages.drop_cancel(&run.to_string());
        }
    }

    /// Remembers that a run was reported.
    pub(super) fn note_end(&mut self, run: RunId, attempt: u32) {
        self.ended.push_back((run, attempt));
        if self.ended.len() > ENDED {
            self.ended.pop_front();
        }
    }

    /// Takes note that a run was reported. Says whether it had it.
    pub(super) fn finished(&mut self, run: RunId, attempt: u32) -> bool {
        let had = self.has(run, attempt);
        if had {
            self.drop_run(run);
            self.note_end(run, attempt);
        }
        had
    }

    /// Puts a line into force and sends it, if anybody listens. A listener that does not read is
    /// cut off: it opens a new stream and gets everything that is in force.
    pub(super) fn tell(&mut self, line: Message) -> String {
        let id = self.messages.put(line);
        self.send(&id);
        id
    }

    fn send(&mut self, id: &str) {
        let (Some(control), Some(text)) = (&self.control, self.messages.text(id)) else {
            return;
        };
        if control.try_send(text).is_err() {
            self.control = None;
        }
    }

    /// Gives the control stream to a new listener, with all that is in force.
    pub(super) fn listen(&mut self, control: mpsc::Sender<Bytes>) {
        self.control = Some(control);
        for id in self.messages.ids() {
            self.send(&id);
        }
    }
}
