//! What a step carries through the machines: the time, the actions so far, and what the fleet hands out.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::action::{Action, Announcement, Answer, Happened};
use crate::clock::{Mono, Now};
use crate::gates::Gates;
use crate::id::{RunId, Ticket};
use crate::name::AgentName;
use crate::order::Order;
use crate::random::Random;
use crate::record::{Record, RecordId};
use crate::refusal::Refusal;

/// One step as seen by a machine.
pub(crate) struct Context<'a> {
    /// When the step happens.
    pub now: Now,
    /// What is to be done, in order.
    pub out: &'a mut Vec<Action>,
    /// What is handed out once only.
    pub source: &'a mut Source,
}

/// What the fleet hands out: random numbers, ids of records with the agent that waits for them, and
/// what is known of outages.
#[derive(Debug)]
pub(crate) struct Source {
    random: Random,
    last_record: u64,
    waiting: BTreeMap<RecordId, AgentName>,
    pub gates: Gates,
}

impl Source {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            last_record: 0,
            waiting: BTreeMap::new(),
            gates: Gates::default(),
        }
    }

    /// The gates, and what decides who passes when.
    pub(crate) const fn gates(&mut self) -> (&mut Gates, &mut Random) {
        (&mut self.gates, &mut self.random)
    }

    /// Who waits for the record; nobody is told twice.
    pub(crate) fn take_waiting(&mut self, record: RecordId) -> Option<AgentName> {
        self.waiting.remove(&record)
    }
}

impl Context<'_> {
    /// The monotonic time of this step.
    pub(crate) const fn mono(&self) -> Mono {
        self.now.mono
    }

    /// The point `span` from now.
    pub(crate) fn after(&self, span: Duration) -> Mono {
        self.now.mono + span
    }

    /// Writes down; nobody waits for the answer.
    pub(crate) fn record(&mut self, record: Record) {
        self.out.push(Action::Record { id: None, record });
    }

    /// Writes down; the answer goes to `agent`.
    pub(crate) fn record_for(&mut self, agent: &AgentName, record: Record) -> RecordId {
        self.source.last_record += 1;
        let id = RecordId(self.source.last_record);
        self.source.waiting.insert(id, agent.clone());
        self.out.push(Action::Record {
            id: Some(id),
            record,
        });
        id
    }

    /// Nobody waits for the answer to this record any more.
    pub(crate) fn expect_no_more(&mut self, id: RecordId) {
        self.source.take_waiting(id);
    }

    /// Tells a driver.
    pub(crate) fn order(&mut self, order: Order) {
        self.out.push(Action::Order(order));
    }

    /// Answers a waiter.
    pub(crate) fn reply(&mut self, ticket: Ticket, result: Result<Answer, Refusal>) {
        self.out.push(Action::Reply { ticket, result });
    }

    /// Tells the world.
    pub(crate) fn announce(&mut self, agent: &AgentName, happened: Happened) {
        self.out.push(Action::Announce(Announcement {
            at: self.now.wall,
            agent: agent.clone(),
            happened,
        }));
    }

    /// Tells the world of a fact that was ignored.
    pub(crate) fn stale(&mut self, agent: &AgentName, detail: String) {
        self.announce(agent, Happened::StaleFact { detail });
    }

    /// A random number.
    pub(crate) const fn random(&mut self) -> u64 {
        self.source.random.draw()
    }

    /// A fresh run id.
    pub(crate) fn run_id(&mut self) -> RunId {
        let unix_ms = u64::try_from(self.now.wall.as_millisecond()).unwrap_or(0);
        RunId::new(unix_ms, self.source.random.draw_wide())
    }
}
