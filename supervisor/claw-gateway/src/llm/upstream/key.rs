//! A provider's key.

use std::fmt;
use std::sync::Arc;

use http::HeaderValue;

/// A provider's key. It is shown nowhere: not in debugging output, logs or errors.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Arc<str>);

impl Key {
    /// A key; what no header can carry is none.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let can_be_sent = !text.is_empty() && HeaderValue::from_str(text).is_ok();
        can_be_sent.then(|| Self(text.into()))
    }

    /// As a header's value, behind a prefix such as `Bearer `.
    pub(super) fn header(&self, prefix: &str) -> HeaderValue {
        let text = format!("{prefix}{}", self.0);
        let mut value = HeaderValue::from_str(&text).expect("it was tried when the key was made");
        value.set_sensitive(true);
        value
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_shown_nowhere() {
        let key = Key::new(" sk-secret\n").expect("a key");
        assert_eq!(
            format!("{key:?} {:?}", key.header("Bearer ")),
            "Key(…) Sensitive"
        );
        assert_eq!(key.header("Bearer ").as_bytes(), b"Bearer sk-secret");
    }

    #[test]
    fn what_no_header_can_carry_is_no_key() {
        for text in ["", "  ", "sk\r\nx-evil: 1", "sk\0"] {
            assert_eq!(Key::new(text), None, "{text:?}");
        }
    }
}
