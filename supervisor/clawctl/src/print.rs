//! Data to standard output, everything else to standard error.

use std::io::{self, Write};

use owo_colors::OwoColorize;
use serde::Serialize;

use crate::args::Output;
use crate::exit::{Exit, Failure};

/// Prints a line of data. A reader that went away ends the command quietly, as `head` expects.
///
/// # Errors
///
/// Standard output is closed.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    written(writeln!(anstream::stdout().lock(), "{text}"))
}

/// Prints a document for programs.
///
/// # Errors
///
/// Standard output is closed.
pub(crate) fn document<T: Serialize>(value: &T, output: Output) -> Result<(), Failure> {
    let text = match output {
        Output::Yaml => serde_saphyr::to_string(value)
            .map_err(|error| Failure::new(Exit::Bug, format!("cannot write YAML: {error}")))?,
        Output::Json | Output::Table => serde_json::to_string_pretty(value)
            .map_err(|error| Failure::new(Exit::Bug, format!("cannot write JSON: {error}")))?,
    };
    line(text.trim_end())
}

/// Prints one line of JSON, for streams.
///
/// # Errors
///
/// Standard output is closed.
pub(crate) fn json_line<T: Serialize>(value: &T) -> Result<(), Failure> {
    let text = serde_json::to_string(value)
        .map_err(|error| Failure::new(Exit::Bug, format!("cannot write JSON: {error}")))?;
    line(&text)
}

/// Prints a remark for people; nobody to read it is no error.
pub(crate) fn note(text: &str) {
    drop(writeln!(anstream::stderr().lock(), "{text}"));
}

/// Prints why a command failed, and what to do about it.
pub(crate) fn failure(failure: &Failure) {
    if !failure.message.is_empty() {
        note(&format!("{} {}", "error:".red().bold(), failure.message));
    }
    if let Some(hint) = &failure.hint {
        note(&format!("{} {hint}", "hint:".cyan()));
    }
}

fn written(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::silent(Exit::Ok)),
        Err(error) => Err(error.into()),
    }
}
