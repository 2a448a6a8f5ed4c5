//! A provider of language models for tests: it speaks the interfaces of OpenAI and Anthropic, does
//! what it is told, and keeps its own bill.
//!
//! ```text
//!   test ──script──► queue of behaviours, by model
//!                        │ one for each request; the last one stays
//!   gateway ──request──► answer, token by token ──► bill ──► test
//! ```
//!
//! A program of another language scripts it over HTTP: `POST /_script` with
//! `{"model": …, "behaviours": […]}`, and `GET /_bill`. What it is asked to judge at
//! `/v1/moderations` stands in the bill under the model `moderation`.
#![forbid(unsafe_code)]

mod behaviour;
mod bill;
mod server;
mod wire;

pub use behaviour::{Behaviour, Ending, Gate, OnHangUp, OnLimit, Pause, Report, Tool};
pub use bill::Seen;
pub use server::FakeLlm;
