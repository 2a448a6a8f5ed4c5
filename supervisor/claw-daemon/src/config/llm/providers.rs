//! `llm.providers`: who provides models.

use std::str::FromStr;
use std::sync::Arc;

use claw_gateway::llm::prices::PriceTable;
use claw_gateway::llm::route::Rate;
use claw_gateway::llm::serve::{OnHangUp, Provider, ProviderKind};
use claw_gateway::llm::upstream::{BaseUrl, Key, NotABaseUrl};
use claw_gateway::llm::wire::ChatLimit;

use super::super::diagnostic::Code;
use super::super::environment::ProviderKeys;
use super::super::item::{Fields, Item};
use super::super::keys_llm::PROVIDER;
use super::super::reader::Reader;
use super::super::section::nearest;
use super::super::value::Rejected;
use super::catalog::{Catalog, MAX_NAME};
use super::known::{self, Known};
use super::place::{Address, Place};

/// A provider on its way into the catalog, with what its models need to know of it.
pub(super) struct Read<'n> {
    pub(super) provider: Provider,
    pub(super) name: Arc<str>,
    /// The known provider at its address.
    pub(super) at: Option<&'static Known>,
    pub(super) free: bool,
    /// Its address, if it is free by that alone and wants a key all the same.
    proxy: Option<Item<'n>>,
}

impl<'n> Reader<'_> {
    /// Reads the providers with their models, and more names for these.
    pub(super) fn llm_catalog(&mut self, llm: &Fields<'n>, table: &PriceTable) -> Catalog<'n> {
        let mut catalog = Catalog::default();
        catalog.incomplete = true;
        let Some(item) = llm.get("providers") else {
            let message = "`llm` has no `providers`";
            let help =
                "add `providers: {openai: {api_key: \"${OPENAI_API_KEY}\", models: [gpt-4o]}}`";
            self.key_error(&llm.item, Code::MissingKey, message, help);
            return catalog;
        };
        let Some(entries) = item.named() else {
            let message = format!("`providers` must be a map, found {}", item.node.kind());
            let help = "write `NAME: {api_key: …, models: [MODEL]}` below it";
            self.error(&item, Code::WrongType, message, help);
            return catalog;
        };
        catalog.incomplete = false;
        for (name, item) in entries {
            let Some((read, fields)) = self.llm_provider(name, &item) else {
                catalog.incomplete = true;
                continue;
            };
            self.llm_models(&fields, &read, (table, &mut catalog));
            if let Some(address) = read.proxy {
                catalog.proxies.insert(Arc::clone(&read.name), address);
            }
            let provider = Arc::new(read.provider);
            catalog.providers.insert(read.name, provider);
        }
        self.llm_aliases(llm, &mut catalog);
        catalog
    }

    fn llm_provider(&mut self, name: &str, item: &Item<'n>) -> Option<(Read<'n>, Fields<'n>)> {
        let usable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(usable) {
            let message = "that cannot be the name of a provider";
            let help = "use letters, digits, `-`, `_` and `.`";
            self.key_error(item, Code::InvalidValue, message, help);
            return None;
        }
        let fields = self.fields(&PROVIDER, item)?;
        let kind = self.provider_kind(name, &fields);
        let url = fields.get("base_url");
        let written = url.as_ref().and_then(|item| self.text(item));
        if url.is_some() && written.is_none() {
            return None;
        }
        let home = known::of_name(name).filter(|home| kind.is_none_or(|kind| kind == home.kind));
        let home = home.or_else(|| known::of_kind(kind?));
        let Some(text) = written.as_deref().or_else(|| Some(home?.base_url)) else {
            self.provider_without_address(name, item);
            return None;
        };
        let kind = kind
            .or_else(|| Some(home?.kind))
            .unwrap_or(ProviderKind::OpenAi);
        let base_url = match BaseUrl::from_str(text) {
            Ok(base_url) => base_url,
            Err(error) => {
                self.no_base_url(url.as_ref().unwrap_or(item), error);
                return None;
            }
        };
        let address = Address::of(text);
        let at = match &url {
            Some(_) => address
                .as_ref()
                .and_then(|address| known::of_host(&address.host)),
            None => home,
        };
        let key = self.provider_key(name, &fields, at);
        if let (Some(address), Some(item), Some(_)) = (&address, &url, &key) {
            self.key_in_clear(item, address);
        }
        let loopback = address.map(|address| address.place()) == Some(Place::Loopback);
        let free = fields.get("free").and_then(|item| self.boolean(&item));
        let keyed = key.is_some() && loopback && kind != ProviderKind::Ollama;
        let provider = Provider {
            kind,
            base_url,
            key,
            rate_limit: self.provider_rate(&fields),
            on_hang_up: self.on_hang_up(&fields, (kind, at)),
            chat_limit: self.chat_limit(&fields, at),
        };
        let read = Read {
            provider,
            name: name.into(),
            at,
            proxy: url.filter(|_url| keyed && free.is_none()),
            free: free.unwrap_or(kind == ProviderKind::Ollama || loopback),
        };
        Some((read, fields))
    }

    fn no_base_url(&mut self, item: &Item<'_>, error: NotABaseUrl) {
        match error {
            // What stands in it is a key, and in no message.
            NotABaseUrl::Credentials => {
                let help = "write the key below `api_key`, and the URL without it";
                self.key_error(item, Code::InvalidValue, &error.to_string(), help);
            }
            NotABaseUrl::NotAUrl | NotABaseUrl::Scheme | NotABaseUrl::Query => {
                let rejected = Rejected::new(error.to_string());
                self.rejected(item, "a provider's base URL", rejected);
            }
        }
    }

    /// The kind that is written, or that a name of somebody else with an address has.
    fn provider_kind(&mut self, name: &str, fields: &Fields<'_>) -> Option<ProviderKind> {
        let kinds = [
            ("openai", ProviderKind::OpenAi),
            ("anthropic", ProviderKind::Anthropic),
            ("ollama", ProviderKind::Ollama),
        ];
        let written = fields.get("kind");
        let written = written.and_then(|item| self.choice(&item, &kinds));
        written.or_else(|| known::of_name(name).map(|known| known.kind))
    }

    fn provider_without_address(&mut self, name: &str, item: &Item<'_>) {
        let message = format!("where `{name}` is reached is not known");
        let help = match nearest(name, known::names()) {
            Some(near) => format!("did you mean `{near}`? Otherwise add `base_url: URL`"),
            None => "add `base_url: URL`, and `kind` unless it has OpenAI's interface".to_owned(),
        };
        self.key_error(item, Code::MissingKey, &message, &help);
    }

    /// The key itself is in no message.
    fn provider_key(
        &mut self,
        name: &str,
        fields: &Fields<'_>,
        at: Option<&'static Known>,
    ) -> Option<Key> {
        let Some(item) = fields.get("api_key") else {
            let needed = self.environment.provider_keys == ProviderKeys::Needed;
            if let Some(known) = at.filter(|known| needed && known.wants_key()) {
                let message = format!("`{name}` has no `api_key`, and {} wants one", known.name);
                let variable = known.name.to_uppercase();
                let help = format!(
                    "add `api_key: \"${{{variable}_API_KEY}}\"`, and set the variable in the environment or in `.env`"
                );
                self.key_error(&fields.item, Code::MissingKey, &message, &help);
            }
            return None;
        };
        let text = self.text(&item)?;
        let key = Key::new(&text);
        if key.is_none() {
            let message = "the key has characters that cannot be sent";
            let help = "copy it again; it is one line of plain text";
            self.key_error(&item, Code::InvalidValue, message, help);
        } else if !item.is_from_environment() {
            let message = format!("the key of `{name}` stands in the file");
            let help = "move it into the environment or `.env`, and write its variable: `api_key: \"${NAME}\"`";
            self.key_warning(&item, Code::Permissions, message, help);
        }
        key
    }

    fn key_in_clear(&mut self, item: &Item<'_>, address: &Address) {
        if !address.in_clear {
            return;
        }
        let message = "the key would cross the network in clear";
        let help = "write `https://`, or remove the `api_key`";
        match address.place() {
            Place::Loopback | Place::Private => {}
            Place::Public | Place::Named => self.error(item, Code::InvalidValue, message, help),
        }
    }

    fn provider_rate(&mut self, fields: &Fields<'_>) -> Option<Rate> {
        let item = fields.get("rate_limit")?;
        self.parsed(&item, "a rate of requests", |text| {
            Rate::from_str(text).map_err(|error| {
                Rejected::new(error.to_string()).help("write so many in a time, such as `500/min`")
            })
        })
    }

    fn on_hang_up(
        &mut self,
        fields: &Fields<'_>,
        (kind, at): (ProviderKind, Option<&'static Known>),
    ) -> OnHangUp {
        let words = [("cancel", OnHangUp::Cancel), ("drain", OnHangUp::Drain)];
        let written = fields.get("on_hang_up");
        let written = written.and_then(|item| self.choice(&item, &words));
        let usual = match (at, kind) {
            (Some(known), _) => known.on_hang_up,
            (None, ProviderKind::Ollama) => OnHangUp::Cancel,
            // Nobody knows whether it goes on, and charges.
            (None, ProviderKind::OpenAi | ProviderKind::Anthropic) => OnHangUp::Drain,
        };
        written.unwrap_or(usual)
    }

    fn chat_limit(&mut self, fields: &Fields<'_>, at: Option<&'static Known>) -> ChatLimit {
        let words = [
            ("max_completion_tokens", ChatLimit::MaxCompletionTokens),
            ("max_tokens", ChatLimit::MaxTokens),
        ];
        let written = fields.get("chat_limit");
        let written = written.and_then(|item| self.choice(&item, &words));
        let usual = at.map_or(ChatLimit::MaxTokens, |known| known.chat_limit);
        written.unwrap_or(usual)
    }
}
