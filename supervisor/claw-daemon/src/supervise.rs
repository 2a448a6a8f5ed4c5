//! The supervision loop: one task that owns the fleet.
//!
//! It awaits its inbox and the fleet's next deadline, and nothing else. What
//! the core decides is handed to its owners by `perform.rs`, which never
//! waits either, so no slow disk, driver or client can hold up a restart.

use std::sync::Arc;
use std::vec;

use claw_core::event::ShutdownMode;
use claw_core::fleet::Fleet;
use claw_core::{Action, Answer, Command, Event, Fact, FleetSpec, Now, Refusal};
use claw_drivers::Driver;
use claw_store::journal::Ack;
use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::http::ports::AskError;
use crate::perform::{Performed, Performer};

/// Requests waiting for the loop. More than this and callers wait their turn: a step takes
/// microseconds, so a full inbox means thousands of calls within one of them.
pub const INBOX: usize = 1024;

/// Facts waiting for the loop; a driver with more waits.
pub const FACTS: usize = 8192;

/// Where an answer goes.
pub type Reply = oneshot::Sender<Result<Answer, Refusal>>;
type Look = Box<dyn FnOnce(&Fleet, Now) + Send>;

enum Request {
    Ask(Command, Reply),
    Configure(Arc<FleetSpec>, Reply),
    Inspect(Look),
    Shutdown(ShutdownMode),
}

/// Asks the supervision loop; cheap to clone.
#[derive(Clone)]
pub struct Handle {
    requests: mpsc::Sender<Request>,
}

impl Handle {
    /// Asks for something and waits for the core's answer.
    ///
    /// # Errors
    ///
    /// The core's refusal, or that the supervisor has ended.
    pub async fn ask(&self, command: Command) -> Result<Answer, AskError> {
        self.request(|reply| Request::Ask(command, reply)).await
    }

    /// Puts a new configuration in force.
    ///
    /// # Errors
    ///
    /// The core's refusal, or that the supervisor has ended.
    pub async fn configure(&self, fleet: Arc<FleetSpec>) -> Result<Answer, AskError> {
        self.request(|reply| Request::Configure(fleet, reply)).await
    }

    /// Looks at the fleet between two steps.
    ///
    /// # Errors
    ///
    /// That the supervisor has ended.
    pub async fn inspect<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Fleet, Now) -> T + Send + 'static,
    ) -> Result<T, AskError> {
        let (sender, receiver) = oneshot::channel();
        let look = Box::new(move |fleet: &Fleet, now| {
            // The caller may have gone away while the request waited; nobody misses the answer.
            drop(sender.send(look(fleet, now)));
        });
        self.requests
            .send(Request::Inspect(look))
            .await
            .map_err(|_closed| AskError::Gone)?;
        receiver.await.map_err(|_closed| AskError::Gone)
    }

    /// Asks the supervisor to end. It is no error if it already has.
    pub async fn shutdown(&self, mode: ShutdownMode) {
        drop(self.requests.send(Request::Shutdown(mode)).await);
    }

    async fn request(&self, make: impl FnOnce(Reply) -> Request) -> Result<Answer, AskError> {
        let (sender, receiver) = oneshot::channel();
        self.requests
            .send(make(sender))
            .await
            .map_err(|_closed| AskError::Gone)?;
        Ok(receiver.await.map_err(|_closed| AskError::Gone)??)
    }
}

/// The receiving ends of everything that reaches the loop.
pub struct Inbox {
    requests: mpsc::Receiver<Request>,
    facts: mpsc::Receiver<Fact>,
    acks: mpsc::UnboundedReceiver<Vec<Ack>>,
    /// Of the acknowledgements that came together, those not yet taken.
    acked: vec::IntoIter<Ack>,
}

/// The sending ends for those who have something to tell.
pub struct Senders {
    /// What drivers and agents' sockets see.
    pub facts: mpsc::Sender<Fact>,
    /// What the journal has written, one commit at a time: each wakes the loop once. No more than
    /// what was handed to it comes back.
    pub acks: mpsc::UnboundedSender<Vec<Ack>>,
}

/// Makes the inbox: the handle for people, the senders for drivers and the journal.
#[must_use]
pub fn inbox() -> (Handle, Senders, Inbox) {
    let (requests_in, requests) = mpsc::channel(INBOX);
    let (facts_in, facts) = mpsc::channel(FACTS);
    let (acks_in, acks) = mpsc::unbounded_channel();
    let handle = Handle {
        requests: requests_in,
    };
    let senders = Senders {
        facts: facts_in,
        acks: acks_in,
    };
    let inbox = Inbox {
        requests,
        facts,
        acks,
        acked: Vec::new().into_iter(),
    };
    (handle, senders, inbox)
}

/// Runs the fleet until every agent is down, or left alone, after a shutdown was asked for.
pub(crate) async fn supervise(
    mut fleet: Fleet,
    first: Vec<Action>,
    mut inbox: Inbox,
    mut performer: Performer<impl Driver>,
    clock: Clock,
) {
    let mut done = performer.perform(first);
    let mut next_ticket = 0;
    while done == Performed::GoOn {
        let event = match inbox.next(&fleet, clock).await {
            Arrived::Tick => Event::Tick,
            Arrived::Fact(fact) => Event::Fact(fact),
            Arrived::Request(Request::Inspect(look)) => {
                look(&fleet, clock.now());
                continue;
            }
            Arrived::Request(Request::Shutdown(mode)) => Event::Shutdown(mode),
            Arrived::Request(Request::Ask(command, reply)) => {
                let ticket = performer.expect(&mut next_ticket, reply);
                Event::Command { ticket, command }
            }
            Arrived::Request(Request::Configure(fleet, reply)) => {
                let ticket = performer.expect(&mut next_ticket, reply);
                Event::Configure { ticket, fleet }
            }
        };
        let started = clock.now();
        let actions = fleet.step(started, event);
        performer.stepped(clock.now().mono.since(started.mono), inbox.depth());
        done = performer.perform(actions);
    }
}

enum Arrived {
    Tick,
    Fact(Fact),
    Request(Request),
}

impl Inbox {
    /// Requests and facts that wait.
    fn depth(&self) -> usize {
        self.requests.len() + self.facts.len() + self.acked.len()
    }

    async fn next(&mut self, fleet: &Fleet, clock: Clock) -> Arrived {
        let deadline = fleet.deadline().map(|(at, _why)| clock.instant(at));
        loop {
            if let Some(ack) = self.acked.next() {
                return Arrived::Fact(fact_of(ack));
            }
            tokio::select! {
                () = sleep_until(deadline) => return Arrived::Tick,
                Some(acks) = self.acks.recv() => self.acked = acks.into_iter(),
                Some(fact) = self.facts.recv() => return Arrived::Fact(fact),
                Some(request) = self.requests.recv() => return Arrived::Request(request),
            }
        }
    }
}

fn fact_of(Ack { id, result }: Ack) -> Fact {
    match result {
        Ok(()) => Fact::Recorded(id),
        Err(reason) => Fact::RecordFailed { record: id, reason },
    }
}

async fn sleep_until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
