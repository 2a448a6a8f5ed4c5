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
    ],
    habits: &[
        ("retries", "did you mean `max_attempts`?"),
        ("max_retries", "did you mean `max_attempts`?"),
        ("order", "did you mean `ordering`?"),
        ("prefetch", "did you mean `concurrency`?"),
        ("visibility_timeout", "did you mean `lease`?"),
    ],
};
