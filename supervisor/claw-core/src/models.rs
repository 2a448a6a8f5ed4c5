//! What the gateway to language models tells of the calls of agents, and of the providers.
//!
//! An agent that waits for a model is not silent, one that repeats a call that cannot succeed does
//! not work, and one that dies of a provider's outage is not to blame. The core judges all three
//! by what is told here and by nothing that an agent says of itself.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Wall;
use crate::name::AgentName;

/// The name of a provider, as the fleet file has it.
pub type ProviderName = String;

/// What a provider or the gateway said of a failed call is kept up to so many bytes.
const MAX_DETAIL: usize = 400;

/// A call on its way to a provider, as the gateway numbers it: unique within the life of an
/// instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// Tells requests apart: a hash of what was asked. Only equality matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestHash(pub [u8; 32]);

/// What an agent's use of models came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelCall {
    /// A call is on its way.
    Began {
        /// Which.
        call: CallId,
        /// It ends within this time, or makes progress, which gives it as much again. An hour is
        /// believed at the most.
        limit: Duration,
    },
    /// More of its answer came.
    Progressed {
        /// Which.
        call: CallId,
    },
    /// It is over, however it ended.
    Ended {
        /// Which.
        call: CallId,
    },
    /// A request was answered.
    Answered {
        /// By whom.
        provider: ProviderName,
    },
    /// A request was refused, and the same would be again. Told once for each request, whether it
    /// came to a call or not.
    Failed {
        /// Which request.
        request: RequestHash,
        /// Why.
        failure: CallFailure,
    },
    /// A request failed because a provider could not be reached, failed, or is left alone for
    /// that. Told once for each request.
    ProviderOut {
        /// Which provider; of several the one that was asked first.
        provider: ProviderName,
    },
}

/// How it stands with an outage that many agents died of, for those who have yet to start again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "gate", rename_all = "snake_case")]
pub enum GateStage {
    /// The provider is left alone.
    Shut,
    /// One agent tries first; the others wait for what becomes of it.
    Tried {
        /// Which.
        by: AgentName,
    },
    /// The provider answers again, and agents start one after another.
    Opening,
}

/// Why a request was refused that would be refused again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "class", rename_all = "snake_case")]
pub enum CallFailure {
    /// The provider or the gateway does not take it as it is: a status of 400 to 499.
    Refused {
        /// What was said.
        detail: String,
    },
    /// A validator did not let it pass, or its answer.
    Validator {
        /// What was found.
        detail: String,
    },
    /// No money is left for it.
    OverBudget {
        /// Which budget, and how much of it is left.
        detail: String,
        /// When there is money again; `None` when waiting does not help, because the call costs
        /// more than the whole budget.
        resets_at: Option<Wall>,
    },
}

impl CallFailure {
    /// What was said of it.
    #[must_use]
    pub fn detail(&self) -> &str {
        match self {
            Self::Refused { detail }
            | Self::Validator { detail }
            | Self::OverBudget { detail, .. } => detail,
        }
    }

    /// Whether it is a failure of the same kind, whatever its text and its times.
    #[must_use]
    pub const fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Refused { .. }, Self::Refused { .. })
            | (Self::Validator { .. }, Self::Validator { .. })
            | (Self::OverBudget { .. }, Self::OverBudget { .. }) => true,
            (Self::Refused { .. }, Self::Validator { .. } | Self::OverBudget { .. })
            | (Self::Validator { .. }, Self::Refused { .. } | Self::OverBudget { .. })
            | (Self::OverBudget { .. }, Self::Refused { .. } | Self::Validator { .. }) => false,
        }
    }

    /// When there is money again, if that is what it lacks.
    #[must_use]
    pub const fn resets_at(&self) -> Option<Wall> {
        match self {
            Self::OverBudget { resets_at, .. } => *resets_at,
            Self::Refused { .. } | Self::Validator { .. } => None,
        }
    }

    /// The same with its text as one line of bounded length: it is kept and shown to people.
    pub(crate) fn brief(mut self) -> Self {
        let (Self::Refused { detail }
        | Self::Validator { detail }
        | Self::OverBudget { detail, .. }) = &mut self;
        *detail = one_line(detail);
        self
    }
}

impl fmt::Display for CallFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { detail } => write!(f, "was refused: {detail}"),
            Self::Validator { detail } => write!(f, "did not pass a validator: {detail}"),
            Self::OverBudget {
                detail,
                resets_at: None,
            } => write!(f, "was over budget: {detail}"),
            Self::OverBudget {
                detail,
                resets_at: Some(at),
            } => write!(f, "was over budget until {at:.0}: {detail}"),
        }
    }
}

fn one_line(text: &str) -> String {
    let mut line: String = text
        .chars()
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect();
    if line.len() > MAX_DETAIL {
        line.truncate(line.floor_char_boundary(MAX_DETAIL));
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_a_failure_is_one_line_of_bounded_length() {
        let detail = format!("no\nway {}", "ä".repeat(MAX_DETAIL));
        let brief = CallFailure::Refused { detail }.brief();
        assert!(brief.detail().starts_with("no way ä"));
        assert!(brief.detail().len() <= MAX_DETAIL + '…'.len_utf8());
        assert!(!brief.detail().contains(char::is_control));
    }

    #[test]
    fn failures_are_alike_by_their_kind_alone() {
        let over = |resets_at| CallFailure::OverBudget {
            detail: String::new(),
            resets_at,
        };
        let refused = |detail: &str| CallFailure::Refused {
            detail: detail.to_owned(),
        };
        assert!(over(None).is_like(&over(Some(Wall::MAX))));
        assert!(refused("one").is_like(&refused("another")));
        assert!(!refused("one").is_like(&over(None)));
    }
}
