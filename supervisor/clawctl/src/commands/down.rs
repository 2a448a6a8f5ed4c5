//! `clawctl down`

use std::time::Duration;

use claw_daemon::api::{Health, routes};

use crate::args::Down;
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::{print, wait};

/// The longest grace an agent may have is its own affair; past this something is stuck.
const LIMIT: Duration = Duration::from_secs(3600);

/// Ends the supervisor, and waits until it is gone.
///
/// # Errors
///
/// No supervisor answers, or it does not end.
pub(crate) async fn run(client: &Client, down: &Down) -> Result<(), Failure> {
    // What it calls itself in a container would be another process here.
    let process = client.peer().await.and_then(Process::of);
    let mode = if down.keep { "keep" } else { "stop" };
    client
        .tell(&format!("{}?mode={mode}", routes::SHUTDOWN))
        .await?;
    let gone = wait::until(LIMIT, async || {
        matches!(client.get::<Health>(routes::HEALTH).await, Err(failure) if failure.exit == Exit::Unreachable)
            && !process.as_ref().is_some_and(Process::runs)
    });
    if !gone.await {
        return Err(Failure::new(
            Exit::TimedOut,
            "the supervisor is still ending",
        ));
    }
    print::line(match mode {
        "keep" => "the supervisor has ended; its agents go on running",
        _ => "every agent is stopped, and the supervisor has ended",
    })
}

/// A process that cannot be taken for another one that got its number later.
struct Process {
    pid: i32,
    /// Clock ticks since boot, from `/proc/PID/stat`.
    start: String,
}

impl Process {
    /// The process of that number, unless there is none or it is a zombie.
    fn of(pid: i32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything.
        let (_, rest) = stat.rsplit_once(") ")?;
        let mut fields = rest.split(' ');
        let lives = fields.next()? != "Z";
        let start = fields.nth(18)?.to_owned();
        lives.then_some(Self { pid, start })
    }

    fn runs(&self) -> bool {
        Self::of(self.pid).is_some_and(|now| now.start == self.start)
    }
}
