//! Metrics: counters from announcements, gauges from the status at the time of the scrape.
//!
//! Everything has the prefix `openclaw_`; names and labels are part of the product. An agent that
//! leaves the fleet takes its series with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use claw_core::action::Happened;
use claw_core::{
    AgentName, AgentStatus, Announcement, Cause, HaltLevel, InstanceId, ProbeKind, Run, RunOutcome,
    RunPhase,
};
use claw_drivers::driver::Usage;
use claw_gateway::llm::budget::Balance;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::exposition::Exposition;
use super::journal_histogram::JournalCollector;
pub use super::journal_histogram::{JournalLatency, JournalLoad};
use super::labels::{Of, OfLevel, OfPart, OfPhase, OfProbe, OfStatus, of, of_probe};
use super::llm::LlmMetrics;
use super::used::Used;
use crate::api::{State, Time, seconds_between};
use crate::watchdog::Part;

/// Bounds of run durations, in seconds: from a quick script to a nightly job.
const RUN_SECONDS: [f64; 14] = [
    0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0,
];

/// Bounds of step durations, in seconds: a step takes microseconds, more is a finding.
const STEP_SECONDS: [f64; 8] = [1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 1e-2, 1e-1, 1.0];

/// The probes, for removing their series.
const PROBES: [ProbeKind; 4] = [
    ProbeKind::Startup,
    ProbeKind::Liveness,
    ProbeKind::Readiness,
    ProbeKind::Progress,
];

type SecondsCounter = Counter<f64, AtomicU64>;
type SecondsGauge = Gauge<f64, AtomicU64>;

/// All metrics; clones share them.
#[derive(Debug, Clone)]
pub struct Metrics {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    registry: Registry,
    counted: Counted,
    scraped: Scraped,
    step: Histogram,
    inbox: Gauge,
    journal: JournalCollector,
    llm: LlmMetrics,
    books: Mutex<Books>,
}

/// Counted from announcements.
#[derive(Debug)]
struct Counted {
    runs: Family<Of, Counter>,
    runs_failed: Family<Of, Counter>,
    run_duration: Family<Of, Histogram, fn() -> Histogram>,
    probe_failures: Family<OfProbe, Counter>,
    stale_facts: Counter,
    stalls: Family<OfPart, Counter>,
}

/// Set at each scrape.
#[derive(Debug, Default)]
struct Scraped {
    uptime: Family<OfStatus, SecondsGauge>,
    start_time: Family<Of, SecondsGauge>,
    phase: Family<OfPhase, Gauge>,
    ready: Family<Of, Gauge>,
    halted: Family<OfLevel, Gauge>,
    restarts: Family<Of, Counter>,
    cpu: Family<Of, SecondsCounter>,
    memory: Family<Of, Gauge>,
    sandbox_level: Family<OfLevel, Gauge>,
    sandbox_degraded: Family<Of, Gauge>,
    oom_kills: Family<Of, Counter>,
}

/// What is remembered from scrape to scrape.
#[derive(Debug, Default)]
struct Books {
    /// Agents that have series.
    seen: BTreeSet<AgentName>,
    used: Used,
}

/// How a live instance is confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confined {
    /// `full`, `landlock`, `none` or `container`.
    pub level: &'static str,
    /// Whether it does without something that its file wants.
    pub degraded: bool,
}

impl Confined {
    /// As a container.
    pub const CONTAINER: Self = Self {
        level: "container",
        degraded: false,
    };
    /// Not at all.
    pub const NOT: Self = Self {
        level: "none",
        degraded: false,
    };
}

/// The levels of sandboxes.
const LEVELS: [&str; 4] = ["full", "landlock", "none", "container"];

/// The fleet at the time of a scrape.
#[derive(Debug)]
pub struct Sample<'a> {
    /// All agents.
    pub statuses: &'a [AgentStatus],
    /// How live instances are confined, as far as that is known.
    pub confined: &'a BTreeMap<AgentName, Confined>,
    /// What live instances use.
    pub usage: &'a BTreeMap<InstanceId, Usage>,
    /// How the journal does; its series are missing where it cannot be told.
    pub journal: Option<JournalLoad>,
    /// How the budgets of calls to models stand; none in a fleet without models.
    pub budgets: &'a [Balance],
    /// What agents report of themselves, as OpenMetrics text without its end.
    pub reported: &'a str,
    /// The time.
    pub now: Time,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Makes metrics that count from zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("openclaw");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The supervisor's version", build);
        let counted = Counted::register(&mut registry);
        let scraped = Scraped::register(&mut registry);
        let step = Histogram::new(STEP_SECONDS);
        let help = "How long one step of the supervision loop took";
        registry.register_with_unit("step_duration", help, Unit::Seconds, step.clone());
        let inbox = Gauge::default();
        let help = "Requests and facts that wait for the supervision loop";
        registry.register("inbox_depth", help, inbox.clone());
        let journal = JournalCollector::default();
        registry.register_collector(Box::new(journal.clone()));
        let llm = LlmMetrics::register(&mut registry);
        let books = Mutex::default();
        Self {
            shared: Arc::new(Shared {
                registry,
                counted,
                scraped,
                step,
                inbox,
                journal,
                llm,
                books,
            }),
        }
    }

    /// Counts what happened.
    pub fn observe(&self, announcement: &Announcement) {
        let agent = &announcement.agent;
        match &announcement.happened {
            Happened::RunChanged { run } => self.observe_run(run),
            Happened::ProbeFailed { probe, .. } => {
                let label = of_probe(agent, *probe);
                self.shared
                    .counted
                    .probe_failures
                    .get_or_create(&label)
                    .inc();
            }
            Happened::Ended {
                instance,
                cause: Cause::Oom { kills },
                ..
            } => self.books().used.killed_for_memory(instance, *kills),
            Happened::StaleFact { .. } => {
                self.shared.counted.stale_facts.inc();
            }
            Happened::StateChanged { .. }
            | Happened::Started { .. }
            | Happened::Adopted { .. }
            | Happened::Ended { .. }
            | Happened::SwitchTurned { .. }
            | Happened::SlotSettled { .. } => {}
        }
        self.books().seen.insert(agent.clone());
    }

    /// The series of calls to models.
    #[must_use]
    pub fn llm(&self) -> &LlmMetrics {
        &self.shared.llm
    }

    /// Counts how long a step of the supervision loop took.
    pub fn observe_step(&self, took: Duration) {
        self.shared.step.observe(took.as_secs_f64());
    }

    /// Notes how many requests and facts wait for the supervision loop.
    pub fn set_inbox_depth(&self, depth: usize) {
        let depth = i64::try_from(depth).unwrap_or(i64::MAX);
        self.shared.inbox.set(depth);
    }

    /// Writes all metrics, with the gauges as of `sample`.
    ///
    /// # Errors
    ///
    /// Fails only if the library cannot write to a string.
    pub(crate) fn expose(
        &self,
        sample: &Sample<'_>,
        exposition: Exposition,
    ) -> Result<String, std::fmt::Error> {
        // Held to the end: two scrapes at once would see each other's half-set gauges.
        let mut books = self.books();
        self.forget_removed(&mut books, sample);
        books.used.measure(sample.usage);
        self.shared.scraped.clear();
        for status in sample.statuses {
            self.shared.counted.begin(&status.name);
            self.shared.scraped.set(status, &books.used, sample.now);
            if let Some(confined) = sample.confined.get(&status.name) {
                self.shared.scraped.set_confined(&status.name, *confined);
            }
        }
        self.shared.journal.set(sample.journal.clone());
        self.shared.llm.set_budgets(sample.budgets);
        let mut text = String::new();
        encode(&mut text, &self.shared.registry)?;
        drop(books);
        if let Some(end) = text.rfind("# EOF") {
            text.insert_str(end, sample.reported);
        }
        Ok(exposition.render(&text))
    }

    fn observe_run(&self, run: &Run) {
        let RunPhase::Finished {
            started,
            at,
            outcome,
        } = &run.phase
        else {
            return;
        };
        let label = of(&run.agent);
        let counted = &self.shared.counted;
        counted.runs.get_or_create(&label).inc();
        match outcome {
            RunOutcome::Failed { .. } | RunOutcome::Interrupted { .. } => {
                counted.runs_failed.get_or_create(&label).inc();
            }
            RunOutcome::Succeeded | RunOutcome::Cancelled { .. } => {}
        }
        if let Some(started) = started {
            let seconds = seconds_between(*started, *at);
            counted.run_duration.get_or_create(&label).observe(seconds);
        }
    }

    fn forget_removed(&self, books: &mut Books, sample: &Sample<'_>) {
        let present: BTreeSet<AgentName> = sample
            .statuses
            .iter()
            .map(|status| status.name.clone())
            .collect();
        for gone in books.seen.difference(&present) {
            self.shared.counted.forget(gone);
            books.used.forget(gone);
        }
        books.seen = present;
    }

    /// A part of the supervisor itself does not answer.
    pub(crate) fn stalled(&self, part: Part) {
        let of = OfPart {
            part: part.as_str(),
        };
        self.shared.counted.stalls.get_or_create(&of).inc();
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.shared
            .books
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counted {
    fn register(registry: &mut Registry) -> Self {
        let counted = Self {
            runs: Family::default(),
            runs_failed: Family::default(),
            run_duration: Family::new_with_constructor(|| Histogram::new(RUN_SECONDS)),
            probe_failures: Family::default(),
            stale_facts: Counter::default(),
            stalls: Family::default(),
        };
        let runs = "Runs that ended";
        registry.register("agent_runs", runs, counted.runs.clone());
        let failed = "Runs that failed or were interrupted";
        registry.register("agent_runs_failed", failed, counted.runs_failed.clone());
        let duration = "From the start of a run to its end";
        let metric = counted.run_duration.clone();
        registry.register_with_unit("agent_run_duration", duration, Unit::Seconds, metric);
        let probes = "Probes that failed";
        registry.register("probe_failures", probes, counted.probe_failures.clone());
        let stale = "Reports that fitted nothing the supervisor knows";
        registry.register("stale_facts", stale, counted.stale_facts.clone());
        let stalls = "How often a part of the supervisor itself did not answer for six seconds";
        registry.register("stalls", stalls, counted.stalls.clone());
        counted
    }

    /// Makes an agent's counters appear with 0, so that the first increase is seen as one.
    fn begin(&self, agent: &AgentName) {
        let label = of(agent);
        drop(self.runs.get_or_create(&label));
        drop(self.runs_failed.get_or_create(&label));
    }

    fn forget(&self, agent: &AgentName) {
        let label = of(agent);
        self.runs.remove(&label);
        self.runs_failed.remove(&label);
        self.run_duration.remove(&label);
        for probe in PROBES {
            self.probe_failures.remove(&of_probe(agent, probe));
        }
    }
}

impl Scraped {
    fn register(registry: &mut Registry) -> Self {
        let scraped = Self::default();
        let uptime = "Time since the live instance was started; 0 while none lives";
        let metric = scraped.uptime.clone();
        registry.register_with_unit("agent_uptime", uptime, Unit::Seconds, metric);
        let start = "When the live instance was started, in Unix time";
        let metric = scraped.start_time.clone();
        registry.register_with_unit("agent_start_time", start, Unit::Seconds, metric);
        let phase = "1 for the public state the agent is in, 0 for the others";
        registry.register("agent_phase", phase, scraped.phase.clone());
        let ready = "1 if the agent may be given work";
        registry.register("agent_ready", ready, scraped.ready.clone());
        let halted = "1 for the level at which the agent is halted, 0 for the others";
        registry.register("agent_halted", halted, scraped.halted.clone());
        let restarts = "Restarts by the restart policy";
        registry.register("restarts", restarts, scraped.restarts.clone());
        let cpu = "Processor time of the agent's instances";
        let metric = scraped.cpu.clone();
        registry.register_with_unit("agent_cpu", cpu, Unit::Seconds, metric);
        let memory = "Memory in use by the agent's live instances";
        let metric = scraped.memory.clone();
        registry.register_with_unit("agent_memory", memory, Unit::Bytes, metric);
        let level = "1 for the level of the sandbox of the live instance, 0 for the others";
        let metric = scraped.sandbox_level.clone();
        registry.register("agent_sandbox_level", level, metric);
        let degraded = "1 if the sandbox of the live instance is less than its file wants";
        let metric = scraped.sandbox_degraded.clone();
        registry.register("agent_sandbox_degraded", degraded, metric);
        let oom = "Processes of the agent that the kernel killed for memory";
        registry.register("agent_oom_kills", oom, scraped.oom_kills.clone());
        scraped
    }

    fn clear(&self) {
        self.uptime.clear();
        self.start_time.clear();
        self.phase.clear();
        self.ready.clear();
        self.halted.clear();
        self.restarts.clear();
        self.cpu.clear();
        self.memory.clear();
        self.sandbox_level.clear();
        self.sandbox_degraded.clear();
        self.oom_kills.clear();
    }

    fn set_confined(&self, agent: &AgentName, confined: Confined) {
        for level in LEVELS {
            let label = OfLevel {
                agent: agent.to_string(),
                level,
            };
            let is = i64::from(level == confined.level);
            self.sandbox_level.get_or_create(&label).set(is);
        }
        let degraded = i64::from(confined.degraded);
        self.sandbox_degraded
            .get_or_create(&of(agent))
            .set(degraded);
    }

    fn set(&self, status: &AgentStatus, used: &Used, now: Time) {
        let label = of(&status.name);
        let state = State::from(status.state);
        let started = status.instance.as_ref().and_then(|live| live.started_at);
        let uptime = OfStatus {
            agent: label.agent.clone(),
            status: state.as_str(),
        };
        let seconds = started.map_or(0.0, |at| seconds_between(at, now));
        self.uptime.get_or_create(&uptime).set(seconds);
        if let Some(at) = started {
            let seconds = seconds_between(Time::UNIX_EPOCH, at);
            self.start_time.get_or_create(&label).set(seconds);
        }
        for phase in State::ALL {
            let label = OfPhase {
                agent: label.agent.clone(),
                phase: phase.as_str(),
            };
            let is = i64::from(phase == state);
            self.phase.get_or_create(&label).set(is);
        }
        for level in HaltLevel::ALL {
            let label = OfLevel {
                agent: label.agent.clone(),
                level: level.as_str(),
            };
            let halt = status.halt.as_ref();
            let is = i64::from(halt.is_some_and(|halt| halt.level == level));
            self.halted.get_or_create(&label).set(is);
        }
        let ready = i64::from(status.ready);
        self.ready.get_or_create(&label).set(ready);
        self.restarts.get_or_create(&label).inc_by(status.restarts);
        let used = used.of(&status.name);
        self.cpu
            .get_or_create(&label)
            .inc_by(used.cpu.as_secs_f64());
        self.oom_kills.get_or_create(&label).inc_by(used.oom_kills);
        if status.instance.is_some() {
            let bytes = i64::try_from(used.memory).unwrap_or(i64::MAX);
            self.memory.get_or_create(&label).set(bytes);
        }
    }
}
