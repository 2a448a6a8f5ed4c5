//! The kill switch: what was done, and what waits for its end.

use claw_daemon::api::{HaltLevel, Halted};

use super::style::{of_state, paint};
use super::table;
use super::time::{dash, local};

/// What became of one agent.
#[must_use]
pub(crate) fn sentence(halted: &Halted) -> String {
    let state = paint(halted.state.as_str(), of_state(halted.state));
    let agent = &halted.agent;
    halted.halt.as_ref().map_or_else(
        || format!("{agent}: {state}, not halted any more"),
        |halt| {
            let does = match halt.level {
                HaltLevel::Runs => "begins nothing new; what runs goes on to its end",
                HaltLevel::Egress => "goes on, and nothing of it gets out through the supervisor",
                HaltLevel::Freeze => "stands still",
                HaltLevel::Kill => "is killed and stays down",
            };
            format!("{agent}: halted ({}), it {does}", halt.level)
        },
    )
}

/// That an agent gets out all the same.
#[must_use]
pub(crate) fn uncut(halted: &Halted) -> Option<String> {
    let (agent, why) = (&halted.agent, halted.uncut.as_ref()?);
    Some(format!(
        "egress of {agent} is not ours to cut: {why}; calls of models through the supervisor are \
         refused, what else it does goes on, and `clawctl halt {agent} --level freeze` stops it"
    ))
}

/// The table that is looked at before halts are lifted.
#[must_use]
pub(crate) fn review(halted: &[Halted]) -> String {
    let mut rows = table::with_head(&[
        "Agent", "Halted", "Since", "By", "Slots", "Runs", "Events", "Reason",
    ]);
    table::align_right(&mut rows, &[4, 5, 6]);
    for halted in halted {
        let halt = halted.halt.as_ref();
        let held = &halted.held;
        rows.add_row([
            halted.agent.clone(),
            halt.map_or_else(dash, |halt| halt.level.to_string()),
            halt.map_or_else(dash, |halt| local(halt.since)),
            halt.map_or_else(dash, |halt| halt.by.clone()),
            held.slots.to_string(),
            held.runs.to_string(),
            held.events.map_or_else(dash, |events| events.to_string()),
            halt.and_then(|halt| halt.reason.clone())
                .unwrap_or_else(dash),
        ]);
    }
    table::text(&rows)
}
