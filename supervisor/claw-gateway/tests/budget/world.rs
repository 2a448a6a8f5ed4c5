//! Agents, a provider that bills, an operator, and a machine that crashes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use claw_gateway::llm::budget::{
    Alert, Budgets, CallId, InFlight, Ledger, Limits, NotHeld, Outcome, Settled, Told, Window,
};
use claw_gateway::llm::money::Money;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

use super::journal::Journal;
use super::random::Random;
use super::reference::{Reference, ReferenceLimits, Sums, booked, keys};

pub(crate) const AGENTS: usize = 40;

/// Calls in flight at most.
const AT_ONCE: usize = 120;

pub(crate) const USD: i64 = 1_000_000_000_000;

/// Whether the provider keeps to the bound of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Provider {
    Honest,
    Overruns,
}

#[derive(Debug, Clone, Copy)]
struct Call {
    id: CallId,
    agent: usize,
    day: Date,
    /// As it was reserved, and as it is now.
    reserved: i64,
    held: i64,
}

/// A call that has ended, and what it has cost in truth.
struct Ended {
    call: Call,
    settled: Settled,
    truth: i64,
}

pub(crate) struct World {
    random: Random,
    provider: Provider,
    pub(crate) zone: TimeZone,
    pub(crate) now: Timestamp,
    names: Vec<Arc<str>>,
    pub(crate) limits: ReferenceLimits,
    pub(crate) ledger: Ledger,
    journal: Journal,
    pub(crate) reference: Reference,
    in_flight: Vec<Call>,
    /// Settled, and not yet in the journal.
    waiting: VecDeque<Ended>,
    uncertain: Vec<Ended>,
    told: BTreeSet<(Window, Told)>,
    pub(crate) kept_since: Option<Date>,
    pub(crate) outcomes: usize,
    pub(crate) refused: usize,
}

impl World {
    pub(crate) fn new(seed: u64, provider: Provider) -> Self {
        let mut random = Random(seed);
        let limits = some_limits(&mut random);
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a rule of POSIX");
        let names: Vec<Arc<str>> = (0..AGENTS).map(|n| n.to_string().into()).collect();
        let mut world = Self {
            random,
            provider,
            zone,
            now: "2026-09-20T00:00:00Z".parse().expect("a time"),
            names,
            limits,
            ledger: Ledger::default(),
            journal: Journal::default(),
            reference: Reference::default(),
            in_flight: Vec::new(),
            waiting: VecDeque::new(),
            uncertain: Vec::new(),
            told: BTreeSet::new(),
            kept_since: None,
            outcomes: 0,
            refused: 0,
        };
        world.ledger = Ledger::new(world.budgets());
        world
    }

    pub(crate) fn step(&mut self) {
        self.now += self.random.up_to(80).seconds();
        match self.random.up_to(9_999) {
            0..5_200 if self.in_flight.len() < AT_ONCE => self.reserve(),
            5_200..5_500 => self.shrink(),
            5_500..5_600 => self.settle_again(),
            5_600..5_605 => self.jump(),
            5_605..5_700 => self.reconcile(),
            5_700..5_710 => self.change_limits(),
            5_710..5_712 => self.forget(),
            5_712..5_715 => self.crash(),
            5_715..5_900 => self.write(1),
            _ => self.settle_some(),
        }
    }

    /// Lets everything come to its end.
    pub(crate) fn end(&mut self) {
        while !self.in_flight.is_empty() {
            self.settle_some();
        }
        self.write(usize::MAX);
    }

    pub(crate) fn today(&self) -> Date {
        let day = self.zone.to_datetime(self.now).date();
        self.kept_since.map_or(day, |kept| kept.max(day))
    }

    fn reserve(&mut self) {
        let agent = self.random.index(AGENTS);
        let need = self.random.up_to(USD);
        let tighter = self.random.happens(50).then(|| 20 * self.random.up_to(USD));
        let day = self.today();
        let mut limits = self.limits.clone();
        let own = &mut limits.agents[agent][0];
        *own = [*own, tighter].into_iter().flatten().min();
        let fits = self.reference.fits(&limits, (agent, day), need);
        let tighter = Limits {
            daily: tighter.map(Money::from_pico),
            monthly: None,
        };
        let name = Arc::clone(&self.names[agent]);
        let needed = Money::from_pico(need);
        let reserved = self.ledger.reserve(self.now, &name, needed, &tighter);
        assert_eq!(reserved.is_ok(), fits, "{reserved:?}");
        let Ok(reservation) = reserved else {
            self.refused += 1;
            return;
        };
        assert_eq!((reservation.day, reservation.held), (day, needed));
        self.write(usize::MAX);
        let estimate = self.random.up_to(need);
        self.journal.reserve(InFlight {
            id: reservation.id,
            agent: name,
            day,
            held: needed,
            estimate: Money::from_pico(estimate),
        });
        self.in_flight.push(Call {
            id: reservation.id,
            agent,
            day,
            reserved: need,
            held: need,
        });
        self.reference.change(agent, day, |sums| {
            sums.held += need;
            sums.exposed += need;
        });
        self.nothing_is_overspent(&limits, agent, day);
    }

    /// The claim of it all: what the provider has charged and may still charge is within the limit.
    fn nothing_is_overspent(&self, limits: &ReferenceLimits, agent: usize, day: Date) {
        for (key, period) in keys(agent, day) {
            let exposed = self.reference.sums(&key).exposed;
            let limit = limits.of(&key, period).unwrap_or(i64::MAX);
            let within = exposed <= limit || self.provider == Provider::Overruns;
            assert!(within, "{exposed} of {limit} in {key:?}");
        }
    }

    fn shrink(&mut self) {
        if self.in_flight.is_empty() {
            return;
        }
        let index = self.random.index(self.in_flight.len());
        let call = &mut self.in_flight[index];
        let to = self.random.up_to(2 * call.held);
        let held = call.held.min(to);
        let shrunk = self.ledger.shrink(call.id, Money::from_pico(to));
        assert_eq!(shrunk, Ok(Money::from_pico(held)));
        let less = call.held - held;
        call.held = held;
        self.reference.change(call.agent, call.day, |sums| {
            sums.held -= less;
            sums.exposed -= less;
        });
    }

    fn settle_some(&mut self) {
        if self.in_flight.is_empty() {
            return;
        }
        let index = self.random.index(self.in_flight.len());
        let call = self.in_flight.swap_remove(index);
        let (outcome, truth) = self.outcome(call.held);
        let settled = self.ledger.settle(self.now, call.id, outcome);
        let settled = settled.expect("it is in flight");
        let (spent, uncertain) = self.book(&call, outcome, truth);
        assert_eq!(settled.spent, Money::from_pico(spent));
        assert_eq!(settled.uncertain, Money::from_pico(uncertain));
        assert_eq!(settled.overrun.pico(), (spent - call.held).max(0));
        self.alerts_were_given(&call, &settled);
        self.journal.settle(call.id, settled.clone());
        self.outcomes += 1;
        self.waiting.push_back(Ended {
            call,
            settled,
            truth,
        });
    }

    /// After a settlement each of its windows has told how much is spent.
    fn alerts_were_given(&self, call: &Call, settled: &Settled) {
        for ((key, period), window) in keys(call.agent, call.day).iter().zip(&settled.windows) {
            let Sums { settled, .. } = self.reference.sums(key);
            let spent = i128::from(settled) * 100;
            let due = match self.limits.of(key, *period).map(i128::from) {
                Some(limit) if spent >= limit * 100 => Told::Reached,
                Some(limit) if spent >= limit * 80 => Told::Nearing,
                Some(_) | None => Told::Nothing,
            };
            assert_eq!(self.ledger.account(window).told(), due, "{key:?}");
        }
    }

    fn book(&mut self, call: &Call, outcome: Outcome, truth: i64) -> (i64, i64) {
        let (spent, uncertain) = booked(call.held, outcome);
        self.reference.change(call.agent, call.day, |sums| {
            sums.held -= call.held;
            sums.settled += spent;
            sums.uncertain += uncertain;
            sums.exposed += truth - call.held;
        });
        (spent, uncertain)
    }

    /// How a call ends, and what the provider charges for it.
    fn outcome(&mut self, held: i64) -> (Outcome, i64) {
        let mut truth = self.random.up_to(held);
        let estimate = Money::from_pico(self.random.up_to(held + held / 10));
        let outcome = match self.random.up_to(99) {
            0..10 => return (Outcome::Unbilled, 0),
            10..15 => return (Outcome::Reported(Money::ZERO), 0),
            15..30 => Outcome::Estimated { estimate },
            30..45 => Outcome::Lost { estimate },
            _ => {
                if self.provider == Provider::Overruns && self.random.happens(30) {
                    truth += held;
                }
                Outcome::Reported(Money::from_pico(truth))
            }
        };
        (outcome, truth)
    }

    fn settle_again(&mut self) {
        if let Some(ended) = self.uncertain.last().or(self.waiting.back()) {
            let id = ended.call.id;
            let again = self.ledger.settle(self.now, id, Outcome::Unbilled);
            assert_eq!(again, Err(NotHeld::Settled(id)));
        }
    }

    fn jump(&mut self) {
        let seconds = self.random.up_to(2 * 86_400);
        let length = SignedDuration::from_secs(seconds);
        if self.random.happens(500) {
            self.now += length;
        } else {
            self.now -= length;
        }
    }

    fn write(&mut self, count: usize) {
        self.journal.write(count);
        for ended in self.waiting.drain(..count.min(self.waiting.len())) {
            told_once(&mut self.told, &ended.settled.alerts);
            if ended.settled.uncertain > Money::ZERO {
                self.uncertain.push(ended);
            }
        }
    }

    fn reconcile(&mut self) {
        self.write(usize::MAX);
        if self.uncertain.is_empty() {
            return;
        }
        let index = self.random.index(self.uncertain.len());
        let Ended {
            call,
            settled,
            truth,
        } = self.uncertain.swap_remove(index);
        let actual = Money::from_pico(truth);
        let forgotten = self.kept_since.is_some_and(|kept| call.day < kept);
        let reconciled = self.ledger.reconcile_call(self.now, call.id, actual);
        let Ok(alerts) = reconciled else {
            assert!(forgotten, "{call:?} is known");
            return;
        };
        self.journal.reconcile(call.id, actual);
        self.told
            .retain(|(window, _)| !settled.windows.contains(window));
        self.note(&alerts);
        let (spent, uncertain) = (settled.spent.pico(), settled.uncertain.pico());
        self.reference.change_known(call.agent, call.day, |sums| {
            sums.settled += truth - spent;
            sums.uncertain -= uncertain;
        });
    }

    fn change_limits(&mut self) {
        self.limits = some_limits(&mut self.random);
        self.write(usize::MAX);
        self.told.clear();
        let alerts = self.ledger.set_budgets(self.now, self.budgets());
        self.note(&alerts);
    }

    fn note(&mut self, alerts: &[Alert]) {
        told_once(&mut self.told, alerts);
        self.journal.tell(alerts);
    }

    fn forget(&mut self) {
        self.write(usize::MAX);
        let day = self.today() - self.random.up_to(40).days();
        self.ledger.forget_before(day);
        self.journal.forget_before(day);
        self.kept_since = self.kept_since.max(Some(day));
        self.reference.forget_before(day);
    }

    /// Everything in memory is gone. What waited to be written was never written.
    fn crash(&mut self) {
        for Ended { call, settled, .. } in self.waiting.drain(..) {
            let (spent, uncertain) = (settled.spent.pico(), settled.uncertain.pico());
            self.reference.change(call.agent, call.day, |sums| {
                sums.settled -= spent;
                sums.uncertain -= uncertain;
                sums.held += call.held;
            });
            self.in_flight.push(call);
        }
        let standing = self.journal.after_a_crash();
        let (ledger, lost) = Ledger::restore(self.now, self.budgets(), standing);
        self.ledger = ledger;
        let mut calls: BTreeMap<CallId, Call> = BTreeMap::new();
        calls.extend(self.in_flight.drain(..).map(|call| (call.id, call)));
        for (id, settled) in lost {
            let mut call = calls.remove(&id).expect("it was in flight");
            self.reference.change(call.agent, call.day, |sums| {
                sums.held += call.reserved - call.held;
            });
            self.journal.settle(id, settled.clone());
            let (spent, uncertain) = (settled.spent.pico(), settled.uncertain.pico());
            assert_eq!(spent + uncertain, call.reserved, "{call:?}");
            self.reference.change(call.agent, call.day, |sums| {
                sums.held -= call.reserved;
                sums.settled += spent;
                sums.uncertain += uncertain;
            });
            // What is not known to have been charged may have been.
            let truth = call.held;
            call.held = call.reserved;
            self.outcomes += 1;
            self.waiting.push_back(Ended {
                call,
                settled,
                truth,
            });
        }
        assert!(calls.is_empty(), "calls that the journal forgot: {calls:?}");
    }

    fn budgets(&self) -> Budgets {
        let limits = |[daily, monthly]: [Option<i64>; 2]| Limits {
            daily: daily.map(Money::from_pico),
            monthly: monthly.map(Money::from_pico),
        };
        let agents = self.names.iter().cloned();
        Budgets {
            timezone: self.zone.clone(),
            fleet: limits(self.limits.fleet),
            agents: agents
                .zip(self.limits.agents.iter().copied().map(limits))
                .collect(),
            ..Budgets::default()
        }
    }
}

fn told_once(told: &mut BTreeSet<(Window, Told)>, alerts: &[Alert]) {
    for alert in alerts {
        let first = told.insert((alert.window.clone(), alert.told));
        assert!(first, "given twice: {alert:?}");
    }
}

fn some_limits(random: &mut Random) -> ReferenceLimits {
    let mut limit = |least: i64, often: i64| {
        let amount = least * USD + random.up_to(least * USD);
        random.happens(often).then_some(amount)
    };
    let agents = (0..AGENTS).map(|_| [limit(8, 800), limit(150, 600)]);
    ReferenceLimits {
        agents: agents.collect(),
        fleet: [limit(250, 700), limit(6_000, 700)],
    }
}
