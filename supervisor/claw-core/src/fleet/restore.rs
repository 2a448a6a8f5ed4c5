//! A fleet from what the supervisor before this one left behind; from nothing, a fresh fleet.
//!
//! Per instance without an outcome: alive, it is adopted; ended, its report is taken; lost or
//! rebooted, it is said so; never started, it is forgotten. Then each agent follows its goal.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::action::Action;
use crate::agent::context::Source;
use crate::agent::{Agent, Legacy};
use crate::clock::Now;
use crate::death::Cause;
use crate::id::{Generation, InstanceId, RunId};
use crate::memory::{AgentMemory, Inheritance, Recovered};
use crate::name::AgentName;
use crate::run::Run;
use crate::spec::{FleetSpec, Mode};

use super::deadlines::Deadlines;
use super::dependencies::Dependents;
use super::orphans::Orphans;
use super::rolls::Rolls;
use super::shutdown::Stage;
use super::starts::Starts;
use super::turn::Turn;
use super::{Fleet, LOOK_AT_CLOCKS, skew};

impl Fleet {
    /// A fleet that goes on where an earlier supervisor left off. `seed` decides all jitter and
    /// the random part of run ids.
    #[must_use]
    pub fn restore(
        spec: Arc<FleetSpec>,
        inheritance: Inheritance,
        seed: u64,
        now: Now,
    ) -> (Self, Vec<Action>) {
        let mut fleet = Self::empty(spec, seed, now);
        let mut turn = Turn::new(now);
        let mut legacies = fleet.divide(&mut turn, inheritance);
        let specs = Arc::clone(&fleet.spec);
        for (name, agent) in &specs.agents {
            let (memory, _) = legacies.entry(name.clone()).or_default();
            let memory = std::mem::take(memory);
            let agent = Agent::new(name.clone(), Arc::clone(agent), memory, now.wall);
            fleet.agents.insert(name.clone(), agent);
        }
        for name in specs.agents.keys() {
            if let Some((_, legacy)) = legacies.remove(name) {
                let mut homeless = Vec::new();
                let takeover = fleet.rolls.takeover(name);
                fleet.visit(&mut turn, name, |agent, cx| {
                    homeless = agent.boot(cx, legacy, takeover);
                });
                for instance in homeless {
                    fleet.stop_orphan(&mut turn, instance);
                }
            }
        }
        for name in specs.agents.keys() {
            fleet.note_rest(&mut turn, name);
        }
        fleet.begin_rolls(&mut turn);
        fleet.drain(&mut turn);
        fleet.run_due(&mut turn);
        (fleet, turn.out)
    }

    fn empty(spec: Arc<FleetSpec>, seed: u64, now: Now) -> Self {
        Self {
            dependents: Dependents::of_spec(&spec),
            rolls: Rolls::of_spec(&spec),
            spec,
            agents: BTreeMap::new(),
            seen: BTreeMap::new(),
            deadlines: Deadlines::default(),
            starts: Starts::default(),
            busy: std::collections::BTreeSet::new(),
            calendars: std::collections::BTreeSet::new(),
            orphans: Orphans::default(),
            retired: BTreeMap::new(),
            source: Source::new(seed),
            stage: Stage::Open,
            last_step: now.mono,
            skew: skew(now),
            look_at_clocks: now.mono + LOOK_AT_CLOCKS,
        }
    }

    /// Gives each agent its part; what belongs to nobody any more is ended.
    fn divide(
        &mut self,
        turn: &mut Turn,
        inheritance: Inheritance,
    ) -> BTreeMap<AgentName, (AgentMemory, Legacy)> {
        let mut legacies: BTreeMap<AgentName, (AgentMemory, Legacy)> = BTreeMap::new();
        for (name, memory) in inheritance.agents {
            if self.spec.agents.contains_key(&name) {
                legacies.entry(name).or_default().0 = memory;
            } else {
                let known = self.retired.entry(name.clone()).or_default();
                if memory.switch.halt.is_some() {
                    known.switch = *memory.switch;
                }
                self.forget(turn, &name, memory.last_generation);
            }
        }
        let mut begun = Begun::default();
        let mut instances = inheritance.instances;
        instances.sort_by(|(one, ..), (other, ..)| other.cmp(one));
        for (instance, run, found) in instances {
            let InstanceId { agent, generation } = &instance;
            if !self.spec.agents.contains_key(agent) {
                self.forget(turn, agent, *generation);
                self.end_orphan(turn, instance, found);
                continue;
            }
            let (memory, legacy) = legacies.entry(agent.clone()).or_default();
            memory.last_generation = memory.last_generation.max(*generation);
            let alive = matches!(found, Recovered::Alive { .. });
            let mode = self.spec.agents.get(agent).map(|agent| agent.mode);
            if mode != Some(Mode::Oneshot) {
                begun.note(run, *generation, &found);
            }
            if alive && (legacy.is_taken(mode, run) || is_of_another_kind(memory, mode)) {
                self.end_orphan(turn, instance, found);
            } else {
                legacy.instances.push((*generation, run, found));
            }
        }
        let mut reported = inheritance.reported;
        for run in inheritance.runs {
            let spec = self.spec.agents.get(&run.agent);
            if spec.is_none_or(|spec| spec.mode == Mode::Daemon) {
                self.call_off(turn, &run);
            } else {
                let (_, legacy) = legacies.entry(run.agent.clone()).or_default();
                let outcome = reported.remove(&run.id);
                legacy.runs.push((begun.counted(run), outcome));
            }
        }
        for name in self.spec.agents.keys() {
            legacies.entry(name.clone()).or_default();
        }
        legacies
    }

    fn forget(&mut self, turn: &mut Turn, agent: &AgentName, last: Generation) {
        let known = self.retired.entry(agent.clone()).or_default();
        known.last = known.last.max(last);
        known.write_down(turn, agent);
    }

    fn end_orphan(&mut self, turn: &mut Turn, instance: InstanceId, found: Recovered) {
        match found {
            Recovered::Alive { .. } => self.stop_orphan(turn, instance),
            Recovered::Ended(report) => {
                let cause = crate::agent::observed(&report);
                self.bury(turn, &instance, cause, Some(report));
            }
            Recovered::Lost => self.bury(turn, &instance, Cause::Lost, None),
            Recovered::Rebooted => self.bury(turn, &instance, Cause::HostReboot, None),
            Recovered::NeverStarted => self.bury(turn, &instance, Cause::Reconfigured, None),
        }
    }
}

/// Attempts of instances that their agents cannot take over, as they are of another mode: they
/// count, although the journal may not have heard of them.
#[derive(Default)]
struct Begun(BTreeMap<RunId, BTreeSet<Generation>>);

impl Begun {
    fn note(&mut self, run: Option<RunId>, generation: Generation, found: &Recovered) {
        if let Some(run) = run
            && *found != Recovered::NeverStarted
        {
            self.0.entry(run).or_default().insert(generation);
        }
    }

    fn counted(&mut self, mut run: Arc<Run>) -> Arc<Run> {
        let unheard = |generation: &Generation| Some(*generation) > run.generation;
        let begun = self.0.remove(&run.id).unwrap_or_default();
        let begun: Vec<Generation> = begun.into_iter().filter(unheard).collect();
        for generation in begun {
            let run = Arc::make_mut(&mut run);
            run.attempts = run.attempts.saturating_add(1);
            run.generation = Some(generation);
            run.image = None;
        }
        run
    }
}

/// Whether the live instance was started as something else. Memories that do not say so are older
/// than workers.
fn is_of_another_kind(memory: &AgentMemory, mode: Option<Mode>) -> bool {
    match memory.mode {
        Some(_) => memory.mode != mode,
        None => mode == Some(Mode::Worker),
    }
}

impl Legacy {
    /// Whether one more live instance is too many: a daemon has one, a run has one, and neither
    /// lives on as the other.
    fn is_taken(&self, mode: Option<Mode>, run: Option<crate::RunId>) -> bool {
        let alive = |found: &Recovered| matches!(found, Recovered::Alive { .. });
        match mode {
            Some(Mode::Daemon | Mode::Worker) => {
                run.is_some() || self.instances.iter().any(|(_, _, found)| alive(found))
            }
            Some(Mode::Oneshot) => {
                let mut others = self.instances.iter();
                run.is_none() || others.any(|(_, other, found)| *other == run && alive(found))
            }
            None => true,
        }
    }
}
