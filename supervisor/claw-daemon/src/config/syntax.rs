//! Why a text is not YAML, in the words of someone who writes a fleet file.

use granit_parser::{ErrorKind, ScanError};

use super::diagnostic::{Code, Diagnostic};
use super::source::Source;
use super::tree::{FileId, Span};

const QUOTE_CRON: &str = "quote the cron expression, such as `schedule: \"*/5 * * * *\"`";
/// The longest piece of a file that is repeated in a message.
const MAX_QUOTED_CHARS: usize = 60;

/// A text cut to a length that can stand in a message.
pub(super) fn short(text: &str) -> String {
    let mut line = text.chars().map(|c| if c == '\n' { ' ' } else { c });
    let mut cut: String = line.by_ref().take(MAX_QUOTED_CHARS).collect();
    if line.next().is_some() {
        cut.push('…');
    }
    cut
}

/// Says what the parser did not understand and what to do.
pub(super) fn explain(error: &ScanError, file: FileId, source: &Source) -> Diagnostic {
    let offset = source.floor(error.marker().byte_offset().unwrap_or(source.text.len()));
    let (message, help) = describe(error, source, offset);
    let code = if matches!(error.kind(), ErrorKind::RecursionLimitExceeded) {
        Code::TooComplex
    } else {
        Code::Syntax
    };
    let problem = Diagnostic::error(code, message).at(visible_place(source, file, offset));
    match help {
        Some(help) => problem.help(help),
        None => problem,
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the parser's enum is not exhaustive"
)]
fn describe(error: &ScanError, source: &Source, offset: usize) -> (String, Option<String>) {
    if let Some(trap) = unquoted(source, offset) {
        return trap;
    }
    let at_end = source.text[offset..].trim().is_empty();
    let said = |message: &str, help: &str| (message.to_owned(), Some(help.to_owned()));
    match error.kind() {
        ErrorKind::InvalidQuotedScalarIndent if at_end => said(
            "a quote is opened and never closed",
            "close it, or write the file again if it was cut off",
        ),
        ErrorKind::UnclosedQuotedScalar => said(
            "a quote is opened here and never closed",
            "close it, or write the file again if it was cut off",
        ),
        ErrorKind::UnexpectedEofFlowSequence
        | ErrorKind::UnexpectedEofFlowMapping
        | ErrorKind::UnexpectedEofImplicitFlowMapping
        | ErrorKind::UnclosedFlowCollection { .. } => said(
            "a bracket is opened and never closed",
            "close it, or write the file again if it was cut off",
        ),
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabAtBlockScalarStart => said(
            "a tab is used to indent this line",
            "indent with spaces: YAML allows no tabs there",
        ),
        ErrorKind::RecursionLimitExceeded => said(
            "the file is nested too deeply here",
            "a fleet file needs about 8 levels",
        ),
        ErrorKind::UnknownAnchor => said(
            "this alias names no anchor",
            "define it above with `&name`, or quote the value if `*` belongs to it",
        ),
        ErrorKind::InvalidIndentation
        | ErrorKind::ExpectedBlockMappingKey
        | ErrorKind::ExpectedBlockSequenceEntry => said(
            "this line does not line up with the lines above",
            "indent it like its neighbours",
        ),
        ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey => said(
            "this is not a `key: value` pair",
            "write a colon and a space after the key",
        ),
        kind if at_end => (
            format!("the file ends too early: {kind}"),
            Some("write the file again if it was cut off".to_owned()),
        ),
        kind => (format!("this is not YAML: {kind}"), None),
    }
}

/// The values people forget to quote: `*/5 * * * *`, `@daily`, `{…${X}…}`.
fn unquoted(source: &Source, offset: usize) -> Option<(String, Option<String>)> {
    let line = &source.text[source.line_range(source.line_of(offset))];
    let value = line
        .split_once(": ")
        .map_or(line, |(_, value)| value)
        .trim();
    let (key, value) = match value.strip_prefix("- ") {
        Some(item) => ("", item),
        None => (
            line.split_once(':').map_or("", |(key, _)| key.trim()),
            value,
        ),
    };
    let first = value.chars().next()?;
    let fields = value.split_whitespace().count();
    let like_cron = first == '*' && (fields >= 5 || matches!(key, "schedule" | "cron"));
    if like_cron {
        return Some((
            "a value that begins with `*` must be quoted".to_owned(),
            Some(QUOTE_CRON.to_owned()),
        ));
    }
    if first == '@' {
        let help = if matches!(key, "schedule" | "cron") {
            "quote the cron expression, such as `schedule: \"@daily\"`"
        } else {
            "put quotes around it"
        };
        return Some((
            "a value that begins with `@` must be quoted".to_owned(),
            Some(help.to_owned()),
        ));
    }
    if matches!(first, '%' | '`') {
        return Some((
            format!("a value that begins with `{first}` must be quoted"),
            Some("put quotes around it".to_owned()),
        ));
    }
    let in_flow = line.contains('{') && line.contains("${");
    in_flow.then(|| {
        (
            "`${…}` inside `{…}` must be quoted".to_owned(),
            Some("write `{key: \"${NAME}\"}`".to_owned()),
        )
    })
}

/// The parser may stop at a line break or behind the last line; what is underlined is the
/// character before it.
fn visible_place(source: &Source, file: FileId, offset: usize) -> Span {
    let last = source.text.trim_end().len();
    let start = source.floor(offset.min(last.saturating_sub(1)));
    let end = source.text[start..]
        .chars()
        .next()
        .map_or(start, |c| start + if c == '\n' { 0 } else { c.len_utf8() });
    Span { file, start, end }
}
