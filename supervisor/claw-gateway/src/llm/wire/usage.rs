//! What providers say a call used, in the one form of [`Usage`].

use serde_json::Value;

use super::Api;
use crate::llm::usage::Usage;

/// More tokens than any call has; a larger number is a mistake and no usage.
const MAX_TOKENS: u64 = 1_000_000_000;

/// Reads a usage object. `None` when it is none: absent, or with a number that cannot be one.
///
/// An explicit zero is a zero. Only one of the two numbers that every interface has need be there,
/// since answers of embeddings and the first event of a stream have no other.
pub(crate) fn read_usage(api: Api, usage: &Value) -> Option<Usage> {
    if !usage.is_object() {
        return None;
    }
    match api {
        Api::ChatCompletions | Api::Embeddings => chat(usage),
        Api::Responses => responses(usage),
        Api::Messages => messages(usage),
    }
}

/// OpenAI's chat completions: `prompt_tokens` includes what came from the cache, and
/// `completion_tokens` includes thought. Others on the same interface (xAI, Google) count thought
/// beside the answer; then the total is more than the two, and the difference is thought.
fn chat(usage: &Value) -> Option<Usage> {
    let prompt = count(usage, "/prompt_tokens")?;
    let answer = count(usage, "/completion_tokens")?;
    if prompt.is_none() && answer.is_none() {
        return None;
    }
    let (prompt, answer) = (prompt.unwrap_or(0), answer.unwrap_or(0));
    let thought = count(usage, "/completion_tokens_details/reasoning_tokens")?.unwrap_or(0);
    let total = count(usage, "/total_tokens")?.unwrap_or(0);
    let beside = total.saturating_sub(prompt + answer);
    let (output, reasoning) = if beside > 0 {
        (answer, beside)
    } else {
        (answer.checked_sub(thought)?, thought)
    };
    // DeepSeek tells hits of its cache in a field of its own.
    let cache_read = match count(usage, "/prompt_tokens_details/cached_tokens")? {
        Some(cached) => cached,
        None => count(usage, "/prompt_cache_hit_tokens")?.unwrap_or(0),
    };
    let cache_write = count(usage, "/prompt_tokens_details/cache_write_tokens")?.unwrap_or(0);
    Some(Usage {
        input: prompt.checked_sub(cache_read)?.checked_sub(cache_write)?,
        cache_read,
        cache_write_5m: cache_write,
        output,
        reasoning,
        ..Usage::default()
    })
}

/// OpenAI's responses: both numbers include their details.
fn responses(usage: &Value) -> Option<Usage> {
    let prompt = count(usage, "/input_tokens")?;
    let answer = count(usage, "/output_tokens")?;
    if prompt.is_none() && answer.is_none() {
        return None;
    }
    let cache_read = count(usage, "/input_tokens_details/cached_tokens")?.unwrap_or(0);
    let reasoning = count(usage, "/output_tokens_details/reasoning_tokens")?.unwrap_or(0);
    Some(Usage {
        input: prompt.unwrap_or(0).checked_sub(cache_read)?,
        cache_read,
        output: answer.unwrap_or(0).checked_sub(reasoning)?,
        reasoning,
        ..Usage::default()
    })
}

/// Anthropic's messages: `input_tokens` is without what came from the cache and what went there.
fn messages(usage: &Value) -> Option<Usage> {
    let input = count(usage, "/input_tokens")?;
    let output = count(usage, "/output_tokens")?;
    if input.is_none() && output.is_none() {
        return None;
    }
    let written = count(usage, "/cache_creation_input_tokens")?.unwrap_or(0);
    let hour = count(usage, "/cache_creation/ephemeral_1h_input_tokens")?.unwrap_or(0);
    let minutes = count(usage, "/cache_creation/ephemeral_5m_input_tokens")?.unwrap_or(0);
    Some(Usage {
        input: input.unwrap_or(0),
        cache_read: count(usage, "/cache_read_input_tokens")?.unwrap_or(0),
        cache_write_5m: minutes.max(written.saturating_sub(hour)),
        cache_write_1h: hour,
        output: output.unwrap_or(0),
        searches: count(usage, "/server_tool_use/web_search_requests")?.unwrap_or(0),
        ..Usage::default()
    })
}

/// A number of tokens: `Some(None)` when it is not told, `None` when it is no number of tokens.
#[expect(
    clippy::option_option,
    reason = "the outer one ends the reading with `?`"
)]
fn count(usage: &Value, pointer: &str) -> Option<Option<u64>> {
    match usage.pointer(pointer) {
        None | Some(Value::Null) => Some(None),
        Some(value) => value
            .as_u64()
            .filter(|tokens| *tokens <= MAX_TOKENS)
            .map(Some),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cached_tokens_are_counted_once_in_both_conventions() {
        let chat = json!({
            "prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150,
            "prompt_tokens_details": {"cached_tokens": 60},
            "completion_tokens_details": {"reasoning_tokens": 20},
        });
        let responses = json!({
            "input_tokens": 100, "output_tokens": 50, "total_tokens": 150,
            "input_tokens_details": {"cached_tokens": 60},
            "output_tokens_details": {"reasoning_tokens": 20},
        });
        let expected = Some(Usage {
            input: 40,
            cache_read: 60,
            output: 30,
            reasoning: 20,
            ..Usage::default()
        });
        assert_eq!(read_usage(Api::ChatCompletions, &chat), expected);
        assert_eq!(read_usage(Api::Responses, &responses), expected);
        let messages = json!({
            "input_tokens": 40, "output_tokens": 50, "cache_read_input_tokens": 60,
            "cache_creation_input_tokens": 30,
            "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
            "server_tool_use": {"web_search_requests": 3},
        });
        assert_eq!(
            read_usage(Api::Messages, &messages),
            Some(Usage {
                input: 40,
                cache_read: 60,
                cache_write_5m: 10,
                cache_write_1h: 20,
                output: 50,
                searches: 3,
                ..Usage::default()
            })
        );
    }

    #[test]
    fn an_explicit_zero_is_a_zero() {
        let chat = json!({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0});
        assert_eq!(
            read_usage(Api::ChatCompletions, &chat),
            Some(Usage::default())
        );
        let messages = json!({"input_tokens": 0, "output_tokens": 0});
        assert_eq!(read_usage(Api::Messages, &messages), Some(Usage::default()));
    }

    #[test]
    fn numbers_that_cannot_be_are_no_usage() {
        for wrong in [
            json!(null),
            json!([]),
            json!({}),
            json!({"prompt_tokens": -1, "completion_tokens": 1}),
            json!({"prompt_tokens": 1.5, "completion_tokens": 1}),
            json!({"prompt_tokens": "7", "completion_tokens": 1}),
            json!({"prompt_tokens": 18_446_744_073_709_551_615_u64, "completion_tokens": 1}),
            json!({"prompt_tokens": 1, "completion_tokens": 1,
                   "prompt_tokens_details": {"cached_tokens": 2}}),
            json!({"prompt_tokens": 1, "completion_tokens": 1,
                   "completion_tokens_details": {"reasoning_tokens": 2}}),
        ] {
            assert_eq!(read_usage(Api::ChatCompletions, &wrong), None, "{wrong}");
        }
    }

    #[test]
    fn thought_that_only_the_total_tells_is_counted() {
        let usage = json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 40,
                           "completion_tokens_details": {"reasoning_tokens": 25}});
        let usage = read_usage(Api::ChatCompletions, &usage).expect("usage");
        assert_eq!((usage.output, usage.reasoning), (5, 25));
    }

    #[test]
    fn an_embedding_has_only_a_prompt() {
        let usage = json!({"prompt_tokens": 8, "total_tokens": 8});
        let usage = read_usage(Api::Embeddings, &usage).expect("usage");
        assert_eq!((usage.prompt(), usage.answer()), (8, 0));
    }
}
