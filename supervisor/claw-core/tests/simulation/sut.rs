//! The fleet under test, or one with a planted bug in front of it.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use claw_core::action::Happened;
use claw_core::event::ShutdownMode;
use claw_core::memory::Recovered;
use claw_core::spec::{FleetSpec, Overlap};
use claw_core::{
    Action, AgentName, AgentStatus, Command, Event, Fact, Fleet, Generation, HaltChange,
    Inheritance, InstanceId, Mono, Now, Order, ProbeKind, ProbeOutcome, Reason, Record, RunId,
    RunPhase, Ticket, Why,
};

use crate::temper::Temper;

/// A bug to be found. Each stands for a mistake that a supervisor has made in the wild.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plant {
    None,
    DropsKills,
    KillsAtOnce,
    SpawnsTwice,
    SpawnsBesideTheDying,
    AnswersTwice,
    AnswersNot,
    IgnoresBackoff,
    ForgetsOutcomes,
    SpawnsBeforeIntent,
    RestartsTheUnready,
    SleepsInThePast,
    BelievesOldFacts,
    NeverEnds,
    StartsTheStopped,
    ForgetsGenerations,
    AdoptsNobody,
    StartsAllAtOnce,
    ChangesInSilence,
    NeverWakesUp,
    ForgetsGoals,
    ForgetsSlots,
    StopsOnKeep,
    StacksProbes,
    DeliversTwice,
    DeliversBeforeTheRecord,
    DeliversToTheUnready,
    DeliversToTheDying,
    RedeliversAtOnce,
    BelievesOldAttempts,
    IgnoresTheEndOfRuns,
    IgnoresOverlap,
    SignalsTheDraining,
    ChangesAllAtOnce,
    IgnoresOutages,
    CountsTwice,
    LetsTheHaltedGo,
}

/// Tickets of commands that a planted bug gives by itself.
const FORGED: u64 = u64::MAX;

pub(crate) struct Sut {
    fleet: Fleet,
    plant: Plant,
    newest: BTreeMap<AgentName, Generation>,
    /// The newest attempt of each run that was delivered, and the last delivery of each worker.
    attempts: BTreeMap<RunId, u32>,
    last: BTreeMap<InstanceId, Order>,
}

impl Sut {
    pub(crate) fn restore(
        spec: &Arc<FleetSpec>,
        mut inheritance: Inheritance,
        seed: u64,
        now: Now,
        plant: Plant,
    ) -> (Self, Vec<Action>) {
        let mut spec = Arc::clone(spec);
        match plant {
            Plant::StartsAllAtOnce => {
                let most = NonZeroU32::new(1000).unwrap();
                Arc::make_mut(&mut spec).max_concurrent_starts = most;
            }
            Plant::ForgetsGenerations => {
                for memory in inheritance.agents.values_mut() {
                    memory.last_generation = Generation(0);
                }
            }
            Plant::IgnoresOverlap => allow_all(Arc::make_mut(&mut spec)),
            Plant::AdoptsNobody => inheritance
                .instances
                .retain(|(_, _, found)| !matches!(found, Recovered::Alive { .. })),
            _ => {}
        }
        let alive: Vec<InstanceId> = inheritance
            .instances
            .iter()
            .filter(|(_, _, found)| matches!(found, Recovered::Alive { .. }))
            .map(|(instance, ..)| instance.clone())
            .collect();
        let (fleet, actions) = Fleet::restore(spec, inheritance, seed, now);
        let mut sut = Self {
            fleet,
            plant,
            newest: BTreeMap::new(),
            attempts: BTreeMap::new(),
            last: BTreeMap::new(),
        };
        let mut actions = sut.spoil(now, None, actions);
        if plant == Plant::RedeliversAtOnce {
            for instance in alive {
                let running = Vec::new();
                let resumed = Event::Fact(Fact::Resumed { instance, running });
                actions.extend(sut.fleet.step(now, resumed));
            }
        }
        (sut, actions)
    }

    pub(crate) fn step(&mut self, now: Now, event: Event) -> Vec<Action> {
        if let (Plant::DeliversToTheUnready, Event::Fact(Fact::Started { instance, .. })) =
            (self.plant, &event)
        {
            let started = self.fleet.step(now, event.clone());
            let mut actions = self.spoil(now, Some(&event), started);
            let ready = Event::Fact(Temper::ready(instance));
            let ready = self.fleet.step(now, ready);
            actions.extend(self.spoil(now, None, ready));
            return actions;
        }
        if let (Plant::CountsTwice, Event::Fact(Fact::ModelCall { .. })) = (self.plant, &event) {
            let first = self.fleet.step(now, event.clone());
            let mut actions = self.spoil(now, None, first);
            let second = self.fleet.step(now, event);
            actions.extend(self.spoil(now, None, second));
            return actions;
        }
        let event = self.spoil_event(event);
        let seen = event.clone();
        let actions = self.fleet.step(now, event);
        self.spoil(now, Some(&seen), actions)
    }

    pub(crate) fn deadline(&self) -> Option<(Mono, Why)> {
        let deadline = self.fleet.deadline();
        match (self.plant, deadline) {
            (Plant::SleepsInThePast, Some((at, Why::Probe))) => {
                Some((at - Duration::from_secs(60), Why::Probe))
            }
            (Plant::NeverWakesUp, Some((_, Why::Backoff))) => None,
            (_, deadline) => deadline,
        }
    }

    pub(crate) fn status(&self, agent: &AgentName, now: Now) -> Option<AgentStatus> {
        self.fleet.status(agent, now)
    }

    pub(crate) fn statuses(&self, now: Now) -> Vec<AgentStatus> {
        self.fleet.statuses(now)
    }

    fn spoil_event(&self, event: Event) -> Event {
        match (self.plant, event) {
            (
                Plant::BelievesOldFacts,
                Event::Fact(Fact::Gone {
                    mut instance,
                    report,
                }),
            ) => {
                if let Some(newest) = self.newest.get(&instance.agent) {
                    instance.generation = *newest;
                }
                Event::Fact(Fact::Gone { instance, report })
            }
            (Plant::StopsOnKeep, Event::Shutdown(ShutdownMode::Keep)) => {
                Event::Shutdown(ShutdownMode::Stop)
            }
            (
                Plant::BelievesOldAttempts,
                Event::Fact(Fact::RunFinished {
                    instance,
                    run,
                    attempt,
                    outcome,
                }),
            ) => {
                let attempt = self.attempts.get(&run).copied().unwrap_or(attempt);
                Event::Fact(Fact::RunFinished {
                    instance,
                    run,
                    attempt,
                    outcome,
                })
            }
            (Plant::IgnoresTheEndOfRuns, Event::Fact(Fact::RunFinished { .. })) => Event::Tick,
            (Plant::IgnoresOverlap, Event::Configure { ticket, mut fleet }) => {
                allow_all(Arc::make_mut(&mut fleet));
                Event::Configure { ticket, fleet }
            }
            (Plant::IgnoresOutages, Event::Fact(Fact::ProviderDown { .. })) => Event::Tick,
            (Plant::ChangesAllAtOnce, Event::Configure { ticket, mut fleet }) => {
                Arc::make_mut(&mut fleet).groups.clear();
                Event::Configure { ticket, fleet }
            }
            (_, event) => event,
        }
    }

    fn spoil(&mut self, now: Now, event: Option<&Event>, actions: Vec<Action>) -> Vec<Action> {
        for action in &actions {
            if let Action::Order(Order::Spawn { instance, .. }) = action {
                self.newest
                    .insert(instance.agent.clone(), instance.generation);
            }
            if let Action::Order(order @ Order::Deliver { instance, run, .. }) = action {
                self.attempts.insert(run.run, run.attempt);
                self.last.insert(instance.clone(), order.clone());
            }
        }
        if self.plant == Plant::None {
            return actions;
        }
        let mut spoiled = Vec::new();
        for action in actions {
            self.spoil_action(now, action, &mut spoiled);
        }
        if let (Plant::RestartsTheUnready, Some(instance)) = (self.plant, unready(event)) {
            let signal = Order::Signal {
                instance,
                signal: 15,
            };
            spoiled.push(Action::Order(signal));
        }
        spoiled
    }

    fn spoil_action(&mut self, now: Now, action: Action, out: &mut Vec<Action>) {
        match (self.plant, &action) {
            (_, Action::Reply { ticket, .. }) if ticket.0 == FORGED => {}
            (Plant::DropsKills, Action::Order(Order::Kill { .. }))
            | (Plant::AnswersNot, Action::Reply { .. })
            | (Plant::NeverEnds, Action::AllStopped) => {}
            (_, Action::Record { id, record }) if self.forgets(record) => {
                if let Some(id) = id {
                    let recorded = Event::Fact(Fact::Recorded(*id));
                    out.extend(self.fleet.step(now, recorded));
                }
            }
            (Plant::ChangesInSilence, Action::Announce(announcement))
                if matches!(announcement.happened, Happened::StateChanged { .. }) => {}
            _ => {
                out.push(action.clone());
                self.add_to(now, action, out);
            }
        }
    }

    /// Records that never reach the journal, though the fleet believes so.
    fn forgets(&self, record: &Record) -> bool {
        matches!(
            (self.plant, record),
            (Plant::ForgetsOutcomes, Record::Outcome { .. })
                | (Plant::ForgetsGoals, Record::Memory { synced: true, .. })
                | (Plant::ForgetsSlots, Record::Slot { .. })
                | (Plant::SpawnsBeforeIntent, Record::Intent { .. })
        ) || matches!(
            (self.plant, record),
            (Plant::DeliversBeforeTheRecord, Record::Run(run))
                if matches!(run.phase, RunPhase::Running { .. })
        )
    }

    /// What the bug does beside what is right.
    fn add_to(&mut self, now: Now, action: Action, out: &mut Vec<Action>) {
        match (self.plant, action) {
            (Plant::KillsAtOnce, Action::Order(Order::Signal { instance, .. })) => {
                out.push(Action::Order(Order::Kill { instance }));
            }
            (Plant::SpawnsTwice, action @ Action::Order(Order::Spawn { .. }))
            | (Plant::AnswersTwice, action @ Action::Reply { .. })
            | (Plant::DeliversTwice, action @ Action::Order(Order::Deliver { .. }))
            | (Plant::StacksProbes, action @ Action::Order(Order::Probe { .. })) => {
                out.push(action)
            }
            (Plant::SignalsTheDraining, Action::Order(Order::Drain { instance, .. })) => {
                let signal = Order::Signal {
                    instance,
                    signal: 15,
                };
                out.push(Action::Order(signal));
            }
            (Plant::DeliversToTheDying, Action::Order(Order::Drain { instance, .. })) => {
                if let Some(order) = self.last.get(&instance).cloned() {
                    out.push(Action::Order(order));
                }
            }
            (Plant::SpawnsBesideTheDying, Action::Order(Order::Signal { instance, .. })) => {
                self.command(now, |agent| Command::Start { agent }, &instance.agent, out);
                let gone = Fact::Lost { instance };
                out.extend(self.fleet.step(now, Event::Fact(gone)));
            }
            (Plant::IgnoresBackoff, Action::Announce(announcement)) => {
                if let Happened::StateChanged { reason, .. } = announcement.happened
                    && matches!(reason, Reason::BackingOff { .. })
                {
                    let start = |agent| Command::Start { agent };
                    self.command(now, start, &announcement.agent, out);
                }
            }
            (Plant::StartsTheStopped, Action::Announce(announcement)) => {
                if let Happened::StateChanged { reason, .. } = announcement.happened
                    && reason == Reason::Asked
                {
                    let start = |agent| Command::Start { agent };
                    self.command(now, start, &announcement.agent, out);
                }
            }
            (Plant::LetsTheHaltedGo, Action::Announce(announcement)) => {
                if let Happened::SwitchTurned { change } = announcement.happened
                    && matches!(*change, HaltChange::Halted(_))
                {
                    let by = "nobody".to_owned();
                    let lift = |agent| Command::Lift {
                        agent,
                        by: by.clone(),
                    };
                    self.command(now, lift, &announcement.agent, out);
                }
            }
            (_, _) => {}
        }
    }

    /// Gives a command of its own, and keeps the answer to itself.
    fn command(
        &mut self,
        now: Now,
        command: impl Fn(AgentName) -> Command,
        agent: &AgentName,
        out: &mut Vec<Action>,
    ) {
        let ticket = Ticket(FORGED);
        let command = command(agent.clone());
        let actions = self.fleet.step(now, Event::Command { ticket, command });
        for action in actions {
            self.spoil_action(now, action, out);
        }
    }
}

/// A fleet whose workers take everything at once.
fn allow_all(fleet: &mut FleetSpec) {
    for spec in fleet.agents.values_mut() {
        let spec = Arc::make_mut(spec);
        spec.concurrency = NonZeroU32::new(8).unwrap();
        if let Some(schedule) = &mut spec.schedule {
            schedule.overlap = Overlap::Allow;
        }
    }
}

fn unready(event: Option<&Event>) -> Option<InstanceId> {
    match event {
        Some(Event::Fact(Fact::Probed {
            instance,
            probe: ProbeKind::Readiness,
            outcome: ProbeOutcome::Failure(_),
            ..
        })) => Some(instance.clone()),
        _ => None,
    }
}
