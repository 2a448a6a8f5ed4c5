//! `clawctl events`

use claw_daemon::api::{BusEvent, Event, routes};
use owo_colors::OwoColorize;
use serde::de::DeserializeOwned;

use super::payload;
use super::state::encoded;
use crate::args::Output;
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::print;
use crate::render::time::stamp;

/// Published events that are looked back on when nothing says how many.
const TAIL: u64 = 100;

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
    each(client, &path, |event: Event| match output {
        Output::Table => print::line(&format!("{} {}", stamp(event.at).dimmed(), event.text)),
        Output::Json | Output::Yaml => print::json_line(&event),
    })
    .await
}

/// Prints what is published on the bus.
///
/// # Errors
///
/// No supervisor answers, or the filter is none.
pub(crate) async fn published(
    client: &Client,
    mode: Mode,
    agent: Option<&str>,
    (topic, tail): (&str, Option<u64>),
    output: Output,
) -> Result<(), Failure> {
    let (follow, usual) = match mode {
        Mode::Recent => (false, TAIL),
        Mode::Follow => (true, 0),
    };
    let (topic, tail) = (encoded(topic), tail.unwrap_or(usual));
    let mut path = format!(
        "{}?topic={topic}&tail={tail}&follow={follow}",
        routes::EVENTS
    );
    if let Some(agent) = agent {
        path.push_str("&agent=");
        path.push_str(&encoded(agent));
    }
    each(client, &path, |event: BusEvent| match output {
        Output::Table => {
            let (at, number) = (stamp(event.at), event.sequence);
            let (name, source) = (event.name.bold(), &event.source);
            let data = payload::shown(&event.data);
            print::line(&format!(
                "{} {number} {name} from {source}: {data}",
                at.dimmed()
            ))
        }
        Output::Json | Output::Yaml => print::json_line(&event),
    })
    .await
}

async fn each<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    show: impl Fn(T) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut lines = client.lines(path, "text/event-stream").await?;
    while let Some(line) = lines.next().await? {
        let Some(data) = line.strip_prefix("data:") else {
            continue;
        };
        let event = serde_json::from_str(data.trim_start())
            .map_err(|error| Failure::new(Exit::Failed, format!("not an event: {error}")))?;
        show(event)?;
    }
    Ok(())
}
