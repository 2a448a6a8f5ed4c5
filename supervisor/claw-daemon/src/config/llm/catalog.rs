//! The models of `llm.providers`, and `llm.aliases`.

use std::collections::BTreeMap;
use std::sync::Arc;

use claw_gateway::llm::prices::PriceTable;
use claw_gateway::llm::serve::{Model, Price, Provider};

use super::super::diagnostic::Code;
use super::super::item::{Fields, Item};
use super::super::keys_llm::{MODEL, MOST_TOKENS};
use super::super::reader::Reader;
use super::super::section::nearest;
use super::super::tree::Value;
use super::super::value::Rejected;
use super::known;
use super::providers::Read;

/// Stands for each agent's primary model.
const DEFAULT: &str = "default";
/// The longest name of a model or provider.
pub(super) const MAX_NAME: usize = 200;
/// Every agent holds the names of the models that it may call.
const MAX_MODELS: usize = 1000;

/// Providers and models as the file names them.
#[derive(Debug, Default)]
pub(super) struct Catalog<'n> {
    pub(super) providers: BTreeMap<Arc<str>, Arc<Provider>>,
    pub(super) models: BTreeMap<Arc<str>, Arc<Model>>,
    /// The names of models in the order of the file, aliases last.
    pub(super) names: Vec<Arc<str>>,
    /// The addresses of providers on loopback that have a key, so that somebody may charge for what
    /// they pass on.
    pub(super) proxies: BTreeMap<Arc<str>, Item<'n>>,
    /// Where each of them stands.
    places: BTreeMap<Arc<str>, Item<'n>>,
    /// How many of the names are no aliases.
    own: usize,
    /// Whether a part of the file could not be read, so that names may be missing here.
    pub(super) incomplete: bool,
}

impl<'n> Catalog<'n> {
    /// The model's name as it is kept, if there is such a model.
    pub(super) fn name(&self, text: &str) -> Option<Arc<str>> {
        let known = self.models.get_key_value(text);
        known.map(|(name, _)| Arc::clone(name))
    }

    /// Where a name was written.
    pub(super) fn place(&self, name: &str) -> Option<&Item<'n>> {
        self.places.get(name)
    }

    /// The models by the names they were declared with, without aliases.
    pub(super) fn own_names(&self) -> impl Iterator<Item = (&Arc<str>, &Model)> {
        let names = self.names.iter().take(self.own);
        names.filter_map(|name| Some((name, &**self.models.get(name)?)))
    }

    /// What to do about a name that no model has.
    pub(super) fn suggestion(&self, text: &str) -> String {
        match nearest(text, self.names.iter().map(|name| &**name)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "name a model of `llm.providers`, or an alias of one".to_owned(),
        }
    }
}

impl<'n> Reader<'_> {
    /// Reads the models of a provider.
    pub(super) fn llm_models(
        &mut self,
        fields: &Fields<'n>,
        read: &Read<'_>,
        (table, catalog): (&PriceTable, &mut Catalog<'n>),
    ) {
        let Some(item) = fields.get("models") else {
            let message = format!("`{}` has no `models`", read.name);
            let help =
                "add `models: [MODEL]`; nothing else of it can be called. Write `[]` for none";
            self.key_error(&fields.item, Code::MissingKey, &message, help);
            return;
        };
        let items = match &item.node.value {
            Value::Map(_) => {
                self.wrong_type(&item, "a list of models");
                return;
            }
            Value::Text(_) => vec![item],
            Value::List(_) => item.elements().unwrap_or_default(),
            Value::Null => Vec::new(),
        };
        for item in items {
            match self.llm_model(&item, read, table) {
                Some((name, model)) => self.add_model(catalog, (name, &item), Arc::new(model)),
                None => catalog.incomplete = true,
            }
        }
        catalog.own = catalog.names.len();
    }

    fn llm_model(
        &mut self,
        item: &Item<'_>,
        read: &Read<'_>,
        table: &PriceTable,
    ) -> Option<(String, Model)> {
        let resolved = |name: &str| known::id_of(read.provider.kind, name, table);
        if let Value::Text(_) = item.node.value {
            let name = self.model_name(item)?;
            let model = described(&resolved(&name), read, table);
            return Some((name, model));
        }
        let fields = self.fields(&MODEL, item)?;
        let id = fields.get("id").map(|item| self.text(&item));
        let name = fields.get("name").map(|item| self.model_name(&item));
        let rates = self.rates(&fields);
        let (name, id) = match (name, id) {
            (Some(name), Some(id)) => (name?, id?),
            (Some(name), None) => {
                let name = name?;
                let id = resolved(&name);
                (name, id)
            }
            (None, Some(id)) => {
                let id = id?;
                (id.clone(), id)
            }
            (None, None) => {
                let help = "add `name: MODEL`";
                self.error(item, Code::MissingKey, "a model has a `name`", help);
                return None;
            }
        };
        let mut model = described(&id, read, table);
        if let Some(rates) = rates {
            model.price = Price::Known(Arc::new(rates));
        }
        let mut tokens = |key: &str, known: Option<u64>| {
            let item = fields.get(key);
            let written = item.and_then(|item| self.whole(&item, (1, MOST_TOKENS)));
            written.or(known)
        };
        model.max_output = tokens("max_output", model.max_output);
        model.context = tokens("context", model.context);
        model.image_tokens = tokens("image_tokens", model.image_tokens);
        Some((name, model))
    }

    /// The name of a model as agents use it.
    fn model_name(&mut self, item: &Item<'_>) -> Option<String> {
        self.parsed(item, "the name of a model", |text| {
            let unusable = |c: char| c.is_whitespace() || c.is_control();
            if text.is_empty() || text.len() > MAX_NAME || text.contains(unusable) {
                let why = format!("it does not have 1 to {MAX_NAME} characters without spaces");
                return Err(Rejected::new(why));
            }
            if text == DEFAULT {
                let rejected = Rejected::new("that stands for each agent's primary model");
                return Err(rejected.help("use another name"));
            }
            Ok(text.to_owned())
        })
    }

    fn add_model(
        &mut self,
        catalog: &mut Catalog<'n>,
        (name, item): (String, &Item<'n>),
        model: Arc<Model>,
    ) {
        if let Some(first) = catalog.places.get(name.as_str()) {
            let message = format!("two models are called {}", item.shown_part(&name));
            let both = [first.clone(), item.clone()];
            let help = format!(
                "give one of them another name: `{{name: NAME, id: {}}}`",
                model.id
            );
            self.only_one(&both, &message, &help);
            return;
        }
        if catalog.names.len() == MAX_MODELS {
            let message = format!("`llm` has more than {MAX_MODELS} models");
            let help = "name those that agents call";
            self.error(item, Code::TooComplex, message, help);
        }
        if catalog.names.len() >= MAX_MODELS {
            return;
        }
        let name: Arc<str> = name.into();
        catalog.models.insert(Arc::clone(&name), model);
        catalog.places.insert(Arc::clone(&name), item.clone());
        catalog.names.push(name);
    }

    /// Reads more names for models.
    pub(super) fn llm_aliases(&mut self, llm: &Fields<'n>, catalog: &mut Catalog<'n>) {
        let Some(item) = llm.get("aliases") else {
            return;
        };
        let Some(entries) = item.named() else {
            self.wrong_type(&item, "a map of names to models");
            return;
        };
        let mut targets: BTreeMap<&str, String> = BTreeMap::new();
        for (name, item) in &entries {
            if let Some(target) = self.text(item) {
                targets.insert(name, target);
            }
        }
        for (name, item) in &entries {
            let Some(target) = targets.get(name) else {
                continue;
            };
            let Some(model) = self.alias_target((target, item), &targets, catalog) else {
                continue;
            };
            let own_name = item.key.is_some() && *name != DEFAULT && name.len() <= MAX_NAME;
            if own_name {
                self.add_model(catalog, ((*name).to_owned(), item), model);
            } else {
                let message = "that cannot be the name of a model";
                let help = "`default` stands for each agent's primary model; use another name";
                self.key_error(item, Code::InvalidValue, message, help);
            }
        }
    }

    /// The model that an alias leads to, also through other ones.
    fn alias_target(
        &mut self,
        (target, item): (&str, &Item<'_>),
        targets: &BTreeMap<&str, String>,
        catalog: &Catalog<'_>,
    ) -> Option<Arc<Model>> {
        let mut at = target;
        for _ in 0..=targets.len() {
            if let Some(model) = catalog.models.get(at) {
                return Some(Arc::clone(model));
            }
            let Some(next) = targets.get(at) else {
                if catalog.incomplete {
                    return None;
                }
                let message = format!("there is no model {}", item.shown_part(at));
                self.error(item, Code::InvalidValue, message, catalog.suggestion(at));
                return None;
            };
            at = next;
        }
        let message = format!("the alias `{}` leads back to itself", item.name());
        self.error(
            item,
            Code::Conflict,
            message,
            "name a model of `llm.providers`",
        );
        None
    }
}

/// A model as the table of prices knows it.
fn described(id: &str, read: &Read<'_>, table: &PriceTable) -> Model {
    let by_name = table.lookup(&read.name, id);
    let row = by_name.or_else(|| table.lookup(read.at?.name, id));
    let price = match row {
        _ if read.free => Price::Free,
        Some(row) => Price::Known(Arc::new(row.rates.clone())),
        None => Price::Unknown,
    };
    Model {
        provider: Arc::clone(&read.name),
        id: id.into(),
        price,
        max_output: row.and_then(|row| row.max_output),
        context: row.and_then(|row| row.max_input),
        image_tokens: row.and_then(|row| row.max_per_image),
    }
}
