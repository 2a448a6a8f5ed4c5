//! Who judges texts is asked, and what it says is obeyed.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use tokio::time::timeout;

use super::denial::Denial;
use super::gateway::Shared;
use super::host::{Caller, Event, Place};
use super::settings::{AgentSettings, Provider, Settings};
use crate::llm::validate::content_safety::{ContentSafety, Judged, NotJudged, OnFailure, Verdict};

/// The longest judgement, in bytes.
const MAX_JUDGEMENT: usize = 1024 * 1024;

/// Asks for the judgement of one request's texts.
pub(super) struct Judge {
    shared: Arc<Shared>,
    caller: Arc<Caller>,
    request: Arc<str>,
    safety: ContentSafety,
    /// Nobody, where the settings have no such provider.
    provider: Option<Arc<Provider>>,
}

/// How a text may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passed {
    /// It is judged safe, or has nothing to be judged.
    Judged,
    /// Nobody could judge it.
    Unjudged,
}

impl Judge {
    /// Who judges such texts of an agent; nobody, where none is to.
    pub(super) fn of(
        (settings, agent): (&Settings, &AgentSettings),
        place: Place,
        (shared, caller, request): (&Arc<Shared>, &Arc<Caller>, &Arc<str>),
    ) -> Option<Self> {
        let safety = agent.content_safety.as_ref()?;
        let is_judged = match (safety.judged, place) {
            (Judged::Both, _)
            | (Judged::Prompts, Place::Prompt)
            | (Judged::Answers, Place::Answer) => true,
            (Judged::Prompts, Place::Answer) | (Judged::Answers, Place::Prompt) => false,
        };
        is_judged.then(|| Self {
            shared: Arc::clone(shared),
            caller: Arc::clone(caller),
            request: Arc::clone(request),
            safety: safety.clone(),
            provider: settings.providers.get(&safety.provider).map(Arc::clone),
        })
    }

    /// Asks for a judgement of texts.
    ///
    /// # Errors
    /// When they are not to pass.
    pub(super) async fn judge(
        &self,
        place: Place,
        mut texts: Vec<String>,
    ) -> Result<Passed, Denial> {
        texts.retain(|text| !text.trim().is_empty());
        if texts.is_empty() {
            return Ok(Passed::Judged);
        }
        let asking = timeout(self.safety.timeout, self.ask(&texts));
        match asking.await.unwrap_or(Err(NotJudged::TimedOut)) {
            Ok(Verdict::Safe) => Ok(Passed::Judged),
            Ok(Verdict::Unsafe { categories }) => {
                self.shared.tell(Event::Unsafe {
                    caller: &self.caller,
                    request: &self.request,
                    place,
                    categories: &categories,
                });
                Err(Denial::Unsafe { place, categories })
            }
            Err(error) => self.unjudged(place, &error),
        }
    }

    /// A text that could not be read to be judged, or whose judgement did not come.
    ///
    /// # Errors
    /// When it is not to pass.
    pub(super) fn unjudged(&self, place: Place, error: &NotJudged) -> Result<Passed, Denial> {
        let action = self.safety.on_failure;
        tracing::warn!(
            provider = %self.safety.provider, %place, ?action, %error,
            "a text was not judged; look at `content_safety` of the agent"
        );
        self.shared.tell(Event::Unjudged {
            caller: &self.caller,
            request: &self.request,
            place,
            action,
        });
        match action {
            OnFailure::Allow => Ok(Passed::Unjudged),
            OnFailure::Block => Err(Denial::Unjudged { place }),
        }
    }

    async fn ask(&self, texts: &[String]) -> Result<Verdict, NotJudged> {
        let provider = self.provider.as_ref().ok_or(NotJudged::NoProvider)?;
        let body = Bytes::from(self.safety.request(texts));
        let client = &self.shared.client;
        let sent = client.moderate(&provider.base_url, provider.key.as_ref(), body);
        let response = sent.await.map_err(NotJudged::Unreachable)?;
        if !response.status().is_success() {
            return Err(NotJudged::Refused(response.status().as_u16()));
        }
        let body = Limited::new(response.into_body(), MAX_JUDGEMENT).collect();
        let body = body.await.map_err(|_broken| NotJudged::Unreadable)?;
        self.safety.verdict(&body.to_bytes(), texts.len())
    }
}
