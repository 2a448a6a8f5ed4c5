//! The budget ledger against an independent account of the same money.

mod check;
mod journal;
mod random;
mod reference;
mod world;
