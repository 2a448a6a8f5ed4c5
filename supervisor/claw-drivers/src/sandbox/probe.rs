//! Finding out what this machine can do.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use claw_core::sandbox::{Abilities, Lack, Privilege};

/// The first argument of our executable when it is to try out what can be done.
pub(crate) const TRIAL: &str = "__try-sandbox";

/// Finds out what this machine can do to confine processes, by doing each thing once in a process
/// that is thrown away. Takes some milliseconds; blocks.
///
/// `exe` is an executable whose `main` begins with [`reenter`](crate::process::reenter), such as
/// `/proc/self/exe`. Whatever goes wrong with it is said as what the machine lacks.
#[must_use]
pub fn probe(exe: &Path) -> Abilities {
    let output = Command::new(exe)
        .arg0("claw-trial")
        .arg(TRIAL)
        .env_clear()
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    let answer = output
        .and_then(|output| serde_json::from_slice(&output.stdout).map_err(std::io::Error::other));
    answer.unwrap_or_else(|error| unable(exe, &error))
}

fn unable(exe: &Path, error: &std::io::Error) -> Abilities {
    let lack = Lack {
        call: exe.display().to_string(),
        errno: error.raw_os_error().unwrap_or(0),
        reason: format!("what it can do could not be tried out: {error}"),
    };
    let privilege = if rustix::process::geteuid().is_root() {
        Privilege::Root
    } else {
        Privilege::User
    };
    Abilities {
        privilege,
        namespaces: Err(lack.clone()),
        root_dir: Err(lack.clone()),
        proc: Err(lack.clone()),
        network: Err(lack.clone()),
        landlock: Err(lack.clone()),
        seccomp: Err(lack.clone()),
        quota: Err(lack.clone()),
        process_count: Err(lack),
    }
}
