//! Images, with their digests as people compare them.

/// `python:3.12-slim (sha256:0a1b2c3d4e5f)`; the reference alone without a digest.
#[must_use]
pub(crate) fn image(reference: &str, digest: Option<&str>) -> String {
    match digest {
        None => reference.to_owned(),
        Some(digest) => format!("{reference} ({})", short(digest)),
    }
}

fn short(digest: &str) -> String {
    let (algorithm, digits) = digest.split_once(':').unwrap_or(("", digest));
    let digits: String = digits.chars().take(12).collect();
    if algorithm.is_empty() {
        digits
    } else {
        format!("{algorithm}:{digits}")
    }
}
