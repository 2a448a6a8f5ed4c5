//! The gateway's own refusals, in the form that a client of each interface reads.

use serde_json::json;

use super::Side;

/// What kind of a refusal it is; each side has its own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// The request is wrong: 400.
    BadRequest,
    /// No valid token came with it: 401.
    Unauthorized,
    /// A budget does not allow it: 402.
    Budget,
    /// The agent may not use what it asks for: 403.
    Forbidden,
    /// The model or the path does not exist: 404.
    NotFound,
    /// The body is too long: 413.
    TooLarge,
    /// The answer is not what it has to be: 422.
    Unprocessable,
    /// Too much in this time: 429.
    RateLimit,
    /// The gateway failed: 500.
    Internal,
    /// The request needs what cannot be translated for the provider: 501.
    Unsupported,
    /// No provider answered: 502.
    Upstream,
    /// Nobody can serve it now: 503.
    Overloaded,
    /// It took too long: 504.
    Timeout,
}

impl RefusalKind {
    /// Its HTTP status.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Budget => 402,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::TooLarge => 413,
            Self::Unprocessable => 422,
            Self::RateLimit => 429,
            Self::Internal => 500,
            Self::Unsupported => 501,
            Self::Upstream => 502,
            Self::Overloaded => 503,
            Self::Timeout => 504,
        }
    }

    /// The type of the error: OpenAI's guide to error codes, Anthropic's page on errors.
    const fn name(self, side: Side) -> &'static str {
        match (self, side) {
            (Self::BadRequest | Self::Unprocessable | Self::Unsupported, _) => {
                "invalid_request_error"
            }
            (Self::Unauthorized, _) => "authentication_error",
            (Self::Budget, Side::OpenAi) => "insufficient_quota",
            (Self::Budget, Side::Anthropic) => "billing_error",
            (Self::Forbidden, _) => "permission_error",
            (Self::NotFound, Side::OpenAi) | (Self::TooLarge, Side::OpenAi) => {
                "invalid_request_error"
            }
            (Self::NotFound, Side::Anthropic) => "not_found_error",
            (Self::TooLarge, Side::Anthropic) => "request_too_large",
            (Self::RateLimit, _) => "rate_limit_error",
            (Self::Internal | Self::Upstream | Self::Timeout, Side::OpenAi) => "server_error",
            (Self::Internal | Self::Upstream, Side::Anthropic) => "api_error",
            (Self::Timeout, Side::Anthropic) => "timeout_error",
            (Self::Overloaded, Side::OpenAi) => "service_unavailable",
            (Self::Overloaded, Side::Anthropic) => "overloaded_error",
        }
    }
}

/// A refusal of the gateway's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What kind it is.
    pub kind: RefusalKind,
    /// What was wrong and what to do, for people.
    pub message: String,
    /// The field at fault.
    pub param: Option<String>,
    /// A fixed word for programs, such as `budget_exceeded`.
    pub code: Option<&'static str>,
}

/// The body of a refusal as JSON. Anthropic's form has no place for the field and the code; they
/// stand beside the message there.
#[must_use]
pub fn error_body(side: Side, refusal: &Refusal) -> String {
    let kind = refusal.kind.name(side);
    match side {
        Side::OpenAi => json!({"error": {
            "message": refusal.message,
            "type": kind,
            "param": refusal.param,
            "code": refusal.code,
        }}),
        Side::Anthropic => {
            let mut error = json!({"type": kind, "message": refusal.message});
            if let Some(param) = &refusal.param {
                error["param"] = json!(param);
            }
            if let Some(code) = refusal.code {
                error["code"] = json!(code);
            }
            json!({"type": "error", "error": error})
        }
    }
    .to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn body(side: Side, kind: RefusalKind) -> Value {
        let refusal = Refusal {
            kind,
            message: "no \"more\"".to_owned(),
            param: Some("model".to_owned()),
            code: Some("budget_exceeded"),
        };
        serde_json::from_str(&error_body(side, &refusal)).expect("JSON")
    }

    #[test]
    fn a_refusal_has_the_form_of_its_side() {
        assert_eq!(
            body(Side::OpenAi, RefusalKind::Budget),
            json!({"error": {"message": "no \"more\"", "type": "insufficient_quota",
                "param": "model", "code": "budget_exceeded"}})
        );
        assert_eq!(
            body(Side::Anthropic, RefusalKind::Budget),
            json!({"type": "error", "error": {"message": "no \"more\"", "type": "billing_error",
                "param": "model", "code": "budget_exceeded"}})
        );
    }
}
