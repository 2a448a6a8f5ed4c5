//! One agent's endpoint: what was given to it, what it has taken, and what is in force.
//!
//! The supervision loop lays work here and never waits; the agent's requests take it from here.
//! Nothing that is done under the lock can wait or panic half-way.

use std::collections::BTreeMap;
use std::sync::atomic::{self, AtomicBool};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use claw_core::order::RunContext;
use claw_core::{AgentName, AgentSpec, Generation, InstanceId, RunId, Wall};
use claw_store::bus::{LeaseId, Member, Subscription};
use claw_store::state::Namespace;
use tokio::sync::watch;
use tokio::time::Instant;

use super::message::Message;
use super::refusals::{BodyRoom, Pace, Refusals};
use super::series::Series;
use super::session::{Flow, Given, Handshake, Session, Taken};
use crate::config::WorkerConfig;

/// Whether the fleet lets the agent have work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    Released,
    Paused,
}

/// The endpoint of one agent.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(super) agent: AgentName,
    inside: Mutex<Inside>,
    /// Changes whenever a poll may have an answer.
    changed: watch::Sender<u64>,
    /// Held by writes that depend on what they have read.
    pub(super) writing: tokio::sync::Mutex<()>,
    pub(super) pace: Pace,
    pub(super) refusals: Refusals,
    pub(super) bodies: BodyRoom,
    pub(super) series: Series,
    /// Whether its socket is being served.
    open: AtomicBool,
}

/// What the lock guards.
#[derive(Debug)]
pub(super) struct Inside {
    pub(super) spec: Arc<AgentSpec>,
    pub(super) worker: Arc<WorkerConfig>,
    pub(super) hold: Hold,
    pub(super) sessions: BTreeMap<Generation, Session>,
    /// Events that the program itself asks for.
    pub(super) asked: Vec<Subscription>,
    /// Alerts that were told lately, by their key.
    pub(super) alerts: BTreeMap<String, (Instant, String)>,
}

/// What a poll gets.
#[derive(Debug)]
pub(super) enum Offer {
    /// Nothing, and it is over.
    Over,
    /// Nothing now.
    Wait,
    /// These runs.
    Runs(Vec<Given>),
    /// So many events, if there are any.
    Events(usize),
}

impl Endpoint {
    pub(super) fn new(agent: AgentName, spec: Arc<AgentSpec>, worker: Arc<WorkerConfig>) -> Self {
        Self {
            agent,
            inside: Mutex::new(Inside {
                spec,
                worker,
                hold: Hold::Released,
                sessions: BTreeMap::new(),
                asked: Vec::new(),
                alerts: BTreeMap::new(),
            }),
            changed: watch::Sender::new(0),
            writing: tokio::sync::Mutex::new(()),
            pace: Pace::default(),
            refusals: Refusals::default(),
            bodies: BodyRoom::default(),
            series: Series::default(),
            open: AtomicBool::new(false),
        }
    }

    /// Whether its socket has yet to be served; true once.
    pub(super) fn opens(&self) -> bool {
        !self.open.swap(true, atomic::Ordering::Relaxed)
    }

    pub(super) fn member(&self) -> Member {
        Member::new(self.agent.as_str(), 0)
    }

    pub(super) fn namespace(&self) -> Namespace {
        Namespace::agent(self.agent.as_str())
    }

    pub(super) fn instance(&self, generation: Generation) -> InstanceId {
        InstanceId {
            agent: self.agent.clone(),
            generation,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub(super) fn worker(&self) -> Arc<WorkerConfig> {
        Arc::clone(&self.lock().worker)
    }

    /// Wakes polls.
    pub(super) fn wake(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    /// Does something with a life, if the agent lives it.
    pub(super) fn with<T>(
        &self,
        generation: Generation,
        act: impl FnOnce(&mut Session) -> T,
    ) -> Option<T> {
        self.lock().sessions.get_mut(&generation).map(act)
    }

    /// A life begins, or was taken over.
    pub(super) fn begin(&self, generation: Generation, spec: Arc<AgentSpec>) {
        let session = Session::new(spec);
        self.lock().sessions.entry(generation).or_insert(session);
    }

    /// A life is over. Says whether it was there.
    pub(super) fn end(&self, generation: Generation) -> bool {
        let ended = self.lock().sessions.remove(&generation).is_some();
        self.wake();
        ended
    }

    /// The core gives a run to the agent.
    pub(super) fn deliver(
        &self,
        generation: Generation,
        context: RunContext,
        deadline: Option<Wall>,
        taken: Taken,
    ) {
        let given = Given {
            deadline,
            taken,
            context,
        };
        self.with(generation, |session| {
            session.given.insert(given.context.run, given);
        });
        self.wake();
    }

    /// The core wants a run dropped. Answers with its attempt if the agent never heard of it: then
    /// it is dropped here.
    pub(super) fn cancel(&self, generation: Generation, run: RunId) -> Option<u32> {
        self.with(generation, |session| {
            let given = session.given.get(&run)?;
            let attempt = given.context.attempt;
            match given.taken {
                Taken::No => {
                    session.given.remove(&run);
                    Some(attempt)
                }
                Taken::Yes => {
                    let work = run.to_string();
                    session.tell(Message::Cancel { work, attempt });
                    None
                }
            }
        })
        .flatten()
    }

    /// The agent is to finish. Runs that it never heard of are not begun; they are answered.
    pub(super) fn drain(&self, generation: Generation, time: Duration) -> Vec<(RunId, u32)> {
        let until = Instant::now() + time;
        let dropped = self.with(generation, |session| {
            session.flow = Flow::Draining(until);
            session.poll += 1;
            session.tell(Message::Drain { until });
            let untaken: Vec<_> = session
                .given
                .values()
                .filter(|given| given.taken == Taken::No)
                .collect();
            let untaken: Vec<_> = untaken
                .iter()
                .map(|given| (given.context.run, given.context.attempt))
                .collect();
            for (run, _) in &untaken {
                session.given.remove(run);
            }
            untaken
        });
        self.wake();
        dropped.unwrap_or_default()
    }

    /// The fleet pauses the agent, or lets it go on.
    pub(super) fn hold(&self, hold: Hold) {
        let mut inside = self.lock();
        if inside.hold == hold {
            return;
        }
        inside.hold = hold;
        for session in inside.sessions.values_mut() {
            session.poll += 1;
            session.tell(match hold {
                Hold::Paused => Message::Pause,
                Hold::Released => Message::Resume,
            });
        }
        drop(inside);
        self.wake();
    }

    /// A poll begins, and ends the one before it.
    pub(super) fn open_poll(&self, generation: Generation) -> Option<u64> {
        let number = self.with(generation, |session| {
            session.poll += 1;
            session.poll
        });
        self.wake();
        number
    }

    /// What a poll may have now. Runs count as taken from here on.
    pub(super) fn offer(&self, generation: Generation, poll: u64, max: usize) -> Offer {
        let mut inside = self.lock();
        let hold = inside.hold;
        let Some(session) = inside.sessions.get_mut(&generation) else {
            return Offer::Over;
        };
        if session.poll != poll {
            return Offer::Over;
        }
        let flows = session.flow == Flow::Open && hold == Hold::Released;
        if !flows || session.handshake != Handshake::Ready {
            return Offer::Wait;
        }
        let most = usize::try_from(session.spec.concurrency.get()).unwrap_or(usize::MAX);
        let free = most.saturating_sub(session.busy()).min(max);
        if free == 0 {
            return Offer::Wait;
        }
        let mut runs = Vec::new();
        let waiting = session.given.values_mut();
        for given in waiting.filter(|given| given.taken == Taken::No).take(free) {
            given.taken = Taken::Yes;
            runs.push(given.clone());
        }
        if runs.is_empty() {
            Offer::Events(free)
        } else {
            Offer::Runs(runs)
        }
    }

    /// Events that the agent gets now. Says whether it lives to take them.
    pub(super) fn take_events(&self, generation: Generation, leases: &[LeaseId]) -> bool {
        let taken = self.with(generation, |session| session.leases.extend(leases));
        taken.is_some()
    }

    /// An event is settled, so there is room for other work.
    pub(super) fn settled(&self, generation: Generation, lease: LeaseId) {
        self.with(generation, |session| {
            session.leases.remove(&lease);
            session.messages.drop_cancel(&lease.to_string());
        });
        self.wake();
    }
}
