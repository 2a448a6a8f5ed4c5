//! Whether the program of a container was executed.
//!
//! The small first process that the engine adds (tini with Docker, catatonit with Podman) makes a
//! child, and the child executes the program. Where that fails, the child says so and the container
//! ends: with tini as a shell does, with catatonit by 1.

use std::time::{Duration, Instant};

use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::StreamExt;

use super::engine::{Client, QUICK};
use super::usage::is_inside;

/// How long the first process may take to come to its point; it takes a few milliseconds.
const PATIENCE: Duration = Duration::from_millis(500);

/// Between looks.
const STEP: Duration = Duration::from_millis(1);

/// What tini writes before its words, and between the program's name and the reason.
const TINI: &str = "[FATAL tini";
const TINI_FAILED: &str = " failed: ";

/// The same of catatonit, which does not name the program.
const CATATONIT: &str = "ERROR (catatonit:";
const CATATONIT_FAILED: &str = "failed to exec pid1: ";

/// What is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Executed {
    Yes,
    /// It has ended, or its processes cannot be seen from here.
    Unknown,
}

/// Waits until the child of the first process is something else than the first process. Blocks.
pub(super) fn wait(pid: u32, container: &str) -> Executed {
    let deadline = Instant::now() + PATIENCE;
    if pid == 0 || !is_inside(pid, container) {
        return Executed::Unknown;
    }
    let program = |pid: u32| std::fs::read_link(format!("/proc/{pid}/exe")).ok();
    while let Some(init) = program(pid) {
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        // Not every kernel lists them.
        let Ok(children) = children else {
            return Executed::Unknown;
        };
        let child = children.split(' ').find_map(|text| text.parse().ok());
        // One that ended again at once was executed or not: the container's end says so.
        if child.and_then(program).is_some_and(|found| found != init) {
            return Executed::Yes;
        }
        if Instant::now() >= deadline {
            return Executed::Unknown;
        }
        crate::process::pause(STEP);
    }
    Executed::Unknown
}

/// Whether there is no such process of this machine any more.
pub(super) fn is_gone(pid: u32) -> bool {
    let program = std::fs::read_link(format!("/proc/{pid}/exe"));
    pid != 0 && program.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

/// Why it was not executed, if that is what the container's only output says.
pub(super) async fn last_words(client: &Client, id: &str) -> Option<String> {
    let options = LogsOptionsBuilder::new().stderr(true).tail("1").build();
    let mut lines = client.docker.logs(id, Some(options));
    let line = tokio::time::timeout(QUICK, lines.next())
        .await
        .ok()??
        .ok()?;
    reason(&String::from_utf8_lossy(&line.into_bytes()))
}

fn reason(line: &str) -> Option<String> {
    let (_, why) = match line.strip_prefix(TINI) {
        Some(rest) => rest.rsplit_once(TINI_FAILED)?,
        None => line.strip_prefix(CATATONIT)?.split_once(CATATONIT_FAILED)?,
    };
    Some(why.trim().to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_words_of_the_first_process_count() {
        let line = "[FATAL tini (7)] exec no-such-program failed: No such file or directory\n";
        assert_eq!(reason(line).as_deref(), Some("no such file or directory"));
        let line = "ERROR (catatonit:6): failed to exec pid1: Permission denied\n";
        assert_eq!(reason(line).as_deref(), Some("permission denied"));
        assert_eq!(reason("exec x failed: No such file or directory"), None);
    }

    #[test]
    fn a_process_that_is_nobodys_container_says_nothing() {
        assert_eq!(wait(std::process::id(), "0123456789ab"), Executed::Unknown);
    }
}
