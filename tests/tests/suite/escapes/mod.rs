//! What an agent may try to get out of where it is locked in, and what comes of it in each place.
//!
//! ```text
//!  escapes.py, network.py, calls.c   the attempts: a line for each, with what came of it
//!    ├── rows       what has to come of each, by place
//!    ├── place      where an agent is locked in, and how a supervisor comes to be there
//!    ├── bait       what there is on the host to be found
//!    └── table      where each of the 45 kinds of attempts is made
//! ```

mod bait;
mod place;
mod rows;
mod table;

pub(crate) use bait::{Bait, OPEN_NETWORK, build_calls};
pub(crate) use place::{CANARY, Place, User};
use rows::{ROWS, Row};

/// Checks each line that the script printed; `excused` are parts of the names of attempts that this place
/// is known to let through or cannot make, which is said.
pub(crate) fn judge(test: &str, place: Place, output: &str, excused: &[&str]) {
    let lines: Vec<&str> = output.lines().collect();
    let mut wrong = Vec::new();
    let mut expected = 0;
    for Row { what, .. } in &ROWS {
        let row = what;
        let outcomes = place.outcomes(what);
        let line = lines
            .iter()
            .find_map(|line| line.strip_prefix(row)?.strip_prefix(": "));
        if excused.iter().any(|excuse| what.contains(excuse)) {
            eprintln!(
                "SKIP {test} {what}: it is {} here",
                line.unwrap_or("not tried")
            );
            expected += usize::from(line.is_some());
            continue;
        }
        expected += 1;
        if !line.is_some_and(|outcome| outcomes.contains(&outcome)) {
            wrong.push(format!("{what}: {line:?}, expected one of {outcomes:?}"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(lines.len(), expected + 1, "{output}");
}
