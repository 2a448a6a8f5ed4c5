//! The agents of `clawctl up` in a terminal, one line each, as they come up.

use std::collections::BTreeMap;

use anstream::{AutoStream, ColorChoice};
use claw_daemon::api::{Agent, State};
use claw_daemon::feed::{Feed, Item};
use claw_daemon::supervise::Handle;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use jiff::Timestamp;
use owo_colors::OwoColorize;
use tokio::task::JoinHandle;

use super::style::{of_state, paint};

/// More agents than this do not fit a screen; the rest is counted in one line.
const LINES: usize = 40;

/// A live view that ends with this value.
pub(crate) struct Live {
    task: JoinHandle<()>,
    screen: MultiProgress,
}

impl Live {
    /// Shows the fleet and follows it.
    pub(crate) fn start(handle: Handle, feed: &Feed) -> Self {
        let screen = MultiProgress::new();
        let mut changes = feed.subscribe(None);
        let view = screen.clone();
        let task = tokio::spawn(async move {
            let mut lines = Lines::new(view);
            while let Ok(agents) = look(&handle).await {
                lines.show(&agents);
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
        // The last picture stays on the screen; a terminal that is gone needs none.
        drop(self.screen.println("the supervisor has ended"));
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

struct Lines {
    screen: MultiProgress,
    colour: ColorChoice,
    bars: BTreeMap<String, ProgressBar>,
    rest: ProgressBar,
}

impl Lines {
    fn new(screen: MultiProgress) -> Self {
        let rest = screen.add(ProgressBar::new_spinner().with_style(plain()));
        Self {
            screen,
            colour: AutoStream::choice(&std::io::stderr()),
            bars: BTreeMap::new(),
            rest,
        }
    }

    fn coloured(&self, line: String) -> String {
        match self.colour {
            ColorChoice::Never => anstream::adapter::strip_str(&line).to_string(),
            ColorChoice::Auto | ColorChoice::Always | ColorChoice::AlwaysAnsi => line,
        }
    }

    fn show(&mut self, agents: &[Agent]) {
        let gone = |name: &String| !agents.iter().any(|agent| agent.name == *name);
        for name in self
            .bars
            .keys()
            .filter(|name| gone(name))
            .cloned()
            .collect::<Vec<_>>()
        {
            self.bars.remove(&name);
        }
        let width = agents
            .iter()
            .map(|agent| agent.name.len())
            .max()
            .unwrap_or(0);
        for agent in agents.iter().take(LINES) {
            let text = self.coloured(line(agent, width));
            let bar = self.bars.entry(agent.name.clone()).or_insert_with(|| {
                self.screen
                    .insert_before(&self.rest, ProgressBar::new_spinner().with_style(plain()))
            });
            bar.set_message(text);
        }
        let up = agents
            .iter()
            .filter(|agent| agent.state == State::Running)
            .count();
        self.rest.set_message(format!(
            "{up} of {} up; Ctrl-C stops the fleet",
            agents.len()
        ));
    }
}

fn plain() -> ProgressStyle {
    ProgressStyle::with_template("{msg}").unwrap_or_else(|_error| ProgressStyle::default_spinner())
}

fn line(agent: &Agent, width: usize) -> String {
    let state = paint(
        &format!("{:12}", agent.state.as_str()),
        of_state(agent.state),
    );
    let ready = if agent.ready { "ready" } else { "     " };
    format!(
        "{:width$}  {state} {ready}  {}",
        agent.name.bold(),
        agent.reason.text.dimmed()
    )
}
