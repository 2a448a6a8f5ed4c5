//! Numbers that carry their own check digits.

/// Digits in groups: each may have one separator before it. Gives the number of characters so far
/// and where they end, for every place where the number may end.
pub(super) fn ends<'a>(
    window: &'a str,
    part: fn(u8) -> bool,
    separators: &'static [u8],
) -> impl Iterator<Item = (usize, usize)> + 'a {
    let bytes = window.as_bytes();
    let mut at = 0;
    let mut count = 0;
    std::iter::from_fn(move || {
        loop {
            let separated =
                count > 0 && bytes.get(at).is_some_and(|byte| separators.contains(byte));
            let next = at + usize::from(separated);
            if !bytes.get(next).copied().is_some_and(part) {
                return None;
            }
            count += 1;
            at = next + 1;
            if !continues(window, at) {
                return Some((count, at));
            }
        }
    })
}

/// Whether a letter or digit follows, so that nothing ends here.
pub(super) fn continues(window: &str, at: usize) -> bool {
    window
        .get(at..)
        .and_then(|rest| rest.chars().next())
        .is_some_and(char::is_alphanumeric)
}

/// Only the digits of a text.
pub(super) fn only(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

/// Whether digits are the number of a card: the lengths that its first digits allow (ISO/IEC 7812),
/// and the check digit (Luhn).
pub(super) fn is_card(digits: &str) -> bool {
    let lengths = match digits.as_bytes() {
        [b'4', ..] => 13..=19,
        [b'5', b'1'..=b'5', ..] | [b'2', b'2'..=b'7', ..] => 16..=16,
        [b'3', b'4' | b'7', ..] => 15..=15,
        [b'3', b'0' | b'6' | b'8' | b'9', ..] => 14..=19,
        [b'3', b'5', ..] | [b'5', b'0' | b'6'..=b'8', ..] | [b'6', ..] => 16..=19,
        _ => return false,
    };
    lengths.contains(&digits.len()) && luhn(digits)
}

fn luhn(digits: &str) -> bool {
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let digit = u32::from(digit - b'0');
            match (place % 2, digit) {
                (0, digit) => digit,
                (_, digit) if digit > 4 => digit * 2 - 9,
                (_, digit) => digit * 2,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Whether letters and digits are an IBAN: its check number modulo 97 (ISO 13616).
pub(super) fn is_iban(characters: &str) -> bool {
    let (head, tail) = characters.split_at(4);
    let mut rest = 0_u32;
    for character in tail.chars().chain(head.chars()) {
        let Some(value) = character.to_digit(36) else {
            return false;
        };
        let scale = if value > 9 { 100 } else { 10 };
        rest = (rest * scale + value) % 97;
    }
    rest == 1
}

/// Whether nine digits may be a social security number: which ones are never given out (SSA,
/// "Randomization FAQs").
pub(super) fn is_ssn(digits: &str) -> bool {
    let (Some(area), Some(group), Some(serial)) =
        (digits.get(..3), digits.get(3..5), digits.get(5..9))
    else {
        return false;
    };
    !matches!(area, "000" | "666") && !area.starts_with('9') && group != "00" && serial != "0000"
}
