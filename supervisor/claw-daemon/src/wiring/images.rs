//! What the images of live containers are.

use std::path::PathBuf;

use claw_core::InstanceId;
use serde::Deserialize;

/// Of the driver's record of a container, what is wanted here.
#[derive(Deserialize)]
struct Record {
    image: Option<String>,
}

/// The image's own id, from the record that the driver keeps of each container; see
/// `claw_drivers::container`.
pub(super) async fn digest(data_dir: PathBuf, instance: InstanceId) -> Option<String> {
    let file = format!("{}.json", instance.generation);
    let path = data_dir
        .join("containers")
        .join(instance.agent.as_str())
        .join(file);
    let text = tokio::fs::read(path).await.ok()?;
    serde_json::from_slice::<Record>(&text).ok()?.image
}
