//! Row 37 of the fault matrix: a secret is replaced while its agent runs.

use std::fs;
use std::path::Path;

use crate::fleet::{Fleet, Process, agent, until};

/// Values that stand nowhere else.
const OLD: &str = "old-secret-3f9a1c77d2";
const NEW: &str = "new-secret-b81e60a4c5";

/// Every file below a folder in which one of the secrets stands.
fn holding(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            holding(&path, found);
        } else if kind.is_file() {
            let bytes = fs::read(&path).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes);
            if text.contains(OLD) || text.contains(NEW) {
                found.push(path.display().to_string());
            }
        }
    }
}

fn environment(process: &Process) -> String {
    let bytes = fs::read(format!("/proc/{}/environ", process.pid)).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn a_secret_that_is_replaced_reaches_the_next_life_and_stands_in_no_file_of_ours() {
    let mut fleet = Fleet::new("");
    let (fresh, secrets) = (fleet.path(".env.new"), fleet.path(".env"));
    let replace = |value: &str| {
        fs::write(&fresh, format!("API_KEY={value}\n")).unwrap();
        fs::rename(&fresh, &secrets).unwrap();
    };
    replace(OLD);
    let speaker = agent(
        "speaker",
        &["say-environment", "forever"],
        "secrets: [API_KEY]",
    );
    fleet.write("", &(speaker + &agent("other", &["forever"], "")));
    fleet.up();
    let (before, other) = (fleet.await_main("speaker"), fleet.await_main("other"));
    assert!(environment(&before).contains(OLD));
    fleet.await_output("speaker", "API_KEY=");
    replace(NEW);
    fleet.run(&["apply"]).ok();
    let after = until("its successor runs", || {
        let main = fleet.await_main("speaker");
        (main != before).then_some(main)
    });
    let now = environment(&after);
    assert!(now.contains(NEW) && !now.contains(OLD), "{now}");
    assert_eq!(fleet.await_main("other"), other, "not its secret");
    until("it has said its environment again", || {
        let said = fleet.output("speaker");
        (said.matches("API_KEY=").count() == 2).then_some(())
    });
    for arguments in [
        ["status", "speaker"],
        ["logs", "speaker"],
        ["why", "speaker"],
    ] {
        let shown = fleet.run(&arguments).ok();
        assert!(!shown.contains(OLD) && !shown.contains(NEW), "{shown}");
    }
    fleet.down();
    let mut found = Vec::new();
    holding(&fleet.data(), &mut found);
    assert_eq!(found, [] as [String; 0]);
    let said = fleet.said();
    assert!(!said.contains(OLD) && !said.contains(NEW), "{said}");
}
