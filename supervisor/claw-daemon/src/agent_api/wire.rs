//! JSON as agents send and get it: bounded before it is looked at, values byte by byte.

use memchr::memchr2;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::fault::Fault;
use super::limits;

/// A time as the protocol writes it: RFC 3339 in UTC with milliseconds.
pub(super) fn time(at: jiff::Timestamp) -> String {
    format!("{at:.3}")
}

/// Checks that bytes are one JSON value that is not nested too deep.
pub(super) fn check(bytes: &[u8]) -> Result<(), Fault> {
    shallow(bytes)?;
    serde_json::from_slice::<&RawValue>(bytes)
        .map(drop)
        .map_err(|error| Fault::bad("bad_json", format!("the body is not JSON: {error}")))
}

/// Reads a body.
pub(super) fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Fault> {
    shallow(bytes)?;
    serde_json::from_slice(bytes)
        .map_err(|error| Fault::bad("bad_body", format!("the body cannot be used: {error}")))
}

/// Reads a body where none at all stands for `{}`.
pub(super) fn read_or_default<'a, T: Deserialize<'a> + Default>(
    bytes: &'a [u8],
) -> Result<T, Fault> {
    if bytes.is_empty() {
        return Ok(T::default());
    }
    read(bytes)
}

/// Counts brackets outside of texts; whether they match is for the parser to say.
fn shallow(bytes: &[u8]) -> Result<(), Fault> {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'"' => at += text_length(&bytes[at..]),
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > limits::DEPTH {
            let message = format!("the body is nested deeper than {}", limits::DEPTH);
            return Err(Fault::bad("too_deep", message));
        }
    }
    Ok(())
}

/// How long the text is whose first quote lies before these bytes, with its last one.
fn text_length(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found + 1;
        if bytes[at - 1] == b'"' {
            return at;
        }
        // What is escaped ends nothing.
        at += 1;
    }
    bytes.len()
}

/// Checks an opaque id.
pub(super) fn check_id(id: &str, what: &str) -> Result<(), Fault> {
    let usable = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b':' | b'-');
    if id.is_empty() || id.len() > limits::ID || !id.bytes().all(usable) {
        let message = format!("{what} is 1 to 128 characters out of letters, digits and `._:-`");
        return Err(Fault::bad("bad_id", message));
    }
    Ok(())
}

/// Checks a key of state.
pub(super) fn check_key(key: &str) -> Result<(), Fault> {
    if key.is_empty() || key.len() > limits::KEY || key.chars().any(char::is_control) {
        let message = format!(
            "a key has 1 to {} bytes and no control characters",
            limits::KEY
        );
        return Err(Fault::bad("bad_key", message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_counted_outside_of_texts_only() {
        let deep = format!("{}{}", "[".repeat(128), "]".repeat(128));
        check(deep.as_bytes()).unwrap();
        let deeper = format!("[{deep}]");
        assert_eq!(check(deeper.as_bytes()).unwrap_err().code(), "bad_request");
        let text = format!("\"\\\"{}\"", "[".repeat(500));
        check(text.as_bytes()).unwrap();
        let behind_text = format!("[\"\\\\\",{deep}]");
        assert!(check(behind_text.as_bytes()).is_err(), "its text has ended");
        check(b"\"\\").unwrap_err();
    }

    #[test]
    fn times_have_milliseconds() {
        let at = jiff::Timestamp::new(1_795_237_200, 5_000_000).unwrap();
        assert_eq!(time(at), "2026-11-21T05:00:00.005Z");
    }
}
