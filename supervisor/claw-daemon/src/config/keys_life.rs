//! The sections that shape an agent's life: when it runs, when again, how it ends.

use super::section::{Kind, Section, key, later};

/// `restart_policy:`
pub(super) static RESTART: Section = Section {
    title: "`restart_policy`",
    keys: &[
        key(
            "policy",
            Kind::Choice(&["always", "on-failure", "never"]),
            "Whether it is started again.",
        ),
        key(
            "max_retries",
            Kind::WholeOr(0, 1_000_000, "unlimited"),
            "Failures in a row before it is given up.",
        ),
        key(
            "backoff",
            Kind::Choice(&["immediate", "linear", "exponential"]),
            "How delays grow.",
        ),
        key("initial_delay", Kind::Duration, "The first delay."),
        key(
            "max_delay",
            Kind::Duration,
            "The longest delay, before jitter.",
        ),
        key(
            "reset_after",
            Kind::Duration,
            "Healthy operation after which counting starts over.",
        ),
        key("jitter", Kind::Percent, "Added to each delay at random."),
        key(
            "exit_codes",
            Kind::Section(&EXIT_CODES),
            "What exit codes mean.",
        ),
    ],
    habits: &[
        ("condition", "did you mean `policy`?"),
        ("max_attempts", "did you mean `max_retries`?"),
        ("attempts", "did you mean `max_retries`?"),
        ("delay", "did you mean `initial_delay`?"),
        ("window", "did you mean `reset_after`?"),
    ],
};

/// `exit_codes:`
pub(super) static EXIT_CODES: Section = Section {
    title: "`exit_codes`",
    keys: &[
        key("success", Kind::ExitCodes, "Count as success."),
        key(
            "retry",
            Kind::ExitCodes,
            "A failure worth another try, also of a oneshot.",
        ),
        key(
            "fatal",
            Kind::ExitCodes,
            "A failure that no restart can mend.",
        ),
        key(
            "again",
            Kind::ExitCodes,
            "Start again at once, not counted as a failure.",
        ),
    ],
    habits: &[
        ("SuccessExitStatus", "did you mean `success`?"),
        ("RestartPreventExitStatus", "did you mean `fatal`?"),
        ("RestartForceExitStatus", "did you mean `retry`?"),
    ],
};

/// `graceful_shutdown:`
pub(super) static SHUTDOWN: Section = Section {
    title: "`graceful_shutdown`",
    keys: &[
        key(
            "timeout",
            Kind::Duration,
            "From the signal to the kill of the whole tree.",
        ),
        key("signal", Kind::Signal, "The signal that asks it to stop."),
        key(
            "clean",
            Kind::CleanExits,
            "Endings that count as clean after it was asked.",
        ),
        later("drain_events"),
    ],
    habits: &[
        ("grace_period", "did you mean `timeout`?"),
        ("stop_signal", "did you mean `signal`?"),
    ],
};

/// `hooks:`
pub(super) static HOOKS: Section = Section {
    title: "`hooks`",
    keys: &[
        key(
            "pre_start",
            Kind::Hook,
            "Run before each start; its failure is the reason shown.",
        ),
        key("post_stop", Kind::Hook, "Run after each end."),
    ],
    habits: &[
        (
            "post_start",
            "there is `pre_start` and `post_stop`; use a `startup` probe to wait for readiness",
        ),
        (
            "pre_stop",
            "there is `pre_start` and `post_stop`; use `graceful_shutdown` to shape the stop",
        ),
    ],
};

/// The map form of a hook.
pub(super) static HOOK: Section = Section {
    title: "a hook",
    keys: &[
        key("command", Kind::Command, "The program and its arguments."),
        key(
            "timeout",
            Kind::Duration,
            "After this it is killed and has failed.",
        ),
    ],
    habits: &[],
};

/// The map form of `schedule:`.
pub(super) static SCHEDULE: Section = Section {
    title: "`schedule`",
    keys: &[
        key("every", Kind::Duration, "So much time apart."),
        key("cron", Kind::Text, "A cron expression in quotes."),
        key("daily", Kind::Text, "A time of day, such as `09:00`."),
        key(
            "timezone",
            Kind::Text,
            "The IANA zone of `cron` and `daily`.",
        ),
        key(
            "overlap",
            Kind::Choice(&["skip", "queue", "replace", "allow"]),
            "What a slot does while a run is under way.",
        ),
        key(
            "catch_up",
            Kind::Choice(&["none", "one", "all"]),
            "What becomes of slots missed while down.",
        ),
        key(
            "max_lateness",
            Kind::Duration,
            "A slot later than this is missed.",
        ),
        key(
            "jitter",
            Kind::Duration,
            "Each slot starts up to this much later.",
        ),
        key(
            "timeout",
            Kind::Duration,
            "A longer run is stopped and has failed.",
        ),
        key(
            "run_on_start",
            Kind::Bool,
            "Whether a run is due at start too.",
        ),
    ],
    habits: &[
        ("interval", "did you mean `every`?"),
        ("at", "did you mean `daily`?"),
        ("timeZone", "did you mean `timezone`?"),
        ("tz", "did you mean `timezone`?"),
        ("concurrencyPolicy", "did you mean `overlap`?"),
        ("startingDeadlineSeconds", "did you mean `max_lateness`?"),
        ("activeDeadlineSeconds", "did you mean `timeout`?"),
        ("on_missed", "did you mean `catch_up`?"),
        ("Persistent", "did you mean `catch_up: one`?"),
        ("OnCalendar", "did you mean `cron` or `daily`?"),
    ],
};

/// What a dependency must have reached.
pub(super) static DEPENDENCY: Section = Section {
    title: "a dependency",
    keys: &[key(
        "condition",
        Kind::Choice(&["started", "ready", "completed"]),
        "What it must have reached.",
    )],
    habits: &[
        (
            "restart",
            "a restart of a dependency does not restart its dependents; remove it",
        ),
        ("required", "every dependency is required; remove it"),
    ],
};
