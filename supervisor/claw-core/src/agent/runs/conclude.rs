//! The end of an attempt, and of a run: what is recorded, retried, announced.

use std::sync::Arc;
use std::time::Duration;

use crate::action::{Answer, Happened};
use crate::death::Cause;
use crate::memory::{Goal, Latch};
use crate::record::RecordId;
use crate::refusal::Refusal;
use crate::restart::{Counters, Verdict, delay, until_money};
use crate::run::{Run, RunOutcome, RunPhase, Trigger};
use crate::spec::Mode;

use super::super::context::Context;
use super::super::dossier::{Common, Place};
use super::accept::ANNOUNCE_WAIT;
use super::{Finished, Runs, Stage, Work};

/// How an attempt ended, as far as its run is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// It did its work.
    Succeeded,
    /// It ended, for `cause`; the restart policy goes by `judged`.
    Ended { cause: Cause, judged: Cause },
    /// It was ended on purpose, and its run with it.
    CalledOff(Cause),
    /// It was cut off on purpose, and its run is still wanted: the next is made at once.
    CutOff(Cause),
    /// The journal did not let it begin; the next is made later, and this one is not counted.
    NotBegun(Cause),
}

/// What followed from the end of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Followed {
    /// Another attempt is due.
    Again,
    /// The run is over.
    Finished,
}

/// What becomes of a run after an attempt.
enum Next {
    Again { after: Duration, cause: Cause },
    Done(RunOutcome),
}

impl<W> Runs<W> {
    /// Decides about a run whose attempt ended, and writes it down: retried or finished.
    pub(crate) fn conclude(
        &mut self,
        common: &mut Common,
        cx: &mut Context<'_>,
        index: usize,
        attempt: Attempt,
    ) -> Followed {
        let work = &mut self.works[index];
        match next(common, cx, work, attempt) {
            Next::Again { after, cause } => {
                let next = cx.after(after);
                work.stage = Stage::Retrying { next };
                work.run.phase = RunPhase::Retrying {
                    next: cx.now.wall_at(next),
                    cause,
                };
                changed(common, cx, &work.run);
                Followed::Again
            }
            Next::Done(outcome) => {
                self.finish(common, cx, index, outcome);
                Followed::Finished
            }
        }
    }

    /// Ends a run for good.
    pub(crate) fn finish(
        &mut self,
        common: &mut Common,
        cx: &mut Context<'_>,
        index: usize,
        outcome: RunOutcome,
    ) {
        let mut work = self.works.remove(index);
        count(common, &work, &outcome);
        common.save(cx);
        self.last_end = Some(cx.now.wall);
        work.run.phase = RunPhase::Finished {
            started: work.started,
            at: cx.now.wall,
            outcome,
        };
        let record = common.books.run(cx, &work.run);
        self.finished.push(Finished {
            record,
            run: Arc::new(work.run),
            tickets: work.tickets,
            give_up: cx.after(ANNOUNCE_WAIT),
        });
    }

    /// Calls off a run that nobody works on.
    pub(crate) fn call_off(
        &mut self,
        common: &mut Common,
        cx: &mut Context<'_>,
        index: usize,
        cause: Cause,
    ) {
        match &mut self.works[index].stage {
            Stage::Accepting(accepting) => {
                if let Some(ticket) = accepting.asker.take() {
                    let agent = common.name.clone();
                    cx.reply(ticket, Err(Refusal::Superseded { agent }));
                }
                if let Some((slot, fate)) = accepting.slot.take() {
                    let run = Some(self.works[index].id());
                    // Its record is under way, and may still be refused.
                    common.books.slot(cx, &common.name, (slot, fate, run));
                    cx.announce(&common.name, Happened::SlotSettled { slot, fate, run });
                }
            }
            Stage::Queued | Stage::Retrying { .. } => {}
            Stage::AtWork(_) => return,
        }
        self.finish(common, cx, index, RunOutcome::Cancelled { cause });
    }

    /// Calls off all that nobody works on.
    pub(crate) fn cancel_waiting(
        &mut self,
        common: &mut Common,
        cx: &mut Context<'_>,
        cause: &Cause,
    ) {
        while let Some(index) = self.works.iter().position(Work::is_waiting) {
            self.call_off(common, cx, index, cause.clone());
        }
    }

    /// The journal has answered. Says whether the record was one of a finished run.
    pub(super) fn finished_recorded(
        &mut self,
        common: &Common,
        cx: &mut Context<'_>,
        id: RecordId,
        result: &Result<(), String>,
    ) -> bool {
        let Some(index) = self.finished.iter().position(|run| run.record == id) else {
            return false;
        };
        let mut finished = self.finished.remove(index);
        if let Err(reason) = result {
            refuse(cx, &mut finished, reason);
        }
        Self::announce_finished(common, cx, finished);
        true
    }

    /// A finished run is announced all the same when the journal does not answer.
    pub(super) fn tick_finished(&mut self, common: &Common, cx: &mut Context<'_>) {
        let now = cx.mono();
        let late: Vec<Finished> = self
            .finished
            .extract_if(.., |run| run.give_up <= now)
            .collect();
        for mut finished in late {
            refuse(cx, &mut finished, "it has not answered in time");
            Self::announce_finished(common, cx, finished);
        }
    }

    pub(super) fn announce_finished(common: &Common, cx: &mut Context<'_>, finished: Finished) {
        for ticket in finished.tickets {
            cx.reply(ticket, Ok(Answer::Run(Box::new((*finished.run).clone()))));
        }
        let run = finished.run;
        cx.announce(&common.name, Happened::RunChanged { run });
    }
}

/// Writes down and announces a run that goes on.
pub(crate) fn changed(common: &mut Common, cx: &mut Context<'_>, run: &Run) {
    common.books.run(cx, run);
    let happened = Happened::RunChanged {
        run: Arc::new(run.clone()),
    };
    cx.announce(&common.name, happened);
}

fn refuse(cx: &mut Context<'_>, finished: &mut Finished, reason: &str) {
    for ticket in finished.tickets.drain(..) {
        let reason = reason.to_owned();
        cx.reply(ticket, Err(Refusal::JournalUnavailable { reason }));
    }
}

/// What follows from the end of an attempt.
fn next<W>(
    common: &mut Common,
    cx: &mut Context<'_>,
    work: &mut Work<W>,
    attempt: Attempt,
) -> Next {
    let wanted = common.memory.goal == Goal::Up && common.place != Place::Leaving;
    match attempt {
        Attempt::Succeeded => Next::Done(RunOutcome::Succeeded),
        Attempt::CutOff(cause) if wanted => Next::Again {
            after: Duration::ZERO,
            cause,
        },
        Attempt::CalledOff(cause) | Attempt::CutOff(cause) => {
            Next::Done(RunOutcome::Cancelled { cause })
        }
        Attempt::NotBegun(cause) => {
            work.run.attempts = work.run.attempts.saturating_sub(1);
            let after = delay(&common.spec.restart, 1, cx.random());
            Next::Again { after, cause }
        }
        Attempt::Ended { cause, judged } => {
            let counters = Counters {
                failures: work.failures,
                restarts_in_a_row: work.retries,
            };
            let random = cx.random();
            // The runs of a worker are judged as those of a oneshot are: each by itself.
            let verdict = common.decide(Mode::Oneshot, &judged, counters, random);
            match verdict {
                Verdict::Restart { delay, counters } if wanted => {
                    work.failures = counters.failures;
                    work.retries = counters.restarts_in_a_row;
                    let after = delay.max(until_money(&cause, cx.now.wall, random));
                    Next::Again { after, cause }
                }
                Verdict::Complete
                | Verdict::Restart { .. }
                | Verdict::Stay { .. }
                | Verdict::Refuse
                | Verdict::GiveUp { .. } => Next::Done(last(common, work, &verdict, cause)),
            }
        }
    }
}

/// The outcome of a run after its last attempt; an agent that is there for it alone rests with it.
fn last<W>(common: &mut Common, work: &Work<W>, verdict: &Verdict, cause: Cause) -> RunOutcome {
    let latch = match verdict {
        Verdict::Complete => return RunOutcome::Succeeded,
        Verdict::Restart { .. } => None,
        Verdict::Refuse => Some(Latch::Refused {
            reason: cause.to_string(),
        }),
        Verdict::Stay { .. } => Some(Latch::NotRestarted {
            cause: cause.clone(),
        }),
        Verdict::GiveUp { failures, .. } => Some(Latch::GaveUp {
            cause: cause.clone(),
            failures: *failures,
        }),
    };
    if latch.is_some() && is_only_work(common, work) {
        common.memory.latch = latch;
    }
    failed(cause)
}

/// Whether the agent is there for this run alone.
fn is_only_work<W>(common: &Common, work: &Work<W>) -> bool {
    common.spec.mode == Mode::Oneshot
        && common.spec.schedule.is_none()
        && work.run.trigger == Trigger::Start
}

fn failed(cause: Cause) -> RunOutcome {
    match &cause {
        Cause::Lost | Cause::RunLost | Cause::HostReboot => RunOutcome::Interrupted { cause },
        Cause::Exit { .. }
        | Cause::Signal { .. }
        | Cause::Oom { .. }
        | Cause::Probe { .. }
        | Cause::Watchdog
        | Cause::Protocol
        | Cause::NoProgress(_)
        | Cause::StartTimeout
        | Cause::RunTimeout
        | Cause::RunFailed { .. }
        | Cause::Spawn { .. }
        | Cause::Hook { .. }
        | Cause::Asked
        | Cause::Reconfigured
        | Cause::Replaced
        | Cause::Halted => RunOutcome::Failed { cause },
    }
}

/// Counts a finished run; the one run of an agent without a schedule completes it.
fn count<W>(common: &mut Common, work: &Work<W>, outcome: &RunOutcome) {
    let (succeeded, failed) = &mut common.memory.runs;
    match outcome {
        RunOutcome::Succeeded => *succeeded = succeeded.saturating_add(1),
        RunOutcome::Failed { .. } | RunOutcome::Interrupted { .. } => {
            *failed = failed.saturating_add(1);
        }
        RunOutcome::Cancelled { .. } => {}
    }
    if !is_only_work(common, work) || common.memory.goal == Goal::Down {
        return;
    }
    match outcome {
        RunOutcome::Succeeded => common.memory.latch = Some(Latch::Completed),
        RunOutcome::Failed { .. }
        | RunOutcome::Interrupted { .. }
        | RunOutcome::Cancelled { .. } => {}
    }
}
