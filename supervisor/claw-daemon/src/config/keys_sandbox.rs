//! The keys of sandboxes of agents that are processes: those of `security.sandbox`, and those that
//! it has in common with `sandbox` of an agent.

use super::keys_container::{LIMITS, TMP, WRITABLE};
use super::section::{Key, Kind, Section, key};

pub(super) const ON_MISSING: Key = key(
    "on_missing",
    Kind::Choice(&["refuse", "degrade"]),
    "What happens on a machine that cannot do all of it: the agent is not started, or runs with what there is.",
);
pub(super) const READABLE: Key = key(
    "readable",
    Kind::TextOrList,
    "Files and directories of the host that a process may read, at their own paths.",
);
pub(super) const ALLOWED_NETWORK: Key = key(
    "allowed_network",
    Kind::TextOrList,
    "Hosts that a process may reach, such as `api.example.com`, `*.example.com` or `db.internal:5432`; none by default.",
);
pub(super) const BLOCKED_NETWORK: Key = key(
    "blocked_network",
    Kind::TextOrList,
    "Hosts that a process may not reach, whatever is allowed.",
);
pub(super) const PRIVATE_NETWORKS: Key = key(
    "private_networks",
    Kind::TextOrList,
    "Private networks in which an allowed host may be, such as `10.1.0.0/16`.",
);
pub(super) const PROXY: Key = key(
    "proxy",
    Kind::Section(&PROXY_KEYS),
    "How a process reaches the hosts that it may.",
);
pub(super) const LANDLOCK: Key = key(
    "landlock",
    Kind::ChoiceOr(&["best_effort"], &REQUIRED_LANDLOCK),
    "What the kernel's Landlock must be able to do for a process.",
);
pub(super) const PROC: Key = key(
    "proc",
    Kind::Choice(&["masked", "minimal"]),
    "What a process sees in `/proc`: what programs ask of a machine, or its own processes alone.",
);
pub(super) const DEBUG: Key = key(
    "debug",
    Kind::Section(&DEBUG_KEYS),
    "What is allowed while something is looked for.",
);

/// `security.sandbox`.
pub(super) static FLEET_SANDBOX: Section = Section {
    title: "`sandbox`",
    keys: &[
        key(
            "mode",
            Kind::Choice(&["process", "none", "docker"]),
            "How agents without an `image` are confined: as processes, which is the default, not at all, or by having an `image`.",
        ),
        key(
            "allow_override",
            Kind::Bool,
            "Whether an agent may write more than stands here; false by default.",
        ),
        key(
            "uid_range",
            Kind::Text,
            "Users of the host for agents, one for each, where the supervisor is root; 200000-265535 by default.",
        ),
        ON_MISSING,
        READABLE,
        key(
            "writable",
            Kind::ListOf(&WRITABLE),
            "Directories of the host that processes may write to.",
        ),
        key(
            "tmp",
            Kind::Section(&TMP),
            "Each process's own `/tmp`, in memory.",
        ),
        key(
            "shm",
            Kind::Memory,
            "The size of `/dev/shm`; 16Mi by default.",
        ),
        key(
            "network",
            Kind::Choice(&["none", "host"]),
            "What processes reach: no host, or all that this machine does; without it those of `allowed_network`.",
        ),
        ALLOWED_NETWORK,
        BLOCKED_NETWORK,
        PRIVATE_NETWORKS,
        PROXY,
        key(
            "seccomp",
            Kind::ChoiceOr(&["default", "learn", "off"], &SECCOMP_KEYS),
            SECCOMP_HELP,
        ),
        LANDLOCK,
        PROC,
        key(
            "limits",
            Kind::Section(&LIMITS),
            "What their processes may use.",
        ),
        DEBUG,
    ],
    habits: &[
        ("env", ENVIRONMENT),
        ("secrets", ENVIRONMENT),
        (
            "read_only_filesystem",
            "what is not in `writable` can only be read; remove it",
        ),
        (
            "capabilities",
            "a process in a sandbox has none; write them into `sandbox` of agents that have an `image`",
        ),
        ("network_mode", "did you mean `network`?"),
        ("allowed_hosts", "did you mean `allowed_network`?"),
        ("allowedDomains", "did you mean `allowed_network`?"),
        ("denied_network", "did you mean `blocked_network`?"),
        ("deniedDomains", "did you mean `blocked_network`?"),
        (
            "memory",
            "did you mean `resources: {memory: 512Mi}` below `defaults`?",
        ),
        (
            "cpu",
            "did you mean `resources: {cpu: 0.5}` below `defaults`?",
        ),
        (
            "pids",
            "did you mean `resources: {pids: 128}` below `defaults`?",
        ),
    ],
};

/// What is said of variables in a sandbox.
pub(super) const ENVIRONMENT: &str = "an agent's environment is a list of what is allowed already: write `env` and `secrets` beside `sandbox` of the agent";

pub(super) const SECCOMP_HELP: &str = "Which system calls it may make: those of a list, those with a log of the others (`learn`), or all (`off`).";

/// `proxy:`
pub(super) static PROXY_KEYS: Section = Section {
    title: "`proxy`",
    keys: &[
        key(
            "transparent",
            Kind::Bool,
            "Whether programs reach hosts that know of no proxy; true by default.",
        ),
        key(
            "require_sni",
            Kind::Bool,
            "Whether a TLS connection has to name its host; true by default.",
        ),
        key(
            "max_tunnels",
            Kind::Whole(1, MOST_TUNNELS),
            "How many connections may be open at once; 64 by default.",
        ),
        key(
            "max_bytes",
            Kind::Memory,
            "How much one connection may carry; any amount by default.",
        ),
    ],
    habits: &[
        (
            "port",
            "its address is in the agent's environment, as `HTTP_PROXY`; remove it",
        ),
        ("sni", "did you mean `require_sni`?"),
        ("max_connections", "did you mean `max_tunnels`?"),
    ],
};

pub(super) const MOST_TUNNELS: u64 = 10_000;

/// `seccomp:` as a map.
pub(super) static SECCOMP_KEYS: Section = Section {
    title: "`seccomp`",
    keys: &[key(
        "also",
        Kind::TextOrList,
        "System calls beside those of the list, such as `io_uring_setup`.",
    )],
    habits: &[("allow", "did you mean `also`?")],
};

/// `landlock:` as a map.
pub(super) static REQUIRED_LANDLOCK: Section = Section {
    title: "`landlock`",
    keys: &[key(
        "require",
        Kind::Whole(1, MOST_LANDLOCK),
        "The version of its interface that there has to be at least.",
    )],
    habits: &[
        ("version", "did you mean `require`?"),
        ("abi", "did you mean `require`?"),
    ],
};

pub(super) const MOST_LANDLOCK: u64 = 100;

/// `debug:`
pub(super) static DEBUG_KEYS: Section = Section {
    title: "`debug`",
    keys: &[key(
        "ptrace",
        Kind::Bool,
        "Whether its processes may look into one another, for debuggers; false by default.",
    )],
    habits: &[("strace", "did you mean `ptrace`?")],
};
