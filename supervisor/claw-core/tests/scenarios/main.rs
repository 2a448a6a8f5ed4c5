//! Stories of a fleet as text: a script goes in, what happens comes out.
//!
//! Each `*.txt` beside this file is a script; its snapshot stands in `snapshots/`. Lines:
//!
//! ```text
//! agent NAME [daemon|oneshot|worker] [key=value …]    before `up`, or for the next `apply`
//! up · apply · remove NAME                     a first start · a new configuration · an agent leaves it
//! start stop restart pause freeze resume trigger NAME
//! exit NAME CODE · dies NAME SIGNAL · lost NAME · ready NAME · alive NAME
//! done NAME · fails NAME · retries NAME         how the oldest run in the hands of a worker ends
//! cancel NAME                                  calls its newest unfinished run off
//! resumes NAME all|none                        an adopted worker says what it still works on
//! provider NAME down SPAN|up                   a provider of models is out for at least so long, or not any more
//! call NAME NUMBER LIMIT · more NAME NUMBER · over NAME NUMBER    a call to a model begins, goes on, ends
//! answered NAME PROVIDER · unserved NAME PROVIDER    a request is answered, or meets an outage
//! refused NAME REQUEST TIMES · broke NAME REQUEST TIMES SPAN    refused so often, or for want of money
//! down                                         the supervisor dies and does not come back yet
//! probe NAME KIND ok|fail                      answers the probe under way
//! tick SPAN                                    time passes, and the host wakes the fleet when it asks
//! asleep SPAN                                  time passes, and nobody wakes the fleet until the end
//! clock ±SPAN                                  somebody sets the wall clock
//! journal well|failing|silent
//! crash SPAN · reboot SPAN                     the supervisor is away that long, then takes over
//! shutdown stop|keep|hasten
//! show                                         all agents as `status` shows them
//! ```
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod models;
mod script;
mod stage;
mod telling;
mod work;

use std::path::{Path, PathBuf};

use stage::Stage;

fn scripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let files = std::fs::read_dir(folder).unwrap();
    let mut scripts: Vec<PathBuf> = files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    scripts.sort();
    scripts
}

/// Runs a script and tells what happened: each line of it, and below what came of it.
fn play(script: &str) -> String {
    let mut stage = Stage::new();
    let mut told = String::new();
    for line in script.lines() {
        if line.is_empty() || line.starts_with('#') {
            told.push_str(line);
        } else {
            told.push_str("> ");
            told.push_str(line);
            for happened in stage.line(line) {
                told.push_str("\n    ");
                told.push_str(&happened);
            }
        }
        told.push('\n');
    }
    told
}

#[test]
fn scenarios_end_as_told() {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        for path in scripts() {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            println!("{name}");
            let script = std::fs::read_to_string(&path).unwrap();
            insta::assert_snapshot!(name, play(&script));
        }
    });
}
