//! How things look on a terminal.

pub mod agent;
pub mod live;
pub mod style;
pub mod table;
pub mod time;
