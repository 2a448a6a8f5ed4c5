//! What makes two requests equal.

use std::fmt;

use sha2::{Digest, Sha256};

use super::super::chain::Target;
use super::super::settings::{AgentSettings, CacheScope, Model, Provider};
use super::lookup::Asked;
use crate::llm::upstream;

/// A hash of all that an answer depends on: the request, byte for byte, with the headers that its
/// provider sees; the models that may serve it, and how they are asked; and what is done to
/// answers before they pass.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; 32]);

impl Key {
    pub(super) fn of(asked: &Asked<'_>) -> Self {
        let mut parts = Parts(Sha256::new());
        match asked.settings.cache.scope {
            CacheScope::Agent => parts.add(asked.caller.agent.as_bytes()),
            // No agent has this name.
            CacheScope::Fleet => parts.add(b""),
        }
        parts.add(asked.request.api.path().as_bytes());
        parts.add(asked.hash);
        for (name, value) in upstream::seen_by_provider(asked.headers) {
            parts.add(name.as_str().as_bytes());
            parts.add(value.as_bytes());
        }
        parts.add_shown(&asked.targets.len());
        for target in asked.targets {
            parts.add_target(target);
        }
        parts.add_agent(asked.agent);
        Self(parts.0.finalize().into())
    }

    #[cfg(test)]
    pub(super) const fn raw(byte: u8) -> Self {
        Self([byte; 32])
    }
}

struct Parts(Sha256);

impl Parts {
    /// With its length before it, so that no two rows of parts are the same bytes.
    fn add(&mut self, part: &[u8]) {
        self.0.update(part.len().to_le_bytes());
        self.0.update(part);
    }

    /// Keys are compared within this process alone, where equal settings are shown equal.
    fn add_shown(&mut self, part: &impl fmt::Debug) {
        self.add(format!("{part:?}").as_bytes());
    }

    fn add_target(&mut self, target: &Target) {
        let Target {
            provider_name,
            provider,
            model,
        } = target;
        // How much, how long and for whose account a provider is asked changes no answer.
        let Provider {
            kind,
            base_url,
            key: _,
            rate_limit: _,
            on_hang_up: _,
            chat_limit,
        } = &**provider;
        let Model {
            provider: _,
            id,
            price: _,
            max_output,
            context: _,
            image_tokens: _,
        } = &**model;
        self.add_shown(&(provider_name, kind, base_url, chat_limit, id, max_output));
    }

    fn add_agent(&mut self, agent: &AgentSettings) {
        // The targets are the models and fallbacks of the request. An answer that was clamped is
        // not kept.
        let AgentSettings {
            models: _,
            fallback: _,
            timeout: _,
            idle_timeout: _,
            max_retries: _,
            on_tight: _,
            default_output_cap,
            refusal_status: _,
            unknown_price: _,
            tokens_per_hour: _,
            prompts,
            answers,
            schema,
            requested_schema,
            content_safety,
            cache: _,
        } = agent;
        self.add_shown(default_output_cap);
        self.add_shown(&(prompts, answers, schema, requested_schema, content_safety));
    }
}
