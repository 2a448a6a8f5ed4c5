//! From a new fleet file to a new fleet in force: plan, then apply.
//!
//! A configuration that cannot be read changes nothing. One apply runs at a
//! time, so two that come together never mix.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use claw_core::plan::{Change, ChangeKind, ReloadClass, diff};
use claw_core::{AgentName, Answer, Command, FleetSpec};
use claw_failpoint::Step;
use tokio::sync::Mutex;

use crate::agent_api::AgentApi;
use crate::api::FieldError;
use crate::config::{self, Diagnostics, Environment, Loaded, Reload};
use crate::egress::Egress;
pub use crate::http::ports::ConfigSource;
use crate::http::ports::{AskError, ReloadFailure};
use crate::supervise::Handle;

/// What an apply did.
#[derive(Debug, Clone)]
pub struct Applied {
    /// All that was planned.
    pub changes: Vec<Change>,
    /// Agents left as they were, because `reload: hot` restarts nobody.
    pub held_back: Vec<AgentName>,
}

/// Plans and applies configurations; cheap to clone.
#[derive(Clone)]
pub struct Reloader {
    shared: Arc<Shared>,
}

struct Shared {
    file: PathBuf,
    last_good: PathBuf,
    environment: Environment,
    handle: Handle,
    agent_api: AgentApi,
    egress: Egress,
    current: RwLock<Arc<Loaded>>,
    applying: Mutex<()>,
}

impl Reloader {
    /// Takes over with `loaded` in force.
    #[must_use]
    pub(crate) fn new(
        file: PathBuf,
        last_good: PathBuf,
        environment: Environment,
        (handle, agent_api, egress): (Handle, AgentApi, Egress),
        loaded: Loaded,
    ) -> Self {
        let current = RwLock::new(Arc::new(loaded));
        let applying = Mutex::new(());
        Self {
            shared: Arc::new(Shared {
                file,
                last_good,
                environment,
                handle,
                agent_api,
                egress,
                current,
                applying,
            }),
        }
    }

    /// The fleet file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.shared.file
    }

    /// The configuration in force.
    #[must_use]
    pub fn current(&self) -> Arc<Loaded> {
        Arc::clone(
            &self
                .shared
                .current
                .read()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// What applying `source` would change.
    ///
    /// # Errors
    ///
    /// The configuration cannot be read.
    pub async fn plan(&self, source: ConfigSource) -> Result<Vec<Change>, ReloadFailure> {
        let new = self.read(source).await?;
        Ok(diff(&self.current().fleet, &new.fleet))
    }

    /// Puts `source` in force: only agents that changed are touched.
    ///
    /// # Errors
    ///
    /// The configuration cannot be read or taken; the old one stays in force, whole.
    pub async fn apply(&self, source: ConfigSource) -> Result<Applied, ReloadFailure> {
        let _one_at_a_time = self.shared.applying.lock().await;
        let mut new = self.read(source).await?;
        let old = self.current();
        fixed_keys(&old, &new)?;
        let changes = diff(&old.fleet, &new.fleet);
        let held_back = match new.supervisor.reload {
            Reload::Hot => hold_back(&old.fleet, &mut new.fleet, &changes),
            Reload::Hybrid | Reload::Restart | Reload::Off => Vec::new(),
        };
        // Every agent finds its socket, and what it may do, before it is started.
        let agent_api = &self.shared.agent_api;
        let arranged = agent_api.configure(&new).await;
        arranged.map_err(|error| ReloadFailure::Invalid(vec![unarranged(&error)]))?;
        let ported = agent_api.models().configure(&new, agent_api).await;
        ported.map_err(|error| ReloadFailure::Invalid(vec![unarranged(&error)]))?;
        let opened = agent_api.serve_all().await;
        opened.map_err(|error| ReloadFailure::Invalid(vec![unarranged(&error)]))?;
        // Who is started with new hosts finds them in force; who loses some loses them now.
        self.shared.egress.configure(&new.fleet);
        let answer = self
            .shared
            .handle
            .configure(Arc::new(new.fleet.clone()))
            .await?;
        debug_assert!(
            matches!(answer, Answer::Configured { .. }),
            "configure answers Configured"
        );
        if new.supervisor.reload == Reload::Restart {
            self.restart_live(&changes).await?;
        }
        agent_api.sandboxes().configure(&new.sandboxes);
        remember(&self.shared.last_good, &new.text).await;
        self.replace_current(new);
        Ok(Applied { changes, held_back })
    }

    /// Puts what programs declare of themselves into force, and nothing else.
    pub(crate) async fn redeclare(&self) {
        let _one_at_a_time = self.shared.applying.lock().await;
        let (shared, mut new) = (Arc::clone(&self.shared), Loaded::clone(&self.current()));
        let completed = tokio::task::spawn_blocking(move || {
            shared.agent_api.complete(&mut new);
            new
        });
        let Ok(new) = completed.await else {
            return;
        };
        let fleet = Arc::new(new.fleet.clone());
        match self.shared.handle.configure(fleet).await {
            Ok(_configured) => self.replace_current(new),
            Err(error) => tracing::warn!(%error, "a declared schedule is not in force"),
        }
    }

    fn replace_current(&self, new: Loaded) {
        let current = self.shared.current.write();
        *current.unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
    }

    async fn read(&self, source: ConfigSource) -> Result<Loaded, ReloadFailure> {
        let shared = Arc::clone(&self.shared);
        let loaded = tokio::task::spawn_blocking(move || {
            let loaded = match source {
                ConfigSource::File => config::load(&shared.file, &shared.environment),
                ConfigSource::Text(text) => {
                    config::load_str(&text, &shared.file, &shared.environment)
                }
            };
            loaded.map(|mut loaded| {
                shared.agent_api.complete(&mut loaded);
                loaded
            })
        });
        loaded
            .await
            .expect("the loader does not panic: a property test holds it to that")
            .map_err(|diagnostics| ReloadFailure::Invalid(field_errors(&diagnostics)))
    }

    /// `reload: restart` restarts an agent also for a change that it could take over live.
    async fn restart_live(&self, changes: &[Change]) -> Result<(), AskError> {
        for change in changes
            .iter()
            .filter(|change| change.class() == Some(ReloadClass::Live))
        {
            let agent = change.agent.clone();
            self.shared.handle.ask(Command::Restart { agent }).await?;
        }
        Ok(())
    }
}

fn unarranged(error: &dyn std::error::Error) -> FieldError {
    FieldError {
        message: error.to_string(),
        file: None,
        line: None,
        column: None,
        path: None,
        help: None,
    }
}

fn field_errors(diagnostics: &Diagnostics) -> Vec<FieldError> {
    let error = |problem: config::Problem| {
        let place = problem.place;
        FieldError {
            message: problem.message,
            file: place.as_ref().map(|place| place.file.clone()),
            line: place.as_ref().map(|place| place.line),
            column: place.as_ref().map(|place| place.column),
            path: Some(problem.path).filter(|path| !path.is_empty()),
            help: problem.help,
        }
    };
    diagnostics.to_json().into_iter().map(error).collect()
}

/// Keeps the text that is in force, for a start with a broken file. A copy that cannot be kept is
/// not worth failing the apply; the one before it stays then, whole.
pub(crate) async fn remember(last_good: &Path, text: &str) {
    let (path, text) = (last_good.to_owned(), text.to_owned());
    let written = tokio::task::spawn_blocking(move || replace(&path, &text)).await;
    let written = written.unwrap_or_else(|panicked| Err(std::io::Error::other(panicked)));
    if let Err(error) = written {
        tracing::warn!(path = %last_good.display(), %error, "cannot keep the last good fleet file");
    }
}

/// Writes beside, then in place: whoever reads sees the old text or the new one, whole.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let fresh = path.with_extension("yaml.new");
    let mut file = File::options()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    claw_failpoint::before(Step::LastGood);
    std::fs::rename(&fresh, path)?;
    claw_failpoint::after(Step::LastGood);
    Ok(())
}

fn fixed_keys(old: &Loaded, new: &Loaded) -> Result<(), ReloadFailure> {
    if old.uids != new.uids {
        let key = "security.sandbox.uid_range".to_owned();
        return Err(ReloadFailure::NeedsRestart(key));
    }
    if old.lockdown != new.lockdown {
        let key = "security.lockdown".to_owned();
        return Err(ReloadFailure::NeedsRestart(key));
    }
    let (old, new) = (&old.supervisor, &new.supervisor);
    if old.data_dir != new.data_dir {
        return Err(ReloadFailure::NeedsRestart(
            "supervisor.data_dir".to_owned(),
        ));
    }
    if old.listen != new.listen {
        return Err(ReloadFailure::NeedsRestart("supervisor.listen".to_owned()));
    }
    if old.engine != new.engine {
        return Err(ReloadFailure::NeedsRestart("supervisor.engine".to_owned()));
    }
    Ok(())
}

/// Leaves every agent that would have to be restarted as it is.
fn hold_back(old: &FleetSpec, new: &mut FleetSpec, changes: &[Change]) -> Vec<AgentName> {
    let mut held_back = Vec::new();
    for change in changes {
        let needs_restart = change.class() == Some(ReloadClass::Restart);
        let (true, ChangeKind::Changed { .. }, Some(spec)) =
            (needs_restart, &change.kind, old.agents.get(&change.agent))
        else {
            continue;
        };
        new.agents.insert(change.agent.clone(), Arc::clone(spec));
        held_back.push(change.agent.clone());
    }
    held_back
}
