//! What a container was made of.

use claw_core as core;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The image that an instance was started from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Image {
    /// As the fleet file named it, such as `python:3.12-slim`.
    pub reference: String,
    /// What the reference stood for: the image's own id with the engine, such as `sha256:…`.
    pub digest: String,
}

impl From<&core::Image> for Image {
    fn from(image: &core::Image) -> Self {
        Self {
            reference: image.reference.clone(),
            digest: image.digest.clone(),
        }
    }
}
