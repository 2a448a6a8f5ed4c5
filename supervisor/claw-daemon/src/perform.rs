//! Hands each of the core's actions to its owner, in order, waiting for none.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use claw_core::action::Happened;
use claw_core::{Action, Announcement, PublicState, Ticket};
use claw_drivers::Driver;
use claw_store::journal::{Entry, Journal};

use crate::feed::Feed;
use crate::supervise::Reply;
use crate::telemetry::metrics::Metrics;

/// Whether the loop goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Performed {
    /// It does.
    GoOn,
    /// Every agent is down, or left alone: the supervisor may end.
    AllStopped,
}

/// The owners of everything the core may want done.
pub struct Performer<D> {
    /// Runs instances.
    pub driver: Arc<D>,
    /// Keeps what must outlive us.
    pub journal: Journal,
    /// Tells the world.
    pub feed: Feed,
    /// Counts.
    pub metrics: Metrics,
    waiting: BTreeMap<Ticket, Reply>,
}

impl<D: Driver> Performer<D> {
    /// Brings the owners together.
    #[must_use]
    pub fn new(driver: Arc<D>, journal: Journal, feed: Feed, metrics: Metrics) -> Self {
        Self {
            driver,
            journal,
            feed,
            metrics,
            waiting: BTreeMap::new(),
        }
    }

    /// Remembers who waits, under a fresh ticket.
    pub fn expect(&mut self, last_ticket: &mut u64, reply: Reply) -> Ticket {
        *last_ticket += 1;
        let ticket = Ticket(*last_ticket);
        self.waiting.insert(ticket, reply);
        ticket
    }

    /// Notes how long a step of the core took, and how much waits for the next.
    pub fn stepped(&self, took: Duration, waiting: usize) {
        self.metrics.observe_step(took);
        self.metrics.set_inbox_depth(waiting);
    }

    /// Carries the actions out.
    pub fn perform(&mut self, actions: Vec<Action>) -> Performed {
        let mut performed = Performed::GoOn;
        for action in actions {
            match action {
                Action::Record { id, record } => self.journal.append(Entry { id, record }),
                Action::Order(order) => self.driver.order(order),
                Action::Reply { ticket, result } => {
                    if let Some(reply) = self.waiting.remove(&ticket) {
                        // Whoever asked may have hung up; the deed is done all the same.
                        drop(reply.send(result));
                    }
                }
                Action::Announce(announcement) => self.announce(announcement),
                Action::AllStopped => performed = Performed::AllStopped,
            }
        }
        performed
    }

    fn announce(&self, announcement: Announcement) {
        log(&announcement);
        self.metrics.observe(&announcement);
        self.feed.publish(announcement);
    }
}

/// One line of the supervisor's own log for what a user cares about.
fn log(announcement: &Announcement) {
    let agent = announcement.agent.as_str();
    match &announcement.happened {
        Happened::StateChanged {
            state: PublicState::Error,
            reason,
            ..
        } => {
            tracing::warn!(
                agent,
                state = "error",
                reason = reason.code(),
                "agent failed"
            );
        }
        Happened::StateChanged {
            state,
            ready,
            reason,
        } => {
            tracing::info!(
                agent,
                state = state.as_str(),
                ready,
                reason = reason.code(),
                "agent is {state}"
            );
        }
        Happened::Started { instance, pid } => {
            tracing::info!(agent, instance = %instance, pid, "agent started");
        }
        Happened::Adopted { instance, pid } => {
            tracing::info!(agent, instance = %instance, pid, "running agent taken over");
        }
        Happened::Ended {
            instance,
            cause,
            failed: true,
        } => {
            tracing::warn!(agent, instance = %instance, cause = cause.code(), "agent {cause}");
        }
        Happened::Ended {
            instance,
            cause,
            failed: false,
        } => {
            tracing::info!(agent, instance = %instance, cause = cause.code(), "agent {cause}");
        }
        Happened::ProbeFailed {
            probe,
            detail,
            consecutive,
        } => {
            tracing::warn!(agent, probe = %probe, consecutive, "probe failed: {detail}");
        }
        Happened::RunChanged { run } => {
            tracing::debug!(agent, run = %run.id, "run changed");
        }
        Happened::SlotSettled { slot, fate, .. } => {
            tracing::debug!(agent, slot = %slot, fate = ?fate, "slot settled");
        }
        Happened::StaleFact { detail } => {
            tracing::debug!(agent, "ignored: {detail}");
        }
    }
}
