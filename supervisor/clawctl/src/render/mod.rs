//! How things look on a terminal.

pub(crate) mod agent;
pub(crate) mod explain;
pub(crate) mod halt;
pub(crate) mod image;
pub(crate) mod live;
pub(crate) mod llm;
pub(crate) mod simulation;
pub(crate) mod style;
pub(crate) mod table;
pub(crate) mod time;
