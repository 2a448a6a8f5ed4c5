//! What a container was made of.

use serde::{Deserialize, Serialize};

/// The image that an instance was started from. References move; the digest says what was meant
/// when it was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// As the fleet file named it, such as `python:3.12-slim`.
    pub reference: String,
    /// The image's own id with the engine, such as `sha256:…`.
    pub digest: String,
}
