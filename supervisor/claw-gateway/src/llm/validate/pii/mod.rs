//! Personal data in texts: found by shape, check digits and the words before it.
//!
//! A match is decided by the [`WINDOW`] bytes behind its begin and the [`CONTEXT`] bytes before it,
//! and by nothing else. So a text gives the same result in one piece and in any pieces of a stream.

mod body;
mod detect;
mod digits;
mod frames;
mod strict;
mod text;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt;

pub use body::{Unreadable, answer, kept_answer, kept_request, request, request_texts};
pub use detect::{CONTEXT, WINDOW};
pub use frames::{PiiFrames, Stop};
pub use text::PiiText;

/// A kind of personal data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An address of electronic mail.
    Email,
    /// A telephone number.
    Phone,
    /// A social security number of the United States.
    Ssn,
    /// The number of a payment card.
    Card,
    /// An international bank account number.
    Iban,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Email, Self::Phone, Self::Ssn, Self::Card, Self::Iban];

    /// What stands in a text in its place.
    #[must_use]
    pub const fn placeholder(self) -> &'static str {
        match self {
            Self::Email => "[EMAIL]",
            Self::Phone => "[PHONE]",
            Self::Ssn => "[SSN]",
            Self::Card => "[CARD]",
            Self::Iban => "[IBAN]",
        }
    }

    /// The kind by its name in a fleet file: `email`, `phone`, `ssn`, `card`, `iban`.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.to_string() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Ssn => "ssn",
            Self::Card => "card",
            Self::Iban => "iban",
        })
    }
}

/// What happens to a text with personal data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The data is replaced by its [placeholder](Kind::placeholder).
    Redact,
    /// The text does not pass.
    Block,
    /// The text passes, and what was found is told.
    Warn,
}

/// How much of each kind was found. What was found is never kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found(BTreeMap<Kind, u64>);

impl Found {
    /// Whether it is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each kind with its number.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, u64)> {
        self.0.iter().map(|(kind, count)| (*kind, *count))
    }

    pub(crate) fn add(&mut self, kind: Kind) {
        *self.0.entry(kind).or_default() += 1;
    }

    pub(crate) fn add_all(&mut self, other: &Self) {
        for (kind, count) in &other.0 {
            *self.0.entry(*kind).or_default() += count;
        }
    }
}

/// `2 email, 1 card`.
impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (kind, count)) in self.0.iter().enumerate() {
            let separator = if index > 0 { ", " } else { "" };
            write!(f, "{separator}{count} {kind}")?;
        }
        Ok(())
    }
}

/// What became of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    /// Nothing was found in it.
    Clean,
    /// It passes as it is.
    Warned(Found),
    /// It passes like this.
    Redacted {
        /// The text with placeholders.
        text: String,
        /// What they stand for.
        found: Found,
    },
    /// It does not pass.
    Blocked(Found),
    /// Not all of it could be read, so it does not pass either.
    Unreadable,
}

/// Which kinds are looked for, and what happens then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PiiFilter {
    /// The kinds.
    pub kinds: BTreeSet<Kind>,
    /// What happens.
    pub action: Action,
}

impl PiiFilter {
    /// Looks at a text in one piece.
    #[must_use]
    pub fn check(&self, text: &str) -> Checked {
        let (text, found) = self.redacted(text);
        match self.action {
            _ if found.is_empty() => Checked::Clean,
            Action::Redact => Checked::Redacted { text, found },
            Action::Block => Checked::Blocked(found),
            Action::Warn => Checked::Warned(found),
        }
    }

    /// A text in one piece with placeholders, and what they stand for.
    fn redacted(&self, text: &str) -> (String, Found) {
        let mut reading = PiiText::new(self.kinds.clone());
        let mut written = reading.push(text);
        let (rest, found) = reading.finish();
        written.push_str(&rest);
        (written, found)
    }
}

#[cfg(test)]
mod tests;
