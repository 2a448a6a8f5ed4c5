//! Gives this supervisor's place to another executable, under running agents.
//!
//! ```text
//!  asked ──► foreground, service ─────────────► refused
//!    └─────► executable checks our data ──no──► refused
//!              └─► somebody stands by, we end ──► see `claw_drivers::process::Successor`
//! ```

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use claw_core::event::ShutdownMode;
use claw_drivers::process::{ProcessDriver, Successor};
use claw_store::{Database, VersionError};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

use crate::api::{DataCheck, DataFile, UpgradeBegun};
use crate::data_dir;
use crate::http::ports::{UpgradeQuestion, UpgradeRefusal};
use crate::supervise::Handle;

/// How long an executable may take to look at our data.
const CHECK: Duration = Duration::from_secs(20);

/// More than it has to say.
const CHECK_BYTES: u64 = 64 * 1024;

/// Who watches the process of the supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watched {
    /// Nobody: it was sent to the background.
    Nobody,
    /// A terminal, a service manager, or another program.
    ByStarter,
}

/// Looks at the databases of a data directory, and changes nothing.
///
/// # Errors
///
/// One of them cannot be read, or is something else.
pub fn check_data(data_dir: &Path) -> Result<DataCheck, VersionError> {
    let mut files = Vec::new();
    for (database, name) in [
        (Database::Journal, data_dir::JOURNAL),
        (Database::Store, data_dir::STORE),
        (Database::Store, data_dir::CALLS),
    ] {
        let path = data_dir.join(name);
        let version = database.version(&path)?;
        files.extend(version.map(|version| DataFile {
            path,
            found: version.found,
            known: version.known,
        }));
    }
    Ok(DataCheck {
        program: DataCheck::PROGRAM.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        files,
    })
}

/// Upgrades of this supervisor, of which there is one at most.
pub(crate) struct Upgrades {
    watched: Watched,
    data_dir: PathBuf,
    processes: Arc<ProcessDriver>,
    handle: Handle,
    begun: AtomicBool,
}

impl Upgrades {
    pub(crate) const fn new(
        watched: Watched,
        data_dir: PathBuf,
        processes: Arc<ProcessDriver>,
        handle: Handle,
    ) -> Self {
        Self {
            watched,
            data_dir,
            processes,
            handle,
            begun: AtomicBool::new(false),
        }
    }

    /// Begins one: when this returns, the supervisor is ending and its successor awaits that.
    pub(crate) async fn begin(
        &self,
        question: UpgradeQuestion,
    ) -> Result<UpgradeBegun, UpgradeRefusal> {
        match self.watched {
            Watched::Nobody => {}
            Watched::ByStarter if std::env::var_os("INVOCATION_ID").is_some() => {
                return Err(UpgradeRefusal::Service);
            }
            Watched::ByStarter => {
                let binary = question.binary;
                return Err(UpgradeRefusal::Foreground { binary });
            }
        }
        if self.begun.swap(true, Ordering::Relaxed) {
            return Err(UpgradeRefusal::UnderWay);
        }
        let begun = self.hand_over(question).await;
        match begun {
            Ok(_) => self.handle.shutdown(ShutdownMode::Keep).await,
            Err(_) => self.begun.store(false, Ordering::Relaxed),
        }
        begun
    }

    async fn hand_over(&self, question: UpgradeQuestion) -> Result<UpgradeBegun, UpgradeRefusal> {
        let UpgradeQuestion { binary, patience } = question;
        let check = ask(&binary, &self.data_dir).await;
        let check = check.map_err(|detail| UpgradeRefusal::NotOurs {
            binary: binary.clone(),
            detail,
        })?;
        let (version, files) = (check.version, check.files);
        if let Some(file) = files.iter().find(|file| file.found > file.known) {
            return Err(UpgradeRefusal::TooOld {
                binary,
                version,
                file: file.path.clone(),
                found: file.found,
                known: file.known,
            });
        }
        let outcome = self.data_dir.join("upgrade.json");
        // That of an upgrade before; where it cannot be removed, it is replaced.
        tokio::fs::remove_file(&outcome).await.ok();
        let successor = Successor {
            binary,
            socket: self.data_dir.join(data_dir::CONTROL_SOCKET),
            log: self.data_dir.join("supervisor.log"),
            outcome: outcome.clone(),
            patience,
        };
        let handed_over = self.processes.hand_over(successor).await;
        handed_over.map_err(UpgradeRefusal::Spawn)?;
        tracing::info!(
            version,
            "ending, for another executable; agents go on running"
        );
        let migrated = files.into_iter().filter(|file| file.found < file.known);
        Ok(UpgradeBegun {
            version,
            outcome,
            migrates: migrated.map(|file| file.path).collect(),
        })
    }
}

/// Has an executable look at our data; else what it did, for people.
async fn ask(binary: &Path, data_dir: &Path) -> Result<DataCheck, String> {
    let mut command = Command::new(binary);
    command
        .arg("check-data")
        .arg(data_dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let child = command.spawn();
    let child = child.map_err(|error| format!("it cannot be executed: {error}"))?;
    let answered = tokio::time::timeout(CHECK, answer(child)).await;
    let text = answered
        .map_err(|_elapsed| format!("`check-data` took longer than {} s", CHECK.as_secs()))?
        .map_err(|error| format!("`check-data` could not be read: {error}"))?;
    let check: DataCheck = serde_json::from_slice(&text).map_err(|_unlike| {
        "it does not answer `check-data`, as another program or an older clawctl; the latter takes \
         over by hand: `clawctl down --keep`, then its `up --detach`"
            .to_owned()
    })?;
    if check.program == DataCheck::PROGRAM {
        Ok(check)
    } else {
        Err(format!(
            "it says that it is `{}`",
            check.program.escape_default()
        ))
    }
}

async fn answer(mut child: Child) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    if let Some(output) = child.stdout.take() {
        output.take(CHECK_BYTES).read_to_end(&mut text).await?;
    }
    child.wait().await?;
    Ok(text)
}
