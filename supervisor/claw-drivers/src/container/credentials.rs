//! Programs that keep credentials for Docker: `docker-credential-NAME get` reads the registry and
//! writes what it has for it.

use std::process::Stdio;
use std::time::Duration;

use bollard::auth::DockerCredentials;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

/// How long a helper may take. Some of them ask a server of their own.
const LIMIT: Duration = Duration::from_secs(20);

/// How much it may write; tokens of clouds have a few kilobytes.
const MOST: u64 = 64 << 10;

/// What a helper says, by agreement, that has nothing for a registry.
const NOT_FOUND: &str = "credentials not found in native keychain";

/// In place of a user: the secret is a token of the registry's.
const TOKEN: &str = "<token>";

/// Why a helper gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum HelperError {
    /// It is not on `PATH`, or cannot be a program's name.
    #[error("`{program}`, which keeps the credentials for {server}, is not on PATH")]
    Missing { program: String, server: String },
    /// It did not do what it should.
    #[error("`{program}` gave no credentials for {server}: {why}")]
    Failed {
        program: String,
        server: String,
        why: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Asks a helper for what it has for a registry.
pub(super) async fn get(
    name: &str,
    server: &str,
) -> Result<Option<DockerCredentials>, HelperError> {
    let program = format!("docker-credential-{name}");
    let missing = || HelperError::Missing {
        program: program.clone(),
        server: server.to_owned(),
    };
    let failed = |why: String| HelperError::Failed {
        program: program.clone(),
        server: server.to_owned(),
        why,
    };
    // A path would name a program from anywhere.
    if name.contains('/') {
        return Err(missing());
    }
    let child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn();
    let child = match child {
        Ok(child) => Group(child),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(missing()),
        Err(error) => return Err(failed(error.to_string())),
    };
    match tokio::time::timeout(LIMIT, ask(child, server)).await {
        Ok(answer) => answer.map_err(failed),
        Err(_elapsed) => Err(failed(format!("no answer within {} s", LIMIT.as_secs()))),
    }
}

/// A helper and what it has started; dropping it ends them.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // There is no number any more when it was waited for.
        let pid = self.0.id().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid {
            let group = nix::unistd::Pid::from_raw(pid);
            // One that has ended meanwhile is as good.
            nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL).ok();
        }
    }
}

async fn ask(mut child: Group, server: &str) -> Result<Option<DockerCredentials>, String> {
    if let Some(mut input) = child.0.stdin.take() {
        // One that does not read it may have an answer all the same.
        input.write_all(server.as_bytes()).await.ok();
    }
    let mut said = Vec::new();
    if let Some(output) = child.0.stdout.take() {
        let mut output = output.take(MOST + 1);
        let read = output.read_to_end(&mut said).await;
        read.map_err(|error| error.to_string())?;
    }
    if said.len() as u64 > MOST {
        return Err(format!("it wrote more than {MOST} bytes"));
    }
    let status = child.0.wait().await.map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&said);
    if !status.success() {
        let said: String = text.trim().chars().take(200).collect();
        return match said.as_str() {
            NOT_FOUND => Ok(None),
            "" => Err(status.to_string()),
            said => Err(said.to_owned()),
        };
    }
    // The text itself has a secret in it.
    let answer: Answer = serde_json::from_str(&text)
        .map_err(|error| format!("its answer cannot be understood: {:?}", error.classify()))?;
    Ok(Some(credentials(answer, server)))
}

fn credentials(answer: Answer, server: &str) -> DockerCredentials {
    let known = DockerCredentials {
        serveraddress: Some(server.to_owned()),
        ..DockerCredentials::default()
    };
    if answer.username == TOKEN {
        DockerCredentials {
            identitytoken: Some(answer.secret),
            ..known
        }
    } else {
        DockerCredentials {
            username: Some(answer.username),
            password: Some(answer.secret),
            ..known
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_told_from_a_user() {
        let answer = |username: &str| Answer {
            username: username.to_owned(),
            secret: "s".to_owned(),
        };
        let token = credentials(answer(TOKEN), "r");
        assert_eq!(token.identitytoken.as_deref(), Some("s"));
        assert_eq!((token.username, token.password), (None, None));
        let user = credentials(answer("me"), "r");
        assert_eq!(user.username.as_deref(), Some("me"));
        assert_eq!(user.password.as_deref(), Some("s"));
    }

    #[tokio::test]
    async fn a_helper_is_a_name_and_no_path() {
        for name in ["../x", "no-such-helper"] {
            let error = get(name, "r").await.expect_err("there is none");
            assert!(matches!(error, HelperError::Missing { .. }), "{error}");
        }
    }
}
