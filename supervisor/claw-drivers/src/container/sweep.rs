//! Ending and removing containers of ours that nobody needs any more.

use std::sync::Arc;
use std::time::Duration;

use bollard::query_parameters::{ListContainersOptionsBuilder, RemoveContainerOptionsBuilder};
use claw_core::InstanceId;
use tokio::time::Instant;

use super::driver::Inner;
use super::engine::{Client, QUICK, SLOW};
use super::fault::EngineError;
use super::{name, state};

/// Between looks at a removal that somebody else has begun.
const UNDER_WAY: Duration = Duration::from_millis(50);

/// Removes what carries our project's label and belongs to no instance that is known, and what
/// was to be removed while the engine was away.
pub(super) async fn run(inner: Arc<Inner>, client: Arc<Client>) {
    if let Err(error) = sweep(&inner, &client).await {
        tracing::warn!(%error, "containers that are not needed any more could not be removed");
    }
}

/// As [`run`]; an error means that something may be left.
pub(super) async fn sweep(inner: &Arc<Inner>, client: &Client) -> Result<(), EngineError> {
    // Before the list: whoever is doomed later may have a container that is not on it.
    let doomed = inner.doomed();
    let options = ListContainersOptionsBuilder::new()
        .all(true)
        .filters(&name::filter(&inner.project))
        .build();
    let found = client
        .within(QUICK, client.docker.list_containers(Some(options)))
        .await?;
    for container in found {
        let labels = container.labels.unwrap_or_default();
        let instance = name::instance(&inner.project, &labels);
        if instance
            .as_ref()
            .is_some_and(|instance| inner.keeps(instance))
        {
            continue;
        }
        let id = container.id.unwrap_or_default();
        let name = instance.map_or_else(|| id.clone(), |instance| instance.to_string());
        tracing::info!(container = %name, "removing a container that belongs to no instance");
        remove(client, &id).await?;
    }
    for instance in doomed {
        inner.bury(&instance).await;
    }
    Ok(())
}

/// Ends and removes a container with its anonymous volumes; one that is gone is no error.
pub(super) async fn remove(client: &Client, container: &str) -> Result<(), EngineError> {
    let deadline = Instant::now() + SLOW;
    loop {
        let options = RemoveContainerOptionsBuilder::new()
            .force(true)
            .v(true)
            .build();
        let removal = client.docker.remove_container(container, Some(options));
        match client.within(SLOW, removal).await {
            Ok(()) => return Ok(()),
            Err(error) if error.status() == 404 => return Ok(()),
            // Somebody else removes it at this moment.
            Err(error) if error.status() == 409 && Instant::now() < deadline => {
                tracing::debug!(container, %error, "its removal is under way");
                tokio::time::sleep(UNDER_WAY).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Removes the container of an instance: by its id, since it may have been renamed, or by its name,
/// which may be somebody else's.
async fn remove_own(
    inner: &Arc<Inner>,
    client: &Client,
    instance: &InstanceId,
) -> Result<(), EngineError> {
    let record = inner.read(instance).await;
    let known = record.and_then(|record| record.id);
    let name = known.unwrap_or_else(|| name::container(&inner.project, instance));
    match state::look(client, &inner.project, &name).await? {
        Some(found) if found.owner.as_ref() == Some(instance) => remove(client, &found.id).await,
        Some(_) | None => Ok(()),
    }
}

/// Removes the container and then the record of an instance that was released; what cannot be
/// done now is done when the engine is back.
pub(super) async fn release(inner: Arc<Inner>, instance: InstanceId) {
    let removed = match inner.engine.client().await {
        Ok(client) => remove_own(&inner, &client, &instance).await,
        Err(error) => Err(error),
    };
    match removed {
        Ok(()) => inner.bury(&instance).await,
        Err(error) => {
            tracing::warn!(%instance, %error, "its container could not be removed yet");
            Inner::doom(&inner, instance);
        }
    }
}
