//! The money of calls to language models: what must be known after our own death.
//!
//! ```text
//!  reserve ──► llm_hold ──► settle ──► llm_call ──► usage, calls
//!                  │           └─────► llm_window: the agent's and the fleet's day and month
//!                  └── restore: lost               of the admission
//! ```
//!
//! The row of a call is written before the call leaves, and is settled with its windows in one
//! transaction. What is held is not kept by itself: it is the sum over the calls in flight.
//! Amounts are in pico-USD. Who may spend what is decided elsewhere; nothing here refuses a call.

mod api;
mod model;
mod read;
mod total;
mod write;

pub use model::{
    Admitted, CallFilter, CallRow, Correction, EndedCall, Period, Restored, Settlement, Settling,
    Tokens, Told, TotalRow, USAGE_ROWS, Uncertain, UsageBy, UsageRow, WindowCorrection, WindowKey,
    WindowRow,
};
