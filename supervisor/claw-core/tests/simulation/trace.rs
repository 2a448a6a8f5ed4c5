//! A world as text, for whoever looks for the cause of a failure.

use claw_core::{Action, Event, Inheritance};

use crate::world::World;

impl World {
    fn is_traced(&self) -> bool {
        self.trace_from.is_some_and(|from| self.steps >= from)
    }

    pub(crate) fn trace(&self, event: &Event, actions: &[Action]) {
        if self.is_traced() {
            println!("{:>7} {:>12?} {}", self.steps, self.time, brief(event));
            self.trace_actions(actions);
        }
    }

    pub(crate) fn trace_actions(&self, actions: &[Action]) {
        if self.is_traced() {
            for action in actions {
                println!("                     -> {}", brief(action));
            }
        }
    }

    /// What a new supervisor finds, as text; empty when nobody looks.
    pub(crate) fn describe(&self, inheritance: &Inheritance) -> String {
        if !self.is_traced() {
            return String::new();
        }
        format!("{:?} {:?}", inheritance.instances, inheritance.runs)
    }

    pub(crate) fn trace_takeover(&self, heir: &str) {
        if self.is_traced() {
            println!("-- {:?} a supervisor takes over from {heir}", self.time);
        }
    }
}

/// The debug text without the specs in it, which are long and say nothing here.
fn brief(thing: &impl std::fmt::Debug) -> String {
    let mut text = format!("{thing:?}");
    while let Some(start) = text.find("spec: AgentSpec {") {
        let end = text[start..]
            .find("on_full: Drop } }")
            .map_or(text.len(), |end| start + end + 17);
        let overlap = text[start..end]
            .find("overlap: ")
            .map(|at| &text[start + at..][..16]);
        let kept = format!("spec: <{}>", overlap.unwrap_or("daemon or plain"));
        text.replace_range(start..end, &kept);
    }
    for (long, short) in [
        ("InstanceId { agent: ", ""),
        (", generation: Generation(", "#"),
        (") }", " "),
    ] {
        text = text.replace(long, short);
    }
    text.chars().take(500).collect()
}
