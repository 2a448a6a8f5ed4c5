//! References to images, as the distribution specification writes them.

use super::Rejected;

const FORM: &str = "write `NAME:TAG`, such as `python:3.12-slim`, or `NAME@sha256:…`";
/// The specification's limit for a name without tag and digest.
const MAX_NAME: usize = 255;
const MAX_TAG: usize = 128;

/// Reads `[HOST[:PORT]/]NAME[:TAG][@DIGEST]`.
pub(in crate::config) fn reference(text: &str) -> Result<String, Rejected> {
    if text.contains("://") {
        return Err(Rejected::new("it is a URL").help("write it without the scheme"));
    }
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    // A colon before the last slash belongs to a port.
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        Some(_) | None => (rest, None),
    };
    if digest.is_some_and(|digest| !is_digest(digest)) {
        return Err(Rejected::new("its digest cannot be read").help(FORM));
    }
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return Err(Rejected::new("its tag cannot be read").help(FORM));
    }
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(Rejected::new("its name does not have 1 to 255 characters").help(FORM));
    }
    let path = match name.split_once('/') {
        Some((host, path)) if is_host(host) => path,
        Some(_) | None => name,
    };
    if path.split('/').all(is_component) {
        return Ok(text.to_owned());
    }
    if path.to_lowercase().split('/').all(is_component) {
        let lower = text.replacen(path, &path.to_lowercase(), 1);
        return Err(
            Rejected::new("its name has capital letters").help(format!("did you mean `{lower}`?"))
        );
    }
    Err(Rejected::new("its name has a character that cannot stand there").help(FORM))
}

/// A name of an image made of any text.
pub(in crate::config) fn component(text: &str) -> String {
    let lower = text.to_lowercase();
    let words = lower.split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    words.join("-")
}

/// As the engine tells a registry from the first part of a name.
fn is_host(text: &str) -> bool {
    let usable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    let told = text == "localhost" || text.contains(['.', ':']);
    told && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[')
        && text.chars().all(usable)
}

fn is_component(text: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separators = text.split(alphanumeric).filter(|part| !part.is_empty());
    let usable = |separator: &str| {
        matches!(separator, "." | "_" | "__") || separator.chars().all(|c| c == '-')
    };
    text.starts_with(alphanumeric) && text.ends_with(alphanumeric) && { separators }.all(usable)
}

fn is_tag(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.len() <= MAX_TAG
        && text.starts_with(word)
        && text.chars().all(|c| word(c) || matches!(c, '.' | '-'))
}

fn is_digest(text: &str) -> bool {
    text.split_once(':').is_some_and(|(algorithm, digits)| {
        let lengths = match algorithm {
            "sha256" => 64,
            "sha512" => 128,
            _ => return false,
        };
        digits.len() == lengths
            && digits
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_as_the_engine_reads_them() {
        let digest = format!("busybox@sha256:{}", "0a".repeat(32));
        for text in [
            "busybox",
            "python:3.12-slim",
            "my/agent:1.2",
            "ghcr.io/org/agent:v1",
            "localhost:5000/agent",
            "a__b/c--d.e",
            "registry.example.com:5000/Agent:1".to_lowercase().as_str(),
            &digest,
        ] {
            assert_eq!(reference(text), Ok(text.to_owned()));
        }
        for text in [
            "",
            ":tag",
            "name:",
            "name:ta g",
            "https://ghcr.io/x",
            "My/Agent",
            "a..b",
            "-a",
            "a_",
            "a//b",
            "a@sha256:12",
            "a b",
            "ä",
        ] {
            assert!(reference(text).is_err(), "{text}");
        }
        let help = reference("ghcr.io/Org/Agent:V1").unwrap_err().help;
        assert_eq!(
            help.as_deref(),
            Some("did you mean `ghcr.io/org/agent:V1`?")
        );
    }

    #[test]
    fn every_project_and_agent_makes_a_name() {
        for (text, expected) in [
            ("My.Project", "my-project"),
            ("_a__b-", "a-b"),
            ("web", "web"),
        ] {
            assert_eq!(component(text), expected);
            assert!(reference(&component(text)).is_ok());
        }
    }
}
