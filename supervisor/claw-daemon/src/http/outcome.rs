//! Waits for the outcome of a run.

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use tokio::time::Instant;

use super::problem::ApiError;
use super::state::ApiState;
use crate::api::{Code, Event, Happened, Run};

/// The run once it has ended, from `events` that began before the run did.
pub(super) async fn of(
    state: &ApiState,
    run: &claw_core::Run,
    mut events: BoxStream<'static, Event>,
    deadline: Instant,
) -> Result<Run, ApiError> {
    let mut newest = Run::from(run);
    while !newest.state.is_final() {
        let next = tokio::select! {
            next = events.next() => next,
            () = tokio::time::sleep_until(deadline) => return Err(timed_out(newest)),
            () = state.closing.cancelled() => None,
        };
        let Some(event) = next else {
            let detail = "the supervisor ends; the run is taken up again by the next one";
            return Err(ApiError::new(Code::ShuttingDown, detail).run(newest));
        };
        if let Some(seen) = seen(state, run.id, event).await? {
            newest = seen;
        }
    }
    Ok(newest)
}

/// The run as an event tells it; after a loss of events the journal is asked.
async fn seen(
    state: &ApiState,
    id: claw_core::RunId,
    event: Event,
) -> Result<Option<Run>, ApiError> {
    match event.happened {
        Happened::RunChanged { run } => Ok(Some(*run).filter(|run| run.id == id.to_string())),
        Happened::Lagged { .. } => {
            let found = state.ports.journal.run.call(id).await?;
            Ok(found.as_ref().map(Run::from))
        }
        Happened::StateChanged { .. }
        | Happened::Started { .. }
        | Happened::Adopted { .. }
        | Happened::Ended { .. }
        | Happened::ProbeFailed { .. }
        | Happened::Halted { .. }
        | Happened::HaltLifted { .. }
        | Happened::SlotSettled { .. }
        | Happened::StaleFact { .. } => Ok(None),
    }
}

fn timed_out(run: Run) -> ApiError {
    let detail = format!(
        "run {} is {} and goes on; the wait for its outcome has ended",
        run.id, run.state
    );
    ApiError::new(Code::WaitTimedOut, detail).run(run)
}
