//! The journal through its public face.
#![expect(
    clippy::unwrap_used,
    reason = "a failed step of a test is a failed test, in its helpers too"
)]

mod backups;
mod basics;
mod classes;
mod crash;
mod damage;
mod full_disk;
mod locked;
mod model;
mod power_cut;
mod retention;
mod support;
