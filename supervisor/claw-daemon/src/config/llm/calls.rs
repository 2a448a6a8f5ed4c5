//! `llm.defaults`, and `llm` of an agent: what it may call, and how.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::Arc;

use claw_core::AgentName;
use claw_gateway::llm::serve::{AgentSettings, OnTight, RefusalStatus};

use super::super::agent::Agent;
use super::super::diagnostic::Code;
use super::super::item::{Fields, Item};
use super::super::keys_agent::RESOURCES;
use super::super::keys_llm::{AGENT_LLM, DEFAULTS, MOST_TOKENS};
use super::super::reader::Reader;
use super::super::tree::{Origin, Value};
use super::MODELS_PORT;
use super::catalog::Catalog;

/// The shortest answer that is worth its price, where the file does not say.
const MIN_OUTPUT: u64 = 256;

/// How a model is called: by an agent, or by those that say nothing else.
#[derive(Debug, Clone)]
struct Calls {
    models: Vec<Arc<str>>,
    primary: Option<Arc<str>>,
    fallback: Vec<Arc<str>>,
    tight: Tight,
    min_output: u64,
    rest: AgentSettings,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tight {
    Reject,
    Clamp,
}

/// Whether an agent reaches models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    /// As the fleet says.
    Usual,
    /// In its own way.
    Own,
    None,
}

impl Calls {
    /// With the primary model first.
    fn settings(&self) -> AgentSettings {
        let others = self
            .models
            .iter()
            .filter(|name| Some(*name) != self.primary.as_ref());
        AgentSettings {
            models: self.primary.iter().chain(others).cloned().collect(),
            fallback: self.fallback.clone(),
            on_tight: match self.tight {
                Tight::Reject => OnTight::Reject,
                Tight::Clamp => OnTight::Clamp {
                    min_output: self.min_output,
                },
            },
            ..self.rest.clone()
        }
    }
}

impl<'n> Reader<'_> {
    /// What each agent may call. Those that may call anything get a port for it.
    pub(super) fn llm_agents(
        &mut self,
        (llm, usual): (&Fields<'n>, AgentSettings),
        catalog: &Catalog<'_>,
        agents: &mut BTreeMap<AgentName, Agent<'n>>,
    ) -> BTreeMap<Arc<str>, Arc<AgentSettings>> {
        let mut calls = Calls {
            models: catalog.names.clone(),
            primary: None,
            fallback: Vec::new(),
            tight: Tight::Reject,
            min_output: MIN_OUTPUT,
            rest: usual,
        };
        self.validators(llm, &mut calls.rest, catalog);
        if let Some(fields) = self.inner(llm, "defaults", &DEFAULTS) {
            calls = self.calls(&fields, &calls, catalog);
        }
        let usual = Arc::new(calls.settings());
        let mut settings = BTreeMap::new();
        for (name, agent) in agents {
            let access = self.access(&agent.fields);
            let own = match access {
                Access::None => {
                    self.no_tokens_counted(&agent.fields);
                    continue;
                }
                Access::Usual => None,
                Access::Own => self.inner(&agent.fields, "llm", &AGENT_LLM),
            };
            agent.spec.launch.models = Some(MODELS_PORT);
            let mut own = own.map(|fields| self.calls(&fields, &calls, catalog).settings());
            if let Some(tokens) = self.tokens_per_hour(&agent.fields) {
                own.get_or_insert_with(|| AgentSettings::clone(&usual))
                    .tokens_per_hour = Some(tokens);
            }
            let own = own.map_or_else(|| Arc::clone(&usual), Arc::new);
            settings.insert(name.as_str().into(), own);
        }
        settings
    }

    /// Reports agents that want models in a fleet that has none.
    pub(super) fn no_llm(&mut self, agents: &BTreeMap<AgentName, Agent<'_>>) {
        for agent in agents.values() {
            if self.access(&agent.fields) != Access::None
                && let Some(item) = agent.fields.get("llm")
            {
                let message = "the fleet has no `llm`, so no agent reaches a model";
                let help = "add `llm: {providers: {…}}` at the top of the file, or remove this";
                self.key_error(&item, Code::Conflict, message, help);
            }
            self.no_tokens_counted(&agent.fields);
        }
    }

    fn access(&mut self, agent: &Fields<'_>) -> Access {
        let Some(item) = agent.get("llm") else {
            return Access::Usual;
        };
        match &item.node.value {
            Value::Null | Value::Map(_) => Access::Own,
            Value::Text(_) => match self.boolean(&item) {
                Some(true) => Access::Usual,
                Some(false) | None => Access::None,
            },
            Value::List(_) => {
                self.wrong_type(&item, "`false`, or a map");
                Access::None
            }
        }
    }

    fn tokens_per_hour(&mut self, agent: &Fields<'_>) -> Option<NonZeroU64> {
        let item = tokens_per_hour(agent)?;
        NonZeroU64::new(self.whole(&item, (1, MOST_TOKENS))?)
    }

    /// Tokens are counted where they pass the supervisor, and nowhere else.
    fn no_tokens_counted(&mut self, agent: &Fields<'_>) {
        if let Some(item) = tokens_per_hour(agent).filter(|item| item.origin == Origin::Own) {
            let message = "`llm_tokens_per_hour` counts what an agent says to models through the supervisor, and this one reaches none";
            let help = "remove it, or give the agent access by `llm`";
            self.key_error(&item, Code::Conflict, message, help);
        }
    }

    /// Reads how models are called, over what holds otherwise.
    fn calls(&mut self, fields: &Fields<'_>, below: &Calls, catalog: &Catalog<'_>) -> Calls {
        let mut calls = below.clone();
        self.which_models(fields, &mut calls, catalog);
        let mut time = |key: &str| fields.get(key).and_then(|item| self.some_time(&item));
        if let Some(timeout) = time("timeout") {
            calls.rest.timeout = timeout;
        }
        if let Some(timeout) = time("idle_timeout") {
            calls.rest.idle_timeout = timeout;
        }
        let mut count = |key: &str, bounds: (u64, u64)| {
            let item = fields.get(key);
            item.and_then(|item| self.whole(&item, bounds))
        };
        let retries = count("max_retries", (0, 10));
        if let Some(retries) = retries.and_then(|retries| retries.try_into().ok()) {
            calls.rest.max_retries = retries;
        }
        calls.min_output = count("min_output", (1, MOST_TOKENS)).unwrap_or(calls.min_output);
        let cap = count("default_output_cap", (1, MOST_TOKENS));
        calls.rest.default_output_cap = cap.or(calls.rest.default_output_cap);
        let words = [("reject", Tight::Reject), ("clamp", Tight::Clamp)];
        let tight = fields.get("on_tight");
        let tight = tight.and_then(|item| self.choice(&item, &words));
        calls.tight = tight.unwrap_or(calls.tight);
        let statuses = [
            ("402", RefusalStatus::PaymentRequired),
            ("400", RefusalStatus::BadRequest),
        ];
        let status = fields.get("refusal_status");
        let status = status.and_then(|item| self.choice(&item, &statuses));
        calls.rest.refusal_status = status.unwrap_or(calls.rest.refusal_status);
        self.validators(fields, &mut calls.rest, catalog);
        self.caching(fields, &mut calls.rest);
        calls
    }

    /// Which models may be called. Whoever names models is not given others by what holds
    /// otherwise.
    fn which_models(&mut self, fields: &Fields<'_>, calls: &mut Calls, catalog: &Catalog<'_>) {
        if let Some(item) = fields.get("models") {
            calls.models = self.models_named(&item, catalog);
            if calls.models.is_empty() && !self.problems.failed() {
                let message = "no models are named";
                let help =
                    "name some, or remove it for all; `llm: false` at an agent gives it none";
                self.key_error(&item, Code::InvalidValue, message, help);
            }
        }
        let models = calls.models.clone();
        match fields.get("primary") {
            Some(item) => calls.primary = self.model_named(&item, catalog),
            None => calls.primary = calls.primary.take().filter(|name| models.contains(name)),
        }
        match fields.get("fallback") {
            Some(item) => calls.fallback = self.models_named(&item, catalog),
            None => calls.fallback.retain(|name| models.contains(name)),
        }
        let own = fields.present(&["primary", "fallback"]);
        let own: Vec<Item<'_>> = own.iter().flat_map(|item| self.one_or_more(item)).collect();
        for item in own {
            let name = item
                .node
                .as_scalar()
                .and_then(|name| catalog.name(&name.text));
            if name.is_some_and(|name| !models.contains(&name)) {
                let message = format!(
                    "{} is not among the `models` that may be called",
                    item.shown()
                );
                let help = "add it there, or name one of them";
                self.error(&item, Code::Conflict, message, help);
            }
        }
    }

    fn models_named(&mut self, item: &Item<'_>, catalog: &Catalog<'_>) -> Vec<Arc<str>> {
        let mut names: Vec<Arc<str>> = Vec::new();
        for item in self.one_or_more(item) {
            let Some(name) = self.model_named(&item, catalog) else {
                continue;
            };
            if names.contains(&name) {
                let message = format!("{} is named twice", item.shown());
                self.error(&item, Code::Conflict, message, "keep one of them");
            } else {
                names.push(name);
            }
        }
        names
    }

    fn model_named(&mut self, item: &Item<'_>, catalog: &Catalog<'_>) -> Option<Arc<str>> {
        let text = self.text(item)?;
        let name = catalog.name(&text);
        if name.is_none() && !catalog.incomplete {
            let message = format!("there is no model {}", item.shown());
            self.error(item, Code::InvalidValue, message, catalog.suggestion(&text));
        }
        name
    }
}

fn tokens_per_hour<'n>(agent: &Fields<'n>) -> Option<Item<'n>> {
    let resources = Fields::of(&RESOURCES, agent.get("resources")?)?;
    resources.get("llm_tokens_per_hour")
}
