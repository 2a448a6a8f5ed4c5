//! An entrance for fuzzers.

use std::path::Path;

use super::environment::Environment;
use super::{Style, load_str};

/// Loads any bytes as a fleet file and prints what is wrong with them; must never panic.
pub fn fuzz(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let environment = Environment::with([("SET", "value: {a: b}\n- c"), ("EMPTY", "")]);
    let outcome = load_str(&text, Path::new("/nonexistent/openclaw.yaml"), &environment);
    match outcome {
        Ok(loaded) => drop(loaded.warnings.render(Style::Plain)),
        Err(problems) => {
            drop(problems.render(Style::Plain));
            drop(problems.to_json());
        }
    }
}
