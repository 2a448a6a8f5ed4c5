//! `cache`: answers that are given again to equal requests.

use std::time::Duration;

use claw_gateway::llm::serve::{AgentSettings, CacheScope, CacheSettings, Caching};

use super::super::diagnostic::Code;
use super::super::item::{Fields, Item};
use super::super::keys_llm::CACHE;
use super::super::reader::Reader;
use super::super::tree::Value;
use super::super::value::{Rejected, duration, quantity};

/// No answer is older. Providers themselves keep what they were asked for about as long (OpenAI's
/// page on conversation state), so that what an answer names is still there.
const OLDEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// With less, there is no room for answers of a usual length.
const LEAST: u64 = 1024 * 1024;

/// Answers are in the supervisor's own memory.
const MOST: u64 = 16 * 1024 * 1024 * 1024;

impl Reader<'_> {
    /// Reads how answers are kept, and whether they are where nothing else is said.
    pub(super) fn llm_cache(&mut self, llm: &Fields<'_>) -> (Caching, CacheSettings) {
        let usual = CacheSettings::default();
        let Some(item) = llm.get("cache") else {
            return (Caching::Off, usual);
        };
        if let Value::Text(_) = item.node.value {
            return (self.cache_switch(&item).unwrap_or_default(), usual);
        }
        match self.fields(&CACHE, &item) {
            Some(fields) => (Caching::On, self.cache_settings(&fields)),
            None => (Caching::Off, usual),
        }
    }

    fn cache_settings(&mut self, fields: &Fields<'_>) -> CacheSettings {
        let usual = CacheSettings::default();
        let ttl = fields.get("ttl").and_then(|item| self.cache_ttl(&item));
        let max_size = fields.get("max_size");
        let max_size = max_size.and_then(|item| self.cache_size(&item));
        let shared = fields.get("shared").and_then(|item| self.boolean(&item));
        CacheSettings {
            ttl: ttl.unwrap_or(usual.ttl),
            max_size: max_size.unwrap_or(usual.max_size),
            scope: match shared {
                Some(true) => CacheScope::Fleet,
                Some(false) | None => CacheScope::Agent,
            },
        }
    }

    /// Reads whether answers are kept, over what holds otherwise.
    pub(super) fn caching(&mut self, fields: &Fields<'_>, settings: &mut AgentSettings) {
        let Some(item) = fields.get("cache") else {
            return;
        };
        if let Value::Map(_) = item.node.value {
            let message = "how answers are kept stands once, for all agents";
            let help = "write `cache: true` or `cache: false` here, and the rest as `llm: {cache: {…}}` at the top of the file";
            self.key_error(&item, Code::Conflict, message, help);
            return;
        }
        settings.cache = self.cache_switch(&item).unwrap_or(settings.cache);
    }

    fn cache_switch(&mut self, item: &Item<'_>) -> Option<Caching> {
        Some(match self.boolean(item)? {
            true => Caching::On,
            false => Caching::Off,
        })
    }

    fn cache_ttl(&mut self, item: &Item<'_>) -> Option<Duration> {
        self.parsed(item, "a time to keep answers", |text| {
            let ttl = duration::parse(text)?;
            if ttl.is_zero() {
                let rejected = Rejected::new("it is no time at all");
                return Err(rejected.help("write `cache: false` to keep none"));
            }
            if ttl > OLDEST {
                return Err(Rejected::new("it is more than 30d"));
            }
            Ok(ttl)
        })
    }

    fn cache_size(&mut self, item: &Item<'_>) -> Option<u64> {
        self.parsed(item, "a size of a cache", |text| {
            let size = quantity::memory(text)?;
            if !(LEAST..=MOST).contains(&size) {
                let rejected = Rejected::new("it is not from 1Mi to 16Gi");
                return Err(rejected.help("write `64Mi`, or `cache: false` to keep no answers"));
            }
            Ok(size)
        })
    }
}
