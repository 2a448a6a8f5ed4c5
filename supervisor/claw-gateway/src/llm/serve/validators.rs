//! What is looked at in prompts and answers before they pass.

use std::sync::Arc;

use super::denial::Denial;
use super::gateway::Shared;
use super::host::{Caller, Event, Place};
use crate::llm::validate::pii::{self, Action, Checked, Found, PiiFilter, PiiFrames, Stop};
use crate::llm::wire::{Api, Frame};

/// Looks at one request's texts, and tells what it finds.
pub(super) struct Validators {
    pub(super) shared: Arc<Shared>,
    pub(super) caller: Arc<Caller>,
    pub(super) request: Arc<str>,
}

impl Validators {
    /// The body of a request as it may pass; nothing, where it may as it is.
    ///
    /// # Errors
    /// When it may not.
    pub(super) fn prompt(
        &self,
        filter: Option<&PiiFilter>,
        (api, body): (Api, &str),
    ) -> Result<Option<String>, Denial> {
        match filter {
            Some(filter) => self.decided(Place::Prompt, pii::request(filter, api, body)),
            None => Ok(None),
        }
    }

    /// The body of an answer as it may pass; nothing, where it may as it is.
    ///
    /// # Errors
    /// When it may not.
    pub(super) fn answer(
        &self,
        filter: Option<&PiiFilter>,
        (api, body): (Api, &str),
    ) -> Result<Option<String>, Denial> {
        match filter {
            Some(filter) => self.decided(Place::Answer, pii::answer(filter, api, body)),
            None => Ok(None),
        }
    }

    fn decided(&self, place: Place, checked: Checked) -> Result<Option<String>, Denial> {
        match checked {
            Checked::Clean => Ok(None),
            Checked::Warned(found) => {
                self.tell(place, Action::Warn, &found);
                Ok(None)
            }
            Checked::Redacted { text, found } => {
                self.tell(place, Action::Redact, &found);
                Ok(Some(text))
            }
            Checked::Blocked(found) => {
                self.tell(place, Action::Block, &found);
                Err(Denial::PersonalData { place, found })
            }
            Checked::Unreadable => {
                self.tell_unreadable(place);
                Err(Denial::Unreadable { place })
            }
        }
    }

    fn stopped(&self, stop: &Stop) -> Stopped {
        match stop {
            Stop::Found(found) => {
                self.tell(Place::Answer, Action::Block, found);
                Stopped::PersonalData
            }
            Stop::Unreadable => {
                self.tell_unreadable(Place::Answer);
                Stopped::Unreadable
            }
        }
    }

    fn tell_unreadable(&self, place: Place) {
        self.shared.tell(Event::Unreadable {
            caller: &self.caller,
            request: &self.request,
            place,
        });
    }

    fn tell(&self, place: Place, action: Action, found: &Found) {
        if !found.is_empty() {
            self.shared.tell(Event::PersonalData {
                caller: &self.caller,
                request: &self.request,
                place,
                action,
                found,
            });
        }
    }
}

/// Looks at the frames of an answer on their way to the agent.
pub(super) struct StreamValidator {
    frames: PiiFrames,
    action: Action,
    validators: Validators,
}

impl StreamValidator {
    pub(super) fn new(filter: &PiiFilter, api: Api, validators: Validators) -> Self {
        Self {
            frames: PiiFrames::new(filter.clone(), api),
            action: filter.action,
            validators,
        }
    }

    /// The frames that may pass for one.
    ///
    /// # Errors
    /// When the stream may not go on.
    pub(super) fn frame(&mut self, frame: &Frame) -> Result<Vec<Frame>, Stopped> {
        let passed = self.frames.frame(frame);
        passed.map_err(|stop| self.validators.stopped(&stop))
    }

    /// What was held back at the end of the stream.
    ///
    /// # Errors
    /// When it may not pass.
    pub(super) fn finish(self) -> Result<Vec<Frame>, Stopped> {
        match self.frames.finish() {
            Ok((frames, found)) => {
                self.validators.tell(Place::Answer, self.action, &found);
                Ok(frames)
            }
            Err(stop) => Err(self.validators.stopped(&stop)),
        }
    }
}

/// Why a validator does not let a stream go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopped {
    /// It has personal data.
    PersonalData,
    /// Not all of it can be read.
    Unreadable,
}

impl Stopped {
    /// The word for it, for programs.
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::PersonalData => "pii_filter",
            Self::Unreadable => "unreadable",
        }
    }
}
