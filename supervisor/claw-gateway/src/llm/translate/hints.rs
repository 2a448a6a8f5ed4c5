//! What is left out when a request or an answer is translated, because it changes how an answer is
//! made, paid or kept, and not what is asked. All else that has no counterpart is refused.

/// Fields of a chat completion that have no counterpart and are left out: who asks, what is kept and
/// cached, the tier, and how much effort to spend. How a stream tells its usage is the gateway's
/// matter.
pub const CHAT: [&str; 13] = [
    "metadata",
    "prediction",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning_effort",
    "safety_identifier",
    "seed",
    "service_tier",
    "store",
    "stream_options",
    "user",
    "verbosity",
];

/// Fields of a chat completion that are left out as long as they ask for nothing.
pub const CHAT_NEUTRAL: [(&str, &str); 9] = [
    ("n", "1"),
    ("frequency_penalty", "0"),
    ("frequency_penalty", "0.0"),
    ("presence_penalty", "0"),
    ("presence_penalty", "0.0"),
    ("logit_bias", "{}"),
    ("logprobs", "false"),
    ("top_logprobs", "0"),
    ("modalities", "[\"text\"]"),
];

/// Members of a chat completion's messages: another provider's thought and its notes.
pub const CHAT_MESSAGE: [&str; 4] = [
    "annotations",
    "reasoning",
    "reasoning_content",
    "reasoning_details",
];

/// Fields of a message request that have no counterpart and are left out.
pub const MESSAGES: [&str; 4] = ["cache_control", "metadata", "service_tier", "thinking"];

/// Members of blocks and tools: caching, notes, and that a tool failed, which its result says too.
pub const BLOCK: [&str; 4] = ["cache_control", "caller", "citations", "is_error"];

/// Blocks that are left out: thought is signed by its model, and no other can read it.
pub const BLOCKS: [&str; 2] = ["thinking", "redacted_thinking"];
