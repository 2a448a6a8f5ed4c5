//! From the order to a container that runs.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, StartContainerOptions,
};
use claw_core::order::RunContext;
use claw_core::spec::Container;
use claw_core::spec::container::Init;
use claw_core::{AgentSpec, ExitStatus, Fact, SpawnError, SpawnStage, Wall};
use tokio::io::AsyncWriteExt;

use super::create::Blueprint;
use super::driver::Inner;
use super::engine::{Client, Make, QUICK, SLOW};
use super::executed::{self, Executed};
use super::fault::EngineError;
use super::instance::{Asked, Follower};
use super::notify::Notify;
use super::output::{Output, Progress};
use super::progress::Teller;
use super::record::{Record, Stage};
use super::state::{self, Ending, Standing};
use super::{image, name, owner, refusal, sweep};

/// Between two looks whether an engine that fell silent in the midst of a start is back.
const PAUSE: Duration = Duration::from_millis(500);

/// How often a container that nobody knows of is removed to make room for its name.
const ATTEMPTS: usize = 3;

/// How often, and how long in between, an engine is asked for the end of a container that has none
/// of its processes any more.
const LOOKS: usize = 50;
const LOOK: Duration = Duration::from_millis(10);

/// Why there is no container.
enum Failure {
    /// Nothing of this attempt is left to be removed; the record is another's.
    Before(SpawnError),
    /// The record, and perhaps a container.
    After(SpawnError),
}

impl Follower {
    /// Starts the instance and follows it.
    pub(super) async fn spawn(mut self, spec: Arc<AgentSpec>, run: Option<RunContext>) {
        match self.start(&spec, run.as_ref()).await {
            Ok((container, output)) => {
                drop((spec, run));
                self.follow(container, output).await;
            }
            Err(failure) => {
                let instance = self.instance().clone();
                let error = match failure {
                    Failure::Before(error) => error,
                    Failure::After(error) => {
                        self.take_back().await;
                        error
                    }
                };
                self.inner.discard(&instance);
                self.tell(Fact::SpawnFailed { instance, error }).await;
            }
        }
    }

    async fn start(
        &mut self,
        spec: &AgentSpec,
        run: Option<&RunContext>,
    ) -> Result<(String, Output), Failure> {
        let Some(container) = spec.launch.container.as_deref() else {
            let detail = format!("`{}` has no image to run in", self.instance().agent);
            return Err(Failure::Before(prepare(0, detail)));
        };
        // The image is not the instance's: it may be sought while the record is on its way to the
        // disk.
        let intended = intend(Arc::clone(&self.inner), self.record.clone());
        let (intended, fetched) = tokio::join!(intended, self.fetch(container));
        intended.map_err(Failure::Before)?;
        let client = fetched.map_err(Failure::After)?;
        let started = self.create_and_start(&client, spec, container, run).await;
        started.map_err(Failure::After)
    }

    /// Sees to the image, and gives up when the instance is not wanted any more.
    async fn fetch(&mut self, container: &Container) -> Result<Arc<Client>, SpawnError> {
        let client = self.inner.engine.client().await;
        let client = client.map_err(|error| unreachable(&error))?;
        let instance = self.instance().clone();
        let mut teller = Teller::new(Arc::clone(&self.inner), instance);
        let mut ensuring = std::pin::pin!(image::ensure(&client, container, &mut teller));
        let id = loop {
            tokio::select! {
                done = &mut ensuring => break done?,
                Some(mail) = self.mail.recv() => {
                    self.take(mail);
                    self.check_wanted()?;
                }
            }
        };
        self.inner.note_image(self.instance(), &id);
        self.record.image = Some(id);
        self.record.reference = Some(container.image.clone());
        Ok(Arc::clone(&client))
    }

    fn check_wanted(&self) -> Result<(), SpawnError> {
        if self.wants.calls_off(self.record.stop_signal) {
            let detail = format!("the start of `{}` was called off", self.instance());
            return Err(prepare(0, detail));
        }
        Ok(())
    }

    async fn create_and_start(
        &mut self,
        client: &Client,
        spec: &AgentSpec,
        container: &Container,
        run: Option<&RunContext>,
    ) -> Result<(String, Output), SpawnError> {
        let (notify, output) = self.make_ready().await?;
        let inner = Arc::clone(&self.inner);
        let instance = self.instance().clone();
        let blueprint = Blueprint {
            project: &inner.project,
            make: client.make,
            instance: &instance,
            spec,
            container,
            run,
            control_env: &inner.control_env,
            notify: &notify,
            owner: None,
        };
        let (id, blueprint) = self.create_owned(client, blueprint).await?;
        self.record.id = Some(id.clone());
        self.record.output = Some(output.place());
        self.record.stage = Stage::Created;
        let saving = self.begin_save();
        self.take_all();
        let started = match self.check_wanted() {
            Ok(()) => self.run(client, &id, &blueprint).await,
            Err(error) => Err(error),
        };
        // Whatever comes of it: nothing may be written after the record is removed.
        saving.finish().await;
        let (pid, at) = started?;
        self.open_way_out(&id, pid).await?;
        self.told_started(&id, pid, at).await;
        Ok((id, output))
    }

    /// Makes what the container needs of the host, and opens the log.
    async fn make_ready(&mut self) -> Result<(PathBuf, Output), SpawnError> {
        let instance = self.instance().clone();
        let progress = Progress {
            facts: self.inner.facts.clone(),
            instance: instance.clone(),
            interval: self.record.progress,
            last: None,
        };
        let place = self.inner.place(&self.record);
        let dir = self.inner.records.notify(&instance);
        let ready = tokio::task::spawn_blocking(move || {
            let notify = Notify::bind(&dir)?;
            Ok::<_, io::Error>((notify, dir, Output::open(&place, None, progress)))
        });
        match ready.await {
            Ok(Ok((notify, dir, output))) => {
                self.notify = Some(notify);
                Ok((dir, output))
            }
            Ok(Err(error)) => {
                let errno = error.raw_os_error().unwrap_or(0);
                let detail = format!("its notification socket cannot be made: {error}");
                Err(prepare(errno, detail))
            }
            Err(_ending) => Err(prepare(0, "the supervisor is ending".to_owned())),
        }
    }

    /// Creates the container with the right owner of what is in memory.
    async fn create_owned<'a>(
        &mut self,
        client: &Client,
        mut blueprint: Blueprint<'a>,
    ) -> Result<(String, Blueprint<'a>), SpawnError> {
        let user = blueprint.user().to_owned();
        let image = self.record.image.clone().unwrap_or_default();
        // Podman finds the owner itself.
        if client.make == Make::Podman || !owner::is_name(&user) {
            return Ok((self.create(client, &blueprint).await?, blueprint));
        }
        let inner = Arc::clone(&self.inner);
        let known = inner.owners.known(&image, &user);
        blueprint.owner = known.clone().flatten();
        let id = self.create(client, &blueprint).await?;
        if known.is_some() {
            return Ok((id, blueprint));
        }
        let found = inner.owners.look_up(client, &id, (&image, &user)).await;
        if found.is_none() {
            return Ok((id, blueprint));
        }
        let removed = sweep::remove(client, &id).await;
        removed.map_err(|error| unreachable(&error))?;
        blueprint.owner = found;
        Ok((self.create(client, &blueprint).await?, blueprint))
    }

    /// Creates the container; its id. The name is taken at once with it, so there is never a
    /// second one.
    async fn create(
        &mut self,
        client: &Client,
        blueprint: &Blueprint<'_>,
    ) -> Result<String, SpawnError> {
        if let Some(path) = blueprint.missing_source() {
            let path = path.display();
            return Err(prepare(
                nix::libc::ENOENT,
                format!("a mount cannot be made: {path} does not exist"),
            ));
        }
        let container = name::container(&self.inner.project, self.instance());
        self.asked = Asked::ToCreate;
        for _ in 0..ATTEMPTS {
            let options = CreateContainerOptionsBuilder::new()
                .name(&container)
                .build();
            let body = blueprint.body();
            let asked = client.docker.create_container(Some(options), body);
            let error = match client.within(SLOW, asked).await {
                Ok(created) => {
                    for warning in created.warnings {
                        tracing::warn!(instance = %self.instance(), %warning, "the container engine warns");
                    }
                    return Ok(created.id);
                }
                Err(error) => error,
            };
            if error.is_away() {
                self.wait_for_engine(client, &error).await?;
            } else if !error.is_name_taken() {
                return Err(refusal::start(blueprint.spec, &program(blueprint), &error));
            }
            if let Some(id) = self.settle_name(client, &container).await? {
                return Ok(id);
            }
        }
        let detail = format!("the name `{container}` of a container does not become free");
        Err(prepare(0, detail))
    }

    /// Finds out who has our name: a container that an unanswered request made is taken, one that
    /// an earlier life left is removed, and one that is not ours is left alone.
    async fn settle_name(
        &mut self,
        client: &Client,
        container: &str,
    ) -> Result<Option<String>, SpawnError> {
        let looked = state::look(client, &self.inner.project, container).await;
        let found = match looked {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(None),
            Err(error) => return Err(unreachable(&error)),
        };
        if found.owner.as_ref() != Some(self.instance()) {
            let short = found.id.get(..12).unwrap_or(&found.id);
            let detail = format!(
                "the name `{container}` is taken by a container that is not ours ({short}): remove \
                 it with `docker rm -f {short}`, or rename it"
            );
            return Err(prepare(0, detail));
        }
        match found.standing {
            Standing::Created => Ok(Some(found.id)),
            Standing::Running { .. } | Standing::Ended(_) | Standing::Leaving => {
                let removed = sweep::remove(client, &found.id).await;
                removed.map_err(|error| unreachable(&error))?;
                Ok(None)
            }
        }
    }

    /// Starts the container; its process, and since when it runs.
    async fn run(
        &mut self,
        client: &Client,
        id: &str,
        blueprint: &Blueprint<'_>,
    ) -> Result<(u32, Wall), SpawnError> {
        let refused =
            |error: &EngineError| refusal::start(blueprint.spec, &program(blueprint), error);
        if let Some(payload) = blueprint.payload() {
            let fed = self.feed(client, id, payload.to_owned()).await;
            fed.map_err(|error| refused(&error))?;
        }
        let (pid, at) = loop {
            let asked = client
                .docker
                .start_container(id, None::<StartContainerOptions>);
            let mut away = match client.within(SLOW, asked).await {
                Ok(()) => None,
                Err(error) if error.is_away() => Some(error),
                Err(error) => return Err(refused(&error)),
            };
            // What the engine was asked for last may have been done, or not.
            let found = loop {
                if let Some(error) = &away {
                    self.wait_for_engine(client, error).await?;
                }
                match state::look(client, &self.inner.project, id).await {
                    Ok(found) => break found,
                    Err(error) if error.is_away() => away = Some(error),
                    Err(error) => return Err(refused(&error)),
                }
            };
            match found.map(|found| found.standing) {
                Some(Standing::Running { pid, at, .. }) => break (pid, at),
                // It has ended already; the follower tells how.
                Some(Standing::Ended(ending)) => break (0, ending.at),
                Some(Standing::Created) if away.is_some() => self.check_wanted()?,
                Some(Standing::Created | Standing::Leaving) | None => {
                    let detail = "the container was taken away while it was started".to_owned();
                    return Err(prepare(0, detail));
                }
            }
        };
        if blueprint.container.init == Init::Engine {
            self.check_executed(client, id, pid, &program(blueprint))
                .await?;
        }
        Ok((pid, at))
    }

    /// Whether the small first process could execute the program: to the engine, a start that
    /// fails there is one that went well.
    async fn check_executed(
        &self,
        client: &Client,
        id: &str,
        pid: u32,
        program: &str,
    ) -> Result<(), SpawnError> {
        let worker = id.to_owned();
        let waited = tokio::task::spawn_blocking(move || executed::wait(pid, &worker)).await;
        if matches!(waited, Ok(Executed::Yes)) {
            return Ok(());
        }
        let Some(ending) = self.ending(client, id).await else {
            return Ok(());
        };
        if ending.status == ExitStatus::Code(0) {
            return Ok(());
        }
        let Some(why) = executed::last_words(client, id).await else {
            return Ok(());
        };
        let missing = why.contains("no such file");
        Err(SpawnError {
            stage: SpawnStage::Exec,
            errno: if missing {
                nix::libc::ENOENT
            } else {
                nix::libc::EACCES
            },
            detail: format!("cannot execute `{program}` in the image: {why}"),
        })
    }

    /// How a container ended whose first process is not to be seen any more; `None`: it was not to
    /// be seen at all. An engine may need a moment to take notice.
    async fn ending(&self, client: &Client, id: &str) -> Option<Ending> {
        for _ in 0..LOOKS {
            let found = state::look(client, &self.inner.project, id).await.ok()??;
            match found.standing {
                Standing::Ended(ending) => return Some(ending),
                Standing::Running { pid, .. } if executed::is_gone(pid) => {
                    tokio::time::sleep(LOOK).await;
                }
                Standing::Running { .. } | Standing::Created | Standing::Leaving => return None,
            }
        }
        None
    }

    /// Writes the payload to the container's standard input, as it reads.
    async fn feed(&self, client: &Client, id: &str, payload: String) -> Result<(), EngineError> {
        let options = AttachContainerOptionsBuilder::new()
            .stdin(true)
            .stream(true)
            .build();
        let attached = client.docker.attach_container(id, Some(options));
        let mut attached = client.within(QUICK, attached).await?;
        // It ends with the container at the latest.
        self.inner.start_task(async move {
            let written = attached.input.write_all(payload.as_bytes()).await;
            if written.is_ok() {
                attached.input.shutdown().await.ok();
            }
        });
        Ok(())
    }

    async fn told_started(&mut self, id: &str, pid: u32, at: Wall) {
        self.record.stage = Stage::Started { pid, at };
        let instance = self.instance().clone();
        self.inner.note_running(&instance, id, pid);
        let image = self.record.made_of();
        self.tell(Fact::Started {
            instance,
            pid,
            at,
            image,
        })
        .await;
        self.save().await;
    }

    /// Waits for an engine that fell silent, without which nobody knows what it has done.
    async fn wait_for_engine(
        &mut self,
        client: &Client,
        error: &EngineError,
    ) -> Result<(), SpawnError> {
        let instance = self.instance().clone();
        let mut teller = Teller::new(Arc::clone(&self.inner), instance);
        teller
            .tell(format!("waiting for the container engine: {error}"))
            .await;
        let back = async {
            while client.within(QUICK, client.docker.ping()).await.is_err() {
                tokio::time::sleep(PAUSE).await;
            }
        };
        teller.beat_or(back).await;
        self.take_all();
        self.check_wanted()
    }

    /// Removes what there is of a start that failed.
    async fn take_back(&self) {
        let instance = self.instance().clone();
        match self.asked {
            Asked::Nothing => self.inner.bury(&instance).await,
            Asked::ToCreate => sweep::release(Arc::clone(&self.inner), instance).await,
        }
    }
}

/// Writes the record, before anything of the instance exists.
async fn intend(inner: Arc<Inner>, record: Record) -> Result<(), SpawnError> {
    let instance = record.instance.clone();
    let written = tokio::task::spawn_blocking(move || inner.records.intend(&record)).await;
    let error = match written {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => error,
        Err(_ending) => io::ErrorKind::Interrupted.into(),
    };
    let errno = error.raw_os_error().unwrap_or(0);
    Err(if error.kind() == io::ErrorKind::AlreadyExists {
        let why = "this generation has run already";
        prepare(errno, format!("`{instance}` was not started: {why}"))
    } else {
        prepare(
            errno,
            format!("the record of `{instance}` cannot be written: {error}"),
        )
    })
}

/// The program, for messages.
fn program(blueprint: &Blueprint<'_>) -> String {
    let entry = blueprint.container.entrypoint.as_ref();
    let first = entry.and_then(|entry| entry.first());
    first
        .or_else(|| blueprint.spec.launch.command.first())
        .cloned()
        .unwrap_or_else(|| "the program of the image".to_owned())
}

fn unreachable(error: &EngineError) -> SpawnError {
    SpawnError {
        stage: SpawnStage::Engine,
        errno: 0,
        detail: error.to_string(),
    }
}

fn prepare(errno: i32, detail: String) -> SpawnError {
    SpawnError {
        stage: SpawnStage::Prepare,
        errno,
        detail,
    }
}
