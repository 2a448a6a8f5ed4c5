//! What can go wrong between us and the engine.

use std::time::Duration;

use bollard::errors::Error;

/// Why the engine did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// Nothing listens there.
    #[error("there is no container engine at {address}: {reason}")]
    Unreachable {
        /// Where.
        address: String,
        /// What the attempt to connect said.
        reason: String,
    },
    /// It took the request and did not answer.
    #[error("the container engine at {address} did not answer within {} s", .after.as_secs())]
    Silent {
        /// Where.
        address: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// The address is of a kind that cannot be used.
    #[error(
        "`{address}` is no address of a container engine that can be used: it has to begin with `unix://`"
    )]
    Address {
        /// What was given.
        address: String,
    },
    /// Its API is older than what is used.
    #[error(
        "the container engine at {address} speaks API {api}, at least 1.41 is needed (Docker 20.10, Podman 4)"
    )]
    TooOld {
        /// Where.
        address: String,
        /// Its newest version.
        api: String,
    },
    /// It answered, with an error.
    #[error("{message}")]
    Refused {
        /// The status of its answer; 0 when the error came after a good beginning.
        status: u16,
        /// What it said.
        message: String,
    },
}

impl EngineError {
    /// Nobody knows whether the request was carried out.
    pub(super) const fn is_away(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Silent { .. } => true,
            Self::Address { .. } | Self::TooOld { .. } | Self::Refused { .. } => false,
        }
    }

    /// The status of an answer, 0 without one.
    pub(super) const fn status(&self) -> u16 {
        match self {
            Self::Refused { status, .. } => *status,
            Self::Unreachable { .. }
            | Self::Silent { .. }
            | Self::Address { .. }
            | Self::TooOld { .. } => 0,
        }
    }

    /// Somebody has the name that was asked for. Podman says so with the status of its own faults.
    pub(super) fn is_name_taken(&self) -> bool {
        match self {
            Self::Refused { status, message } => {
                *status == 409
                    || message.contains("container name") && message.contains("already in use")
            }
            Self::Unreachable { .. }
            | Self::Silent { .. }
            | Self::Address { .. }
            | Self::TooOld { .. } => false,
        }
    }

    /// What the client library reports, in our words.
    pub(super) fn of(address: &str, error: Error) -> Self {
        match error {
            Error::DockerResponseServerError {
                status_code,
                message,
            } => Self::Refused {
                status: status_code,
                message: message.trim().to_owned(),
            },
            Error::DockerStreamError { error } => Self::Refused {
                status: 0,
                message: error.trim().to_owned(),
            },
            Error::SocketNotFoundError(path) => Self::Unreachable {
                address: address.to_owned(),
                reason: format!("{path} does not exist"),
            },
            Error::RequestTimeoutError
            | Error::IOError { .. }
            | Error::HyperResponseError { .. }
            | Error::HyperLegacyError { .. }
            | Error::JsonDataError { .. }
            | Error::JsonSerdeError { .. }
            | Error::APIVersionParseError { .. }
            | Error::DockerContainerWaitError { .. }
            | Error::MissingSessionBuildkitError { .. }
            | Error::MissingVersionBuildkitError { .. }
            | Error::StrParseError { .. }
            | Error::StrFmtError { .. }
            | Error::HttpClientError { .. }
            | Error::URLEncodedError { .. }
            | Error::URLParseError { .. }
            | Error::InvalidURIError { .. }
            | Error::InvalidURIPartsError { .. }
            | Error::UnsupportedURISchemeError { .. }
            | Error::HttpHeaderNotFoundError(_)
            | Error::HttpHeaderToStrError { .. }
            | Error::Base64DecodeError { .. } => Self::Unreachable {
                address: address.to_owned(),
                reason: chain(&error),
            },
        }
    }
}

/// An error with its causes, none said twice.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        source = cause.source();
    }
    text
}
