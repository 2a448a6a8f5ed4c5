//! `resources:`, `graceful_shutdown:`, `hooks:` and `logging:`.

use std::time::Duration;

use claw_core::spec::{CleanExit, HookSpec, Hooks, Launch, LogPolicy, OnFull, Resources, Shutdown};

use super::diagnostic::Code;
use super::item::{Fields, Item};
use super::keys_agent::{LOGGING, RESOURCES};
use super::keys_life::{HOOK, HOOKS, SHUTDOWN};
use super::reader::Reader;
use super::tree::Value;
use super::value::{Rejected, quantity, signal};

const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;
const SIGSTOP: i32 = 19;
/// What a container may use when the file does not say.
const CONTAINER_MEMORY: u64 = 512 << 20;
const CONTAINER_PIDS: u32 = 128;
/// What a process in a sandbox may use when the file does not say, where groups can be limited.
const SANDBOX_MEMORY: u64 = 512 << 20;
const SANDBOX_PIDS: u32 = 512;
const HOOK_TIMEOUT: Duration = Duration::from_secs(30);
/// A smaller log file would be replaced all the time.
const SMALLEST_LOG: u64 = 64 * 1024;

/// What bounds a sandbox where nothing is written. Time on the processors is not among it: it is
/// shared when others want it, and whoever is alone may have it all.
pub(super) fn usual_of_sandbox(written: &Resources) -> Resources {
    Resources {
        cpu_millis: None,
        memory: written.memory.is_none().then_some(SANDBOX_MEMORY),
        pids: written.pids.is_none().then_some(SANDBOX_PIDS),
    }
}

impl Reader<'_> {
    /// Reads what an agent may use. A container is never without limits.
    pub(super) fn resources(&mut self, fields: &Fields<'_>, launch: &Launch) -> Resources {
        let mut resources = self.written_resources(fields);
        if launch.container.is_some() {
            resources.memory.get_or_insert(CONTAINER_MEMORY);
            resources.pids.get_or_insert(CONTAINER_PIDS);
        }
        resources
    }

    fn written_resources(&mut self, fields: &Fields<'_>) -> Resources {
        let Some(fields) = self.inner(fields, "resources", &RESOURCES) else {
            return Resources::default();
        };
        let cpu = fields.get("cpu");
        let memory = fields.get("memory");
        let pids = fields
            .get("pids")
            .and_then(|item| self.whole(&item, (1, 4_194_304)));
        Resources {
            cpu_millis: cpu.and_then(|item| {
                self.parsed(&item, "a number of processors", quantity::cpu_millis)
            }),
            memory: memory.and_then(|item| self.memory(&item)),
            pids: pids.and_then(|pids| u32::try_from(pids).ok()),
        }
    }

    pub(super) fn memory(&mut self, item: &Item<'_>) -> Option<u64> {
        self.parsed(item, "a size of memory", quantity::memory)
    }

    /// Reads how an agent is stopped.
    pub(super) fn shutdown(&mut self, fields: &Fields<'_>) -> Shutdown {
        let usual = |signal| Shutdown {
            timeout: Duration::from_secs(30),
            signal,
            clean: vec![CleanExit::Code(0), CleanExit::Signal(signal)],
        };
        let Some(fields) = self.inner(fields, "graceful_shutdown", &SHUTDOWN) else {
            return usual(SIGTERM);
        };
        let signal = fields
            .get("signal")
            .and_then(|item| self.stop_signal(&item));
        let mut shutdown = usual(signal.unwrap_or(SIGTERM));
        if let Some(timeout) = fields.get("timeout").and_then(|item| self.some_time(&item)) {
            shutdown.timeout = timeout;
        }
        if let Some(item) = fields.get("clean") {
            let items = self.one_or_more(&item);
            shutdown.clean = items
                .iter()
                .filter_map(|item| self.clean_exit(item))
                .collect();
        }
        shutdown
    }

    fn stop_signal(&mut self, item: &Item<'_>) -> Option<i32> {
        let number = self.parsed(item, "a signal", signal::parse)?;
        if matches!(number, SIGKILL | SIGSTOP) {
            let message = format!("no program can answer {}", signal::name(number));
            self.error(
                item,
                Code::InvalidValue,
                message,
                "write `SIGTERM` or `SIGINT`; what is left after `timeout` is killed anyway",
            );
            return None;
        }
        Some(number)
    }

    fn clean_exit(&mut self, item: &Item<'_>) -> Option<CleanExit> {
        self.parsed(item, "an exit code or a signal", |text| {
            if text.bytes().all(|byte| byte.is_ascii_digit()) {
                let code = text.parse::<u8>();
                return code
                    .map(CleanExit::Code)
                    .map_err(|_unreadable| Rejected::new("exit codes are numbers from 0 to 255"));
            }
            signal::parse(text).map(CleanExit::Signal)
        })
    }

    /// Reads the programs around an agent's life.
    pub(super) fn hooks(&mut self, fields: &Fields<'_>) -> Hooks {
        let Some(fields) = self.inner(fields, "hooks", &HOOKS) else {
            return Hooks::default();
        };
        Hooks {
            pre_start: fields.get("pre_start").and_then(|item| self.hook(&item)),
            post_stop: fields.get("post_stop").and_then(|item| self.hook(&item)),
        }
    }

    fn hook(&mut self, item: &Item<'_>) -> Option<HookSpec> {
        let Value::Map(_) = item.node.value else {
            return Some(HookSpec {
                command: self.command(item)?,
                timeout: HOOK_TIMEOUT,
            });
        };
        let fields = self.fields(&HOOK, item)?;
        let timeout = fields.get("timeout").and_then(|item| self.some_time(&item));
        let Some(command) = fields.get("command") else {
            let message = format!("`{}` has no `command`", item.name());
            self.error(
                item,
                Code::MissingKey,
                message,
                "add `command: [PROGRAM, ARGUMENT]`",
            );
            return None;
        };
        Some(HookSpec {
            command: self.command(&command)?,
            timeout: timeout.unwrap_or(HOOK_TIMEOUT),
        })
    }

    /// Reads what becomes of an agent's output.
    pub(super) fn logging(&mut self, fields: &Fields<'_>) -> LogPolicy {
        let mut policy = LogPolicy {
            max_size: 50 << 20,
            max_files: 5,
            retention: Duration::from_secs(7 * 24 * 3600),
            on_full: OnFull::Drop,
        };
        let Some(fields) = self.inner(fields, "logging", &LOGGING) else {
            return policy;
        };
        if let Some(item) = fields.get("max_size") {
            policy.max_size = self.memory(&item).unwrap_or(policy.max_size);
            if policy.max_size < SMALLEST_LOG {
                let message = format!("{} is too small for a log file", item.shown());
                self.error(
                    &item,
                    Code::InvalidValue,
                    message,
                    "make it at least `64Ki`",
                );
            }
        }
        let files = fields
            .get("max_files")
            .and_then(|item| self.whole(&item, (1, 10_000)));
        if let Some(files) = files.and_then(|files| u32::try_from(files).ok()) {
            policy.max_files = files;
        }
        if let Some(retention) = fields
            .get("retention")
            .and_then(|item| self.some_time(&item))
        {
            policy.retention = retention;
        }
        let words = [("drop", OnFull::Drop), ("block", OnFull::Block)];
        if let Some(on_full) = fields
            .get("on_full")
            .and_then(|item| self.choice(&item, &words))
        {
            policy.on_full = on_full;
        }
        policy
    }

    /// `level` and `format` are the agent's to follow: it is told in its environment.
    pub(super) fn logging_variables(&mut self, fields: &Fields<'_>, launch: &mut Launch) {
        const LEVELS: [(&str, &str); 4] = [
            ("debug", "debug"),
            ("info", "info"),
            ("warning", "warning"),
            ("error", "error"),
        ];
        const FORMATS: [(&str, &str); 2] = [("json", "json"), ("text", "text")];
        let Some(fields) = fields
            .get("logging")
            .and_then(|item| Fields::of(&LOGGING, item))
        else {
            return;
        };
        let level = fields
            .get("level")
            .and_then(|item| self.choice(&item, &LEVELS));
        let format = fields
            .get("format")
            .and_then(|item| self.choice(&item, &FORMATS));
        for (name, value) in [
            ("OPENCLAW_LOG_LEVEL", level),
            ("OPENCLAW_LOG_FORMAT", format),
        ] {
            let Some(value) = value else { continue };
            launch
                .env
                .entry(name.to_owned())
                .or_insert_with(|| value.to_owned());
        }
    }
}
