//! `depends_on:` — what must be there first, and that nobody waits for himself.

use std::collections::{BTreeMap, BTreeSet};

use claw_core::name::AgentName;
use claw_core::spec::{Condition, Mode};

use super::diagnostic::Code;
use super::item::{Fields, Item};
use super::keys_life::DEPENDENCY;
use super::reader::Reader;
use super::section::nearest;
use super::tree::Value;
use super::value::Rejected;

/// Agents that are compared with a name that is none, as a fleet may have thousands.
const MAX_COMPARED: usize = 300;

/// What is known of the agents before their dependencies are read.
pub(super) type Modes = BTreeMap<AgentName, Mode>;

/// A dependency, and where it was written.
pub(super) struct Dependency<'n> {
    pub(super) on: AgentName,
    pub(super) condition: Condition,
    pub(super) item: Item<'n>,
}

impl Reader<'_> {
    /// Reads what an agent depends on.
    pub(super) fn depends_on<'n>(
        &mut self,
        fields: &Fields<'n>,
        modes: &Modes,
    ) -> Vec<Dependency<'n>> {
        let Some(item) = fields.get("depends_on") else {
            return Vec::new();
        };
        let mut found: Vec<Dependency<'n>> = Vec::new();
        for (name, item, condition) in self.dependencies(&item) {
            let Some(on) = self.known_agent(&name, &item, modes) else {
                continue;
            };
            if found.iter().any(|other| other.on == on) {
                let message = format!("`{on}` is listed twice");
                self.error(&item, Code::Conflict, message, "keep one of them");
                continue;
            }
            let stays = match modes[&on] {
                Mode::Daemon => Some("daemon"),
                Mode::Worker => Some("worker"),
                Mode::Oneshot => None,
            };
            if let (Condition::Completed, Some(kind)) = (condition, stays) {
                let message = format!("`{on}` is a {kind} and never completes");
                self.error(
                    &item,
                    Code::Conflict,
                    message,
                    "write `condition: ready`, or give it `mode: oneshot`",
                );
                continue;
            }
            found.push(Dependency {
                on,
                condition,
                item,
            });
        }
        found
    }

    fn dependencies<'n>(&mut self, item: &Item<'n>) -> Vec<(String, Item<'n>, Condition)> {
        match &item.node.value {
            Value::Map(_) | Value::Null => {
                let entries = item.named().unwrap_or_default();
                let with_condition = |(name, item): (&'n str, Item<'n>)| {
                    let condition = self.condition(&item);
                    (name.to_owned(), item, condition)
                };
                entries.into_iter().map(with_condition).collect()
            }
            Value::Text(_) | Value::List(_) => {
                let items = self.one_or_more(item);
                let started = |item: Item<'n>| {
                    let name = self.text(&item)?;
                    Some((name, item, Condition::Started))
                };
                items.into_iter().filter_map(started).collect()
            }
        }
    }

    fn condition(&mut self, item: &Item<'_>) -> Condition {
        if let Value::Text(_) = item.node.value {
            let message = format!("`{}` must be a map, found {}", item.name(), item.shown());
            self.error(
                item,
                Code::WrongType,
                message,
                format!("did you mean `{}: {{condition: ready}}`?", item.name()),
            );
            return Condition::Started;
        }
        let Some(condition) = self
            .fields(&DEPENDENCY, item)
            .and_then(|fields| fields.get("condition"))
        else {
            return Condition::Started;
        };
        let parsed = self.parsed(
            &condition,
            "`started`, `ready` or `completed`",
            |text| match text {
                "started" => Ok(Condition::Started),
                "ready" => Ok(Condition::Ready),
                "completed" => Ok(Condition::Completed),
                _ => {
                    let meant = match text {
                        "service_healthy" | "healthy" | "running" => "ready",
                        "service_completed_successfully" | "succeeded" | "success" | "done" => {
                            "completed"
                        }
                        _ => "started",
                    };
                    Err(Rejected::plainly().help(format!("did you mean `{meant}`?")))
                }
            },
        );
        parsed.unwrap_or(Condition::Started)
    }

    fn known_agent(&mut self, name: &str, item: &Item<'_>, modes: &Modes) -> Option<AgentName> {
        if let Some((known, _)) = modes.get_key_value(name) {
            return Some(known.clone());
        }
        let message = if self.problems.is_full() {
            "there is no such agent".to_owned()
        } else if item.is_from_environment() {
            format!("the value of {} names no agent", item.shown())
        } else {
            format!("there is no agent `{}`", super::syntax::short(name))
        };
        let candidates = modes
            .keys()
            .map(AgentName::as_str)
            .take(MAX_COMPARED)
            .filter(|_| !self.problems.is_full());
        let help = match nearest(name, candidates) {
            Some(near) if !item.is_from_environment() => format!("did you mean `{near}`?"),
            Some(_) | None => "name an agent of this fleet, or remove it".to_owned(),
        };
        let span = item.key.unwrap_or(item.span());
        self.problems.push(
            super::diagnostic::Diagnostic::error(Code::UnknownAgent, message)
                .at(span)
                .path(item.path.clone())
                .help(help),
        );
        None
    }

    /// Reports every ring of agents that wait for each other, once.
    pub(super) fn cycles(&mut self, graph: &BTreeMap<AgentName, Vec<Dependency<'_>>>) {
        let mut finished = BTreeSet::new();
        for start in graph.keys() {
            let mut walk = Walk {
                graph,
                trail: Vec::new(),
                finished: &mut finished,
            };
            if let Some((ring, item)) = walk.from(start) {
                let names: Vec<&str> = ring.iter().map(AgentName::as_str).collect();
                let message = format!("these agents wait for each other: {}", names.join(" -> "));
                let help = "remove one of these dependencies";
                let item = Item {
                    node: item.node,
                    key: item.key,
                    path: item.path.clone(),
                    origin: item.origin,
                };
                self.error(&item, Code::DependencyCycle, message, help);
            }
        }
    }
}

/// A depth-first walk with a trail of its own: a fleet may be thousands of agents deep.
struct Walk<'g, 'n> {
    graph: &'g BTreeMap<AgentName, Vec<Dependency<'n>>>,
    /// The agents under way, each with the next of its dependencies to look at.
    trail: Vec<(&'g AgentName, usize)>,
    finished: &'g mut BTreeSet<AgentName>,
}

impl<'g, 'n> Walk<'g, 'n> {
    /// The first ring that is reached from an agent, with the dependency that closes it.
    fn from(&mut self, start: &'g AgentName) -> Option<(Vec<AgentName>, &'g Item<'n>)> {
        let mut ring = None;
        self.trail.push((start, 0));
        while let Some((agent, next)) = self.trail.last_mut() {
            let dependency = self.graph.get(*agent).and_then(|list| list.get(*next));
            let Some(dependency) = dependency.filter(|_| !self.finished.contains(*agent)) else {
                self.finished.insert((*agent).clone());
                self.trail.pop();
                continue;
            };
            *next += 1;
            let on = &dependency.on;
            match self.trail.iter().position(|(agent, _)| *agent == on) {
                Some(from) if ring.is_none() => {
                    ring = Some((self.ring(from, on), &dependency.item))
                }
                Some(_) => {}
                None if self.finished.contains(on) => {}
                None => self.trail.push((on, 0)),
            }
        }
        ring
    }

    fn ring(&self, from: usize, on: &AgentName) -> Vec<AgentName> {
        let under_way = self.trail[from..].iter().map(|(agent, _)| (*agent).clone());
        under_way.chain([on.clone()]).collect()
    }
}
