//! One agent's endpoint: what was given to it, what it has taken, and what is in force.
//!
//! The supervision loop lays work here and never waits; the agent's requests take it from here.
//! Nothing that is done under the lock can wait or panic half-way.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use claw_core::order::RunContext;
use claw_core::run::Run;
use claw_core::{AgentName, AgentSpec, Generation, InstanceId, RunId, RunPhase, Wall};
use claw_store::bus::{Delivery, LeaseId, Member, Seq, Subscription};
use claw_store::state::Namespace;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::message::Message;
use super::origin::follows;
use super::refusals::{BodyRoom, Pace, Refusals};
use super::series::Series;
use super::session::{Flow, Given, Handshake, Session, Taken};
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
    /// Set once somebody looks after it as a worker.
    monitored: OnceLock<()>,
}

/// Whose socket is being served, and until when.
#[derive(Debug)]
struct Serving {
    /// As the fleet file says it.
    user: Option<String>,
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
    /// Whether its agent is gone from the configuration.
    pub(super) retired: bool,
    /// Alerts that were told lately, by their key.
    pub(super) alerts: BTreeMap<String, (Instant, String)>,
}

/// What becomes of a poll that has just come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opened {
    /// It is the one that is open, and has this number.
    Poll(u64),
    /// The session that it names is not the present one.
    SessionLost,
    /// The life that asks is over.
    Over,
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
                retired: false,
                alerts: BTreeMap::new(),
            }),
            changed: watch::Sender::new(0),
            reporting: tokio::sync::RwLock::new(()),
            pace: Pace::default(),
            refusals: Refusals::default(),
            bodies: BodyRoom::default(),
            series: Series::default(),
            monitored: OnceLock::new(),
        }
    }

    /// Whether nobody looks after it yet; true once.
    pub(super) fn needs_monitor(&self) -> bool {
        self.monitored.set(()).is_ok()
    }

    /// Whether its socket is being served as that of this user.
    pub(super) fn is_served_as(&self, user: Option<&str>) -> bool {
        let inside = self.lock();
        let serving = inside.serving.as_ref();
        serving.is_some_and(|serving| serving.user.as_deref() == user)
    }

    /// Its socket is served as that of this user from now on, until the answer says otherwise; an
    /// earlier one takes no new connections.
    pub(super) fn serve_as(
        &self,
        user: Option<String>,
        closing: &CancellationToken,
    ) -> CancellationToken {
        self.shut();
        let until = closing.child_token();
        let serving = Serving {
            user,
            until: until.clone(),
        };
        self.lock().serving = Some(serving);
        until
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

    /// Whether its agent is gone, from the configuration and from the machine.
    pub(super) fn is_let_go(&self) -> bool {
        let inside = self.lock();
        inside.retired && inside.sessions.is_empty()
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

    /// No earlier attempt of a run was reported, so it may be offered.
    pub(super) fn checked(&self, generation: Generation, run: RunId) {
        self.with(generation, |session| {
            if let Some(given) = session.given.get_mut(&run)
                && given.taken == Taken::Checking
            {
                given.taken = Taken::No;
            }
        });
        self.wake();
    }

    /// The agent never got the answer that a run was in.
    pub(super) fn offer_again(&self, generation: Generation, run: RunId) {
        self.with(generation, |session| {
            if let Some(given) = session.given.get_mut(&run) {
                given.taken = Taken::No;
            }
        });
        self.wake();
    }

    /// The core has written down where a run stands: only a life that works on it keeps it.
    pub(super) fn run_changed(&self, run: &Run) {
        let runs = matches!(run.phase, RunPhase::Running { .. });
        for (generation, session) in &mut self.lock().sessions {
            let own = runs && run.generation == Some(*generation);
            if !own || !session.has(run.id, run.attempts) {
                session.drop_run(run.id);
            }
        }
        self.wake();
    }

    /// The core wants a run dropped. Answers with its attempt if the agent never heard of it: then
    /// it is dropped here.
    pub(super) fn cancel(&self, generation: Generation, run: RunId) -> Option<u32> {
        self.with(generation, |session| {
            let given = session.given.get(&run)?;
            let attempt = given.context.attempt;
            match given.taken {
                Taken::No | Taken::Checking => {
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
                .filter(|given| given.taken != Taken::Yes)
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

    /// A poll begins, and ends the one before it. One of a session that was replaced since it was
    /// let in does not: its caller has said what it holds, and may be gone.
    pub(super) fn open_poll(&self, generation: Generation, session: Option<&str>) -> Opened {
        let opened = self.with(generation, |life| {
            if session.is_some() && life.id.as_deref() != session {
                return Opened::SessionLost;
            }
            life.poll += 1;
            Opened::Poll(life.poll)
        });
        self.wake();
        opened.unwrap_or(Opened::Over)
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

    /// Events that the agent gets now. Says whether it lives and waits for them with this poll.
    pub(super) fn take_events(
        &self,
        (generation, poll): (Generation, u64),
        events: &[Delivery],
    ) -> bool {
        let taken = self.with(generation, |session| {
            let waits = session.poll == poll;
            if waits {
                session.leases.extend(events.iter().map(follows));
            }
            waits
        });
        taken == Some(true)
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use claw_core::run::{Run, RunOutcome, Trigger};
    use claw_store::bus::{Attributes, Event};
    use claw_store::store::UnixMs;

    use super::*;
    use crate::config::{Environment, load_str};

    const LIFE: Generation = Generation(3);

    /// An endpoint of a worker that has been given a run and has taken it.
    fn busy(run: &Run) -> Endpoint {
        let text = "project: t\nversion: \"1.0\"\nagents:\n  a: {command: [x], mode: worker}\n";
        let loaded = load_str(text, Path::new("openclaw.yaml"), &Environment::with([]));
        let spec = Arc::clone(&loaded.unwrap().fleet.agents[&run.agent]);
        let endpoint = Endpoint::new(run.agent.clone(), Arc::clone(&spec), Arc::default(), None);
        endpoint.begin(LIFE, spec);
        let context = RunContext {
            run: run.id,
            trigger: run.trigger.clone(),
            attempt: run.attempts,
            payload: None,
        };
        endpoint.deliver(LIFE, context, None, Taken::Yes);
        endpoint
    }

    fn run() -> Run {
        let since = Wall::UNIX_EPOCH;
        Run {
            id: RunId::new(1, 2),
            agent: "a".parse().unwrap(),
            trigger: Trigger::Manual,
            payload: None,
            queued_at: since,
            phase: RunPhase::Running { since },
            attempts: 1,
            generation: Some(LIFE),
            log: None,
        }
    }

    fn delivery(lease: u64) -> Delivery {
        let event = Event {
            seq: lease,
            id: format!("e-{lease}"),
            source: "test".to_owned(),
            topic: "t".to_owned(),
            key: None,
            at: UnixMs(0),
            expires: None,
            data: b"null".to_vec(),
            attributes: Attributes::default(),
        };
        Delivery {
            lease: LeaseId(lease),
            attempt: 1,
            until: UnixMs(0),
            event: Arc::new(event),
        }
    }

    /// What the core has given up must neither fill its hands nor be reported.
    #[test]
    fn a_run_stays_with_the_life_that_works_on_it_and_only_as_long_as_it_does() {
        let given = run();
        let has = |changed: Run| {
            let endpoint = busy(&given);
            endpoint.run_changed(&changed);
            endpoint.with(LIFE, |session| session.busy()) == Some(1)
        };
        assert!(has(run()));
        assert!(has(Run {
            id: RunId::new(3, 4),
            attempts: 7,
            ..run()
        }));
        assert!(!has(Run {
            attempts: 2,
            ..run()
        }));
        assert!(!has(Run {
            generation: Some(Generation(4)),
            ..run()
        }));
        let outcome = RunOutcome::Succeeded;
        let (started, at) = (None, Wall::UNIX_EPOCH);
        assert!(!has(Run {
            phase: RunPhase::Finished {
                started,
                at,
                outcome
            },
            ..run()
        }));
    }

    /// The answer of a poll that was replaced goes nowhere.
    #[test]
    fn events_of_a_poll_that_is_over_are_not_taken() {
        let endpoint = busy(&run());
        let Opened::Poll(first) = endpoint.open_poll(LIFE, None) else {
            panic!("the agent lives");
        };
        let second = first + 1;
        assert_eq!(endpoint.open_poll(LIFE, None), Opened::Poll(second));
        assert!(!endpoint.take_events((LIFE, first), &[delivery(1)]));
        assert!(endpoint.take_events((LIFE, second), &[delivery(2)]));
        let held = endpoint.with(LIFE, |session| session.leases.keys().copied().collect());
        assert_eq!(held, Some(vec![LeaseId(2)]));
    }

    /// What it got would be with nobody: the hello of the new session came before it.
    #[test]
    fn a_poll_of_a_session_that_was_replaced_neither_opens_nor_ends_another() {
        let endpoint = busy(&run());
        endpoint.with(LIFE, |session| session.id = Some("s_2".to_owned()));
        let opened = endpoint.open_poll(LIFE, Some("s_2"));
        let Opened::Poll(open) = opened else {
            panic!("it is the present session: {opened:?}");
        };
        assert_eq!(endpoint.open_poll(LIFE, Some("s_1")), Opened::SessionLost);
        assert!(endpoint.take_events((LIFE, open), &[delivery(1)]));
        endpoint.end(LIFE);
        assert_eq!(endpoint.open_poll(LIFE, Some("s_2")), Opened::Over);
    }
}
