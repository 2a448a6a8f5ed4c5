//! `docs/conformance.md` beside the tests it names: nothing promised without a test, no test that
//! is not there.

use std::collections::BTreeSet;
use std::fs;

use crate::tidy::{files, root};

/// Statements of the bus, and of state.
const BUS: u32 = 67;
const STATE: u32 = 16;

/// What agents use.
const ROWS: usize = 28;

/// The rows of a section's table, in cells.
fn table(section: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(root().join("docs/conformance.md")).unwrap();
    let mut sections = text.split("\n## ");
    let found = sections.find(|part| part.starts_with(section));
    let rows = found.expect("the section").lines().filter_map(|line| {
        let inner = line.strip_prefix("| ")?.strip_suffix(" |")?;
        Some(inner.split(" | ").map(str::to_owned).collect())
    });
    rows.skip(1).collect()
}

/// The names in backticks.
fn named(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// Every function of the tree's Rust and Python, and its conformance tests with their statements.
fn functions() -> (BTreeSet<String>, Vec<(String, String)>) {
    let mut all = BTreeSet::new();
    let mut statements = Vec::new();
    for path in files("rs").into_iter().chain(files("py")) {
        let text = fs::read_to_string(&path).unwrap();
        let of_the_suite = path
            .parent()
            .is_some_and(|folder| folder.ends_with("claw-store/tests/conformance"));
        let words = text.split("fn ").chain(text.split("def ")).skip(1);
        let plain = |name: &&str| name.chars().all(|c| c.is_alphanumeric() || c == '_');
        let names = words.filter_map(|part| part.split(['(', '<']).next());
        for name in names.filter(plain) {
            all.insert(name.to_owned());
            if of_the_suite && let Some(statement) = statement(name) {
                statements.push((statement, name.to_owned()));
            }
        }
    }
    (all, statements)
}

/// `statement_07_…` is of 7, `s07_…` of S7.
fn statement(name: &str) -> Option<String> {
    let (kind, rest) = match name.strip_prefix("statement_") {
        Some(rest) => ("", rest),
        None => ("S", name.strip_prefix('s')?),
    };
    let number: u32 = rest.get(..2)?.parse().ok()?;
    rest.get(2..)?
        .starts_with('_')
        .then(|| format!("{kind}{number}"))
}

#[test]
fn every_statement_has_a_test_or_the_reason_why_it_waits() {
    let rows = table("State and events");
    let found: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    let bus = (1..=BUS).map(|n| n.to_string());
    let expected: Vec<String> = bus.chain((1..=STATE).map(|n| format!("S{n}"))).collect();
    assert_eq!(found, expected);
    let (all, statements) = functions();
    for row in &rows {
        let held = &row[2];
        for name in named(held) {
            assert!(all.contains(name), "{}: there is no test {name}", row[0]);
        }
        let waits = held
            .split("waits: ")
            .nth(1)
            .is_some_and(|reason| !reason.is_empty());
        assert!(waits || !named(held).is_empty(), "{} has no test", row[0]);
    }
    let waiting =
        fs::read_to_string(root().join("supervisor/claw-store/tests/conformance/waiting.rs"))
            .unwrap();
    for (statement, name) in statements {
        let row = rows.iter().find(|row| row[0] == statement);
        let row = row.unwrap_or_else(|| panic!("{name} is of no statement"));
        assert!(
            waiting.contains(&format!("{name}:")) || named(&row[2]).contains(&name.as_str()),
            "{name} is not listed with its statement"
        );
    }
}

#[test]
fn all_that_agents_use_has_a_test_in_process_and_one_in_a_fleet_under_kills() {
    let rows = table("What agents in Python use");
    assert_eq!(rows.len(), ROWS);
    let (all, _) = functions();
    let mut listed = BTreeSet::new();
    for row in &rows {
        for cell in &row[2..4] {
            assert!(!named(cell).is_empty(), "{} has no test: {row:?}", row[0]);
            for name in named(cell) {
                assert!(all.contains(name), "{}: there is no test {name}", row[0]);
                listed.insert(name.to_owned());
            }
        }
    }
    let own = |name: &&String| name.starts_with("row_");
    let unlisted: Vec<_> = all
        .iter()
        .filter(own)
        .filter(|name| !listed.contains(*name))
        .collect();
    assert!(unlisted.is_empty(), "{unlisted:?} are of no row");
}
