//! One container that waits for its command, or was made for one.

use std::sync::Arc;
use std::time::Duration;

use bollard::models::{ContainerCreateBody, HostConfigLogConfig};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, StartContainerOptions,
};
use tokio::time::Instant;

use super::super::create::{USER, confinement, suit};
use super::super::engine::{Client, QUICK, SLOW};
use super::super::fault::EngineError;
use super::super::image;
use super::super::progress::Teller;
use super::command::pairs;
use super::housing::Housing;
use super::outcome::RunError;
use super::spec::{SandboxSpec, WORKING_DIR};

/// How long an image may take to be there.
const FETCH_TIME: Duration = Duration::from_secs(600);

/// What a container lives beyond the last moment that it is needed.
const SPARE: Duration = Duration::from_secs(60);

/// A container that is removed when it is dropped.
#[derive(Debug)]
pub(super) struct Sandbox {
    pub(super) name: String,
    /// What the engine calls it.
    pub(super) id: String,
    pub(super) client: Arc<Client>,
    pub(super) born: Instant,
    /// Of its main process on this machine; 0: not known.
    pub(super) pid: u32,
    housing: Arc<Housing>,
}

/// Why there is no container that waits.
#[derive(Debug)]
pub(super) enum NotReady {
    /// The image has no program that waits.
    CannotWait,
    /// It could not be made.
    Failed(RunError),
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        Housing::remove(&self.housing, std::mem::take(&mut self.name));
    }
}

impl Sandbox {
    /// Makes a container that waits, and starts it.
    pub(super) async fn ready(
        housing: &Arc<Housing>,
        sandbox: &str,
        spec: &SandboxSpec,
    ) -> Result<Self, NotReady> {
        // It ends by itself should nobody be there to end it.
        let life = spec.max_age + spec.timeout + SPARE;
        let waiting = ["sleep".to_owned(), life.as_secs().to_string()];
        let mut body = Self::body(spec, &waiting);
        if let Some(host) = &mut body.host_config {
            host.auto_remove = Some(true);
            // Nothing here needs a reaper for the seconds that one command takes, and without it
            // the engine says at once whether there is a `sleep`.
            host.init = Some(false);
        }
        let failed = NotReady::Failed;
        let mut made = Self::create(housing, sandbox, spec, body)
            .await
            .map_err(failed)?;
        match made.start().await {
            Ok(()) => {}
            Err(error) if is_missing_program(&error) => return Err(NotReady::CannotWait),
            Err(error) => return Err(failed(error.into())),
        }
        made.pid = made.main_process().await;
        Ok(made)
    }

    /// Makes a container for a command, and does not start it.
    pub(super) async fn cold(
        housing: &Arc<Housing>,
        sandbox: &str,
        spec: &SandboxSpec,
        (program, variables): (&[String], Vec<String>),
    ) -> Result<Self, RunError> {
        let mut body = Self::body(spec, program);
        body.env.get_or_insert_default().extend(variables);
        body.attach_stdin = Some(true);
        body.attach_stdout = Some(true);
        body.attach_stderr = Some(true);
        body.open_stdin = Some(true);
        body.stdin_once = Some(true);
        Self::create(housing, sandbox, spec, body).await
    }

    fn body(spec: &SandboxSpec, program: &[String]) -> ContainerCreateBody {
        let (first, rest) = program.split_at(program.len().min(1));
        let user = spec.user.as_deref().unwrap_or(USER);
        let mut host = confinement(&spec.container, &spec.resources, user);
        // What is written goes to whoever asked, and to no disk.
        host.log_config = Some(HostConfigLogConfig {
            typ: Some("none".to_owned()),
            config: None,
        });
        ContainerCreateBody {
            user: Some(user.to_owned()),
            env: Some(pairs(&spec.env)),
            entrypoint: Some(first.to_vec()),
            cmd: Some(rest.to_vec()),
            image: Some(spec.container.image.clone()),
            working_dir: Some(WORKING_DIR.to_owned()),
            host_config: Some(host),
            ..ContainerCreateBody::default()
        }
    }

    async fn create(
        housing: &Arc<Housing>,
        sandbox: &str,
        spec: &SandboxSpec,
        mut body: ContainerCreateBody,
    ) -> Result<Self, RunError> {
        let client = housing.engine.client().await?;
        fetch(&client, spec).await?;
        suit(client.make, body.host_config.get_or_insert_default());
        let body = ContainerCreateBody {
            labels: Some(housing.labels(sandbox)),
            ..body
        };
        // From here on it is removed, also if the engine makes it and nobody hears of it.
        let mut made = Self {
            name: housing.name(),
            id: String::new(),
            client,
            born: Instant::now(),
            pid: 0,
            housing: Arc::clone(housing),
        };
        let options = CreateContainerOptionsBuilder::new()
            .name(&made.name)
            .build();
        let asked = made.client.docker.create_container(Some(options), body);
        made.id = made.client.within(SLOW, asked).await?.id;
        Ok(made)
    }

    pub(super) async fn start(&self) -> Result<(), EngineError> {
        let started = self
            .client
            .docker
            .start_container(&self.id, None::<StartContainerOptions>);
        self.client.within(SLOW, started).await
    }

    async fn main_process(&self) -> u32 {
        let asked = self
            .client
            .docker
            .inspect_container(&self.id, None::<InspectContainerOptions>);
        let found = self.client.within(QUICK, asked).await.ok();
        let state = found.and_then(|found| found.state);
        let pid = state.and_then(|state| state.pid);
        pid.and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0)
    }
}

/// Sees to the image.
async fn fetch(client: &Client, spec: &SandboxSpec) -> Result<(), RunError> {
    let mut nobody = Teller::silent();
    let fetching = image::ensure(client, &spec.container, &mut nobody);
    match tokio::time::timeout(FETCH_TIME, fetching).await {
        Ok(found) => Ok(found.map(drop)?),
        Err(_elapsed) => Err(RunError::Engine(EngineError::Silent {
            address: client.address.clone(),
            after: FETCH_TIME,
        })),
    }
}

/// Whether the engine says that there is no such program in the image.
pub(super) fn is_missing_program(error: &EngineError) -> bool {
    let said = error.to_string();
    said.contains("executable file not found") || said.contains("no such file or directory")
}
