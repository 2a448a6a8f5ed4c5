//! The fleet under test, or one with a planted bug in front of it.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use claw_core::action::{Announcement, Happened};
use claw_core::event::ShutdownMode;
use claw_core::memory::Recovered;
use claw_core::order::HookOutcome;
use claw_core::spec::{FleetSpec, Overlap};
use claw_core::{
    Action, AgentName, AgentStatus, Command, Event, Fact, Fleet, Generation, HaltChange,
    Inheritance, InstanceId, Mono, Now, Order, ProbeKind, ProbeOutcome, Reason, Record, RunId,
    RunPhase, Ticket, Why,
};

use crate::planted::Plant;
use crate::temper::Temper;

/// Tickets of commands that a planted bug gives by itself.
const FORGED: u64 = u64::MAX;

pub(crate) struct Sut {
    fleet: Fleet,
    plant: Plant,
    newest: BTreeMap<AgentName, Generation>,
    /// The newest attempt of each run that was delivered, and the last delivery of each worker.
    attempts: BTreeMap<RunId, u32>,
    last: BTreeMap<InstanceId, Order>,
    /// The last probe.
    probe: Option<Action>,
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
            probe: None,
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
        let now = self.clock(now);
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
            (Plant::HurriesTheClock, Some((at, why))) => {
                // Rounded up, so that the hurried clock is never before it.
                let at = at.since_origin() * 4 / 5 + Duration::from_nanos(1);
                Some((Mono::new(at), why))
            }
            (_, deadline) => deadline,
        }
    }

    pub(crate) fn status(&self, agent: &AgentName, now: Now) -> Option<AgentStatus> {
        self.fleet.status(agent, self.clock(now))
    }

    pub(crate) fn statuses(&self, now: Now) -> Vec<AgentStatus> {
        self.fleet.statuses(self.clock(now))
    }

    /// The time as the fleet is told it.
    fn clock(&self, now: Now) -> Now {
        match self.plant {
            Plant::HurriesTheClock => Now {
                mono: Mono::new(now.mono.since_origin() * 5 / 4),
                ..now
            },
            _ => now,
        }
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
            (Plant::IgnoresTheEndOfRuns, Event::Fact(Fact::RunFinished { .. }))
            | (Plant::LosesExits, Event::Fact(Fact::Gone { .. } | Fact::Lost { .. })) => {
                Event::Tick
            }
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
        let signalled = match self.plant {
            Plant::RestartsTheUnready => unready(event),
            Plant::SignalsBeforeTheRecord => self.stopped(event),
            _ => None,
        };
        if let Some(instance) = signalled {
            let signal = Order::Signal {
                instance,
                signal: 15,
            };
            spoiled.push(Action::Order(signal));
        }
        if let Some(Event::Shutdown(ShutdownMode::Stop)) = event {
            self.spoil_shutdown(now, &mut spoiled);
        }
        spoiled
    }

    /// The newest instance of the agent that somebody stops.
    fn stopped(&self, event: Option<&Event>) -> Option<InstanceId> {
        let Some(Event::Command { command, .. }) = event else {
            return None;
        };
        let Command::Stop { agent } = command else {
            return None;
        };
        let generation = *self.newest.get(agent)?;
        let agent = agent.clone();
        Some(InstanceId { agent, generation })
    }

    fn spoil_shutdown(&self, now: Now, out: &mut Vec<Action>) {
        if self.plant == Plant::EndsTooSoon {
            out.push(Action::AllStopped);
        }
        if self.plant != Plant::BeginsDuringTheShutdown {
            return;
        }
        for (agent, newest) in &self.newest {
            let record = Record::Intent {
                instance: InstanceId {
                    agent: agent.clone(),
                    generation: Generation(newest.0 + 1),
                },
                spec_hash: String::new(),
                run: None,
                at: now.wall,
            };
            out.push(Action::Record { id: None, record });
        }
    }

    fn spoil_action(&mut self, now: Now, action: Action, out: &mut Vec<Action>) {
        match (self.plant, &action) {
            (_, Action::Reply { ticket, .. }) if ticket.0 == FORGED => {}
            (Plant::DropsKills, Action::Order(Order::Kill { .. }))
            | (Plant::NeverAsks, Action::Order(Order::Signal { .. } | Order::Drain { .. }))
            | (Plant::DropsSpawns, Action::Order(Order::Spawn { .. }))
            | (Plant::ForgetsToThaw, Action::Order(Order::Thaw { .. }))
            | (Plant::ForgetsToFreeze, Action::Order(Order::Freeze { .. }))
            | (Plant::AnswersNot, Action::Reply { .. })
            | (Plant::NeverEnds, Action::AllStopped) => {}
            (Plant::SkipsHooks, Action::Order(Order::RunHook { instance, hook, .. })) => {
                let done = Fact::HookDone {
                    instance: instance.clone(),
                    hook: *hook,
                    outcome: HookOutcome::Success,
                };
                for action in self.fleet.step(now, Event::Fact(done)) {
                    self.spoil_action(now, action, out);
                }
            }
            (Plant::MiscountsAttempts, Action::Order(Order::Deliver { .. })) => {
                let mut action = action;
                if let Action::Order(Order::Deliver { run, .. }) = &mut action {
                    run.attempt += 1;
                }
                out.push(action);
            }
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
        ) || matches!(
            (self.plant, record),
            (Plant::ForgetsEndsOfRuns, Record::Run(run))
                if matches!(run.phase, RunPhase::Finished { .. })
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
            | (Plant::DrainsTwice, action @ Action::Order(Order::Drain { .. }))
            | (Plant::StacksProbes, action @ Action::Order(Order::Probe { .. })) => {
                out.push(action)
            }
            (Plant::ProbesTheDying, action @ Action::Order(Order::Probe { .. })) => {
                self.probe = Some(action);
            }
            (Plant::ProbesTheDying, Action::Order(Order::Signal { instance, .. })) => {
                let probe = self.probe.take_if(
                    |probe| matches!(probe, Action::Order(order) if *order.instance() == instance),
                );
                out.extend(probe);
            }
            (
                Plant::RevivesRuns | Plant::ReleasesBeforeTheRecord | Plant::CancelsForTheDead,
                Action::Record { record, .. },
            ) => {
                self.add_to_record(now, record, out);
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
            (_, Action::Announce(announcement)) => {
                self.add_to_announcement(now, announcement, out);
            }
            (_, _) => {}
        }
    }

    /// What the bug does when something has happened.
    fn add_to_announcement(
        &mut self,
        now: Now,
        Announcement {
            agent, happened, ..
        }: Announcement,
        out: &mut Vec<Action>,
    ) {
        let start = |agent| Command::Start { agent };
        let by = "nobody".to_owned();
        match (self.plant, happened) {
            (
                Plant::IgnoresBackoff,
                Happened::StateChanged {
                    reason: Reason::BackingOff { .. },
                    ..
                },
            )
            | (
                Plant::StartsTheStopped,
                Happened::StateChanged {
                    reason: Reason::Asked,
                    ..
                },
            ) => {
                self.command(now, start, &agent, out);
            }
            (Plant::LetsTheHaltedGo, Happened::SwitchTurned { change })
                if matches!(*change, HaltChange::Halted(_)) =>
            {
                let lift = |agent| Command::Lift {
                    agent,
                    by: by.clone(),
                };
                self.command(now, lift, &agent, out);
            }
            (_, _) => {}
        }
    }

    /// What the bug does beside what is written down.
    fn add_to_record(&self, now: Now, record: Record, out: &mut Vec<Action>) {
        match (self.plant, record) {
            (Plant::RevivesRuns, Record::Run(mut run))
                if matches!(run.phase, RunPhase::Finished { .. }) =>
            {
                run.phase = RunPhase::Running { since: now.wall };
                let record = Record::Run(run);
                out.push(Action::Record { id: None, record });
            }
            (Plant::ReleasesBeforeTheRecord, Record::Outcome { instance, .. }) => {
                out.push(Action::Order(Order::Release { instance }));
            }
            (Plant::CancelsForTheDead, Record::Outcome { instance, .. }) => {
                let run = RunId::new(0, 0);
                out.push(Action::Order(Order::CancelRun { instance, run }));
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
