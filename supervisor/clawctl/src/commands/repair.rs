//! `clawctl doctor [--fix]`, as far as it is about the data directory.

use std::fmt;
use std::path::{Path, PathBuf};

use claw_core::Wall;
use claw_daemon::data_dir::DataDir;
use claw_daemon::repair::{Examination, Fault, MendError};
use serde::Serialize;

use crate::exit::{Exit, Failure};
use crate::print;

/// Whether what is wrong is mended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mending {
    /// It is said what would be done.
    Foretold,
    Now,
}

impl From<bool> for Mending {
    fn from(fix: bool) -> Self {
        if fix { Self::Now } else { Self::Foretold }
    }
}

/// What was found of the data directory.
#[derive(Serialize)]
pub(super) struct DataReport {
    path: PathBuf,
    journal: bool,
    last_backup: Option<Wall>,
    faults: Vec<FaultReport>,
}

#[derive(Serialize)]
struct FaultReport {
    what: String,
    /// What `--fix` would do.
    fix: Option<String>,
}

impl DataReport {
    pub(super) fn of(path: &Path, examination: &Examination) -> Self {
        let faults = examination.faults.iter().map(|fault| FaultReport {
            what: fault.to_string(),
            fix: fault.prospect(),
        });
        Self {
            path: path.to_owned(),
            journal: examination.journal,
            last_backup: examination.backup.as_ref().map(|backup| backup.at),
            faults: faults.collect(),
        }
    }
}

impl fmt::Display for DataReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "data         {}: ", self.path.display())?;
        match (self.faults.len(), self.journal) {
            (0, true) => f.write_str("its databases are whole")?,
            (0, false) => return f.write_str("there is no journal yet"),
            (1, _) => f.write_str("something is wrong, see below")?,
            (several, _) => write!(f, "{several} things are wrong, see below")?,
        }
        match self.last_backup {
            Some(at) => write!(f, "; the journal was copied last at {at:.0}"),
            None => f.write_str("; there is no copy of the journal yet"),
        }
    }
}

/// Mends what is wrong with the data directory, or says what there is to mend.
///
/// # Errors
///
/// Something is wrong and stays so, or a supervisor runs on the directory.
pub(super) fn mend(
    path: &Path,
    examination: &Examination,
    mending: Mending,
) -> Result<(), Failure> {
    let faults = &examination.faults;
    if faults.is_empty() {
        return Ok(());
    }
    match mending {
        Mending::Foretold => return Err(told(faults)),
        Mending::Now => {}
    }
    let exclusive = faults.iter().any(Fault::takes_ownership);
    let _owned = exclusive.then(|| own(path)).transpose()?;
    let now = Wall::now();
    let mut left = Vec::new();
    for fault in faults {
        let mended = fault.mend(path, now);
        match mended.map_err(failed)? {
            Some(done) => print::line(&format!("fixed        {done}"))?,
            None => left.push(fault),
        }
    }
    if left.is_empty() {
        return Ok(());
    }
    Err(Failure::new(Exit::Failed, lines(left)).hint("this cannot be mended from here"))
}

fn own(path: &Path) -> Result<DataDir, Failure> {
    DataDir::own(path).map_err(|error| {
        let hint = "nothing was changed; `clawctl down --keep` ends the supervisor and leaves the \
                    agents running, then try again";
        Failure::new(Exit::Refused, error.to_string()).hint(hint)
    })
}

fn failed(error: MendError) -> Failure {
    Failure::new(Exit::Failed, format!("{:#}", anyhow::Error::from(error)))
}

fn told(faults: &[Fault]) -> Failure {
    let failure = Failure::new(Exit::Failed, lines(faults));
    let prospects: Vec<_> = faults.iter().filter_map(Fault::prospect).collect();
    if prospects.is_empty() {
        return failure;
    }
    let prospects = prospects.join(", and ");
    failure.hint(format!("`clawctl doctor --fix` {prospects}"))
}

fn lines<'a>(faults: impl IntoIterator<Item = &'a Fault>) -> String {
    let lines = faults.into_iter().map(Fault::to_string);
    lines.collect::<Vec<_>>().join("\n")
}
