//! Between OpenAI's chat completions and Anthropic's messages, both ways, for chains of models that
//! cross from one to the other.
//!
//! Both sides are read into one form ([`Conversation`], [`Reply`]) and written from it, so what one
//! can say and the other cannot is refused in one place, by name. What is left out without a word
//! are [`hints`] alone.

mod chat_request;
mod chat_stream;
mod conversation;
mod error;
pub mod hints;
mod messages_request;
mod messages_stream;
mod node;
mod reply;
mod writer;

pub use chat_stream::MessagesToChat;
pub use conversation::{Choice, Conversation, Image, Parallel, Part, Said, Target, Tool, Turn};
pub use error::error_for;
pub use messages_stream::ChatToMessages;
pub use node::Untranslatable;
pub use reply::{Reply, Shown};

/// A request of chat completions as one of messages.
///
/// # Errors
/// When it asks for what messages do not have, or is malformed.
pub fn chat_to_messages(body: &str, target: &Target<'_>) -> Result<String, Untranslatable> {
    Conversation::read_chat(body)?.write_messages(target)
}

/// A request of messages as one of chat completions.
///
/// # Errors
/// When it asks for what chat completions do not have, or is malformed.
pub fn messages_to_chat(body: &str, target: &Target<'_>) -> Result<String, Untranslatable> {
    Conversation::read_messages(body)?.write_chat(target)
}

/// An answer of messages as one of chat completions.
///
/// # Errors
/// When it has what chat completions do not have, or is malformed.
pub fn message_to_chat(body: &str, shown: &Shown<'_>) -> Result<String, Untranslatable> {
    Ok(Reply::read_message(body)?.write_chat(shown))
}

/// An answer of chat completions as one of messages.
///
/// # Errors
/// When it has what messages do not have, or is malformed.
pub fn chat_to_message(body: &str, shown: &Shown<'_>) -> Result<String, Untranslatable> {
    Ok(Reply::read_chat(body)?.write_message(shown))
}

#[cfg(test)]
mod tests;
