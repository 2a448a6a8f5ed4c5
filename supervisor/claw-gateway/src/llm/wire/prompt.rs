//! What a prompt holds, as far as its cost depends on it.

mod read;

/// A part of a prompt whose size its bytes do not tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// Something the provider keeps or fetches: a file, an earlier answer, a stored prompt.
    Stored {
        /// The field that names it.
        field: String,
    },
    /// A document or a recording sent along: compressed, so a byte may be many tokens.
    Media {
        /// Its type in the request.
        kind: String,
    },
    /// Content of a type that is not known here.
    Unknown {
        /// Its type in the request.
        kind: String,
    },
}

/// A tool that the provider runs by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hosted {
    /// A search of the web, charged by the search.
    Search {
        /// The most searches in this call, where the request says so.
        cap: Option<u64>,
    },
    /// Pages fetched from the web: charged as prompt alone, in a further round for each.
    Fetch {
        /// The most fetches in this call, where the request says so.
        cap: Option<u64>,
    },
    /// Another one, with a price of its own.
    Other {
        /// Its type in the request.
        kind: String,
    },
}

/// What a prompt holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prompt {
    /// UTF-8 bytes of all text, and of the JSON of tools and schemas.
    pub bytes: u64,
    /// Messages, or texts to embed.
    pub messages: u64,
    /// Tools that the agent describes and runs.
    pub tools: u64,
    /// Tools that the agent runs and the provider describes.
    pub described_tools: u64,
    /// Images, inline or by URL.
    pub images: u64,
    /// Those of them that the provider fetches by their URL.
    pub linked_images: u64,
    /// UTF-8 bytes of text that the provider may charge as answer: a prediction that was wrong.
    pub predicted_bytes: u64,
    /// What has no size of its own; the first few.
    pub references: Vec<Reference>,
    /// The provider's own tools.
    pub hosted: Vec<Hosted>,
}
