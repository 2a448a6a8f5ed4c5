//! Credentials for registries, from where `docker login` keeps them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bollard::auth::DockerCredentials;
use serde::Deserialize;

use super::credentials::{self, HelperError};

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
#[derive(Debug, Default)]
pub(super) struct Found {
    /// `None`: the registry is asked as anybody.
    pub(super) credentials: Option<DockerCredentials>,
    /// Why a program that may have some gave none.
    pub(super) trouble: Option<HelperError>,
}

/// Where the configuration file says that the credentials of a registry are.
#[derive(Debug, Default, PartialEq)]
struct Places {
    /// Key of the registry, and the name of the program that has its credentials.
    helper: Option<(String, String)>,
    /// Those of the file itself.
    written: Option<DockerCredentials>,
}

/// The registry that an image comes from.
pub(super) fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        Some(_) | None => HUB,
    }
}

/// Looks up the credentials for an image. As with Docker a helper comes before the file, and a
/// file that cannot be read has none.
pub(super) async fn find(image: &str) -> Found {
    let Some(path) = file() else {
        return Found::default();
    };
    let Ok(text) = tokio::fs::read_to_string(path).await else {
        return Found::default();
    };
    let places = places(&text, registry(image));
    let mut found = Found {
        credentials: places.written,
        trouble: None,
    };
    if let Some((key, helper)) = places.helper {
        match credentials::get(&helper, &key).await {
            Ok(Some(known)) => found.credentials = Some(known),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "the credentials of a registry are not known");
                found.trouble = Some(error);
            }
        }
    }
    found
}

fn file() -> Option<PathBuf> {
    let dir = match std::env::var_os("DOCKER_CONFIG").filter(|dir| !dir.is_empty()) {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from(std::env::var_os("HOME")?).join(".docker"),
    };
    Some(dir.join("config.json"))
}

fn places(text: &str, registry: &str) -> Places {
    let config: Config = match serde_json::from_str(text) {
        Ok(config) => config,
        Err(error) => {
            tracing::warn!(%error, "Docker's configuration file cannot be read");
            return Places::default();
        }
    };
    let key = if registry == HUB { HUB_KEY } else { registry };
    let with_scheme = format!("https://{registry}");
    let keys = [key, registry, &with_scheme];
    let known = keys.iter().find_map(|key| config.auths.get(*key));
    let helper = keys.iter().find_map(|key| config.cred_helpers.get(*key));
    let helper = helper.or(config.creds_store.as_ref());
    Places {
        helper: helper
            .filter(|name| !name.is_empty())
            .map(|name| (key.to_owned(), name.clone())),
        written: known.and_then(|auth| decode(auth, key)),
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
    fn a_login_is_found_and_so_is_the_helper_of_its_registry() {
        let text = r#"{"auths": {"ghcr.io": {"auth": "bWU6c2VjcmV0OjE="}, "quay.io": {}},
                       "credHelpers": {"quay.io": "pass"}}"#;
        let found = places(text, "ghcr.io");
        let written = found.written.expect("it is there");
        assert_eq!(written.username.as_deref(), Some("me"));
        assert_eq!(written.password.as_deref(), Some("secret:1"));
        assert_eq!(found.helper, None);
        let helper = |key: &str, name: &str| Some((key.to_owned(), name.to_owned()));
        assert_eq!(places(text, "quay.io").helper, helper("quay.io", "pass"));
        assert_eq!(places(text, HUB), Places::default());
        assert_eq!(places("no json", HUB), Places::default());
        let text = r#"{"credsStore": "desktop", "credHelpers": {"quay.io": "pass"}}"#;
        assert_eq!(places(text, "quay.io").helper, helper("quay.io", "pass"));
        assert_eq!(places(text, HUB).helper, helper(HUB_KEY, "desktop"));
    }
}
