//! What has to be true of all that agents, supervisor and provider have written down.

use std::collections::BTreeSet;

use claw_daemon::api::{LogLine, LogStream};

use crate::fleet::{Fleet, until};
use crate::models::pico;

use super::crowd::{Crowd, DELAY};

/// Checks it; what was looked at.
pub(super) fn audit(fleet: &Fleet, crowd: &Crowd) -> Vec<&'static str> {
    let mut held = Vec::new();
    for name in crowd.touched().into_iter().chain(Crowd::hasty()) {
        one_outcome_each(fleet, &name);
        held.push("I2 one outcome of each life");
    }
    for name in Crowd::hasty() {
        delays_were_kept(fleet, &name);
        held.push("I4 no delay was shorter than configured");
    }
    nothing_told_is_unheard(fleet);
    held.push("I6 no acknowledged event is lost");
    all_money_is_on_record(fleet, crowd);
    held.push("I7 what was spent is on record");
    for name in Crowd::steady() {
        no_unmarked_gap(fleet, &name);
        held.push("I8 no unmarked gap in a log");
    }
    held
}

/// The lives that are still on record follow each other, and each has ended once.
fn one_outcome_each(fleet: &Fleet, name: &str) {
    let ends = fleet.ends(name);
    let Some((first, _)) = ends.first() else {
        return;
    };
    let ended = ends.iter().map(|(generation, _)| *generation);
    let expected = *first..*first + u64::try_from(ends.len()).unwrap();
    assert!(ended.eq(expected), "one end each of {name}: {ends:?}");
}

/// From one start to the next it lives for 200 ms, unless it is killed, and then waits.
fn delays_were_kept(fleet: &Fleet, name: &str) {
    let starts = fleet.lines(&format!("{name}.starts"));
    let times: Vec<u64> = starts.iter().map(|line| line.parse().unwrap()).collect();
    for pair in times.windows(2) {
        let gap = pair[1] - pair[0];
        assert!(gap >= DELAY, "{name} came back after {gap} ms: {pair:?}");
    }
}

fn nothing_told_is_unheard(fleet: &Fleet) {
    let numbers = |name: &str| -> BTreeSet<u64> {
        let lines = fleet.lines(name);
        lines.iter().filter_map(|line| line.parse().ok()).collect()
    };
    // The teller goes on; what it had told by now is heard in the end.
    let told = numbers("told");
    assert!(!told.is_empty(), "nothing was told");
    until("all that was told is heard", || {
        told.is_subset(&numbers("heard")).then_some(())
    });
}

/// What is spent or uncertain is at least what the provider has billed before.
fn all_money_is_on_record(fleet: &Fleet, crowd: &Crowd) {
    let billed = crowd.bill();
    until("what was billed is on record", || {
        let budgets: serde_json::Value = fleet.api().get("/api/llm/budget?agent=asking");
        let windows = budgets["windows"].as_array().unwrap();
        let day = windows
            .iter()
            .find(|window| window["scope"] == "agent" && window["window"] == "day")?;
        let amount = |name: &str| pico(day[name].as_str().unwrap());
        (amount("spent_usd") + amount("uncertain_usd") >= billed).then_some(())
    });
}

/// Each number follows the one before it, unless the log says that something is missing. The last
/// line of a life, and one before such a word, may be cut.
fn no_unmarked_gap(fleet: &Fleet, name: &str) {
    let mut last: Option<(String, u64)> = None;
    let lines: Vec<_> = fleet.log(name);
    for (line, next) in lines.iter().zip(lines.iter().skip(1)) {
        let (Some((pid, number)), Some((pid_of_next, _))) = (numbered(line), numbered(next)) else {
            last = None;
            continue;
        };
        if pid != pid_of_next {
            continue;
        }
        if let Some((before, previous)) = &last
            && before == pid
        {
            assert_eq!(number, previous + 1, "{name}: a gap of process {pid}");
        }
        last = Some((pid.to_owned(), number));
    }
    assert!(lines.len() > 1, "{name} wrote nothing");
}

/// Whose number a line is, if it is an agent's and not a word of the supervisor's.
fn numbered(line: &LogLine) -> Option<(&str, u64)> {
    if line.stream == LogStream::Supervisor {
        return None;
    }
    let (pid, number) = line.text.split_once(' ')?;
    Some((pid, number.parse().ok()?))
}
