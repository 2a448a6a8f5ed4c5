//! Where a provider is reached.

use std::fmt;
use std::str::FromStr;

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

use crate::llm::wire::Api;

/// A provider's base URL, with `/v1` at its end or without: `https://api.openai.com/v1`,
/// `http://127.0.0.1:11434`, `https://generativelanguage.googleapis.com/v1beta/openai`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl {
    scheme: Scheme,
    authority: Authority,
    /// Without a slash at its end; `/v1` where the URL has no path.
    path: String,
}

/// Why a text is no base URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotABaseUrl {
    /// It cannot be read.
    #[error("not a URL such as https://api.openai.com/v1")]
    NotAUrl,
    /// It has another scheme.
    #[error("a provider is reached by http or https")]
    Scheme,
    /// It has a user name or password.
    #[error("a key in the URL would be logged; put it where keys go")]
    Credentials,
    /// It has a query.
    #[error("a base URL has no query")]
    Query,
}

impl BaseUrl {
    /// The URL of an interface.
    #[must_use]
    pub fn of(&self, api: Api) -> Uri {
        self.below(api.path().trim_start_matches("/v1"))
    }

    /// The URL of a path below it.
    pub(super) fn below(&self, below: &'static str) -> Uri {
        let path = PathAndQuery::try_from(format!("{}{below}", self.path));
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(path.expect("a path that was part of a URL, and a fixed one"))
            .build()
            .expect("all three parts are there")
    }
}

impl FromStr for BaseUrl {
    type Err = NotABaseUrl;

    fn from_str(text: &str) -> Result<Self, NotABaseUrl> {
        let uri: Uri = text.trim().parse().map_err(|_not| NotABaseUrl::NotAUrl)?;
        let parts = uri.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(NotABaseUrl::NotAUrl);
        };
        if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            return Err(NotABaseUrl::Scheme);
        }
        if authority.as_str().contains('@') {
            return Err(NotABaseUrl::Credentials);
        }
        let path = parts.path_and_query.as_ref();
        if path.is_some_and(|path| path.query().is_some()) {
            return Err(NotABaseUrl::Query);
        }
        let path = path.map_or("", |path| path.path().trim_end_matches('/'));
        let path = if path.is_empty() { "/v1" } else { path };
        Ok(Self {
            scheme,
            authority,
            path: path.to_owned(),
        })
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_is_taken_with_its_version_or_without() {
        let chat = |text: &str| {
            let url: BaseUrl = text.parse().expect("a base URL");
            url.of(Api::ChatCompletions).to_string()
        };
        let openai = "https://api.openai.com/v1/chat/completions";
        assert_eq!(chat("https://api.openai.com"), openai);
        assert_eq!(chat("https://api.openai.com/"), openai);
        assert_eq!(chat("https://api.openai.com/v1/"), openai);
        assert_eq!(
            chat("https://generativelanguage.googleapis.com/v1beta/openai"),
            "https://generativelanguage.googleapis.com/v1beta/openai/chat/completions"
        );
        let anthropic: BaseUrl = "http://127.0.0.1:9".parse().expect("a base URL");
        assert_eq!(
            anthropic.of(Api::Messages).to_string(),
            "http://127.0.0.1:9/v1/messages"
        );
    }

    #[test]
    fn what_is_no_base_url_is_told_why() {
        let read = |text: &str| text.parse::<BaseUrl>().map(|_url| ());
        assert_eq!(read("api.openai.com"), Err(NotABaseUrl::NotAUrl));
        assert_eq!(read("/v1"), Err(NotABaseUrl::NotAUrl));
        assert_eq!(read("ftp://models"), Err(NotABaseUrl::Scheme));
        assert_eq!(read("https://me:sk@models"), Err(NotABaseUrl::Credentials));
        assert_eq!(read("https://models/?key=1"), Err(NotABaseUrl::Query));
    }
}
