//! What goes wrong by itself, and how often.
//!
//! All spans are drawn evenly between nothing and twice their mean, in whole milliseconds: whole
//! numbers are the same on every machine.

use std::time::Duration;

use claw_core::ExitStatus;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Whether anything goes wrong that was not assumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Faults {
    /// Nothing does.
    #[default]
    None,
    /// As often as [`RATES`] say.
    Drawn,
}

/// What goes wrong, and how often: for people.
pub const RATES: [(&str, &str); 9] = [
    (
        "crash",
        "a long-lived process once in 3 days, a run once in 100",
    ),
    (
        "hang",
        "a long-lived process once in 14 days, a run once in 500",
    ),
    (
        "out of memory",
        "once in 7 days of a long-lived process, a run once in 1000",
    ),
    ("slow start", "a start in 50 takes up to 2 minutes longer"),
    ("failed start", "a start in 500"),
    (
        "outage of a provider",
        "once in 2 days, 15 minutes on average",
    ),
    (
        "death of the supervisor",
        "once in 3 days, back after 5 seconds",
    ),
    (
        "restart of the machine",
        "once in 14 days, back after 2 minutes",
    ),
    ("end after a signal", "a process in 100 does not heed it"),
];

const CRASH: Duration = DAY.saturating_mul(3);
const HANG: Duration = DAY.saturating_mul(14);
const OUT_OF_MEMORY: Duration = DAY.saturating_mul(7);
const OUTAGE: Duration = DAY.saturating_mul(2);
const OUTAGE_LASTS: Duration = Duration::from_secs(15 * 60);
const SUPERVISOR_DIES: Duration = DAY.saturating_mul(3);
const MACHINE_RESTARTS: Duration = DAY.saturating_mul(14);

/// How long nobody supervises after a death of the supervisor.
pub(crate) const SUPERVISOR_AWAY: Duration = SECOND.saturating_mul(5);

/// How long a restart of the machine takes.
pub(crate) const MACHINE_AWAY: Duration = SECOND.saturating_mul(120);

/// Longer than any simulation.
pub(crate) const NEVER: Duration = HOUR.saturating_mul(24 * 366 * 100);

/// Draws what goes wrong.
#[derive(Debug)]
pub(crate) struct Dice {
    random: fastrand::Rng,
    faults: Faults,
}

/// What is in store for one life of a process.
#[derive(Debug, Clone)]
pub(crate) struct Lot {
    pub(crate) spawns: Spawns,
    /// It takes this much longer to come up.
    pub(crate) slower: Duration,
    /// It ends by itself after this much of being up, if nothing else ends it before.
    pub(crate) ends: Option<(Duration, Ending)>,
    /// It does nothing any more after this much of being up, and does not end either.
    pub(crate) hangs_after: Duration,
    /// Whether a signal ends it.
    pub(crate) heeds: Heeds,
}

/// Whether a process can be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spawns {
    Works,
    Fails,
}

/// Whether a signal ends a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heeds {
    Yes,
    No,
}

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) status: ExitStatus,
    pub(crate) oom_kills: u64,
}

impl Ending {
    pub(crate) const fn code(code: u8) -> Self {
        Self {
            status: ExitStatus::Code(code),
            oom_kills: 0,
        }
    }

    pub(crate) const fn signal(signal: i32) -> Self {
        Self {
            status: ExitStatus::Signal(signal),
            oom_kills: 0,
        }
    }

    const fn out_of_memory() -> Self {
        Self {
            status: ExitStatus::Signal(9),
            oom_kills: 1,
        }
    }
}

impl Lot {
    /// All goes well.
    const fn good() -> Self {
        Self {
            spawns: Spawns::Works,
            slower: Duration::ZERO,
            ends: None,
            hangs_after: NEVER,
            heeds: Heeds::Yes,
        }
    }
}

impl Dice {
    pub(crate) fn new(seed: u64, faults: Faults) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            faults,
        }
    }

    /// A seed for the core.
    pub(crate) fn seed(&mut self) -> u64 {
        self.random.u64(..)
    }

    /// What is in store for a daemon or a worker.
    pub(crate) fn long_life(&mut self) -> Lot {
        let mut lot = self.start();
        if self.faults == Faults::None {
            return lot;
        }
        let crash = (self.around(CRASH), Ending::code(1));
        let memory = (self.around(OUT_OF_MEMORY), Ending::out_of_memory());
        lot.ends = Some(if memory.0 < crash.0 { memory } else { crash });
        lot.hangs_after = self.around(HANG);
        lot
    }

    /// What is in store for a process that lives for one run, or for a run of a worker, which takes
    /// `span` if all goes well.
    pub(crate) fn run(&mut self, span: Duration) -> Lot {
        let mut lot = self.start();
        if self.faults == Faults::None {
            return lot;
        }
        let some_of_it = self.up_to(span);
        match self.random.u32(0..1000) {
            0..10 => lot.ends = Some((some_of_it, Ending::code(1))),
            10 => lot.ends = Some((some_of_it, Ending::out_of_memory())),
            11..13 => lot.hangs_after = some_of_it,
            _ => {}
        }
        lot
    }

    fn start(&mut self) -> Lot {
        let mut lot = Lot::good();
        if self.faults == Faults::None {
            return lot;
        }
        match self.random.u32(0..500) {
            0 => lot.spawns = Spawns::Fails,
            1..11 => lot.slower = self.up_to(SECOND * 120),
            _ => {}
        }
        if self.random.u32(0..100) == 0 {
            lot.heeds = Heeds::No;
        }
        lot
    }

    /// When a provider fails next.
    pub(crate) fn next_outage(&mut self) -> Option<Duration> {
        self.next(OUTAGE)
    }

    pub(crate) fn outage_lasts(&mut self) -> Duration {
        self.around(OUTAGE_LASTS)
    }

    /// When the supervisor dies next.
    pub(crate) fn next_death(&mut self) -> Option<Duration> {
        self.next(SUPERVISOR_DIES)
    }

    /// When the machine restarts next.
    pub(crate) fn next_restart(&mut self) -> Option<Duration> {
        self.next(MACHINE_RESTARTS)
    }

    fn next(&mut self, mean: Duration) -> Option<Duration> {
        (self.faults == Faults::Drawn).then(|| self.around(mean))
    }

    fn around(&mut self, mean: Duration) -> Duration {
        self.up_to(mean * 2)
    }

    fn up_to(&mut self, most: Duration) -> Duration {
        let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.random.u64(1..=most.max(1)))
    }
}
