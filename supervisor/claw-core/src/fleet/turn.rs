//! One step in the making: the time, the actions so far, and what follows from them.

use std::collections::VecDeque;

use crate::action::{Action, Announcement, Happened};
use crate::agent::context::{Context, Source};
use crate::clock::Now;
use crate::id::Ticket;
use crate::name::AgentName;
use crate::order::Order;
use crate::record::Record;
use crate::refusal::Refusal;

/// One step of the fleet.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) now: Now,
    pub(super) out: Vec<Action>,
    pub(super) todo: VecDeque<Todo>,
}

/// What follows from a visit to an agent.
#[derive(Debug)]
pub(super) enum Todo {
    /// See whether all it depends on is there.
    CheckDependencies(AgentName),
    /// Nothing of it runs any more.
    AtRest(AgentName),
    /// Its halt is over.
    LetGo(AgentName),
    /// See whose turn it is to take over another configuration, in the group of this number.
    Roll(usize),
}

impl Turn {
    pub(super) const fn new(now: Now) -> Self {
        Self {
            now,
            out: Vec::new(),
            todo: VecDeque::new(),
        }
    }

    pub(super) const fn context<'a>(&'a mut self, source: &'a mut Source) -> Context<'a> {
        Context {
            now: self.now,
            out: &mut self.out,
            source,
        }
    }

    pub(super) fn record(&mut self, record: Record) {
        self.out.push(Action::Record { id: None, record });
    }

    pub(super) fn order(&mut self, order: Order) {
        self.out.push(Action::Order(order));
    }

    pub(super) fn refuse(&mut self, ticket: Ticket, refusal: Refusal) {
        self.out.push(Action::Reply {
            ticket,
            result: Err(refusal),
        });
    }

    pub(super) fn stale(&mut self, agent: AgentName, detail: String) {
        self.out.push(Action::Announce(Announcement {
            at: self.now.wall,
            agent,
            happened: Happened::StaleFact { detail },
        }));
    }
}
