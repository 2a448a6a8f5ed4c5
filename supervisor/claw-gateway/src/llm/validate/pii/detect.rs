//! Whether personal data begins at a place of a text.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;

use super::Kind;
use super::digits::{continues, ends, is_card, is_iban, is_ssn, only};

/// The most bytes that a match has: an address of mail has 254 (RFC 5321 by its erratum 1690).
pub const WINDOW: usize = 256;

/// How many bytes before a number are searched for a word that says what it is.
pub const CONTEXT: usize = 64;

/// Words before nine digits that make them a social security number.
const SSN_WORDS: [&str; 3] = ["ssn", "social security", "social-security"];

/// Words before ten or eleven digits that make them a telephone number.
const PHONE_WORDS: [&str; 7] = ["phone", "tel", "mobile", "cell", "fax", "call", "whatsapp"];

/// An address of mail. It has none of the characters that [`is_decided`] takes as its end.
static EMAIL: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"\A[^ \t\r\n,;:!?"'<>()\[\]{}@/\\=|&]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}"#,
    )
});

static SSN: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"\A[0-9]{3}(?:-[0-9]{2}-| [0-9]{2} )[0-9]{4}"));

/// With the country's number, as ITU-T E.123 has it, with other separators too.
static PHONE_ABROAD: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"\A\+[1-9][0-9]{0,2}(?:[ .-]?\(?[0-9]{1,4}\)?){2,6}"));

/// In the groups of the North American plan.
static PHONE_AT_HOME: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"\A(?:1[ .-])?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[ .-])[2-9][0-9]{2}[ .-][0-9]{4}")
});

static NINE_DIGITS: LazyLock<Regex> = LazyLock::new(|| pattern(r"\A[0-9]{9}"));

static TEN_DIGITS: LazyLock<Regex> = LazyLock::new(|| pattern(r"\A1?[2-9][0-9]{9}"));

/// Whether a match may begin at a place: nothing begins inside of a word.
pub(super) fn may_begin(text: &str, at: usize) -> bool {
    let Some(first) = text[at..].chars().next() else {
        return false;
    };
    (first.is_alphanumeric() || matches!(first, '+' | '(' | '_'))
        && !text[..at]
            .chars()
            .next_back()
            .is_some_and(char::is_alphanumeric)
}

/// Whether what follows cannot change what begins at a place: enough of it is there, or a character
/// that no match has. A space is one when neither a digit nor a capital nor a bracket follows it.
pub(super) fn is_decided(text: &str, at: usize) -> bool {
    let rest = &text.as_bytes()[at..];
    rest.len() >= WINDOW
        || rest.iter().enumerate().any(|(index, byte)| match byte {
            b'\n' | b'\r' | b'\t' | b',' | b';' | b'!' | b'?' | b'"' | b'<' | b'>' => true,
            b' ' => rest.get(index + 1).is_some_and(|next| {
                !next.is_ascii_digit() && !next.is_ascii_uppercase() && *next != b'('
            }),
            _ => false,
        })
}

/// The personal data that begins at a place, and where it ends.
pub(super) fn match_at(text: &str, at: usize, kinds: &BTreeSet<Kind>) -> Option<(Kind, usize)> {
    let end = text.floor_char_boundary(at.saturating_add(WINDOW));
    let window = &text[at..end];
    let first = window.chars().next()?;
    let before = text[..at].chars().next_back();
    // A fraction and an amount of money are no numbers of anything else.
    let numbered = first.is_ascii_digit() && !matches!(before, Some('.' | '$'));
    let looked_for = |kind| kinds.contains(&kind);
    if looked_for(Kind::Email)
        && let Some(length) = email(window)
    {
        return Some((Kind::Email, at + length));
    }
    if looked_for(Kind::Iban)
        && let Some(length) = iban(window)
    {
        return Some((Kind::Iban, at + length));
    }
    if looked_for(Kind::Card)
        && numbered
        && let Some(length) = card(window)
    {
        return Some((Kind::Card, at + length));
    }
    if looked_for(Kind::Ssn)
        && numbered
        && let Some(length) = ssn(window, || says(text, at, &SSN_WORDS))
    {
        return Some((Kind::Ssn, at + length));
    }
    if looked_for(Kind::Phone)
        && (numbered || matches!(first, '+' | '('))
        && let Some(length) = phone(window, || says(text, at, &PHONE_WORDS))
    {
        return Some((Kind::Phone, at + length));
    }
    None
}

fn email(window: &str) -> Option<usize> {
    // Most words are no address, and this tells it without the pattern.
    let end = window.find(['@', ' ', '\n']).filter(|end| *end > 0)?;
    if window.as_bytes()[end] != b'@' {
        return None;
    }
    EMAIL.find(window).map(|found| found.end())
}

fn iban(window: &str) -> Option<usize> {
    let [b'A'..=b'Z', b'A'..=b'Z', b'0'..=b'9', b'0'..=b'9', ..] = window.as_bytes() else {
        return None;
    };
    let part = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    ends(window, part, b" ")
        .take_while(|(count, _)| *count <= 34)
        .filter(|(count, end)| {
            let characters: String = window[..*end].split(' ').collect();
            *count >= 15 && is_iban(&characters)
        })
        .last()
        .map(|(_, end)| end)
}

fn card(window: &str) -> Option<usize> {
    ends(window, |byte| byte.is_ascii_digit(), b" -")
        .take_while(|(count, _)| *count <= 19)
        .filter(|(count, end)| *count >= 13 && is_card(&only(&window[..*end])))
        .last()
        .map(|(_, end)| end)
}

fn ssn(window: &str, is_said: impl Fn() -> bool) -> Option<usize> {
    let end = match SSN.find(window) {
        Some(grouped) => grouped.end(),
        None => NINE_DIGITS.find(window).filter(|_| is_said())?.end(),
    };
    (!continues(window, end) && is_ssn(&only(&window[..end]))).then_some(end)
}

fn phone(window: &str, is_said: impl Fn() -> bool) -> Option<usize> {
    if let Some(abroad) = PHONE_ABROAD.find(window) {
        let digits = only(abroad.as_str()).len();
        return ((8..=15).contains(&digits) && !continues(window, abroad.end()))
            .then_some(abroad.end());
    }
    let end = match PHONE_AT_HOME.find(window) {
        Some(grouped) => grouped.end(),
        None => TEN_DIGITS.find(window).filter(|_| is_said())?.end(),
    };
    (!continues(window, end)).then_some(end)
}

/// Whether one of the words stands shortly before a place.
fn says(text: &str, at: usize, words: &[&str]) -> bool {
    let start = text.floor_char_boundary(at.saturating_sub(CONTEXT));
    let before = text[start..at].to_ascii_lowercase();
    words.iter().any(|word| before.contains(word))
}

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the pattern is fixed, and tests use it")
}
