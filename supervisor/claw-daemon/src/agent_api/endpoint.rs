//! One agent's endpoint: its processes, and what is in force for them.
//!
//! The supervision loop lays work here and never waits; the agent's requests take it from here.
//! Nothing that is done under the lock can wait or panic half-way.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use claw_core::{AgentName, AgentSpec, Generation, InstanceId};
use claw_store::bus::{Member, Seq, Subscription};
use claw_store::state::Namespace;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::agent_dir::Audience;
use super::message::Message;
use super::refusals::{BodyRoom, Pace, Refusals};
use super::series::Series;
use super::session::{Flow, Session};
use crate::config::{Replica, WorkerConfig};

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
    /// The first event after it joined the fleet, if it has yet to say which ones it takes.
    pub(super) joined: Option<Seq>,
    inside: Mutex<Inside>,
    /// Changes whenever a poll may have an answer.
    changed: watch::Sender<u64>,
    /// Read by reports of work until the core has heard of them, written by what may only be
    /// decided between two of them.
    pub(super) reporting: tokio::sync::RwLock<()>,
    pub(super) pace: Pace,
    pub(super) refusals: Refusals,
    pub(super) bodies: BodyRoom,
    pub(super) series: Series,
}

/// Where it stands towards the configuration. Changed by [`Endpoints`](super::endpoints::Endpoints)
/// alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Membership {
    /// The configuration names its agent.
    Member,
    /// It does not any more, and a process of it may still live.
    Retired,
    /// That is over as well. It comes back never; an agent of its name gets another endpoint.
    Gone,
}

/// Whose socket is being served, and until when.
#[derive(Debug)]
struct Serving {
    audience: Audience,
    until: CancellationToken,
}

/// What the lock guards.
#[derive(Debug)]
pub(super) struct Inside {
    pub(super) spec: Arc<AgentSpec>,
    pub(super) worker: Arc<WorkerConfig>,
    /// Its place among its kind.
    pub(super) replica: Replica,
    pub(super) hold: Hold,
    pub(super) sessions: BTreeMap<Generation, Session>,
    /// Events that the program itself asks for.
    pub(super) asked: Vec<Subscription>,
    /// The last life that has said hello.
    pub(super) greeted: Option<Generation>,
    serving: Option<Serving>,
    pub(super) membership: Membership,
    /// Alerts that were told lately, by their key.
    pub(super) alerts: BTreeMap<String, (Instant, String)>,
}

impl Endpoint {
    pub(super) fn new(
        agent: AgentName,
        spec: Arc<AgentSpec>,
        worker: Arc<WorkerConfig>,
        joined: Option<Seq>,
    ) -> Self {
        let replica = Replica::only(&agent);
        Self {
            agent,
            joined,
            inside: Mutex::new(Inside {
                spec,
                worker,
                replica,
                hold: Hold::Released,
                sessions: BTreeMap::new(),
                asked: Vec::new(),
                greeted: None,
                serving: None,
                membership: Membership::Member,
                alerts: BTreeMap::new(),
            }),
            changed: watch::Sender::new(0),
            reporting: tokio::sync::RwLock::new(()),
            pace: Pace::default(),
            refusals: Refusals::default(),
            bodies: BodyRoom::default(),
            series: Series::default(),
        }
    }

    /// Whether its socket is being served.
    pub(super) fn is_served(&self) -> bool {
        self.lock().serving.is_some()
    }

    /// Whether its socket is being served for these.
    pub(super) fn is_served_for(&self, audience: &Audience) -> bool {
        let inside = self.lock();
        let serving = inside.serving.as_ref();
        serving.is_some_and(|serving| serving.audience == *audience)
    }

    /// Its socket is served for these from now on, until the answer says otherwise; an earlier one
    /// takes no new connections. `None`: it is gone, and is served no more.
    pub(super) fn serve_for(
        &self,
        audience: Audience,
        closing: &CancellationToken,
    ) -> Option<CancellationToken> {
        self.shut();
        let mut inside = self.lock();
        if inside.membership == Membership::Gone {
            return None;
        }
        let until = closing.child_token();
        inside.serving = Some(Serving {
            audience,
            until: until.clone(),
        });
        Some(until)
    }

    /// Takes no new connections any more.
    pub(super) fn shut(&self) {
        if let Some(serving) = self.lock().serving.take() {
            serving.until.cancel();
        }
    }

    pub(super) fn member(&self) -> Member {
        let inside = self.lock();
        Member::new(inside.replica.group.as_str(), inside.replica.index)
    }

    /// Its name towards others: the one in the fleet file, which all replicas share.
    pub(super) fn identity(&self) -> AgentName {
        self.lock().replica.group.clone()
    }

    pub(super) fn namespace(&self) -> Namespace {
        Namespace::agent(self.identity().as_str())
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

    pub(super) fn is_gone(&self) -> bool {
        self.lock().membership == Membership::Gone
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
        self.wake();
    }

    /// A life is over. Answers with what is left of it, if it was there.
    pub(super) fn end(&self, generation: Generation) -> Option<Session> {
        let ended = self.lock().sessions.remove(&generation);
        self.wake();
        ended
    }

    /// The agent is to end, as its main process is told by a signal; behind a shell or another
    /// program that does not pass signals on it hears of it only here.
    pub(super) fn stop(&self, generation: Generation) {
        self.with(generation, |session| {
            let until = Instant::now() + session.spec.shutdown.timeout;
            session.flow = Flow::Draining(until);
            session.poll += 1;
            session.tell(Message::Stop { until });
        });
        self.wake();
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
}
