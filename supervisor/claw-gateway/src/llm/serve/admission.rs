//! Whether a call to one target may cost what it may cost.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use super::call::Call;
use super::chain::Target;
use super::denial::Denial;
use super::gateway::lock;
use super::hold::{BudgetApplies, End, Hold, Rounds, Terms};
use super::host::{CallRecord, Event};
use super::settings::{OnTight, Price, UnknownPrice};
use crate::llm::budget::{Ledger, Reservation};
use crate::llm::money::Money;
use crate::llm::rates::{self, Rates, ServiceTiers};
use crate::llm::route::Ticket;
use crate::llm::upstream;
use crate::llm::usage::Usage;
use crate::llm::wire;

/// Tokens of an answer that are reserved within the hour for a request without a smaller limit.
const USUAL_ANSWER: u64 = 1000;

/// A call that was admitted.
pub(super) struct Admitted {
    pub(super) hold: Hold,
    /// The limit of an answer that has to be sent.
    pub(super) limit: Option<u64>,
}

/// What a call may cost, and how long its answer may be then.
struct Need {
    bound: Option<wire::Bound>,
    money: Money,
    limit: Option<u64>,
    clamped_to: Option<u64>,
}

/// Admits a call, in the journal too.
pub(super) async fn admit(
    call: &Call,
    target: &Target,
    request: &wire::Request,
) -> Result<Admitted, Denial> {
    let admitted = hold(call, target, request)?;
    let journal = &call.shared.host.journal;
    if let Err(error) = journal.reserve(admitted.hold.record()).await {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "a call was not made because it could not be recorded"
        );
        // Nobody was told that it began. If it is in the journal after all, it is lost at the next
        // start, and errs on the safe side.
        admitted.hold.settle(End::failed(None)).forget();
        return Err(Denial::Unrecorded);
    }
    call.shared.tell(Event::Begun(admitted.hold.record()));
    Ok(admitted)
}

fn hold(call: &Call, target: &Target, request: &wire::Request) -> Result<Admitted, Denial> {
    let shared = &call.shared;
    let searches = u64::from(searches_always(&target.model.id));
    let bound = request.bound(&wire::Limits {
        answer: target.model.max_output,
        context: target.model.context,
        image: target.model.image_tokens,
        default_answer: call.agent.default_output_cap,
        searches,
    });
    let prompt_bound = bound.as_ref().map_or(u64::MAX, |bound| bound.prompt_tokens);
    let prompt_estimate = wire::estimate(request.prompt.bytes, prompt_bound);
    let ticket = take_tokens(call, request, prompt_estimate)?;
    let reserved = {
        let mut ledger = shared.ledger();
        reserve(&mut ledger, call, target, (request, bound, prompt_estimate))
    };
    let reserved = match reserved {
        Ok(reserved) => reserved,
        Err(denial) => {
            if let Some(tokens) = lock(&shared.hourly).get_mut(&call.caller.agent) {
                tokens.settle(ticket, 0);
            }
            if let Denial::OverBudget(refused) = &denial {
                let caller = &call.caller;
                shared.tell(Event::OverBudget { caller, refused });
            }
            return Err(denial);
        }
    };
    let terms = Terms {
        bound: reserved.need.bound,
        tier: request.service_tier.as_deref().map(Arc::from),
        prompt_estimate,
        rounds: if request.prompt.hosted.is_empty() && searches == 0 {
            Rounds::Once
        } else {
            Rounds::Several
        },
        searches,
        budget: reserved.budget,
    };
    let limit = reserved.need.limit;
    let record = record(call, target, reserved, &terms);
    Ok(Admitted {
        hold: Hold::new(shared, record, ticket, terms),
        limit,
    })
}

/// Takes tokens of the agent's hour.
fn take_tokens(call: &Call, request: &wire::Request, prompt: u64) -> Result<Ticket, Denial> {
    let answer = request.limit.unwrap_or(USUAL_ANSWER).min(USUAL_ANSWER);
    let now = call.shared.host.clock.monotonic();
    let mut hourly = lock(&call.shared.hourly);
    let tokens = hourly.entry(Arc::clone(&call.caller.agent)).or_default();
    tokens
        .reserve(
            now,
            prompt.saturating_add(answer),
            call.agent.tokens_per_hour,
        )
        .map_err(Denial::HourlyTokens)
}

fn record(call: &Call, target: &Target, reserved: Reserved, terms: &Terms) -> CallRecord {
    let seen = Usage {
        input: terms.prompt_estimate,
        searches: terms.searches,
        ..Usage::default()
    };
    let rates = reserved.rates;
    let cost = |rates: &Arc<Rates>| rates.cost(&seen, terms.tier.as_deref());
    CallRecord {
        id: reserved.reservation.id,
        request: Arc::clone(&call.id),
        agent: Arc::clone(&call.caller.agent),
        instance: Arc::clone(&call.caller.instance),
        run: call.caller.run.clone(),
        api: call.request.api,
        admitted_at: reserved.at,
        day: reserved.reservation.day,
        provider: Arc::clone(&target.provider_name),
        model_asked: Arc::from(call.request.model.as_str()),
        model: Arc::clone(&target.model.id),
        request_hash: call.hash,
        estimate: rates.as_ref().map_or(Money::ZERO, cost),
        rates,
        held: reserved.reservation.held,
        clamped_to: reserved.need.clamped_to,
        attempts: Vec::new(),
        first_byte_at: None,
        end: None,
    }
}

struct Reserved {
    at: Timestamp,
    reservation: Reservation,
    rates: Option<Arc<Rates>>,
    need: Need,
    budget: BudgetApplies,
}

/// Under the ledger's lock: what is free now is what is held.
fn reserve(
    ledger: &mut Ledger,
    call: &Call,
    target: &Target,
    (request, bound, prompt_estimate): (&wire::Request, Result<wire::Bound, wire::Boundless>, u64),
) -> Result<Reserved, Denial> {
    let now = call.shared.host.clock.now();
    let agent = &call.caller.agent;
    let free = ledger.free(now, agent, &call.tighter);
    let rates = rates_of(call, target, free)?;
    let need = match (&rates, free) {
        (Some(rates), Some(free)) => {
            let of = |bound| bound_of(bound, bound.answer_tokens, request);
            if let Ok(bound) = &bound
                && let Some(unpriced) = rates.unpriced(&of(bound))
            {
                return Err(unknown_price(target, unpriced.into()));
            }
            betas(call, request, rates)?;
            need(call, request, rates, (bound, free))?
        }
        (rates, None) | (rates @ None, Some(_)) => {
            let bound = bound.ok();
            let tier = request.service_tier.as_deref();
            let sent = Usage {
                input: prompt_estimate,
                ..Usage::default()
            };
            // Where nothing is limited no more is held than can be estimated now, so that nothing
            // but that is left of a call that is lost.
            let estimate = |rates: &Arc<Rates>| rates.cost(&sent, tier);
            Need {
                limit: bound.and_then(|bound| bound.limit_to_send),
                bound,
                money: rates.as_ref().map_or(Money::ZERO, estimate),
                clamped_to: None,
            }
        }
    };
    let reservation = ledger
        .reserve(now, agent, need.money, &call.tighter)
        .map_err(Denial::OverBudget)?;
    let budget = match free {
        Some(_) => BudgetApplies::Yes,
        None => BudgetApplies::No,
    };
    Ok(Reserved {
        at: now,
        reservation,
        rates,
        need,
        budget,
    })
}

/// The rates of a model that searches always and has a price for each request, and none for a
/// search: the one is for the other.
fn with_searches(rates: &Arc<Rates>, target: &Target) -> Arc<Rates> {
    let is_for_it = rates.per_search.is_none() && rates.per_request > Money::ZERO;
    if is_for_it && searches_always(&target.model.id) {
        return Arc::new(Rates {
            per_search: Some(Money::ZERO),
            ..Rates::clone(rates)
        });
    }
    Arc::clone(rates)
}

fn rates_of(
    call: &Call,
    target: &Target,
    free: Option<Money>,
) -> Result<Option<Arc<Rates>>, Denial> {
    match (&target.model.price, &call.agent.unknown_price, free) {
        (Price::Known(rates), _, _) => Ok(Some(with_searches(rates, target))),
        (Price::Free, _, _) => Ok(Some(Arc::default())),
        (Price::Unknown, UnknownPrice::Assume(rates), _) => Ok(Some(Arc::clone(rates))),
        (Price::Unknown, UnknownPrice::Reject, None) => Ok(None),
        (Price::Unknown, UnknownPrice::Reject, Some(_)) => {
            Err(unknown_price(target, Unpriced::Model))
        }
    }
}

/// What has no price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unpriced {
    Model,
    Tier(wire::Excerpt),
    Searches,
}

impl From<rates::Unpriced<'_>> for Unpriced {
    fn from(unpriced: rates::Unpriced<'_>) -> Self {
        match unpriced {
            rates::Unpriced::Tier(tier) => Self::Tier(tier.into()),
            rates::Unpriced::Searches => Self::Searches,
        }
    }
}

impl Unpriced {
    /// What an operator can do about it.
    pub(super) const fn remedy(&self) -> &'static str {
        match self {
            Self::Model => "set its price in the fleet file, or `llm.prices.unknown`",
            Self::Tier(_) => "ask for another tier, or set its price in the fleet file",
            Self::Searches => "set `per_search` or `per_request` of its price in the fleet file",
        }
    }
}

impl fmt::Display for Unpriced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Model => f.write_str("the price"),
            Self::Tier(tier) => write!(f, "the price of service tier `{tier}`"),
            Self::Searches => f.write_str("the price of a search"),
        }
    }
}

fn unknown_price(target: &Target, unpriced: Unpriced) -> Denial {
    Denial::UnknownPrice {
        unpriced,
        model: target.model.id.to_string(),
        provider: target.provider_name.to_string(),
    }
}

/// Whether a model searches the web for each request, and is charged for it, without being asked:
/// OpenAI's search models, Perplexity's, and those that OpenRouter sends online.
pub(super) fn searches_always(id: &str) -> bool {
    let name = id.rsplit('/').next().unwrap_or(id);
    name.contains("-search-preview")
        || name.contains("-search-api")
        || name.starts_with("sonar")
        || name.ends_with(":online")
}

/// Refuses what an agent asks for by Anthropic's header of betas, unless it is known to change no
/// limit and no price.
fn betas(call: &Call, request: &wire::Request, rates: &Rates) -> Result<(), Denial> {
    if request.api != wire::Api::Messages || *rates == Rates::default() {
        return Ok(());
    }
    match upstream::unknown_beta(&call.headers) {
        Some(beta) => Err(Denial::Beta { beta }),
        None => Ok(()),
    }
}

/// What a call needs of what is free.
fn need(
    call: &Call,
    request: &wire::Request,
    rates: &Rates,
    (bound, free): (Result<wire::Bound, wire::Boundless>, Money),
) -> Result<Need, Denial> {
    let bound = match bound {
        Ok(bound) => bound,
        Err(_boundless) if *rates == Rates::default() => {
            return Ok(Need {
                bound: None,
                money: Money::ZERO,
                limit: None,
                clamped_to: None,
            });
        }
        Err(boundless) => return Err(Denial::Boundless(boundless)),
    };
    let whole = Need {
        bound: Some(bound),
        money: rates.most(&bound_of(&bound, bound.answer_tokens, request)),
        limit: bound.limit_to_send,
        clamped_to: None,
    };
    let OnTight::Clamp { min_output } = call.agent.on_tight else {
        return Ok(whole);
    };
    if whole.money <= free {
        return Ok(whole);
    }
    let fits = rates.answer_within(free, &bound_of(&bound, bound.answer_tokens, request));
    // A wrong prediction of the answer may be charged beside each of the answers.
    let each = fits.unwrap_or(0) / request.answers;
    let each = each.saturating_sub(request.prompt.predicted_bytes);
    if each < min_output.max(1) {
        return Ok(whole);
    }
    let answer_tokens = each
        .saturating_add(request.prompt.predicted_bytes)
        .saturating_mul(request.answers);
    let bound = wire::Bound {
        answer_tokens,
        ..bound
    };
    Ok(Need {
        bound: Some(bound),
        money: rates.most(&bound_of(&bound, answer_tokens, request)),
        limit: Some(each),
        clamped_to: Some(each),
    })
}

fn bound_of<'a>(bound: &wire::Bound, answer: u64, request: &'a wire::Request) -> rates::Bound<'a> {
    rates::Bound {
        prompt: bound.prompt_tokens,
        answer,
        searches: bound.searches,
        service: tiers(request.service_tier.as_deref()),
    }
}

/// Where a request may be served, and charged.
pub(super) fn tiers(asked: Option<&str>) -> ServiceTiers<'_> {
    match asked {
        None | Some("auto") => ServiceTiers::Any,
        Some(tier) => ServiceTiers::StandardOr(tier),
    }
}
