//! One clock for all: takes what is next to the core, and carries out what it wants done.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use claw_core::memory::Recovered;
use claw_core::spec::{FleetSpec, Mode, Overlap};
use claw_core::{
    Action, AgentName, CallFailure, Event, Fact, Fleet, InstanceId, ModelCall, Mono, Now,
    ProviderName, RequestHash, RunId, Wall,
};

use crate::Setting;
use crate::assumption::Calls;
use crate::faults::{Dice, Ending, Faults, MACHINE_AWAY, NEVER, SUPERVISOR_AWAY};
use crate::journal::Journal;
use crate::machine::{Caller, Clock, Deed, Doings, Happening, Machine, Retryable, between, failed};
use crate::report::{self, Assumed, FaultCounts, Report, Spend};
use crate::spending::Spending;
use crate::tally::{Away, Tally};
use crate::warnings;

/// No call goes to a provider so soon after it was found to be out.
const COOLING: Duration = Duration::from_secs(30);

/// What turns for more than one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Turn {
    SupervisorDies,
    MachineRestarts,
    SupervisorComes,
    OutageBegins(ProviderName),
    OutageEnds(ProviderName),
}

pub(crate) struct World<'a> {
    setting: &'a Setting,
    fleet_spec: Arc<FleetSpec>,
    fleet: Option<Fleet>,
    time: Duration,
    doings: Doings,
    /// Events that follow at once, in order.
    pending: VecDeque<Event>,
    machine: Machine<'a>,
    journal: Journal,
    spending: Spending<'a>,
    dice: Dice,
    tallies: BTreeMap<AgentName, Tally>,
    /// Agents of which runs may wait, and something happened to them in this instant.
    queues: BTreeSet<AgentName>,
    /// When nobody supervised, and why.
    absences: Vec<(Wall, Wall, Away)>,
    /// Providers that are out, and whether that has been noticed.
    outages: BTreeMap<ProviderName, Noticed>,
    counts: FaultCounts,
    steps: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Noticed {
    Yes,
    No,
}

impl<'a> World<'a> {
    pub(crate) fn new(setting: &'a Setting) -> Self {
        let spec = &setting.fleet;
        let until = after(setting.from, setting.span);
        let tally = |(name, agent): (&AgentName, &Arc<_>)| {
            (name.clone(), Tally::new(agent, setting.from, until))
        };
        let mut world = Self {
            setting,
            fleet_spec: Arc::clone(spec),
            fleet: None,
            time: Duration::ZERO,
            doings: Doings::new(),
            pending: VecDeque::new(),
            machine: Machine::new(&setting.assumptions),
            journal: Journal::default(),
            spending: Spending::new(setting.budgets.clone(), &setting.accounts),
            dice: Dice::new(setting.seed, setting.faults),
            tallies: spec.agents.iter().map(tally).collect(),
            queues: BTreeSet::new(),
            absences: Vec::new(),
            outages: BTreeMap::new(),
            counts: FaultCounts::default(),
            steps: 0,
        };
        let (dies, restarts) = (world.dice.next_death(), world.dice.next_restart());
        world.turn_after(dies, Turn::SupervisorDies);
        world.turn_after(restarts, Turn::MachineRestarts);
        let calls = setting.assumptions.values();
        let providers = calls.filter_map(|assumption| Some(&assumption.calls.as_ref()?.provider));
        let providers: BTreeSet<&ProviderName> = providers.collect();
        for provider in providers {
            let begins = world.dice.next_outage();
            world.turn_after(begins, Turn::OutageBegins(provider.clone()));
        }
        world
    }

    /// Lets all the time pass.
    pub(crate) fn run(mut self) -> Report {
        self.supervisor_comes();
        loop {
            let tick = self.fleet.as_ref().and_then(Fleet::deadline);
            let tick = tick.map_or(NEVER, |(at, _)| at.since_origin().max(self.time));
            let next = self.doings.next_at().unwrap_or(NEVER);
            let at = tick.min(next);
            if at >= self.setting.span {
                break;
            }
            if at > self.time {
                self.look_at_queues();
                self.time = at;
            }
            if next <= tick {
                self.take_next();
            } else {
                self.step(Event::Tick);
            }
        }
        self.look_at_queues();
        self.time = self.setting.span;
        self.report()
    }

    fn clock(&self) -> Clock {
        Clock {
            time: self.time,
            wall: after(self.setting.from, self.time),
        }
    }

    fn now(&self) -> Now {
        Now {
            mono: Mono::new(self.time),
            wall: after(self.setting.from, self.time),
        }
    }

    fn turn_after(&mut self, delay: Option<Duration>, turn: Turn) {
        if let Some(delay) = delay {
            self.doings.put(self.time + delay, Deed::World(turn));
        }
    }

    fn take_next(&mut self) {
        match self.doings.take() {
            Some(Deed::Happens(id, Happening::Calls { run, left })) => self.call(&id, run, left),
            Some(Deed::Happens(id, happening)) => {
                let now = self.clock();
                let fact = self.machine.happen(&id, happening, now, &mut self.doings);
                if let Some(fact) = fact {
                    self.tell(fact);
                }
            }
            Some(Deed::World(turn)) => self.turn(turn),
            None => {}
        }
    }

    fn turn(&mut self, turn: Turn) {
        match turn {
            Turn::SupervisorDies => {
                let next = self.dice.next_death();
                self.turn_after(next, Turn::SupervisorDies);
                if self.fleet.is_some() {
                    self.counts.supervisor_deaths += 1;
                    self.machine.supervisor_dies();
                    self.supervisor_goes(SUPERVISOR_AWAY, Away::Supervisor);
                }
            }
            Turn::MachineRestarts => {
                let next = self.dice.next_restart();
                self.turn_after(next, Turn::MachineRestarts);
                if self.fleet.is_some() {
                    self.counts.machine_restarts += 1;
                    self.machine.restarts();
                    let now = self.clock();
                    for tally in self.tallies.values_mut() {
                        tally.machine_is_gone(now);
                    }
                    self.supervisor_goes(MACHINE_AWAY, Away::Machine);
                }
            }
            Turn::SupervisorComes => self.supervisor_comes(),
            Turn::OutageBegins(provider) => {
                self.counts.provider_outages += 1;
                let lasts = self.dice.outage_lasts();
                self.outages.insert(provider.clone(), Noticed::No);
                self.turn_after(Some(lasts), Turn::OutageEnds(provider));
            }
            Turn::OutageEnds(provider) => {
                let next = self.dice.next_outage();
                self.turn_after(next, Turn::OutageBegins(provider.clone()));
                if self.outages.remove(&provider) == Some(Noticed::Yes) {
                    self.tell(Fact::ProviderUp { provider });
                }
            }
        }
    }

    fn supervisor_goes(&mut self, away: Duration, who: Away) {
        self.fleet = None;
        self.pending.clear();
        let now = self.clock().wall;
        self.absences.push((now, after(now, away), who));
        self.turn_after(Some(away), Turn::SupervisorComes);
    }

    fn supervisor_comes(&mut self) {
        let rebooted = matches!(self.absences.last(), Some((.., Away::Machine)));
        let inheritance = self.journal.inheritance(|id| {
            if rebooted {
                Recovered::Rebooted
            } else {
                self.machine.find(id)
            }
        });
        let (seed, now, clock) = (self.dice.seed(), self.now(), self.clock());
        let spec = Arc::clone(&self.fleet_spec);
        let (fleet, actions) = Fleet::restore(spec, inheritance, seed, now);
        for status in fleet.statuses(now) {
            if let Some(tally) = self.tallies.get_mut(&status.name) {
                tally.shown(&status, clock);
            }
        }
        self.fleet = Some(fleet);
        for action in actions {
            self.carry_out(action);
        }
        self.machine.greet(clock, &mut self.doings);
        self.work_off();
    }

    fn tell(&mut self, fact: Fact) {
        if self.fleet.is_some() {
            self.step(Event::Fact(fact));
        } else {
            let now = self.clock();
            self.machine.unheard(fact, now, &mut self.doings);
        }
    }

    fn step(&mut self, event: Event) {
        self.pending.push_back(event);
        self.work_off();
    }

    /// Takes all that follows in this instant to the core.
    fn work_off(&mut self) {
        let now = self.now();
        while let Some(event) = self.pending.pop_front() {
            let Some(fleet) = &mut self.fleet else {
                return;
            };
            let actions = fleet.step(now, event);
            self.steps += 1;
            for action in actions {
                self.carry_out(action);
            }
        }
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Record { id, record } => {
                self.journal.take(record);
                if let Some(id) = id {
                    self.pending.push_back(Event::Fact(Fact::Recorded(id)));
                }
            }
            Action::Order(order) => {
                let now = self.clock();
                self.machine
                    .order(order, now, &mut self.dice, &mut self.doings);
            }
            Action::Announce(announcement) => {
                let now = self.clock();
                let absences = &self.absences;
                let away = |slot: Wall| {
                    let absence = absences
                        .iter()
                        .rev()
                        .find(|(from, until, _)| *from <= slot && slot <= *until);
                    absence.map(|(.., who)| *who)
                };
                let agent = announcement.agent;
                if let Some(tally) = self.tallies.get_mut(&agent) {
                    tally.note(announcement.happened, now, away);
                }
                if self.may_queue(&agent) {
                    self.queues.insert(agent);
                }
            }
            Action::Reply { .. } | Action::AllStopped => {}
        }
    }

    fn may_queue(&self, agent: &AgentName) -> bool {
        let spec = self.fleet_spec.agents.get(agent);
        spec.is_some_and(|spec| {
            let overlap = spec.schedule.as_ref().map(|schedule| schedule.overlap);
            spec.mode == Mode::Worker || matches!(overlap, Some(Overlap::Queue | Overlap::Allow))
        })
    }

    /// How many runs wait, now that nothing more happens in this instant.
    fn look_at_queues(&mut self) {
        let now = self.now();
        let Some(fleet) = &self.fleet else { return };
        while let Some(agent) = self.queues.pop_first() {
            let status = fleet.status(&agent, now);
            if let (Some(status), Some(tally)) = (status, self.tallies.get_mut(&agent)) {
                tally.queued(status.runs.queued);
            }
        }
    }

    /// An agent makes a call to a model, and the next one in its time.
    fn call(&mut self, id: &InstanceId, run: Option<RunId>, left: u32) {
        let setting = self.setting;
        let Some(assumption) = setting.assumptions.get(&id.agent) else {
            return;
        };
        let (Some(calls), Some(caller)) = (
            &assumption.calls,
            self.machine.caller(id, run, self.clock()),
        ) else {
            return;
        };
        let goes_on = self.one_call(id, caller, calls);
        if goes_on == GoesOn::No {
            return;
        }
        let next = match (caller, assumption.every) {
            (Caller::Daemon, Some(every)) => {
                // All calls of a piece of work are made in the first half of its time.
                let distance = every / calls.number.saturating_mul(2).max(1);
                let last = distance * calls.number.saturating_sub(1);
                Some(match left {
                    0 => (every.saturating_sub(last), calls.number.saturating_sub(1)),
                    _ => (distance, left - 1),
                })
            }
            (Caller::Daemon, None) => None,
            (Caller::Process | Caller::Run(..), _) if left == 0 => None,
            (Caller::Process | Caller::Run(..), _) => {
                Some((between(assumption.run, calls.number), left - 1))
            }
        };
        if let Some((delay, left)) = next {
            let again = Happening::Calls { run, left };
            self.doings
                .put(self.time + delay, Deed::Happens(id.clone(), again));
        }
    }

    fn one_call(&mut self, id: &InstanceId, caller: Caller, calls: &Calls) -> GoesOn {
        let instance = id.clone();
        let provider = calls.provider.clone();
        if let Some(noticed) = self.outages.get_mut(&provider) {
            if *noticed == Noticed::No {
                *noticed = Noticed::Yes;
                let until = after(after(self.setting.from, self.time), COOLING);
                self.tell(Fact::ProviderDown {
                    provider: provider.clone(),
                    until,
                });
            }
            let call = ModelCall::ProviderOut { provider };
            self.tell(Fact::ModelCall { instance, call });
            return self.gives_up(id, caller, "its provider is out", Retryable::Yes);
        }
        let now = self.clock().wall;
        match self.spending.call(&id.agent, calls.cost, now) {
            Ok(()) => {
                let call = ModelCall::Answered { provider };
                self.tell(Fact::ModelCall { instance, call });
                GoesOn::Yes
            }
            Err(refused) => {
                let waiting_helps = refused.needed <= refused.limit;
                let failure = CallFailure::OverBudget {
                    detail: refused.to_string(),
                    resets_at: waiting_helps.then_some(refused.resets_at),
                };
                let request = RequestHash([0; 32]);
                let call = ModelCall::Failed { request, failure };
                self.tell(Fact::ModelCall { instance, call });
                self.gives_up(id, caller, "no money is left", Retryable::No)
            }
        }
    }

    /// What an agent does whose call failed: its run fails; a daemon tries again at its next call,
    /// and ends when its provider is out.
    fn gives_up(&mut self, id: &InstanceId, caller: Caller, why: &str, again: Retryable) -> GoesOn {
        let happening = match (caller, again) {
            (Caller::Daemon, Retryable::No) => return GoesOn::Yes,
            (Caller::Daemon, Retryable::Yes) | (Caller::Process, _) => {
                Happening::Ends(Ending::code(1))
            }
            (Caller::Run(run, attempt), again) => {
                Happening::Finishes(run, attempt, failed(why, again))
            }
        };
        self.doings
            .put(self.time, Deed::Happens(id.clone(), happening));
        GoesOn::No
    }

    fn report(&self) -> Report {
        let (now, clock) = (self.now(), self.clock());
        // A supervisor that is away at the end shows nothing; its successor would.
        let heir;
        let fleet = if let Some(fleet) = &self.fleet {
            fleet
        } else {
            let inheritance = self.journal.inheritance(|id| self.machine.find(id));
            (heir, _) = Fleet::restore(Arc::clone(&self.fleet_spec), inheritance, 0, now);
            &heir
        };
        let setting = self.setting;
        let statuses = fleet.statuses(now);
        let agents = statuses.iter().filter_map(|status| {
            let (tally, spec) = (
                self.tallies.get(&status.name)?,
                self.fleet_spec.agents.get(&status.name)?,
            );
            let mut agent = tally.report((&status.name, spec.mode), status, clock);
            if setting.assumptions.contains_key(&agent.name) {
                agent.assumed = Assumed::Given;
            }
            agent.spend = self.spend(&agent.name);
            Some(agent)
        });
        let mut report = Report {
            project: self.fleet_spec.project.clone(),
            from: setting.from,
            until: clock.wall,
            seed: setting.seed,
            faults: (setting.faults == Faults::Drawn).then_some(self.counts),
            steps: self.steps,
            agents: agents.collect(),
            budgets: self.spending.budgets(),
            warnings: Vec::new(),
        };
        report.warnings = warnings::of(&report, setting, &self.tallies);
        report
    }

    fn spend(&self, agent: &AgentName) -> Spend {
        let assumption = self.setting.assumptions.get(agent);
        match assumption.and_then(|assumption| assumption.calls.as_ref()) {
            Some(_) => Spend::Estimated(report::Spent::clone(&self.spending.of(agent))),
            None if self.setting.accounts.contains_key(agent) => Spend::NotAssumed,
            None => Spend::NoModels,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GoesOn {
    Yes,
    No,
}

fn after(at: Wall, span: Duration) -> Wall {
    at.checked_add(span).unwrap_or(Wall::MAX)
}
