//! A spec as a flat list of fields, by their path in the fleet file.
//!
//! Every struct is taken apart completely, so that a new field does not build until its path and
//! its class of reload stand here.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;

use super::ReloadClass::{self, Live, Restart as Replace};
use super::render::{bytes, clean_exit, cpu, duration, list, signal, text, word};
use crate::spec::schedule::RunOnStart;
use crate::spec::{
    AgentSpec, Breaker, Check, ExitCodes, FleetSpec, HookSpec, Hooks, Launch, LogPolicy, Mode,
    Probe, Probes, Program, Progress, Requirements, Resources, Restart, Schedule, Shutdown, Timing,
};

/// One field.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Field {
    /// What is compared.
    pub(super) value: String,
    /// What is shown.
    pub(super) shown: String,
    /// What a change takes.
    pub(super) class: ReloadClass,
}

/// The fields of a fleet beside its agents.
pub(super) fn of_fleet(fleet: &FleetSpec) -> BTreeMap<String, Field> {
    let FleetSpec {
        project,
        max_concurrent_starts,
        agents: _,
        groups: _,
    } = fleet;
    let mut fields = Fields::default();
    fields.set("project", Live, text(project));
    let starts = "supervisor.max_concurrent_starts";
    fields.set(starts, Live, max_concurrent_starts.to_string());
    fields.0
}

/// The fields of an agent.
pub(super) fn of_agent(spec: &AgentSpec) -> BTreeMap<String, Field> {
    let AgentSpec {
        launch,
        mode,
        schedule,
        concurrency,
        depends_on,
        restart,
        probes,
        resources,
        shutdown,
        hooks,
        logging,
    } = spec;
    let mut fields = Fields::default();
    fields.launch(launch);
    fields.set("mode", Replace, word(mode));
    if let Some(schedule) = schedule {
        fields.schedule(schedule);
    }
    if *mode == Mode::Worker {
        fields.set("concurrency", Live, concurrency.to_string());
    }
    for (agent, condition) in depends_on {
        fields.set(format!("depends_on.{agent}"), Live, word(condition));
    }
    fields.restart(restart);
    fields.probes(probes);
    fields.resources(resources);
    fields.shutdown(shutdown);
    fields.hooks(hooks);
    fields.logging(logging);
    fields.0
}

#[derive(Default)]
pub(super) struct Fields(BTreeMap<String, Field>);

impl Fields {
    pub(super) fn set(&mut self, path: impl Into<String>, class: ReloadClass, value: String) {
        let field = Field {
            shown: value.clone(),
            value,
            class,
        };
        self.0.insert(path.into(), field);
    }

    pub(super) fn set_some(
        &mut self,
        path: impl Into<String>,
        class: ReloadClass,
        value: Option<String>,
    ) {
        if let Some(value) = value {
            self.set(path, class, value);
        }
    }

    fn set_masked(&mut self, path: String, class: ReloadClass, value: String) {
        let field = Field {
            shown: "***".to_owned(),
            value,
            class,
        };
        self.0.insert(path, field);
    }

    /// A process has all of this from its start and nothing of it can be taken over later.
    fn launch(&mut self, launch: &Launch) {
        let Launch {
            command,
            program,
            container,
            sandbox,
            env,
            secrets,
            working_dir,
            user,
            data_dirs,
            config,
            models,
        } = launch;
        self.set("command", Replace, list(command, |word| text(word)));
        self.program(program);
        if let Some(container) = container {
            self.container(container);
        }
        self.sandbox(sandbox.as_deref());
        for (name, value) in env {
            self.variable("env", name, value);
        }
        for (name, secret) in secrets {
            self.set_masked(
                format!("secrets.{name}"),
                Replace,
                secret.expose().to_owned(),
            );
        }
        self.set("working_dir", Replace, text(&working_dir.to_string_lossy()));
        self.set_some("user", Replace, user.as_deref().map(text));
        let data_dirs = list(data_dirs, |dir| text(&dir.to_string_lossy()));
        self.set("data_dirs", Replace, data_dirs);
        self.set("config", Replace, config.to_string());
        self.set("llm", Replace, models.is_some().to_string());
    }

    fn program(&mut self, program: &Program) {
        let requirements = match program {
            Program::Any => return,
            Program::Python(Requirements::None) => "[]".to_owned(),
            Program::Python(Requirements::File(file)) => text(&file.to_string_lossy()),
            Program::Python(Requirements::Lines(lines)) => list(lines, |line| text(line)),
        };
        self.set("python.requirements", Replace, requirements);
    }

    /// What is called a secret is treated as one, also where `secrets` was not used for it.
    pub(super) fn variable(&mut self, below: &str, name: &str, value: &str) {
        let path = format!("{below}.{name}");
        let upper = name.to_ascii_uppercase();
        let endings = [
            "KEY",
            "TOKEN",
            "SECRET",
            "PASSWORD",
            "PASSWD",
            "CREDENTIALS",
        ];
        if endings.iter().any(|ending| upper.ends_with(ending)) {
            self.set_masked(path, Replace, value.to_owned());
        } else {
            self.set(path, Replace, text(value));
        }
    }

    fn schedule(&mut self, schedule: &Schedule) {
        let Schedule {
            timing,
            overlap,
            catch_up,
            max_lateness,
            jitter,
            timeout,
            run_on_start,
        } = schedule;
        let zone = match timing {
            Timing::Every(span) => {
                self.set("schedule.every", Live, duration(*span));
                None
            }
            Timing::Cron { expression, zone } => {
                self.set("schedule.cron", Live, text(expression.as_str()));
                Some(zone)
            }
            Timing::Daily { at, zone } => {
                self.set("schedule.daily", Live, text(&at.to_string()));
                Some(zone)
            }
        };
        let named = |zone: &TimeZone| {
            let name = zone.iana_name().map(str::to_owned);
            name.unwrap_or_else(|| format!("{zone:?}"))
        };
        let zone = zone.map(named);
        self.set_some("schedule.timezone", Live, zone);
        self.set("schedule.overlap", Live, word(overlap));
        self.set("schedule.catch_up", Live, word(catch_up));
        self.set_some("schedule.max_lateness", Live, max_lateness.map(duration));
        self.set("schedule.jitter", Live, duration(*jitter));
        self.set_some("schedule.timeout", Live, timeout.map(duration));
        let at_start = match run_on_start {
            RunOnStart::Yes => "true",
            RunOnStart::No => "false",
        };
        self.set("schedule.run_on_start", Live, at_start.to_owned());
    }

    fn restart(&mut self, restart: &Restart) {
        let Restart {
            policy,
            max_retries,
            backoff,
            initial_delay,
            max_delay,
            reset_after,
            jitter_percent,
            exit_codes,
        } = restart;
        let ExitCodes {
            success,
            retry,
            fatal,
            again,
        } = exit_codes;
        let path = |key: &str| format!("restart_policy.{key}");
        self.set(path("policy"), Live, word(policy));
        let max_retries = max_retries.map(|most| most.to_string());
        self.set_some(path("max_retries"), Live, max_retries);
        self.set(path("backoff"), Live, word(backoff));
        self.set(path("initial_delay"), Live, duration(*initial_delay));
        self.set(path("max_delay"), Live, duration(*max_delay));
        self.set(path("reset_after"), Live, duration(*reset_after));
        self.set(path("jitter"), Live, format!("{jitter_percent}%"));
        let codes = [
            ("success", success),
            ("retry", retry),
            ("fatal", fatal),
            ("again", again),
        ];
        for (key, codes) in codes {
            let path = path(&format!("exit_codes.{key}"));
            self.set(path, Live, list(codes, u8::to_string));
        }
    }

    fn probes(&mut self, probes: &Probes) {
        let Probes {
            startup,
            liveness,
            readiness,
            progress,
            breaker,
        } = probes;
        let of_kind = [
            ("startup", startup, "threshold"),
            ("liveness", liveness, "unhealthy_threshold"),
            ("readiness", readiness, "unhealthy_threshold"),
        ];
        for (kind, probe, threshold) in of_kind {
            if let Some(probe) = probe {
                self.probe(&format!("health_check.{kind}"), probe, threshold);
            }
        }
        if let Some(Progress { max_silence }) = progress {
            self.set(
                "health_check.progress.max_silence",
                Live,
                duration(*max_silence),
            );
        }
        let Breaker { calls, within } = breaker;
        self.set("health_check.breaker.calls", Live, calls.to_string());
        self.set("health_check.breaker.within", Live, duration(*within));
    }

    fn probe(&mut self, path: &str, probe: &Probe, threshold_key: &str) {
        let Probe {
            check,
            interval,
            timeout,
            threshold,
        } = probe;
        let (kind, check) = check_fields(check);
        self.set(format!("{path}.{kind}"), Live, check);
        self.set(format!("{path}.interval"), Live, duration(*interval));
        self.set(format!("{path}.timeout"), Live, duration(*timeout));
        self.set(
            format!("{path}.{threshold_key}"),
            Live,
            threshold.to_string(),
        );
    }

    /// Limits are set up with the process.
    pub(super) fn resources(&mut self, resources: &Resources) {
        let Resources {
            cpu_millis,
            memory,
            pids,
        } = resources;
        self.set_some("resources.cpu", Replace, cpu_millis.map(cpu));
        self.set_some("resources.memory", Replace, memory.map(bytes));
        self.set_some("resources.pids", Replace, pids.map(|most| most.to_string()));
    }

    fn shutdown(&mut self, shutdown: &Shutdown) {
        let Shutdown {
            timeout,
            signal: number,
            clean,
        } = shutdown;
        self.set("graceful_shutdown.timeout", Live, duration(*timeout));
        self.set("graceful_shutdown.signal", Live, signal(*number));
        self.set("graceful_shutdown.clean", Live, list(clean, clean_exit));
    }

    fn hooks(&mut self, hooks: &Hooks) {
        let Hooks {
            pre_start,
            post_stop,
        } = hooks;
        for (key, hook) in [("pre_start", pre_start), ("post_stop", post_stop)] {
            if let Some(HookSpec { command, timeout }) = hook {
                self.set(
                    format!("hooks.{key}"),
                    Live,
                    list(command, |word| text(word)),
                );
                self.set(format!("hooks.{key}.timeout"), Live, duration(*timeout));
            }
        }
    }

    /// The shim reads this when it starts and is not spoken to later.
    fn logging(&mut self, logging: &LogPolicy) {
        let LogPolicy {
            max_size,
            max_files,
            retention,
            on_full,
        } = logging;
        self.set("logging.max_size", Replace, bytes(*max_size));
        self.set("logging.max_files", Replace, max_files.to_string());
        self.set("logging.retention", Replace, duration(*retention));
        self.set("logging.on_full", Replace, word(on_full));
    }
}

/// The key of a check and what stands below it, on one line.
fn check_fields(check: &Check) -> (&'static str, String) {
    match check {
        Check::Exec { command } => ("exec", list(command, |word| text(word))),
        Check::Http {
            host,
            port,
            path,
            status,
            body,
        } => {
            let status = status.map(|status| format!("status: {status}"));
            let body = body.as_deref().map(|body| format!("body: {}", text(body)));
            let mut keys = vec![
                format!("host: {}", text(host)),
                format!("port: {port}"),
                format!("path: {}", text(path)),
            ];
            keys.extend(status.into_iter().chain(body));
            ("http", format!("{{{}}}", keys.join(", ")))
        }
        Check::Tcp { host, port } => ("tcp", format!("{{host: {}, port: {port}}}", text(host))),
        Check::Heartbeat => ("heartbeat", "{}".to_owned()),
    }
}
