//! Broken fleet files and what is said about each. `CLAW_UPDATE=1` writes the texts anew.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use claw_daemon::config::{Environment, Style, load};

fn broken_files() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir("tests/config/broken")
        .expect("the folder is there")
        .map(|entry| entry.expect("it can be listed").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    files.sort();
    files
}

fn environment() -> Environment {
    Environment::with([
        ("SET", "hunter2"),
        ("EMPTY", ""),
        ("MULTI", "hunter2: {a: b}\n- hunter2"),
        ("SLACK_WEBHOOK", "https://hunter2"),
    ])
}

fn said_about(path: &Path) -> String {
    match load(path, &environment()) {
        Ok(loaded) => format!("accepted\n{}", loaded.warnings.render(Style::Plain)),
        Err(problems) => problems.render(Style::Plain),
    }
}

#[test]
fn every_broken_file_is_refused_in_these_words() {
    let update = std::env::var_os("CLAW_UPDATE").is_some();
    let readable = fs::Permissions::from_mode(0o644);
    fs::set_permissions("tests/config/broken/include/bad.env", readable).unwrap();
    let mut different = Vec::new();
    let files = broken_files();
    assert!(files.len() >= 60, "only {} broken files", files.len());
    for path in files {
        let said = said_about(&path);
        let expected = path.with_extension("txt");
        if update {
            fs::write(&expected, &said).unwrap();
        }
        if fs::read_to_string(&expected).unwrap_or_default() != said {
            different.push(format!("--- {}\n{said}", path.display()));
        }
        assert!(
            !said.starts_with("accepted"),
            "{} was accepted",
            path.display()
        );
        assert!(!said.contains("hunter2"), "{}: {said}", path.display());
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn programs_get_the_same_problems_with_their_places() {
    let problems = load(
        Path::new("tests/config/broken/unknown-key.yaml"),
        &environment(),
    )
    .unwrap_err();
    let json = serde_json::to_value(problems.to_json()).unwrap();
    assert_eq!(
        json,
        serde_json::json!([{
            "severity": "error",
            "code": "unknown_key",
            "message": "unknown key `restart_polcy` in an agent",
            "help": "did you mean `restart_policy`?",
            "path": "agents.monitor.restart_polcy",
            "place": {
                "file": "tests/config/broken/unknown-key.yaml",
                "line": 6,
                "column": 5,
                "end_line": 6,
                "end_column": 18,
            },
        }])
    );
}
