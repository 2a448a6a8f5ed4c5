//! The numbers of a user that goes by a name of its image.
//!
//! A file system in memory is given to its user by number. Names are in the image, whose files the
//! engine shows only of a container, so the first container of an image and a user is made twice.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Mutex;

use bollard::query_parameters::DownloadFromContainerOptionsBuilder;
use futures_util::StreamExt;

use super::engine::{Client, QUICK};
use super::lock;

/// The most that is read of a list of users or groups, in bytes.
const MOST: usize = 1 << 20;

/// What is known, by the id of the image and the user.
#[derive(Debug, Default)]
pub(super) struct Owners(Mutex<BTreeMap<(String, String), Option<String>>>);

impl Owners {
    /// `UID:GID`, if it was looked up before; `Some(None)`: in vain.
    pub(super) fn known(&self, image: &str, user: &str) -> Option<Option<String>> {
        let key = (image.to_owned(), user.to_owned());
        lock(&self.0).get(&key).cloned()
    }

    /// Looks it up in a container of the image.
    pub(super) async fn look_up(
        &self,
        client: &Client,
        container: &str,
        (image, user): (&str, &str),
    ) -> Option<String> {
        let found = numbers(client, container, user).await;
        let key = (image.to_owned(), user.to_owned());
        lock(&self.0).insert(key, found.clone());
        found
    }
}

/// Whether a user has to be looked up.
pub(super) fn is_name(user: &str) -> bool {
    user.split(':').any(|part| part.parse::<u32>().is_err())
}

async fn numbers(client: &Client, container: &str, user: &str) -> Option<String> {
    let (user, group) = match user.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (user, None),
    };
    let users = read(client, container, "/etc/passwd").await;
    let (uid, primary) = account(&users.unwrap_or_default(), user)?;
    let gid = match group.map(|group| (group, group.parse::<u32>().ok())) {
        None => primary?,
        Some((_, Some(gid))) => gid,
        Some((group, None)) => {
            let groups = read(client, container, "/etc/group").await?;
            let line = groups.lines().find(|line| first(line) == group)?;
            line.split(':').nth(2)?.parse().ok()?
        }
    };
    Some(format!("{uid}:{gid}"))
}

/// The number of a user, and that of its group where it is known.
fn account(users: &str, user: &str) -> Option<(u32, Option<u32>)> {
    let Some(line) = users.lines().find(|line| first(line) == user) else {
        return Some((user.parse().ok()?, None));
    };
    let mut numbers = line.split(':').skip(2).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()))
}

fn first(line: &str) -> &str {
    line.split(':').next().unwrap_or_default()
}

/// A file of a container, through the archive that the engine makes of it.
async fn read(client: &Client, container: &str, path: &str) -> Option<String> {
    let options = DownloadFromContainerOptionsBuilder::new()
        .path(path)
        .build();
    let mut pieces = client
        .docker
        .download_from_container(container, Some(options));
    let reading = async {
        let mut archive = Vec::new();
        while let Some(piece) = pieces.next().await {
            archive.extend_from_slice(&piece.ok()?);
            if archive.len() > MOST {
                return None;
            }
        }
        Some(archive)
    };
    let archive = tokio::time::timeout(QUICK, reading).await.ok()??;
    let mut archive = tar::Archive::new(archive.as_slice());
    let mut entry = archive.entries().ok()?.next()?.ok()?;
    let mut text = String::new();
    entry.read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_numbers_and_found_in_their_list() {
        assert!(is_name("agent") && is_name("1000:agents") && !is_name("1000:1000"));
        let users = "root:x:0:0:root:/:/bin/sh\nagent:x:12:34:::\nbad:x:y:\n";
        assert_eq!(account(users, "agent"), Some((12, Some(34))));
        assert_eq!(account(users, "7"), Some((7, None)));
        assert_eq!(account(users, "bad"), None);
        assert_eq!(account(users, "nobody"), None);
    }
}
