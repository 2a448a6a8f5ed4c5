//! Texts that are judged by a model for it: an endpoint of OpenAI's moderations.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use crate::llm::upstream::SendError;
use crate::llm::wire::Excerpt;

/// The most categories that are told of one judgement.
pub const MAX_CATEGORIES: usize = 16;

/// What an agent says and hears is judged before it passes. What is judged unsafe does not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentSafety {
    /// The provider whose `/moderations` is asked, with its key, by its name in the settings. OpenAI
    /// charges nothing for it (<https://developers.openai.com/api/docs/guides/moderation>); what
    /// another one charges is not counted.
    pub provider: Arc<str>,
    /// The model that judges; `None` leaves it to the provider.
    pub model: Option<Arc<str>>,
    /// Texts of these categories do not pass, as the provider names them; with none, texts that it
    /// flags for any.
    pub categories: BTreeSet<String>,
    /// What is judged.
    pub judged: Judged,
    /// What is done when nobody judges.
    pub on_failure: OnFailure,
    /// How long a judgement may take.
    pub timeout: Duration,
}

/// What is judged: texts, and no images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judged {
    /// What the agent asks: all texts of the request, once for each request.
    Prompts,
    /// What the model answers: the text of each answer, without shown thought and calls of tools.
    Answers,
    /// Both.
    Both,
}

/// What is done with a text that could not be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// It does not pass.
    #[default]
    Block,
    /// It passes.
    Allow,
}

impl ContentSafety {
    /// How long a judgement may take where nothing else is said.
    pub const TIMEOUT: Duration = Duration::from_secs(10);

    /// Judges prompts and answers for all categories, and lets nothing pass that is not judged.
    #[must_use]
    pub const fn new(provider: Arc<str>) -> Self {
        Self {
            provider,
            model: None,
            categories: BTreeSet::new(),
            judged: Judged::Both,
            on_failure: OnFailure::Block,
            timeout: Self::TIMEOUT,
        }
    }

    /// The body of a request for the judgement of texts.
    pub(crate) fn request(&self, texts: &[String]) -> String {
        let mut body = json!({"input": texts});
        if let Some(model) = &self.model {
            body["model"] = json!(model);
        }
        body.to_string()
    }

    /// Reads a judgement of so many texts.
    ///
    /// # Errors
    /// When it is none, or has not all that it is asked for.
    pub(crate) fn verdict(&self, body: &[u8], texts: usize) -> Result<Verdict, NotJudged> {
        let judgement: Judgement =
            serde_json::from_slice(body).map_err(|_not| NotJudged::Unreadable)?;
        if judgement.results.len() != texts {
            return Err(NotJudged::Unreadable);
        }
        let mut found = BTreeSet::new();
        let mut is_flagged = false;
        for one in &judgement.results {
            let unknown = |category: &&String| !one.categories.contains_key(*category);
            if let Some(category) = self.categories.iter().find(unknown) {
                return Err(NotJudged::NoSuchCategory(category.as_str().into()));
            }
            let is_asked = |category: &String| {
                self.categories.is_empty() || self.categories.contains(category)
            };
            let held = one
                .categories
                .iter()
                .filter(|(_, holds)| **holds == Some(true));
            let asked = held.map(|(category, _)| category).filter(|it| is_asked(it));
            let before = found.len();
            found.extend(asked.map(|category| Excerpt::from(category.as_str()).to_string()));
            is_flagged |= found.len() > before || (one.flagged && self.categories.is_empty());
        }
        if !is_flagged {
            return Ok(Verdict::Safe);
        }
        let categories = found.into_iter().take(MAX_CATEGORIES).collect();
        Ok(Verdict::Unsafe { categories })
    }
}

/// What was judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may pass.
    Safe,
    /// It may not.
    Unsafe {
        /// For what, in the provider's words: at most [`MAX_CATEGORIES`] of them.
        categories: Vec<String>,
    },
}

/// Why there is no judgement.
#[derive(Debug, thiserror::Error)]
pub enum NotJudged {
    /// No provider of the settings has the name.
    #[error("there is no such provider")]
    NoProvider,
    /// The provider was not reached.
    #[error("the provider was not reached")]
    Unreachable(#[source] SendError),
    /// It refused.
    #[error("the provider answered {0}")]
    Refused(u16),
    /// It did not answer in time.
    #[error("the judgement did not come in time")]
    TimedOut,
    /// What was to be judged could not be read.
    #[error("not all of the text can be read")]
    NoText,
    /// What came is no judgement of what was sent.
    #[error("the answer has no judgement of each text")]
    Unreadable,
    /// A category of the settings is none of the provider's.
    #[error("the provider does not judge for {0}")]
    NoSuchCategory(Excerpt),
}

/// A judgement, of which the rest is not read.
#[derive(Deserialize)]
struct Judgement {
    results: Vec<OfOne>,
}

#[derive(Deserialize)]
struct OfOne {
    flagged: bool,
    #[serde(default)]
    categories: BTreeMap<String, Option<bool>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(categories: &[&str], body: &str) -> Result<Verdict, String> {
        let safety = ContentSafety {
            categories: categories.iter().map(ToString::to_string).collect(),
            ..ContentSafety::new("hub".into())
        };
        let judged = safety.verdict(body.as_bytes(), 2);
        judged.map_err(|error| error.to_string())
    }

    #[test]
    fn a_text_is_unsafe_for_what_is_looked_for() {
        let body = r#"{"id": "m", "results": [
            {"flagged": false, "categories": {"hate": false, "violence": false}},
            {"flagged": true, "categories": {"hate": true, "violence": false, "illicit": null}}]}"#;
        let categories = vec!["hate".to_owned()];
        let hate = Ok(Verdict::Unsafe { categories });
        assert_eq!(verdict(&[], body), hate);
        assert_eq!(verdict(&["hate", "violence"], body), hate);
        assert_eq!(verdict(&["violence"], body), Ok(Verdict::Safe));
    }

    #[test]
    fn what_is_no_judgement_of_all_that_was_asked_lets_nothing_pass() {
        let one = r#"{"flagged": false, "categories": {"hate": false}}"#;
        for body in [
            "",
            "{}",
            r#"{"results": [{}, {}]}"#,
            &format!("{{\"results\": [{one}]}}"),
        ] {
            assert!(verdict(&[], body).is_err(), "{body}");
        }
        let both = format!("{{\"results\": [{one}, {one}]}}");
        assert_eq!(verdict(&[], &both), Ok(Verdict::Safe));
        let told = verdict(&["hate_speech"], &both);
        assert_eq!(
            told,
            Err("the provider does not judge for hate_speech".to_owned())
        );
    }

    #[test]
    fn a_text_that_is_flagged_for_nothing_that_is_named_is_unsafe() {
        let body = r#"{"results": [{"flagged": true}, {"flagged": false}]}"#;
        let categories = Vec::new();
        assert_eq!(verdict(&[], body), Ok(Verdict::Unsafe { categories }));
    }
}
