//! The sections of `health_check:`.

use super::section::{Key, Kind, Section, key};

pub(super) static HEALTH: Section = Section {
    title: "`health_check`",
    keys: &[
        key(
            "startup",
            Kind::Section(&PROBE),
            "Holds back the others until it succeeded once.",
        ),
        key(
            "liveness",
            Kind::Section(&PROBE),
            "Its failures restart the agent.",
        ),
        key(
            "readiness",
            Kind::Section(&PROBE),
            "Its failures make the agent not ready.",
        ),
        key("progress", Kind::Section(&PROGRESS), "Evidence of work."),
        key(
            "breaker",
            Kind::Section(&BREAKER),
            "The same call to a model that fails again and again restarts the agent.",
        ),
    ],
    habits: &[
        ("test", "did you mean `liveness: {exec: [PROGRAM]}`?"),
        ("http", "did you mean `liveness: {http: …}`?"),
        ("tcp", "did you mean `liveness: {tcp: …}`?"),
        ("exec", "did you mean `liveness: {exec: …}`?"),
        ("interval", "did you mean `liveness: {interval: …}`?"),
        ("timeout", "did you mean `liveness: {timeout: …}`?"),
        (
            "retries",
            "did you mean `liveness: {unhealthy_threshold: 3}`?",
        ),
        ("start_period", "did you mean `startup: {…}`?"),
    ],
};

const EXEC: Key = key("exec", Kind::Command, "A command succeeds.");
const HTTP_CHECK: Key = key(
    "http",
    Kind::Section(&HTTP),
    "An HTTP GET answers as expected.",
);
const TCP_CHECK: Key = key("tcp", Kind::Section(&TCP), "A TCP connection is accepted.");
const HEARTBEAT: Key = key(
    "heartbeat",
    Kind::Flag,
    "The agent sends by itself, as sd_notify(3) does.",
);

const SDK: Key = key(
    "sdk",
    Kind::Flag,
    "The agent's own event loop answers; what a worker has when nothing is said.",
);

/// The keys of a probe that say what is checked.
pub(super) const CHECKS: [&str; 5] = ["exec", "http", "tcp", "heartbeat", "sdk"];

/// One probe.
pub(super) static PROBE: Section = Section {
    title: "a probe",
    keys: &[
        EXEC,
        HTTP_CHECK,
        TCP_CHECK,
        HEARTBEAT,
        SDK,
        key(
            "interval",
            Kind::Duration,
            "From the end of one check to the start of the next.",
        ),
        key("timeout", Kind::Duration, "How long one check may take."),
        key(
            "threshold",
            Kind::Whole(1, 1_000_000),
            "Failures in a row that make the verdict.",
        ),
        key(
            "unhealthy_threshold",
            Kind::Whole(1, 1_000_000),
            "The same as `threshold`.",
        ),
    ],
    habits: &[
        ("httpGet", "did you mean `http: {port: …, path: …}`?"),
        ("tcpSocket", "did you mean `tcp: {port: …}`?"),
        ("command", "did you mean `exec: [PROGRAM]`?"),
        ("test", "did you mean `exec: [PROGRAM]`?"),
        ("url", "did you mean `http: {port: …, path: …}`?"),
        (
            "port",
            "did you mean `http: {port: …}` or `tcp: {port: …}`?",
        ),
        ("path", "did you mean `http: {port: …, path: …}`?"),
        ("retries", "did you mean `threshold`?"),
        ("failureThreshold", "did you mean `threshold`?"),
        (
            "successThreshold",
            "one success is always enough; remove it",
        ),
        ("periodSeconds", "did you mean `interval`?"),
        ("timeoutSeconds", "did you mean `timeout`?"),
        (
            "initialDelaySeconds",
            "use a `startup` probe: it holds back the others",
        ),
        (
            "start_period",
            "use a `startup` probe: it holds back the others",
        ),
        ("grpc", "use `tcp` or `exec`; gRPC is not checked"),
    ],
};

/// `http:` of a probe.
pub(super) static HTTP: Section = Section {
    title: "`http`",
    keys: &[
        key("port", Kind::Whole(1, 65_535), "The port."),
        key(
            "path",
            Kind::Text,
            "The path with its query; `/` by default.",
        ),
        key(
            "status",
            Kind::Whole(100, 599),
            "The status it must have; any of 200 to 399 by default.",
        ),
        key(
            "body",
            Kind::Text,
            "A text that must stand in the first 4 KiB of the body.",
        ),
        key("host", Kind::Text, "The host; loopback by default."),
    ],
    habits: &[
        ("url", "give `port` and `path`"),
        (
            "scheme",
            "probes speak plain HTTP; use `tcp` or `exec` for TLS",
        ),
    ],
};

/// `tcp:` of a probe.
pub(super) static TCP: Section = Section {
    title: "`tcp`",
    keys: &[
        key("port", Kind::Whole(1, 65_535), "The port."),
        key("host", Kind::Text, "The host; loopback by default."),
    ],
    habits: &[],
};

/// `progress:`
pub(super) static PROGRESS: Section = Section {
    title: "`progress`",
    keys: &[key("max_silence", Kind::Duration, "The longest silence.")],
    habits: &[],
};

/// `breaker:`
pub(super) static BREAKER: Section = Section {
    title: "`breaker`",
    keys: &[
        key(
            "calls",
            Kind::Whole(2, 1000),
            "So many failures of the same call; 20 by default.",
        ),
        key(
            "within",
            Kind::Duration,
            "All of them within this time; 10m by default.",
        ),
    ],
    habits: &[],
};
