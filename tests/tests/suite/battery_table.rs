//! `tests/battery.toml` beside the tests it names and the table in the README: no fault without an
//! answer, no test that is not there, no promise in other words.

use std::fs;
use std::path::PathBuf;

use crate::tidy::{files, root};

/// The faults of the matrix.
const ROWS: usize = 40;

/// A row of the file.
struct Row {
    number: usize,
    fault: String,
    promise: String,
    tests: Vec<String>,
    /// Checks in a virtual machine.
    vm: Vec<String>,
    /// Why there is no test, or not enough of them.
    reason: Option<String>,
}

/// The texts in quotes, of which none holds another quote.
fn quoted(text: &str) -> Vec<String> {
    text.split('"')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// The value of a key of a row: all up to the next line that begins with another key.
fn value<'a>(row: &'a str, key: &str) -> Option<&'a str> {
    let begin = format!("\n{key} = ");
    let (_, rest) = row.split_once(&begin)?;
    let end = rest
        .match_indices('\n')
        .find(|(place, _)| rest[place + 1..].starts_with(|next: char| next.is_ascii_lowercase()));
    Some(end.map_or(rest, |(place, _)| &rest[..place]))
}

fn rows() -> Vec<Row> {
    let text = fs::read_to_string(root().join("tests/battery.toml")).unwrap();
    let rows = text.split("\n[[row]]").skip(1);
    rows.map(|row| {
        let text = |key| value(row, key).map(|found| quoted(found)[0].clone());
        Row {
            number: value(row, "number").unwrap().trim().parse().unwrap(),
            fault: text("fault").unwrap(),
            promise: text("promise").unwrap(),
            tests: quoted(value(row, "tests").unwrap()),
            vm: value(row, "vm").map(quoted).unwrap_or_default(),
            reason: text("open").or_else(|| text("absent")),
        }
    })
    .collect()
}

/// The folder of a package by its name.
fn package(name: &str) -> PathBuf {
    match name {
        "claw-tests" => root().join("tests/tests"),
        other => root().join("supervisor").join(other),
    }
}

/// Whether a package has a test of this name, in a file that its modules lead to.
fn is_there(named: &str) -> bool {
    let (binary, test) = named.split_once(' ').unwrap();
    let folder = package(binary.split("::").next().unwrap());
    let mut modules: Vec<&str> = test.split("::").collect();
    let function = format!("fn {}()", modules.pop().unwrap());
    // A module that only holds the tests of a file has no file of its own.
    let within = modules.iter().copied().filter(|module| *module != "tests");
    let within: Vec<&str> = within.collect();
    files("rs").iter().any(|path| {
        let Ok(inside) = path.strip_prefix(&folder) else {
            return false;
        };
        let inside = inside.with_extension("");
        let parts: Vec<_> = inside.iter().filter_map(|part| part.to_str()).collect();
        within.iter().all(|module| parts.contains(module))
            && fs::read_to_string(path).unwrap().contains(&function)
    })
}

/// Whether `scripts/test-vm` makes a check of this name.
fn is_made_in_vm(check: &str) -> bool {
    let script = |name| fs::read_to_string(root().join("scripts").join(name)).unwrap();
    let (part, name) = check.split_once(": ").unwrap();
    match part {
        "units" => script("vm-units").contains(&format!("    ok \"{name}\"\n")),
        "driver" => {
            let (module, _) = name.split_once("::").unwrap();
            // It names the modules that it leaves out.
            is_there(&format!("claw-drivers::process {name}"))
                && !script("test-vm").contains(&format!("{module}::"))
        }
        "escapes" => is_there(&format!("claw-tests::suite {name}")),
        _ => false,
    }
}

#[test]
fn every_fault_has_its_tests_or_the_reason_why_not() {
    let rows = rows();
    let numbers: Vec<usize> = rows.iter().map(|row| row.number).collect();
    assert_eq!(numbers, (1..=ROWS).collect::<Vec<_>>());
    for row in &rows {
        assert!(
            !row.tests.is_empty()
                || !row.vm.is_empty()
                || row.reason.as_ref().is_some_and(|why| !why.is_empty()),
            "row {} has neither a test nor a reason",
            row.number
        );
        for test in &row.tests {
            assert!(
                is_there(test),
                "row {}: there is no test {test}",
                row.number
            );
        }
        for check in &row.vm {
            assert!(
                is_made_in_vm(check),
                "row {}: `scripts/test-vm` makes no check {check}",
                row.number
            );
        }
    }
}

#[test]
fn the_table_of_the_readme_says_what_the_battery_says() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let (_, rest) = readme.split_once("<!-- battery -->").unwrap();
    let (table, _) = rest.split_once("<!-- end of battery -->").unwrap();
    for row in rows() {
        let begin = format!("| {} | {} | {} | ", row.number, row.fault, row.promise);
        let line = table.lines().find_map(|line| line.strip_prefix(&begin));
        let result = line.unwrap_or_else(|| panic!("`scripts/battery` has not written {begin}"));
        let proven = !(row.tests.is_empty() && row.vm.is_empty()) && row.reason.is_none();
        assert!(
            proven || !result.starts_with("holds |"),
            "row {} is proven in part at most",
            row.number
        );
    }
}
