//! Where answers come from.

use std::fmt::Write as _;
use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use jiff::Timestamp;

use super::body::AnswerBody;
use super::denial::Denial;
use super::host::Caller;
use super::made_up;
use super::tape::Recorded;
use crate::llm::cassette::{Cassette, Recorder, Recording};
use crate::llm::wire::Request;

/// Where answers come from.
#[derive(Debug, Clone, Default)]
pub enum Source {
    /// From providers.
    #[default]
    Providers,
    /// From providers, and what they answer is kept.
    Recorded(Arc<dyn Recorder>),
    /// From what was kept. No provider is asked, and nothing is charged.
    Cassette(Arc<Cassette>),
    /// From nobody: every answer is the same. No provider is asked, and nothing is charged.
    MadeUp,
}

impl Source {
    /// The answer to a request where no provider gives it.
    pub(super) fn answer(
        &self,
        caller: &Caller,
        (request, hash): (&Request, &[u8; 32]),
    ) -> Option<Result<Response<AnswerBody>, Denial>> {
        match self {
            Self::Providers | Self::Recorded(_) => None,
            Self::Cassette(cassette) => {
                let hash = hexadecimal(hash);
                let found = cassette.play(&caller.agent, &hash);
                Some(found.map_or_else(
                    || Err(Denial::NotRecorded { hash }),
                    |recording| Ok(played(&recording)),
                ))
            }
            Self::MadeUp => Some(Ok(made_up::answer(request))),
        }
    }

    /// What keeps an answer to a request, where it is kept.
    pub(super) fn recorded(
        &self,
        caller: &Caller,
        (request, hash): (&Request, &[u8; 32]),
        at: Timestamp,
    ) -> Option<Recorded> {
        let recorder = match self {
            Self::Recorded(recorder) => Arc::clone(recorder),
            Self::Providers | Self::Cassette(_) | Self::MadeUp => return None,
        };
        Some(Recorded {
            recorder,
            recording: Recording {
                at,
                agent: caller.agent.to_string(),
                run: caller.run.as_ref().map(ToString::to_string),
                path: request.api.path().to_owned(),
                request_hash: hexadecimal(hash),
                request: request.body().to_owned(),
                status: 0,
                content_type: String::new(),
                answer: String::new(),
            },
        })
    }
}

fn played(recording: &Recording) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::whole(recording.answer.clone()));
    *response.status_mut() = StatusCode::from_u16(recording.status).unwrap_or(StatusCode::OK);
    if let Ok(kind) = HeaderValue::from_str(&recording.content_type) {
        response.headers_mut().insert(CONTENT_TYPE, kind);
    }
    response
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a text cannot fail.
            let _written = write!(text, "{byte:02x}");
            text
        })
}
