//! What a request came to, for whoever judges its agent by it.

use http::{Response, StatusCode};
use jiff::Timestamp;

use super::cache;
use super::call::PROVIDER;
use super::denial::Denial;

/// What a request came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conclusion {
    /// It was answered.
    Answered {
        /// By this provider.
        provider: String,
    },
    /// It was refused, and would be again as it is.
    Refused,
    /// A validator did not let it pass, or its answer.
    Invalid,
    /// There is no money for it.
    OverBudget {
        /// When there is some; `None`: the call costs more than the whole limit.
        resets_at: Option<Timestamp>,
    },
    /// A provider cannot be reached, failed, or is left alone for that.
    ProviderOut {
        /// The one that was asked first, as far as it is known.
        provider: String,
    },
    /// Something that tells nothing of the request: it passes by itself, or an operator has to look
    /// at a provider.
    Passing,
}

impl Conclusion {
    /// Of a request that got an answer, which may be its provider's refusal.
    pub(super) fn of_response<B>(response: &Response<B>) -> Self {
        let provider = response.headers().get(PROVIDER);
        let provider = provider.and_then(|name| name.to_str().ok());
        // It tells nothing of whether the provider answers now.
        let provider = provider.filter(|_name| !cache::is_hit(response.headers()));
        match (response.status(), provider) {
            (status, Some(provider)) if status.is_success() => Self::Answered {
                provider: provider.to_owned(),
            },
            (StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT, _) => Self::Passing,
            (status, _) if status.is_client_error() => Self::Refused,
            (_, _) => Self::Passing,
        }
    }

    /// Of a request that was refused here.
    pub(super) fn of_denial(denial: &Denial) -> Self {
        match denial {
            Denial::Unauthorized
            | Denial::NoAccess { .. }
            | Denial::NoSuchPath { .. }
            | Denial::TooLarge
            | Denial::BadRequest(_)
            | Denial::Malformed(_)
            | Denial::BadRouter { .. }
            | Denial::UnknownModel { .. }
            | Denial::NotRecorded { .. }
            | Denial::UnknownPrice { .. }
            | Denial::Beta { .. }
            | Denial::Boundless(_)
            | Denial::Unsupported { .. }
            | Denial::BadSchema(_) => Self::Refused,
            Denial::PersonalData { .. }
            | Denial::Unreadable { .. }
            | Denial::WrongAnswer { .. }
            | Denial::Unsafe { .. } => Self::Invalid,
            Denial::OverBudget(refused) => Self::OverBudget {
                resets_at: refused.fits_at(),
            },
            Denial::Cooling { provider, .. }
            | Denial::Unreachable { provider }
            | Denial::TimedOut { provider, .. }
            | Denial::ProviderFailed { provider, .. } => Self::ProviderOut {
                provider: provider.clone(),
            },
            Denial::Unread
            | Denial::Busy
            | Denial::HourlyTokens(_)
            | Denial::Answer(_)
            | Denial::BrokeOff
            | Denial::Unjudged { .. }
            | Denial::Halted { .. }
            | Denial::Unrecorded
            | Denial::Limited { .. }
            | Denial::Misconfigured { .. } => Self::Passing,
        }
    }
}
