//! Whatever arrives in whatever order: `step` answers, and some things are always true.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use crate::action::Action;
use crate::death::{ExitStatus, SpawnError, SpawnStage};
use crate::event::{Command, Event, Fact, Freeze, ShutdownMode};
use crate::fleet::Fleet;
use crate::id::{Generation, InstanceId, RunId, Ticket};
use crate::memory::Inheritance;
use crate::notification::{Lifecycle, Notification, WatchdogSignal};
use crate::order::{Hook, HookOutcome, Order, ProbeKind, ProbeOutcome, SelfCheck};
use crate::record::{Record, RecordId};
use crate::run::WorkOutcome;
use crate::spec::{AgentSpec, Check, Condition, HookSpec, Mode, Overlap, Progress};

use super::world::secs;
use super::world::{begin, daemon, depends, every, fleet_of, name, oneshot, probe, report, tcp};

const AGENTS: [&str; 5] = ["batch", "db", "task", "web", "worker"];

fn agents(overlap: Overlap) -> Vec<(&'static str, AgentSpec)> {
    let mut db = daemon();
    db.probes.startup = Some(probe(Check::Heartbeat, 10, 3));
    db.probes.liveness = Some(probe(Check::Heartbeat, 30, 3));
    db.probes.progress = Some(Progress {
        max_silence: secs(90),
    });
    let mut web = depends(daemon(), "db", Condition::Ready);
    web.probes.startup = Some(probe(tcp(), 1, 3));
    web.probes.liveness = Some(probe(tcp(), 30, 3));
    web.probes.readiness = Some(probe(tcp(), 15, 2));
    web.restart.max_retries = Some(3);
    let hook = HookSpec {
        command: vec!["/bin/hook".to_owned()],
        timeout: secs(20),
    };
    web.hooks.pre_start = Some(hook.clone());
    web.hooks.post_stop = Some(hook);
    let mut batch = every(secs(60), overlap);
    batch.hooks.post_stop.clone_from(&web.hooks.post_stop);
    let mut hand = batch.clone();
    hand.mode = Mode::Worker;
    hand.probes.readiness = Some(probe(Check::Heartbeat, 15, 2));
    hand.concurrency = std::num::NonZeroU32::new(2).expect("not zero");
    vec![
        ("batch", batch),
        ("db", db),
        ("task", oneshot()),
        ("web", web),
        ("worker", hand),
    ]
}

fn fact(agent: &str, generation: u64, kind: u8, number: u64) -> Fact {
    let instance = InstanceId {
        agent: name(agent),
        generation: Generation(generation),
    };
    let at = begin().wall;
    let code = u8::try_from(number % 3).unwrap_or(0);
    let status = ExitStatus::Code(code);
    match kind {
        0 => Fact::Recorded(RecordId(number)),
        1 => Fact::RecordFailed {
            record: RecordId(number),
            reason: "full".to_owned(),
        },
        2 | 3 => Fact::Started {
            instance,
            pid: 1,
            at,
            image: None,
        },
        4 => Fact::SpawnFailed {
            instance,
            error: SpawnError {
                stage: SpawnStage::Fork,
                errno: 11,
                detail: "no".to_owned(),
            },
        },
        5 => Fact::MainExited { instance, status },
        6 | 7 => Fact::Gone {
            instance,
            report: report(at, status),
        },
        8 => Fact::Lost { instance },
        9 => probed(instance, number),
        10 => notified(instance, number),
        11 => Fact::Progressed { instance },
        12 => Fact::SelfChecked {
            instance,
            check: match number % 3 {
                0 => SelfCheck::Awaited,
                1 => SelfCheck::Made(ProbeOutcome::Success),
                _ => SelfCheck::Made(ProbeOutcome::Failure("no".to_owned())),
            },
        },
        _ => Fact::HookDone {
            instance,
            hook: if number.is_multiple_of(2) {
                Hook::PreStart
            } else {
                Hook::PostStop
            },
            outcome: if code == 0 {
                HookOutcome::Success
            } else {
                HookOutcome::TimedOut(secs(20))
            },
        },
    }
}

fn probed(instance: InstanceId, number: u64) -> Fact {
    let outcome = match number % 3 {
        0 => ProbeOutcome::Success,
        1 => ProbeOutcome::Failure("no".to_owned()),
        _ => ProbeOutcome::Unknown("why".to_owned()),
    };
    let probe = match number % 4 {
        0 => ProbeKind::Startup,
        1 => ProbeKind::Liveness,
        _ => ProbeKind::Readiness,
    };
    Fact::Probed {
        instance,
        probe,
        sequence: number % 8,
        outcome,
    }
}

fn notified(instance: InstanceId, number: u64) -> Fact {
    let lifecycle = match number % 3 {
        0 => Some(Lifecycle::Ready),
        1 => Some(Lifecycle::Stopping),
        _ => None,
    };
    let notification = Notification {
        lifecycle,
        watchdog: number.is_multiple_of(5).then_some(WatchdogSignal::Trigger),
        extend_timeout: number.is_multiple_of(7).then_some(secs(5)),
        ..Notification::default()
    };
    Fact::Notified {
        instance,
        notification,
    }
}

fn work((instance, run, attempt): &(InstanceId, RunId, u32), kind: u8) -> Fact {
    let (instance, run, attempt) = (instance.clone(), *run, *attempt);
    let finished = |outcome: WorkOutcome| Fact::RunFinished {
        instance: instance.clone(),
        run,
        attempt,
        outcome,
    };
    let failed = |retryable| WorkOutcome::Failed {
        message: "no".to_owned(),
        retryable,
    };
    match kind {
        0 => finished(WorkOutcome::Succeeded),
        1 => finished(failed(true)),
        2 => finished(failed(false)),
        3 => Fact::RunTaken { instance, run },
        _ => Fact::Resumed {
            instance,
            running: vec![(run, attempt)],
        },
    }
}

fn command(agent: &str, kind: u8) -> Command {
    let agent = name(agent);
    match kind {
        0 | 1 => Command::Start { agent },
        2 => Command::Stop { agent },
        3 => Command::Restart { agent },
        4 => Command::Pause {
            agent,
            freeze: Freeze::Yes,
        },
        5 | 6 => Command::Resume { agent },
        _ => Command::Trigger {
            agent,
            payload: None,
            run: None,
        },
    }
}

/// One thing that happens; numbers pick agents, generations and records that may exist.
#[derive(Debug, Clone)]
enum Move {
    Wait(u64),
    JournalAnswers,
    Fact(usize, u64, u8, u64),
    /// What some worker says of some run that was ever delivered.
    Work(usize, u8),
    Ask(usize, u8),
    Configure(u8),
    ShutDown(ShutdownMode),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let shutdown = prop_oneof![
        Just(ShutdownMode::Stop),
        Just(ShutdownMode::Hasten),
        Just(ShutdownMode::Keep)
    ];
    let one = prop_oneof![
        6 => (0u64..100).prop_map(Move::Wait),
        6 => Just(Move::JournalAnswers),
        6 => (0usize..8, 0u8..5).prop_map(|(delivery, kind)| Move::Work(delivery, kind)),
        12 => (0usize..5, 0u64..4, 0u8..14, 0u64..40)
            .prop_map(|(agent, back, kind, number)| Move::Fact(agent, back, kind, number)),
        6 => (0usize..5, 0u8..9).prop_map(|(agent, kind)| Move::Ask(agent, kind)),
        1 => (0u8..4).prop_map(Move::Configure),
        1 => shutdown.prop_map(Move::ShutDown),
    ];
    proptest::collection::vec(one, 1..200)
}

/// What must always be true, kept while a fleet is driven.
#[derive(Default)]
struct Witness {
    asked: BTreeSet<Ticket>,
    answered: BTreeSet<Ticket>,
    records: Vec<RecordId>,
    recorded: BTreeSet<RecordId>,
    intents: BTreeMap<InstanceId, Option<RecordId>>,
    spawned: BTreeSet<InstanceId>,
    outcomes: BTreeSet<InstanceId>,
    newest: BTreeMap<&'static str, u64>,
    delivered: Vec<(InstanceId, RunId, u32)>,
}

impl Witness {
    fn see(&mut self, actions: &[Action]) {
        for action in actions {
            match action {
                Action::Record { id, record } => self.see_record(*id, record),
                Action::Order(order) => self.see_order(order),
                Action::Reply { ticket, .. } => {
                    assert!(self.asked.contains(ticket), "{ticket:?} was never asked");
                    assert!(self.answered.insert(*ticket), "{ticket:?} answered twice");
                }
                Action::Announce(_) | Action::AllStopped => {}
            }
        }
    }

    fn see_record(&mut self, id: Option<RecordId>, record: &Record) {
        self.records.extend(id);
        match record {
            Record::Intent { instance, .. } => {
                let before = self.intents.insert(instance.clone(), id);
                assert_eq!(before, None, "{instance} was begun twice");
                let agent = AGENTS.iter().find(|agent| name(agent) == instance.agent);
                self.newest
                    .insert(agent.expect("ours"), instance.generation.0);
            }
            Record::Outcome { instance, .. } => {
                // The journal refuses doubles; one is offered again only when it was refused.
                self.outcomes.insert(instance.clone());
            }
            Record::Started { .. }
            | Record::Memory { .. }
            | Record::Run(_)
            | Record::Slot { .. }
            | Record::Removed { .. } => {}
        }
    }

    fn see_order(&mut self, order: &Order) {
        let instance = order.instance();
        match order {
            Order::Spawn { .. } => {
                let intent = self.intents.get(instance).copied().flatten();
                let durable = intent.is_some_and(|id| self.recorded.contains(&id));
                assert!(durable, "{instance} was spawned without an intent");
                assert!(
                    self.spawned.insert(instance.clone()),
                    "{instance} spawned twice"
                );
            }
            Order::Signal { .. } | Order::Probe { .. } => {
                assert!(!self.outcomes.contains(instance), "{order:?} after its end");
            }
            Order::Deliver { run, .. } => {
                assert!(!self.outcomes.contains(instance), "{order:?} after its end");
                let mut before = self.delivered.iter();
                let again =
                    before.any(|(_, other, attempt)| (other, attempt) == (&run.run, &run.attempt));
                assert!(!again, "{order:?} for the second time");
                let delivered = (instance.clone(), run.run, run.attempt);
                self.delivered.push(delivered);
            }
            Order::Kill { .. }
            | Order::Freeze { .. }
            | Order::Thaw { .. }
            | Order::RunHook { .. }
            | Order::CancelRun { .. }
            | Order::Drain { .. }
            | Order::Release { .. } => {}
        }
    }
}

/// Whether two lives of a daemon overlap.
fn assert_one_life_each(witness: &Witness) {
    for agent in ["db", "web", "worker"] {
        let live = witness.spawned.iter().filter(|instance| {
            instance.agent == name(agent) && !witness.outcomes.contains(*instance)
        });
        assert!(live.count() <= 1, "{agent} lives twice");
    }
}

fn drive(overlap: Overlap, moves: Vec<Move>) {
    let mut now = begin();
    let spec = Arc::new(fleet_of(agents(overlap)));
    let (mut fleet, actions) = Fleet::restore(spec, Inheritance::default(), 3, now);
    let mut witness = Witness::default();
    witness.see(&actions);
    let mut tickets = 0;
    for one in moves {
        let mut events = Vec::new();
        match one {
            Move::Wait(seconds) => {
                now.mono = now.mono + secs(seconds);
                now.wall += secs(seconds);
                events.push(Event::Tick);
            }
            Move::JournalAnswers => {
                let records = std::mem::take(&mut witness.records);
                events.extend(
                    records
                        .into_iter()
                        .map(|id| Event::Fact(Fact::Recorded(id))),
                );
            }
            Move::Fact(agent, back, kind, number) => {
                let newest = witness.newest.get(AGENTS[agent]).copied().unwrap_or(1);
                let generation = newest.saturating_sub(back / 3);
                events.push(Event::Fact(fact(AGENTS[agent], generation, kind, number)));
            }
            Move::Work(delivery, kind) => {
                let delivered = witness.delivered.iter().rev().nth(delivery);
                events.extend(delivered.map(|delivered| Event::Fact(work(delivered, kind))));
            }
            Move::Ask(agent, kind) => {
                tickets += 1;
                let ticket = Ticket(tickets);
                let command = command(AGENTS[agent], kind);
                witness.asked.insert(ticket);
                events.push(Event::Command { ticket, command });
            }
            Move::Configure(kind) => {
                tickets += 1;
                let ticket = Ticket(tickets);
                witness.asked.insert(ticket);
                let fleet = Arc::new(changed_fleet(overlap, kind));
                events.push(Event::Configure { ticket, fleet });
            }
            Move::ShutDown(mode) => events.push(Event::Shutdown(mode)),
        }
        for event in events {
            if let Event::Fact(Fact::Recorded(id)) = &event {
                witness.recorded.insert(*id);
            }
            let actions = fleet.step(now, event);
            witness.see(&actions);
            assert_one_life_each(&witness);
            if let Some((at, why)) = fleet.deadline() {
                assert!(at > now.mono, "{why} is due in the past");
            }
            drop(fleet.statuses(now));
        }
    }
}

fn changed_fleet(overlap: Overlap, kind: u8) -> crate::FleetSpec {
    let mut agents = agents(overlap);
    match kind {
        0 => {}
        1 => agents[0].1.launch.command.push("--new".to_owned()),
        2 => agents.retain(|(agent, _)| *agent != "task"),
        _ => agents[3].1.restart.initial_delay = secs(1),
    }
    fleet_of(agents)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_events_breaks_a_rule(
        overlap in prop_oneof![
            Just(Overlap::Skip),
            Just(Overlap::Queue),
            Just(Overlap::Replace),
            Just(Overlap::Allow)
        ],
        moves in moves(),
    ) {
        drive(overlap, moves);
    }
}
