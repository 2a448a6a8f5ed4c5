//! `webhooks:`: who may call from outside, and what comes of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use claw_core::AgentName;
use claw_core::spec::Secret;

use super::diagnostic::Code;
use super::item::{Fields, Item};
use super::keys::WEBHOOK;
use super::reader::Reader;
use super::value::Rejected;

/// The shortest secret: a guess must be hopeless.
const SECRET: usize = 16;

/// Calls in a minute, when the file does not say.
const PER_MINUTE: u32 = 60;

/// A webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// What its callers sign with.
    pub secret: Secret,
    /// What a call does.
    pub target: WebhookTarget,
    /// Calls that are taken in a minute.
    pub per_minute: u32,
}

/// What a call of a webhook does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookTarget {
    /// It triggers a run of this agent.
    Agent(AgentName),
    /// It publishes an event of this name.
    Event(String),
}

impl Reader<'_> {
    /// Reads the webhooks by their names.
    pub(super) fn webhooks(
        &mut self,
        fields: &Fields<'_>,
        known: impl Fn(&AgentName) -> bool,
    ) -> BTreeMap<String, Arc<Webhook>> {
        let Some(item) = fields.get("webhooks") else {
            return BTreeMap::new();
        };
        let Some(entries) = item.named() else {
            let message = format!("`webhooks` must be a map, found {}", item.node.kind());
            let help = "write `NAME: {event: EVENT, secret: ${SECRET}}` below it";
            self.error(&item, Code::WrongType, message, help);
            return BTreeMap::new();
        };
        let read = entries.into_iter().filter_map(|(name, item)| {
            let webhook = self.webhook(name, &item, &known)?;
            Some((name.to_owned(), Arc::new(webhook)))
        });
        read.collect()
    }

    fn webhook(
        &mut self,
        name: &str,
        item: &Item<'_>,
        known: impl Fn(&AgentName) -> bool,
    ) -> Option<Webhook> {
        let usable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if name.is_empty() || name.len() > 63 || !name.chars().all(usable) {
            let help = "use up to 63 letters, digits, `-` and `_`";
            self.key_error(
                item,
                Code::InvalidValue,
                "that cannot be the name of a webhook",
                help,
            );
            return None;
        }
        let fields = self.fields(&WEBHOOK, item)?;
        let targets = fields.present(&["agent", "event"]);
        self.only_one(
            &targets,
            "a webhook does one thing",
            "keep one of `agent` and `event`",
        );
        let (Some(target), Some(secret)) = (targets.first(), fields.get("secret")) else {
            let help = "write `{event: EVENT, secret: ${SECRET}}`, or `agent` in place of `event`";
            let message = "a webhook has a `secret`, and an `agent` or an `event`";
            self.key_error(item, Code::MissingKey, message, help);
            return None;
        };
        let target = if target.name() == "agent" {
            self.parsed(target, "an agent of this fleet", |text| {
                let agent = text.parse::<AgentName>().ok().filter(|name| known(name));
                agent.map(WebhookTarget::Agent).ok_or_else(|| {
                    Rejected::plainly().help("name an agent of this file, or publish an `event`")
                })
            })
        } else {
            self.parsed(
                target,
                "an event",
                |text| match crate::agent_api::refused_name(text) {
                    Some((_rule, why)) => {
                        Err(Rejected::new(why).help("write a name such as `order_received`"))
                    }
                    None => Ok(WebhookTarget::Event(text.to_owned())),
                },
            )
        };
        let secret = self.secret(&secret);
        let rate = fields.get("per_minute");
        let rate = rate.and_then(|item| self.whole(&item, (1, 60_000)));
        Some(Webhook {
            secret: secret?,
            target: target?,
            per_minute: rate
                .and_then(|rate| rate.try_into().ok())
                .unwrap_or(PER_MINUTE),
        })
    }

    /// The value itself is in no message.
    fn secret(&mut self, item: &Item<'_>) -> Option<Secret> {
        let text = self.text(item)?;
        if text.len() < SECRET {
            let message = format!("the secret has less than {SECRET} characters");
            let help = "make one with `openssl rand -hex 32`, and name it here: `${HOOK_SECRET}`";
            self.key_error(item, Code::InvalidValue, &message, help);
            return None;
        }
        Some(Secret::new(text))
    }
}
