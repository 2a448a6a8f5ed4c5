//! What a host can do with state.

use std::collections::BTreeSet;

use super::cache::CachedKey;
use super::commit::{self, PreparedCommit};
use super::model::{
    At, Commit, CommitCause, Difference, KeyInfo, Mark, Namespace, NamespaceInfo, Snapshot, Value,
    Version, VersionInfo, Versions, WriterId,
};
use super::transfer::Export;
use super::{content, read, transfer, value};
use crate::bus::Level;
use crate::store::{Kind, Store, StoreError};

/// State.
///
/// Every change is durable when it is answered, and makes one version.
impl Store {
    /// The value of a key, or nothing.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn get(
        &self,
        namespace: &Namespace,
        key: &str,
        at: At,
    ) -> Result<Option<Value>, StoreError> {
        let now = self.now();
        let wanted = CachedKey::new(namespace, key);
        if at == At::Head
            && let Some(found) = self.cache().get(&wanted)
        {
            return Ok(Some(found).filter(|value| value.expires.is_none_or(|at| at > now)));
        }
        let (namespace, key, cache) = (namespace.clone(), key.to_owned(), self.cache().clone());
        self.read(move |conn| {
            let generation = cache.generation();
            let found = read::get(conn, &namespace, &key, at, now)?;
            if let Some(value) = found.as_ref().filter(|_| at == At::Head) {
                cache.fill(wanted, value, generation);
            }
            Ok(found)
        })
        .await
    }

    /// The keys that begin with a prefix, in order.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn list(
        &self,
        namespace: &Namespace,
        prefix: &str,
        at: At,
    ) -> Result<Vec<KeyInfo>, StoreError> {
        let (namespace, prefix, now) = (namespace.clone(), prefix.to_owned(), self.now());
        self.read(move |conn| read::list(conn, &namespace, &prefix, at, now))
            .await
    }

    /// Changes a namespace. Answers its version; without a change, the one it had.
    ///
    /// # Errors
    ///
    /// See [`StoreError`]; nothing was changed then.
    pub async fn commit(&self, commit: Commit) -> Result<Version, StoreError> {
        let prepared = self.prepare(commit).await?;
        let weight = prepared.weight();
        self.write(Level::Disk, Kind::Guarded, weight, move |core| {
            commit::commit(core, prepared)
        })
        .await
    }

    /// Hashes, cuts and compresses values where it holds up nobody.
    pub(crate) async fn prepare(&self, commit: Commit) -> Result<PreparedCommit, StoreError> {
        let known = self.cache().clone();
        if commit.ops.iter().map(commit::size_of).sum::<usize>() < value::CHUNKED_FROM {
            return PreparedCommit::new(commit, &known);
        }
        let preparing = tokio::task::spawn_blocking(move || PreparedCommit::new(commit, &known));
        preparing.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Marks the newest version, if there is one. A version that is marked already stays as it is,
    /// or becomes pinned.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn checkpoint(
        &self,
        namespace: &Namespace,
        mark: Mark,
        label: Option<String>,
    ) -> Result<Option<Version>, StoreError> {
        let namespace = namespace.clone();
        self.write(Level::Disk, Kind::Guarded, 0, move |core| {
            commit::checkpoint(core, &namespace, mark, label.as_deref())
        })
        .await
    }

    /// The kept versions, newest first.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn versions(
        &self,
        namespace: &Namespace,
        which: Versions,
    ) -> Result<Vec<VersionInfo>, StoreError> {
        let all = read::VERSIONS;
        self.versions_before(namespace, which, None, all).await
    }

    /// The kept versions older than one, newest first, at most so many.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn versions_before(
        &self,
        namespace: &Namespace,
        which: Versions,
        before: Option<Version>,
        limit: usize,
    ) -> Result<Vec<VersionInfo>, StoreError> {
        let namespace = namespace.clone();
        self.read(move |conn| read::versions(conn, &namespace, which, (before, limit)))
            .await
    }

    /// The keys that differ between two versions.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn diff(
        &self,
        namespace: &Namespace,
        before: At,
        after: At,
    ) -> Result<Vec<Difference>, StoreError> {
        let namespace = namespace.clone();
        self.read(move |conn| read::diff(conn, &namespace, before, after))
            .await
    }

    /// Puts the content of an older version back, as a new version. The version before it is
    /// pinned. A key whose time has passed is not revived.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn rollback(
        &self,
        namespace: &Namespace,
        to: At,
        writer: WriterId,
        cause: CommitCause,
    ) -> Result<Version, StoreError> {
        let namespace = namespace.clone();
        self.write(Level::Disk, Kind::Guarded, 0, move |core| {
            content::rollback(core, &namespace, to, &writer, &cause)
        })
        .await
    }

    /// The whole content at one version; nothing can change it, so it is what `read_from` gives.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn snapshot(&self, namespace: &Namespace, at: At) -> Result<Snapshot, StoreError> {
        let (namespace, now) = (namespace.clone(), self.now());
        self.read(move |conn| read::snapshot(conn, &namespace, at, now))
            .await
    }

    /// The content in a form that outlives this file.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn export(&self, namespace: &Namespace, at: At) -> Result<Export, StoreError> {
        self.snapshot(namespace, at).await.map(Export::from)
    }

    /// Replaces the content by an exported one, as a new version; without a difference there is
    /// none.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn import(
        &self,
        namespace: &Namespace,
        export: Export,
        writer: WriterId,
        cause: CommitCause,
    ) -> Result<Version, StoreError> {
        let (namespace, known) = (namespace.clone(), self.cache().clone());
        let prepared = tokio::task::spawn_blocking(move || transfer::prepare(export, &known));
        let prepared = prepared.await.unwrap_or(Err(StoreError::Closed))?;
        let weight = prepared.weight();
        self.write(Level::Disk, Kind::Guarded, weight, move |core| {
            transfer::import(core, &namespace, &prepared, &writer, &cause)
        })
        .await
    }

    /// What is known of every namespace.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn namespaces(&self) -> Result<Vec<NamespaceInfo>, StoreError> {
        self.read(read::namespaces).await
    }

    /// Sets what a namespace may hold. More that is there already stays, and may only shrink.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn set_quota(&self, namespace: &Namespace, max_bytes: u64) -> Result<(), StoreError> {
        self.set_quotas(vec![(namespace.clone(), max_bytes)]).await
    }

    /// Sets what each of these namespaces may hold, all at once; see [`Store::set_quota`].
    ///
    /// # Errors
    ///
    /// See [`StoreError`]; none is changed then.
    pub async fn set_quotas(&self, quotas: Vec<(Namespace, u64)>) -> Result<(), StoreError> {
        self.write(Level::Os, Kind::Guarded, 0, move |core| {
            let mut quotas = quotas.iter();
            quotas.try_for_each(|(namespace, bytes)| commit::set_quota(core, namespace, *bytes))
        })
        .await
    }

    /// Shuts out writers of a lower epoch. An epoch never falls.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn fence(&self, namespace: &Namespace, epoch: u64) -> Result<(), StoreError> {
        let namespace = namespace.clone();
        self.write(Level::Disk, Kind::Guarded, 0, move |core| {
            commit::fence(core, &namespace, epoch)
        })
        .await
    }

    /// Forgets keys' values in memory, so that the next read comes from the file.
    pub fn drop_cache(&self, keys: &BTreeSet<(Namespace, String)>) {
        for (namespace, key) in keys {
            self.cache().remove(&CachedKey::new(namespace, key));
        }
    }
}
