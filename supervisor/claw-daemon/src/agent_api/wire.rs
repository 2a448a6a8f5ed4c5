//! JSON as agents send and get it: bounded before it is looked at, values byte by byte.

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
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for byte in bytes {
        match (in_text, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_text = !in_text,
            (false, b'[' | b'{') => depth += 1,
            (false, b']' | b'}') => depth = depth.saturating_sub(1),
            (true | false, _) => {}
        }
        if depth > limits::DEPTH {
            let message = format!("the body is nested deeper than {}", limits::DEPTH);
            return Err(Fault::bad("too_deep", message));
        }
    }
    Ok(())
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
    }

    #[test]
    fn times_have_milliseconds() {
        let at = jiff::Timestamp::new(1_795_237_200, 5_000_000).unwrap();
        assert_eq!(time(at), "2026-11-21T05:00:00.005Z");
    }
}
