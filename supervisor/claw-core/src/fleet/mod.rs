//! The fleet: takes events to the agents they are for, and keeps the indexes over all agents.
//!
//! ```text
//!   step(now, event) ──► route ──► Agent ──► settle: deadline, need, reached, at rest
//!                          ▲                    │
//!                          │  todo: dependents, ▼  starts: who is admitted next
//!                          └──────────── drain until nothing is left
//! ```
//!
//! Nothing here looks at all agents on an ordinary step; after each visit the indexes of the
//! visited agent alone are brought up to date. Called by the host only.

mod deadlines;
mod dependencies;
mod orphans;
mod outages;
mod reload;
mod restore;
mod rolls;
mod shutdown;
mod starts;
mod turn;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;

use crate::action::Action;
use crate::agent::context::{Context, Source};
use crate::agent::need::{Need, Reached};
use crate::agent::{Agent, Report};
use crate::clock::{Gap, Mono, Now};
use crate::deadline::{Deadline, Why, earlier};
use crate::event::{Command, Event, Fact};
use crate::halt::KillSwitch;
use crate::id::{Generation, InstanceId, Ticket};
use crate::name::AgentName;
use crate::record::RecordId;
use crate::refusal::Refusal;
use crate::spec::FleetSpec;
use crate::status::AgentStatus;

use deadlines::Deadlines;
use dependencies::{Dependents, missing};
use orphans::Orphans;
use outages::AtGates;
use rolls::Rolls;
use shutdown::Stage;
use starts::Starts;
use turn::{Todo, Turn};

/// A step that comes later than this after the promised deadline means that we ourselves were
/// paused: stopped, swapped out, or the machine slept.
const LATE: Duration = Duration::from_secs(1);

/// The wall clock is believed to have been set when it moved this far against the monotonic one.
const JUMP: SignedDuration = SignedDuration::from_secs(1);

/// How long a jump of the wall clock may stay unnoticed while nothing else happens.
const LOOK_AT_CLOCKS: Duration = Duration::from_secs(30);

/// How often one step may find new deadlines due; each round moves every due agent on, so few
/// are ever needed, and a machine that does not move on must not stop all others.
const MAX_ROUNDS: u32 = 64;

/// The whole fleet: decides what is to be done about each event.
#[derive(Debug)]
pub struct Fleet {
    spec: Arc<FleetSpec>,
    agents: BTreeMap<AgentName, Agent>,
    seen: BTreeMap<AgentName, Seen>,
    dependents: Dependents,
    deadlines: Deadlines,
    starts: Starts,
    rolls: Rolls,
    /// Those of which something runs.
    busy: BTreeSet<AgentName>,
    /// Those whose slots are planned on the wall clock.
    calendars: BTreeSet<AgentName>,
    orphans: Orphans,
    /// What is kept of agents that left, in case they come back.
    retired: BTreeMap<AgentName, Retired>,
    source: Source,
    stage: Stage,
    last_step: Mono,
    skew: SignedDuration,
    look_at_clocks: Mono,
}

/// What the indexes know of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    need: Need,
    reached: Reached,
    halted: bool,
}

/// What is kept of an agent that left.
#[derive(Debug, Clone, Default)]
struct Retired {
    last: Generation,
    /// Its kill switch, if it left while it was halted.
    switch: KillSwitch,
}

impl Fleet {
    /// Takes one event and says what is to be done, in order.
    pub fn step(&mut self, now: Now, event: Event) -> Vec<Action> {
        let mut turn = Turn::new(now);
        if self.stage == Stage::Ended {
            refuse_late(&mut turn, &event);
            return turn.out;
        }
        self.notice_pause(now.mono);
        self.notice_jump(&mut turn);
        self.take(&mut turn, event);
        self.drain(&mut turn);
        self.run_due(&mut turn);
        self.end_if_all_stopped(&mut turn);
        self.last_step = now.mono;
        turn.out
    }

    /// When the next step is due at the latest, and why.
    #[must_use]
    pub fn deadline(&self) -> Option<(Mono, Why)> {
        if self.stage == Stage::Ended {
            return None;
        }
        let clocks = (!self.calendars.is_empty()).then_some((self.look_at_clocks, Why::Clocks));
        let agents: Option<Deadline> = self.deadlines.first();
        let agents = earlier(agents, self.source.gates.deadline());
        earlier(earlier(agents, self.orphans.deadline()), clocks)
    }

    /// One agent as it is shown.
    #[must_use]
    pub fn status(&self, agent: &AgentName, now: Now) -> Option<AgentStatus> {
        self.agents.get(agent).map(|agent| agent.status(now))
    }

    /// All agents as they are shown, by name.
    #[must_use]
    pub fn statuses(&self, now: Now) -> Vec<AgentStatus> {
        self.agents
            .values()
            .map(|agent| agent.status(now))
            .collect()
    }

    /// The configuration in force.
    #[must_use]
    pub const fn spec(&self) -> &Arc<FleetSpec> {
        &self.spec
    }

    fn take(&mut self, turn: &mut Turn, event: Event) {
        match event {
            Event::Tick => {}
            Event::Command { ticket, command } => self.command(turn, ticket, command),
            Event::Fact(fact) => self.fact(turn, fact),
            Event::Configure { ticket, fleet } => self.configure(turn, ticket, &fleet),
            Event::Shutdown(mode) => self.shut_down(turn, mode),
        }
    }

    fn command(&mut self, turn: &mut Turn, ticket: Ticket, command: Command) {
        let agent = command.agent().clone();
        if self.stage != Stage::Open {
            turn.refuse(ticket, Refusal::ShuttingDown);
        } else if self.spec.agents.contains_key(&agent) && self.agents.contains_key(&agent) {
            self.visit(turn, &agent, |agent, cx| agent.command(cx, ticket, command));
        } else {
            turn.refuse(ticket, Refusal::NoSuchAgent { agent });
        }
    }

    fn fact(&mut self, turn: &mut Turn, fact: Fact) {
        let (instance, report) = match fact {
            Fact::Recorded(id) => return self.recorded(turn, id, &Ok(())),
            Fact::RecordFailed { record, reason } => {
                return self.recorded(turn, record, &Err(reason));
            }
            Fact::Preparing { instance, detail } => (instance, Report::Preparing(detail)),
            Fact::Unobserved { instance, reason } => (instance, Report::Unobserved(reason)),
            Fact::Observed { instance } => (instance, Report::Observed),
            Fact::NeedsRestart { instance, reason } => (instance, Report::NeedsRestart(reason)),
            Fact::Started {
                instance,
                pid,
                at,
                image,
            } => (instance, Report::Started { pid, at, image }),
            Fact::SpawnFailed { instance, error } => (instance, Report::SpawnFailed(error)),
            Fact::MainExited { instance, status } => (instance, Report::MainExited(status)),
            Fact::Gone { instance, report } => (instance, Report::Gone(report)),
            Fact::Lost { instance } => (instance, Report::Lost),
            Fact::Probed {
                instance,
                probe,
                sequence,
                outcome,
            } => (instance, Report::Probed(probe, sequence, outcome)),
            Fact::SelfChecked { instance, check } => (instance, Report::SelfChecked(check)),
            Fact::Notified {
                instance,
                notification,
            } => (instance, Report::Notified(notification)),
            Fact::Progressed { instance } => (instance, Report::Progressed),
            Fact::BrokeProtocol { instance } => (instance, Report::BrokeProtocol),
            Fact::RunTaken { instance, run } => (instance, Report::RunTaken(run)),
            Fact::RunProgressed { instance, run } => (instance, Report::RunProgressed(run)),
            Fact::RunFinished {
                instance,
                run,
                attempt,
                outcome,
            } => (instance, Report::RunFinished(run, attempt, outcome)),
            Fact::Resumed { instance, running } => (instance, Report::Resumed(running)),
            Fact::ModelCall { instance, call } => {
                self.model_called(turn, &instance, &call);
                (instance, Report::ModelCall(call))
            }
            Fact::ProviderDown { provider, until } => {
                return self.provider_down(turn, provider, until);
            }
            Fact::ProviderUp { provider } => return self.provider_up(turn, &provider),
            Fact::HookDone {
                instance,
                hook,
                outcome,
            } => (instance, Report::HookDone(hook, outcome)),
        };
        self.report(turn, instance, report);
    }

    fn report(&mut self, turn: &mut Turn, instance: InstanceId, report: Report) {
        if self.orphans.owns(&instance) {
            if let Some((cause, report)) = self.orphans.report(&instance, &report) {
                self.bury(turn, &instance, cause, report);
                self.note_rest(turn, &instance.agent);
                turn.todo.push_back(Todo::CheckDependencies(instance.agent));
            }
            return;
        }
        let InstanceId { agent, generation } = instance;
        if self.agents.contains_key(&agent) {
            self.visit(turn, &agent, |agent, cx| {
                agent.report(cx, generation, report);
            });
        } else if !report.may_be_late() {
            let detail = format!("{} of an agent that nobody knows", report.name());
            turn.stale(agent, detail);
        }
    }

    fn recorded(&mut self, turn: &mut Turn, id: RecordId, result: &Result<(), String>) {
        let Some(agent) = self.source.take_waiting(id) else {
            return;
        };
        let mut cx = turn.context(&mut self.source);
        if !self.orphans.answered(&mut cx, id, result) {
            self.visit(turn, &agent, |agent, cx| agent.recorded(cx, id, result));
        }
    }

    /// One agent does something; then the indexes follow.
    fn visit(
        &mut self,
        turn: &mut Turn,
        name: &AgentName,
        act: impl FnOnce(&mut Agent, &mut Context<'_>),
    ) {
        if let Some(agent) = self.agents.get_mut(name) {
            act(agent, &mut turn.context(&mut self.source));
            self.settle(turn, name);
        }
    }

    /// Brings the indexes after an agent that was visited.
    fn settle(&mut self, turn: &mut Turn, name: &AgentName) {
        let Some(agent) = self.agents.get(name) else {
            return;
        };
        let seen = Seen {
            need: agent.need(),
            reached: agent.reached(),
            halted: agent.is_halted(),
        };
        let at_rest = agent.is_at_rest();
        self.deadlines.set(name, agent.deadline());
        if agent.follows_wall_clock() {
            self.calendars.insert(name.clone());
        } else {
            self.calendars.remove(name);
        }
        let needs = self.settle_at_gate(turn, name, seen.need);
        self.starts.note(name, needs);
        let before = self.seen.insert(name.clone(), seen);
        if seen.need == Need::Dependencies
            && before.is_none_or(|before| before.need != Need::Dependencies)
        {
            turn.todo.push_back(Todo::CheckDependencies(name.clone()));
        }
        if before.is_none_or(|before| before.reached != seen.reached) {
            let waiting = self.dependents.of(name).filter(|dependent| {
                let seen = self.seen.get(*dependent);
                seen.is_some_and(|seen| seen.need == Need::Dependencies)
            });
            let waiting = waiting.cloned().map(Todo::CheckDependencies);
            turn.todo.extend(waiting);
        }
        if !seen.halted && before.is_some_and(|before| before.halted) {
            turn.todo.push_back(Todo::LetGo(name.clone()));
        }
        if let Some(group) = self.rolls.group_under_way(name) {
            turn.todo.push_back(Todo::Roll(group));
        }
        if !at_rest {
            self.busy.insert(name.clone());
        } else if self.busy.remove(name) || before.is_none() {
            turn.todo.push_back(Todo::AtRest(name.clone()));
        }
    }

    /// Does all that follows from what was done, and admits who may start.
    fn drain(&mut self, turn: &mut Turn) {
        let mut admissions = self.agents.len();
        loop {
            match turn.todo.pop_front() {
                Some(Todo::CheckDependencies(name)) => {
                    let mut missing = missing(&self.agents, &name);
                    if self.orphans.has_any_of(&name) {
                        // A rest of its own that it cannot take over must be gone first.
                        missing.push(name.clone());
                    }
                    self.visit(turn, &name, |agent, cx| agent.dependencies(cx, missing));
                }
                Some(Todo::AtRest(name)) => {
                    self.came_to_rest(turn, &name);
                    self.retire_if_gone(turn, &name);
                }
                Some(Todo::LetGo(name)) => {
                    let takeover = self.rolls.takeover(&name);
                    self.visit(turn, &name, |agent, cx| agent.let_go(cx, takeover));
                    let group = self.rolls.begin_with(&name);
                    turn.todo.extend(group.map(Todo::Roll));
                }
                Some(Todo::Roll(group)) => self.roll(turn, group),
                None => {
                    if admissions == 0 {
                        return;
                    }
                    admissions -= 1;
                    let Some(name) = self.starts.next(self.spec.max_concurrent_starts) else {
                        return;
                    };
                    self.visit(turn, &name, Agent::admit);
                }
            }
        }
    }

    fn run_due(&mut self, turn: &mut Turn) {
        let now = turn.now.mono;
        if self.look_at_clocks <= now {
            self.look_at_clocks = now + LOOK_AT_CLOCKS;
        }
        self.orphans.tick(turn, &mut self.source);
        for _ in 0..MAX_ROUNDS {
            let at_gates = self.tend_gates(turn);
            let due = self.deadlines.due(now);
            if due.is_empty() && at_gates == AtGates::Nothing {
                return;
            }
            for name in due {
                self.visit(turn, &name, Agent::tick);
            }
            self.drain(turn);
        }
    }

    /// When we were away, nothing of that time is held against any agent. The pause may have
    /// begun right after the last step, so all since then is taken for it.
    fn notice_pause(&mut self, now: Mono) {
        let late = self
            .deadline()
            .map_or(Duration::ZERO, |(at, _)| now.since(at));
        if late <= LATE {
            return;
        }
        let away = now.since(self.last_step);
        let gap = Gap { late, away };
        for (name, agent) in &mut self.agents {
            agent.shift(gap, now);
            self.deadlines.set(name, agent.deadline());
        }
        self.orphans.shift(late);
        self.source.gates.shift(late);
    }

    /// When the wall clock was set, slots are planned anew.
    fn notice_jump(&mut self, turn: &mut Turn) {
        let skew = skew(turn.now);
        if (skew - self.skew).abs() < JUMP {
            return;
        }
        self.skew = skew;
        let calendars: Vec<AgentName> = self.calendars.iter().cloned().collect();
        for name in &calendars {
            self.visit(turn, name, Agent::clocks_changed);
        }
    }
}

/// How far the wall clock is ahead of the monotonic one.
fn skew(now: Now) -> SignedDuration {
    let wall = now.wall.duration_since(crate::clock::Wall::UNIX_EPOCH);
    let mono = SignedDuration::try_from(now.mono.since_origin()).unwrap_or(SignedDuration::MAX);
    wall.saturating_sub(mono)
}

/// The supervisor has ended; whoever still asks is told so.
fn refuse_late(turn: &mut Turn, event: &Event) {
    match event {
        Event::Command { ticket, .. } | Event::Configure { ticket, .. } => {
            turn.refuse(*ticket, Refusal::ShuttingDown);
        }
        Event::Tick | Event::Fact(_) | Event::Shutdown(_) => {}
    }
}

#[cfg(test)]
mod tests;
