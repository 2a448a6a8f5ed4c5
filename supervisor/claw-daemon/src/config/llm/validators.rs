//! `validators`: what is looked at in prompts and answers.

use std::collections::BTreeSet;
use std::sync::Arc;

use claw_gateway::llm::serve::{AgentSettings, ProviderKind};
use claw_gateway::llm::validate::content_safety::{ContentSafety, Judged, OnFailure};
use claw_gateway::llm::validate::json_schema::{OnViolation, Schema, SchemaRule};
use claw_gateway::llm::validate::pii::{Action, Kind, PiiFilter};

use super::super::diagnostic::Code;
use super::super::item::{Fields, Item};
use super::super::keys_llm::{CONTENT_SAFETY, JSON_SCHEMA, PII_FILTER, VALIDATORS};
use super::super::reader::Reader;
use super::super::section::Section;
use super::super::source::{self, Exposure, Source};
use super::super::tree::Value;
use super::super::value::Rejected;
use super::catalog::Catalog;

const ACTIONS: [(&str, Action); 3] = [
    ("redact", Action::Redact),
    ("block", Action::Block),
    ("warn", Action::Warn),
];
const VIOLATIONS: [(&str, OnViolation); 3] = [
    ("block", OnViolation::Block),
    ("repair", OnViolation::Repair),
    ("warn", OnViolation::Warn),
];

/// What stands at a validator.
enum Validator<'n> {
    Off,
    /// Without a word about how.
    On,
    So(Fields<'n>),
}

impl Reader<'_> {
    /// Reads validators, over those that hold otherwise.
    pub(super) fn validators(
        &mut self,
        fields: &Fields<'_>,
        settings: &mut AgentSettings,
        catalog: &Catalog<'_>,
    ) {
        let Some(fields) = self.inner(fields, "validators", &VALIDATORS) else {
            return;
        };
        if let Some(item) = fields.get("pii_filter") {
            let (prompts, answers) = self.pii_filter(&item);
            (settings.prompts, settings.answers) = (prompts, answers);
        }
        if let Some(item) = fields.get("json_schema") {
            let (schema, requested) = self.json_schema(&item);
            (settings.schema, settings.requested_schema) = (schema, requested);
        }
        if let Some(item) = fields.get("content_safety") {
            settings.content_safety = self.content_safety(&item, catalog);
        }
    }

    fn validator<'n>(
        &mut self,
        item: &Item<'n>,
        section: &'static Section,
    ) -> Option<Validator<'n>> {
        if let Value::Text(_) = item.node.value {
            return Some(match self.boolean(item)? {
                true => Validator::On,
                false => Validator::Off,
            });
        }
        self.fields(section, item).map(Validator::So)
    }

    /// What is done about personal data, in prompts and in answers.
    fn pii_filter(&mut self, item: &Item<'_>) -> (Option<PiiFilter>, Option<PiiFilter>) {
        let usual = PiiFilter {
            kinds: Kind::ALL.into(),
            action: Action::Redact,
        };
        let fields = match self.validator(item, &PII_FILTER) {
            None | Some(Validator::Off) => return (None, None),
            Some(Validator::On) => return (Some(usual.clone()), Some(usual)),
            Some(Validator::So(fields)) => fields,
        };
        let action = fields.get("action");
        let action = action.and_then(|item| self.choice(&item, &ACTIONS));
        let action = action.unwrap_or(usual.action);
        let kinds = match fields.get("fields") {
            Some(item) => self.pii_kinds(&item),
            None => usual.kinds,
        };
        let [redact, block, warn] = ACTIONS.map(|(word, action)| (word, Some(action)));
        let words = [redact, block, warn, ("off", None)];
        let mut place = |key: &str| {
            let item = fields.get(key);
            let own = item.and_then(|item| self.choice(&item, &words));
            let action = own.unwrap_or(Some(action))?;
            let kinds = kinds.clone();
            Some(PiiFilter { kinds, action })
        };
        (place("prompts"), place("answers"))
    }

    fn pii_kinds(&mut self, item: &Item<'_>) -> BTreeSet<Kind> {
        let words = [
            ("email", Kind::Email),
            ("phone", Kind::Phone),
            ("ssn", Kind::Ssn),
            ("credit_card", Kind::Card),
            ("card", Kind::Card),
            ("iban", Kind::Iban),
        ];
        let items = self.one_or_more(item);
        let kinds: BTreeSet<Kind> = items
            .iter()
            .filter_map(|item| self.choice(item, &words))
            .collect();
        if items.is_empty() {
            let message = "no kind of personal data is named";
            let help = "name some, or remove `fields` for all of them";
            self.key_error(item, Code::InvalidValue, message, help);
        }
        kinds
    }

    /// What is done about answers that do not follow a schema: of the file, and of a request.
    fn json_schema(&mut self, item: &Item<'_>) -> (Option<SchemaRule>, Option<OnViolation>) {
        let fields = match self.validator(item, &JSON_SCHEMA) {
            None | Some(Validator::Off) => return (None, None),
            Some(Validator::On) => return (None, Some(OnViolation::Block)),
            Some(Validator::So(fields)) => fields,
        };
        let action = fields.get("action");
        let action = action.and_then(|item| self.choice(&item, &VIOLATIONS));
        let [block, repair, warn] = VIOLATIONS.map(|(word, done)| (word, Some(done)));
        let words = [block, repair, warn, ("off", None)];
        let requested = fields.get("requested");
        let requested = requested.and_then(|item| self.choice(&item, &words));
        let schema = fields.get("schema_path");
        if schema.is_none() && requested.flatten().is_none() {
            let message = "no schema is named";
            let help = "add `schema_path: FILE`, or `requested: block` for the schemas that requests name themselves";
            self.key_error(item, Code::MissingKey, message, help);
        }
        let schema = schema.and_then(|item| self.schema_file(&item));
        let rule = schema.map(|schema| SchemaRule {
            schema,
            on_violation: action.unwrap_or(OnViolation::Block),
        });
        (rule, requested.flatten())
    }

    fn schema_file(&mut self, item: &Item<'_>) -> Option<Schema> {
        let path = self.path(item)?;
        let text = match source::read_text(&path) {
            Ok(text) => text,
            Err(error) => {
                let message = format!("the schema {} cannot be used: {error}", item.shown());
                self.error(item, Code::File, message, error.help());
                return None;
            }
        };
        let name = path.display().to_string();
        let read = serde_json::from_str(&text).map_err(|error| error.to_string());
        // It is watched also when it is wrong, so that its next version is read.
        self.sources
            .add(Source::new(name, path, text, Exposure::Shown));
        let compiled =
            read.and_then(|schema| Schema::compile(&schema).map_err(|error| error.to_string()));
        match compiled {
            Ok(schema) => Some(schema),
            Err(why) => {
                let message = format!("the schema {} cannot be used: {why}", item.shown());
                let help = "correct it: a JSON schema of draft 2020-12, or of the draft that its `$schema` names";
                self.error(item, Code::File, message, help);
                None
            }
        }
    }

    fn content_safety(&mut self, item: &Item<'_>, catalog: &Catalog<'_>) -> Option<ContentSafety> {
        let fields = match self.validator(item, &CONTENT_SAFETY)? {
            Validator::Off => return None,
            Validator::On => return self.only_judge(item, catalog).map(ContentSafety::new),
            Validator::So(fields) => fields,
        };
        let provider = match fields.get("provider") {
            Some(item) => self.judge_named(&item, catalog),
            None => self.only_judge(item, catalog),
        };
        let mut judge = ContentSafety::new(provider?);
        judge.model = fields
            .get("model")
            .and_then(|item| self.text(&item))
            .map(Arc::from);
        if let Some(item) = fields.get("categories") {
            let items = self.one_or_more(&item);
            let names = items.iter().filter_map(|item| self.text(item));
            judge.categories = names.map(category).collect();
        }
        if let Some(item) = fields.get("action") {
            self.choice(&item, &[("block", ())]);
        }
        let places = [
            ("prompts", Judged::Prompts),
            ("answers", Judged::Answers),
            ("both", Judged::Both),
        ];
        let judged = fields.get("judged");
        let judged = judged.and_then(|item| self.choice(&item, &places));
        judge.judged = judged.unwrap_or(judge.judged);
        let failures = [("block", OnFailure::Block), ("allow", OnFailure::Allow)];
        let failure = fields.get("on_failure");
        let failure = failure.and_then(|item| self.choice(&item, &failures));
        judge.on_failure = failure.unwrap_or(judge.on_failure);
        let timeout = fields.get("timeout");
        let timeout = timeout.and_then(|item| self.some_time(&item));
        judge.timeout = timeout.unwrap_or(judge.timeout);
        Some(judge)
    }

    fn judge_named(&mut self, item: &Item<'_>, catalog: &Catalog<'_>) -> Option<Arc<str>> {
        self.parsed(item, "a provider that judges texts", |text| {
            let Some((name, provider)) = catalog.providers.get_key_value(text) else {
                let rejected = Rejected::new("`llm.providers` has none of that name");
                return Err(rejected.help("name one with OpenAI's interface"));
            };
            match provider.kind {
                ProviderKind::OpenAi => Ok(Arc::clone(name)),
                ProviderKind::Anthropic | ProviderKind::Ollama => {
                    let rejected = Rejected::new("it has no `/moderations`");
                    Err(rejected.help("name one with OpenAI's interface"))
                }
            }
        })
    }

    fn only_judge(&mut self, item: &Item<'_>, catalog: &Catalog<'_>) -> Option<Arc<str>> {
        let judges = catalog.providers.iter();
        let mut judges = judges.filter(|(_, provider)| provider.kind == ProviderKind::OpenAi);
        let judge = match (
            catalog.providers.get_key_value("openai"),
            judges.next(),
            judges.next(),
        ) {
            (Some((name, provider)), _, _) if provider.kind == ProviderKind::OpenAi => Some(name),
            (_, Some((name, _)), None) => Some(name),
            (_, None | Some(_), _) => None,
        };
        if judge.is_none() {
            let message = "nobody is named who judges texts";
            let help = "add `provider: NAME` of a provider with OpenAI's interface; its `/moderations` is asked";
            self.key_error(item, Code::MissingKey, message, help);
        }
        judge.map(Arc::clone)
    }
}

/// A category as OpenAI names it (<https://developers.openai.com/api/docs/guides/moderation>), also
/// by other common names.
fn category(name: String) -> String {
    match name.as_str() {
        "hate_speech" => "hate".to_owned(),
        "self_harm" => "self-harm".to_owned(),
        _ => name,
    }
}
