//! Percentages: `10%`.

use super::Rejected;

/// Reads a whole percentage from 0 to 100.
pub(in crate::config) fn parse(text: &str) -> Result<u8, Rejected> {
    let Some(number) = text.strip_suffix('%') else {
        let meant = match text.parse::<f64>() {
            Ok(share) if share > 0.0 && share < 1.0 => format!("{:.0}%", share * 100.0),
            Ok(number) if (0.0..=100.0).contains(&number) => format!("{number:.0}%"),
            Ok(_) | Err(_) => "10%".to_owned(),
        };
        return Err(Rejected::new("it has no `%`").help(format!("write `{meant}`")));
    };
    match number.parse::<u8>() {
        Ok(number) if number <= 100 => Ok(number),
        Ok(_) | Err(_) => {
            Err(Rejected::new("it is not a whole number from 0 to 100").help("write `10%`"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_need_their_sign() {
        assert_eq!(parse("10%"), Ok(10));
        for (text, hint) in [("10", "`10%`"), ("0.1", "`10%`"), ("101%", ""), ("-1%", "")] {
            let help = parse(text).expect_err(text).help.unwrap_or_default();
            assert!(help.contains(hint), "{text}: {help}");
        }
    }
}
