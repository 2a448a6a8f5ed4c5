//! The journal against maps in memory.

use std::collections::{BTreeMap, BTreeSet};

use claw_core::memory::AgentMemory;
use claw_core::{AgentName, Cause, Generation, InstanceId, Record, Run, RunId, RunPhase, Wall};
use proptest::prelude::*;

use crate::support::*;

const NAMES: [&str; 3] = ["a", "b", "c"];

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&NAMES[..])
}

fn record() -> impl Strategy<Value = Record> {
    let generation = 1_u64..6;
    prop_oneof![
        (name(), generation.clone()).prop_map(|(name, n)| intent(name, n)),
        (name(), generation.clone()).prop_map(|(name, n)| started(name, n)),
        (name(), generation.clone(), 0_u8..3).prop_map(|(name, n, code)| outcome(name, n, code)),
        (name(), 0_u32..9, generation.clone(), any::<bool>()).prop_map(
            |(name, failures, last, synced)| Record::Memory {
                agent: agent(name),
                memory: AgentMemory {
                    failures,
                    last_generation: Generation(last),
                    next_start: Some(at(i64::from(failures))),
                    last_death: Some((Cause::Watchdog, at(3))),
                    ..AgentMemory::default()
                },
                synced,
            }
        ),
        (name(), 0_u64..8).prop_map(|(name, n)| run(queued(name, n))),
        (name(), 0_u64..8).prop_map(|(name, n)| run(finished(name, n))),
        (name(), 0_i64..6).prop_map(|(name, n)| slot(name, n)),
        (name(), generation).prop_map(|(name, n)| Record::Removed {
            agent: agent(name),
            last: Generation(n),
        }),
    ]
}

/// What a step of the test does.
#[derive(Debug, Clone)]
enum Step {
    Write(Vec<Record>),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec(record(), 1..12).prop_map(Step::Write),
        1 => Just(Step::Reopen),
    ]
}

#[derive(Default)]
struct Model {
    memory: BTreeMap<AgentName, AgentMemory>,
    instances: BTreeMap<InstanceId, Life>,
    /// In order of acceptance.
    runs: Vec<Run>,
    slots: BTreeSet<(AgentName, Wall)>,
    duplicates: u64,
}

#[derive(Default, Clone, PartialEq, Debug)]
struct Life {
    intended: bool,
    started: Option<u32>,
    ended: Option<Cause>,
}

impl Model {
    /// Returns whether the journal should take the record.
    fn apply(&mut self, record: &Record) -> bool {
        match record {
            Record::Intent { instance, .. } => {
                let life = self.life(instance);
                if life.ended.is_some() {
                    return false;
                }
                *life = Life {
                    intended: true,
                    ..Life::default()
                };
            }
            Record::Started { instance, pid, .. } => self.life(instance).started = Some(*pid),
            Record::Outcome {
                instance, cause, ..
            } => {
                let life = self.life(instance);
                let duplicate = life.ended.is_some();
                life.ended.get_or_insert_with(|| cause.clone());
                self.duplicates += u64::from(duplicate);
            }
            Record::Memory { agent, memory, .. } => {
                let last = self.last(agent);
                let mut memory = memory.clone();
                memory.last_generation = memory.last_generation.max(last);
                self.memory.insert(agent.clone(), memory);
            }
            Record::Run(run) => self.put_run(run),
            Record::Slot { agent, planned, .. } => {
                return self.slots.insert((agent.clone(), *planned));
            }
            Record::Removed { agent, last } => {
                let last_generation = self.last(agent).max(*last);
                let memory = AgentMemory {
                    last_generation,
                    ..AgentMemory::default()
                };
                self.memory.insert(agent.clone(), memory);
            }
        }
        true
    }

    fn life(&mut self, instance: &InstanceId) -> &mut Life {
        self.instances.entry(instance.clone()).or_default()
    }

    fn last(&self, agent: &AgentName) -> Generation {
        let memory = self.memory.get(agent);
        memory.map_or(Generation(0), |memory| memory.last_generation)
    }

    fn put_run(&mut self, run: &Run) {
        match self.runs.iter_mut().find(|known| known.id == run.id) {
            Some(known) => known.clone_from(run),
            None => self.runs.push(run.clone()),
        }
    }

    /// What a supervisor should find: generations are never below a recorded one, and the newest
    /// says what it was started with.
    fn memory(&self) -> BTreeMap<AgentName, AgentMemory> {
        let mut memory = self.memory.clone();
        for (instance, life) in &self.instances {
            let memory = memory.entry(instance.agent.clone()).or_default();
            if instance.generation >= memory.last_generation {
                memory.last_generation = instance.generation;
                memory.started_with = life.intended.then(|| "5eed".to_owned());
            }
        }
        memory
    }

    fn open_runs(&self) -> Vec<Run> {
        let open = |run: &&Run| !matches!(run.phase, RunPhase::Finished { .. });
        self.runs.iter().filter(open).cloned().collect()
    }
}

async fn compare(bench: &Bench, model: &Model) {
    let reader = bench.journal.reader();
    for name in NAMES {
        let rows = reader.outcomes(agent(name), 100).await.unwrap();
        let lives: BTreeMap<InstanceId, Life> = rows
            .into_iter()
            .map(|row| {
                let life = Life {
                    intended: row.intent_at.is_some(),
                    started: row.started.map(|(pid, _at)| pid),
                    ended: row.ended.map(|ended| ended.cause),
                };
                (row.instance, life)
            })
            .collect();
        let expected = model.instances.iter();
        let expected = expected.filter(|(instance, _)| instance.agent.as_str() == name);
        let expected = expected.map(|(instance, life)| (instance.clone(), life.clone()));
        assert_eq!(lives, expected.collect());

        let runs = reader.runs(agent(name), 100, None).await.unwrap();
        let expected = model.runs.iter().rev();
        let expected = expected.filter(|run| run.agent.as_str() == name);
        let ids = |runs: Vec<Run>| runs.into_iter().map(|run| run.id).collect::<Vec<RunId>>();
        assert_eq!(ids(runs), ids(expected.cloned().collect()));

        let slots = reader.slots(agent(name), 100).await.unwrap();
        let slots: BTreeSet<_> = slots.iter().map(|row| (agent(name), row.planned)).collect();
        let expected = model.slots.iter().filter(|(of, _)| of.as_str() == name);
        assert_eq!(slots, expected.cloned().collect());
    }
}

async fn play(steps: Vec<Step>) {
    let (_directory, path) = directory();
    let mut model = Model::default();
    let mut bench = Bench::open(&path);
    for step in steps {
        match step {
            Step::Write(records) => {
                let asked: BTreeMap<_, _> = records
                    .into_iter()
                    .map(|record| (model.apply(&record), record))
                    .map(|(taken, record)| (bench.ask(record), taken))
                    .collect();
                let answers = bench.acks(asked.len());
                let taken = answers.into_iter().map(|(id, result)| (id, result.is_ok()));
                assert_eq!(taken.collect::<BTreeMap<_, _>>(), asked);
                let duplicates = bench.journal.stats().duplicate_outcomes;
                assert_eq!(duplicates, model.duplicates);
            }
            Step::Reopen => {
                bench.close();
                bench = Bench::open(&path);
                model.duplicates = 0;
                assert_eq!(bench.opened.memory, model.memory());
                assert_eq!(bench.opened.open_runs, model.open_runs());
                let open = bench.opened.open_instances.iter().map(|row| &row.instance);
                let expected = model.instances.iter();
                let expected = expected.filter(|(_, life)| life.ended.is_none());
                assert!(open.eq(expected.map(|(instance, _)| instance)));
            }
        }
        compare(&bench, &model).await;
    }
    bench.close();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn the_journal_does_what_the_maps_do(mut steps in prop::collection::vec(step(), 1..12)) {
        steps.push(Step::Reopen);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(play(steps));
    }
}
