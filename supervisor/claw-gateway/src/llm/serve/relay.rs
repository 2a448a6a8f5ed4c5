//! Answers as they come: frames go to the agent as bytes and are read alongside.
//!
//! ```text
//!   first piece, in time ──► head and piece to the agent ──► piece by piece ──► settled
//!        │ late, broken, an error          │
//!        ▼                                 ├─the agent hangs up──► read on, or cancelled
//!   failed: the next target may serve      ├─the hold is spent──► ended properly, cancelled
//!                                          └─silent, broken──► the agent is told
//! ```
//!
//! Nothing is read from the provider before the agent has taken what came before.

use bytes::{Bytes, BytesMut};
use http::Response;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::attempt::{Failed, answered, is_cancelled};
use super::body::{AnswerBody, Piece};
use super::call::Call;
use super::chain::Target;
use super::crossing::Crossing;
use super::drain;
use super::hold::{BudgetApplies, End, Hold, Spent, Unwritten};
use super::host::{AttemptFailure, Ending, Event};
use crate::llm::route::Failure;
use crate::llm::usage::Usage;
use crate::llm::wire::{
    self, Api, Content, Cut, Delivery, Ended, Frame, FrameTooLong, Frames, StreamReading, Told,
    UsageChunk,
};

/// The status of a provider that says in its stream, before anything else, that it cannot answer:
/// Anthropic's for an overload.
const OVERLOADED: u16 = 529;

/// A stream that is read.
pub(super) struct Stream {
    body: Incoming,
    frames: Frames,
    reading: StreamReading,
    hold: Hold,
    status: u16,
    usage_chunk: UsageChunk,
    alias: String,
    /// What translates it; nothing for a drained one, which nobody sees.
    crossing: Option<Crossing>,
}

/// What comes next.
enum Step {
    /// These bytes for the agent; there may be none.
    More(Bytes),
    /// The stream has ended, and these bytes are the last.
    End(Bytes),
    /// It broke off.
    Broken,
}

impl Stream {
    pub(super) fn new(
        body: Incoming,
        hold: Hold,
        (api, (status, usage_chunk), alias): (Api, (u16, UsageChunk), String),
    ) -> Self {
        Self {
            body,
            frames: Frames::default(),
            reading: StreamReading::new(api),
            hold,
            status,
            usage_chunk,
            alias,
            crossing: None,
        }
    }

    pub(super) const fn hold(&self) -> &Hold {
        &self.hold
    }

    /// Reads to the end, for nobody.
    pub(super) async fn read_on(&mut self) {
        loop {
            match self.next().await {
                Step::More(_) => {}
                Step::End(_) | Step::Broken => return,
            }
        }
    }

    /// Reads on. Nothing is lost when the future is dropped.
    async fn next(&mut self) -> Step {
        match self.body.frame().await {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => self.take(&data).map_or(Step::Broken, Step::More),
                Err(_trailers) => Step::More(Bytes::new()),
            },
            Some(Err(_)) => Step::Broken,
            None => {
                let mut out = Outgoing::default();
                if let Some(frame) = std::mem::take(&mut self.frames).finish() {
                    self.read(frame, &mut out);
                }
                Step::End(out.into_bytes())
            }
        }
    }

    fn take(&mut self, data: &[u8]) -> Result<Bytes, FrameTooLong> {
        self.frames.push(data);
        let mut out = Outgoing::default();
        while let Some(frame) = self.frames.next_frame()? {
            self.read(frame, &mut out);
        }
        Ok(out.into_bytes())
    }

    /// Reads a frame and passes it on with the model as the agent knows it, and with the cost.
    fn read(&mut self, frame: Frame, out: &mut Outgoing) {
        let before = self.reading.told;
        let content = self.reading.frame(&frame);
        match (before, self.reading.told) {
            (Told::Nothing, Told::SoFar(usage)) if self.reading.api == Api::Messages => {
                self.hold.shrink(&usage);
            }
            (Told::Nothing | Told::SoFar(_) | Told::Whole(_), _) => {}
        }
        if let Some(crossing) = &mut self.crossing {
            for frame in crossing.frames(&frame) {
                out.push(self.with_cost(frame));
            }
            return;
        }
        if content == Content::UsageAlone && self.usage_chunk == UsageChunk::Unwanted {
            return;
        }
        let api = self.reading.api;
        let named = wire::alias_model_in_frame(api, &frame, &self.alias).unwrap_or(frame);
        out.push(if before == self.reading.told {
            named
        } else {
            self.with_cost(named)
        });
    }

    /// The frame with the cost, if it has the whole usage.
    fn with_cost(&self, frame: Frame) -> Frame {
        match self.reading.told {
            Told::Whole(usage) if self.hold.record().rates.is_some() => {
                let data = frame.data();
                let data = wire::with_cost(&data, self.hold.cost(&usage));
                data.map(|data| frame.with_data(&data)).unwrap_or(frame)
            }
            Told::Nothing | Told::SoFar(_) | Told::Whole(_) => frame,
        }
    }

    /// What was used as far as is seen. A delta is a token at least.
    fn counted(&self) -> Usage {
        let told = match self.reading.told {
            Told::Nothing => None,
            Told::SoFar(usage) | Told::Whole(usage) => Some(usage),
        };
        let seen = self.hold.seen(told, 0);
        Usage {
            output: seen.output.max(self.reading.deltas),
            ..seen
        }
    }

    /// Whether the answer has cost more than is held for it, so that its provider does not keep to
    /// the limit it was sent.
    fn is_overspent(&self) -> bool {
        let applies = self.hold.terms().budget == BudgetApplies::Yes;
        applies && self.hold.cost(&self.counted()) > self.hold.record().held
    }

    fn is_whole(&self) -> bool {
        self.reading.ended == Ended::Properly || matches!(self.reading.told, Told::Whole(_))
    }

    /// Settles the call by what was read.
    pub(super) fn settle(self, ending: Ending) -> Unwritten {
        let told = match self.reading.told {
            Told::Nothing => None,
            Told::SoFar(usage) | Told::Whole(usage) => Some(usage),
        };
        let seen = self.hold.seen(told, self.reading.text_bytes);
        let spent = match (self.reading.told, ending) {
            (Told::Whole(usage), _) => Spent::Reported(usage),
            (_, Ending::CutByBudget) => Spent::Estimated(self.counted()),
            (_, Ending::Answered | Ending::Drained | Ending::CutByProvider | Ending::Failed) => {
                Spent::Estimated(seen)
            }
            (_, Ending::Abandoned) => Spent::Lost(seen),
        };
        self.hold.settle(End {
            ending,
            spent,
            model: self.reading.model,
            status: Some(self.status),
        })
    }
}

/// Bytes for the agent. One frame, as most pieces are, stays where it is.
#[derive(Default)]
enum Outgoing {
    #[default]
    Nothing,
    One(Frame),
    Many(BytesMut),
}

impl Outgoing {
    fn push(&mut self, frame: Frame) {
        *self = match std::mem::take(self) {
            Self::Nothing => Self::One(frame),
            Self::One(first) => {
                let mut bytes = BytesMut::from(first.bytes().as_ref());
                bytes.extend_from_slice(frame.bytes());
                Self::Many(bytes)
            }
            Self::Many(mut bytes) => {
                bytes.extend_from_slice(frame.bytes());
                Self::Many(bytes)
            }
        };
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::Nothing => Bytes::new(),
            Self::One(frame) => frame.bytes().clone(),
            Self::Many(bytes) => bytes.freeze(),
        }
    }
}

/// Waits for the first piece of a stream, hands the agent its answer, and sees to the rest.
pub(super) async fn answer(
    call: &mut Call,
    target: &Target,
    (request, hold): (&wire::Request, Hold),
    (response, deadline): (Response<Incoming>, Instant),
) -> Result<(), Failed> {
    let (head, body) = response.into_parts();
    let usage_chunk = match request.delivery {
        Delivery::Stream(chunk) => chunk,
        Delivery::Whole => UsageChunk::Wanted,
    };
    let clamped_to = hold.record().clamped_to;
    let how = (head.status.as_u16(), usage_chunk);
    let alias = call.request.model.clone();
    let mut stream = Stream::new(body, hold, (request.api, how, alias));
    // The agent's own wish counts: a translated request always asks for usage.
    if let Delivery::Stream(chunk) = call.request.delivery {
        stream.usage_chunk = chunk;
    }
    let between = (request.api, call.request.api);
    stream.crossing = Crossing::new(between, &call.shown(), stream.usage_chunk);
    let (mut stream, first) = match first(call, target, stream, deadline).await? {
        First::Piece(stream, step) => (*stream, step),
        First::HungUp => return Ok(()),
    };
    answered(call, target);
    stream.hold.first_byte();
    let (agent, body) = AnswerBody::stream();
    let mut response = call.response(target, head.status, &head.headers);
    Call::mark_clamped(&mut response, clamped_to);
    *response.body_mut() = body;
    call.answer.send(Ok(response));
    forward(call, target, (stream, first), agent).await;
    Ok(())
}

enum First {
    Piece(Box<Stream>, Step),
    HungUp,
}

async fn first(
    call: &mut Call,
    target: &Target,
    mut stream: Stream,
    deadline: Instant,
) -> Result<First, Failed> {
    let step = loop {
        tokio::select! {
            biased;
            step = stream.next() => match step {
                Step::More(bytes) if bytes.is_empty() => {}
                Step::More(_) | Step::End(_) | Step::Broken => break step,
            },
            () = sleep_until(deadline) => {
                call.shared.tasks.spawn(drain::rest_of_stream(stream));
                return Err(Failed::settled(Failure::TimedOut, AttemptFailure::TimedOut));
            }
            () = call.answer.hung_up() => {
                leave(target, stream).await;
                return Ok(First::HungUp);
            }
        }
    };
    let failure = match (&stream.reading.ended, &step) {
        (Ended::Failed { .. }, _) => Failure::Status {
            status: OVERLOADED,
            retry_after: None,
        },
        (Ended::Open | Ended::Properly, Step::Broken) => Failure::Broken,
        (Ended::Open | Ended::Properly, Step::More(_) | Step::End(_)) => {
            return Ok(First::Piece(Box::new(stream), step));
        }
    };
    let cause = match failure {
        Failure::Status { status, .. } => AttemptFailure::Status(status),
        Failure::Broken | Failure::Connect | Failure::TimedOut | Failure::Limited => {
            AttemptFailure::Broken
        }
    };
    stream.settle(Ending::CutByProvider).write().await;
    Err(Failed::settled(failure, cause))
}

/// Passes pieces on until the stream ends, one way or another.
async fn forward(
    call: &Call,
    target: &Target,
    (mut stream, first): (Stream, Step),
    agent: mpsc::Sender<Piece>,
) {
    let idle = call.agent.idle_timeout;
    let mut step = first;
    loop {
        let (bytes, is_last) = match step {
            Step::More(bytes) => (bytes, false),
            Step::End(bytes) => (bytes, true),
            Step::Broken => {
                return broke_off(stream, &agent, Ending::CutByProvider).await;
            }
        };
        if !bytes.is_empty() && agent.send(Piece::More(bytes)).await.is_err() {
            return leave(target, stream).await;
        }
        if is_last && stream.is_whole() {
            // The agent may go on while the end is written.
            drop(agent);
            return stream.settle(Ending::Answered).write().await;
        }
        if is_last {
            return broke_off(stream, &agent, Ending::CutByProvider).await;
        }
        call.shared.tell(Event::Progress {
            call: stream.hold.record(),
            text_bytes: stream.reading.text_bytes,
        });
        if stream.is_overspent() {
            return cut(stream, agent).await;
        }
        step = tokio::select! {
            biased;
            next = timeout(idle, stream.next()) => match next {
                Ok(step) => step,
                Err(_silent) => return broke_off(stream, &agent, Ending::Abandoned).await,
            },
            () = agent.closed() => return leave(target, stream).await,
        };
    }
}

/// The agent has hung up.
async fn leave(target: &Target, stream: Stream) {
    if is_cancelled(target) {
        stream.settle(Ending::Abandoned).write().await;
    } else {
        drain::rest_of_stream(stream).await;
    }
}

/// The provider has stopped in the middle: the agent is not to take it for the end.
async fn broke_off(stream: Stream, agent: &mpsc::Sender<Piece>, ending: Ending) {
    // Who has hung up needs not be told.
    let _unread = agent.send(Piece::Broken).await;
    stream.settle(ending).write().await;
}

/// The hold is spent: the stream ends as its interface says, and the provider is cancelled.
async fn cut(stream: Stream, agent: mpsc::Sender<Piece>) {
    let shown = stream.crossing.as_ref().map(Crossing::shown);
    let frames = wire::ending(
        shown.unwrap_or(&stream.reading),
        &Cut {
            reason: "budget",
            model: Some(&stream.alias),
            usage: stream.counted(),
            usage_chunk: stream.usage_chunk,
        },
    );
    let mut out = Outgoing::default();
    for frame in frames {
        out.push(frame);
    }
    // Who has hung up needs no end.
    let _unread = agent.send(Piece::More(out.into_bytes())).await;
    drop(agent);
    stream.settle(Ending::CutByBudget).write().await;
}
