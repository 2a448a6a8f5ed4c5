//! Runs whose ids are derived from the call that asks for them: a call that comes again finds what
//! it has made, whoever died in between.

use claw_core::{Run, RunId, RunOutcome, RunPhase};
use sha2::{Digest, Sha256};

use super::problem::ApiError;
use super::state::ApiState;

/// How often a call makes a run anew whose run was called off before it began.
const MOST: u64 = 8;

/// What the runs of a call are derived from.
#[derive(Debug)]
pub(super) struct Seed<'a> {
    /// When the call was made, in milliseconds since 1970.
    pub(super) unix_ms: u64,
    /// What it is recognised by.
    pub(super) call: &'a str,
}

/// What a call has made so far.
#[derive(Debug)]
pub(super) enum Derived {
    /// No run; one that it makes now has this id.
    Anew(RunId),
    /// This run.
    Before(Box<Run>),
}

impl Seed<'_> {
    /// The run that the call has made, or the id of the one that it is to make.
    ///
    /// # Errors
    ///
    /// The journal cannot be read.
    pub(super) async fn look(&self, state: &ApiState) -> Result<Derived, ApiError> {
        let mut nth = 0;
        loop {
            let run = self.run(nth);
            match state.ports.journal.run.call(run).await? {
                None => return Ok(Derived::Anew(run)),
                // Its caller was told that it failed, as when the journal was late.
                Some(found) if was_called_off(&found.phase) && nth < MOST => nth += 1,
                Some(found) => return Ok(Derived::Before(Box::new(found))),
            }
        }
    }

    /// The id of the run that the call makes, `nth` times anew.
    fn run(&self, nth: u64) -> RunId {
        let digest = Sha256::new()
            .chain_update(self.call)
            .chain_update(nth.to_be_bytes())
            .finalize();
        let random = digest[..16]
            .iter()
            .fold(0, |all, byte| all << 8 | u128::from(*byte));
        RunId::new(self.unix_ms, random)
    }
}

/// Whether a run was cancelled before it began.
fn was_called_off(phase: &RunPhase) -> bool {
    match phase {
        RunPhase::Finished {
            started: None,
            outcome: RunOutcome::Cancelled { .. },
            ..
        } => true,
        RunPhase::Queued
        | RunPhase::Running { .. }
        | RunPhase::Retrying { .. }
        | RunPhase::Finished { .. } => false,
    }
}
