//! The agents of `clawctl up` in a terminal, one line each, as they come up.

use anstream::{AutoStream, ColorChoice};
use claw_daemon::api::{Agent, State};
use claw_daemon::feed::{Feed, Item};
use claw_daemon::supervise::Handle;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use owo_colors::OwoColorize;
use tokio::task::JoinHandle;

use super::style::{of_state, paint};

/// More agents than this do not fit a screen; the rest is counted in one line.
const LINES: usize = 20;

/// The width of a terminal that does not tell.
const WIDTH: u16 = 80;

/// A live view that ends with this value.
pub(crate) struct Live {
    task: JoinHandle<()>,
    screen: ProgressBar,
}

impl Live {
    /// Shows the fleet and follows it.
    pub(crate) fn start(handle: Handle, feed: &Feed) -> Self {
        let style = ProgressStyle::with_template("{msg}");
        let style = style.unwrap_or_else(|_error| ProgressStyle::default_spinner());
        let screen = ProgressBar::new_spinner().with_style(style);
        let mut changes = feed.subscribe(None);
        let view = screen.clone();
        let task = tokio::spawn(async move {
            while let Ok(agents) = look(&handle).await {
                view.set_message(picture(&agents));
                match changes.next().await {
                    Some(Item::Event(_) | Item::Lagged(_)) => {}
                    None => break,
                }
            }
        });
        Self { task, screen }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.task.abort();
        self.screen.abandon();
    }
}

async fn look(handle: &Handle) -> Result<Vec<Agent>, claw_daemon::http::ports::AskError> {
    let seen = handle.inspect(|fleet, now| fleet.statuses(now)).await?;
    let now = Timestamp::now();
    Ok(seen
        .iter()
        .map(|status| Agent::render(status, None, now))
        .collect())
}

/// The whole view, as one text: the terminal is told to replace it as a whole.
fn picture(agents: &[Agent]) -> String {
    let size = rustix::termios::tcgetwinsize(std::io::stderr());
    let columns = size.map_or(WIDTH, |size| size.ws_col);
    let width = agents.iter().map(|agent| agent.name.len()).max();
    let mut lines: Vec<String> = agents
        .iter()
        .take(LINES)
        .map(|agent| line(agent, width.unwrap_or(0), usize::from(columns)))
        .collect();
    let up = agents
        .iter()
        .filter(|agent| agent.state == State::Running)
        .count();
    lines.push(format!(
        "{up} of {} up; Ctrl-C stops the fleet",
        agents.len()
    ));
    let text = lines.join("\n");
    match AutoStream::choice(&std::io::stderr()) {
        ColorChoice::Never => anstream::adapter::strip_str(&text).to_string(),
        ColorChoice::Auto | ColorChoice::Always | ColorChoice::AlwaysAnsi => text,
    }
}

/// One agent on one line: a line that wraps could not be replaced.
fn line(agent: &Agent, width: usize, columns: usize) -> String {
    let state = paint(
        &format!("{:12}", agent.state.as_str()),
        of_state(agent.state),
    );
    let ready = if agent.ready { "ready" } else { "     " };
    let left = columns.saturating_sub(width + 24);
    let reason: String = agent.reason.text.chars().take(left).collect();
    let name = format!("{:width$}", agent.name);
    format!("{}  {state} {ready}  {}", name.bold(), reason.dimmed())
}
