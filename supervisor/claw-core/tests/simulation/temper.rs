//! How a process behaves: sampled once per life, so that a life has a character.

use std::time::Duration;

use claw_core::event::Freeze;
use claw_core::notification::{Lifecycle, Notification, WatchdogSignal};
use claw_core::spec::{AgentSpec, Check, Mode, Probe};
use claw_core::{ExitStatus, Fact, InstanceId, ProbeKind, ProbeOutcome};

use crate::fleets::AGAIN;
use crate::host::{Clock, Happening, Life, Process, Then};
use crate::providers::Habit;
use crate::random::Random;

/// Longer than any simulated world lasts.
const FOREVER: Duration = Duration::from_secs(1 << 32);

/// What becomes of a spawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spawning {
    Works,
    /// The process runs and nobody is told.
    WorksUntold,
    /// An image is fetched before the process runs.
    WorksLate,
    /// The process runs, and for a while nobody can be asked about it.
    WorksUnseen,
    Fails,
    /// What would run it is not there.
    Hindered,
    /// It can never run as it is written.
    Refused,
    /// Nothing happens, and nobody is told.
    Hangs,
}

#[derive(Debug, Clone)]
pub(crate) struct Temper {
    pub(crate) spawning: Spawning,
    /// How long after its start it is up.
    up_after: Duration,
    /// How long after its start it stops working without ending.
    wedged_after: Duration,
    lives_for: Duration,
    ends_with: ExitStatus,
    shim_dies_after: Option<Duration>,
    /// The longest it takes to end after a signal, in milliseconds, and how it ends.
    pub(crate) heeds_signal: Option<(u64, ExitStatus)>,
    /// Kills that have no effect: uninterruptible sleep.
    pub(crate) deaf_to_kills: u32,
    /// How long others of its tree outlive the main process.
    pub(crate) leftovers_last: Duration,
    /// In per cent, how often a readiness probe fails.
    unready: u64,
    beats_every: Option<Duration>,
    heartbeat: bool,
    pub(crate) habit: Option<Habit>,
    started: Duration,
}

impl Temper {
    pub(crate) fn sample(random: &mut Random, spec: &AgentSpec) -> Self {
        Self {
            spawning: spawning(random),
            up_after: random.millis(0, 15_000),
            wedged_after: if random.chance(15) {
                random.seconds(5, 600)
            } else {
                FOREVER
            },
            lives_for: lives_for(random, spec.mode),
            ends_with: ends_with(random),
            shim_dies_after: random.chance(3).then(|| random.seconds(0, 600)),
            heeds_signal: heeds_signal(random),
            deaf_to_kills: if random.chance(5) { 2 } else { 0 },
            leftovers_last: if random.chance(10) {
                random.seconds(1, 40)
            } else {
                random.millis(1, 200)
            },
            unready: random.pick(&[0, 0, 0, 10, 50]),
            beats_every: beats_every(spec),
            heartbeat: speaks(spec),
            habit: Habit::sample(random),
            started: Duration::ZERO,
        }
    }

    /// From now on it behaves: a daemon lives on, a oneshot does its work.
    pub(crate) fn calm_down(&mut self, mode: Mode) {
        self.spawning = Spawning::Works;
        self.wedged_after = FOREVER;
        self.lives_for = match mode {
            Mode::Oneshot => Duration::from_secs(5),
            Mode::Daemon | Mode::Worker => FOREVER,
        };
        self.ends_with = ExitStatus::Code(0);
        self.shim_dies_after = None;
        self.heeds_signal = Some((500, ExitStatus::Signal(15)));
        self.deaf_to_kills = 0;
        self.unready = 0;
        self.habit = None;
        self.up_after = self.up_after.min(Duration::from_secs(1));
        self.leftovers_last = self.leftovers_last.min(Duration::from_millis(200));
    }

    pub(crate) const fn start(&mut self, time: Duration) {
        self.started = time;
    }

    /// All that its life holds from its start on, as far as nobody interferes.
    pub(crate) fn course(&self, id: &InstanceId, random: &mut Random) -> Vec<Then> {
        let mut course = Vec::new();
        if self.lives_for < FOREVER {
            let ends = Happening::Ends(id.clone(), self.ends_with);
            course.push(Then::Happens(self.lives_for, ends));
        }
        if let Some(after) = self.shim_dies_after {
            course.push(Then::Happens(after, Happening::ShimDies(id.clone())));
        }
        if self.heartbeat {
            course.push(Then::Happens(
                self.up_after,
                Happening::SaysReady(id.clone()),
            ));
        }
        if let Some(habit) = &self.habit {
            course.push(habit.first(id, random));
        }
        if let Some(every) = self.beats_every {
            let first = every / 2 + random.millis(0, 200);
            course.push(Then::Happens(first, Happening::Beats(id.clone())));
        }
        course
    }

    pub(crate) fn has_spoken(&self, clock: Clock) -> bool {
        self.heartbeat && clock.time.saturating_sub(self.started) >= self.up_after
    }

    /// It was frozen when the signal came, and is not any more.
    pub(crate) fn heed_at_once(&self, id: &InstanceId) -> Vec<Then> {
        let status = self.heeds_signal.map(|(_, status)| status);
        status.map_or_else(Vec::new, |status| {
            let soon = Duration::from_millis(5);
            vec![Then::Happens(soon, Happening::Ends(id.clone(), status))]
        })
    }

    pub(crate) fn works(&self, clock: Clock) -> bool {
        clock.time.saturating_sub(self.started) < self.wedged_after
    }

    pub(crate) fn probed(
        &self,
        process: &Process,
        kind: ProbeKind,
        clock: Clock,
        random: &mut Random,
    ) -> ProbeOutcome {
        if random.rarely(10) {
            return ProbeOutcome::Unknown("out of descriptors".to_owned());
        }
        let alive = matches!(process.life, Life::Running) && process.frozen == Freeze::No;
        let works = alive && self.works(clock);
        let up = works && clock.time.saturating_sub(self.started) >= self.up_after;
        let passed = match kind {
            ProbeKind::Startup => up,
            ProbeKind::Liveness | ProbeKind::Progress => works,
            ProbeKind::Readiness => up && !random.chance(self.unready),
        };
        if passed {
            ProbeOutcome::Success
        } else {
            ProbeOutcome::Failure("connection refused".to_owned())
        }
    }

    /// One heartbeat and a sign of work, and the next to come.
    pub(crate) fn beat(
        &self,
        id: &InstanceId,
        process: &Process,
        clock: Clock,
        random: &mut Random,
    ) -> Vec<Then> {
        let Some(every) = self.beats_every else {
            return Vec::new();
        };
        let next = Then::Happens(every, Happening::Beats(id.clone()));
        if process.frozen == Freeze::Yes || !self.works(clock) {
            return vec![next];
        }
        let instance = id.clone();
        let ping = Fact::Notified {
            instance: instance.clone(),
            notification: Notification {
                watchdog: Some(WatchdogSignal::Alive),
                ..Notification::default()
            },
        };
        let soon = random.millis(0, 20);
        vec![
            next,
            Then::Told(soon, ping),
            Then::Told(soon, Fact::Progressed { instance }),
        ]
    }

    pub(crate) fn ready(id: &InstanceId) -> Fact {
        Fact::Notified {
            instance: id.clone(),
            notification: Notification {
                lifecycle: Some(Lifecycle::Ready),
                ..Notification::default()
            },
        }
    }

    /// The kernel counts its kills; a shell that kills looks the same otherwise.
    pub(crate) fn oom_kills(&self, status: ExitStatus) -> u64 {
        u64::from(status == ExitStatus::Signal(9) && self.unready == 10)
    }
}

fn spawning(random: &mut Random) -> Spawning {
    match random.below(100) {
        0..5 => Spawning::Fails,
        5 => Spawning::Hangs,
        6 => Spawning::WorksUntold,
        7..10 => Spawning::WorksLate,
        10..13 => Spawning::WorksUnseen,
        13..15 => Spawning::Hindered,
        15 if random.chance(20) => Spawning::Refused,
        _ => Spawning::Works,
    }
}

fn lives_for(random: &mut Random, mode: Mode) -> Duration {
    match (mode, random.below(10)) {
        (Mode::Oneshot, 0..8) => random.millis(100, 20_000),
        (Mode::Oneshot, _) => random.seconds(60, 400),
        (Mode::Daemon | Mode::Worker, 0..3) => random.millis(10, 5000),
        (Mode::Daemon | Mode::Worker, 3..6) => random.seconds(5, 300),
        (Mode::Daemon | Mode::Worker, 6..8) => random.seconds(300, 7200),
        (Mode::Daemon | Mode::Worker, _) => FOREVER,
    }
}

fn ends_with(random: &mut Random) -> ExitStatus {
    match random.below(20) {
        0..8 => ExitStatus::Code(1),
        8..13 => ExitStatus::Code(0),
        13..15 => ExitStatus::Code(75),
        15 => ExitStatus::Code(78),
        16 => ExitStatus::Code(AGAIN),
        17 => ExitStatus::Signal(11),
        18 => ExitStatus::Signal(15),
        _ => ExitStatus::Signal(9),
    }
}

fn heeds_signal(random: &mut Random) -> Option<(u64, ExitStatus)> {
    match random.below(10) {
        0..6 => Some((800, ExitStatus::Signal(15))),
        6 => Some((800, ExitStatus::Code(0))),
        7 => Some((20_000, ExitStatus::Code(143))),
        8 => Some((800, ExitStatus::Code(1))),
        _ => None,
    }
}

fn is_heartbeat(probe: Option<&Probe>) -> bool {
    probe.is_some_and(|probe| probe.check == Check::Heartbeat)
}

/// Whether it has to say by itself that it is ready.
fn speaks(spec: &AgentSpec) -> bool {
    let probes = &spec.probes;
    spec.mode == Mode::Worker
        || is_heartbeat(probes.startup.as_ref())
        || is_heartbeat(probes.readiness.as_ref())
}

/// Often enough for its watchdog and its progress probe.
fn beats_every(spec: &AgentSpec) -> Option<Duration> {
    let probes = &spec.probes;
    let watchdog = probes.liveness.as_ref();
    let watchdog = watchdog.filter(|probe| probe.check == Check::Heartbeat);
    let watchdog = watchdog.map(|probe| probe.interval / 2);
    let progress = probes
        .progress
        .as_ref()
        .map(|progress| progress.max_silence / 3);
    watchdog.into_iter().chain(progress).min()
}
