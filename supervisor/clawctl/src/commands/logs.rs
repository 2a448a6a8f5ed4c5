//! `clawctl logs`

use claw_daemon::api::{LogLine, LogStream, Named, Run, Time, routes};
use futures_util::future::try_join_all;
use jiff::Timestamp;
use owo_colors::{AnsiColors, OwoColorize};

use crate::args::{Logs, Output, Stream};
use crate::client::Client;
use crate::complete;
use crate::exit::{Exit, Failure};
use crate::print;
use crate::render::time::stamp;

/// One JSON document a line.
pub(crate) const NDJSON: &str = "application/x-ndjson";

/// Lines shown when nothing says how many.
const DEFAULT_TAIL: u32 = 100;

/// Prints what agents wrote; with several, each line says whose it is.
///
/// # Errors
///
/// No supervisor answers, no such agent, or a time that cannot be read.
pub(crate) async fn run(client: &Client, logs: &Logs, output: Output) -> Result<(), Failure> {
    let query = query(logs)?;
    let agents = everyone(client, logs).await?;
    let width = agents.iter().map(String::len).max().unwrap_or(0);
    let printers = agents.iter().enumerate().map(|(index, agent)| {
        let prefix = prefix(agents.len(), index, agent, width);
        print_one(
            client,
            logs,
            agent,
            Printer {
                prefix,
                query: &query,
                output,
            },
        )
    });
    try_join_all(printers).await.map(|_all| ())
}

/// The agents meant: a name that stands for several replicas is all of them, or the one that had
/// the run.
async fn everyone(client: &Client, logs: &Logs) -> Result<Vec<String>, Failure> {
    let mut everyone = Vec::new();
    for name in &logs.agents {
        let path = super::goals::path(routes::AGENT, name)?;
        match client.get::<Named>(&path).await? {
            Named::Agent(agent) => everyone.push(agent.name),
            Named::Replicas(list) => match &logs.run {
                None => everyone.extend(list.agents.into_iter().map(|agent| agent.name)),
                Some(run) => {
                    let path = routes::RUN.replace("{id}", &super::state::encoded(run));
                    everyone.push(client.get::<Run>(&path).await?.agent);
                }
            },
        }
    }
    Ok(everyone)
}

struct Printer<'a> {
    prefix: String,
    query: &'a str,
    output: Output,
}

async fn print_one(
    client: &Client,
    logs: &Logs,
    agent: &str,
    printer: Printer<'_>,
) -> Result<(), Failure> {
    let path = format!(
        "{}?{}",
        super::goals::path(routes::LOGS, agent)?,
        printer.query
    );
    let mut lines = client.lines(&path, NDJSON).await?;
    while let Some(text) = lines.next().await? {
        let Some(line) = parse(&text)? else { continue };
        match printer.output {
            Output::Json | Output::Yaml => print::json_line(&line)?,
            Output::Table if logs.timestamps => {
                let stream = line.stream.as_str();
                let at = stamp(line.at);
                print::line(&format!(
                    "{}{} {stream} {}",
                    printer.prefix,
                    at.dimmed(),
                    line.text
                ))?;
            }
            Output::Table => print::line(&format!("{}{}", printer.prefix, line.text))?,
        }
    }
    Ok(())
}

fn prefix(agents: usize, index: usize, agent: &str, width: usize) -> String {
    const COLOURS: [AnsiColors; 6] = [
        AnsiColors::Cyan,
        AnsiColors::Yellow,
        AnsiColors::Green,
        AnsiColors::Magenta,
        AnsiColors::Blue,
        AnsiColors::Red,
    ];
    if agents < 2 {
        return String::new();
    }
    let name = format!("{agent:width$} | ");
    name.color(COLOURS[index % COLOURS.len()]).to_string()
}

fn query(logs: &Logs) -> Result<String, Failure> {
    let now = Timestamp::now();
    let mut parts = Vec::new();
    let bounded = logs.since.is_some() || logs.run.is_some();
    match logs.tail {
        Some(tail) => parts.push(format!("tail={tail}")),
        None if !bounded => parts.push(format!("tail={DEFAULT_TAIL}")),
        None => {}
    }
    if logs.follow {
        parts.push("follow=true".to_owned());
    }
    for (name, text) in [("since", &logs.since), ("until", &logs.until)] {
        if let Some(text) = text {
            parts.push(format!("{name}={}", time(text, now)?));
        }
    }
    if let Some(run) = &logs.run {
        parts.push(format!("run={run}"));
    }
    if let Some(stream) = logs.stream {
        let name = match stream {
            Stream::Stdout => LogStream::Stdout.as_str(),
            Stream::Stderr => LogStream::Stderr.as_str(),
        };
        parts.push(format!("stream={name}"));
    }
    Ok(parts.join("&"))
}

/// `1h` is an hour ago; all else is a point in time, without an offset in this machine's zone.
pub(super) fn time(text: &str, now: Timestamp) -> Result<Time, Failure> {
    if let Ok(ago) = complete::duration(text) {
        return now
            .checked_sub(ago)
            .map_err(|error| Failure::new(Exit::Usage, error.to_string()));
    }
    let civil = || {
        text.parse::<jiff::civil::DateTime>()?
            .to_zoned(jiff::tz::TimeZone::system())
    };
    text.parse::<Timestamp>()
        .or_else(|_no_offset| civil().map(|zoned| zoned.timestamp()))
        .map_err(|error| {
            Failure::new(Exit::Usage, format!("`{text}` is not a time: {error}"))
                .hint("use `90s`, `1h`, `2026-11-21T08:00`, or `2026-11-21T08:00:00Z`")
        })
}

/// A line of the stream; `None` for what keeps it alive.
///
/// # Errors
///
/// It is no log line.
pub(crate) fn parse(text: &str) -> Result<Option<LogLine>, Failure> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    serde_json::from_str(text)
        .map(Some)
        .map_err(|error| Failure::new(Exit::Failed, format!("not a log line: {error}")))
}
