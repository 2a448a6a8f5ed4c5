//! JSON given on the command line.

use std::io::Read;

use serde_json::value::RawValue;

use crate::exit::{Exit, Failure};

/// The longest value that is shown whole, in characters.
const SHOWN: usize = 200;

/// The JSON given, or that of a file; checked here so that the message can name the place.
pub(crate) fn read(data: &str) -> Result<String, Failure> {
    let (text, place) = match data.strip_prefix('@') {
        None => (data.to_owned(), "what was given".to_owned()),
        Some("-") => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            (text, "standard input".to_owned())
        }
        Some(file) => {
            let text = std::fs::read_to_string(file).map_err(|error| {
                Failure::new(Exit::Usage, format!("cannot read {file}: {error}"))
            })?;
            (text, file.to_owned())
        }
    };
    match serde_json::from_str::<serde::de::IgnoredAny>(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(Failure::new(
            Exit::Usage,
            format!("{place} is not JSON: {error}"),
        )),
    }
}

/// The same, to be sent as a part of something.
pub(crate) fn raw(data: &str) -> Result<Box<RawValue>, Failure> {
    RawValue::from_string(read(data)?).map_err(|error| Failure::new(Exit::Usage, error.to_string()))
}

/// JSON on one line, cut where it is long.
pub(super) fn shown(value: &RawValue) -> String {
    let text = value.get();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{} … ({} bytes)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}
