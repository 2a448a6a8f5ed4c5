//! `replicas` and `sharding`: one agent of the file as several agents of the fleet.

use std::collections::BTreeMap;
use std::sync::Arc;

use claw_core::name::AgentName;
use claw_core::spec::{AgentSpec, Condition, Mode};
use claw_store::bus::{KeyRange, KeyRanges, Sharding};

use super::agent::Agent;
use super::depends::Dependency;
use super::diagnostic::Code;
use super::item::{Fields, Item};
use super::keys_events::SHARDING;
use super::reader::Reader;
use super::worker::{Scheduled, WorkerConfig};

/// Keys are spread over so many slots, and a replica without a slot would get nothing.
pub(super) const MAX_REPLICAS: u64 = 64;

/// The place of an agent among the replicas of one agent of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// The name in the file: whose state and events are its own.
    pub group: AgentName,
    /// Which one, from 0.
    pub index: u32,
    /// How many there are.
    pub count: u32,
}

impl Replica {
    /// The place of an agent that has no replicas.
    #[must_use]
    pub fn only(agent: &AgentName) -> Self {
        Self {
            group: agent.clone(),
            index: 0,
            count: 1,
        }
    }
}

/// Which agents are replicas of which; agents without replicas are not in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replicas {
    places: BTreeMap<AgentName, Replica>,
    groups: BTreeMap<AgentName, Vec<AgentName>>,
}

impl Replicas {
    /// The place of an agent, if it is a replica.
    #[must_use]
    pub fn place(&self, agent: &AgentName) -> Option<&Replica> {
        self.places.get(agent)
    }

    /// The replicas of an agent of the file, in order.
    #[must_use]
    pub fn members(&self, group: &AgentName) -> Option<&[AgentName]> {
        self.groups.get(group).map(Vec::as_slice)
    }

    /// The agents that are replicas of one another.
    pub(super) fn groups(&self) -> Vec<Vec<AgentName>> {
        self.groups.values().cloned().collect()
    }

    /// The name of an agent towards others: that of its group, or its own.
    #[must_use]
    pub fn identity(&self, agent: &AgentName) -> AgentName {
        let place = self.places.get(agent);
        place.map_or_else(|| agent.clone(), |place| place.group.clone())
    }
}

/// The fleet with every replica as an agent of its own.
#[derive(Default)]
pub(super) struct Expanded {
    pub(super) agents: BTreeMap<AgentName, Arc<AgentSpec>>,
    pub(super) workers: BTreeMap<AgentName, Arc<WorkerConfig>>,
    pub(super) replicas: Replicas,
}

/// The name of a replica, if it is one that an agent may have.
fn name_of(group: &AgentName, index: u32) -> Option<AgentName> {
    format!("{group}-{index}").parse().ok()
}

/// Makes agents of replicas.
pub(super) fn expand(
    agents: BTreeMap<AgentName, Agent<'_>>,
    graph: &BTreeMap<AgentName, Vec<Dependency<'_>>>,
) -> Expanded {
    let members = |name: &AgentName, count: u32| -> Vec<AgentName> {
        if count == 1 {
            return vec![name.clone()];
        }
        (0..count)
            .filter_map(|index| name_of(name, index))
            .collect()
    };
    let names: BTreeMap<AgentName, Vec<AgentName>> = agents
        .iter()
        .map(|(name, agent)| (name.clone(), members(name, agent.replicas)))
        .collect();
    let mut expanded = Expanded::default();
    for (name, mut agent) in agents {
        let on = |dependency: &Dependency<'_>| -> Vec<(AgentName, Condition)> {
            let on = names.get(&dependency.on).into_iter().flatten();
            on.map(|on| (on.clone(), dependency.condition)).collect()
        };
        let dependencies = graph.get(&name).into_iter().flatten();
        agent.spec.depends_on = dependencies.flat_map(on).collect();
        for (index, member) in (0..).zip(&names[&name]) {
            let (mut spec, mut worker) = (agent.spec.clone(), agent.worker.clone());
            // A run that is due is one run, whatever the number of replicas.
            if index > 0 {
                spec.schedule = None;
                worker.scheduled = Scheduled::ByFile;
            }
            if agent.replicas > 1 {
                let place = Replica {
                    group: name.clone(),
                    index,
                    count: agent.replicas,
                };
                expanded.replicas.places.insert(member.clone(), place);
                let members = expanded.replicas.groups.entry(name.clone());
                members.or_default().push(member.clone());
            }
            expanded.agents.insert(member.clone(), Arc::new(spec));
            expanded.workers.insert(member.clone(), Arc::new(worker));
        }
    }
    expanded
}

impl Reader<'_> {
    /// How many processes an agent is.
    pub(super) fn replicas(&mut self, fields: &Fields<'_>, mode: Mode) -> u32 {
        let Some(item) = fields.get("replicas") else {
            return 1;
        };
        let count = self.whole(&item, (1, MAX_REPLICAS));
        let count = count.and_then(|count| u32::try_from(count).ok());
        let count = count.unwrap_or(1);
        if count > 1 && mode == Mode::Oneshot {
            let message = "`mode: oneshot` is one process per run, which replicas cannot share";
            let help = "remove `replicas`, or give the agent a `source` or `mode: worker`";
            self.key_error(&item, Code::Conflict, message, help);
        }
        count
    }

    /// Replicas must not be named like other agents.
    pub(super) fn replicas_have_names(&mut self, agents: &BTreeMap<AgentName, Agent<'_>>) {
        for (name, agent) in agents.iter().filter(|(_, agent)| agent.replicas > 1) {
            let Some(item) = agent.fields.get("replicas") else {
                continue;
            };
            for index in 0..agent.replicas {
                let Some(member) = name_of(name, index) else {
                    let message = format!("`{name}-{index}` is too long for a replica's name");
                    self.key_error(&item, Code::InvalidValue, &message, "use a shorter name");
                    break;
                };
                if let Some(other) = agents.get(&member) {
                    let message = format!("`{member}` is a replica of `{name}` and an agent too");
                    let other = other.fields.item.clone();
                    let both = [other, item.clone()];
                    self.only_one(&both, &message, "rename one of them");
                }
            }
        }
    }

    /// How the events of an agent are divided among its replicas.
    pub(super) fn sharding(
        &mut self,
        fields: &Fields<'_>,
        replicas: u32,
    ) -> (Sharding, Option<String>) {
        let none = (Sharding::None, None);
        let Some(item) = fields.get("sharding") else {
            return none;
        };
        let Some(inside) = self.fields(&SHARDING, &item) else {
            return none;
        };
        if replicas == 1 {
            let message = "`sharding` divides events among replicas, and there is one";
            self.key_error(
                &item,
                Code::Conflict,
                message,
                "add `replicas`, or remove it",
            );
        }
        let words = [
            ("hash", Sharding::Hash(replicas)),
            ("range", Sharding::None),
            ("round-robin", Sharding::RoundRobin(replicas)),
        ];
        let Some(strategy) = inside.get("strategy") else {
            let message = "`sharding` has no `strategy`";
            let help = "add `strategy: hash`, `range` or `round-robin`";
            self.key_error(&item, Code::MissingKey, message, help);
            return none;
        };
        let names = words.each_ref().map(|(name, _)| (*name, *name));
        let Some(word) = self.choice(&strategy, &names) else {
            return none;
        };
        for item in inside.present(&["boundaries"]) {
            if word != "range" {
                let message = "`boundaries` are for `strategy: range`";
                self.key_error(&item, Code::Conflict, message, "remove them");
            }
        }
        let key = inside.get("key");
        if let (Some(item), "round-robin") = (&key, word) {
            let message = "`strategy: round-robin` goes by no key";
            self.key_error(
                item,
                Code::Conflict,
                message,
                "remove it, or write `strategy: hash`",
            );
        }
        let key = key.and_then(|item| self.text(&item));
        if word == "range" {
            return (self.ranges(&inside, &strategy, replicas), key);
        }
        let found = words.into_iter().find(|(name, _)| *name == word);
        (found.map_or(Sharding::None, |(_, sharding)| sharding), key)
    }

    fn ranges(&mut self, fields: &Fields<'_>, strategy: &Item<'_>, replicas: u32) -> Sharding {
        let Some(item) = fields.get("boundaries") else {
            let message = "`strategy: range` needs `boundaries`";
            let help = "add the first key of each replica but the first: `boundaries: [h, q]`";
            self.error(strategy, Code::MissingKey, message, help);
            return Sharding::None;
        };
        let items = self.one_or_more(&item);
        let keys: Vec<String> = items.iter().filter_map(|item| self.text(item)).collect();
        let wanted = usize::try_from(replicas).map_or(0, |count| count - 1);
        if keys.len() != wanted {
            let message = format!(
                "{replicas} replicas have {wanted} boundaries between them, and there are {}",
                keys.len()
            );
            let help = "name the first key of each replica but the first";
            self.error(&item, Code::Conflict, message, help);
            return Sharding::None;
        }
        let ends = keys.iter().cloned().map(Some).chain([None]);
        let begins = [None].into_iter().chain(keys.iter().cloned().map(Some));
        let ranges = begins.zip(ends).map(|(from, to)| KeyRange { from, to });
        match KeyRanges::try_new(ranges.collect()) {
            Ok(ranges) => Sharding::Range(ranges),
            Err(_reversed) => {
                let message = "`boundaries` are not in order";
                let help = "sort them by their bytes, each once";
                self.error(&item, Code::InvalidValue, message, help);
                Sharding::None
            }
        }
    }
}
