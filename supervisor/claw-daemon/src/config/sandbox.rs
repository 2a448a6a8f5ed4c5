//! `sandbox:` of an agent with an image, and what only one of both kinds of agents has.

use std::path::PathBuf;

use claw_core::spec::Container;
use claw_core::spec::container::{Exec, Init, Network, PullPolicy, RootFs, Seccomp, Tmpfs};

use super::container::{Places, user_id};
use super::diagnostic::{Code, Diagnostic};
use super::item::{Fields, Item};
use super::keys_container::{LIMITS, SANDBOX, TMP, WRITABLE};
use super::reader::Reader;
use super::section::nearest;
use super::tree::{Origin, Value};
use super::value::Rejected;

const TMP_PLACE: &str = "/tmp";
const TMP_SIZE: u64 = 64 << 20;
const SHM_SIZE: u64 = 16 << 20;
const NOFILE: u64 = 1024;

/// What only a process has, and what to do about it where there is none.
const ONLY_PROCESSES: [(&str, &str); 5] = [
    (
        "on_missing",
        "remove it: a container that the engine cannot confine is not started",
    ),
    (
        "readable",
        "did you mean `volumes: [\"./data:/data:ro\"]`, beside `sandbox`?",
    ),
    ("landlock", "remove it: the engine confines the container"),
    ("proc", "remove it: the engine masks `/proc`"),
    ("debug", "did you mean `capabilities: [SYS_PTRACE]`?"),
];

/// The names of `capabilities(7)`, without `CAP_`.
const CAPABILITIES: [&str; 41] = [
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

impl Reader<'_> {
    /// Refuses what makes no sense for a process.
    pub(super) fn only_containers_have(&mut self, fields: &Fields<'_>) {
        for key in ["capabilities", "init"] {
            if let Some(item) = fields.get(key).filter(|item| item.origin == Origin::Own) {
                let message = format!("`{key}` is for agents with an `image`");
                let help = "remove it: a process in a sandbox has no capabilities, and its orphans are reaped";
                self.key_error(&item, Code::Conflict, &message, help);
            }
        }
        let Some(item) = fields.get("read_only_filesystem") else {
            return;
        };
        if self.boolean(&item) == Some(false) && item.origin == Origin::Own {
            let message = "the files that a process sees can only be read";
            let help = "remove it, and name what it may write to: `writable: [work]`";
            self.error(&item, Code::Conflict, message, help);
        }
    }

    /// Refuses what makes no sense for a container, or is not built for it.
    fn only_processes_have(&mut self, fields: &Fields<'_>) {
        let own = |key: &str| fields.get(key).filter(|item| item.origin == Origin::Own);
        for (key, help) in ONLY_PROCESSES {
            if let Some(item) = own(key) {
                let message = format!("`{key}` is for agents without an `image`");
                self.key_error(&item, Code::Conflict, &message, help);
            }
        }
        let limits = own("limits").and_then(|item| Fields::of(&LIMITS, item));
        let fsize = limits.and_then(|limits| limits.get("fsize"));
        if let Some(item) = fsize {
            let message = "`fsize` is not supported yet for agents with an `image`";
            self.key_error(&item, Code::NotSupportedYet, message, "remove it");
        }
    }

    /// How a container is confined; what is not about that is left as it is by default.
    pub(super) fn container_sandbox<'n>(
        &mut self,
        fields: &Fields<'n>,
        places: &mut Places<'n>,
    ) -> Container {
        let mut confined = Container {
            image: String::new(),
            pull: PullPolicy::Missing,
            build: None,
            entrypoint: None,
            working_dir: None,
            mounts: Vec::new(),
            ports: Vec::new(),
            root: RootFs::ReadOnly,
            tmpfs: Vec::new(),
            shm: SHM_SIZE,
            network: Network::None,
            seccomp: Seccomp::Default,
            capabilities: Vec::new(),
            nofile: NOFILE,
            init: Init::Engine,
        };
        let sandbox = self.inner(fields, "sandbox", &SANDBOX);
        confined.network = self.container_network(fields, sandbox.as_ref());
        let Some(sandbox) = sandbox else {
            confined.tmpfs.extend(usual_tmp(places));
            return confined;
        };
        self.docker_mode(&sandbox);
        self.only_processes_have(&sandbox);
        let words = [("default", Seccomp::Default), ("off", Seccomp::Off)];
        let seccomp = sandbox.get("seccomp");
        let seccomp = seccomp.and_then(|item| self.choice(&item, &words));
        confined.seccomp = seccomp.unwrap_or(Seccomp::Default);
        if self.flag(&sandbox, "read_only_filesystem") == Some(false) {
            confined.root = RootFs::Writable;
        }
        if self.flag(&sandbox, "init") == Some(false) {
            confined.init = Init::Own;
        }
        let shm = sandbox.get("shm").and_then(|item| self.memory(&item));
        confined.shm = shm.unwrap_or(SHM_SIZE);
        confined.tmpfs = self.tmpfs(&sandbox, places);
        confined.capabilities = self.capabilities(&sandbox, fields);
        let limits = self.inner(&sandbox, "limits", &LIMITS);
        let nofile = limits.and_then(|limits| limits.get("nofile"));
        let nofile = nofile.and_then(|item| self.whole(&item, (16, 1_048_576)));
        confined.nofile = nofile.unwrap_or(NOFILE);
        confined
    }

    fn docker_mode(&mut self, sandbox: &Fields<'_>) {
        let Some(item) = sandbox.get("mode") else {
            return;
        };
        match self.text(&item).as_deref() {
            Some("docker") | None => {}
            Some("none" | "process") => {
                let message = format!(
                    "an agent with an `image` is a container, which {} is not",
                    item.shown()
                );
                let help = "write `mode: docker`, or remove it";
                self.error(&item, Code::Conflict, message, help);
            }
            Some(_) => drop(self.choice(&item, &[("none", ()), ("docker", ())])),
        }
    }

    fn flag(&mut self, fields: &Fields<'_>, key: &str) -> Option<bool> {
        let item = fields.get(key)?;
        self.boolean(&item)
    }

    /// `/tmp`, and what else can be written to.
    fn tmpfs<'n>(&mut self, sandbox: &Fields<'n>, places: &mut Places<'n>) -> Vec<Tmpfs> {
        let mut all = Vec::new();
        if let Some(item) = sandbox.get("tmp") {
            if let Some(fields) = self.fields(&TMP, &item) {
                let target = self.free_place(&item, TMP_PLACE, places);
                all.extend(target.map(|target| self.memory_fs(&fields, target, Exec::Allowed)));
            }
        } else {
            all.extend(usual_tmp(places));
        }
        let Some(item) = sandbox.get("writable") else {
            return all;
        };
        let Some(items) = item.elements() else {
            self.wrong_type(&item, "a list");
            return all;
        };
        for item in items {
            let one = self.writable(&item, places);
            // One at `/tmp` stands for the usual one.
            if let Some(one) = one {
                all.retain(|other| other.target != one.target);
                all.push(one);
            }
        }
        all
    }

    fn writable<'n>(&mut self, item: &Item<'n>, places: &mut Places<'n>) -> Option<Tmpfs> {
        if let Value::Text(_) = item.node.value {
            let path = self.text(item)?;
            return Some(Tmpfs {
                target: self.free_place(item, &path, places)?,
                size: TMP_SIZE,
                exec: Exec::Denied,
            });
        }
        let fields = self.fields(&WRITABLE, item)?;
        let Some(path) = fields.get("path") else {
            let message = "a writable directory has no `path`";
            let help = "write `{path: /var/cache, size: 64Mi}`";
            self.error(item, Code::MissingKey, message, help);
            return None;
        };
        let text = self.text(&path)?;
        let target = self.free_place(&path, &text, places)?;
        Some(self.memory_fs(&fields, target, Exec::Denied))
    }

    fn memory_fs(&mut self, fields: &Fields<'_>, target: PathBuf, usual: Exec) -> Tmpfs {
        let size = fields.get("size").and_then(|item| self.memory(&item));
        let exec = match self.flag(fields, "exec") {
            Some(true) => Exec::Allowed,
            Some(false) => Exec::Denied,
            None => usual,
        };
        Tmpfs {
            target,
            size: size.unwrap_or(TMP_SIZE),
            exec,
        }
    }

    fn capabilities(&mut self, sandbox: &Fields<'_>, agent: &Fields<'_>) -> Vec<String> {
        let Some(item) = sandbox.get("capabilities") else {
            return Vec::new();
        };
        let mut kept = Vec::new();
        for item in self.one_or_more(&item) {
            let name = self.parsed(&item, "a capability", capability);
            kept.extend(name.filter(|name| !kept.contains(name)));
        }
        let user = agent.get("user");
        let user = user.as_ref().and_then(|item| item.node.as_scalar());
        let is_root = user.is_some_and(|user| {
            user.text.split(':').next() == Some("root")
                || user_id(&user.text).is_some_and(|(uid, _)| uid == 0)
        });
        if !kept.is_empty() && !is_root {
            let message = "only root in the container has capabilities, and the agent is not root";
            self.problems.push(
                Diagnostic::warning(Code::Conflict, message)
                    .at(item.span())
                    .path(item.path.clone())
                    .help("remove them, or write `user: root` beside `sandbox`"),
            );
        }
        kept
    }
}

/// The `/tmp` of a container that has nothing else there.
fn usual_tmp(places: &Places<'_>) -> Option<Tmpfs> {
    let target = PathBuf::from(TMP_PLACE);
    let taken = places.has(&target);
    (!taken).then_some(Tmpfs {
        target,
        size: TMP_SIZE,
        exec: Exec::Allowed,
    })
}

fn capability(text: &str) -> Result<String, Rejected> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
    if CAPABILITIES.contains(&name) {
        return Ok(name.to_owned());
    }
    if name == "ALL" {
        return Err(Rejected::new("they are not granted all at once")
            .help("name those that the agent needs, such as `CHOWN`"));
    }
    Err(match nearest(name, CAPABILITIES.into_iter()) {
        Some(near) => Rejected::plainly().help(format!("did you mean `{near}`?")),
        None => Rejected::plainly().help("write names of capabilities(7), such as `CHOWN`"),
    })
}
