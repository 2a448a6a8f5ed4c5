//! Hands each of the core's actions to its owner, in order, waiting for none; listeners hear of
//! them last.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use claw_core::action::Happened;
use claw_core::{Action, Announcement, HaltChange, Order, PublicState, Reason, Ticket};
use claw_drivers::Driver;
use claw_store::journal::{Entry, Journal};

use crate::agent_api::AgentApi;
use crate::feed::Feed;
use crate::supervise::Reply;
use crate::telemetry::metrics::Metrics;

/// Whether the loop goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Performed {
    /// It does.
    GoOn,
    /// Every agent is down, or left alone: the supervisor may end.
    AllStopped,
}

/// The owners of everything the core may want done.
pub(crate) struct Performer<D> {
    /// Runs instances.
    pub driver: Arc<D>,
    /// Keeps what must outlive us.
    pub journal: Journal,
    /// Agents' own sockets.
    pub(crate) agent_api: AgentApi,
    /// Tells the world.
    pub feed: Feed,
    /// Counts.
    pub metrics: Metrics,
    waiting: BTreeMap<Ticket, Reply>,
}

impl<D: Driver> Performer<D> {
    /// Brings the owners together: of what runs, of what is written, and of what is told.
    #[must_use]
    pub(crate) fn new(
        driver: Arc<D>,
        journal: Journal,
        (agent_api, feed, metrics): (AgentApi, Feed, Metrics),
    ) -> Self {
        Self {
            driver,
            journal,
            agent_api,
            feed,
            metrics,
            waiting: BTreeMap::new(),
        }
    }

    /// Remembers who waits, under a fresh ticket.
    pub(crate) fn expect(&mut self, last_ticket: &mut u64, reply: Reply) -> Ticket {
        *last_ticket += 1;
        let ticket = Ticket(*last_ticket);
        self.waiting.insert(ticket, reply);
        ticket
    }

    /// Notes how long a step of the core took, and how much waits for the next.
    pub(crate) fn stepped(&self, took: Duration, waiting: usize) {
        self.metrics.observe_step(took);
        self.metrics.set_inbox_depth(waiting);
    }

    /// Carries the actions out.
    pub(crate) fn perform(&mut self, actions: Vec<Action>) -> Performed {
        let mut performed = Performed::GoOn;
        let mut announcements = Vec::new();
        for action in actions {
            match action {
                Action::Record { id, record } => self.journal.append(Entry { id, record }),
                Action::Order(order) => self.order(order),
                Action::Reply { ticket, result } => {
                    if let Some(reply) = self.waiting.remove(&ticket) {
                        // Whoever asked may have hung up; the deed is done all the same.
                        drop(reply.send(result));
                    }
                }
                Action::Announce(announcement) => {
                    self.agent_api.observe(&announcement);
                    announcements.push(announcement);
                }
                Action::AllStopped => performed = Performed::AllStopped,
            }
        }
        // A start that waits for the journal need not wait for those who are only told of it.
        for announcement in announcements {
            self.announce(announcement);
        }
        performed
    }

    /// What is said over an agent's socket is the agent_api's, all else the driver's; both hear of
    /// the end of an instance.
    fn order(&self, order: Order) {
        self.agent_api.order(&order);
        match order {
            Order::Spawn {
                instance,
                spec,
                run,
            } => {
                let spec = self
                    .agent_api
                    .prepare_launch(&instance, &spec, run.as_ref());
                self.driver.order(Order::Spawn {
                    instance,
                    spec,
                    run,
                });
            }
            Order::Deliver { .. } | Order::CancelRun { .. } | Order::Drain { .. } => {}
            Order::Signal { .. }
            | Order::Kill { .. }
            | Order::Freeze { .. }
            | Order::Thaw { .. }
            | Order::Probe { .. }
            | Order::RunHook { .. }
            | Order::Release { .. } => self.driver.order(order),
        }
    }

    fn announce(&self, announcement: Announcement) {
        log(&announcement);
        self.metrics.observe(&announcement);
        self.feed.publish(announcement);
    }
}

fn log_state(agent: &str, (state, ready): (PublicState, bool), reason: &Reason) {
    let (word, code) = (state.as_str(), reason.code());
    if let Reason::Preparing { detail } = reason {
        tracing::info!(agent, state = word, reason = code, "{detail}");
    } else if let Reason::Unobserved { detail } = reason {
        tracing::warn!(
            agent,
            state = word,
            reason = code,
            "nobody knows how it is: {detail}"
        );
    } else if let Reason::NeedsRestart { detail } = reason {
        tracing::warn!(
            agent,
            state = word,
            reason = code,
            "needs a restart: {detail}"
        );
    } else if state == PublicState::Error {
        tracing::warn!(agent, state = word, reason = code, "agent failed");
    } else {
        tracing::info!(
            agent,
            state = word,
            ready,
            reason = code,
            "agent is {state}"
        );
    }
}

/// One line of the supervisor's own log for what a user cares about.
fn log(announcement: &Announcement) {
    let agent = announcement.agent.as_str();
    match &announcement.happened {
        Happened::StateChanged {
            state,
            ready,
            reason,
        } => log_state(agent, (*state, *ready), reason),
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
        Happened::SwitchTurned { change } => match &**change {
            HaltChange::Halted(halt) => {
                tracing::warn!(target: "audit", agent, level = %halt.level, by = %halt.by, why = halt.why.as_deref(), "agent halted");
            }
            HaltChange::Lifted { by, halt, .. } => {
                tracing::warn!(target: "audit", agent, level = %halt.level, %by, "agent's halt lifted");
            }
        },
        Happened::SlotSettled { slot, fate, .. } => {
            tracing::debug!(agent, slot = %slot, fate = ?fate, "slot settled");
        }
        Happened::StaleFact { detail } => {
            tracing::debug!(agent, "ignored: {detail}");
        }
    }
}
