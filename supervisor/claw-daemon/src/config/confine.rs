//! What is written about the sandboxes of agents that are processes: in `security.sandbox`, and in
//! `sandbox` of an agent. What becomes of both together stands in `narrow.rs`.

use std::path::{Path, PathBuf};

use claw_core::spec::container::Exec;
use claw_core::spec::sandbox::{
    Capture, HostRule, Landlock, OnMissing, Proc, Sni, SystemCalls, Tracing, Writable,
};
use claw_drivers::sandbox::is_system_call;

use super::diagnostic::{Code, Diagnostic};
use super::item::{Fields, Item};
use super::keys_container::{LIMITS, TMP, WRITABLE};
use super::keys_sandbox::{
    DEBUG_KEYS, MOST_LANDLOCK, MOST_TUNNELS, PROXY_KEYS, REQUIRED_LANDLOCK, SECCOMP_KEYS,
};
use super::reader::Reader;
use super::tree::{Origin, Span, Value};
use super::value::{Rejected, network};

/// How an agent is confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Not at all.
    None,
    /// As a process.
    Process,
    /// As a container.
    Docker,
}

/// What a process reaches, as far as `network` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(super) enum Network {
    /// No host.
    None,
    /// All that the host reaches.
    Host,
}

/// A value, and where it was written.
#[derive(Debug, Clone)]
pub(super) struct Written<T> {
    pub(super) value: T,
    pub(super) span: Span,
    pub(super) path: String,
}

/// What was written; nothing where nothing was.
#[derive(Debug, Clone, Default)]
pub(super) struct Wish {
    pub(super) mode: Option<Written<Mode>>,
    pub(super) on_missing: Option<Written<OnMissing>>,
    pub(super) readable: Option<Written<Vec<Written<PathBuf>>>>,
    pub(super) writable: Option<Written<Vec<Written<Writable>>>>,
    pub(super) tmp_size: Option<Written<u64>>,
    pub(super) tmp_exec: Option<Written<Exec>>,
    pub(super) shm: Option<Written<u64>>,
    pub(super) network: Option<Written<Network>>,
    pub(super) allowed: Option<Written<Vec<Written<HostRule>>>>,
    pub(super) blocked: Option<Written<Vec<Written<HostRule>>>>,
    pub(super) private: Option<Written<Vec<Written<HostRule>>>>,
    pub(super) capture: Option<Written<Capture>>,
    pub(super) sni: Option<Written<Sni>>,
    pub(super) max_tunnels: Option<Written<u32>>,
    pub(super) max_bytes: Option<Written<u64>>,
    pub(super) seccomp: Option<Written<SystemCalls>>,
    pub(super) landlock: Option<Written<Landlock>>,
    pub(super) proc: Option<Written<Proc>>,
    pub(super) tracing: Option<Written<Tracing>>,
    pub(super) nofile: Option<Written<u64>>,
    pub(super) fsize: Option<Written<u64>>,
    /// Whether anything but the mode was written.
    pub(super) says_more: bool,
}

/// The smallest directory of a fixed size, in bytes.
const SMALLEST_DISK: u64 = 1 << 20;

/// Keys of `sandbox` that say nothing about how a process is confined.
const NOT_A_WISH: [&str; 3] = ["mode", "allow_override", "uid_range"];

impl Reader<'_> {
    /// Reads what is written in a `sandbox` about processes.
    pub(super) fn wish(&mut self, fields: &Fields<'_>) -> Wish {
        let entries = fields.entries();
        let more = entries
            .iter()
            .find(|(name, _)| fields.section.has(name) && !NOT_A_WISH.contains(name));
        let words = [
            ("process", Mode::Process),
            ("none", Mode::None),
            ("docker", Mode::Docker),
        ];
        let mode = self.word(fields, "mode", &words);
        self.nothing_beside_none(mode.as_ref(), fields);
        let words = [
            ("refuse", OnMissing::Refuse),
            ("degrade", OnMissing::Degrade),
        ];
        let on_missing = self.word(fields, "on_missing", &words);
        let words = [("none", Network::None), ("host", Network::Host)];
        let network = self.word(fields, "network", &words);
        let words = [("masked", Proc::Masked), ("minimal", Proc::Minimal)];
        let proc = self.word(fields, "proc", &words);
        let shm = fields.get("shm").and_then(|item| {
            let size = self.memory(&item)?;
            Some(Written::at(&item, size))
        });
        let mut wish = Wish {
            mode,
            on_missing,
            readable: self.readable(fields),
            writable: self.writable_dirs(fields),
            shm,
            network,
            allowed: self.hosts(fields, "allowed_network", Self::host_pattern),
            blocked: self.hosts(fields, "blocked_network", Self::host_pattern),
            private: self.hosts(fields, "private_networks", Self::private_network),
            seccomp: self.seccomp(fields),
            landlock: self.landlock(fields),
            proc,
            says_more: more.is_some(),
            ..Wish::default()
        };
        self.wished_sizes(fields, &mut wish);
        self.wished_proxy(fields, &mut wish);
        wish
    }

    /// Reads what is written about hosts alone.
    pub(super) fn host_wish(&mut self, fields: &Fields<'_>) -> Wish {
        let mut wish = Wish {
            allowed: self.hosts(fields, "allowed_network", Self::host_pattern),
            blocked: self.hosts(fields, "blocked_network", Self::host_pattern),
            private: self.hosts(fields, "private_networks", Self::private_network),
            ..Wish::default()
        };
        self.wished_proxy(fields, &mut wish);
        wish
    }

    /// What stands beside `mode: none` would be passed over, unless it comes from elsewhere.
    fn nothing_beside_none(&mut self, mode: Option<&Written<Mode>>, fields: &Fields<'_>) {
        let Some(mode) = mode.filter(|mode| mode.value == Mode::None) else {
            return;
        };
        let origin = |name: &str| fields.get(name).map(|item| item.origin);
        for (name, item) in fields.entries() {
            let about_processes = fields.section.has(name) && !NOT_A_WISH.contains(&name);
            if about_processes
                && (item.origin == Origin::Own || origin("mode") == Some(item.origin))
            {
                let message = format!("`{name}` has no effect beside `mode: none`");
                let help = "remove one of them";
                self.problems.push(
                    Diagnostic::error(Code::Conflict, message)
                        .at(item.key.unwrap_or(item.span()))
                        .related(mode.span, "no sandbox")
                        .path(item.path)
                        .help(help),
                );
            }
        }
    }

    fn word<T: Copy>(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        words: &[(&str, T)],
    ) -> Option<Written<T>> {
        let item = fields.get(key)?;
        let value = self.choice(&item, words)?;
        Some(Written::at(&item, value))
    }

    fn yes_or_no<T>(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        (yes, no): (T, T),
    ) -> Option<Written<T>> {
        let item = fields.get(key)?;
        let value = if self.boolean(&item)? { yes } else { no };
        Some(Written::at(&item, value))
    }

    fn size(&mut self, fields: &Fields<'_>, key: &str) -> Option<Written<u64>> {
        let item = fields.get(key)?;
        let size = self.memory(&item)?;
        Some(Written::at(&item, size))
    }

    fn written_number(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        bounds: (u64, u64),
    ) -> Option<Written<u64>> {
        let item = fields.get(key)?;
        let number = self.whole(&item, bounds)?;
        Some(Written::at(&item, number))
    }

    fn wished_sizes(&mut self, fields: &Fields<'_>, wish: &mut Wish) {
        if let Some(tmp) = self.inner(fields, "tmp", &TMP) {
            wish.tmp_size = self.size(&tmp, "size");
            wish.tmp_exec = self.yes_or_no(&tmp, "exec", (Exec::Allowed, Exec::Denied));
        }
        if let Some(limits) = self.inner(fields, "limits", &LIMITS) {
            wish.nofile = self.written_number(&limits, "nofile", (16, 1_048_576));
            wish.fsize = self.size(&limits, "fsize");
        }
        if let Some(debug) = self.inner(fields, "debug", &DEBUG_KEYS) {
            wish.tracing = self.yes_or_no(&debug, "ptrace", (Tracing::Allowed, Tracing::Denied));
        }
    }

    fn wished_proxy(&mut self, fields: &Fields<'_>, wish: &mut Wish) {
        let Some(proxy) = self.inner(fields, "proxy", &PROXY_KEYS) else {
            return;
        };
        let captures = (Capture::Transparent, Capture::ProxyOnly);
        wish.capture = self.yes_or_no(&proxy, "transparent", captures);
        wish.sni = self.yes_or_no(&proxy, "require_sni", (Sni::Required, Sni::Optional));
        let tunnels = self.written_number(&proxy, "max_tunnels", (1, MOST_TUNNELS));
        wish.max_tunnels = tunnels.map(|most| Written {
            value: u32::try_from(most.value).unwrap_or(u32::MAX),
            span: most.span,
            path: most.path,
        });
        wish.max_bytes = self.size(&proxy, "max_bytes");
    }

    fn readable(&mut self, fields: &Fields<'_>) -> Option<Written<Vec<Written<PathBuf>>>> {
        let item = fields.get("readable")?;
        let mut paths: Vec<Written<PathBuf>> = Vec::new();
        for item in self.one_or_more(&item) {
            let Some(path) = self
                .path(&item)
                .filter(|path| self.is_shareable(&item, path))
            else {
                continue;
            };
            if paths.iter().any(|known| known.value == path) {
                let message = format!("{} is listed twice", item.shown());
                self.error(&item, Code::Conflict, message, "keep one of them");
            } else {
                paths.push(Written::at(&item, path));
            }
        }
        Some(Written::at(&item, paths))
    }

    fn writable_dirs(&mut self, fields: &Fields<'_>) -> Option<Written<Vec<Written<Writable>>>> {
        let item = fields.get("writable")?;
        let Some(elements) = item.elements() else {
            self.wrong_type(&item, "a list");
            return None;
        };
        let mut all: Vec<Written<Writable>> = Vec::new();
        for element in elements {
            let Some(one) = self.writable_dir(&element) else {
                continue;
            };
            if all.iter().any(|known| known.value.path == one.path) {
                let path = one.path.strip_prefix(self.folder).unwrap_or(&one.path);
                let message = format!("`{}` is listed twice", path.display());
                self.error(&element, Code::Conflict, message, "keep one of them");
            } else {
                all.push(Written::at(&element, one));
            }
        }
        Some(Written::at(&item, all))
    }

    fn writable_dir(&mut self, item: &Item<'_>) -> Option<Writable> {
        if let Value::Text(_) = item.node.value {
            let path = self.path(item)?;
            return self.is_shareable(item, &path).then_some(Writable {
                path,
                size: None,
                exec: Exec::Denied,
            });
        }
        let fields = self.fields(&WRITABLE, item)?;
        let Some(place) = fields.get("path") else {
            let message = "a writable directory has no `path`";
            let help = "write `{path: work, size: 64Mi}`";
            self.error(item, Code::MissingKey, message, help);
            return None;
        };
        let size = fields.get("size").and_then(|item| self.disk_size(&item));
        let exec = self.yes_or_no(&fields, "exec", (Exec::Allowed, Exec::Denied));
        let path = self.path(&place)?;
        self.is_shareable(&place, &path).then_some(Writable {
            path,
            size,
            exec: exec.map_or(Exec::Denied, |exec| exec.value),
        })
    }

    fn disk_size(&mut self, item: &Item<'_>) -> Option<u64> {
        let size = self.memory(item)?;
        if size >= SMALLEST_DISK {
            return Some(size);
        }
        let message = "a `size` below 1Mi holds no file system";
        self.error(item, Code::InvalidValue, message, "write `1Mi` or more");
        None
    }

    /// Whether a path of the host may be shown to a process: not the whole host, and not what a
    /// sandbox has of its own.
    fn is_shareable(&mut self, item: &Item<'_>, path: &Path) -> bool {
        const OWN: [&str; 3] = ["/proc", "/sys", "/dev"];
        let (what, help) = if path == Path::new("/") {
            (
                "is the whole host",
                "name what the agent needs; programs and libraries below `/usr` it sees anyway",
            )
        } else if OWN.iter().any(|own| path.starts_with(own)) {
            (
                "is not shared with a process in a sandbox",
                "remove it; a sandbox has `/proc` and `/dev` of its own",
            )
        } else {
            return true;
        };
        let message = format!("{} {what}", item.shown());
        self.error(item, Code::InvalidValue, message, help);
        false
    }

    fn hosts(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        read: impl Fn(&mut Self, &Item<'_>) -> Option<String>,
    ) -> Option<Written<Vec<Written<HostRule>>>> {
        let item = fields.get(key)?;
        let mut rules = Vec::new();
        for item in self.one_or_more(&item) {
            if let Some(pattern) = read(self, &item) {
                let key = item.path.clone();
                rules.push(Written::at(&item, HostRule { pattern, key }));
            }
        }
        Some(Written::at(&item, rules))
    }

    fn host_pattern(&mut self, item: &Item<'_>) -> Option<String> {
        self.parsed(item, "a host", network::host)
    }

    fn private_network(&mut self, item: &Item<'_>) -> Option<String> {
        self.parsed(item, "a network", network::private)
    }

    fn seccomp(&mut self, fields: &Fields<'_>) -> Option<Written<SystemCalls>> {
        let item = fields.get("seccomp")?;
        if let Value::Map(_) = item.node.value {
            let map = self.fields(&SECCOMP_KEYS, &item)?;
            let names = map.get("also");
            let names = names.map(|names| self.one_or_more(&names));
            let mut also = Vec::new();
            for name in names.unwrap_or_default() {
                also.extend(self.parsed(&name, "a system call", system_call));
            }
            return Some(Written::at(&item, SystemCalls::Listed { also }));
        }
        let words = [("default", 0), ("learn", 1), ("off", 2)];
        let calls = match self.choice(&item, &words)? {
            0 => SystemCalls::Listed { also: Vec::new() },
            1 => SystemCalls::Learn,
            _ => SystemCalls::Any,
        };
        Some(Written::at(&item, calls))
    }

    fn landlock(&mut self, fields: &Fields<'_>) -> Option<Written<Landlock>> {
        let item = fields.get("landlock")?;
        if let Value::Map(_) = item.node.value {
            let map = self.fields(&REQUIRED_LANDLOCK, &item)?;
            let version = self.written_number(&map, "require", (1, MOST_LANDLOCK))?;
            let version = u32::try_from(version.value).unwrap_or(u32::MAX);
            return Some(Written::at(&item, Landlock::Require(version)));
        }
        let landlock = self.choice(&item, &[("best_effort", Landlock::BestEffort)])?;
        Some(Written::at(&item, landlock))
    }
}

impl<T> Written<T> {
    pub(super) fn at(item: &Item<'_>, value: T) -> Self {
        Self {
            value,
            span: item.span(),
            path: item.path.clone(),
        }
    }
}

fn system_call(text: &str) -> Result<String, Rejected> {
    if is_system_call(text) {
        return Ok(text.to_owned());
    }
    Err(Rejected::plainly().help("write names of syscalls(2), such as `io_uring_setup`"))
}
