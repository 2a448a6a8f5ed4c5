//! Which headers pass. What is not named here stays: the agent's token on its way out, and what a
//! provider tells about the account on its way in.

use http::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use http::{HeaderMap, header};

use super::Key;
use crate::llm::wire::{Excerpt, Side};

/// Of the agent's headers, those that its provider is to see: they choose behaviour, and no account.
const TO_PROVIDER: [HeaderName; 3] = [
    BETA,
    HeaderName::from_static("anthropic-version"),
    HeaderName::from_static("openai-beta"),
];

/// Of the provider's headers, those that the agent is to see.
const TO_AGENT: [HeaderName; 5] = [
    CONTENT_TYPE,
    header::RETRY_AFTER,
    HeaderName::from_static("request-id"),
    HeaderName::from_static("retry-after-ms"),
    HeaderName::from_static("x-request-id"),
];

/// Anthropic's betas that change neither a limit nor a price, without their dates
/// (<https://docs.anthropic.com/en/api/beta-headers> and the pages of the features). What they add
/// to a prompt is told as its usage, and bounded like the tools and documents they are for.
const HARMLESS_BETAS: [&str; 17] = [
    "claude-code",
    "computer-use",
    "context-management",
    "effort",
    "extended-cache-ttl",
    "files-api",
    "fine-grained-tool-streaming",
    "interleaved-thinking",
    "model-context-window-exceeded",
    "oauth",
    "pdfs",
    "prompt-caching",
    "search-results",
    "structured-outputs",
    "token-counting",
    "token-efficient-tools",
    "web-fetch",
];

const BETA: HeaderName = HeaderName::from_static("anthropic-beta");

/// The version of Anthropic's interface for agents that name none
/// (<https://docs.anthropic.com/en/api/versioning>).
const ANTHROPIC_VERSION: &str = "2023-06-01";

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const VERSION: HeaderName = HeaderName::from_static("anthropic-version");

/// The headers of an agent that its provider sees, with their names.
pub fn seen_by_provider(agent: &HeaderMap) -> impl Iterator<Item = (HeaderName, &HeaderValue)> {
    let names = TO_PROVIDER.into_iter();
    names.filter_map(|name| agent.get(&name).map(|value| (name, value)))
}

/// The headers of a request to a provider.
pub(super) fn to_provider(agent: &HeaderMap, side: Side, key: Option<&Key>) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(8);
    for (name, value) in seen_by_provider(agent) {
        headers.insert(name, value.clone());
    }
    let json = HeaderValue::from_static("application/json");
    headers.insert(CONTENT_TYPE, json);
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    let agent = HeaderValue::from_static(concat!("openclaw/", env!("CARGO_PKG_VERSION")));
    headers.insert(USER_AGENT, agent);
    match side {
        Side::OpenAi => {
            headers.remove(VERSION);
            if let Some(key) = key {
                headers.insert(header::AUTHORIZATION, key.header("Bearer "));
            }
        }
        Side::Anthropic => {
            let version = HeaderValue::from_static(ANTHROPIC_VERSION);
            headers.entry(VERSION).or_insert(version);
            if let Some(key) = key {
                headers.insert(API_KEY, key.header(""));
            }
        }
    }
    headers
}

/// The first beta that an agent asks Anthropic for and that may change a limit or a price, as far as
/// is known here.
#[must_use]
pub fn unknown_beta(agent: &HeaderMap) -> Option<Excerpt> {
    for value in agent.get_all(BETA) {
        let Ok(value) = value.to_str() else {
            return Some(String::from_utf8_lossy(value.as_bytes()).as_ref().into());
        };
        let mut named = value.split(',').map(str::trim);
        let unknown = named.find(|beta| !beta.is_empty() && !is_harmless(beta));
        if let Some(beta) = unknown {
            return Some(beta.into());
        }
    }
    None
}

/// A beta is named with its date, as `pdfs-2024-09-25` or `oauth-20250219`.
fn is_harmless(beta: &str) -> bool {
    HARMLESS_BETAS.iter().any(|name| {
        let date = beta
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix('-'));
        date.is_some_and(|date| {
            date.bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b'-')
        })
    })
}

/// The headers of a provider's answer that go to the agent.
#[must_use]
pub fn to_agent(provider: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(8);
    for name in TO_AGENT {
        if let Some(value) = provider.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn a_provider_sees_its_key_and_nothing_of_the_agents_account() {
        let agent = headers(&[
            ("authorization", "Bearer agent"),
            ("x-api-key", "agent"),
            ("cookie", "agent"),
            ("openai-organization", "elsewhere"),
            ("anthropic-beta", "prompt-caching-2024-07-31"),
            ("anthropic-version", "2024-01-01"),
            ("host", "agent"),
        ]);
        let key = Key::new("provider").expect("a key");
        let sent = to_provider(&agent, Side::Anthropic, Some(&key));
        assert_eq!(sent["x-api-key"], "provider");
        assert_eq!(sent["anthropic-version"], "2024-01-01");
        assert_eq!(sent["anthropic-beta"], "prompt-caching-2024-07-31");
        assert!(!sent.contains_key("authorization"));
        let sent = to_provider(&agent, Side::OpenAi, Some(&key));
        assert_eq!(sent["authorization"], "Bearer provider");
        for name in [
            "x-api-key",
            "cookie",
            "openai-organization",
            "anthropic-version",
            "host",
        ] {
            assert!(!sent.contains_key(name), "{name}");
        }
        let sent = to_provider(&agent, Side::OpenAi, None);
        assert!(!sent.contains_key("authorization"));
    }

    #[test]
    fn a_beta_that_may_change_a_limit_or_a_price_is_found() {
        let unknown = |value: &'static str| {
            let found = unknown_beta(&headers(&[("anthropic-beta", value)]));
            found.map(|beta| beta.as_str().to_owned())
        };
        let harmless = "prompt-caching-2024-07-31, claude-code-20250219,pdfs-2024-09-25,";
        assert_eq!(unknown(harmless), None);
        for beta in [
            "context-1m-2025-08-07",
            "output-128k-2025-02-19",
            "pdfs-unlimited-2027-01-01",
            "compact-2026-01-12",
            "effort",
        ] {
            assert_eq!(unknown(beta).as_deref(), Some(beta));
        }
        let second = "pdfs-2024-09-25,context-1m-2025-08-07";
        assert_eq!(unknown(second).as_deref(), Some("context-1m-2025-08-07"));
        let mut several = headers(&[("anthropic-beta", harmless)]);
        several.append(BETA, HeaderValue::from_static("context-1m-2025-08-07"));
        assert!(unknown_beta(&several).is_some());
    }

    #[test]
    fn an_agent_sees_nothing_of_the_providers_account() {
        let provider = headers(&[
            ("content-type", "application/json"),
            ("openai-organization", "ours"),
            ("set-cookie", "ours"),
            ("x-request-id", "req_1"),
            ("content-length", "7"),
        ]);
        let told = to_agent(&provider);
        let names: Vec<_> = told.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["content-type", "x-request-id"]);
    }
}
