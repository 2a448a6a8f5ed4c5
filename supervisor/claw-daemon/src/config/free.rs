//! `config:` — values that belong to the user, as JSON.

use serde_json::{Map, Number, Value as Json};

use super::diagnostic::{Code, Diagnostic, Problems};
use super::item::Item;
use super::tree::{Scalar, Style, Value};

/// Turns a value into JSON by the rules of YAML 1.2: unquoted numbers and truth values are such,
/// all else is text. What came from the environment is always text.
pub(super) fn value(item: &Item<'_>, problems: &mut Problems) -> Json {
    match &item.node.value {
        Value::Null => Json::Null,
        Value::Text(scalar) => json_scalar(scalar).unwrap_or_else(|problem| {
            let (message, help) = problem;
            problems.push(
                Diagnostic::error(Code::InvalidValue, format!("{} {message}", item.shown()))
                    .at(item.span())
                    .path(item.path.clone())
                    .help(help),
            );
            Json::Null
        }),
        Value::List(_) => {
            let elements = item.elements().unwrap_or_default();
            Json::Array(elements.iter().map(|item| value(item, problems)).collect())
        }
        Value::Map(_) => {
            let entries = item.named().unwrap_or_default();
            let entries = entries
                .iter()
                .map(|(key, item)| ((*key).to_owned(), value(item, problems)));
            Json::Object(entries.collect::<Map<_, _>>())
        }
    }
}

type Refused = (&'static str, &'static str);

/// A scalar as JSON.
pub(super) fn json_scalar(scalar: &Scalar) -> Result<Json, Refused> {
    let text = scalar.text.as_str();
    if scalar.style == Style::Quoted || scalar.inserted.is_some() {
        return Ok(Json::String(text.to_owned()));
    }
    match text {
        "true" | "True" | "TRUE" => return Ok(Json::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Json::Bool(false)),
        ".inf" | "-.inf" | "+.inf" | ".nan" | ".Inf" | ".NaN" | ".NAN" => {
            return Err(("is no number in JSON", "put it in quotes"));
        }
        _ => {}
    }
    match number(text) {
        Some(number) => number.map(Json::Number),
        None => Ok(Json::String(text.to_owned())),
    }
}

/// A number, if the text is one.
fn number(text: &str) -> Option<Result<Number, Refused>> {
    const TOO_LARGE: Refused = ("is too large for a number", "put it in quotes");
    let radix = |prefix, radix| {
        let digits: &str = text.strip_prefix(prefix)?;
        let usable = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
        usable.then(|| u64::from_str_radix(digits, radix).map(Number::from))
    };
    if let Some(parsed) = radix("0x", 16).or_else(|| radix("0o", 8)) {
        return Some(parsed.map_err(|_overflow| TOO_LARGE));
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let begins = unsigned.starts_with(|c: char| c.is_ascii_digit())
        || (unsigned.starts_with('.') && unsigned[1..].starts_with(|c: char| c.is_ascii_digit()));
    let made_of = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-');
    if !begins || !unsigned.chars().all(made_of) {
        return None;
    }
    if unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        if unsigned.len() > 1 && unsigned.starts_with('0') {
            return Some(Err((
                "begins with a zero, which some read as an octal number",
                "put it in quotes, or remove the zero",
            )));
        }
        let text = text.strip_prefix('+').unwrap_or(text);
        let parsed = text.parse::<u64>().map(Number::from);
        let parsed = parsed.or_else(|_negative| text.parse::<i64>().map(Number::from));
        return Some(parsed.map_err(|_overflow| TOO_LARGE));
    }
    let float = text.parse::<f64>().ok()?;
    Some(Number::from_f64(float).ok_or(TOO_LARGE))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plain(text: &str) -> Result<Json, Refused> {
        json_scalar(&Scalar {
            text: text.to_owned(),
            style: Style::Plain,
            inserted: None,
        })
    }

    #[test]
    fn plain_scalars_follow_yaml_1_2() {
        for (text, expected) in [
            ("true", json!(true)),
            ("yes", json!("yes")),
            ("10", json!(10)),
            ("-10", json!(-10)),
            ("0x10", json!(16)),
            ("1.5", json!(1.5)),
            ("1e3", json!(1000.0)),
            ("1_000", json!("1_000")),
            ("1.2.3", json!("1.2.3")),
            ("2026-11-21", json!("2026-11-21")),
            ("-", json!("-")),
            ("", json!("")),
        ] {
            assert_eq!(plain(text), Ok(expected), "{text}");
        }
        assert!(plain("99999999999999999999").is_err());
        assert!(plain("1e999").is_err());
        assert!(plain("0644").is_err());
    }
}
