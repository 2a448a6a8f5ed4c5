//! Credentials for registries, from where `docker login` keeps them.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bollard::auth::DockerCredentials;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The registry of an image that names none, and its key among the credentials.
const HUB: &str = "docker.io";
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// The parts of Docker's configuration file that are read.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Config {
    auths: BTreeMap<String, Auth>,
    creds_store: Option<String>,
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Auth {
    auth: Option<String>,
    identitytoken: Option<String>,
}

/// What there is for a registry.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Credentials {
    /// The registry is asked as anybody.
    None,
    Known(DockerCredentials),
    /// A program has them that is not asked: its name.
    Helper(String),
}

/// The registry that an image comes from.
pub(super) fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        Some(_) | None => HUB,
    }
}

/// Looks up the credentials for an image. A file that cannot be read has none. Blocks.
pub(super) fn find(image: &str) -> Credentials {
    let text = file().and_then(|path| std::fs::read_to_string(path).ok());
    text.map_or(Credentials::None, |text| find_in(&text, registry(image)))
}

fn file() -> Option<PathBuf> {
    let dir = match std::env::var_os("DOCKER_CONFIG") {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from(std::env::var_os("HOME")?).join(".docker"),
    };
    Some(dir.join("config.json"))
}

fn find_in(text: &str, registry: &str) -> Credentials {
    let config: Config = match serde_json::from_str(text) {
        Ok(config) => config,
        Err(error) => {
            tracing::warn!(%error, "Docker's configuration file cannot be read");
            return Credentials::None;
        }
    };
    let key = if registry == HUB { HUB_KEY } else { registry };
    let with_scheme = format!("https://{registry}");
    let keys = [key, registry, &with_scheme];
    let known = keys.iter().find_map(|key| config.auths.get(*key));
    if let Some(credentials) = known.and_then(|auth| decode(auth, key)) {
        return Credentials::Known(credentials);
    }
    let helper = keys.iter().find_map(|key| config.cred_helpers.get(*key));
    match helper.or(config.creds_store.as_ref()) {
        // An entry without a secret in it says that the helper has one.
        Some(helper) if known.is_some() || config.cred_helpers.contains_key(key) => {
            Credentials::Helper(format!("docker-credential-{helper}"))
        }
        Some(_) | None => Credentials::None,
    }
}

fn decode(auth: &Auth, key: &str) -> Option<DockerCredentials> {
    let pair = auth.auth.as_deref().filter(|text| !text.is_empty())?;
    let pair = String::from_utf8(STANDARD.decode(pair).ok()?).ok()?;
    let (user, password) = pair.split_once(':')?;
    Some(DockerCredentials {
        username: Some(user.to_owned()),
        password: Some(password.trim_end_matches('\0').to_owned()),
        serveraddress: Some(key.to_owned()),
        identitytoken: auth.identitytoken.clone(),
        ..DockerCredentials::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_is_the_first_part_that_looks_like_a_host() {
        for (image, expected) in [
            ("python:3.12", HUB),
            ("library/python", HUB),
            ("ghcr.io/a/b@sha256:00", "ghcr.io"),
            ("localhost/a", "localhost"),
            ("registry:5000/a", "registry:5000"),
        ] {
            assert_eq!(registry(image), expected, "{image}");
        }
    }

    #[test]
    fn a_login_is_found_and_a_helper_is_named() {
        let text = r#"{"auths": {"ghcr.io": {"auth": "bWU6c2VjcmV0OjE="}, "quay.io": {}},
                       "credsStore": "desktop"}"#;
        let Credentials::Known(found) = find_in(text, "ghcr.io") else {
            panic!("nothing was found");
        };
        assert_eq!(found.username.as_deref(), Some("me"));
        assert_eq!(found.password.as_deref(), Some("secret:1"));
        let helper = Credentials::Helper("docker-credential-desktop".to_owned());
        assert_eq!(find_in(text, "quay.io"), helper);
        assert_eq!(find_in(text, HUB), Credentials::None);
        assert_eq!(find_in("no json", HUB), Credentials::None);
    }
}
