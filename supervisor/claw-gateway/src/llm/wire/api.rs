//! The interfaces to language models that agents may use.

use std::fmt;

/// One endpoint of a provider's interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Api {
    /// OpenAI's chat completions, which most other providers offer too.
    ChatCompletions,
    /// OpenAI's responses.
    Responses,
    /// OpenAI's embeddings.
    Embeddings,
    /// Anthropic's messages.
    Messages,
}

/// Whose conventions an interface follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// OpenAI's.
    OpenAi,
    /// Anthropic's.
    Anthropic,
}

impl Api {
    /// Every interface.
    pub const ALL: [Self; 4] = [
        Self::ChatCompletions,
        Self::Responses,
        Self::Embeddings,
        Self::Messages,
    ];

    /// The interface at a path, with `/v1` before it or without: clients differ in whether their
    /// base URL has it.
    #[must_use]
    pub fn of_path(path: &str) -> Option<Self> {
        let path = path.strip_prefix("/v1").unwrap_or(path);
        Self::ALL
            .into_iter()
            .find(|api| api.path().strip_prefix("/v1") == Some(path))
    }

    /// Its path at its provider.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/v1/chat/completions",
            Self::Responses => "/v1/responses",
            Self::Embeddings => "/v1/embeddings",
            Self::Messages => "/v1/messages",
        }
    }

    /// Whose conventions it follows.
    #[must_use]
    pub const fn side(self) -> Side {
        match self {
            Self::ChatCompletions | Self::Responses | Self::Embeddings => Side::OpenAi,
            Self::Messages => Side::Anthropic,
        }
    }
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_is_found_with_and_without_its_version() {
        for api in Api::ALL {
            assert_eq!(Api::of_path(api.path()), Some(api));
        }
        assert_eq!(Api::of_path("/messages"), Some(Api::Messages));
        assert_eq!(Api::of_path("/responses"), Some(Api::Responses));
    }

    #[test]
    fn other_paths_are_no_interface() {
        for path in [
            "",
            "/",
            "/v1",
            "/v1/v1/messages",
            "/v2/messages",
            "/v1/messages/",
            "/v1/messages/count_tokens",
            "/v1messages",
        ] {
            assert_eq!(Api::of_path(path), None, "{path:?}");
        }
    }
}
