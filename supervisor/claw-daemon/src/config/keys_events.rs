//! The sections about the events of an agent.

use super::replicas::MAX_REPLICAS;
use super::section::{Key, Kind, Section, key};

/// How many processes.
pub(super) const REPLICAS: Key = key(
    "replicas",
    Kind::Whole(1, MAX_REPLICAS),
    "How many processes share its events.",
);

/// How events are divided among them.
pub(super) const SHARDING_KEY: Key = key(
    "sharding",
    Kind::Section(&SHARDING),
    "Which replica gets which events; without it, whichever is free.",
);

/// How events are delivered.
pub(super) const DELIVERY_KEY: Key = key(
    "delivery",
    Kind::Section(&DELIVERY),
    "In what order and how often events are delivered.",
);

/// `sharding:`
pub(super) static SHARDING: Section = Section {
    title: "`sharding`",
    keys: &[
        key(
            "strategy",
            Kind::Choice(&["hash", "range", "round-robin"]),
            "By the hash of the key, by ranges of keys, or in turn.",
        ),
        key(
            "key",
            Kind::Text,
            "The field of an event's data that is its key; without it, the key of its publisher.",
        ),
        key(
            "boundaries",
            Kind::TextOrList,
            "For `range`: the first key of each replica but the first.",
        ),
    ],
    habits: &[("ranges", "did you mean `boundaries`?")],
};

/// Events that one batch may have: they are given in one answer.
pub(super) const LARGEST_BATCH: u64 = 1_000;

/// `delivery: {batch:}`
pub(super) static BATCH: Section = Section {
    title: "`batch`",
    keys: &[
        key(
            "size",
            Kind::Whole(1, LARGEST_BATCH),
            "As many events as are enough, and the most in one batch.",
        ),
        key(
            "wait",
            Kind::Duration,
            "How long the oldest event waits for others.",
        ),
    ],
    habits: &[
        ("max_size", "did you mean `size`?"),
        ("timeout", "did you mean `wait`?"),
        ("max_wait", "did you mean `wait`?"),
    ],
};

/// `delivery:`
pub(super) static DELIVERY: Section = Section {
    title: "`delivery`",
    keys: &[
        key(
            "ordering",
            Kind::Choice(&["none", "key"]),
            "Whether events of one name and key wait for each other.",
        ),
        key(
            "max_attempts",
            Kind::Whole(1, 100),
            "Deliveries after which an event becomes a dead letter.",
        ),
        key(
            "initial_delay",
            Kind::Duration,
            "The delay after the first failure; it doubles with each.",
        ),
        key("max_delay", Kind::Duration, "The longest delay."),
        key(
            "lease",
            Kind::Duration,
            "How long an event is held when the supervisor dies; at least 30s.",
        ),
        key(
            "concurrency",
            Kind::Whole(1, 64),
            "Runs and events that one process handles at a time.",
        ),
        key(
            "max_pending",
            Kind::Whole(1, 1_000_000_000),
            "Events that may wait.",
        ),
        key(
            "on_full",
            Kind::Choice(&["reject", "drop_oldest"]),
            "What happens with one more: its publisher is told to come again, or the oldest goes.",
        ),
        key(
            "debounce",
            Kind::Duration,
            "How long it is quiet after an event before that is delivered; the last one counts.",
        ),
        key(
            "batch",
            Kind::Section(&BATCH),
            "How many events are collected to be delivered together.",
        ),
    ],
    habits: &[
        ("retries", "did you mean `max_attempts`?"),
        ("max_retries", "did you mean `max_attempts`?"),
        ("order", "did you mean `ordering`?"),
        ("prefetch", "did you mean `concurrency`?"),
        ("visibility_timeout", "did you mean `lease`?"),
        ("quiet", "did you mean `debounce`?"),
        ("batch_size", "did you mean `batch: {size: 50, wait: 2s}`?"),
    ],
};
