//! The program, its surroundings and its limits.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::container::Container;
use super::sandbox::Sandbox;

/// The program and its surroundings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Launch {
    /// The program and its arguments; never run by a shell. At least one element, but for a
    /// container, whose image has a program of its own.
    pub command: Vec<String>,
    /// The container that it runs in; `None` for a child process.
    pub container: Option<Box<Container>>,
    /// How it is confined if it is a child process; `None`: not at all. Containers are by theirs.
    pub sandbox: Option<Box<Sandbox>>,
    /// What it is that the command starts.
    #[serde(skip)]
    pub program: Program,
    /// The environment beside the short list every agent gets.
    pub env: BTreeMap<String, String>,
    /// The secrets granted to it, by name; in its environment, and nowhere else.
    pub secrets: BTreeMap<String, Secret>,
    /// Where it starts, for a container the base of what is relative; absolute.
    pub working_dir: PathBuf,
    /// The user it runs as; `None`: the supervisor's own. For a container `USER[:GROUP]` as the
    /// image knows them, or numbers; `None`: 1000.
    pub user: Option<String>,
    /// Directories that are made, owned by its user and kept; absolute.
    pub data_dirs: Vec<PathBuf>,
    /// Free configuration, handed over as JSON in `OPENCLAW_CONFIG`; `null` when there is none.
    pub config: serde_json::Value,
    /// The port of its loopback interface at which it finds language models; `None`: it has none.
    pub models: Option<u16>,
}

/// What a command starts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Program {
    /// Anything; it finds what it needs by itself.
    #[default]
    Any,
    /// A source that the Python SDK runs: the last word of the command, after those for the SDK.
    Python(Requirements),
}

/// The packages that a source needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Requirements {
    /// Those of the interpreter.
    None,
    /// What a requirements file lists; absolute.
    File(PathBuf),
    /// What would be the lines of one; at least one.
    Lines(Vec<String>),
}

impl Program {
    /// The packages of its own that it wants to have installed, if there are any.
    #[must_use]
    pub const fn own_packages(&self) -> Option<&Requirements> {
        match self {
            Self::Python(wanted @ (Requirements::File(_) | Requirements::Lines(_))) => Some(wanted),
            Self::Python(Requirements::None) | Self::Any => None,
        }
    }
}

/// A value that is never printed, logged or serialised. Two specs with different secrets
/// differ by its digest.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    value: String,
    nature: Nature,
}

/// How secret a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nature {
    /// It was granted as a secret, or is called one: it is masked wherever the agent says it.
    Granted,
    /// It came out of the environment and may be anything, such as the name of a model.
    Kept,
}

impl Secret {
    /// Wraps a value that is a secret.
    #[must_use]
    pub const fn new(value: String) -> Self {
        let nature = Nature::Granted;
        Self { value, nature }
    }

    /// Wraps a value that is not known to be a secret, and is kept like one.
    #[must_use]
    pub const fn kept(value: String) -> Self {
        let nature = Nature::Kept;
        Self { value, nature }
    }

    /// The value, for the environment of its agent only.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.value
    }

    /// Whether it is masked wherever the agent says it.
    #[must_use]
    pub const fn is_granted(&self) -> bool {
        match self.nature {
            Nature::Granted => true,
            Nature::Kept => false,
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use sha2::Digest;
        let digest = sha2::Sha256::digest(self.value.as_bytes());
        let short: String = digest
            .iter()
            .take(4)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        serializer.serialize_str(&format!("*** ({short})"))
    }
}

/// What an agent may use. `None`: no limit of its own.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Resources {
    /// Thousandths of a core.
    pub cpu_millis: Option<u32>,
    /// Bytes.
    pub memory: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u32>,
}

/// Programs around an agent's life.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Hooks {
    /// Before each start.
    pub pre_start: Option<HookSpec>,
    /// After each end.
    pub post_stop: Option<HookSpec>,
}

/// A program around an agent's life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HookSpec {
    /// The program and its arguments; never run by a shell.
    pub command: Vec<String>,
    /// After this it is killed with its tree and has failed.
    pub timeout: Duration,
}

/// What becomes of an agent's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogPolicy {
    /// Bytes of one segment before the next is begun.
    pub max_size: u64,
    /// Segments kept.
    pub max_files: u32,
    /// Age at which a segment is removed.
    pub retention: Duration,
    /// What happens when the log cannot be written.
    pub on_full: OnFull,
}

/// What happens when the log cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFull {
    /// Output is dropped, counted, and marked in the log once it can be written again.
    Drop,
    /// The agent's pipe fills and the agent waits.
    Block,
}
