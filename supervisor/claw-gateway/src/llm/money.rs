//! Amounts of money, exact.

use std::fmt;
use std::iter::Sum;
use std::str::FromStr;

/// How many pico-USD a USD has.
const PICO: i64 = 1_000_000_000_000;

/// Decimal places of a pico-USD.
const PLACES: usize = 12;

/// An amount in pico-USD (10⁻¹² USD). Every price per token in use is a whole number of them, and
/// the largest amount is about 9.2 million USD.
///
/// Arithmetic saturates: a sum too large to be told is more than any budget has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Money(i64);

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The largest amount.
    pub const MAX: Self = Self(i64::MAX);

    /// So many pico-USD.
    #[must_use]
    pub const fn from_pico(pico: i64) -> Self {
        Self(pico)
    }

    /// So many whole USD.
    #[must_use]
    pub const fn from_usd(usd: i64) -> Self {
        Self(usd.saturating_mul(PICO))
    }

    /// In pico-USD.
    #[must_use]
    pub const fn pico(self) -> i64 {
        self.0
    }

    /// In USD, for people and metrics; not exact.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "what is shown needs no more than 15 digits"
    )]
    pub fn as_usd(self) -> f64 {
        self.0 as f64 / PICO as f64
    }

    /// Whether it is less than nothing.
    #[must_use]
    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// The sum, or the largest amount.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, which may be less than nothing.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// So many times this amount, or the largest amount.
    #[must_use]
    pub fn times(self, count: u64) -> Self {
        Self(
            self.0
                .saturating_mul(i64::try_from(count).unwrap_or(i64::MAX)),
        )
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Self::plus)
    }
}

/// In USD, with as many places as it takes and at least two: `0.05`, `0.0000025`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let whole = self.0.unsigned_abs() / PICO.unsigned_abs();
        let fraction = self.0.unsigned_abs() % PICO.unsigned_abs();
        let digits = format!("{fraction:012}");
        let significant = digits.trim_end_matches('0');
        write!(f, "{sign}{whole}.{significant:0<2}")
    }
}

/// Why a text is no amount of money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotMoney {
    /// It is not a decimal number.
    #[error("not an amount in USD, such as 0.05")]
    NotDecimal,
    /// It is finer than a pico-USD.
    #[error("finer than 0.000000000001 USD")]
    TooFine,
    /// It is beyond what can be counted.
    #[error("more than 9 million USD")]
    TooLarge,
}

/// Reads USD, also as `2.5e-06`, exactly.
impl FromStr for Money {
    type Err = NotMoney;

    fn from_str(text: &str) -> Result<Self, NotMoney> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => {
                let exponent: i32 = exponent.parse().map_err(|_word| NotMoney::NotDecimal)?;
                (mantissa, exponent)
            }
            None => (text, 0),
        };
        let (negative, unsigned) = match mantissa.strip_prefix('-') {
            Some(unsigned) => (true, unsigned),
            None => (false, mantissa),
        };
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let digits = [whole, fraction].concat();
        if whole.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NotMoney::NotDecimal);
        }
        let places = i32::try_from(fraction.len()).map_err(|_beyond| NotMoney::TooFine)?;
        let pico = scaled(
            digits.trim_start_matches('0'),
            exponent.saturating_sub(places),
        )?;
        Ok(Self(if negative { -pico } else { pico }))
    }
}

/// `digits` times ten to the power of `exponent`, in pico-USD.
fn scaled(digits: &str, exponent: i32) -> Result<i64, NotMoney> {
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        return Ok(0);
    }
    let dropped = digits.len() - significant.len();
    let exponent = i64::from(exponent) + dropped as i64 + PLACES as i64;
    let zeros = u32::try_from(exponent).map_err(|_beyond| NotMoney::TooFine)?;
    let number: i64 = significant.parse().map_err(|_beyond| NotMoney::TooLarge)?;
    let scale = 10_i64.checked_pow(zeros).ok_or(NotMoney::TooLarge)?;
    number.checked_mul(scale).ok_or(NotMoney::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<i64, NotMoney> {
        text.parse().map(Money::pico)
    }

    #[test]
    fn usd_are_read_exactly() {
        assert_eq!(read("0.05"), Ok(50_000_000_000));
        assert_eq!(read("200"), Ok(200 * PICO));
        assert_eq!(read("2.5e-06"), Ok(2_500_000));
        assert_eq!(read("1E-12"), Ok(1));
        assert_eq!(read("-0.10"), Ok(-100_000_000_000));
        assert_eq!(read("0"), Ok(0));
        assert_eq!(read("0.000e-99"), Ok(0));
        assert_eq!(read("0.0000000000010"), Ok(1));
    }

    #[test]
    fn what_is_no_amount_is_told_why() {
        for text in ["", ".", "-", ".5", "1,5", "five", "1e", "0x10", "--1", "1 "] {
            assert_eq!(read(text), Err(NotMoney::NotDecimal), "{text:?}");
        }
        assert_eq!(read("0.0000000000001"), Err(NotMoney::TooFine));
        assert_eq!(read("1e-99999"), Err(NotMoney::TooFine));
        assert_eq!(read("10000000"), Err(NotMoney::TooLarge));
        assert_eq!(read("1e999999999"), Err(NotMoney::TooLarge));
        assert_eq!(read("99999999999999999999.5"), Err(NotMoney::TooLarge));
    }

    #[test]
    fn an_amount_is_shown_as_it_is_written() {
        for text in ["0.05", "200.00", "0.0000025", "-1.10", "0.00"] {
            let money: Money = text.parse().expect("an amount");
            assert_eq!(money.to_string(), text);
        }
        assert_eq!(
            Money::from_pico(i64::MIN).to_string(),
            "-9223372.036854775808"
        );
    }

    #[test]
    fn sums_too_large_to_tell_stay_the_largest() {
        assert_eq!(Money::MAX.plus(Money::from_pico(1)), Money::MAX);
        assert_eq!(Money::from_pico(2).times(u64::MAX), Money::MAX);
        assert_eq!(Money::ZERO.minus(Money::from_pico(3)).pico(), -3);
        let amounts = [Money::from_pico(1), Money::MAX];
        assert_eq!(amounts.into_iter().sum::<Money>(), Money::MAX);
    }
}
