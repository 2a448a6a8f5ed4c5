//! A command as text, split into words as a shell splits them, and run by none.

use std::ops::Range;

use super::Rejected;

/// Splits a text into words. Quotes group and backslashes escape, as in a POSIX shell. Bytes in
/// `literal` came from variables: they never separate words, quote or escape.
pub(in crate::config) fn split(
    text: &str,
    literal: &[Range<usize>],
) -> Result<Vec<String>, Rejected> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoting = Quoting::None;
    let mut characters = text.char_indices();
    while let Some((index, c)) = characters.next() {
        if literal.iter().any(|range| range.contains(&index)) {
            word.get_or_insert_default().push(c);
            continue;
        }
        match (quoting, c) {
            (Quoting::None, ' ' | '\t' | '\n' | '\r') => words.extend(word.take()),
            (Quoting::None, '\'') => quoting = begin(&mut word, Quoting::Single),
            (Quoting::None, '"') => quoting = begin(&mut word, Quoting::Double),
            (Quoting::Single, '\'') | (Quoting::Double, '"') => quoting = Quoting::None,
            (Quoting::None, '\\') => match characters.next() {
                Some((_, escaped)) => word.get_or_insert_default().push(escaped),
                None => return Err(Rejected::new("it ends with a backslash")),
            },
            (Quoting::Double, '\\') => {
                escape_in_quotes(word.get_or_insert_default(), &mut characters)
            }
            (Quoting::None, c) if is_operator(c) => return Err(operator(c)),
            (Quoting::None | Quoting::Single | Quoting::Double, c) => {
                word.get_or_insert_default().push(c);
            }
        }
    }
    match quoting {
        Quoting::None => words.extend(word),
        Quoting::Single => return Err(Rejected::new("a `'` is never closed")),
        Quoting::Double => return Err(Rejected::new("a `\"` is never closed")),
    }
    Ok(words)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quoting {
    None,
    Single,
    Double,
}

/// An empty pair of quotes is a word too.
fn begin(word: &mut Option<String>, quoting: Quoting) -> Quoting {
    word.get_or_insert_default();
    quoting
}

fn escape_in_quotes(word: &mut String, rest: &mut std::str::CharIndices<'_>) {
    let next = rest.clone().next().map(|(_, next)| next);
    match next {
        Some(next @ ('"' | '\\' | '$' | '`')) => {
            rest.next();
            word.push(next);
        }
        Some(_) | None => word.push('\\'),
    }
}

fn is_operator(c: char) -> bool {
    matches!(c, '|' | '&' | ';' | '<' | '>' | '`')
}

fn operator(c: char) -> Rejected {
    Rejected::new(format!(
        "`{c}` means something to a shell, and none runs it"
    ))
    .help(format!(
        "write `[sh, -c, \"…\"]` to use a shell, or quote the `{c}` to hand it over as it is"
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(text: &str) -> Result<Vec<String>, Rejected> {
        split(text, &[])
    }

    #[test]
    fn words_are_split_as_a_shell_does() {
        let cases: [(&str, &[&str]); 7] = [
            (
                "node gateway.js --port 80",
                &["node", "gateway.js", "--port", "80"],
            ),
            (
                r#"sh -c "echo 'hi there'""#,
                &["sh", "-c", "echo 'hi there'"],
            ),
            (r"a\ b c", &["a b", "c"]),
            (r#"a '' "" b"#, &["a", "", "", "b"]),
            (r#""\n\"""#, &["\\n\""]),
            ("  a  ", &["a"]),
            ("", &[]),
        ];
        for (text, expected) in cases {
            assert_eq!(words(text).expect(text), expected, "{text}");
        }
    }

    #[test]
    fn what_only_a_shell_could_do_is_refused() {
        for text in ["a | b", "a && b", "a; b", "a > b", "a 'b", "a \"b", "a \\"] {
            assert!(words(text).is_err(), "{text}");
        }
    }

    #[test]
    fn values_of_variables_are_never_split() {
        let text = "run a 'b; c d";
        let from_variable = 4..text.len();
        assert_eq!(
            split(text, std::slice::from_ref(&from_variable)),
            Ok(vec!["run".to_owned(), "a 'b; c d".to_owned()])
        );
    }

    proptest! {
        #[test]
        fn words_joined_by_shlex_split_again(list in proptest::collection::vec("[^\u{0}]*", 0..5)) {
            let joined = shlex::try_join(list.iter().map(String::as_str)).expect("no NUL is in it");
            prop_assert_eq!(words(&joined), Ok(list));
        }
    }
}
