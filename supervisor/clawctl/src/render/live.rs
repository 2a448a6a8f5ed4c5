//! The agents of `clawctl up` in a terminal, one line each, as they come up.

use std::time::Duration;

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

/// The width of a bar, in characters.
const BAR: usize = 20;

/// How often is looked at what is fetched or built; nobody tells of each step of that.
const STEP: Duration = Duration::from_millis(500);

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
                let preparing = agents.iter().any(is_preparing);
                let changed = tokio::select! {
                    changed = changes.next() => changed,
                    () = tokio::time::sleep(STEP), if preparing => continue,
                };
                match changed {
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
    let name = format!("{:width$}", agent.name);
    let bar = percent(agent).map_or_else(String::new, bar);
    let left = columns.saturating_sub(width + 24 + bar.chars().count());
    let reason: String = agent.reason.text.chars().take(left).collect();
    format!(
        "{}  {state} {ready}  {}{}",
        name.bold(),
        bar.cyan(),
        reason.dimmed()
    )
}

fn is_preparing(agent: &Agent) -> bool {
    agent.reason.code == "preparing"
}

/// How far the image of an agent is, if that is known: `fetching image …: 43 % of 51 MiB`.
fn percent(agent: &Agent) -> Option<usize> {
    let (before, _) = agent.reason.text.split_once(" %")?;
    let number = before.rsplit(' ').next()?.parse().ok()?;
    (is_preparing(agent) && number <= 100).then_some(number)
}

fn bar(percent: usize) -> String {
    let full = percent * BAR / 100;
    format!("{}{} ", "━".repeat(full), "╌".repeat(BAR - full))
}

#[cfg(test)]
mod tests {
    use claw_core::status::{LiveInstance, RunSummary};
    use claw_core::{AgentStatus, Generation, PublicState, Reason};

    use super::*;

    fn agent(reason: Reason) -> Agent {
        let now = Timestamp::UNIX_EPOCH;
        let status = AgentStatus {
            name: "web".parse().expect("a name"),
            state: PublicState::Initializing,
            ready: false,
            reason,
            since: now,
            instance: Some(LiveInstance {
                generation: Generation(1),
                pid: None,
                started_at: None,
            }),
            restarts: 0,
            status_text: None,
            last_death: None,
            halt: None,
            switch_changes: Vec::new(),
            runs: RunSummary::default(),
            probes: Vec::new(),
        };
        Agent::render(&status, None, now)
    }

    fn preparing(detail: &str) -> Agent {
        agent(Reason::Preparing {
            detail: detail.to_owned(),
        })
    }

    #[test]
    fn an_image_that_is_fetched_has_a_bar_as_soon_as_its_size_is_known() {
        let detail = "fetching image python:3.12-slim: 43 % of 51 MiB, 3 of 5 layers";
        assert_eq!(percent(&preparing(detail)), Some(43));
        assert_eq!(percent(&preparing("fetching image python:3.12-slim")), None);
        assert_eq!(percent(&preparing("building image: 430 % of 1 MiB")), None);
        assert_eq!(percent(&agent(Reason::Spawning)), None);
        for (percent, full) in [(0, 0), (43, 8), (100, BAR)] {
            let bar = bar(percent);
            assert_eq!(bar.matches('━').count(), full);
            assert_eq!(bar.chars().count(), BAR + 1);
        }
    }

    #[test]
    fn a_line_with_a_bar_does_not_wrap() {
        let detail = "fetching image ".to_owned() + &"x".repeat(200) + ": 50 % of 1 MiB";
        let line = line(&preparing(&detail), 3, 80);
        let plain = anstream::adapter::strip_str(&line).to_string();
        assert!(plain.chars().count() <= 80, "{plain}");
        assert!(plain.contains('━'), "{plain}");
    }
}
