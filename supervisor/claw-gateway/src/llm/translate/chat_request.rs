//! Requests of OpenAI's chat completions.

mod read;
mod write;

pub(super) use read::read_call;
