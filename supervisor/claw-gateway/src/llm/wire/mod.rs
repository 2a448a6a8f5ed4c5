//! What agents and providers send each other: read, bounded, and written with as little change as
//! can be.
//!
//! Bodies stay the bytes that came. What the gateway must know is read from them, and what it must
//! change is cut in at its place, so fields it has never heard of pass untouched.

mod answer;
mod api;
mod bound;
mod ending;
mod error_body;
mod excerpt;
mod frame;
mod object;
mod prompt;
mod refused;
mod request;
mod rewrite;
mod stream;
mod usage;

pub use answer::{Answer, Finish};
pub use api::{Api, Side};
pub use bound::{
    Bound, Boundless, DESCRIBED_TOOL_TOKENS, Limits, MESSAGE_TOKENS, PROMPT_TOKENS, TOOLS_TOKENS,
    estimate,
};
pub use ending::{Cut, chat_usage, ending, messages_usage};
pub use error_body::{Refusal, RefusalKind, error_body};
pub use excerpt::Excerpt;
pub(crate) use excerpt::escaped;
pub use frame::{Frame, FrameTooLong, Frames, MAX_FRAME};
pub use object::{NotObject, RawObject};
pub(crate) use object::{elements, quoted, text, typed};
pub use prompt::{Hosted, Prompt, Reference};
pub use request::{BadRequest, Delivery, Request, UsageChunk};
pub use rewrite::{ChatLimit, Upstream, alias_model, alias_model_in_frame, with_cost};
pub use stream::{Block, Content, Ended, StreamReading, Told, least_tokens};
