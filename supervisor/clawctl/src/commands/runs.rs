//! `clawctl runs`

use claw_daemon::api::{Run, RunList, routes};

use crate::args::Output;
use crate::client::Client;
use crate::exit::Failure;
use crate::print;
use crate::render::image::image;
use crate::render::style::{of_run, paint};
use crate::render::table;
use crate::render::time::{ago, dash, span};

/// Prints the newest runs of an agent.
///
/// # Errors
///
/// No supervisor answers, or no such agent.
pub(crate) async fn run(
    client: &Client,
    agent: &str,
    limit: u32,
    output: Output,
) -> Result<(), Failure> {
    let path = format!("{}?limit={limit}", super::goals::path(routes::RUNS, agent)?);
    let list: RunList = client.get(&path).await?;
    match output {
        Output::Table if list.runs.is_empty() => print::line(&format!("{agent} has had no runs")),
        Output::Table => print::line(&rows(&list.runs)),
        Output::Json | Output::Yaml => print::document(&list.runs, output),
    }
}

fn rows(runs: &[Run]) -> String {
    let now = jiff::Timestamp::now();
    let head = [
        "Agent", "Run", "Outcome", "Trigger", "Queued", "Took", "Attempts", "Cause", "Image",
    ];
    // Whose they are is worth a column where they are not all one agent's, and the image where
    // there is one.
    let several = runs.iter().any(|run| run.agent != runs[0].agent);
    let contained = runs.iter().any(|run| run.image.is_some());
    let shown = usize::from(!several)..head.len() - usize::from(!contained);
    let mut rows = table::with_head(&head[shown.clone()]);
    for run in runs {
        let row = [
            run.agent.clone(),
            run.id.clone(),
            paint(run.state.as_str(), of_run(run.state)),
            run.trigger.kind.as_str().to_owned(),
            ago(Some(run.queued_at), now),
            run.duration_seconds.map_or_else(dash, span),
            run.attempts.to_string(),
            run.cause
                .as_ref()
                .map_or_else(dash, |cause| cause.text.clone()),
            run.image
                .as_ref()
                .map_or_else(dash, |ran| image(&ran.reference, Some(&ran.digest))),
        ];
        rows.add_row(&row[shown.clone()]);
    }
    table::text(&rows)
}
