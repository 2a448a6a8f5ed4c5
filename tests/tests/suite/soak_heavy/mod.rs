//! A mixed fleet under random faults, for as long as one likes.
//!
//! ```text
//!  crowd   who is in the fleet, and what each writes down of itself
//!  fault   what is done to it: one of many kinds at a time, by the dice
//!  gauge   memory and descriptors of the supervisor, over time
//!  ledger  what must be true of all that was written down, at the end
//! ```
//!
//! `CLAW_SOAK_MINUTES` says how long, `CLAW_TEST_SEED` which faults; `scripts/soak` sets both.

mod crowd;
mod fault;
mod gauge;
mod ledger;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use claw_daemon::api::State;

use crate::dice::Dice;
use crate::fleet::{Fleet, Process, holds_for, until};
use crate::small_disk::SmallDisk;

use crowd::Crowd;
use fault::Fault;
use gauge::Gauge;

/// How long an ordinary run of the tests takes part in this.
const MINUTES: f64 = 1.0;

/// Faults of this size and more fit: logs of a crowd for some hours, rotated.
const DISK: &str = "768m";

/// A fleet under faults.
struct Soak {
    fleet: Fleet,
    crowd: Crowd,
    dice: Dice,
    gauge: Gauge,
    /// How often each kind of fault was done.
    done: BTreeMap<Fault, u32>,
    /// How often each invariant was looked at while faults went on.
    checked: BTreeMap<&'static str, u32>,
    // Unmounted after the fleet is gone.
    disk: Option<SmallDisk>,
}

impl Soak {
    fn new() -> Self {
        let dice = match std::env::var_os("CLAW_SOAK_MINUTES") {
            Some(_) => Dice::new(),
            None => Dice::usual(4711),
        };
        let mut fleet = Fleet::new("");
        let disk = SmallDisk::mounted(DISK, "soak_heavy: full disks");
        if let Some(disk) = &disk {
            fleet.set_data(disk.path().join("data"));
        }
        let crowd = Crowd::new(&mut fleet);
        crowd.write(&fleet, 0);
        Self {
            fleet,
            crowd,
            dice,
            gauge: Gauge::default(),
            done: BTreeMap::new(),
            checked: BTreeMap::new(),
            disk,
        }
    }

    /// Faults one after the other until the time is over.
    fn faults(&mut self, span: Duration) {
        let end = Instant::now() + span;
        while Instant::now() < end {
            let pause = self.dice.time(Duration::from_millis(400));
            holds_for(pause, "time passes", || true);
            let fault = Fault::rolled(&mut self.dice);
            *self.done.entry(fault).or_default() += 1;
            fault.strike(self);
            self.look();
        }
    }

    /// What has to be true at any moment.
    fn look(&mut self) {
        if let Some(status) = self.fleet.ended() {
            panic!("the supervisor ended with {status}: {}", self.fleet.said());
        }
        self.crowd.assert_no_second_copy(&self.fleet);
        self.count("I1 no second copy of an agent");
        self.gauge.look(self.fleet.pid());
        self.count("I9 memory and descriptors are bounded");
    }

    fn count(&mut self, invariant: &'static str) {
        *self.checked.entry(invariant).or_default() += 1;
    }

    /// All faults are over: whoever should run does, and does so in one copy.
    fn settle(&mut self) {
        self.fleet.await_answer();
        self.fleet.run(&["resume-all", "--yes"]);
        self.crowd.write(&self.fleet, 0);
        self.fleet.run(&["apply"]).ok();
        for name in self.crowd.lasting() {
            for command in ["resume", "start"] {
                self.fleet.run(&[command, &name]);
            }
        }
        for name in self.crowd.lasting() {
            self.fleet
                .await_agent(&name, "runs again", |agent| agent.state == State::Running);
        }
        self.crowd.assert_one_copy(&self.fleet);
        self.count("I5 who should run does");
    }

    fn report(&self) {
        let done: u32 = self.done.values().sum();
        eprintln!("{done} faults under {} agents:", self.crowd.size());
        for (fault, times) in &self.done {
            eprintln!("{times:>6}  {fault}");
        }
        for (invariant, times) in &self.checked {
            eprintln!("{times:>6}  {invariant}");
        }
        eprintln!("supervisor: {}", self.gauge);
    }
}

fn minutes() -> f64 {
    let given = std::env::var("CLAW_SOAK_MINUTES").ok();
    given.map_or(MINUTES, |text| text.parse().expect("a number of minutes"))
}

#[test]
fn a_mixed_fleet_keeps_its_promises_under_random_faults() {
    let mut soak = Soak::new();
    soak.fleet.up();
    soak.faults(Duration::from_secs_f64(60.0 * minutes()));
    soak.settle();
    let ledger = ledger::audit(&soak.fleet, &soak.crowd);
    for invariant in ledger {
        soak.count(invariant);
    }
    soak.report();
    soak.fleet.down();
    let left: Vec<Process> = until("the fleet is gone", || {
        let left = soak.fleet.processes();
        left.is_empty().then_some(left)
    });
    assert!(left.is_empty());
    let Soak { fleet, disk, .. } = soak;
    drop(fleet);
    drop(disk);
}
