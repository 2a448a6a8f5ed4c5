//! What comes of somebody else's table.

use super::super::money::NotMoney;
use super::table::Entry;

/// A table of somebody else, read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Import {
    /// What could be read.
    pub entries: Vec<Entry>,
    /// What could not, or says nothing.
    pub skipped: Vec<Skipped>,
}

/// A row that is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Its name in the table.
    pub row: String,
    /// Why.
    pub because: SkippedBecause,
}

/// Why a row is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SkippedBecause {
    /// It is no object, or its provider is missing.
    #[error("it is not a model with a provider")]
    NotAModel,
    /// It makes something else than text, or is charged by something else than tokens.
    #[error("it is for {0}")]
    NotText(String),
    /// One of its prices is missing.
    #[error("it has no {0}")]
    NoPrice(&'static str),
    /// All its prices are nothing, which more often means that nobody knows them.
    #[error("its prices are 0")]
    Free,
    /// One of its prices is no price.
    #[error("its {field} is no price")]
    NotAPrice {
        /// Which.
        field: String,
        /// Why not.
        #[source]
        source: NotAPrice,
    },
}

/// Why something is no price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAPrice {
    /// It is no number.
    #[error("not a number")]
    NotANumber,
    /// It cannot be counted.
    #[error(transparent)]
    NotMoney(#[from] NotMoney),
    /// It is less than nothing.
    #[error("less than nothing")]
    Negative,
    /// More than a dollar for a token is a mistake of the unit.
    #[error("more than a USD for each token")]
    TooMuch,
}

/// Why a file is no table of prices.
#[derive(Debug, thiserror::Error)]
#[error("this is not a table of prices in the format that was named; nothing was changed")]
pub struct NotATable(#[from] serde_json::Error);
