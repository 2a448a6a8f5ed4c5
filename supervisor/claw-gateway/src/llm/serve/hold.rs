//! The money of a call to one target: held before it is sent, settled once.

use std::sync::Arc;

use super::gateway::{Shared, lock};
use super::host::{Attempt, AttemptFailure, CallEnd, CallRecord, Ending, Event};
use crate::llm::budget::{Outcome, Settled};
use crate::llm::money::Money;
use crate::llm::rates;
use crate::llm::route::Ticket;
use crate::llm::usage::Usage;
use crate::llm::wire;

/// Money that is held. However the call ends, it is settled once: at the latest when this is
/// dropped, as lost.
pub(super) struct Hold {
    shared: Arc<Shared>,
    /// Gone when it is settled.
    open: Option<Open>,
}

struct Open {
    record: CallRecord,
    ticket: Ticket,
    terms: Terms,
}

/// On which terms a call was admitted.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    /// The most it can use; `None` where nothing bounds it, because no money is at stake.
    pub(super) bound: Option<wire::Bound>,
    /// The service tier that was asked for.
    pub(super) tier: Option<Arc<str>>,
    /// Tokens of the prompt, by its length.
    pub(super) prompt_estimate: u64,
    /// How often the provider may read it.
    pub(super) rounds: Rounds,
    /// Searches that are charged whether they are told or not.
    pub(super) searches: u64,
    /// Whether a budget applies.
    pub(super) budget: BudgetApplies,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BudgetApplies {
    Yes,
    No,
}

/// How often a provider reads the prompt of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rounds {
    Once,
    /// Once more after each use of a tool that it runs by itself.
    Several,
}

/// What became of a call.
#[derive(Debug, Clone)]
pub(super) struct End {
    pub(super) ending: Ending,
    pub(super) spent: Spent,
    /// The service tier, where the provider names it.
    pub(super) tier: Option<String>,
    pub(super) model: Option<String>,
    pub(super) status: Option<u16>,
}

/// What is known of a call's use.
#[derive(Debug, Clone, Copy)]
pub(super) enum Spent {
    /// The provider has told.
    Reported(Usage),
    /// Nothing, because the provider refused or was not reached.
    Nothing,
    /// It has ended, and this is what its text makes of it.
    Estimated(Usage),
    /// Nobody saw its end, and this is what was seen.
    Lost(Usage),
}

/// What a model has written, as far as it is seen.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Written {
    /// Tokens that are there at least.
    pub(super) counted: u64,
    /// Bytes of text, by which their number is estimated.
    pub(super) bytes: u64,
}

impl End {
    /// The end of a call that was refused or failed before an answer.
    pub(super) const fn failed(status: Option<u16>) -> Self {
        Self {
            ending: Ending::Failed,
            spent: Spent::Nothing,
            tier: None,
            model: None,
            status,
        }
    }
}

impl Hold {
    pub(super) fn new(
        shared: &Arc<Shared>,
        record: CallRecord,
        ticket: Ticket,
        terms: Terms,
    ) -> Self {
        let open = Open {
            record,
            ticket,
            terms,
        };
        Self {
            shared: Arc::clone(shared),
            open: Some(open),
        }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn open(&self) -> &Open {
        self.open
            .as_ref()
            .expect("only settling takes it, and that takes the hold")
    }

    fn open_mut(&mut self) -> &mut Open {
        self.open
            .as_mut()
            .expect("only settling takes it, and that takes the hold")
    }

    pub(super) fn record(&self) -> &CallRecord {
        &self.open().record
    }

    pub(super) fn terms(&self) -> &Terms {
        &self.open().terms
    }

    /// What a use costs by the rates of the call.
    pub(super) fn cost(&self, usage: &Usage, tier: Option<&str>) -> Money {
        self.open().cost(usage, tier)
    }

    /// Notes an attempt that failed and is to be followed by another.
    pub(super) fn failed(&mut self, failure: AttemptFailure) {
        let at = self.shared.host.clock.now();
        let attempts = &mut self.open_mut().record.attempts;
        attempts.push(Attempt { at, failure });
        let open = self.open();
        if let Some(attempt) = open.record.attempts.last() {
            let call = &open.record;
            self.shared.tell(Event::Failed { call, attempt });
        }
    }

    /// Notes that the answer has begun.
    pub(super) fn first_byte(&mut self) {
        let now = self.shared.host.clock.now();
        self.open_mut().record.first_byte_at = Some(now);
        self.shared.tell(Event::FirstByte(self.record()));
    }

    /// Holds no more than what is still to come once the provider has told what the prompt uses.
    /// Some tell none before the end, and a prompt that is read again uses more; then all of it
    /// stays held.
    pub(super) fn shrink(&mut self, so_far: &Usage) {
        let open = self.open_mut();
        if open.terms.rounds == Rounds::Several || so_far.prompt() == 0 {
            return;
        }
        let (Some(rates), Some(bound)) = (&open.record.rates, open.terms.bound) else {
            return;
        };
        let most = rates.most(&rates::Bound {
            prompt: so_far.prompt().max(open.terms.prompt_estimate),
            answer: bound.answer_tokens,
            searches: bound.searches,
            service: super::admission::tiers(open.terms.tier.as_deref()),
        });
        let (id, most) = (open.record.id, most.max(Money::ZERO));
        // A prompt larger than its bound leaves what is held as it is.
        if most >= open.record.held {
            return;
        }
        open.record.held = most;
        let shared = Arc::clone(&self.shared);
        self.shared.tasks.spawn(async move {
            // Others may have the rest once a supervisor after this one would know that it is free.
            match shared.host.journal.shrink(id, most).await {
                Ok(()) => {
                    if let Err(error) = shared.ledger().shrink(id, most) {
                        tracing::trace!(%error, "a call was over before it was known what it may cost");
                    }
                }
                Err(error) => tracing::warn!(
                    call = %id,
                    error = &error as &dyn std::error::Error,
                    "as much is held for a call as before, because less is not in the journal"
                ),
            }
        });
    }

    /// What is spent for an answer so far, in tokens. An estimate is never more than the limit that
    /// was sent; what was counted is, where the provider did not keep to it.
    pub(super) fn seen(&self, told: Option<Usage>, written: Written) -> Usage {
        let terms = self.terms();
        let most = terms.bound.map_or(u64::MAX, |bound| bound.answer_tokens);
        let written = wire::estimate(written.bytes, most).max(written.counted);
        match told {
            Some(usage) => Usage {
                output: usage.output.max(written),
                ..usage
            },
            None => Usage {
                input: terms.prompt_estimate,
                output: written,
                ..Usage::default()
            },
        }
    }

    /// Settles the call. What is answered has to be written, too.
    pub(super) fn settle(mut self, end: End) -> Unwritten {
        let open = self.open.take().expect("a hold is settled once");
        open.settle(&self.shared, end)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let Some(open) = self.open.take() else {
            return;
        };
        let seen = Usage {
            input: open.terms.prompt_estimate,
            ..Usage::default()
        };
        let end = End {
            ending: Ending::Abandoned,
            spent: Spent::Lost(seen),
            tier: None,
            model: None,
            status: None,
        };
        let unwritten = open.settle(&self.shared, end);
        // Without a runtime the journal keeps it as in flight, and it is lost there as well.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(unwritten.write());
        }
    }
}

impl Open {
    /// By the tier in which it was served, or else the one that was asked for.
    fn cost(&self, usage: &Usage, served: Option<&str>) -> Money {
        let tier = served.or(self.terms.tier.as_deref());
        let usage = Usage {
            searches: usage.searches.max(self.terms.searches),
            ..*usage
        };
        let rates = self.record.rates.as_ref();
        rates.map_or(Money::ZERO, |rates| rates.cost(&usage, tier))
    }

    fn settle(mut self, shared: &Arc<Shared>, end: End) -> Unwritten {
        let tier = end.tier.as_deref();
        let (outcome, tokens) = match end.spent {
            Spent::Reported(usage) => (Outcome::Reported(self.cost(&usage, tier)), usage),
            Spent::Nothing => (Outcome::Unbilled, Usage::default()),
            Spent::Estimated(usage) => {
                let estimate = self.cost(&usage, tier);
                (Outcome::Estimated { estimate }, usage)
            }
            Spent::Lost(usage) => {
                let estimate = self.cost(&usage, tier);
                (Outcome::Lost { estimate }, usage)
            }
        };
        let now = shared.host.clock.now();
        let settled = shared.ledger().settle(now, self.record.id, outcome);
        if let Some(hourly) = lock(&shared.hourly).get_mut(&self.record.agent) {
            let tokens = tokens.prompt().saturating_add(tokens.answer());
            hourly.settle(self.ticket, tokens);
        }
        let settled = match settled {
            Ok(settled) => match self.terms.budget {
                BudgetApplies::Yes => settled,
                // No more was held than could be estimated.
                BudgetApplies::No => Settled {
                    overrun: Money::ZERO,
                    ..settled
                },
            },
            Err(error) => {
                tracing::error!(%error, "a call was settled twice; nothing was booked");
                Settled {
                    spent: Money::ZERO,
                    uncertain: Money::ZERO,
                    overrun: Money::ZERO,
                    windows: crate::llm::budget::Window::of(&self.record.agent, self.record.day),
                    alerts: Vec::new(),
                }
            }
        };
        self.record.end = Some(CallEnd {
            at: now,
            ending: end.ending,
            usage: match end.spent {
                Spent::Reported(usage) => Some(usage),
                Spent::Nothing | Spent::Estimated(_) | Spent::Lost(_) => None,
            },
            service_tier: end.tier,
            model_served: end.model,
            status: end.status,
            settled,
        });
        Unwritten {
            shared: Arc::clone(shared),
            record: self.record,
        }
    }
}

/// A call that is settled, but not in the journal.
#[must_use = "the journal has to know"]
pub(super) struct Unwritten {
    shared: Arc<Shared>,
    record: CallRecord,
}

impl Unwritten {
    /// What the call has cost, as far as is known.
    pub(super) fn spent(&self) -> Money {
        let end = self.record.end.as_ref();
        end.map_or(Money::ZERO, |end| end.settled.spent)
    }

    /// Leaves it at that, for a call that never began.
    pub(super) fn forget(self) {
        drop(self.record);
    }

    /// The same as [`Self::write`], while whoever asks goes on.
    pub(super) fn write_beside(self) {
        let tasks = self.shared.tasks.clone();
        tasks.spawn(self.write());
    }

    /// Writes it to the journal, and tells of it.
    pub(super) async fn write(self) {
        let Self { shared, record } = self;
        if let Err(error) = shared.host.journal.settle(&record).await {
            tracing::error!(
                call = %record.id,
                error = &error as &dyn std::error::Error,
                "the end of a call is not in the journal; after a restart its money is uncertain"
            );
        }
        if let Some(end) = &record.end {
            shared.tell_alerts(&end.settled.alerts);
        }
        shared.tell(Event::Ended(&record));
    }
}
