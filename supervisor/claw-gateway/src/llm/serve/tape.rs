//! Bodies of answers, which are kept on their way where calls are recorded.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::Response;
use http::header::CONTENT_TYPE;
use hyper::body::{Body, Frame, SizeHint};

use super::body::{AnswerBody, BrokeOff};
use crate::llm::cassette::{Recorder, Recording};

/// The longest answer that is kept, in bytes.
const LONGEST: usize = 16 * 1024 * 1024;

/// The body of an answer, with what records it.
pub(super) struct Taped {
    body: AnswerBody,
    tape: Option<Box<Tape>>,
}

/// What is kept of an answer so far.
pub(super) struct Tape {
    pub(super) recorder: Arc<dyn Recorder>,
    /// Without the answer.
    pub(super) recording: Recording,
    pub(super) kept: BytesMut,
}

/// An answer that is recorded if it is a success.
pub(super) fn kept(response: Response<AnswerBody>, tape: Option<Tape>) -> Response<Taped> {
    let tape = tape.filter(|_tape| response.status().is_success());
    let kind = response.headers().get(CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let tape = tape.map(|mut tape| {
        tape.recording.status = response.status().as_u16();
        kind.clone_into(&mut tape.recording.content_type);
        tape
    });
    response.map(|body| Taped::new(body, tape))
}

impl Taped {
    pub(super) fn new(body: AnswerBody, tape: Option<Tape>) -> Self {
        let tape = tape.map(Box::new);
        Self { body, tape }
    }

    fn keep(&mut self, data: &Bytes) {
        if let Some(tape) = &mut self.tape {
            if tape.kept.len() + data.len() > LONGEST {
                tracing::warn!(
                    agent = %tape.recording.agent,
                    "an answer of more than {LONGEST} bytes is not recorded"
                );
                self.tape = None;
            } else {
                tape.kept.extend_from_slice(data);
            }
        }
    }

    /// It has come to its end.
    fn end(&mut self) {
        if let Some(tape) = self.tape.take() {
            let Tape {
                recorder,
                recording,
                kept,
            } = *tape;
            let answer = String::from_utf8_lossy(&kept).into_owned();
            recorder.keep(Recording {
                answer,
                ..recording
            });
        }
    }
}

impl Body for Taped {
    type Data = Bytes;
    type Error = BrokeOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokeOff>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    self.keep(data);
                }
                // Nobody asks for more of a body that is known to be whole.
                if self.body.is_end_stream() {
                    self.end();
                }
            }
            Poll::Ready(Some(Err(_))) => self.tape = None,
            Poll::Ready(None) => self.end(),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
