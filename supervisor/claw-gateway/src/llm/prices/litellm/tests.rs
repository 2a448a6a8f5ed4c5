use super::*;
use crate::llm::prices::rates_to_json;
use crate::llm::usage::Usage;

const ON: &str = "2026-11-22";

fn imported(text: &str) -> Import {
    read(text, ON.parse().unwrap()).unwrap()
}

fn only(text: &str) -> Entry {
    let mut import = imported(text);
    assert_eq!(import.skipped, Vec::new());
    import.entries.pop().expect("a row")
}

#[test]
fn thresholds_and_service_tiers_are_read_from_the_names_of_fields() {
    let entry = only(
        r#"{"gemini/gemini-2.5-pro": {
            "litellm_provider": "gemini", "mode": "chat",
            "max_input_tokens": 1048576, "max_output_tokens": 65536,
            "input_cost_per_token": 1.25e-06,
            "input_cost_per_token_above_200k_tokens": 2.5e-06,
            "input_cost_per_token_priority": 2.25e-06,
            "input_cost_per_token_above_200k_tokens_priority": 4.5e-06,
            "input_cost_per_audio_token": 7e-06,
            "output_cost_per_token": 1e-05,
            "output_cost_per_token_above_200k_tokens": 1.5e-05,
            "output_cost_per_token_priority": 1.8e-05,
            "cache_read_input_token_cost": 1.25e-07,
            "search_context_cost_per_query": {"search_context_size_low": 0.03,
                                              "search_context_size_high": 0.035},
            "source": "https://ai.google.dev/gemini-api/docs/pricing"}}"#,
    );
    assert_eq!(
        (entry.provider.as_str(), entry.model.as_str()),
        ("google", "gemini-2.5-pro")
    );
    assert_eq!(entry.max_input, Some(1_048_576));
    assert_eq!(entry.max_output, Some(65_536));
    assert_eq!(
        rates_to_json(&entry.rates),
        concat!(
            r#"{"tokens":[{"input":1.25,"output":10.0,"cache_read":0.125},"#,
            r#"{"above":200000,"input":2.5,"output":15.0,"cache_read":0.125}],"#,
            r#""service":{"priority":[{"input":2.25,"output":18.0,"cache_read":0.125},"#,
            r#"{"above":200000,"input":4.5,"output":18.0,"cache_read":0.125}]},"#,
            r#""per_search":0.035}"#
        )
    );
}

#[test]
fn both_prices_of_writing_to_a_cache_are_read() {
    let entry = only(
        r#"{"claude-sonnet-4-5": {
            "litellm_provider": "anthropic", "mode": "chat",
            "input_cost_per_token": 3e-06, "output_cost_per_token": 1.5e-05,
            "cache_creation_input_token_cost": 3.75e-06,
            "cache_creation_input_token_cost_above_1hr": 6e-06,
            "cache_read_input_token_cost": 3e-07}}"#,
    );
    let usage = Usage {
        cache_read: 1_000_000,
        cache_write_5m: 1_000_000,
        cache_write_1h: 1_000_000,
        ..Usage::default()
    };
    assert_eq!(entry.rates.cost(&usage, None).to_string(), "10.05");
}

#[test]
fn what_is_unknown_does_not_become_free() {
    let import = imported(
        r#"{
            "sample_spec": {"litellm_provider": "one of", "input_cost_per_token": 0.0},
            "a": {"litellm_provider": "x", "mode": "chat"},
            "b": {"litellm_provider": "x", "mode": "chat", "input_cost_per_token": 1e-6},
            "c": {"litellm_provider": "x", "mode": "chat",
                  "input_cost_per_token": 0, "output_cost_per_token": 0},
            "d": {"litellm_provider": "x", "mode": "chat",
                  "input_cost_per_token": null, "output_cost_per_token": 1e-6},
            "e": {"litellm_provider": "x", "mode": "image_generation"},
            "f": {"litellm_provider": "x", "mode": "chat",
                  "input_cost_per_token": "cheap", "output_cost_per_token": 1e-6},
            "g": {"litellm_provider": "x", "mode": "chat",
                  "input_cost_per_token": -1e-6, "output_cost_per_token": 1e-6},
            "h": {"litellm_provider": "x", "mode": "chat",
                  "input_cost_per_token": 2.5, "output_cost_per_token": 10},
            "i": {"mode": "chat"},
            "j": 7,
            "ollama/k": {"litellm_provider": "ollama", "mode": "chat",
                  "input_cost_per_token": 0, "output_cost_per_token": 0},
            "l": {"litellm_provider": "x", "mode": "embedding", "input_cost_per_token": 1e-6}
        }"#,
    );
    let taken: Vec<&str> = import.entries.iter().map(|entry| &*entry.model).collect();
    assert_eq!(taken, ["l", "k"]);
    let skipped = import.skipped.iter();
    let skipped: Vec<String> = skipped
        .map(|skipped| format!("{}: {}", skipped.row, skipped.because))
        .collect();
    assert_eq!(
        skipped,
        [
            "a: it has no input_cost_per_token",
            "b: it has no output_cost_per_token",
            "c: its prices are 0",
            "d: it has no input_cost_per_token",
            "e: it is for image_generation",
            "f: its input_cost_per_token is no price",
            "g: its input_cost_per_token is no price",
            "h: its input_cost_per_token is no price",
            "i: it is not a model with a provider",
            "j: it is not a model with a provider",
        ]
    );
}

#[test]
fn the_most_of_an_answer_is_not_taken_for_the_most_of_a_prompt() {
    let entry = only(
        r#"{"m": {"litellm_provider": "x", "mode": "chat", "max_tokens": 8192,
            "input_cost_per_token": 1e-06, "output_cost_per_token": 1e-06}}"#,
    );
    assert_eq!((entry.max_input, entry.max_output), (None, Some(8192)));
}

#[test]
fn prices_finer_than_can_be_counted_are_rounded_up() {
    let entry = only(
        r#"{"n": {"litellm_provider": "x", "mode": "chat",
            "input_cost_per_token": 2.9999905e-06, "output_cost_per_token": 1e-13}}"#,
    );
    assert_eq!(entry.rates.standard.base().input.pico(), 2_999_991);
    assert_eq!(entry.rates.standard.base().output.pico(), 1);
}

#[test]
fn a_file_that_is_no_table_is_refused() {
    for text in ["", "[]", "{\"a\": ", "not found"] {
        read(text, ON.parse().unwrap()).unwrap_err();
    }
}
