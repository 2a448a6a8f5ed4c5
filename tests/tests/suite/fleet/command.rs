//! `clawctl` as a user runs it.

use std::path::Path;
use std::process::{Command, Stdio};

use serde::de::DeserializeOwned;

use super::folder::program;

/// What a command came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// Its standard output, if it succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        self.exits(0)
    }

    /// Its standard output, if it ended with this code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self.out
    }

    /// Its standard output as JSON, if it succeeded.
    #[track_caller]
    pub(crate) fn json<T: DeserializeOwned>(self) -> T {
        let text = self.ok();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

/// Runs `clawctl` in a folder.
pub(crate) fn clawctl(folder: &Path, arguments: &[&str]) -> Ran {
    let output = prepared(folder).args(arguments).output().unwrap();
    Ran {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// `clawctl` in a folder, with nothing of the surroundings that would change what it does.
pub(super) fn prepared(folder: &Path) -> Command {
    launched(&[], folder)
}

/// The same, started through another program that executes it.
pub(super) fn launched(launcher: &[String], folder: &Path) -> Command {
    let mut command = match launcher {
        [] => Command::new(program()),
        [first, more @ ..] => {
            let mut command = Command::new(first);
            command.args(more).arg(program());
            command
        }
    };
    command.current_dir(folder).stdin(Stdio::null());
    for name in [
        "OPENCLAW_FILE",
        "OPENCLAW_HOST",
        "OPENCLAW_LOG_LEVEL",
        "OPENCLAW_LOG_FORMAT",
    ] {
        command.env_remove(name);
    }
    command
}
