//! A point kills where it is armed, once, and only in builds that are to have it.

#![expect(clippy::unwrap_used, reason = "a failure is a panic")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus};

use claw_failpoint::{Point, Side, Step, VARIABLE};

const POINT: Point = Point {
    side: Side::Before,
    step: Step::Intent,
};

/// Whether this build has points.
const THERE_ARE: bool = cfg!(all(feature = "failpoints", debug_assertions));

/// Not a test of its own: what the others run in another process.
#[test]
fn a_process_comes_to_a_point() {
    claw_failpoint::before(Step::Intent);
    claw_failpoint::after(Step::Intent);
}

fn come_there(armed_in: &Path) -> ExitStatus {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "a_process_comes_to_a_point"]);
    command.env(VARIABLE, armed_in);
    command.output().unwrap().status
}

#[test]
fn an_armed_point_kills_one_process_in_a_build_for_tests_and_none_in_any_other() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(POINT.file(2)), "").unwrap();
    assert!(come_there(folder.path()).success(), "the first of two");
    let second = come_there(folder.path());
    assert_eq!(second.signal(), THERE_ARE.then_some(9), "{second}");
    assert_eq!(folder.path().join(POINT.file(0)).exists(), THERE_ARE);
    assert!(come_there(folder.path()).success(), "it is armed no more");
}

#[test]
fn points_have_names_of_their_own() {
    let names: BTreeSet<String> = Point::all().map(|point| point.to_string()).collect();
    assert_eq!(names.len(), 2 * Step::ALL.len());
    assert!(names.contains("before-intent"), "{names:?}");
}
