//! The keys of `llm:`, and of `llm` at an agent.

use super::section::{Key, Kind, Section, key};

/// The most tokens that a limit of an answer can name.
pub(super) const MOST_TOKENS: u64 = 1_000_000_000;

/// At the top of the file.
pub(super) const LLM_KEY: Key = key(
    "llm",
    Kind::Section(&LLM),
    "Language models: who provides them, what they cost, and how much may be spent.",
);

/// At an agent.
pub(super) const AGENT_LLM_KEY: Key = key(
    "llm",
    Kind::BoolOr(&AGENT_LLM),
    "How it calls models where that differs from `llm.defaults`; false: not at all.",
);

/// Below `resources` of an agent.
pub(super) const TOKENS_PER_HOUR: Key = key(
    "llm_tokens_per_hour",
    Kind::Whole(1, MOST_TOKENS),
    "Tokens of prompts and answers that it may use within an hour.",
);

/// `llm:`
pub(super) static LLM: Section = Section {
    title: "`llm`",
    keys: &[
        key(
            "providers",
            Kind::Named(&PROVIDER),
            "Who provides models, by name.",
        ),
        key(
            "aliases",
            Kind::TextMap,
            "More names for models: `NAME: MODEL`.",
        ),
        key(
            "defaults",
            Kind::Section(&DEFAULTS),
            "How agents call models that say nothing else.",
        ),
        key("budgets", Kind::Section(&BUDGETS), "What may be spent."),
        key("prices", Kind::Section(&PRICES), "What models cost."),
        VALIDATORS_KEY,
        key(
            "cache",
            Kind::BoolOr(&CACHE),
            "Answers that are kept in memory and given again to equal requests, for nothing; off by default.",
        ),
        key(
            "durability",
            Kind::Choice(&["process", "full"]),
            "What the record of a call survives that is about to leave: the death of the supervisor, or a power cut too.",
        ),
        key(
            "record",
            Kind::Bool,
            "Whether answers are kept, without personal data and secrets, for `clawctl up --llm cassette`.",
        ),
    ],
    habits: &[
        ("models", "write `providers: {NAME: {models: [MODEL]}}`"),
        ("budget", "did you mean `budgets`?"),
        ("api_key", "write `providers: {openai: {api_key: …}}`"),
        ("base_url", "write `providers: {NAME: {base_url: URL}}`"),
        ("primary", "did you mean `defaults: {primary: MODEL}`?"),
        ("fallback", "did you mean `defaults: {fallback: [MODEL]}`?"),
        ("timeout", "did you mean `defaults: {timeout: 30s}`?"),
        ("model_list", "write `providers: {NAME: {models: [MODEL]}}`"),
        ("router", "did you mean `defaults`?"),
    ],
};

pub(super) static PROVIDER: Section = Section {
    title: "a provider",
    keys: &[
        key(
            "kind",
            Kind::Choice(&["openai", "anthropic", "ollama"]),
            "Whose interface it has; by default that of its name, and `openai` for others with a `base_url`.",
        ),
        key(
            "base_url",
            Kind::Text,
            "Where it is, with `/v1` at its end or without.",
        ),
        key(
            "api_key",
            Kind::Text,
            "Its key, such as `${OPENAI_API_KEY}`; agents never see it.",
        ),
        key(
            "models",
            Kind::ListOf(&MODEL),
            "Its models that agents may call, by name or as maps.",
        ),
        key(
            "rate_limit",
            Kind::Rate,
            "The most requests that it is sent, such as `500/min`.",
        ),
        key(
            "free",
            Kind::Bool,
            "Whether its models cost nothing; true for Ollama and on loopback.",
        ),
        key(
            "on_hang_up",
            Kind::Choice(&["cancel", "drain"]),
            "What is done about a stream whose agent is gone: ended, or read on for its true cost.",
        ),
        key(
            "chat_limit",
            Kind::Choice(&["max_completion_tokens", "max_tokens"]),
            "Its name for the limit of an answer in chat completions.",
        ),
    ],
    habits: &[
        ("apikey", "did you mean `api_key`?"),
        ("key", "did you mean `api_key`?"),
        ("token", "did you mean `api_key`?"),
        ("url", "did you mean `base_url`?"),
        ("api_base", "did you mean `base_url`?"),
        ("endpoint", "did you mean `base_url`?"),
        ("host", "did you mean `base_url: http://HOST`?"),
        ("type", "did you mean `kind`?"),
        ("model", "did you mean `models: [MODEL]`?"),
        ("rpm", "did you mean `rate_limit: 500/min`?"),
    ],
};

pub(super) static MODEL: Section = Section {
    title: "a model",
    keys: &[
        key("name", Kind::Text, "What agents call it."),
        key(
            "id",
            Kind::Text,
            "What its provider calls it, if that is something else.",
        ),
        INPUT,
        OUTPUT,
        CACHE_READ,
        CACHE_WRITE,
        key(
            "max_output",
            Kind::Whole(1, MOST_TOKENS),
            "Tokens of an answer at most.",
        ),
        key(
            "context",
            Kind::Whole(1, MOST_TOKENS),
            "Tokens of its context window.",
        ),
        key(
            "image_tokens",
            Kind::Whole(1, MOST_TOKENS),
            "Tokens that an image becomes at most.",
        ),
    ],
    habits: &[
        ("model", "did you mean `id`?"),
        ("alias", "did you mean `name`?"),
        ("max_tokens", "did you mean `max_output`?"),
        ("context_window", "did you mean `context`?"),
        ("price", "did you mean `input` and `output`?"),
        (
            "input_cost_per_token",
            "did you mean `input`? That is USD for a million tokens",
        ),
        (
            "output_cost_per_token",
            "did you mean `output`? That is USD for a million tokens",
        ),
    ],
};

const INPUT: Key = key("input", Kind::Money, "USD for a million tokens of prompts.");
const OUTPUT: Key = key(
    "output",
    Kind::Money,
    "USD for a million tokens of answers.",
);
const CACHE_READ: Key = key(
    "cache_read",
    Kind::Money,
    "USD for a million tokens of prompts that the provider had in its cache.",
);
const CACHE_WRITE: Key = key(
    "cache_write",
    Kind::Money,
    "USD for a million tokens of prompts that the provider puts into its cache.",
);

pub(super) static DEFAULTS: Section = Section {
    title: "`defaults` of `llm`",
    keys: CALLS,
    habits: CALLS_HABITS,
};

/// `llm` of an agent.
pub(super) static AGENT_LLM: Section = Section {
    title: "`llm` of an agent",
    keys: CALLS,
    habits: CALLS_HABITS,
};

const CALLS: &[Key] = &[
    key(
        "models",
        Kind::TextOrList,
        "The models it may call; all of the fleet by default.",
    ),
    key(
        "primary",
        Kind::Text,
        "The model it gets by the name `default`.",
    ),
    key(
        "fallback",
        Kind::TextOrList,
        "Models that are tried in this order when the one it asks for does not answer.",
    ),
    key(
        "timeout",
        Kind::Duration,
        "How long a model may take: to the first byte of a stream, or for a whole answer.",
    ),
    key(
        "idle_timeout",
        Kind::Duration,
        "How long a stream may be silent.",
    ),
    key(
        "max_retries",
        Kind::Whole(0, 10),
        "How often a model is tried again before the next one is.",
    ),
    key(
        "on_tight",
        Kind::Choice(&["reject", "clamp"]),
        "What is done about a call that may cost more than is left: it is refused, or its answer is limited to what is left.",
    ),
    key(
        "min_output",
        Kind::Whole(1, MOST_TOKENS),
        "With `on_tight: clamp`: tokens below which an answer is not limited but refused.",
    ),
    key(
        "default_output_cap",
        Kind::Whole(1, MOST_TOKENS),
        "The limit in tokens of answers to requests that name none.",
    ),
    key(
        "refusal_status",
        Kind::Numbers(&[402, 400]),
        "The HTTP status of refusals for want of money.",
    ),
    VALIDATORS_KEY,
    key(
        "cache",
        Kind::Bool,
        "Whether its equal requests get the answer that is kept, as `cache` of `llm` says.",
    ),
];

const CALLS_HABITS: &[(&str, &str)] = &[
    ("model", "did you mean `primary`?"),
    ("fallbacks", "did you mean `fallback`?"),
    ("retries", "did you mean `max_retries`?"),
    ("num_retries", "did you mean `max_retries`?"),
    ("max_tokens", "did you mean `default_output_cap`?"),
    (
        "budget",
        "write `llm: {budgets: {per_agent: {AGENT: {daily_limit_usd: 5}}}}` at the top of the file",
    ),
    (
        "daily_limit_usd",
        "write `llm: {budgets: {per_agent: {AGENT: {daily_limit_usd: 5}}}}` at the top of the file",
    ),
    (
        "tokens_per_hour",
        "did you mean `resources: {llm_tokens_per_hour: 100000}` of an agent?",
    ),
    (
        "llm_tokens_per_hour",
        "write `resources: {llm_tokens_per_hour: 100000}` at an agent",
    ),
];

pub(super) static BUDGETS: Section = Section {
    title: "`budgets`",
    keys: &[
        key(
            "timezone",
            Kind::Text,
            "Whose days and months count, such as `Europe/Berlin`; `UTC` by default.",
        ),
        key(
            "alert_at_pct",
            Kind::Whole(1, 100),
            "At which share of a limit somebody is told, in percent.",
        ),
        key(
            "global",
            Kind::Section(&LIMITS),
            "What all agents may spend together.",
        ),
        key(
            "per_agent",
            Kind::Named(&LIMITS),
            "What one agent may spend, by name; `\"*\"` for each that is not named.",
        ),
    ],
    habits: &[
        ("fleet", "did you mean `global`?"),
        ("agents", "did you mean `per_agent`?"),
        (
            "daily_limit_usd",
            "did you mean `global: {daily_limit_usd: 200}`?",
        ),
        (
            "monthly_limit_usd",
            "did you mean `global: {monthly_limit_usd: 5000}`?",
        ),
    ],
};

pub(super) static LIMITS: Section = Section {
    title: "a budget",
    keys: &[
        key("daily_limit_usd", Kind::Money, "USD for each day."),
        key("monthly_limit_usd", Kind::Money, "USD for each month."),
    ],
    habits: &[
        ("daily", "did you mean `daily_limit_usd`?"),
        ("monthly", "did you mean `monthly_limit_usd`?"),
        ("max_budget", "did you mean `daily_limit_usd`?"),
        ("alert_at_pct", "it stands once, in `budgets` itself"),
    ],
};

pub(super) static PRICES: Section = Section {
    title: "`prices`",
    keys: &[
        key(
            "file",
            Kind::Text,
            "A table of prices that goes before the one of the program.",
        ),
        key(
            "unknown",
            Kind::ChoiceOr(&["reject"], &RATES),
            "What is done about a model without a price while a limit in USD applies: it is refused, or charged so.",
        ),
    ],
    habits: &[("path", "did you mean `file`?")],
};

pub(super) static RATES: Section = Section {
    title: "a price",
    keys: &[INPUT, OUTPUT, CACHE_READ, CACHE_WRITE],
    habits: &[],
};

pub(super) static CACHE: Section = Section {
    title: "`cache`",
    keys: &[
        key(
            "ttl",
            Kind::Duration,
            "For how long an answer is given again; `1h` by default.",
        ),
        key(
            "max_size",
            Kind::Memory,
            "What all answers may take of memory; `64Mi` by default.",
        ),
        key(
            "shared",
            Kind::Bool,
            "Whether the answer to one agent is given to others, too.",
        ),
    ],
    habits: &[
        ("max_age", "did you mean `ttl`?"),
        ("expiry", "did you mean `ttl`?"),
        ("size", "did you mean `max_size`?"),
        ("max_bytes", "did you mean `max_size`?"),
        (
            "mode",
            "remove it; answers are given to equal requests alone",
        ),
        ("enabled", "write `cache: true` or `cache: false`"),
    ],
};

const VALIDATORS_KEY: Key = key(
    "validators",
    Kind::Section(&VALIDATORS),
    "What is looked at in prompts and answers before they pass.",
);

pub(super) static VALIDATORS: Section = Section {
    title: "`validators`",
    keys: &[
        key(
            "pii_filter",
            Kind::BoolOr(&PII_FILTER),
            "Personal data in prompts and answers.",
        ),
        key(
            "json_schema",
            Kind::BoolOr(&JSON_SCHEMA),
            "The JSON schema that answers follow.",
        ),
        key(
            "content_safety",
            Kind::BoolOr(&CONTENT_SAFETY),
            "A model that judges prompts and answers.",
        ),
    ],
    habits: &[("pii", "did you mean `pii_filter`?")],
};

pub(super) static PII_FILTER: Section = Section {
    title: "`pii_filter`",
    keys: &[
        key(
            "action",
            Kind::Choice(&["redact", "block", "warn"]),
            "What is done about it; `redact` by default.",
        ),
        key(
            "fields",
            Kind::TextOrList,
            "What is looked for: `email`, `phone`, `ssn`, `credit_card`, `iban`; all of it by default.",
        ),
        key(
            "prompts",
            Kind::Choice(&["redact", "block", "warn", "off"]),
            "What is done in prompts, if something else.",
        ),
        key(
            "answers",
            Kind::Choice(&["redact", "block", "warn", "off"]),
            "What is done in answers, if something else.",
        ),
    ],
    habits: &[("kinds", "did you mean `fields`?")],
};

pub(super) static JSON_SCHEMA: Section = Section {
    title: "`json_schema`",
    keys: &[
        key(
            "schema_path",
            Kind::Text,
            "The file with the schema of all answers.",
        ),
        key(
            "action",
            Kind::Choice(&["block", "repair", "warn"]),
            "What is done about an answer that does not follow it; `block` by default.",
        ),
        key(
            "requested",
            Kind::Choice(&["block", "repair", "warn", "off"]),
            "The same for the schema that a request itself names; `off` by default.",
        ),
    ],
    habits: &[
        ("schema", "did you mean `schema_path: FILE`?"),
        ("path", "did you mean `schema_path`?"),
        ("file", "did you mean `schema_path`?"),
    ],
};

pub(super) static CONTENT_SAFETY: Section = Section {
    title: "`content_safety`",
    keys: &[
        key(
            "provider",
            Kind::Text,
            "The provider with OpenAI's interface whose `/moderations` is asked.",
        ),
        key(
            "model",
            Kind::Text,
            "The model that judges; its provider's choice by default.",
        ),
        key(
            "categories",
            Kind::TextOrList,
            "What does not pass, as the provider names it; whatever it flags by default.",
        ),
        key(
            "action",
            Kind::Choice(&["block"]),
            "What is done about it: it does not pass.",
        ),
        key(
            "judged",
            Kind::Choice(&["prompts", "answers", "both"]),
            "What is judged; `both` by default.",
        ),
        key(
            "on_failure",
            Kind::Choice(&["block", "allow"]),
            "What is done with a text that nobody judges; `block` by default.",
        ),
        key(
            "timeout",
            Kind::Duration,
            "How long a judgement may take; `10s` by default.",
        ),
    ],
    habits: &[(
        "endpoint",
        "declare it below `llm: {providers: …}`, and name it here: `provider: NAME`",
    )],
};
