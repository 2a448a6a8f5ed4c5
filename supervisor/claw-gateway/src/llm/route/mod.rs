//! Which target a call goes to next, and when. Pure: time and chance are arguments.
//!
//! ```text
//!   a target: cooling? ──yes──► next target
//!      │ no
//!   its rate: room within 2 s? ──no──► next target
//!      │ yes
//!   an attempt ──answered──► back to the agent
//!      │ failed                     ▲
//!   Next: Retry{after} │ NextTarget │ GiveBack
//! ```

mod attempt;
mod health;
mod hourly;
mod rate;
mod retry_after;

pub use attempt::{Failure, Next, Passed, Tries, next};
pub use health::{Admission, Failing, Health, Setback};
pub use hourly::{HourlyTokens, Spent, Ticket};
pub use rate::{Headroom, NotARate, Rate, RateLimiter, Room};
pub use retry_after::retry_after;

use std::time::Duration;

/// The longest a call waits for a provider's limit or before its next attempt. What takes longer
/// is better spent on the next target.
pub const LONGEST_WAIT: Duration = Duration::from_secs(2);
