//! What somebody else wrote, as a message may quote it.

use std::fmt;

/// A text of an agent or a provider for messages and logs: at most [`Excerpt::MAX`] characters of
/// it, with those escaped that a terminal would obey or not show.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Excerpt(Box<str>);

impl Excerpt {
    /// The most characters of the text that are kept.
    pub const MAX: usize = 128;

    /// The text.
    #[must_use]
    pub const fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Excerpt {
    fn from(text: &str) -> Self {
        let mut kept = escaped(text, Self::MAX);
        if text.chars().nth(Self::MAX).is_some() {
            kept.push('…');
        }
        Self(kept.into())
    }
}

impl From<String> for Excerpt {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// So many characters of a text, with those escaped that a terminal would obey or not show. What is
/// escaped once stays the same when it is escaped again.
pub(crate) fn escaped(text: &str, most: usize) -> String {
    let mut written = String::new();
    for character in text.chars().take(most) {
        match character {
            '\\' | '\'' | '"' => written.push(character),
            other => written.extend(other.escape_debug()),
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_short_and_obeyed_by_no_terminal() {
        let text = format!("\u{1b}[31m\"é\"\\{}", "x".repeat(1000));
        let excerpt = Excerpt::from(text.as_str());
        let cut = format!("\\u{{1b}}[31m\"é\"\\{}…", "x".repeat(Excerpt::MAX - 9));
        assert_eq!(excerpt.as_str(), cut);
        assert_eq!(Excerpt::from("model").as_str(), "model");
        let again = Excerpt::from(Excerpt::from("a\nb\\").as_str());
        assert_eq!(again.as_str(), "a\\nb\\");
    }
}
