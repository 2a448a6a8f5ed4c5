//! The sections of the fleet file, top down.

use super::keys_agent::AGENT;
use super::keys_llm::LLM_KEY;
use super::keys_sandbox::FLEET_SANDBOX;
use super::sandboxes::SANDBOXES;
use super::section::{Key, Kind, Section, key, later, later_use};

/// The top of the file.
pub(super) static FLEET: Section = Section {
    title: "the fleet file",
    keys: &[
        key("project", Kind::Text, "The name of the fleet."),
        key(
            "version",
            Kind::Choice(&["1.0"]),
            "The version of the file's format.",
        ),
        key(
            "supervisor",
            Kind::Section(&SUPERVISOR),
            "The supervisor itself.",
        ),
        DEFAULTS,
        key("agents", Kind::Named(&AGENT), "The agents by name."),
        key(
            "$include",
            Kind::TextOrList,
            "Files merged below this one, relative to it.",
        ),
        key(
            "security",
            Kind::Section(&SECURITY),
            "Security of the whole fleet.",
        ),
        later("bus"),
        later("state"),
        LLM_KEY,
        key(
            "webhooks",
            Kind::Named(&WEBHOOK),
            "Who may call from outside, by name: `POST /api/hooks/NAME`.",
        ),
        SANDBOXES,
        later("notifiers"),
        later("backup"),
        later("observability"),
    ],
    habits: &[
        ("services", "did you mean `agents`?"),
        ("apps", "did you mean `agents`?"),
        ("programs", "did you mean `agents`?"),
        ("processes", "did you mean `agents`?"),
        ("name", "did you mean `project`?"),
        ("apiVersion", "did you mean `version: \"1.0\"`?"),
        ("include", "did you mean `$include`?"),
        (
            "networks",
            "a container reaches nothing unless its agent says `sandbox: {network: bridge}`; remove it",
        ),
        (
            "volumes",
            "write `volumes: [NAME:/path]` at an agent with an `image`; volumes need not be declared",
        ),
        (
            "secrets",
            "did you mean `secrets: [NAME]` of an agent? Values come from the environment or `.env`",
        ),
        (
            "environment",
            "did you mean `env` of an agent, or of `defaults`?",
        ),
        ("env", "did you mean `env` of an agent, or of `defaults`?"),
        (
            "logging",
            "did you mean `logging` of an agent, or of `defaults`?",
        ),
        ("listen", "did you mean `supervisor: {listen: …}`?"),
        ("data_dir", "did you mean `supervisor: {data_dir: …}`?"),
    ],
};

const DEFAULTS: Key = key(
    "defaults",
    Kind::Section(&AGENT),
    "Merged below every agent: maps deep, lists replaced.",
);

/// `supervisor:`
pub(super) static SUPERVISOR: Section = Section {
    title: "`supervisor`",
    keys: &[
        key(
            "listen",
            Kind::Text,
            "The address of the control API on loopback, or `off` for the unix socket only.",
        ),
        key(
            "data_dir",
            Kind::Text,
            "Where state, logs and the control socket are kept.",
        ),
        key(
            "reload",
            Kind::Choice(&["hybrid", "hot", "restart", "off"]),
            "What a change of the file does.",
        ),
        key(
            "on_exit",
            Kind::Choice(&["stop", "keep"]),
            "What a plain SIGTERM of the supervisor does to agents.",
        ),
        key(
            "engine",
            Kind::Text,
            "The container engine of agents with an `image`, such as `unix:///var/run/docker.sock`.",
        ),
        key(
            "max_concurrent_starts",
            Kind::Whole(1, 10_000),
            "How many agents may be between spawn and ready at once.",
        ),
    ],
    habits: &[
        ("port", "did you mean `listen: 127.0.0.1:PORT`?"),
        ("host", "did you mean `listen: 127.0.0.1:8400`?"),
        ("bind", "did you mean `listen`?"),
        ("address", "did you mean `listen`?"),
        ("state_dir", "did you mean `data_dir`?"),
        ("hot_reload", "did you mean `reload: hot`?"),
        ("docker_host", "did you mean `engine`?"),
        (
            "docker",
            "did you mean `engine: unix:///var/run/docker.sock`?",
        ),
    ],
};

/// `security:`
pub(super) static SECURITY: Section = Section {
    title: "`security`",
    keys: &[
        key(
            "sandbox",
            Kind::Section(&FLEET_SANDBOX),
            "How agents are confined.",
        ),
        key(
            "lockdown",
            Kind::Bool,
            "Whether the supervisor gives up system calls that it has no use for; false to debug it.",
        ),
        later("secrets"),
        later("validators"),
        later_use(
            "rate_limits",
            "write `resources: {events_per_minute: 100, state_writes_per_minute: 30}` below `defaults` or an agent",
        ),
        later("audit"),
        later("rbac"),
    ],
    habits: &[],
};

/// A webhook.
pub(super) static WEBHOOK: Section = Section {
    title: "a webhook",
    keys: &[
        key(
            "secret",
            Kind::Text,
            "What callers sign with, such as `${HOOK_SECRET}`.",
        ),
        key("agent", Kind::Text, "The agent that a call triggers."),
        key("event", Kind::Text, "The event that a call publishes."),
        key(
            "per_minute",
            Kind::Whole(1, 60_000),
            "Calls that are taken in a minute.",
        ),
    ],
    habits: &[
        ("token", "did you mean `secret`?"),
        ("trigger", "did you mean `agent`?"),
    ],
};

/// Where an agent's program comes from, besides `command`.
pub(super) const SOURCE: Key = key(
    "source",
    Kind::Text,
    "A Python file with an agent of the SDK, `agents/monitor.py` or `agents/monitor.py:Class`.",
);
