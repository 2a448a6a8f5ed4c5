//! A stream of a provider, read on its way to the agent.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::crossing::Crossing;
use super::hold::{BudgetApplies, End, Hold, Spent, Unwritten};
use super::host::Ending;
use super::tier;
use super::validators::{Stopped, StreamValidator};
use crate::llm::usage::Usage;
use crate::llm::wire::{
    self, Api, Content, Cut, Ended, Frame, FrameTooLong, Frames, StreamReading, Told, UsageChunk,
};

/// A stream that is read.
pub(super) struct Stream {
    body: Incoming,
    frames: Frames,
    reading: StreamReading,
    hold: Hold,
    status: u16,
    usage_chunk: UsageChunk,
    alias: String,
    /// The service tier, once the provider has named it.
    tier: Option<String>,
    /// What translates it; nothing for a drained one, which nobody sees.
    crossing: Option<Crossing>,
    /// What looks at it, on the agent's side; nothing for a drained one.
    validator: Option<StreamValidator>,
}

/// What comes next.
pub(super) enum Step {
    /// These bytes for the agent; there may be none.
    More(Bytes),
    /// The stream has ended, and these bytes are the last.
    End(Bytes),
    /// It broke off.
    Broken,
    /// A validator does not let it go on, after these bytes.
    Stopped(Bytes),
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
            tier: None,
            crossing: None,
            validator: None,
        }
    }

    /// Translates it for an agent that uses another interface.
    pub(super) fn cross(&mut self, crossing: Option<Crossing>) {
        self.crossing = crossing;
    }

    /// Looks at what the agent gets.
    pub(super) fn validate(&mut self, validator: Option<StreamValidator>) {
        self.validator = validator;
    }

    pub(super) const fn hold(&self) -> &Hold {
        &self.hold
    }

    pub(super) const fn hold_mut(&mut self) -> &mut Hold {
        &mut self.hold
    }

    pub(super) const fn reading(&self) -> &StreamReading {
        &self.reading
    }

    /// The bytes that end it as the agent's interface says, before its time.
    pub(super) fn ending(&self, reason: &str) -> Bytes {
        let shown = self.crossing.as_ref().map(Crossing::shown);
        let frames = wire::ending(
            shown.unwrap_or(&self.reading),
            &Cut {
                reason,
                model: Some(&self.alias),
                usage: self.counted(),
                usage_chunk: self.usage_chunk,
            },
        );
        let mut out = Outgoing::default();
        for frame in frames {
            out.push(frame);
        }
        out.into_bytes()
    }

    /// Reads to the end, for nobody.
    pub(super) async fn read_on(&mut self) {
        self.validator = None;
        loop {
            match self.next().await {
                Step::More(_) | Step::Stopped(_) => {}
                Step::End(_) | Step::Broken => return,
            }
        }
    }

    /// Reads on. Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Step {
        match self.body.frame().await {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => self.take(&data),
                Err(_trailers) => Step::More(Bytes::new()),
            },
            Some(Err(_)) => Step::Broken,
            None => self.end(),
        }
    }

    fn take(&mut self, data: &[u8]) -> Step {
        self.frames.push(data);
        let mut out = Outgoing::default();
        loop {
            match self.frames.next_frame() {
                Ok(Some(frame)) => {
                    if let Err(Stopped) = self.read(frame, &mut out) {
                        return Step::Stopped(out.into_bytes());
                    }
                }
                Ok(None) => return Step::More(out.into_bytes()),
                Err(FrameTooLong) => return Step::Broken,
            }
        }
    }

    fn end(&mut self) -> Step {
        let mut out = Outgoing::default();
        if let Some(frame) = std::mem::take(&mut self.frames).finish()
            && self.read(frame, &mut out) == Err(Stopped)
        {
            return Step::Stopped(out.into_bytes());
        }
        if let Some(validator) = self.validator.take() {
            match validator.finish() {
                Ok(frames) => frames.into_iter().for_each(|frame| out.push(frame)),
                Err(Stopped) => return Step::Stopped(out.into_bytes()),
            }
        }
        Step::End(out.into_bytes())
    }

    /// Reads a frame and passes it on with the model as the agent knows it, and with the cost.
    fn read(&mut self, frame: Frame, out: &mut Outgoing) -> Result<(), Stopped> {
        let before = self.reading.told;
        let content = self.reading.frame(&frame);
        match (before, self.reading.told) {
            (Told::Nothing, Told::SoFar(usage)) if self.reading.api == Api::Messages => {
                self.hold.shrink(&usage);
            }
            (Told::Nothing | Told::SoFar(_) | Told::Whole(_), _) => {}
        }
        if before != self.reading.told {
            self.tier = tier::served(&frame.data()).or(self.tier.take());
        }
        if let Some(crossing) = &mut self.crossing {
            for frame in crossing.frames(&frame) {
                let frame = self.with_cost(frame);
                self.pass(frame, out)?;
            }
            return Ok(());
        }
        if content == Content::UsageAlone && self.usage_chunk == UsageChunk::Unwanted {
            return Ok(());
        }
        let api = self.reading.api;
        let named = wire::alias_model_in_frame(api, &frame, &self.alias).unwrap_or(frame);
        let frame = if before == self.reading.told {
            named
        } else {
            self.with_cost(named)
        };
        self.pass(frame, out)
    }

    fn pass(&mut self, frame: Frame, out: &mut Outgoing) -> Result<(), Stopped> {
        match &mut self.validator {
            Some(validator) => {
                for frame in validator.frame(&frame)? {
                    out.push(frame);
                }
            }
            None => out.push(frame),
        }
        Ok(())
    }

    /// The frame with the cost, if it has the whole usage.
    fn with_cost(&self, frame: Frame) -> Frame {
        match self.reading.told {
            Told::Whole(usage) if self.hold.record().rates.is_some() => {
                let data = frame.data();
                let data = wire::with_cost(&data, self.hold.cost(&usage, self.tier.as_deref()));
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
            output: seen.output.max(self.reading.answer_tokens()),
            ..seen
        }
    }

    /// Whether the answer has cost more than is held for it, so that its provider does not keep to
    /// the limit it was sent.
    pub(super) fn is_overspent(&self) -> bool {
        let applies = self.hold.terms().budget == BudgetApplies::Yes;
        applies && self.hold.cost(&self.counted(), self.tier.as_deref()) > self.hold.record().held
    }

    pub(super) fn is_whole(&self) -> bool {
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
            (_, Ending::Abandoned | Ending::CutByValidator) => Spent::Lost(seen),
        };
        self.hold.settle(End {
            ending,
            spent,
            tier: self.tier,
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
