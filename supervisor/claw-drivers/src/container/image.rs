//! The image of a container: there, fetched, or built.

use std::pin::pin;
use std::time::Duration;

use bollard::query_parameters::CreateImageOptionsBuilder;
use claw_core::spec::Container;
use claw_core::spec::container::PullPolicy;
use claw_core::{SpawnError, SpawnStage};
use futures_util::StreamExt;

use super::auth;
use super::build;
use super::engine::{Client, QUICK};
use super::fault::EngineError;
use super::progress::{Layers, Teller};
use super::refusal;

/// News of a pull or a build come more often than this, as a rule.
pub(super) const STALL: Duration = Duration::from_secs(60);

/// Sees to it that the image is there; its id.
pub(super) async fn ensure(
    client: &Client,
    container: &Container,
    teller: &mut Teller,
) -> Result<String, SpawnError> {
    let image = &container.image;
    if container.pull != PullPolicy::Always
        && let Some(id) = find(client, image).await?
    {
        return Ok(id);
    }
    match (&container.build, container.pull) {
        (_, PullPolicy::Never) => {
            return Err(missing(format!(
                "there is no image `{image}` on this machine, and `pull_policy: never` says not to \
                 fetch it: fetch it with `docker pull {image}`, or change the policy"
            )));
        }
        (Some(wanted), PullPolicy::Missing | PullPolicy::Always) => {
            build::build(client, image, wanted, teller).await?;
        }
        (None, PullPolicy::Missing | PullPolicy::Always) => fetch(client, image, teller).await?,
    }
    let found = find(client, image).await?;
    found.ok_or_else(|| {
        missing(format!(
            "the engine has no image `{image}` although it was made"
        ))
    })
}

async fn find(client: &Client, image: &str) -> Result<Option<String>, SpawnError> {
    let asked = client.docker.inspect_image(image);
    match client.within(QUICK, asked).await {
        Ok(found) => Ok(found.id),
        Err(error) if error.status() == 404 => Ok(None),
        Err(error) => Err(refusal::image(image, &error, None)),
    }
}

async fn fetch(client: &Client, image: &str, teller: &mut Teller) -> Result<(), SpawnError> {
    teller.tell(format!("fetching image {image}")).await;
    let auth::Found {
        credentials,
        trouble,
    } = teller.beat_or(auth::find(image)).await;
    let mut options = CreateImageOptionsBuilder::new().from_image(image);
    if !has_tag(image) {
        // Without one the engine would fetch all that there are.
        options = options.tag("latest");
    }
    let pull = client
        .docker
        .create_image(Some(options.build()), None, credentials);
    let mut pull = pin!(pull);
    let mut layers = Layers::default();
    let refused = |error: &EngineError| refusal::image(image, error, trouble.as_ref());
    loop {
        let waited = tokio::time::timeout(STALL, teller.beat_or(pull.next())).await;
        let Ok(next) = waited else {
            still_there(client, image).await?;
            continue;
        };
        let Some(news) = next else {
            return Ok(());
        };
        let news = news.map_err(|error| refused(&client.fault(error)))?;
        if let Some(message) = news.error_detail.and_then(|detail| detail.message) {
            return Err(refused(&EngineError::Refused { status: 0, message }));
        }
        let detail = news.progress_detail.unwrap_or_default();
        layers.note(
            &news.id.unwrap_or_default(),
            &news.status.unwrap_or_default(),
            (detail.current, detail.total),
        );
        teller.tell(format!("fetching image {image}{layers}")).await;
    }
}

/// An engine that has said nothing for a while may have nothing to say, or be stuck.
pub(super) async fn still_there(client: &Client, image: &str) -> Result<(), SpawnError> {
    let asked = client.within(QUICK, client.docker.ping()).await;
    asked
        .map(drop)
        .map_err(|error| refusal::image(image, &error, None))
}

/// Whether a reference says which of the images of that name is meant.
fn has_tag(image: &str) -> bool {
    let last = image.rsplit_once('/').map_or(image, |(_, last)| last);
    last.contains([':', '@'])
}

fn missing(detail: String) -> SpawnError {
    SpawnError {
        stage: SpawnStage::Image,
        errno: 0,
        detail,
    }
}

#[cfg(test)]
mod tests {
    use super::has_tag;

    #[test]
    fn a_port_of_a_registry_is_no_tag() {
        assert!(has_tag("a:1") && has_tag("r:5000/a:1") && has_tag("a@sha256:00"));
        assert!(!has_tag("a") && !has_tag("r:5000/a"));
    }
}
