//! JSON in the fences of Markdown.

/// The inside of a text that is one fenced block of code (CommonMark 0.31, section 4.5); else the
/// text itself.
pub(super) fn inside(text: &str) -> &str {
    let text = text.trim();
    fenced(text).unwrap_or(text)
}

fn fenced(text: &str) -> Option<&str> {
    let (opening, rest) = text.split_once('\n')?;
    let info = opening.trim_start_matches('`');
    let marks = opening.len() - info.len();
    if marks < 3 || info.contains('`') {
        return None;
    }
    let (inside, closing) = rest.rsplit_once('\n')?;
    let closing = closing.trim();
    (closing.len() >= marks && closing.bytes().all(|byte| byte == b'`')).then_some(inside)
}
