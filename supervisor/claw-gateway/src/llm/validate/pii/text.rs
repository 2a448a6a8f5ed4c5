//! A text that comes in pieces, with personal data replaced.

use std::collections::BTreeSet;

use super::detect::{CONTEXT, is_decided, match_at, may_begin};
use super::{Found, Kind};

/// The longest encoding of a character in UTF-8.
const CHARACTER: usize = 4;

/// Takes a text in any pieces. Of what has come it holds back the part that may yet turn out to be
/// personal data, [`WINDOW`](super::WINDOW) bytes at most; in ordinary prose that is the last word.
#[derive(Debug, Clone)]
pub struct PiiText {
    kinds: BTreeSet<Kind>,
    /// The text from shortly before the cursor, as it came.
    text: String,
    /// Before it all is given out.
    cursor: usize,
    found: Found,
}

/// Whether more of a text may come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    Reached,
}

impl PiiText {
    /// Before the first piece.
    #[must_use]
    pub const fn new(kinds: BTreeSet<Kind>) -> Self {
        Self {
            kinds,
            text: String::new(),
            cursor: 0,
            found: Found(std::collections::BTreeMap::new()),
        }
    }

    /// What was found so far.
    #[must_use]
    pub const fn found(&self) -> &Found {
        &self.found
    }

    /// Takes a piece, and gives what can be told to be clean, or is replaced.
    pub fn push(&mut self, piece: &str) -> String {
        self.text.push_str(piece);
        let written = self.scan(End::Open);
        let kept = self.cursor.saturating_sub(CONTEXT + CHARACTER);
        let kept = self.text.floor_char_boundary(kept);
        self.text.drain(..kept);
        self.cursor -= kept;
        written
    }

    /// The rest, when no more comes, and all that was found.
    #[must_use]
    pub fn finish(mut self) -> (String, Found) {
        let written = self.scan(End::Reached);
        (written, self.found)
    }

    fn scan(&mut self, end: End) -> String {
        let mut written = String::new();
        let mut at = self.cursor;
        while let Some(character) = self.text[at..].chars().next() {
            if may_begin(&self.text, at) {
                if end == End::Open && !is_decided(&self.text, at) {
                    break;
                }
                if let Some((kind, after)) = match_at(&self.text, at, &self.kinds) {
                    written.push_str(&self.text[self.cursor..at]);
                    written.push_str(kind.placeholder());
                    self.found.add(kind);
                    self.cursor = after;
                    at = after;
                    continue;
                }
            }
            at += character.len_utf8();
        }
        written.push_str(&self.text[self.cursor..at]);
        self.cursor = at;
        written
    }
}
