//! Amounts in USD, exact: `0.05`, `200`, `2.5e-06`.

use claw_gateway::llm::money::{Money, NotMoney};

use super::Rejected;

const GRAMMAR: &str = "write a number such as `5` or `0.05`: amounts are in USD";
/// Tokens for which prices are told.
const MILLION: i64 = 1_000_000;
/// More than this for each token is a mistake of the unit.
const DEAREST_TOKEN: Money = Money::from_usd(1);

/// Reads an amount that is not negative.
pub(in crate::config) fn usd(text: &str) -> Result<Money, Rejected> {
    let money: Money = text.parse().map_err(|error| match error {
        NotMoney::NotDecimal => unreadable(text),
        NotMoney::TooFine | NotMoney::TooLarge => Rejected::new(format!("it is {error}")),
    })?;
    if money.is_negative() {
        return Err(Rejected::new("it is negative").help(GRAMMAR));
    }
    Ok(money)
}

/// Reads the price of a million tokens, and gives the one of a token.
pub(in crate::config) fn per_million_tokens(text: &str) -> Result<Money, Rejected> {
    let million = usd(text)?;
    if million.pico() % MILLION != 0 {
        return Err(Rejected::new(
            "it is finer than 0.000001 USD for a million tokens",
        ));
    }
    let each = Money::from_pico(million.pico() / MILLION);
    if each > DEAREST_TOKEN {
        return Err(Rejected::new("it is more than a USD for each token")
            .help("write what a million tokens cost, in USD"));
    }
    Ok(each)
}

fn unreadable(text: &str) -> Rejected {
    let bare = text.trim().trim_start_matches('$').trim_end_matches("USD");
    let bare = bare.trim().replace([',', '_'], "");
    let readable = bare != text && usd(&bare).is_ok();
    let help = if readable {
        format!("did you mean `{bare}`? Amounts are in USD")
    } else {
        GRAMMAR.to_owned()
    };
    Rejected::plainly().help(help)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_are_read_exactly() {
        assert_eq!(usd("0.05"), Ok(Money::from_pico(50_000_000_000)));
        assert_eq!(usd("0"), Ok(Money::ZERO));
        let each = Money::from_pico(2_500_000);
        assert_eq!(per_million_tokens("2.5"), Ok(each));
        assert_eq!(per_million_tokens("0.000001"), Ok(Money::from_pico(1)));
    }

    #[test]
    fn what_is_no_amount_is_refused_with_a_hint() {
        for (text, hint) in [
            ("$5", "did you mean `5`?"),
            ("5 USD", "did you mean `5`?"),
            ("5,000", "did you mean `5000`?"),
            ("five", "in USD"),
            ("-5", "in USD"),
            ("", "in USD"),
            ("99999999999", ""),
        ] {
            let help = usd(text).expect_err(text).help.unwrap_or_default();
            assert!(help.contains(hint), "{text}: {help}");
        }
        for text in ["0.0000001", "2000000"] {
            per_million_tokens(text).expect_err(text);
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".*") {
            drop(usd(&text));
            drop(per_million_tokens(&text));
        }
    }
}
