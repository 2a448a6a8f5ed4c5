//! Bodies of answers, which are copied on their way where they are recorded or kept, and break off
//! when their agent is halted.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::Response;
use http::header::CONTENT_TYPE;
use hyper::body::{Body, Frame, SizeHint};

use super::body::{AnswerBody, BrokeOff};
use super::cache::Keeping;
use crate::Halt;
use crate::llm::cassette::{Recorder, Recording};

/// The longest answer that is recorded, in bytes.
const LONGEST: usize = 16 * 1024 * 1024;

/// The body of an answer, with who wants a copy of it.
pub(super) struct Taped {
    body: AnswerBody,
    tape: Option<Box<Tape>>,
    halted: Option<Pin<Box<dyn Future<Output = Halt> + Send>>>,
}

/// What records an answer.
pub(super) struct Recorded {
    pub(super) recorder: Arc<dyn Recorder>,
    /// Without the answer.
    pub(super) recording: Recording,
}

/// What was copied of an answer so far, and for whom; for nobody, if they want no more of it.
struct Tape {
    copied: BytesMut,
    recorded: Option<Recorded>,
    keeping: Option<Keeping>,
}

/// An answer that is recorded if it is a success, and kept for equal requests if it may be.
pub(super) fn copied(
    response: Response<AnswerBody>,
    recorded: Option<Recorded>,
    keeping: Option<Keeping>,
) -> Response<Taped> {
    let recorded = recorded.filter(|_recorded| response.status().is_success());
    let kind = response.headers().get(CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let recorded = recorded.map(|mut recorded| {
        recorded.recording.status = response.status().as_u16();
        kind.clone_into(&mut recorded.recording.content_type);
        recorded
    });
    let tape = Tape {
        copied: BytesMut::new(),
        recorded,
        keeping,
    };
    response.map(|body| Taped {
        body,
        tape: tape.is_wanted().then(|| Box::new(tape)),
        halted: None,
    })
}

impl Tape {
    const fn is_wanted(&self) -> bool {
        self.recorded.is_some() || self.keeping.is_some()
    }

    fn copy(&mut self, data: &Bytes) {
        let length = self.copied.len() + data.len();
        if let Some(recorded) = self.recorded.take_if(|_recorded| length > LONGEST) {
            tracing::warn!(
                agent = %recorded.recording.agent,
                "an answer of more than {LONGEST} bytes is not recorded"
            );
        }
        self.keeping.take_if(|keeping| length > keeping.longest());
        if self.is_wanted() {
            self.copied.extend_from_slice(data);
        }
    }
}

impl Taped {
    /// An answer of which nobody wants a copy.
    pub(super) const fn plain(body: AnswerBody) -> Self {
        Self {
            body,
            tape: None,
            halted: None,
        }
    }

    /// The same answer until its agent is halted. What is there in one piece needs no end.
    pub(super) fn until(mut self, halted: impl Future<Output = Halt> + Send + 'static) -> Self {
        if matches!(self.body, AnswerBody::Stream(_)) {
            self.halted = Some(Box::pin(halted));
        }
        self
    }

    fn poll_halted(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.halted {
            Some(halted) => halted.as_mut().poll(context).map(drop),
            None => Poll::Pending,
        }
    }

    fn copy(&mut self, data: &Bytes) {
        if let Some(tape) = &mut self.tape {
            tape.copy(data);
            if !tape.is_wanted() {
                self.tape = None;
            }
        }
    }

    /// It has come to its end.
    fn end(&mut self) {
        let Some(tape) = self.tape.take() else {
            return;
        };
        let Tape {
            copied,
            recorded,
            keeping,
        } = *tape;
        let copied = copied.freeze();
        if let Some(keeping) = keeping {
            match self.body {
                AnswerBody::Whole(_) | AnswerBody::Stream(_) => keeping.keep(&copied),
                AnswerBody::Once(_) | AnswerBody::Breaking => {}
            }
        }
        if let Some(Recorded {
            recorder,
            recording,
        }) = recorded
        {
            let answer = String::from_utf8_lossy(&copied).into_owned();
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
        if self.poll_halted(context).is_ready() {
            (self.halted, self.tape) = (None, None);
            self.body = AnswerBody::Breaking;
        }
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    self.copy(data);
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
