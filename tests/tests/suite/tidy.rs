//! Checks of the tree itself: sizes, words, dependencies, documents.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// No source file is longer than this, in lines.
const MAX_LINES: usize = 600;

/// What the core may depend on: data, time zones, cron, hashing. No IO, no runtime.
const CORE_DEPENDENCIES: &[&str] = &[
    "aho-corasick",
    "croner",
    "jiff",
    "serde",
    "serde_json",
    "sha2",
    "thiserror",
];

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// The files that git tracks or would track, below the root.
pub(crate) fn files(extension: &str) -> Vec<PathBuf> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .unwrap();
    let text = String::from_utf8(listed.stdout).unwrap();
    let wanted = |path: &&str| {
        Path::new(path)
            .extension()
            .is_some_and(|found| found == extension)
    };
    let found: Vec<PathBuf> = text
        .lines()
        .filter(wanted)
        .map(|path| root().join(path))
        .collect();
    assert!(
        !found.is_empty(),
        "no {extension} files: the listing is broken"
    );
    found.into_iter().filter(|path| path.exists()).collect()
}

#[test]
fn no_source_file_is_longer_than_the_limit() {
    let mut long = Vec::new();
    for path in files("rs").into_iter().chain(files("py")) {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        if lines > MAX_LINES {
            long.push(format!("{} has {lines} lines", path.display()));
        }
    }
    assert!(long.is_empty(), "split these by their nouns: {long:#?}");
}

#[test]
fn files_are_named_for_a_noun_of_the_domain() {
    let banned = BTreeSet::from([
        "utils", "util", "helpers", "helper", "common", "manager", "misc",
    ]);
    let odd: Vec<PathBuf> = files("rs")
        .into_iter()
        .filter(|path| {
            path.file_stem()
                .is_some_and(|stem| banned.contains(&*stem.to_string_lossy()))
        })
        .collect();
    assert!(odd.is_empty(), "name these for what they hold: {odd:#?}");
}

#[test]
fn the_core_depends_on_nothing_that_can_do_anything() {
    let manifest = fs::read_to_string(root().join("supervisor/claw-core/Cargo.toml")).unwrap();
    let section = manifest.split("[dependencies]").nth(1).unwrap();
    let section = section.split("\n[").next().unwrap();
    let found: Vec<&str> = section
        .lines()
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| !name.is_empty())
        .collect();
    assert_eq!(found, CORE_DEPENDENCIES);
}

#[test]
fn unsafe_code_lives_in_the_drivers_only() {
    let drivers = root().join("supervisor/claw-drivers");
    let own = Path::new(file!()).file_name().unwrap();
    for path in files("rs") {
        if path.starts_with(&drivers) || path.file_name() == Some(own) {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            !text.contains("unsafe {") && !text.contains("unsafe fn"),
            "{}",
            path.display()
        );
    }
}

#[test]
fn sources_hold_no_banners_and_no_unfinished_ends() {
    let ends = ["TODO", "FIXME", "XXX", "HACK"];
    for path in files("rs").into_iter().chain(files("py")) {
        if path.file_name() == Path::new(file!()).file_name() {
            continue;
        }
        for (number, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
            let comment = line.trim_start();
            let banner = ["// ===", "// ---", "// ***", "# ===", "# ---"];
            let at = format!("{}:{}", path.display(), number + 1);
            assert!(
                !banner.iter().any(|mark| comment.starts_with(mark)),
                "banner at {at}"
            );
            assert!(
                !ends.iter().any(|end| line.contains(&format!("{end}:"))),
                "loose end at {at}"
            );
        }
    }
}

/// Cases that need a clock of their own, with the tests of the core that have one.
const TESTED_IN_THE_CORE: &[(&str, &str)] = &[
    (
        "18",
        "a_time_that_does_not_exist_is_due_at_the_next_that_does",
    ),
    (
        "18",
        "a_time_that_exists_twice_is_due_once_and_the_first_time",
    ),
    ("18", "several_times_in_one_gap_are_one_slot"),
    ("18", "days_are_those_of_the_calendar"),
    ("19", "a_rhythm_goes_on_through_changes_of_the_clock"),
    (
        "19",
        "a_jump_of_ten_years_lists_the_newest_slots_and_counts_the_others",
    ),
    (
        "19",
        "a_jump_back_repeats_nothing_unless_the_time_before_was_wrong",
    ),
    ("19", "a_million_steps_break_no_rule"),
];

#[test]
fn what_cannot_be_tested_from_outside_is_tested_in_the_core() {
    let core = root().join("supervisor/claw-core");
    let sources: String = files("rs")
        .into_iter()
        .filter(|path| path.starts_with(&core))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    for (case, test) in TESTED_IN_THE_CORE {
        assert!(
            sources.contains(&format!("fn {test}(")),
            "case {case}: {test}"
        );
    }
}

#[test]
fn links_in_documents_lead_somewhere() {
    for path in files("md") {
        let text = fs::read_to_string(&path).unwrap();
        for link in links(&text) {
            let target = link.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let folder = path.parent().unwrap();
            assert!(
                folder.join(target).exists(),
                "{}: dead link {link}",
                path.display()
            );
        }
    }
}

fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for part in text.split("](").skip(1) {
        if let Some(link) = part.split(')').next() {
            found.push(
                link.split_whitespace()
                    .next()
                    .unwrap_or_default()
                    .to_owned(),
            );
        }
    }
    found
}

/// What fleets that are shown need of their readers.
const KEYS: [(&str, &str); 4] = [
    ("SLACK_WEBHOOK", "https://127.0.0.1/hook"),
    ("API_KEY", "secret"),
    ("OPENAI_API_KEY", "secret"),
    ("ANTHROPIC_API_KEY", "secret"),
];

#[test]
fn every_example_and_snippet_of_yaml_is_a_valid_fleet() {
    let mut checked = 0;
    for path in files("yaml")
        .into_iter()
        .filter(|path| path.ends_with("openclaw.yaml"))
    {
        let environment = claw_daemon::config::Environment::with(KEYS);
        if let Err(diagnostics) = claw_daemon::config::load(&path, &environment) {
            panic!("{}:\n{diagnostics}", path.display());
        }
        checked += 1;
    }
    assert!(checked > 4, "only {checked} fleet files were found");
    for path in files("md") {
        let text = fs::read_to_string(&path).unwrap();
        for snippet in text
            .split("```yaml\n")
            .skip(1)
            .filter_map(|part| part.split("```").next())
        {
            let fleet = whole(snippet);
            let environment = claw_daemon::config::Environment::with(KEYS);
            let folder = tempfile::tempdir().unwrap();
            make_sources(&fleet, folder.path());
            let file = folder.path().join("openclaw.yaml");
            if let Err(diagnostics) = claw_daemon::config::load_str(&fleet, &file, &environment) {
                panic!(
                    "a snippet of {} is no fleet:\n{diagnostics}\n{fleet}",
                    path.display()
                );
            }
        }
    }
}

/// Makes the files that a snippet names.
fn make_sources(fleet: &str, folder: &Path) {
    for part in fleet.split("schema_path: ").skip(1) {
        let named = part.split([',', '}', ' ', '\n']).next().unwrap_or_default();
        fs::write(folder.join(named), "{}").unwrap();
    }
    let sources = fleet.split("source: ").skip(1);
    for part in sources.chain(fleet.split("requirements: ").skip(1)) {
        let named = part.split([',', '}', ' ', '\n']).next().unwrap_or_default();
        let path = folder.join(named.split(':').next().unwrap_or_default());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
}

/// A snippet that shows agents only becomes a fleet, and one that shows a part of `llm:` as well; one
/// that shows an agent's keys becomes an agent.
fn whole(snippet: &str) -> String {
    let has = |key: &str| snippet.lines().any(|line| line.starts_with(key));
    let head = "project: snippet\nversion: \"1.0\"\n";
    let named = "agents:\n  monitor: {command: [\"true\"]}\n  poet: {command: [\"true\"]}\n";
    let models = "llm:\n  providers: {openai: {api_key: \"${API_KEY}\", models: [gpt-4o-mini]}}\n";
    let indented = |by: &str| -> String {
        let lines = snippet.lines();
        lines.map(|line| format!("{by}{line}\n")).collect()
    };
    if has("project:") {
        snippet.to_owned()
    } else if has("agents:") {
        format!("{head}{snippet}")
    } else if has("llm:") {
        format!("{head}{named}{snippet}")
    } else if has("budgets:") || has("validators:") {
        format!("{head}{named}{models}{}", indented("  "))
    } else {
        let command = if has("command:") {
            ""
        } else {
            "    command: [\"true\"]\n"
        };
        format!("{head}agents:\n  snippet:\n{command}{}", indented("    "))
    }
}
