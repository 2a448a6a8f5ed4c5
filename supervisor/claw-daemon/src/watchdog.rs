//! Watches the supervisor's own threads.
//!
//! ```text
//!  runtime ─┐ every 2 s               ┌ a part is silent for 6 s: an error that shows what the
//!  loop    ─┼───────────► watchdog ───┤ threads are at, and a count
//!  models  ─┘                         └ all were heard: the service manager is told
//! ```
//!
//! The watchdog has a thread of its own, on which nothing else happens. The service manager, if
//! there is one that wants to know, starts another supervisor where it hears nothing any more.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use crate::agent_api::AgentApi;
use crate::llm::Models;
use crate::supervise::Handle;
use crate::telemetry::metrics::Metrics;

/// How often each part is to be heard.
const PULSE: Duration = Duration::from_secs(2);

/// A part that was not heard for so long hangs.
const SILENCE: Duration = Duration::from_secs(6);

/// A part of the supervisor that runs on threads of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// What serves clients and agents.
    Runtime,
    /// The supervision loop, with the driver's timers.
    Loop,
    /// The gateway to models.
    Models,
}

impl Part {
    /// As logs and metrics name it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Runtime => "runtime",
            Self::Loop => "loop",
            Self::Models => "models",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is watched.
pub(crate) struct Watched {
    handle: Handle,
    models: Models,
}

impl Watched {
    pub(crate) fn of(handle: &Handle, agent_api: &AgentApi) -> Self {
        Self {
            handle: handle.clone(),
            models: agent_api.models().clone(),
        }
    }
}

enum Pulse {
    Beats(Part),
    /// It has come to its end, and is silent from now on.
    Ends(Part),
}

/// Watches until the runtime ends.
pub(crate) fn start(Watched { handle, models }: Watched, metrics: Metrics) {
    let limit = sd_notify::watchdog_enabled();
    let pace = limit.map_or(PULSE, |limit| PULSE.min(limit / 4));
    let (pulses, heard) = channel();
    let watch = Watch {
        parts: BTreeMap::new(),
        pace,
        manager: limit.map(|limit| (limit, None)),
        metrics,
    };
    let thread = std::thread::Builder::new().name("watchdog".to_owned());
    if let Err(error) = thread.spawn(move || watch.run(&heard)) {
        tracing::warn!(%error, "no thread can be had that would watch over the others");
        return;
    }
    tokio::spawn(beat((Part::Runtime, pace), pulses.clone(), async || true));
    let answers = async move || handle.inspect(|_fleet, _now| ()).await.is_ok();
    tokio::spawn(beat((Part::Loop, pace), pulses.clone(), answers));
    let answers = async move || {
        models.answers().await;
        true
    };
    tokio::spawn(beat((Part::Models, pace), pulses, answers));
}

async fn beat(
    (part, pace): (Part, Duration),
    pulses: Sender<Pulse>,
    answers: impl AsyncFn() -> bool,
) {
    let mut pace = tokio::time::interval(pace);
    while answers().await && pulses.send(Pulse::Beats(part)).is_ok() {
        pace.tick().await;
    }
    // Nobody listens any more when the watchdog has no thread.
    drop(pulses.send(Pulse::Ends(part)));
}

/// The thread's own things.
struct Watch {
    parts: BTreeMap<Part, Silence>,
    pace: Duration,
    /// How soon the service manager wants to hear of us, and when it did.
    manager: Option<(Duration, Option<Instant>)>,
    metrics: Metrics,
}

/// How long a part has been silent.
struct Silence {
    since: Instant,
    noticed: bool,
}

impl Watch {
    fn run(mut self, pulses: &Receiver<Pulse>) {
        let mut looked = Instant::now();
        loop {
            match pulses.recv_timeout(self.pace) {
                Ok(Pulse::Beats(part)) => self.beats(part),
                Ok(Pulse::Ends(part)) => drop(self.parts.remove(&part)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let now = Instant::now();
            if now - looked >= SILENCE {
                self.excuse(now);
            }
            looked = now;
            self.look(now);
            self.tell_manager(now);
        }
    }

    fn beats(&mut self, part: Part) {
        let fresh = Silence {
            since: Instant::now(),
            noticed: false,
        };
        if let Some(before) = self.parts.insert(part, fresh)
            && before.noticed
        {
            let silent_s = before.since.elapsed().as_secs();
            tracing::warn!(%part, silent_s, "the supervisor's {part} answers again");
        }
    }

    /// We were away ourselves: the whole supervisor, or the machine, stood still.
    fn excuse(&mut self, now: Instant) {
        for silence in self.parts.values_mut() {
            silence.since = now;
        }
    }

    fn look(&mut self, now: Instant) {
        for (part, silence) in &mut self.parts {
            let silent = now.saturating_duration_since(silence.since);
            if silent < SILENCE || silence.noticed {
                continue;
            }
            silence.noticed = true;
            self.metrics.stalled(*part);
            let (silent_s, threads) = (silent.as_secs(), threads());
            tracing::error!(%part, silent_s, threads, "the supervisor's {part} does not answer");
        }
    }

    fn tell_manager(&mut self, now: Instant) {
        let Some((limit, told)) = &mut self.manager else {
            return;
        };
        let well = |part| {
            let silence: Option<&Silence> = self.parts.get(&part);
            silence.is_some_and(|silence| !silence.noticed)
        };
        let is_time = told.is_none_or(|at| now - at + self.pace >= *limit / 2);
        if !is_time || !well(Part::Loop) || !well(Part::Runtime) {
            return;
        }
        *told = Some(now);
        if let Err(error) = sd_notify::notify(&[NotifyState::Watchdog]) {
            tracing::warn!(%error, "cannot tell the service manager that all is well");
        }
    }
}

/// What each of our threads is at: its name, its state as in `proc_pid_stat(5)`, and where in the
/// kernel it waits, if it does and we may know.
fn threads() -> String {
    let Ok(tasks) = fs::read_dir("/proc/self/task") else {
        return "not to be seen".to_owned();
    };
    let one = |task: fs::DirEntry| {
        let read = |name| fs::read_to_string(task.path().join(name)).ok();
        let stat = read("stat")?;
        let (before, after) = stat.rsplit_once(") ")?;
        let (_, name) = before.split_once('(')?;
        let state = after.chars().next()?;
        let place = read("wchan").filter(|place| !matches!(place.as_str(), "" | "0"));
        Some(match place {
            Some(place) => format!("{name} {state} {place}"),
            None => format!("{name} {state}"),
        })
    };
    let mut all: Vec<String> = tasks.flatten().filter_map(one).collect();
    all.sort();
    all.join(", ")
}
