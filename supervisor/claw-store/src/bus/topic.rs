//! The grammar of topics and filters: tokens between dots, as NATS has them.

/// The first token of topics that only the supervisor publishes.
pub const RESERVED: &str = "openclaw";

/// The longest topic or filter in bytes.
pub(super) const TOPIC_BYTES: usize = 256;

/// Why a topic or a filter is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// There is nothing, or nothing between two dots.
    #[error("topic {0:?} has an empty token")]
    EmptyToken(String),
    /// A letter that a token may not hold.
    #[error("topic {topic:?} may not hold {letter:?}")]
    BadLetter {
        /// The topic.
        topic: String,
        /// The letter.
        letter: char,
    },
    /// `*` or `>` in the name of an event.
    #[error("topic {0:?} has a wildcard; an event has a plain name")]
    Wildcard(String),
    /// `>` before the end of a filter.
    #[error("filter {0:?} has `>` before its end")]
    TailInside(String),
    /// It belongs to the supervisor.
    #[error("topic {0:?} is reserved for the supervisor")]
    Reserved(String),
    /// It is too long.
    #[error("a topic of {0} bytes is longer than {TOPIC_BYTES}")]
    TooLong(usize),
}

impl TopicError {
    /// A word for programs that never changes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::EmptyToken(_) | Self::BadLetter { .. } | Self::TooLong(_) => "bad_topic",
            Self::TailInside(_) => "bad_filter",
            Self::Wildcard(_) => "wildcard_in_topic",
            Self::Reserved(_) => "reserved_topic",
        }
    }
}

/// Checks the name of an event that somebody wants to publish.
///
/// # Errors
///
/// See [`TopicError`].
pub fn check_topic(topic: &str) -> Result<(), TopicError> {
    check_length(topic)?;
    for token in topic.split('.') {
        if matches!(token, "*" | ">") {
            return Err(TopicError::Wildcard(topic.to_owned()));
        }
        check_token(topic, token)?;
    }
    Ok(())
}

/// Whether only the supervisor may publish it.
#[must_use]
pub fn is_reserved(topic: &str) -> bool {
    topic.split('.').next() == Some(RESERVED)
}

/// A set of topics: `*` stands for one token, `>` at the end for one or more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilter {
    text: String,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    Plain,
    Pattern,
}

impl TopicFilter {
    /// Reads a filter.
    ///
    /// # Errors
    ///
    /// See [`TopicError`].
    pub fn try_new(text: &str) -> Result<Self, TopicError> {
        check_length(text)?;
        let mut kind = Kind::Plain;
        let mut tokens = text.split('.').peekable();
        while let Some(token) = tokens.next() {
            match token {
                ">" if tokens.peek().is_some() => {
                    return Err(TopicError::TailInside(text.to_owned()));
                }
                "*" | ">" => kind = Kind::Pattern,
                token => check_token(text, token)?,
            }
        }
        let text = text.to_owned();
        Ok(Self { text, kind })
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a topic is in the set.
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        match self.kind {
            Kind::Plain => self.text == topic,
            Kind::Pattern => matches_pattern(&self.text, topic),
        }
    }
}

fn matches_pattern(filter: &str, topic: &str) -> bool {
    let mut wanted = filter.split('.');
    let mut found = topic.split('.');
    loop {
        match (wanted.next(), found.next()) {
            (None, None) => return true,
            (Some(">"), Some(_)) => return true,
            (Some("*"), Some(_)) => {}
            (Some(wanted), Some(found)) if wanted == found => {}
            (Some(_) | None, Some(_) | None) => return false,
        }
    }
}

fn check_length(text: &str) -> Result<(), TopicError> {
    if text.len() > TOPIC_BYTES {
        return Err(TopicError::TooLong(text.len()));
    }
    Ok(())
}

fn check_token(topic: &str, token: &str) -> Result<(), TopicError> {
    if token.is_empty() {
        return Err(TopicError::EmptyToken(topic.to_owned()));
    }
    let bad = |letter: &char| {
        matches!(letter, '*' | '>') || letter.is_whitespace() || letter.is_control()
    };
    match token.chars().find(bad) {
        Some(letter) => Err(TopicError::BadLetter {
            topic: topic.to_owned(),
            letter,
        }),
        None => Ok(()),
    }
}
