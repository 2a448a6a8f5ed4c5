//! Budgets that cannot be overspent.
//!
//! ```text
//!            reserve                    settle
//!  free ──────────────► held ──────────────────────► settled    reported, or estimated
//!    ▲                   │ │                    └──► uncertain  what may have been billed besides
//!    └───────────────────┘ └─ shrink ─► free                      │
//!         not billed                       ◄──── reconcile ───────┘
//! ```
//!
//! Each call counts in four [`Window`]s: the agent's day and month and the fleet's day and month
//! in which it was admitted, however late it ends. In each of them, with the limit L, settled S,
//! held H and uncertain U, **S + U + H ≤ L** holds after every admission. Hence nothing is
//! overspent, for any number of calls at once, as long as a call costs no more than was held for
//! it; what it costs more is an overrun, which is booked in full.
//!
//! [`Ledger`] has one writer: who shares it puts it behind a lock. It knows no clock and writes
//! nothing; what must survive is in what it returns, and comes back as [`Standing`].

mod account;
mod alert;
mod budgets;
mod call;
mod ledger;
mod refusal;
mod standing;
mod window;

pub use account::{Account, Balance, Told};
pub use alert::Alert;
pub use budgets::{Budgets, DEFAULT_ALERT_AT_PCT, Limits};
pub use call::{CallId, NotHeld, NotUncertain, Outcome, Reservation, Settled, WindowCorrection};
pub use ledger::{Ledger, UNCERTAIN_CALLS};
pub use refusal::{LimitOf, Refused};
pub use standing::{InFlight, Standing, UncertainCall, WindowStanding};
pub use window::{Period, Scope, Window};
