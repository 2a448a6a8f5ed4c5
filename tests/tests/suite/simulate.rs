//! `clawctl simulate`: a fleet in virtual time, without a supervisor.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::fleet::{Ran, clawctl, root};

const FLEET: &str = r#"
project: weeks
version: "1.0"
agents:
  tick: {command: ["true"], mode: oneshot, schedule: every 5m}
  nightly:
    command: ["true"]
    mode: oneshot
    schedule: {cron: "30 2 * * *", timezone: Europe/Berlin}
  web: {command: [sleep, "1"]}
"#;

/// Simulates a fleet; nothing of it is started.
fn simulate(fleet: &str, arguments: &[&str]) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("openclaw.yaml"), fleet).unwrap();
    let ran = clawctl(folder.path(), &[&["simulate"], arguments].concat());
    assert!(!folder.path().join(".openclaw").exists(), "nothing is kept");
    ran
}

fn agent<'a>(report: &'a Value, name: &str) -> &'a Value {
    let agents = report["agents"].as_array().unwrap();
    agents.iter().find(|agent| agent["name"] == name).unwrap()
}

#[test]
fn a_week_in_spring_is_told_with_its_change_of_the_clock() {
    let from = ["--from", "2026-03-27", "--for", "7d"];
    let report: Value = simulate(FLEET, &[&from[..], &["-o", "json"]].concat()).json();
    assert_eq!(agent(&report, "tick")["runs"]["started"], 2016);
    let change = &agent(&report, "nightly")["clock_changes"][0];
    assert_eq!(change["zone"], "Europe/Berlin");
    assert_eq!(change["effect"], "moved");
    assert_eq!(change["due"][0][0], "03:00:00+02:00");
    assert_eq!(agent(&report, "web")["starts"], 1);
    assert_eq!(report["warnings"], Value::Array(Vec::new()));
    let table = simulate(FLEET, &from).ok();
    assert!(
        table.contains("02:30:00 is due at 03:00:00+02:00 (ran)"),
        "{table}"
    );
}

#[test]
fn a_seed_reproduces_every_byte() {
    let with = |seed: &str| {
        let arguments = [
            "--faults",
            "--for",
            "30d",
            "--from",
            "2026-01-01",
            "--seed",
            seed,
        ];
        simulate(FLEET, &arguments).ok()
    };
    let one = with("7");
    assert!(one.contains("seed 7"), "{one}");
    assert_eq!(one, with("7"));
    assert_ne!(one, with("8"));
}

#[test]
fn assumptions_come_from_the_line_and_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("assumptions");
    fs::write(
        &file,
        "# as last week\nweb: life=2s, exit=1\ntick: run=1s\n",
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let arguments = [
        "--assumptions",
        file,
        "--assume",
        "tick:run=6m",
        "-o",
        "json",
    ];
    let report: Value = simulate(FLEET, &arguments).json();
    assert_eq!(agent(&report, "web")["restarts"]["exit"], 5);
    let codes: Vec<&Value> = report["warnings"].as_array().unwrap().iter().collect();
    let codes: Vec<&str> = codes
        .iter()
        .filter_map(|warning| warning["code"].as_str())
        .collect();
    assert_eq!(codes, ["given_up", "overlaps"]);
}

#[test]
fn what_makes_no_sense_is_refused_with_the_exit_code_of_its_kind() {
    for (arguments, code, part) in [
        (["--for", "0s"], 2, "more than nothing"),
        (["--for", "400d"], 2, "366d at most"),
        (["--for", "a week"], 2, "unit"),
        (["--from", "yesterday"], 2, "2026-03-27"),
        (["--assume", "tick"], 2, "a colon"),
        (["--assume", "tick:walk=1"], 2, "there is no such key"),
        (["--assume", "tick:in=5"], 2, "how many calls"),
        (["--assume", "tick:calls=5"], 2, "no access to models"),
        (["--assume", "tock:run=5s"], 4, "no such agent"),
        (["--assumptions", "missing"], 1, "missing"),
    ] {
        let ran = simulate(FLEET, &arguments);
        assert_eq!(ran.code, Some(code), "{arguments:?}: {ran:#?}");
        assert!(ran.err.contains(part), "{arguments:?}: {ran:#?}");
    }
    let ran = simulate("project: x\n", &[]);
    assert_eq!(ran.code, Some(78), "{ran:#?}");
}

#[test]
fn every_example_can_be_simulated() {
    let mut simulated = 0;
    for entry in fs::read_dir(root().join("examples")).unwrap() {
        let example = entry.unwrap().path();
        if !example.join("openclaw.yaml").exists() {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        copy(&example, folder.path());
        let keys = "OPENAI_API_KEY=secret\nANTHROPIC_API_KEY=secret\n";
        fs::write(folder.path().join(".env"), keys).unwrap();
        let ran = clawctl(folder.path(), &["simulate", "--for", "1d"]);
        assert_eq!(ran.code, Some(0), "{}: {ran:#?}", example.display());
        simulated += 1;
    }
    assert!(simulated > 10, "only {simulated} examples were found");
}

/// An example with the files that it names.
fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
