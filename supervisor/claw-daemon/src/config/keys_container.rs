//! The sections of an agent with an image.

use super::section::{Kind, Section, key, later, later_use};

/// `build:`
pub(super) static BUILD: Section = Section {
    title: "`build`",
    keys: &[
        key(
            "context",
            Kind::Text,
            "The folder that is sent to the engine.",
        ),
        key(
            "dockerfile",
            Kind::Text,
            "The Dockerfile, from the context on; `Dockerfile` by default.",
        ),
        key(
            "target",
            Kind::Text,
            "The stage to build; the last one by default.",
        ),
        key(
            "args",
            Kind::TextMap,
            "Build arguments; they are no secrets.",
        ),
    ],
    habits: &[
        ("path", "did you mean `context`?"),
        ("file", "did you mean `dockerfile`?"),
        ("tags", "did you mean `image`, beside `build`?"),
        (
            "secrets",
            "images keep what they are built with; hand secrets to the agent: `secrets: [NAME]`",
        ),
    ],
};

/// One of `volumes:`
pub(super) static VOLUME: Section = Section {
    title: "a volume",
    keys: &[
        key(
            "source",
            Kind::Text,
            "A directory or file of the host, or the name of a volume.",
        ),
        key("target", Kind::Text, "Where it is seen: an absolute path."),
        key("read_only", Kind::Bool, "Whether it may only be read."),
    ],
    habits: &[
        ("src", "did you mean `source`?"),
        ("dst", "did you mean `target`?"),
        ("destination", "did you mean `target`?"),
        ("mountPath", "did you mean `target`?"),
        ("readonly", "did you mean `read_only`?"),
        (
            "type",
            "a path is a directory or file of the host, and a name is a volume; remove it",
        ),
    ],
};

/// `sandbox:` of an agent.
pub(super) static SANDBOX: Section = Section {
    title: "`sandbox`",
    keys: &[
        key(
            "mode",
            Kind::Choice(&["none", "docker"]),
            "How it is confined: `docker` with an `image`, else `none`.",
        ),
        key(
            "read_only_filesystem",
            Kind::Bool,
            "Whether the files of its image can only be read; true by default.",
        ),
        key("tmp", Kind::Section(&TMP), "Its `/tmp`, in memory."),
        key(
            "shm",
            Kind::Memory,
            "The size of `/dev/shm`; 16Mi by default.",
        ),
        key(
            "writable",
            Kind::ListOf(&WRITABLE),
            "Directories in memory that can be written to, beside `/tmp`.",
        ),
        key(
            "network",
            Kind::Choice(&["none", "bridge"]),
            "What it reaches: nothing, by default, or all that the host does.",
        ),
        key(
            "capabilities",
            Kind::TextOrList,
            "Capabilities that it keeps, such as `CHOWN`; none by default.",
        ),
        key(
            "seccomp",
            Kind::Choice(&["default", "off"]),
            "Which system calls it may make: those that the engine allows, or all.",
        ),
        key(
            "limits",
            Kind::Section(&LIMITS),
            "What its processes may use.",
        ),
        key(
            "init",
            Kind::Bool,
            "Whether a small first process reaps orphans; true by default.",
        ),
        later("on_missing"),
        later("readable"),
        later_use("allowed_network", EGRESS),
        later_use("blocked_network", EGRESS),
        later_use("private_networks", EGRESS),
        later_use("proxy", EGRESS),
        later("landlock"),
        later("proc"),
        later("uid_range"),
        later("env"),
        later("secrets"),
        later("debug"),
        later("allow_override"),
    ],
    habits: &[
        ("tmpfs", "did you mean `writable`?"),
        ("read_only", "did you mean `read_only_filesystem`?"),
        (
            "readOnlyRootFilesystem",
            "did you mean `read_only_filesystem`?",
        ),
        ("readOnlyRoot", "did you mean `read_only_filesystem`?"),
        ("cap_add", "did you mean `capabilities`?"),
        (
            "cap_drop",
            "all capabilities are dropped but those in `capabilities`; remove it",
        ),
        (
            "capDrop",
            "all capabilities are dropped but those in `capabilities`; remove it",
        ),
        ("network_mode", "did you mean `network`?"),
        ("shm_size", "did you mean `shm`?"),
        ("ulimits", "did you mean `limits: {nofile: 1024}`?"),
        ("user", "put `user` beside `sandbox`"),
        ("runAsUser", "did you mean `user`, beside `sandbox`?"),
        (
            "privileged",
            "no container is; name what it needs in `capabilities`",
        ),
        (
            "no_new_privileges",
            "no process gains privileges; remove it",
        ),
        ("memory", "did you mean `resources: {memory: 512Mi}`?"),
        ("cpu", "did you mean `resources: {cpu: 0.5}`?"),
        ("pids", "did you mean `resources: {pids: 128}`?"),
        ("pidsLimit", "did you mean `resources: {pids: 128}`?"),
    ],
};

const EGRESS: &str = "it comes with the egress proxy; until then write `network: none`, or with an `image` `network: bridge`, which reaches everything";

/// `tmp:`
pub(super) static TMP: Section = Section {
    title: "`tmp`",
    keys: &[
        key("size", Kind::Memory, "Its size; 64Mi by default."),
        key(
            "exec",
            Kind::Bool,
            "Whether programs in it can be executed; true by default.",
        ),
    ],
    habits: &[],
};

/// One of `writable:`
pub(super) static WRITABLE: Section = Section {
    title: "a writable directory",
    keys: &[
        key("path", Kind::Text, "Where it is: an absolute path."),
        key("size", Kind::Memory, "Its size; 64Mi by default."),
        key(
            "exec",
            Kind::Bool,
            "Whether programs in it can be executed; false by default.",
        ),
    ],
    habits: &[("target", "did you mean `path`?")],
};

/// `limits:`
pub(super) static LIMITS: Section = Section {
    title: "`limits`",
    keys: &[
        key(
            "nofile",
            Kind::Whole(16, 1_048_576),
            "How many files each process may have open; 1024 by default.",
        ),
        later("fsize"),
        later("io"),
    ],
    habits: &[
        ("memory", "did you mean `resources: {memory: 512Mi}`?"),
        ("cpu", "did you mean `resources: {cpu: 0.5}`?"),
        ("cpus", "did you mean `resources: {cpu: 0.5}`?"),
        ("pids", "did you mean `resources: {pids: 128}`?"),
        ("nproc", "did you mean `resources: {pids: 128}`?"),
    ],
};
