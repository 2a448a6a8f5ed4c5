//! The sections of an agent with an image.

use super::keys_sandbox::{
    ALLOWED_NETWORK, BLOCKED_NETWORK, DEBUG, ENVIRONMENT, LANDLOCK, ON_MISSING, PRIVATE_NETWORKS,
    PROC, PROXY, READABLE, SECCOMP_HELP, SECCOMP_KEYS,
};
use super::section::{Kind, Section, key, later};

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
            Kind::Choice(&["process", "none", "docker"]),
            "How it is confined: `docker` with an `image`, else `process` or `none`.",
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
            "What can be written to beside `/tmp`: directories in memory in a container, of the host for a process.",
        ),
        key(
            "network",
            Kind::Choice(&["none", "bridge", "host"]),
            "What it reaches beside `allowed_network`: nothing, by default, or all that the host does: `bridge` for a container, `host` for a process.",
        ),
        key(
            "capabilities",
            Kind::TextOrList,
            "Capabilities that it keeps, such as `CHOWN`; none by default.",
        ),
        key(
            "seccomp",
            Kind::ChoiceOr(&["default", "learn", "off"], &SECCOMP_KEYS),
            SECCOMP_HELP,
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
        ON_MISSING,
        READABLE,
        ALLOWED_NETWORK,
        BLOCKED_NETWORK,
        PRIVATE_NETWORKS,
        PROXY,
        LANDLOCK,
        PROC,
        DEBUG,
    ],
    habits: &[
        ("env", ENVIRONMENT),
        ("secrets", ENVIRONMENT),
        (
            "uid_range",
            "write it into `security: {sandbox: {uid_range: …}}`",
        ),
        (
            "allow_override",
            "write it into `security: {sandbox: {allow_override: true}}`",
        ),
        ("allowed_hosts", "did you mean `allowed_network`?"),
        ("allowedDomains", "did you mean `allowed_network`?"),
        ("denied_network", "did you mean `blocked_network`?"),
        ("deniedDomains", "did you mean `blocked_network`?"),
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
        key("path", Kind::Text, "Where it is."),
        key(
            "size",
            Kind::Memory,
            "Its size; 64Mi by default in a container, any for a process.",
        ),
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
        key(
            "fsize",
            Kind::Memory,
            "How large a file a process may write; any size by default.",
        ),
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
