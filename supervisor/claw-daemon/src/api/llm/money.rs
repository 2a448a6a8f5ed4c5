//! Amounts of money as they travel.

use std::fmt;
use std::str::FromStr;

use claw_gateway::llm::money::{Money, NotMoney};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An amount in USD. It travels as text, exact, with two to twelve decimal places, such as
/// `0.05` and `0.0000025`: a JSON number would lose digits in programs that read it as a float.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Usd(pub Money);

impl From<Money> for Usd {
    fn from(money: Money) -> Self {
        Self(money)
    }
}

impl FromStr for Usd {
    type Err = NotMoney;

    fn from_str(text: &str) -> Result<Self, NotMoney> {
        text.parse().map(Self)
    }
}

impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.to_string())
    }
}

impl Serialize for Usd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Usd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let why = |error| D::Error::custom(format!("`{text}`: {error}"));
        text.parse().map_err(why)
    }
}
