//! What may be meant otherwise, although it can be used.

use std::collections::BTreeMap;
use std::sync::Arc;

use claw_core::AgentName;
use claw_gateway::llm::money::Money;
use claw_gateway::llm::rates::{Bound, Rates, ServiceTiers};
use claw_gateway::llm::serve::{AgentSettings, Model, Price, UnknownPrice};

use super::super::agent::Agent;
use super::super::diagnostic::Code;
use super::super::item::{Fields, Item};
use super::super::keys_llm::LIMITS;
use super::super::reader::Reader;
use super::Unpriced;
use super::budgets::Written;
use super::catalog::Catalog;

/// The largest part of a limit that one call should hold, as its divisor.
const PART: u64 = 10;
/// The smallest cap that is worth a suggestion.
const SMALLEST_CAP: u64 = 256;
/// So many names are listed in a message.
const LISTED: usize = 8;

type Agents = BTreeMap<Arc<str>, Arc<AgentSettings>>;

/// A model whose answer holds much of a limit.
struct Dearest<'c> {
    name: &'c Arc<str>,
    rates: &'c Rates,
    answer: u64,
    most: Money,
}

impl Reader<'_> {
    /// Looks at what the limits mean for calls.
    pub(super) fn llm_checks(
        &mut self,
        catalog: &Catalog<'_>,
        agents: &Agents,
        written: &[Written<'_>],
    ) {
        self.models_without_price(catalog, agents, written);
        self.proxies_without_price(catalog, agents, written);
        self.answers_without_limit(catalog, agents, written);
        for one in written {
            let Some(fields) = Fields::of(&LIMITS, one.item.clone()) else {
                continue;
            };
            let limits = [
                ("daily_limit_usd", one.limits.daily),
                ("monthly_limit_usd", one.limits.monthly),
            ];
            for (key, limit) in limits {
                if let (Some(item), Some(limit)) = (fields.get(key), limit) {
                    self.limit_is_roomy((&item, limit), &one.agents, (catalog, agents));
                }
            }
        }
    }

    fn models_without_price(
        &mut self,
        catalog: &Catalog<'_>,
        agents: &Agents,
        written: &[Written<'_>],
    ) {
        let refused = |settings: &AgentSettings| settings.unknown_price == UnknownPrice::Reject;
        let names = limited(catalog, agents, written, |settings, model| {
            refused(settings) && model.price == Price::Unknown
        });
        let Some(first) = names.first() else { return };
        let message = format!(
            "the price of {} is not known, so calls are refused while a limit in USD applies",
            listed(&names)
        );
        let help = format!(
            "give the price of a million tokens, `{{name: {first}, input: 3, output: 15}}`, or name a table: `llm: {{prices: {{file: prices.json}}}}`; `free: true` is for providers that charge nothing"
        );
        self.at_model(catalog, first, &message, &help);
    }

    /// What is free by its address alone may be charged by who is behind it.
    fn proxies_without_price(
        &mut self,
        catalog: &Catalog<'_>,
        agents: &Agents,
        written: &[Written<'_>],
    ) {
        for (provider, address) in &catalog.proxies {
            let names = limited(catalog, agents, written, |_settings, model| {
                model.provider == *provider && model.price == Price::Free
            });
            let Some(first) = names.first() else { continue };
            let message = format!(
                "`{provider}` is on loopback, so {} is taken for free, and no limit in USD holds for it; its key looks as if somebody charges for it",
                listed(&names)
            );
            let help = format!(
                "give the price of a million tokens, `{{name: {first}, input: 3, output: 15}}`, or write `free: true` at the provider if nobody charges"
            );
            self.warning(address, Code::InvalidValue, message, help);
        }
    }

    fn answers_without_limit(
        &mut self,
        catalog: &Catalog<'_>,
        agents: &Agents,
        written: &[Written<'_>],
    ) {
        let names = limited(catalog, agents, written, |settings, model| {
            let costs = match &model.price {
                Price::Known(rates) => **rates != Rates::default(),
                Price::Unknown => settings.unknown_price != UnknownPrice::Reject,
                Price::Free => false,
            };
            costs && model.max_output.is_none() && settings.default_output_cap.is_none()
        });
        let Some(first) = names.first() else { return };
        let message = format!(
            "how long an answer of {} may be is not known, so requests without a limit are refused while a limit in USD applies",
            listed(&names)
        );
        let help = format!(
            "add `max_output: 4096` to the model, as in `{{name: {first}, max_output: 4096}}`, or `default_output_cap: 4096` to `llm.defaults`"
        );
        self.at_model(catalog, first, &message, &help);
    }

    fn at_model(&mut self, catalog: &Catalog<'_>, name: &str, message: &str, help: &str) {
        if let Some(item) = catalog.place(name) {
            self.warning(item, Code::InvalidValue, message, help);
        }
    }

    /// A limit of which one call holds a large part refuses calls long before it is spent.
    fn limit_is_roomy(
        &mut self,
        (item, limit): (&Item<'_>, Money),
        counted: &[Arc<str>],
        (catalog, agents): (&Catalog<'_>, &Agents),
    ) {
        let Some(dearest) = dearest(counted, catalog, agents) else {
            return;
        };
        if limit == Money::ZERO || dearest.most.times(PART) <= limit {
            return;
        }
        let held = format!(
            "an answer of `{}` without a limit of its own holds up to {} USD",
            dearest.name, dearest.most
        );
        let message = if dearest.most > limit {
            format!("{held}, more than all of this, so such a call is never let through")
        } else {
            let share = dearest.most.pico().saturating_mul(100) / limit.pico().max(1);
            format!(
                "{held}, which is {share} % of this, so calls are refused well before it is spent"
            )
        };
        let tenth = Money::from_pico(limit.pico() / PART.cast_signed());
        let bound = bound(dearest.answer);
        let fits = dearest.rates.answer_within(tenth, &bound).unwrap_or(0);
        let cap = fits.checked_ilog2().map_or(0, |log| 1_u64 << log);
        let help = if cap >= SMALLEST_CAP {
            format!(
                "add `default_output_cap: {cap}` to `llm.defaults` or to `llm` of the agent, or raise the limit"
            )
        } else {
            "raise the limit, or let agents call a cheaper model".to_owned()
        };
        self.warning(item, Code::InvalidValue, message, help);
    }

    /// Variables that would be lost, because the supervisor sets or removes them.
    pub(super) fn variables_of_models(&mut self, agents: &BTreeMap<AgentName, Agent<'_>>) {
        for agent in agents.values() {
            let launch = &agent.spec.launch;
            let set =
                |name: &&str| launch.env.contains_key(*name) || launch.secrets.contains_key(*name);
            let lost = crate::llm::variables().filter(set);
            for name in lost.filter(|_name| launch.models.is_some()) {
                let Some(item) = self.where_set(&agent.fields, name) else {
                    continue;
                };
                let message = format!(
                    "`{name}` is the supervisor's at agents that reach models, so this value never gets there"
                );
                let help = "remove it, or write `llm: false` at the agent";
                self.key_warning(&item, Code::Conflict, message, help);
            }
        }
    }

    /// Where an agent's variable is written.
    fn where_set<'n>(&mut self, agent: &Fields<'n>, name: &str) -> Option<Item<'n>> {
        let env = agent.get("env").and_then(|item| item.named());
        let env = env.unwrap_or_default().into_iter();
        let in_env = env
            .filter(|(key, _)| *key == name)
            .map(|(_, item)| item)
            .next();
        let secrets = agent.get("secrets");
        let secrets = secrets.map_or_else(Vec::new, |item| self.one_or_more(&item));
        let is_it = |item: &Item<'_>| {
            let text = item.node.as_scalar().map(|scalar| scalar.text.as_str());
            text == Some(name)
        };
        let in_secrets = secrets.into_iter().find(is_it);
        in_env.or(in_secrets).or_else(|| agent.get("env_file"))
    }
}

/// The names of models that some agent may call for which a limit in USD holds, and of which
/// something is true.
fn limited(
    catalog: &Catalog<'_>,
    agents: &Agents,
    written: &[Written<'_>],
    is: impl Fn(&AgentSettings, &Model) -> bool,
) -> Vec<Arc<str>> {
    let limited = written
        .iter()
        .filter(|one| one.limits != Default::default());
    let settings = || {
        let names = limited.clone().flat_map(|one| &one.agents);
        names.filter_map(|name| agents.get(name))
    };
    let called = |name: &&Arc<str>, model: &Model| {
        settings().any(|settings| settings.models.contains(name) && is(settings, model))
    };
    let models = catalog
        .own_names()
        .filter(|(name, model)| called(name, model));
    models.map(|(name, _)| Arc::clone(name)).collect()
}

/// Of the models that some agents may call, the one whose answer holds most.
fn dearest<'c>(
    counted: &[Arc<str>],
    catalog: &'c Catalog<'_>,
    agents: &'c Agents,
) -> Option<Dearest<'c>> {
    let settings = counted.iter().filter_map(|name| agents.get(name));
    let calls = settings.flat_map(|settings| {
        let models = settings.models.iter();
        models.map(|name| (name, settings.default_output_cap))
    });
    let priced = calls.filter_map(|(name, cap)| {
        let model = catalog.models.get(name)?;
        let Price::Known(rates) = &model.price else {
            return None;
        };
        let answer = match (cap, model.max_output) {
            (Some(cap), Some(most)) => cap.min(most),
            (cap, most) => cap.or(most)?,
        };
        let most = rates.most(&bound(answer));
        Some(Dearest {
            name,
            rates,
            answer,
            most,
        })
    });
    priced.max_by_key(|one| one.most)
}

/// A call with an answer of so many tokens, without its prompt.
fn bound(answer: u64) -> Bound<'static> {
    Bound {
        prompt: 0,
        answer,
        searches: 0,
        service: ServiceTiers::Any,
    }
}

/// Names as `a`, `b` and 3 more.
fn listed(names: &[Arc<str>]) -> String {
    let shown: Vec<String> = names
        .iter()
        .take(LISTED)
        .map(|name| format!("`{name}`"))
        .collect();
    match names.len().saturating_sub(LISTED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// The models without a price.
pub(super) fn unpriced(catalog: &Catalog<'_>) -> Vec<Unpriced> {
    let models = catalog.own_names();
    let unknown = models.filter(|(_, model)| model.price == Price::Unknown);
    unknown
        .map(|(name, model)| Unpriced {
            provider: Arc::clone(&model.provider),
            model: Arc::clone(name),
            id: Arc::clone(&model.id),
        })
        .collect()
}
