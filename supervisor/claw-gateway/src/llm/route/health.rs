//! Whether a provider may be asked, as all agents of the fleet have found it.
//!
//! ```text
//!   Well ──429, or 3 requests fail in 30 s──► Cooling{until}
//!    ▲                                          │ until is over
//!    │ the probe is answered                    ▼ one call
//!    └────────────────────────────────────── Probing{until} ──it fails──► Cooling
//! ```

use std::sync::Arc;
use std::time::Duration;

/// So many requests that failed within [`WITHIN`] and a provider is left alone.
const FAILURES: usize = 3;

/// See [`FAILURES`].
const WITHIN: Duration = Duration::from_secs(30);

/// How long a provider is left alone that does not say for how long.
const COOLING: Duration = Duration::from_secs(10);

/// A probe of which nothing is heard for this long is taken for lost, and another may go.
const PROBE: Duration = Duration::from_secs(60);

/// The health of one provider, or of one of its models. Times are on any clock that does not go
/// back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health(State);

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Well {
        /// The latest requests that failed, each with the time when it last did; the latest last.
        failures: Vec<(Duration, Failing)>,
    },
    Cooling {
        until: Duration,
    },
    Probing {
        until: Duration,
    },
}

/// Whether a call may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It may.
    Open,
    /// It may, as the only one: what becomes of it decides for all.
    Probe,
    /// It may not.
    Cooling {
        /// For this long.
        left: Duration,
    },
}

/// What failed. However often it does, it counts once: a request that no provider can answer says
/// nothing of what becomes of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failing {
    /// A request of which nothing was sent, by its id: the fault is none of its own.
    Unsent(Arc<str>),
    /// A body that the provider was sent, and may have failed by.
    Sent {
        /// In which life of its agent.
        instance: Arc<str>,
        /// SHA-256 of the body.
        hash: [u8; 32],
    },
}

/// What went wrong with a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setback {
    /// It said that there are too many calls.
    TooMany {
        /// The wait it asks for.
        retry_after: Option<Duration>,
    },
    /// It failed, or did not answer.
    Failed(Failing),
}

impl Default for Health {
    fn default() -> Self {
        Self(State::Well {
            failures: Vec::new(),
        })
    }
}

impl Health {
    /// Asks for a call's admission. A [`Admission::Probe`] must be followed by one of
    /// [`succeeded`](Self::succeeded), [`set_back`](Self::set_back) and
    /// [`given_up`](Self::given_up).
    pub fn admit(&mut self, now: Duration) -> Admission {
        match &self.0 {
            State::Well { .. } => Admission::Open,
            State::Cooling { until } | State::Probing { until } if now < *until => {
                let left = *until - now;
                Admission::Cooling { left }
            }
            State::Cooling { .. } | State::Probing { .. } => {
                self.0 = State::Probing { until: now + PROBE };
                Admission::Probe
            }
        }
    }

    /// Whether nothing is held against it, so that it need not be kept.
    #[must_use]
    pub fn is_well(&self) -> bool {
        matches!(&self.0, State::Well { failures } if failures.is_empty())
    }

    /// Until when it is left alone, if it is; one call may find out before that whether it answers
    /// again.
    #[must_use]
    pub const fn left_alone(&self) -> Option<Duration> {
        match &self.0 {
            State::Well { .. } => None,
            State::Cooling { until } | State::Probing { until } => Some(*until),
        }
    }

    /// A call was answered. What was sent before a provider asked to be left alone says nothing
    /// about its health since.
    pub fn succeeded(&mut self, now: Duration) {
        match &self.0 {
            State::Cooling { until } if now < *until => {}
            State::Well { .. } | State::Cooling { .. } | State::Probing { .. } => {
                *self = Self::default();
            }
        }
    }

    /// A call failed in a way that others would too.
    pub fn set_back(&mut self, now: Duration, setback: Setback) {
        match (&mut self.0, setback) {
            (state, Setback::TooMany { retry_after }) => {
                cool(state, now + retry_after.unwrap_or(COOLING));
            }
            (State::Well { failures }, Setback::Failed(failing)) => {
                failures
                    .retain(|(at, before)| now.saturating_sub(*at) < WITHIN && *before != failing);
                failures.push((now, failing));
                if failures.len() >= FAILURES {
                    cool(&mut self.0, now + COOLING);
                }
            }
            (state @ State::Probing { .. }, Setback::Failed(_)) => cool(state, now + COOLING),
            // Sent before the cooling began.
            (State::Cooling { .. }, Setback::Failed(_)) => {}
        }
    }

    /// A probe ended before it told anything: the next call is one.
    pub fn given_up(&mut self, now: Duration) {
        match &self.0 {
            State::Probing { .. } => self.0 = State::Cooling { until: now },
            State::Well { .. } | State::Cooling { .. } => {}
        }
    }
}

fn cool(state: &mut State, until: Duration) {
    let until = match state {
        State::Cooling { until: before } => until.max(*before),
        State::Well { .. } | State::Probing { .. } => until,
    };
    *state = State::Cooling { until };
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    fn too_many(seconds: u64) -> Setback {
        Setback::TooMany {
            retry_after: Some(Duration::from_secs(seconds)),
        }
    }

    fn failed(request: u64) -> Setback {
        Setback::Failed(Failing::Unsent(request.to_string().into()))
    }

    fn failed_on(instance: &str, body: u8) -> Setback {
        Setback::Failed(Failing::Sent {
            instance: instance.into(),
            hash: [body; 32],
        })
    }

    #[test]
    fn a_provider_that_says_429_is_left_alone_until_its_time() {
        let mut health = Health::default();
        health.set_back(seconds(1), too_many(20));
        let left = seconds(11);
        assert_eq!(health.admit(seconds(10)), Admission::Cooling { left });
        assert_eq!(health.admit(seconds(21)), Admission::Probe);
    }

    #[test]
    fn three_failures_in_half_a_minute_cool_and_slower_ones_do_not() {
        let mut health = Health::default();
        for at in [0, 15, 31, 46, 62] {
            health.set_back(seconds(at), failed(at));
            assert_eq!(health.admit(seconds(at)), Admission::Open, "at {at} s");
        }
        health.set_back(seconds(70), failed(70));
        let left = COOLING;
        assert_eq!(health.admit(seconds(70)), Admission::Cooling { left });
    }

    #[test]
    fn what_fails_again_and_again_counts_once_and_others_count_as_before() {
        for setback in [failed(1), failed_on("coder#1", 1)] {
            let mut health = Health::default();
            for at in 0..20 {
                health.set_back(seconds(at), setback.clone());
            }
            health.set_back(seconds(20), failed_on("coder#1", 2));
            assert_eq!(health.admit(seconds(20)), Admission::Open);
            // The same body in another life is another request.
            health.set_back(seconds(21), failed_on("coder#2", 2));
            let left = COOLING;
            assert_eq!(health.admit(seconds(21)), Admission::Cooling { left });
        }
    }

    #[test]
    fn one_probe_decides_for_all() {
        let mut health = Health::default();
        health.set_back(seconds(0), too_many(5));
        assert_eq!(health.admit(seconds(5)), Admission::Probe);
        assert!(matches!(
            health.admit(seconds(5)),
            Admission::Cooling { .. }
        ));
        health.set_back(seconds(6), failed(1));
        let left = COOLING;
        assert_eq!(health.admit(seconds(6)), Admission::Cooling { left });
        assert_eq!(health.admit(seconds(16)), Admission::Probe);
        health.succeeded(seconds(17));
        assert_eq!(health.admit(seconds(17)), Admission::Open);
        assert!(health.is_well());
    }

    #[test]
    fn a_probe_that_told_nothing_lets_the_next_one_go() {
        let mut health = Health::default();
        health.set_back(seconds(0), too_many(5));
        assert_eq!(health.admit(seconds(5)), Admission::Probe);
        health.given_up(seconds(6));
        assert_eq!(health.admit(seconds(6)), Admission::Probe);
        assert!(matches!(
            health.admit(seconds(60)),
            Admission::Cooling { .. }
        ));
        assert_eq!(health.admit(seconds(66)), Admission::Probe, "it was lost");
    }

    #[test]
    fn an_answer_to_an_older_call_ends_no_cooling() {
        let mut health = Health::default();
        health.set_back(seconds(0), too_many(30));
        health.succeeded(seconds(1));
        let left = seconds(29);
        assert_eq!(health.admit(seconds(1)), Admission::Cooling { left });
        health.set_back(seconds(2), too_many(1));
        let left = seconds(28);
        assert_eq!(health.admit(seconds(2)), Admission::Cooling { left });
    }

    #[derive(Debug, Clone)]
    enum Step {
        Admit,
        Succeed,
        Fail(u64),
        TooMany(u64),
        GiveUp,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            Just(Step::Admit),
            Just(Step::Succeed),
            (0_u64..5).prop_map(Step::Fail),
            (0_u64..3600).prop_map(Step::TooMany),
            Just(Step::GiveUp),
        ]
    }

    proptest! {
        #[test]
        fn no_provider_is_left_alone_for_ever(
            steps in prop::collection::vec((0_u64..100, step()), 0..60),
        ) {
            let (mut health, mut now) = (Health::default(), Duration::ZERO);
            let mut named = Duration::ZERO;
            for (passed, step) in steps {
                now += seconds(passed);
                match step {
                    Step::Admit => {
                        if let Admission::Cooling { left } = health.admit(now) {
                            prop_assert!(now + left <= named.max(now + PROBE));
                        }
                    }
                    Step::Succeed => health.succeeded(now),
                    Step::Fail(request) => health.set_back(now, failed(request)),
                    Step::TooMany(wait) => {
                        named = named.max(now + seconds(wait));
                        health.set_back(now, too_many(wait));
                    }
                    Step::GiveUp => health.given_up(now),
                }
            }
            let later = now.max(named) + PROBE;
            prop_assert!(matches!(health.admit(later), Admission::Open | Admission::Probe));
        }
    }
}
