//! Fleets that are left alone for weeks, in virtual time.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod budgets;
mod faults;
mod fleets;
mod lives;
mod schedules;
mod speed;
