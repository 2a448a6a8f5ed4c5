//! What follows an attempt that failed before its first byte reached the agent.

use std::time::Duration;

use super::LONGEST_WAIT;

/// The wait before the first retry, where the provider names none.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// The longest wait that is computed, where the provider names none.
const MOST_WAIT: Duration = Duration::from_secs(8);

/// How an attempt failed. After the first byte has reached the agent nothing is tried again, so
/// there is no such failure here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No connection was made; nothing was sent.
    Connect,
    /// The connection ended after the request was sent and before its answer began.
    Broken,
    /// Nothing came in the time that the fleet file gives.
    TimedOut,
    /// The answer began in time, and did not come to its end or its first piece, or the time was
    /// short: the answer is long, or the agent is in a hurry.
    Late,
    /// The provider's limit, as counted here, has no room soon.
    Limited,
    /// The provider refused.
    Status {
        /// Its HTTP status: not one of success.
        status: u16,
        /// The wait it asks for.
        retry_after: Option<Duration>,
    },
}

impl Failure {
    /// The status with which a provider refuses the key, the model or the address, or says that its
    /// credit is used up. What is no refusal and no success is an address that leads elsewhere.
    #[must_use]
    pub const fn misconfigured(self) -> Option<u16> {
        match self {
            Self::Status {
                status: status @ (..=399 | 401..=404),
                ..
            } => Some(status),
            Self::Status { .. }
            | Self::Connect
            | Self::Broken
            | Self::TimedOut
            | Self::Late
            | Self::Limited => None,
        }
    }
}

/// What is left of a call's patience with its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tries {
    /// Attempts at this target that have failed, the latest included.
    pub failed: u32,
    /// How many more than one the target may have.
    pub max_retries: u32,
    /// Until the call's deadline.
    pub left: Duration,
}

/// What to do after an attempt that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The same target again.
    Retry {
        /// After this long.
        after: Duration,
    },
    /// The next target of the chain, at once.
    NextTarget(Passed),
    /// What the provider said goes to the agent: another target would say the same.
    GiveBack,
}

/// Why a target is passed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passed {
    /// It was tried as often as may be.
    Exhausted,
    /// It asks to wait longer than a call does, or than the call has left.
    TooLong,
    /// It did not answer in time.
    TimedOut,
    /// It refuses the key, the model or the address, or its credit is used up: an operator has to
    /// look.
    Misconfigured {
        /// Its HTTP status.
        status: u16,
    },
}

/// Decides what follows a failure. `chance` in 0 to 1 spreads the waits of calls that failed
/// together.
///
/// # Panics
/// Never: a chance out of its range is brought into it.
#[must_use]
pub fn next(failure: Failure, tries: Tries, chance: f64) -> Next {
    if let Some(status) = failure.misconfigured() {
        return Next::NextTarget(Passed::Misconfigured { status });
    }
    match failure {
        Failure::TimedOut | Failure::Late => Next::NextTarget(Passed::TimedOut),
        Failure::Limited => Next::NextTarget(Passed::TooLong),
        Failure::Connect | Failure::Broken => retry(None, tries, chance),
        Failure::Status {
            status,
            retry_after,
        } => match status {
            408 | 409 | 429 | 500.. => retry(retry_after, tries, chance),
            ..=499 => Next::GiveBack,
        },
    }
}

fn retry(named: Option<Duration>, tries: Tries, chance: f64) -> Next {
    if tries.failed > tries.max_retries {
        return Next::NextTarget(Passed::Exhausted);
    }
    let after = named.unwrap_or_else(|| computed(tries.failed, chance));
    if after >= LONGEST_WAIT || after >= tries.left {
        return Next::NextTarget(Passed::TooLong);
    }
    Next::Retry { after }
}

/// 0.25 s·2ⁿ, of which half is left to chance.
fn computed(failed: u32, chance: f64) -> Duration {
    let doublings = failed.saturating_sub(1).min(16);
    let whole = (FIRST_WAIT * (1 << doublings)).min(MOST_WAIT);
    let chance = if chance.is_finite() {
        chance.clamp(0.0, 1.0)
    } else {
        1.0
    };
    whole.mul_f64(0.5 + chance / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PATIENT: Tries = Tries {
        failed: 1,
        max_retries: 2,
        left: Duration::from_secs(30),
    };

    fn status(status: u16, retry_after: Option<f64>) -> Failure {
        Failure::Status {
            status,
            retry_after: retry_after.map(Duration::from_secs_f64),
        }
    }

    fn after(seconds: f64) -> Next {
        Next::Retry {
            after: Duration::from_secs_f64(seconds),
        }
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        for failure in [Failure::Connect, Failure::Broken] {
            assert_eq!(next(failure, PATIENT, 1.0), after(0.25));
        }
        for code in [408, 409, 429, 500, 502, 503, 504, 529, 599] {
            assert_eq!(next(status(code, None), PATIENT, 1.0), after(0.25));
        }
    }

    #[test]
    fn what_the_agent_has_done_wrong_goes_straight_back() {
        for code in [400, 405, 413, 415, 422, 451] {
            assert_eq!(next(status(code, Some(0.1)), PATIENT, 1.0), Next::GiveBack);
        }
    }

    #[test]
    fn a_target_that_refuses_us_is_passed_by_and_told_of() {
        for code in [302, 401, 402, 403, 404] {
            let passed = Next::NextTarget(Passed::Misconfigured { status: code });
            assert_eq!(next(status(code, None), PATIENT, 1.0), passed);
        }
    }

    #[test]
    fn a_timeout_goes_to_the_next_target_at_once() {
        let passed = Next::NextTarget(Passed::TimedOut);
        assert_eq!(next(Failure::TimedOut, PATIENT, 0.0), passed);
        assert_eq!(next(Failure::Late, PATIENT, 0.0), passed);
    }

    #[test]
    fn a_named_wait_is_kept_to_if_it_is_short() {
        assert_eq!(next(status(429, Some(1.9)), PATIENT, 0.0), after(1.9));
        let passed = Next::NextTarget(Passed::TooLong);
        assert_eq!(next(status(429, Some(2.0)), PATIENT, 0.0), passed);
        assert_eq!(next(status(503, Some(3600.0)), PATIENT, 0.0), passed);
    }

    #[test]
    fn no_wait_goes_beyond_the_deadline() {
        let hurried = Tries {
            left: Duration::from_millis(100),
            ..PATIENT
        };
        let passed = Next::NextTarget(Passed::TooLong);
        assert_eq!(next(Failure::Connect, hurried, 1.0), passed);
        assert_eq!(next(status(429, Some(0.05)), hurried, 1.0), after(0.05));
    }

    #[test]
    fn waits_double_and_half_of_them_is_chance() {
        let nth = |failed| Tries {
            failed,
            max_retries: 9,
            ..PATIENT
        };
        assert_eq!(next(Failure::Connect, nth(1), 0.0), after(0.125));
        assert_eq!(next(Failure::Connect, nth(2), 1.0), after(0.5));
        assert_eq!(next(Failure::Connect, nth(3), 1.0), after(1.0));
        assert_eq!(next(Failure::Connect, nth(4), 0.5), after(1.5));
        let passed = Next::NextTarget(Passed::TooLong);
        assert_eq!(next(Failure::Connect, nth(4), 1.0), passed);
    }

    proptest! {
        #[test]
        fn a_target_is_tried_once_and_max_retries_times_more(
            max_retries in 0_u32..6,
            code in prop::sample::select(vec![408_u16, 409, 429, 500, 503, 529]),
            wait in 0.0_f64..1.9,
            chance in any::<f64>(),
        ) {
            let failure = status(code, Some(wait));
            let mut attempts = 0;
            loop {
                attempts += 1;
                let tries = Tries { failed: attempts, max_retries, left: Duration::from_secs(60) };
                match next(failure, tries, chance) {
                    Next::Retry { after } => prop_assert!(after < LONGEST_WAIT),
                    Next::NextTarget(passed) => {
                        prop_assert_eq!(passed, Passed::Exhausted);
                        break;
                    }
                    Next::GiveBack => prop_assert!(false, "{code} is no fault of the agent"),
                }
            }
            prop_assert_eq!(attempts, max_retries + 1);
        }

        #[test]
        fn no_failure_waits_past_its_deadline(
            status in 100_u16..,
            named in prop::option::of(0_u64..100_000),
            failed in any::<u32>(),
            max_retries in any::<u32>(),
            left in 0_u64..100_000,
            chance in any::<f64>(),
        ) {
            let retry_after = named.map(Duration::from_millis);
            let left = Duration::from_millis(left);
            let tries = Tries { failed, max_retries, left };
            if let Next::Retry { after } = next(Failure::Status { status, retry_after }, tries, chance) {
                prop_assert!(after < left && after < LONGEST_WAIT);
            }
        }
    }
}
