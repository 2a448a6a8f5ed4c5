//! The work of an agent on its way through its endpoint: given by the core, taken by a poll, settled.

use std::time::Duration;

use claw_core::order::RunContext;
use claw_core::run::Run;
use claw_core::{Generation, RunId, RunPhase, Wall};
use claw_store::bus::{Delivery, Held};
use tokio::time::Instant;

use super::endpoint::{Endpoint, Hold};
use super::message::Message;
use super::origin::in_hand;
use super::session::{Flow, Given, Handshake, Taken};

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
                session.leases.extend(events.iter().map(in_hand));
            }
            waits
        });
        taken == Some(true)
    }

    /// An event or a batch is settled, so there is room for other work.
    pub(super) fn settled(&self, generation: Generation, settled: Held) {
        self.with(generation, |session| match settled {
            Held::One(lease) => {
                session.leases.remove(&lease);
            }
            Held::Batch(batch) => {
                session.leases.retain(|_, held| held.batch != Some(batch));
            }
        });
        self.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use claw_core::run::{Run, RunOutcome, Trigger};
    use claw_store::bus::{Attributes, BatchId, Event, LeaseId};
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
            image: None,
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
            batch: None,
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

    #[test]
    fn a_batch_is_one_piece_of_work_until_the_last_of_it_is_settled() {
        let endpoint = busy(&run());
        let Opened::Poll(poll) = endpoint.open_poll(LIFE, None) else {
            panic!("the agent lives");
        };
        let batch = Some(BatchId(5));
        let events = [5, 6, 7].map(|lease| Delivery {
            batch,
            ..delivery(lease)
        });
        assert!(endpoint.take_events((LIFE, poll), &events));
        let pieces = || endpoint.with(LIFE, |session| session.busy());
        assert_eq!(pieces(), Some(2), "beside the run");
        endpoint.settled(LIFE, Held::One(LeaseId(5)));
        assert_eq!(pieces(), Some(2));
        endpoint.settled(LIFE, Held::Batch(BatchId(5)));
        assert_eq!(pieces(), Some(1));
    }
}
