//! Who starts first after an outage that many agents died of, and when the others follow.
//!
//! ```text
//!   no gate ──ProviderDown──► Shut ──ProviderUp, or the first one's call is answered──► Opening
//!                              ▲                                                           │
//!                              └──────────────────────ProviderDown─────────────────────────┘
//! ```
//!
//! At a gate stand agents that died while their calls failed by the outage of its provider, once
//! their backoff is over and everything else that they need is there. While it is shut one of them
//! tries first; when the provider answers again the others follow one after another. Nobody stands
//! longer than [`HOLD_LEAST`] and [`HOLD_SPREAD`] together, whatever is heard of the provider.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::clock::{Mono, Now, Wall};
use crate::deadline::{Deadline, Why};
use crate::models::{GateStage, ProviderName};
use crate::name::AgentName;
use crate::random::Random;

/// Nobody passes a shut gate sooner than this but the first one: most outages are over by then.
const HOLD_LEAST: Duration = Duration::from_secs(300);

/// By up to this longer agents wait, so that those who came together do not pass together.
const HOLD_SPREAD: Duration = Duration::from_secs(300);

/// While a gate opens, the next one passes this much after the last at the earliest.
const STEP_LEAST: Duration = Duration::from_secs(2);

/// And by up to this later.
const STEP_SPREAD: Duration = Duration::from_secs(2);

/// So long a gate goes on opening for those whose backoff is not over yet.
const OPENING_LASTS: Duration = Duration::from_secs(600);

/// The gates of all providers that had an outage.
#[derive(Debug, Default)]
pub(crate) struct Gates {
    gates: BTreeMap<ProviderName, Gate>,
    /// Who stands at which gate.
    standing: BTreeMap<AgentName, ProviderName>,
}

#[derive(Debug)]
struct Gate {
    /// When the outage was first heard of.
    since: Wall,
    stage: Stage,
    /// The one that tries first, from the moment it passes to its answer or its end.
    first: Option<AgentName>,
    /// First come, first served.
    queue: VecDeque<Standing>,
    /// Whether those who stand here have yet to be told how it stands.
    news: News,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nobody tries before `not_before`.
    Shut { not_before: Mono },
    /// The next one passes at `next`; there is no gate any more after `until`.
    Opening { next: Mono, until: Mono },
}

#[derive(Debug)]
struct Standing {
    agent: AgentName,
    /// It passes then, whatever is heard.
    at_most: Mono,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    Untold,
    Told,
}

/// Whether an agent has to stand at a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passage {
    Free,
    /// It stands there from now on, or did already.
    Stands,
}

impl Gates {
    /// A provider is out, and is asked nothing before `until`.
    pub(crate) fn provider_down(&mut self, provider: ProviderName, until: Wall, now: Now) {
        let not_before = now.mono_at(until).min(now.mono + HOLD_LEAST);
        let shut = Stage::Shut { not_before };
        match self.gates.get_mut(&provider) {
            Some(gate) => gate.shut(shut, now.wall),
            None => {
                self.gates.insert(provider, Gate::new(shut, now.wall));
            }
        }
    }

    /// A provider answers again.
    pub(crate) fn provider_up(&mut self, provider: &ProviderName, now: Mono, random: &mut Random) {
        if let Some(gate) = self.gates.get_mut(provider) {
            gate.open(now, random);
        }
    }

    /// A call of an agent was answered; if it is the one that tries first, that is its answer.
    pub(crate) fn answered(
        &mut self,
        agent: &AgentName,
        provider: &ProviderName,
        now: Mono,
        random: &mut Random,
    ) {
        if let Some(gate) = self.gates.get_mut(provider)
            && gate.first.as_ref() == Some(agent)
        {
            gate.open(now, random);
        }
    }

    /// Whether the outage of a provider goes on, or is just over.
    pub(crate) fn is_out(&self, provider: &ProviderName, now: Mono) -> bool {
        let gate = self.gates.get(provider);
        gate.is_some_and(|gate| gate.is_there(now))
    }

    /// An agent would start, and its last life was ended by an outage of this provider.
    pub(crate) fn arrive(
        &mut self,
        agent: &AgentName,
        provider: &ProviderName,
        now: Mono,
        random: &mut Random,
    ) -> Passage {
        if self.standing.get(agent) == Some(provider) {
            return Passage::Stands;
        }
        self.leave(agent);
        let Some(gate) = self.gates.get_mut(provider) else {
            return Passage::Free;
        };
        if !gate.is_there(now) {
            return Passage::Free;
        }
        gate.news = News::Untold;
        gate.queue.push_back(Standing {
            agent: agent.clone(),
            at_most: now + HOLD_LEAST + random.share_of(HOLD_SPREAD),
        });
        self.standing.insert(agent.clone(), provider.clone());
        Passage::Stands
    }

    /// An agent would not start any more, or starts whatever is heard of a provider.
    pub(crate) fn leave(&mut self, agent: &AgentName) {
        let provider = self.standing.remove(agent);
        if let Some(gate) = provider.and_then(|provider| self.gates.get_mut(&provider)) {
            gate.queue.retain(|standing| standing.agent != *agent);
        }
    }

    /// Nothing of an agent runs or starts: whoever tried first does not any more.
    pub(crate) fn ended(&mut self, agent: &AgentName) {
        for gate in self.gates.values_mut() {
            if gate.first.as_ref() == Some(agent) {
                gate.first = None;
                gate.news = News::Untold;
            }
        }
    }

    /// Whether no provider had an outage, ever.
    pub(crate) fn is_idle(&self) -> bool {
        self.gates.is_empty()
    }

    /// Lets one agent pass whose turn it is.
    pub(crate) fn pass(&mut self, now: Mono, random: &mut Random) -> Option<AgentName> {
        let mut gates = self.gates.values_mut();
        let agent = gates.find_map(|gate| gate.pass(now, random))?;
        self.standing.remove(&agent);
        Some(agent)
    }

    /// How the gates stand for those who have not been told yet.
    pub(crate) fn take_news(&mut self) -> Vec<(AgentName, Wall, GateStage)> {
        let mut told = Vec::new();
        for gate in self.gates.values_mut() {
            if gate.news == News::Told {
                continue;
            }
            gate.news = News::Told;
            let (since, stage) = (gate.since, gate.shown());
            let standing = gate.queue.iter();
            told.extend(standing.map(|one| (one.agent.clone(), since, stage.clone())));
        }
        told
    }

    /// When somebody passes by himself.
    pub(crate) fn deadline(&self) -> Option<Deadline> {
        let due = self.gates.values().filter_map(Gate::due).min();
        due.map(|at| (at, Why::Gate))
    }

    /// Nothing of a time in which the supervisor was away counts.
    pub(crate) fn shift(&mut self, gap: Duration) {
        for gate in self.gates.values_mut() {
            for standing in &mut gate.queue {
                standing.at_most = standing.at_most + gap;
            }
            match &mut gate.stage {
                Stage::Shut { not_before } => *not_before = *not_before + gap,
                Stage::Opening { next, until } => {
                    *next = *next + gap;
                    *until = *until + gap;
                }
            }
        }
    }
}

impl Gate {
    const fn new(stage: Stage, since: Wall) -> Self {
        Self {
            since,
            stage,
            first: None,
            queue: VecDeque::new(),
            news: News::Told,
        }
    }

    fn shut(&mut self, shut: Stage, now: Wall) {
        match self.stage {
            Stage::Shut { .. } => {}
            Stage::Opening { .. } => {
                self.since = now;
                self.news = News::Untold;
            }
        }
        self.stage = shut;
    }

    fn open(&mut self, now: Mono, random: &mut Random) {
        if let Stage::Shut { .. } = self.stage {
            self.stage = Stage::Opening {
                next: step(now, random),
                until: now + OPENING_LASTS,
            };
            self.first = None;
            self.news = News::Untold;
        }
    }

    fn is_there(&self, now: Mono) -> bool {
        match self.stage {
            Stage::Shut { .. } => true,
            Stage::Opening { until, .. } => now < until || !self.queue.is_empty(),
        }
    }

    /// When the first of the queue passes, if nothing else happens.
    fn turn(&self) -> Option<Mono> {
        match self.stage {
            Stage::Shut { not_before } => self.first.is_none().then_some(not_before),
            Stage::Opening { next, .. } => Some(next),
        }
    }

    fn due(&self) -> Option<Mono> {
        let patience = self.queue.iter().map(|standing| standing.at_most).min()?;
        Some(self.turn().map_or(patience, |turn| turn.min(patience)))
    }

    fn pass(&mut self, now: Mono, random: &mut Random) -> Option<AgentName> {
        let overdue = |standing: &Standing| standing.at_most <= now;
        if let Some(index) = self.queue.iter().position(overdue) {
            return self.queue.remove(index).map(|standing| standing.agent);
        }
        if self.turn().is_none_or(|turn| turn > now) {
            return None;
        }
        let agent = self.queue.pop_front()?.agent;
        match &mut self.stage {
            Stage::Shut { .. } => {
                self.first = Some(agent.clone());
                self.news = News::Untold;
            }
            Stage::Opening { next, .. } => *next = step(now, random),
        }
        Some(agent)
    }

    fn shown(&self) -> GateStage {
        match (self.stage, &self.first) {
            (Stage::Shut { .. }, None) => GateStage::Shut,
            (Stage::Shut { .. }, Some(first)) => GateStage::Tried { by: first.clone() },
            (Stage::Opening { .. }, _) => GateStage::Opening,
        }
    }
}

fn step(now: Mono, random: &mut Random) -> Mono {
    now + STEP_LEAST + random.share_of(STEP_SPREAD)
}

#[cfg(test)]
mod tests;
