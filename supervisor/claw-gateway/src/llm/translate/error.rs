//! Errors of a provider in the form of the other interface.

use serde_json::Value;

use crate::llm::wire::{Refusal, RefusalKind, Side, error_body};

/// The longest message of an error that is passed on, in characters.
const MAX_MESSAGE: usize = 4_096;

/// A provider's error, as it came with its HTTP status, in the form of a side. Of a body that is no
/// error of either side only the status is told.
#[must_use]
pub fn error_for(side: Side, status: u16, body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let error = &body["error"];
    let message = error["message"]
        .as_str()
        .or_else(|| error.as_str())
        .map_or_else(
            || format!("the provider answered {status}"),
            |message| message.chars().take(MAX_MESSAGE).collect(),
        );
    let refusal = Refusal {
        kind: kind(status),
        message,
        param: error["param"].as_str().map(str::to_owned),
        code: None,
    };
    error_body(side, &refusal)
}

const fn kind(status: u16) -> RefusalKind {
    match status {
        401 => RefusalKind::Unauthorized,
        402 => RefusalKind::Budget,
        403 => RefusalKind::Forbidden,
        404 => RefusalKind::NotFound,
        413 => RefusalKind::TooLarge,
        429 => RefusalKind::RateLimit,
        400..=499 => RefusalKind::BadRequest,
        503 | 529 => RefusalKind::Overloaded,
        504 => RefusalKind::Timeout,
        _ => RefusalKind::Internal,
    }
}
