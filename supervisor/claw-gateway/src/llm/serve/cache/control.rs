//! Which requests the cache is asked for.

use http::HeaderMap;
use http::header::CACHE_CONTROL;

use super::super::admission::searches_always;
use super::super::chain::Target;
use crate::llm::wire::Request;

/// What a request says of caches on its way (RFC 9111, section 5.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CacheControl {
    /// Nothing that matters here.
    Usual,
    /// `no-cache`: it is not answered by what is kept, and its answer may be kept.
    NoCache,
    /// `no-store`: neither.
    NoStore,
}

impl CacheControl {
    pub(super) fn read(headers: &HeaderMap) -> Self {
        let values = headers.get_all(CACHE_CONTROL).iter();
        let values = values.filter_map(|value| value.to_str().ok());
        let mut control = Self::Usual;
        for directive in values.flat_map(|value| value.split(',')) {
            control = match directive.trim().to_ascii_lowercase().as_str() {
                "no-store" => return Self::NoStore,
                "no-cache" | "max-age=0" => Self::NoCache,
                _ => control,
            };
        }
        control
    }
}

/// Whether the answer depends on nothing but the request. It does on what a provider keeps, fetches
/// or searches for; and an answer that is to be stored there has to be made there.
pub(super) fn depends_on_itself_alone(request: &Request, targets: &[Target]) -> bool {
    let prompt = &request.prompt;
    let searches = |target: &Target| searches_always(&target.model.id);
    prompt.references.is_empty()
        && prompt.hosted.is_empty()
        && prompt.linked_images == 0
        && request.object().get("store") != Some("true")
        && !targets.iter().any(searches)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use serde_json::{Value, json};

    use super::*;
    use crate::llm::wire::Api;

    #[test]
    fn what_a_request_says_of_caches_is_read_as_http_has_it() {
        let read = |values: &[&'static str]| {
            let pair = |value: &&'static str| (CACHE_CONTROL, HeaderValue::from_static(value));
            CacheControl::read(&values.iter().map(pair).collect())
        };
        assert_eq!(read(&[]), CacheControl::Usual);
        assert_eq!(read(&["private, max-age=10"]), CacheControl::Usual);
        assert_eq!(read(&["private, No-Cache"]), CacheControl::NoCache);
        assert_eq!(read(&["max-age=0"]), CacheControl::NoCache);
        assert_eq!(read(&["no-cache,no-store"]), CacheControl::NoStore);
        assert_eq!(read(&["no-store", "no-cache"]), CacheControl::NoStore);
    }

    fn alone(api: Api, more: &Value) -> bool {
        let mut body = json!({"model": "m", "messages": [], "input": "x", "max_tokens": 5});
        for (key, value) in more.as_object().expect("an object") {
            body[key] = value.clone();
        }
        let request = Request::read(api, body.to_string().into_bytes()).expect("a request");
        depends_on_itself_alone(&request, &[])
    }

    fn shown(part: &Value) -> Value {
        json!({"messages": [{"role": "user", "content": [part]}]})
    }

    #[test]
    fn what_a_provider_keeps_fetches_or_searches_for_may_change() {
        for api in Api::ALL {
            assert!(alone(api, &json!({})), "{api}");
            assert!(
                alone(api, &json!({"store": false, "temperature": 1})),
                "{api}"
            );
            assert!(!alone(api, &json!({"store": true})), "{api}");
        }
        let before = json!({"previous_response_id": "resp_1"});
        assert!(!alone(Api::Responses, &before));
        let search = json!({"tools": [{"type": "web_search"}]});
        assert!(!alone(Api::Responses, &search));
        assert!(!alone(
            Api::ChatCompletions,
            &json!({"web_search_options": {}})
        ));
        let own = json!({"tools": [{"type": "function", "function": {"name": "f"}}]});
        assert!(alone(Api::ChatCompletions, &own));
    }

    #[test]
    fn an_image_depends_on_nothing_else_when_it_is_in_the_request() {
        let chat = |url: &str| {
            let part = json!({"type": "image_url", "image_url": {"url": url}});
            alone(Api::ChatCompletions, &shown(&part))
        };
        assert!(chat("data:image/png;base64,AAAA"));
        assert!(!chat("https://example.com/now.png"));
        let message = |source: Value| {
            let part = json!({"type": "image", "source": source});
            alone(Api::Messages, &shown(&part))
        };
        assert!(message(
            json!({"type": "base64", "media_type": "image/png", "data": "AAAA"})
        ));
        assert!(!message(
            json!({"type": "url", "url": "https://example.com/now.png"})
        ));
        assert!(!message(json!({"type": "file", "file_id": "file_1"})));
        let response = |url: &str| {
            let part = json!({"type": "input_image", "image_url": url});
            let input = json!({"input": [{"role": "user", "content": [part]}]});
            alone(Api::Responses, &input)
        };
        assert!(response("data:image/png;base64,AAAA"));
        assert!(!response("https://example.com/now.png"));
    }
}
