//! `clawctl events publish`, `clawctl events replay` and `clawctl events dead`

use clap::Subcommand;
use clap_complete::engine::ArgValueCompleter;
use claw_daemon::api::{
    DeadLetterChoice, DeadLetterCount, DeadLetterList, Publish, Published, Replay, Replayed, routes,
};

use super::{logs, payload};
use crate::args::Output;
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::render::table;
use crate::render::time::stamp;
use crate::{complete, print};

/// Dead letters that are asked for at a time.
const PAGE: usize = 1000;

/// What to do with events, beside looking at them.
#[derive(Debug, Subcommand)]
pub(crate) enum EventsCommand {
    /// Publish an event
    Publish {
        /// Its name, such as `data_collected`
        name: String,
        /// Its data: JSON, or `@FILE`, or `@-` for standard input
        #[arg(short, long, value_name = "JSON")]
        data: Option<String>,
        /// What order and sharding go by
        #[arg(long)]
        key: Option<String>,
        /// Its id; a second event of the same id within ten minutes is not stored
        #[arg(long)]
        id: Option<String>,
    },
    /// Deliver events to an agent again, whether it has handled them or not
    Replay {
        /// To which agent
        #[arg(add = ArgValueCompleter::new(complete::agents))]
        agent: String,
        /// From where on: the number of an event, a time, `1h` ago, or `beginning`
        #[arg(long, value_name = "POINT")]
        from: String,
    },
    /// Events that agents have given up
    Dead {
        /// What to do
        #[command(subcommand)]
        command: DeadCommand,
    },
}

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub(crate) enum DeadCommand {
    /// Print them, newest first
    List {
        /// Only those of this agent
        #[arg(add = ArgValueCompleter::new(complete::agents))]
        agent: Option<String>,
        /// At most so many
        #[arg(short = 'n', long, value_name = "N", default_value_t = 100)]
        limit: usize,
    },
    /// Deliver them again
    Replay {
        /// Of which agent
        #[arg(add = ArgValueCompleter::new(complete::agents))]
        agent: String,
        /// Which one
        #[arg(required_unless_present = "all")]
        id: Option<i64>,
        /// All of them
        #[arg(long, conflicts_with = "id")]
        all: bool,
    },
    /// Delete them
    Drop {
        /// Of which agent
        #[arg(add = ArgValueCompleter::new(complete::agents))]
        agent: String,
        /// Which one
        #[arg(required_unless_present = "all")]
        id: Option<i64>,
        /// All of them
        #[arg(long, conflicts_with = "id")]
        all: bool,
    },
}

/// Publishes an event, or looks after dead letters.
///
/// # Errors
///
/// No supervisor answers, or it refuses.
pub(crate) async fn run(
    client: &Client,
    command: &EventsCommand,
    output: Output,
) -> Result<(), Failure> {
    match command {
        EventsCommand::Publish {
            name,
            data,
            key,
            id,
        } => {
            let data = data.as_deref().map(payload::raw).transpose()?;
            let event = Publish {
                name: name.clone(),
                data,
                id: id.clone(),
                key: key.clone(),
                delay_ms: None,
            };
            let body = Some(text(&event)?);
            let published: Published = client.post(routes::EVENTS, body).await?;
            match output {
                Output::Table => print::line(&published.id),
                Output::Json | Output::Yaml => print::document(&published, output),
            }
        }
        EventsCommand::Replay { agent, from } => {
            let replay = point(agent, from)?;
            let replayed: Replayed = client
                .post(routes::EVENTS_REPLAY, Some(text(&replay)?))
                .await?;
            match output {
                Output::Table => print::line(&format!("{agent} gets {} events", replayed.pending)),
                Output::Json | Output::Yaml => print::document(&replayed, output),
            }
        }
        EventsCommand::Dead {
            command: DeadCommand::List { agent, limit },
        } => list(client, agent.as_deref(), *limit, output).await,
        EventsCommand::Dead {
            command: DeadCommand::Replay { agent, id, .. },
        } => {
            choose(
                client,
                routes::DEAD_LETTERS_REPLAY,
                (agent, *id),
                "to be delivered again",
            )
            .await
        }
        EventsCommand::Dead {
            command: DeadCommand::Drop { agent, id, .. },
        } => choose(client, routes::DEAD_LETTERS_DROP, (agent, *id), "deleted").await,
    }
}

/// A number, `beginning`, or a time.
fn point(agent: &str, from: &str) -> Result<Replay, Failure> {
    let sequence = from.parse().ok();
    let since = match (sequence, from) {
        (Some(_), _) | (None, "beginning") => None,
        (None, time) => Some(logs::time(time, jiff::Timestamp::now())?),
    };
    Ok(Replay {
        agent: agent.to_owned(),
        sequence,
        since,
    })
}

async fn list(
    client: &Client,
    agent: Option<&str>,
    limit: usize,
    output: Output,
) -> Result<(), Failure> {
    let mut path = format!("{}?limit={}", routes::DEAD_LETTERS, limit.clamp(1, PAGE));
    if let Some(agent) = agent {
        path = format!("{path}&agent={}", super::state::encoded(agent));
    }
    let mut list: DeadLetterList = client.get(&path).await?;
    while let Some(before) = list.next.take()
        && list.letters.len() < limit
    {
        let page: DeadLetterList = client.get(&format!("{path}&before={before}")).await?;
        list.letters.extend(page.letters);
        list.next = page.next;
    }
    list.letters.truncate(limit);
    if output != Output::Table {
        return print::document(&list.letters, output);
    }
    let mut rows = table::with_head(&[
        "Id", "Agent", "When", "Event", "From", "Attempts", "Reason", "Error",
    ]);
    for letter in &list.letters {
        rows.add_row([
            letter.id.to_string(),
            letter.agent.clone(),
            stamp(letter.at),
            letter.name.clone(),
            letter.source.clone(),
            letter.attempts.to_string(),
            letter.reason.clone(),
            letter.error.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    print::line(&table::text(&rows))
}

async fn choose(
    client: &Client,
    route: &str,
    (agent, id): (&str, Option<i64>),
    done: &str,
) -> Result<(), Failure> {
    let choice = DeadLetterChoice {
        agent: agent.to_owned(),
        id,
    };
    let counted: DeadLetterCount = client.post(route, Some(text(&choice)?)).await?;
    print::line(&format!("{} {done}", counted.count))
}

fn text<T: serde::Serialize>(value: &T) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| Failure::new(Exit::Bug, error.to_string()))
}
