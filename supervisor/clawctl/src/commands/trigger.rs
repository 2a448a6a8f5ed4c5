//! `clawctl trigger`

use std::time::Duration;

use claw_daemon::api::{Run, RunState, routes};

use super::payload;
use crate::args::{Output, Trigger};
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::print;
use crate::render::style::{of_run, paint};
use crate::render::time::span;

/// Asks for one run, and with `--wait` for its outcome.
///
/// # Errors
///
/// The refusal; or with `--wait`, that the run did not succeed.
pub(crate) async fn run(client: &Client, trigger: &Trigger, output: Output) -> Result<(), Failure> {
    let mut path = super::goals::path(routes::TRIGGER, &trigger.agent)?;
    if let Some(wait) = trigger.wait {
        path = format!("{path}?wait={}", wire(wait));
    }
    let body = trigger.data.as_deref().map(payload::read).transpose()?;
    let run: Run = client.post(&path, body).await?;
    match output {
        Output::Table => print::line(&sentence(&run))?,
        Output::Json | Output::Yaml => print::document(&run, output)?,
    }
    match run.state {
        RunState::Failed | RunState::Cancelled | RunState::Interrupted => {
            Err(Failure::silent(Exit::Failed))
        }
        RunState::Queued | RunState::Running | RunState::Retrying | RunState::Succeeded => Ok(()),
    }
}

fn sentence(run: &Run) -> String {
    let state = paint(run.state.as_str(), of_run(run.state));
    let took = run
        .duration_seconds
        .map(|took| format!(" in {}", span(took)))
        .unwrap_or_default();
    let cause = run
        .cause
        .as_ref()
        .map(|cause| format!(": {}", cause.text))
        .unwrap_or_default();
    format!("run {} of {} {state}{took}{cause}", run.id, run.agent)
}

fn wire(wait: Duration) -> String {
    format!("{}ms", wait.as_millis())
}
