//! Masking an agent's secrets wherever it says them.
//!
//! ```text
//!  bytes ─► held + bytes ─► every secret masked ─► out
//!             ▲                                │
//!             └── an end that may become one ◄─┘
//! ```
//!
//! As many stars take its place as it has bytes, so that whatever counts bytes still holds: the
//! lengths that a document tells, and how far a log was taken over.

use std::borrow::Cow;
use std::sync::OnceLock;

use aho_corasick::{AhoCorasick, MatchKind};

use crate::spec::Launch;

/// Shorter values are not masked: they are found in too much that is no secret.
pub const SHORTEST: usize = 8;

/// Finds the secrets of an agent in what it says.
#[derive(Debug, Clone)]
pub struct Redactor {
    values: Vec<Vec<u8>>,
    /// Made when something is said: no start waits for it.
    finder: OnceLock<AhoCorasick>,
}

/// The end of a stream that may be the beginning of a secret.
#[derive(Debug, Clone, Default)]
pub struct Held(Vec<u8>);

impl Redactor {
    /// For the secrets that an agent was granted; `None` if there is nothing to mask.
    #[must_use]
    pub fn of(launch: &Launch) -> Option<Self> {
        Self::new(values(launch))
    }

    /// For values of at least [`SHORTEST`] bytes; `None` if there are none.
    #[must_use]
    pub fn new(values: Vec<String>) -> Option<Self> {
        let mut values: Vec<Vec<u8>> = values.into_iter().map(String::into_bytes).collect();
        values.retain(|value| value.len() >= SHORTEST);
        values.sort_unstable();
        values.dedup();
        let finder = OnceLock::new();
        (!values.is_empty()).then_some(Self { values, finder })
    }

    fn finder(&self) -> &AhoCorasick {
        self.finder.get_or_init(|| {
            AhoCorasick::builder()
                .match_kind(MatchKind::LeftmostLongest)
                .build(&self.values)
                .expect("an environment is far smaller than the automaton's 32-bit states")
        })
    }

    /// Masks a whole document.
    #[must_use]
    pub fn document<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let mut masked = Cow::Borrowed(bytes);
        for found in self.finder().find_iter(bytes) {
            masked.to_mut()[found.range()].fill(b'*');
        }
        masked
    }

    /// Masks a whole text.
    #[must_use]
    pub fn text(&self, text: String) -> String {
        match self.document(text.as_bytes()) {
            Cow::Borrowed(_) => text,
            // Secrets are text, so what is left of it is.
            Cow::Owned(masked) => String::from_utf8_lossy(&masked).into_owned(),
        }
    }

    /// Masks a piece of a stream, with what was held of it before. Returns what may be shown; an
    /// end that may become a secret stays held.
    #[must_use]
    pub fn piece<'a>(&self, held: &mut Held, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let mut all = Cow::Borrowed(bytes);
        if !held.0.is_empty() {
            held.0.extend_from_slice(bytes);
            all = Cow::Owned(std::mem::take(&mut held.0));
        }
        let mut until = self.open_from(&all);
        let mut found = Vec::new();
        for one in self.finder().find_iter(&*all) {
            // A longer secret may begin with this one.
            if one.end() > until {
                until = until.min(one.start());
                break;
            }
            found.push(one.range());
        }
        held.0.extend_from_slice(&all[until..]);
        for range in found {
            all.to_mut()[range].fill(b'*');
        }
        match all {
            Cow::Borrowed(bytes) => Cow::Borrowed(&bytes[..until]),
            Cow::Owned(mut bytes) => {
                bytes.truncate(until);
                Cow::Owned(bytes)
            }
        }
    }

    /// What is left of a stream at its end.
    #[must_use]
    pub fn rest(&self, held: &mut Held) -> Vec<u8> {
        let all = std::mem::take(&mut held.0);
        self.document(&all).into_owned()
    }

    /// Where the end of `bytes` begins that may go on to be a secret.
    fn open_from(&self, bytes: &[u8]) -> usize {
        let longest = self.values.iter().map(Vec::len).max().unwrap_or(0);
        let first = bytes.len().saturating_sub(longest.saturating_sub(1));
        (first..bytes.len())
            .find(|from| {
                let end = &bytes[*from..];
                self.values.iter().any(|value| value.starts_with(end))
            })
            .unwrap_or(bytes.len())
    }
}

/// A text without the secrets of an agent.
#[must_use]
pub fn text(launch: &Launch, text: String) -> String {
    match Redactor::of(launch) {
        Some(redactor) => redactor.text(text),
        None => text,
    }
}

/// What is masked of an agent's secrets: each line of a value, since a program may print it line by
/// line, and how JSON writes it.
#[must_use]
pub fn values(launch: &Launch) -> Vec<String> {
    let granted = launch.secrets.values().filter(|secret| secret.is_granted());
    let lines = granted.flat_map(|secret| secret.expose().lines());
    let mut values = Vec::new();
    for line in lines.map(str::trim).filter(|line| line.len() >= SHORTEST) {
        values.push(line.to_owned());
        let json = serde_json::Value::from(line).to_string();
        let inside = &json[1..json.len() - 1];
        if inside != line {
            values.push(inside.to_owned());
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn redactor(values: &[&str]) -> Redactor {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        Redactor::new(values).expect("there is something to mask")
    }

    fn streamed(redactor: &Redactor, pieces: &[&[u8]]) -> String {
        let mut held = Held::default();
        let mut shown = Vec::new();
        for piece in pieces {
            shown.extend_from_slice(&redactor.piece(&mut held, piece));
        }
        shown.extend(redactor.rest(&mut held));
        String::from_utf8(shown).expect("text")
    }

    #[test]
    fn a_secret_is_masked_however_it_is_cut_into_pieces() {
        let redactor = redactor(&["swordfish-1", "swordfish-1-long"]);
        let said = b"is swordfish-1, or swordfish-1-long, not swordfish";
        let expected = "is ***********, or ****************, not swordfish";
        assert_eq!(streamed(&redactor, &[said]), expected);
        for at in 0..said.len() {
            let (one, other) = said.split_at(at);
            assert_eq!(streamed(&redactor, &[one, other]), expected, "{at}");
        }
        let single: Vec<&[u8]> = said.chunks(1).collect();
        assert_eq!(streamed(&redactor, &single), expected);
    }

    #[test]
    fn what_cannot_become_a_secret_is_shown_at_once() {
        let redactor = redactor(&["swordfish-1"]);
        let mut held = Held::default();
        for (piece, shown) in [
            ("a line\n", "a line\n"),
            ("prompt> sword", "prompt> "),
            ("ed\n", "sworded\n"),
        ] {
            let seen = redactor.piece(&mut held, piece.as_bytes());
            assert_eq!(seen, shown.as_bytes());
        }
    }

    #[test]
    fn a_document_keeps_its_length() {
        let redactor = redactor(&["swordfish-1"]);
        let masked = redactor.document(br#"{"key":"swordfish-1"}"#);
        assert_eq!(&*masked, br#"{"key":"***********"}"#);
        let free = redactor.document(b"nothing");
        assert!(matches!(free, Cow::Borrowed(b"nothing")));
    }

    #[test]
    fn short_values_are_no_secrets() {
        assert!(Redactor::new(vec!["true".to_owned(), String::new()]).is_none());
    }

    proptest! {
        #[test]
        fn no_secret_is_shown_and_nothing_else_is_lost(
            text in "[ab\n]{0,200}",
            values in prop::collection::vec("[ab]{8,12}", 1..4),
            cuts in prop::collection::vec(0..200_usize, 0..20),
        ) {
            let redactor = Redactor::new(values.clone()).expect("values");
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            let ends = cuts.iter().copied().chain([bytes.len()]);
            let starts = [0].into_iter().chain(cuts.iter().copied());
            let pieces: Vec<&[u8]> = starts.zip(ends).map(|(from, to)| &bytes[from..to]).collect();
            let shown = streamed(&redactor, &pieces);
            for value in &values {
                prop_assert!(!shown.contains(value.as_str()), "{shown:?}");
            }
            prop_assert_eq!(shown.len(), text.len());
            let same = shown.bytes().zip(text.bytes()).all(|(shown, said)| shown == said || shown == b'*');
            prop_assert!(same, "{shown:?}");
            prop_assert_eq!(shown.as_bytes(), &*redactor.document(bytes));
        }
    }
}
