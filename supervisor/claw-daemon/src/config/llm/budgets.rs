//! `llm.budgets`: how much may be spent.

use std::collections::BTreeMap;
use std::sync::Arc;

use claw_core::AgentName;
use claw_gateway::llm::budget::{Budgets, Limits};
use claw_gateway::llm::serve::AgentSettings;

use super::super::agent::Agent;
use super::super::diagnostic::Code;
use super::super::item::{Fields, Item};
use super::super::keys_llm::{BUDGETS, LIMITS};
use super::super::reader::Reader;
use super::super::section::nearest;
use super::super::value::money;

/// Each agent that is not named.
const OTHERS: &str = "*";

/// A limit where it was written, and whose calls it counts.
#[derive(Debug)]
pub(super) struct Written<'n> {
    pub(super) item: Item<'n>,
    pub(super) limits: Limits,
    pub(super) agents: Vec<Arc<str>>,
}

impl<'n> Reader<'_> {
    /// Reads the budgets; `settings` are those of the agents with access.
    pub(super) fn llm_budgets(
        &mut self,
        llm: &Fields<'n>,
        settings: &BTreeMap<Arc<str>, Arc<AgentSettings>>,
        agents: &BTreeMap<AgentName, Agent<'_>>,
    ) -> (Budgets, Vec<Written<'n>>) {
        let mut budgets = Budgets::default();
        let mut written = Vec::new();
        let Some(fields) = self.inner(llm, "budgets", &BUDGETS) else {
            return (budgets, written);
        };
        if let Some(zone) = fields.get("timezone").and_then(|item| self.zone(&item)) {
            budgets.timezone = zone;
        }
        let alert = fields.get("alert_at_pct");
        let alert = alert.and_then(|item| self.whole(&item, (1, 100)));
        budgets.alert_at_pct = alert
            .and_then(|share| share.try_into().ok())
            .unwrap_or(budgets.alert_at_pct);
        if let Some(item) = fields.get("global") {
            budgets.fleet = self.limits(&item);
            written.push(Written {
                item,
                limits: budgets.fleet,
                agents: settings.keys().cloned().collect(),
            });
        }
        let per_agent = fields.get("per_agent");
        let entries = per_agent.as_ref().and_then(Item::named);
        if let (Some(item), None) = (&per_agent, &entries) {
            self.wrong_type(item, "a map of agents to budgets");
        }
        let mut others = None;
        for (name, item) in entries.unwrap_or_default() {
            let limits = self.limits(&item);
            if name == OTHERS {
                others = Some((item, limits));
            } else if let Some((name, _)) = settings.get_key_value(name) {
                budgets.agents.insert(Arc::clone(name), limits);
                let agents = vec![Arc::clone(name)];
                written.push(Written {
                    item,
                    limits,
                    agents,
                });
            } else {
                self.budget_of_nobody(name, &item, agents);
            }
        }
        if let Some((item, limits)) = others {
            let rest = settings
                .keys()
                .filter(|name| !budgets.agents.contains_key(*name));
            let rest: Vec<Arc<str>> = rest.cloned().collect();
            budgets
                .agents
                .extend(rest.iter().cloned().map(|name| (name, limits)));
            written.push(Written {
                item,
                limits,
                agents: rest,
            });
        }
        (budgets, written)
    }

    fn limits(&mut self, item: &Item<'_>) -> Limits {
        let Some(fields) = self.fields(&LIMITS, item) else {
            return Limits::default();
        };
        let mut limit = |key: &str| {
            let item = fields.get(key)?;
            self.parsed(&item, "an amount of money", money::usd)
        };
        Limits {
            daily: limit("daily_limit_usd"),
            monthly: limit("monthly_limit_usd"),
        }
    }

    fn budget_of_nobody(
        &mut self,
        name: &str,
        item: &Item<'_>,
        agents: &BTreeMap<AgentName, Agent<'_>>,
    ) {
        let shown = item.name();
        if agents.keys().any(|agent| agent.as_str() == name) {
            let message = format!("`{shown}` has `llm: false`, so it spends nothing");
            self.key_warning(item, Code::Conflict, message, "remove one of the two");
            return;
        }
        let help = match nearest(name, agents.keys().map(AgentName::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "name an agent of this file, or `\"*\"` for each that is not named".to_owned(),
        };
        let message = format!("there is no agent `{shown}`");
        self.key_error(item, Code::UnknownAgent, &message, &help);
    }
}
