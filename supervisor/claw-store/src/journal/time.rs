//! Times in columns: microseconds since 1970.

use claw_core::Wall;
use jiff::Timestamp;

/// A time as a column holds it.
pub(super) fn to_column(at: Wall) -> i64 {
    at.as_microsecond()
}

/// A time from a column; one outside of the calendar is a damaged row.
pub(super) fn from_column(micros: i64) -> Result<Wall, rusqlite::Error> {
    Timestamp::from_microsecond(micros).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Integer, error.into())
    })
}
