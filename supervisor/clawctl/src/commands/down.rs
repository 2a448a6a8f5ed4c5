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
    let health: Health = client.get(routes::HEALTH).await?;
    let mode = if down.keep { "keep" } else { "stop" };
    client
        .tell(&format!("{}?mode={mode}", routes::SHUTDOWN))
        .await?;
    let gone = wait::until(LIMIT, async || {
        matches!(client.get::<Health>(routes::HEALTH).await, Err(failure) if failure.exit == Exit::Unreachable)
            && !runs(health.pid)
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

/// Whether it is still a process of ours. The number of a supervisor in a container is that of
/// something else here, which is not to be waited for.
fn runs(pid: u32) -> bool {
    let Some((name, rest)) = stat(&pid.to_string()) else {
        return false;
    };
    let ours = stat("self").is_some_and(|(own, _)| own == name);
    ours && !rest.starts_with(" Z")
}

/// The name of a process, and what its state begins.
fn stat(process: &str) -> Option<(String, String)> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (name, rest) = stat.rsplit_once(')')?;
    let (_, name) = name.split_once('(')?;
    Some((name.to_owned(), rest.to_owned()))
}
