//! A stream of a provider, read on its way to the agent.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::crossing::Crossing;
use super::hold::{BudgetApplies, End, Hold, Spent, Unwritten, Written};
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
    /// What translates it; nothing for one that nobody sees.
    crossing: Option<Crossing>,
    /// What looks at it, on the agent's side; nothing for one that nobody sees.
    validator: Option<StreamValidator>,
    /// What the agent was shown, where that is not what was read.
    shown: Option<StreamReading>,
    begun: Begun,
}

/// Whether the answer has begun. Comments before it, which keep a connection alive, are none of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begun {
    Not,
    Yes,
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
    Stopped(Bytes, Stopped),
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
            shown: None,
            begun: Begun::Not,
        }
    }

    /// Translates it for an agent that uses another interface, and looks at what the agent gets.
    pub(super) fn show(
        &mut self,
        crossing: Option<Crossing>,
        validator: Option<StreamValidator>,
        ours: Api,
    ) {
        let is_another = crossing.is_some() || validator.is_some();
        self.shown = is_another.then(|| StreamReading::new(ours));
        self.crossing = crossing;
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
        let frames = wire::ending(
            self.shown.as_ref().unwrap_or(&self.reading),
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

    /// The bytes that a validator has held back so far. It looks at nothing after them.
    pub(super) fn held_back(&mut self) -> Result<Bytes, Stopped> {
        let mut out = Outgoing::default();
        if let Some(validator) = self.validator.take() {
            for frame in validator.finish()? {
                self.push(frame, &mut out);
            }
        }
        Ok(out.into_bytes())
    }

    /// Nobody is shown it any more.
    pub(super) fn hide(&mut self) {
        self.crossing = None;
        self.validator = None;
        self.shown = None;
    }

    /// Bytes of a frame that has not come whole.
    pub(super) fn buffered(&self) -> usize {
        self.frames.buffered()
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
                    if let Err(stopped) = self.read(frame, &mut out) {
                        return Step::Stopped(out.into_bytes(), stopped);
                    }
                }
                Ok(None) => return Step::More(out.into_bytes()),
                Err(FrameTooLong) => return Step::Broken,
            }
        }
    }

    fn end(&mut self) -> Step {
        let mut out = Outgoing::default();
        match self.read_end(&mut out) {
            Ok(()) => Step::End(out.into_bytes()),
            Err(stopped) => Step::Stopped(out.into_bytes(), stopped),
        }
    }

    fn read_end(&mut self, out: &mut Outgoing) -> Result<(), Stopped> {
        if let Some(frame) = std::mem::take(&mut self.frames).finish() {
            self.read(frame, out)?;
        }
        if let Some(crossing) = &mut self.crossing {
            for frame in crossing.finish() {
                let frame = self.with_cost(frame);
                self.pass(frame, out)?;
            }
        }
        if let Some(validator) = self.validator.take() {
            for frame in validator.finish()? {
                self.push(frame, out);
            }
        }
        Ok(())
    }

    /// Reads a frame and passes it on with the model as the agent knows it, and with the cost.
    fn read(&mut self, frame: Frame, out: &mut Outgoing) -> Result<(), Stopped> {
        if self.begun == Begun::Not {
            if frame.data().is_empty() {
                return Ok(());
            }
            self.begun = Begun::Yes;
        }
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
                    self.push(frame, out);
                }
            }
            None => self.push(frame, out),
        }
        Ok(())
    }

    fn push(&mut self, frame: Frame, out: &mut Outgoing) {
        if let Some(shown) = &mut self.shown {
            shown.frame(&frame);
        }
        out.push(frame);
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

    fn told(&self) -> Option<Usage> {
        match self.reading.told {
            Told::Nothing => None,
            Told::SoFar(usage) | Told::Whole(usage) => Some(usage),
        }
    }

    /// What was used as far as is counted. A delta is a token at least.
    fn counted(&self) -> Usage {
        let counted = self.reading.answer_tokens();
        self.hold.seen(self.told(), Written { counted, bytes: 0 })
    }

    /// Whether the answer has cost more than is held for it, so that its provider does not keep to
    /// the limit it was sent.
    pub(super) fn is_overspent(&self) -> bool {
        let applies = self.hold.terms().budget == BudgetApplies::Yes;
        applies && self.hold.cost(&self.counted(), self.tier.as_deref()) > self.hold.record().held
    }

    pub(super) fn is_whole(&self) -> bool {
        let is_open = self.reading.ended == Ended::Open;
        self.reading.ended == Ended::Properly
            || matches!(self.reading.told, Told::Whole(_))
            || (is_open && self.reading.has_finished())
    }

    /// Whether nothing was in it that a provider charges for.
    pub(super) fn is_empty(&self) -> bool {
        let reading = &self.reading;
        reading.deltas == 0 && reading.text_bytes == 0 && reading.told == Told::Nothing
    }

    /// What is held for it, of which nothing was spent.
    pub(super) fn into_hold(self) -> Hold {
        self.hold
    }

    /// Settles the call by what was read.
    pub(super) fn settle(self, ending: Ending) -> Unwritten {
        let written = Written {
            counted: self.reading.answer_tokens(),
            bytes: self.reading.text_bytes,
        };
        let seen = self.hold.seen(self.told(), written);
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
