//! Environment files, in the grammar Compose has for them.

use std::collections::BTreeMap;
use std::ops::Range;

use super::interpolate::{self, name_at};

/// What a file sets (`Some`) and unsets (`None`), the last line winning.
pub(super) type Assignments = BTreeMap<String, Option<String>>;

/// A line that cannot be used. Never repeats a value: the file holds secrets.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LineProblem {
    /// The bytes of the line.
    pub(super) at: Range<usize>,
    pub(super) message: String,
    pub(super) help: &'static str,
}

const FORM: &str = "write `NAME=value`";
const LITERAL: &str =
    "put the value in single quotes to keep its `$`, or set the variable in the environment";

/// Reads an environment file. Variables in values come from `outside` first, then from lines
/// above.
pub(super) fn parse(
    text: &str,
    outside: &dyn Fn(&str) -> Option<String>,
) -> (Assignments, Vec<LineProblem>) {
    let mut reader = Lines {
        text,
        at: 0,
        set: BTreeMap::new(),
        problems: Vec::new(),
    };
    while reader.at < text.len() {
        reader.line(outside);
    }
    (reader.set, reader.problems)
}

struct Lines<'a> {
    text: &'a str,
    at: usize,
    set: Assignments,
    problems: Vec<LineProblem>,
}

impl Lines<'_> {
    fn line(&mut self, outside: &dyn Fn(&str) -> Option<String>) {
        let start = self.at;
        let end = self.text[start..]
            .find('\n')
            .map_or(self.text.len(), |n| start + n);
        self.at = end + 1;
        let line = self.text[start..end].trim();
        if line.is_empty() || line.starts_with('#') {
            return;
        }
        let at = start..end;
        let line = line.strip_prefix("export ").map_or(line, str::trim_start);
        let name = name_at(line);
        let rest = line[name.len()..].trim_start();
        if name.is_empty() {
            return self.problem(at, "no variable's name begins this line", FORM);
        }
        if rest.is_empty() || rest.starts_with('#') {
            self.set.insert(name.to_owned(), None);
            return;
        }
        let Some(value) = rest.strip_prefix('=') else {
            return self.problem(at, "a variable's name is not followed by `=`", FORM);
        };
        let value = value.trim_start();
        let Some(quote) = value.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
            let value = without_comment(value).to_owned();
            return self.assign(name.to_owned(), &value, at, outside);
        };
        let offset = self.text.len() - self.text[start..].len()
            + self.text[start..end].find(value).unwrap_or(0);
        self.quoted(name.to_owned(), (quote, offset + 1), at, outside);
    }

    /// A value in quotes may go over several lines.
    fn quoted(
        &mut self,
        name: String,
        (quote, begin): (char, usize),
        at: Range<usize>,
        outside: &dyn Fn(&str) -> Option<String>,
    ) {
        let Some(length) = closing(&self.text[begin..], quote) else {
            return self.problem(at, "a quote is never closed", "close it on the same line");
        };
        let inner = self.text[begin..begin + length].to_owned();
        let after = begin + length + 1;
        let end = self.text[after..]
            .find('\n')
            .map_or(self.text.len(), |n| after + n);
        self.at = end + 1;
        let tail = self.text[after..end].trim();
        if !tail.is_empty() && !tail.starts_with('#') {
            return self.problem(at, "something follows the closing quote", "remove it");
        }
        if quote == '\'' {
            self.set.insert(name, Some(inner));
        } else {
            self.assign(name, &unescape(&inner), at, outside);
        }
    }

    fn assign(
        &mut self,
        name: String,
        value: &str,
        at: Range<usize>,
        outside: &dyn Fn(&str) -> Option<String>,
    ) {
        let set = &self.set;
        let lookup = |name: &str| outside(name).or_else(|| set.get(name).cloned().flatten());
        let expanded = interpolate::expand(value, &lookup);
        if expanded.problems.is_empty() {
            self.set.insert(name, Some(expanded.text));
        } else {
            self.problem(
                at,
                &format!("a `$` in the value of `{name}` begins no variable that is set"),
                LITERAL,
            );
        }
    }

    fn problem(&mut self, at: Range<usize>, message: &str, help: &'static str) {
        self.problems.push(LineProblem {
            at,
            message: message.to_owned(),
            help,
        });
    }
}

/// A comment begins with a `#` after a space.
fn without_comment(value: &str) -> &str {
    if value.starts_with('#') {
        return "";
    }
    let end = value.find(" #").or_else(|| value.find("\t#"));
    end.map_or(value, |end| &value[..end]).trim_end()
}

fn closing(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (index, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote == '"' => escaped = true,
            c if c == quote => return Some(index),
            _ => {}
        }
    }
    None
}

/// `\$` becomes `$$`, which interpolation turns into a `$`.
fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match characters.next() {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('$') => out.push_str("$$"),
            Some(c @ ('"' | '\\')) => out.push(c),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Assignments {
        let outside = |name: &str| (name == "OUTSIDE").then(|| "out".to_owned());
        let (set, problems) = parse(text, &outside);
        assert_eq!(problems, [], "{text}");
        set
    }

    fn value(line: &str) -> String {
        let set = read(line);
        set["A"].clone().expect("the line sets A")
    }

    #[test]
    fn lines_are_read_as_compose_reads_them() {
        for (line, expected) in [
            ("A=b", "b"),
            ("export A=b", "b"),
            ("A = b", "b"),
            ("A=", ""),
            ("A=b # comment", "b"),
            ("A=b#c", "b#c"),
            ("A='b $X # c'", "b $X # c"),
            (r#"A="b\n\"c\"" # d"#, "b\n\"c\""),
            (r#"A="b\$c""#, "b$c"),
            ("A=${OUTSIDE}-x", "out-x"),
            ("A=\"one\ntwo\"", "one\ntwo"),
            ("B=1\r\nA=$B\r\n", "1"),
            ("A=1\nA=2", "2"),
        ] {
            assert_eq!(value(line), expected, "{line}");
        }
        assert_eq!(read("A=1\nA"), BTreeMap::from([("A".to_owned(), None)]));
        assert_eq!(read("# only\n\n"), BTreeMap::new());
    }

    #[test]
    fn problems_name_the_line_and_never_the_value() {
        for text in [
            "=hunter2",
            "A hunter2",
            "A='hunter2",
            "A=\"hunter2\" x",
            "A=hun$ter2",
            "1A=hunter2",
        ] {
            let (_, problems) = parse(text, &|_| None);
            assert_eq!(problems.len(), 1, "{text}");
            assert!(!problems[0].message.contains("hun"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(?s).*") {
            drop(parse(&text, &|_| None));
        }
    }
}
