//! Which headers pass. What is not named here stays: the agent's token on its way out, and what a
//! provider tells about the account on its way in.

use http::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use http::{HeaderMap, header};

use super::Key;
use crate::llm::wire::Side;

/// Of the agent's headers, those that its provider is to see: they choose behaviour, and no account.
const TO_PROVIDER: [HeaderName; 3] = [
    HeaderName::from_static("anthropic-beta"),
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

/// The version of Anthropic's interface for agents that name none
/// (<https://docs.anthropic.com/en/api/versioning>).
const ANTHROPIC_VERSION: &str = "2023-06-01";

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const VERSION: HeaderName = HeaderName::from_static("anthropic-version");

/// The headers of a request to a provider.
pub(super) fn to_provider(agent: &HeaderMap, side: Side, key: Option<&Key>) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(8);
    for name in TO_PROVIDER {
        if let Some(value) = agent.get(&name) {
            headers.insert(name, value.clone());
        }
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
