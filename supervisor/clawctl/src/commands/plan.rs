//! `clawctl plan`

use claw_daemon::api::{Change, ChangeKind, Plan, ReloadClass, routes};
use owo_colors::OwoColorize;

use crate::args::{Global, Output};
use crate::client::Client;
use crate::exit::Failure;
use crate::print;

/// Prints what applying the fleet file would change, and why each restart is needed.
///
/// # Errors
///
/// No supervisor answers, or the fleet file has errors.
pub(crate) async fn run(global: &Global, client: &Client) -> Result<(), Failure> {
    let plan: Plan = client.post(routes::CONFIG_PLAN, None).await?;
    match global.output {
        Output::Table => print::line(&text(&plan.changes, Tense::Planned)),
        Output::Json | Output::Yaml => print::document(&plan, global.output),
    }
}

/// Whether changes are to come or have been made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tense {
    /// They would be made.
    Planned,
    /// They were made.
    Done,
}

/// The changes, a line each, in the order of agents.
pub(crate) fn text(changes: &[Change], tense: Tense) -> String {
    if changes.is_empty() {
        return match tense {
            Tense::Planned => "nothing would change".to_owned(),
            Tense::Done => "nothing changed".to_owned(),
        };
    }
    let lines: Vec<String> = changes.iter().map(line).collect();
    lines.join("\n")
}

fn line(change: &Change) -> String {
    let agent = change.agent.as_deref().unwrap_or("supervisor");
    match change.kind {
        ChangeKind::Added => format!("{} {agent} is started", "+".green()),
        ChangeKind::Removed => format!("{} {agent} is stopped and removed", "-".red()),
        ChangeKind::Changed => {
            let effect = match change.class {
                ReloadClass::Live => "live".green().to_string(),
                ReloadClass::Drain => "after the current run".cyan().to_string(),
                ReloadClass::Restart => format!("restarts {agent}").yellow().to_string(),
                ReloadClass::Supervisor => "needs a new supervisor".red().to_string(),
            };
            let (old, new) = (value(change.old.as_ref()), value(change.new.as_ref()));
            format!(
                "{} {agent} {}: {old} -> {new} ({effect})",
                "~".yellow(),
                change.path
            )
        }
    }
}

fn value(value: Option<&serde_json::Value>) -> String {
    match value {
        None => "(none)".to_owned(),
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}
