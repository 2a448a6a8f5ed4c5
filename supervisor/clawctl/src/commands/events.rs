//! `clawctl events`

use claw_daemon::api::{Event, routes};
use owo_colors::OwoColorize;

use crate::args::Output;
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::print;
use crate::render::time::stamp;

/// Whether to go on after what is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Print what the supervisor still remembers, and end.
    Recent,
    /// Go on.
    Follow,
}

/// Prints what happens in the fleet.
///
/// # Errors
///
/// No supervisor answers.
pub(crate) async fn run(
    client: &Client,
    mode: Mode,
    agent: Option<&str>,
    output: Output,
) -> Result<(), Failure> {
    let mut path = match mode {
        Mode::Recent => format!("{}?after=0&follow=false", routes::EVENTS),
        Mode::Follow => routes::EVENTS.to_owned(),
    };
    if let Some(agent) = agent {
        path.push(if path.contains('?') { '&' } else { '?' });
        path.push_str("agent=");
        path.push_str(agent);
    }
    let mut lines = client.lines(&path, "text/event-stream").await?;
    while let Some(line) = lines.next().await? {
        let Some(data) = line.strip_prefix("data:") else {
            continue;
        };
        let event: Event = serde_json::from_str(data.trim_start())
            .map_err(|error| Failure::new(Exit::Failed, format!("not an event: {error}")))?;
        match output {
            Output::Table => print::line(&format!("{} {}", stamp(event.at).dimmed(), event.text))?,
            Output::Json | Output::Yaml => print::json_line(&event)?,
        }
    }
    Ok(())
}
