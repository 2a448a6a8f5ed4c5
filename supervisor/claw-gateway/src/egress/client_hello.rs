//! The first message of TLS, read for the host it names and sent on untouched.

use rustls::server::Acceptor;

use super::policy::{Host, HostError};

/// The most bytes that a client may send before its first message is whole. One with keys that
/// withstand quantum computers has two thousand.
pub const MAX_HELLO: usize = 16 * 1024;

/// The type of a record that carries a handshake.
const HANDSHAKE: u8 = 22;

/// The host a client names in TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerName {
    /// This one.
    Named(Host),
    /// None.
    Missing,
}

/// Why bytes are not the beginning of TLS.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// They are something else, or broken.
    #[error("what was sent is not the beginning of TLS")]
    NotTls,
    /// The first message does not end within [`MAX_HELLO`].
    #[error("the first message of TLS is longer than {MAX_HELLO} bytes")]
    TooLong,
    /// The host it names is none.
    #[error("TLS names `{}`, which is not a host", text.escape_debug())]
    Host {
        /// What it names.
        text: String,
        /// What is wrong with it.
        error: HostError,
    },
}

/// Takes the bytes of a client as they come, over any number of records.
#[derive(Default)]
pub struct HelloReader {
    acceptor: Acceptor,
    bytes: Vec<u8>,
}

impl HelloReader {
    /// Takes more bytes. `None` means that the message has not come whole.
    ///
    /// # Errors
    /// When it never will be one.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Option<ServerName>, HelloError> {
        self.bytes.extend_from_slice(bytes);
        if self.bytes.first().is_some_and(|first| *first != HANDSHAKE) {
            return Err(HelloError::NotTls);
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            if !matches!(self.acceptor.read_tls(&mut rest), Ok(1..)) {
                return Err(HelloError::NotTls);
            }
            match self.acceptor.accept() {
                Ok(Some(accepted)) => return named(accepted.client_hello().server_name()),
                Ok(None) => {}
                Err(_alert_is_ours) => return Err(HelloError::NotTls),
            }
        }
        if self.bytes.len() >= MAX_HELLO {
            return Err(HelloError::TooLong);
        }
        Ok(None)
    }

    /// All bytes that were taken, to be sent on.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

fn named(name: Option<&str>) -> Result<Option<ServerName>, HelloError> {
    let Some(text) = name else {
        return Ok(Some(ServerName::Missing));
    };
    match Host::parse(text) {
        Ok(host) => Ok(Some(ServerName::Named(host))),
        Err(error) => {
            let text = text.to_owned();
            Err(HelloError::Host { text, error })
        }
    }
}
