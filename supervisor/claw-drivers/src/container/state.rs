//! What the engine says of a container.

use bollard::models::{
    ContainerInspectResponse, ContainerState, ContainerStateStatusEnum as Status,
};
use bollard::query_parameters::InspectContainerOptions;
use claw_core::{ExitStatus, InstanceId, Wall};

use super::engine::{Client, QUICK};
use super::fault::EngineError;
use super::name;
use super::record::Pace;

/// A container that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) id: String,
    /// The id of its image.
    pub(super) image: Option<String>,
    /// Whose it is by its labels; `None`: not of this project.
    pub(super) owner: Option<InstanceId>,
    pub(super) standing: Standing,
}

/// Where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It was never started.
    Created,
    Running {
        pid: u32,
        at: Wall,
        pace: Pace,
    },
    Ended(Ending),
    /// Somebody removes it at this moment.
    Leaving,
}

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) status: ExitStatus,
    pub(super) at: Wall,
    /// Something in it was killed for memory, not always its main process.
    pub(super) out_of_memory: bool,
}

/// Looks at a container, by its name or its id.
pub(super) async fn look(
    client: &Client,
    project: &str,
    container: &str,
) -> Result<Option<Found>, EngineError> {
    let asked = client
        .docker
        .inspect_container(container, None::<InspectContainerOptions>);
    match client.within(QUICK, asked).await {
        Ok(found) => Ok(Some(read(project, found))),
        Err(error) if error.status() == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

fn read(project: &str, found: ContainerInspectResponse) -> Found {
    let labels = found.config.and_then(|config| config.labels);
    Found {
        id: found.id.unwrap_or_default(),
        image: found.image,
        owner: labels.and_then(|labels| name::instance(project, &labels)),
        standing: standing(&found.state.unwrap_or_default()),
    }
}

fn standing(state: &ContainerState) -> Standing {
    let time = |text: &Option<String>| text.as_deref().and_then(|text| text.parse().ok());
    match state.status.unwrap_or(Status::EMPTY) {
        Status::CREATED | Status::EMPTY => Standing::Created,
        Status::REMOVING => Standing::Leaving,
        Status::RUNNING | Status::PAUSED | Status::RESTARTING | Status::STOPPING => {
            let paused = state.paused.unwrap_or(false);
            Standing::Running {
                pid: state
                    .pid
                    .and_then(|pid| u32::try_from(pid).ok())
                    .unwrap_or(0),
                at: time(&state.started_at).unwrap_or_else(Wall::now),
                pace: if paused { Pace::Frozen } else { Pace::Running },
            }
        }
        Status::EXITED | Status::DEAD => Standing::Ended(Ending {
            status: status(state.exit_code.unwrap_or(0)),
            at: time(&state.finished_at).unwrap_or_else(Wall::now),
            out_of_memory: state.oom_killed.unwrap_or(false),
        }),
    }
}

/// The engine, and the small first process it adds, tell a death by signal as 128 and its number.
pub(super) fn status(code: i64) -> ExitStatus {
    match i32::try_from(code) {
        Ok(code @ 129..=192) => ExitStatus::Signal(code - 128),
        Ok(code) => ExitStatus::Code(u8::try_from(code & 0xff).unwrap_or(u8::MAX)),
        Err(_too_large) => ExitStatus::Code(u8::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_above_128_are_signals_as_far_as_there_are_any() {
        for (code, expected) in [
            (0, ExitStatus::Code(0)),
            (128, ExitStatus::Code(128)),
            (137, ExitStatus::Signal(9)),
            (192, ExitStatus::Signal(64)),
            (193, ExitStatus::Code(193)),
            (255, ExitStatus::Code(255)),
        ] {
            assert_eq!(status(code), expected);
        }
    }
}
