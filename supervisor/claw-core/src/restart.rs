//! What an end counts as, whether another start follows, and after which delay.
//!
//! Two counters, two questions. `restarts_in_a_row` makes delays grow, also after successes, so
//! that a program that ends at once never spins. `failures` decides about giving up, and only
//! failures without a success in between count. Both start over after `reset_after` of healthy
//! operation, which the caller watches.

use std::time::Duration;

use crate::clock::Wall;
use crate::death::{Cause, SpawnStage};
use crate::spec::{Backoff, ExitCodes, Mode, Restart, RestartPolicy};

/// A start waits for money no longer than this: somebody may have raised the budget since.
const MONEY_WAIT: Duration = Duration::from_secs(86_400);

/// By up to this agents that wait for the same budget are kept apart.
const MONEY_SPREAD: Duration = Duration::from_secs(60);

/// What is remembered from one end to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Failures without a success or healthy operation in between.
    pub failures: u32,
    /// Restarts without healthy operation in between.
    pub restarts_in_a_row: u32,
}

/// What an end counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// It did its work.
    Success,
    /// It failed.
    Failure,
    /// It failed and asks for another try.
    Retry,
    /// It failed and says that no restart can mend it.
    Fatal,
    /// It asks to be started again at once, or ended through no fault of its own.
    Again,
    /// Something that it needs was not there; that is no fault of its own, and may take time.
    Hindered,
    /// It cannot be started as it is written.
    Refused,
    /// We ended it on purpose; that says nothing about it.
    Ordered,
}

/// What follows from an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Start it again.
    Restart {
        /// After this long.
        delay: Duration,
        /// The counters from now on.
        counters: Counters,
    },
    /// Do not start it again until somebody asks.
    GiveUp {
        /// Failures in a row.
        failures: u32,
        /// Why.
        why: GiveUpReason,
    },
    /// Do not start it as it is written; the cause says why.
    Refuse,
    /// It did what it had to do.
    Complete,
    /// Leave it as it is.
    Stay {
        /// Why.
        why: StayReason,
    },
}

/// Why an agent is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GiveUpReason {
    /// More failures in a row than `max_retries`.
    TooManyFailures,
    /// Its exit code is one of `exit_codes.fatal`.
    FatalCode,
}

/// Why nothing follows from an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StayReason {
    /// `policy: never`.
    Policy,
    /// We ended it; what comes next was decided by whoever asked.
    Ordered,
}

/// Says what an end counts as.
///
/// Any signal that we did not send is a failure, SIGHUP, SIGINT, SIGTERM and SIGPIPE too. systemd
/// takes those four for clean; but an agent that somebody else terminated did not do its work, and
/// an operator who means it says `clawctl stop`.
///
/// The end of the machine is no fault of the agent and counts as [`Class::Again`]: it is started
/// again without a delay, and reboots never make us give up.
#[must_use]
pub fn classify(codes: &ExitCodes, cause: &Cause) -> Class {
    match cause {
        Cause::Exit { code, .. } => classify_code(codes, *code),
        Cause::RunFailed {
            retryable: true, ..
        } => Class::Retry,
        Cause::RunFailed {
            retryable: false, ..
        } => Class::Fatal,
        Cause::Signal { .. }
        | Cause::Oom { .. }
        | Cause::Probe { .. }
        | Cause::Watchdog
        | Cause::Protocol
        | Cause::NoProgress(_)
        | Cause::StartTimeout
        | Cause::RunTimeout
        | Cause::RunLost
        | Cause::Hook { .. }
        | Cause::Lost => Class::Failure,
        Cause::Spawn { error } => classify_spawn(error.stage),
        Cause::HostReboot => Class::Again,
        Cause::Asked | Cause::Reconfigured | Cause::Replaced | Cause::Halted => Class::Ordered,
    }
}

const fn classify_spawn(stage: SpawnStage) -> Class {
    match stage {
        SpawnStage::Engine => Class::Hindered,
        SpawnStage::Image | SpawnStage::Sandbox => Class::Refused,
        SpawnStage::Prepare
        | SpawnStage::Log
        | SpawnStage::Cgroup
        | SpawnStage::Limits
        | SpawnStage::User
        | SpawnStage::WorkingDir
        | SpawnStage::Fork
        | SpawnStage::Exec => Class::Failure,
    }
}

/// A code in several sets means the gravest of them.
fn classify_code(codes: &ExitCodes, code: u8) -> Class {
    if codes.fatal.contains(&code) {
        Class::Fatal
    } else if codes.retry.contains(&code) {
        Class::Retry
    } else if codes.again.contains(&code) {
        Class::Again
    } else if codes.success.contains(&code) || code == 0 {
        Class::Success
    } else {
        Class::Failure
    }
}

/// Decides what follows from an end that is laid to somebody else: as [`decide`], but that it does
/// not count towards giving up.
#[must_use]
pub fn decide_excused(
    restart: &Restart,
    mode: Mode,
    cause: &Cause,
    counters: Counters,
    random: u64,
) -> Verdict {
    let patient = Restart {
        max_retries: None,
        ..restart.clone()
    };
    match decide(&patient, mode, cause, counters, random) {
        Verdict::Restart {
            delay,
            counters: after,
        } => Verdict::Restart {
            delay,
            counters: Counters {
                failures: after.failures.min(counters.failures),
                ..after
            },
        },
        verdict @ (Verdict::GiveUp { .. }
        | Verdict::Refuse
        | Verdict::Complete
        | Verdict::Stay { .. }) => verdict,
    }
}

/// Decides what follows from an end. `random` makes the jitter.
#[must_use]
pub fn decide(
    restart: &Restart,
    mode: Mode,
    cause: &Cause,
    counters: Counters,
    random: u64,
) -> Verdict {
    let failures = counters.failures.saturating_add(1);
    match (classify(&restart.exit_codes, cause), mode, restart.policy) {
        (Class::Ordered, _, _) => ordered(cause, counters),
        (Class::Again, _, _) => at_once(counters),
        (Class::Hindered, _, _) => later(restart, counters.failures, counters, random),
        (Class::Refused, _, _) => Verdict::Refuse,
        (Class::Fatal, _, _) => Verdict::GiveUp {
            failures,
            why: GiveUpReason::FatalCode,
        },
        (Class::Success, Mode::Oneshot, _)
        | (
            Class::Success,
            Mode::Daemon | Mode::Worker,
            RestartPolicy::OnFailure | RestartPolicy::Never,
        ) => Verdict::Complete,
        (Class::Success, Mode::Daemon | Mode::Worker, RestartPolicy::Always) => {
            later(restart, 0, counters, random)
        }
        (Class::Failure, _, RestartPolicy::Never)
        | (Class::Retry, Mode::Daemon | Mode::Worker, RestartPolicy::Never) => Verdict::Stay {
            why: StayReason::Policy,
        },
        (Class::Retry, Mode::Oneshot, RestartPolicy::Never)
        | (Class::Failure | Class::Retry, _, RestartPolicy::Always | RestartPolicy::OnFailure) => {
            match restart.max_retries {
                Some(most) if failures > most => Verdict::GiveUp {
                    failures,
                    why: GiveUpReason::TooManyFailures,
                },
                Some(_) | None => later(restart, failures, counters, random),
            }
        }
    }
}

/// A changed configuration wants its agent back; the goal and the newer run decide the rest.
fn ordered(cause: &Cause, counters: Counters) -> Verdict {
    if matches!(cause, Cause::Reconfigured) {
        at_once(counters)
    } else {
        Verdict::Stay {
            why: StayReason::Ordered,
        }
    }
}

const fn at_once(counters: Counters) -> Verdict {
    Verdict::Restart {
        delay: Duration::ZERO,
        counters,
    }
}

fn later(restart: &Restart, failures: u32, counters: Counters, random: u64) -> Verdict {
    let restarts_in_a_row = counters.restarts_in_a_row.saturating_add(1);
    Verdict::Restart {
        delay: delay(restart, restarts_in_a_row, random),
        counters: Counters {
            failures,
            restarts_in_a_row,
        },
    }
}

/// The delay before the `nth` restart in a row, counted from 1: never shorter than configured,
/// and up to `jitter_percent` longer, at the cap too.
#[must_use]
pub fn delay(restart: &Restart, nth: u32, random: u64) -> Duration {
    let grown = match restart.backoff {
        Backoff::Immediate => return Duration::ZERO,
        Backoff::Linear => restart.initial_delay.saturating_mul(nth),
        Backoff::Exponential => {
            let doublings = nth.saturating_sub(1).min(u32::BITS - 1);
            restart.initial_delay.saturating_mul(1 << doublings)
        }
    };
    let capped = grown.min(restart.max_delay);
    capped.saturating_add(jitter(capped, restart.jitter_percent, random))
}

/// How long before there is money again, where an agent ended for want of it: a start before that
/// would come to the same end. `random` keeps agents apart that wait for the same budget.
#[must_use]
pub fn until_money(cause: &Cause, now: Wall, random: u64) -> Duration {
    let Some(at) = resets_at(cause) else {
        return Duration::ZERO;
    };
    let wait = Duration::try_from(at.duration_since(now)).unwrap_or_default();
    if wait.is_zero() {
        return Duration::ZERO;
    }
    wait.min(MONEY_WAIT) + jitter(MONEY_SPREAD, 100, random)
}

/// The longest that [`until_money`] can have said of an end at that time.
pub(crate) fn longest_wait_for_money(cause: &Cause, at: Wall) -> Duration {
    until_money(cause, at, u64::MAX)
}

const fn resets_at(cause: &Cause) -> Option<Wall> {
    if let Cause::NoProgress(evidence) = cause {
        evidence.failure.resets_at()
    } else {
        None
    }
}

/// A share of `delay`, from nothing to `percent` of it. Half of `random` is used, so that the
/// longest delay there is does not overflow.
fn jitter(delay: Duration, percent: u8, random: u64) -> Duration {
    let most = delay.as_nanos() * u128::from(percent.min(100)) / 100;
    let share = most * u128::from(random >> 32) / u128::from(u32::MAX);
    Duration::from_nanos_u128(share)
}

#[cfg(test)]
mod tests;
