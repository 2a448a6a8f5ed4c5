//! Loading a fleet file: read, parse, include, merge, put variables in, check.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use claw_core::AgentName;
use claw_core::spec::FleetSpec;
use claw_drivers::container::pool::SandboxSpec;
use sha2::Digest;

use super::diagnostic::{Code, Diagnostic, Diagnostics, Problems};
use super::environment::{Environment, ProviderKeys};
use super::fleet::Read;
use super::include::Includer;
use super::interpolate;
use super::llm::{self, LlmConfig};
use super::merge::{Keys, merge};
use super::narrow::FleetSandbox;
use super::parse::{self, Budget};
use super::reader::Reader;
use super::replicas::Replicas;
use super::resolved;
use super::source::{self, Exposure, FileError, Source, Sources};
use super::supervisor::{self, Lockdown, SupervisorConfig};
use super::tree::{Map, Node, Value};
use super::variables::Variables;
use super::webhook::Webhook;
use super::worker::WorkerConfig;

/// The name of files with variables.
pub(super) const DOTENV: &str = ".env";
/// Values that `defaults` may put into all agents together.
const MAX_DEFAULTED: usize = 500_000;

/// A fleet file that can be used.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What is to run.
    pub fleet: FleetSpec,
    /// What each agent may do beside its process.
    pub workers: BTreeMap<AgentName, Arc<WorkerConfig>>,
    /// Which agents are replicas of which.
    pub replicas: Arc<Replicas>,
    /// Who may call from outside, by name.
    pub webhooks: BTreeMap<String, Arc<Webhook>>,
    /// In what code may be run once, by name.
    pub sandboxes: BTreeMap<String, SandboxSpec>,
    /// How agents reach models; `None`: no agent does.
    pub llm: Option<Arc<LlmConfig>>,
    /// How the supervisor itself runs.
    pub supervisor: SupervisorConfig,
    /// Users of the host for sandboxed agents, where the supervisor is root; `None`: the usual ones.
    pub uids: Option<RangeInclusive<u32>>,
    /// Whether the supervisor locks itself down.
    pub lockdown: Lockdown,
    /// What should be looked at.
    pub warnings: Diagnostics,
    /// Every file that was read, and `.env` files that would be: the ones to watch.
    pub files: Vec<PathBuf>,
    /// A hash of the texts of all files; equal texts, equal hash.
    pub text_hash: String,
    /// The text of the main file, as it was read.
    pub text: String,
    /// The running configuration as JSON, with variables as `${NAME}` and secrets masked.
    pub resolved: String,
}

/// Loads a fleet file.
///
/// # Errors
///
/// Every problem of the file at once.
pub fn load(path: &Path, environment: &Environment) -> Result<Loaded, Diagnostics> {
    match source::read_text(path) {
        Ok(text) => load_str(&text, path, environment),
        Err(error) => Err(unusable(path, &error)),
    }
}

/// Loads a fleet from a text that stands, or would stand, at a path. Includes, `.env` and
/// relative paths are taken from there.
///
/// # Errors
///
/// Every problem of the text at once.
pub fn load_str(text: &str, path: &Path, environment: &Environment) -> Result<Loaded, Diagnostics> {
    if let Err(error) = source::decode(text.as_bytes().to_vec()) {
        return Err(unusable(path, &error));
    }
    let mut files = Files::default();
    let name = path.display().to_string();
    let main = Source::new(name, path.to_owned(), text.to_owned(), Exposure::Shown);
    let outcome = files.load(main, environment);
    let text_hash = files.hash();
    let watched = files.watched();
    let sources = Arc::new(files.sources);
    match outcome {
        Some((read, resolved)) if !files.problems.failed() => Ok(Loaded {
            fleet: read.fleet,
            workers: read.workers,
            replicas: Arc::new(read.replicas),
            webhooks: read.webhooks,
            sandboxes: read.sandboxes,
            llm: read.llm.map(Arc::new),
            supervisor: read.supervisor,
            uids: read.uids,
            lockdown: read.lockdown,
            warnings: files.problems.finish(sources),
            files: watched,
            text_hash,
            text: text.to_owned(),
            resolved,
        }),
        Some(_) | None => Err(files.problems.finish(sources)),
    }
}

/// Where the data of the fleet file at `path` lies, as far as the file can be read; for those who
/// look for its socket or its last good copy and need nothing else of it.
#[must_use]
pub fn data_dir_of(path: &Path, variables: &BTreeMap<String, String>) -> PathBuf {
    let folder = folder_of(path);
    let told = || {
        let mut files = Files::default();
        let text = source::read_text(path).ok()?;
        // Every client asks this; a file of a thousand agents takes long to parse.
        if !text.contains("data_dir") && !text.contains("include") {
            return None;
        }
        let name = path.display().to_string();
        let main = Source::new(name, path.to_owned(), text, Exposure::Shown);
        let mut variables = Variables::new(variables);
        files.dotenv(&folder.join(DOTENV), &mut variables);
        let node = files.tree(main, &folder, &variables)?;
        data_dir(&node, &folder, &variables)
    };
    told().unwrap_or_else(|| supervisor::data_dir(&folder, None))
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        Some(_) | None => PathBuf::from("."),
    }
}

fn unusable(path: &Path, error: &FileError) -> Diagnostics {
    let message = format!("`{}` cannot be used: {error}", path.display());
    let help = match error {
        FileError::Missing => "name the fleet file with `-f`, or make one with `clawctl init`",
        FileError::Directory
        | FileError::NotRegular
        | FileError::Unreadable(_)
        | FileError::TooLarge
        | FileError::NotUtf8 { .. }
        | FileError::Nul { .. } => error.help(),
    };
    let mut problems = Problems::default();
    problems.push(Diagnostic::error(Code::File, message).help(help));
    problems.finish(Arc::new(Sources::default()))
}

/// A load under way.
#[derive(Default)]
struct Files {
    sources: Sources,
    problems: Problems,
    /// `.env` files that may come to be.
    expected: Vec<PathBuf>,
}

impl Files {
    fn load(&mut self, main: Source, environment: &Environment) -> Option<(Read, String)> {
        let folder = folder_of(&main.path);
        let absolute = std::path::absolute(&folder).unwrap_or_else(|_unknown| folder.clone());
        let mut variables = Variables::new(&environment.variables);
        self.dotenv(&folder.join(DOTENV), &mut variables);
        let node = self.tree(main, &folder, &variables)?;
        if let Some(data_dir) = data_dir(&node, &folder, &variables) {
            self.dotenv(&data_dir.join(DOTENV), &mut variables);
        }
        let mut node = self.with_defaults(node);
        if environment.provider_keys == ProviderKeys::Unneeded {
            llm::remove_keys(&mut node);
        }
        let lookup = |name: &str| variables.get(name);
        interpolate::expand_tree(
            &mut node,
            ("", Keys::Known),
            &lookup,
            (&self.sources, &mut self.problems),
        );
        let mut reader = Reader {
            problems: std::mem::take(&mut self.problems),
            sources: &mut self.sources,
            environment,
            variables: &variables,
            folder: &absolute,
            folder_name: &folder,
            fleet_sandbox: FleetSandbox::default(),
        };
        let read = reader.fleet(&node);
        self.problems = reader.problems;
        let read = read?;
        let resolved = resolved::text(&node, &read.supervisor);
        Some((read, resolved))
    }

    fn dotenv(&mut self, path: &Path, variables: &mut Variables) {
        if self.expected.iter().any(|known| known == path) {
            return;
        }
        variables.add_file(path, (&mut self.sources, &mut self.problems));
        self.expected.push(path.to_owned());
    }

    /// The main file with its includes.
    fn tree(&mut self, main: Source, folder: &Path, variables: &Variables) -> Option<Node> {
        let mut budget = Budget::new();
        let main_path = main.path.clone();
        let id = self.sources.add(main);
        let text = self.sources.get(id).clone();
        let node = parse::parse(id, &text, &mut budget, &mut self.problems)?;
        let lookup = |name: &str| variables.get(name);
        let root = folder
            .canonicalize()
            .unwrap_or_else(|_missing| folder.to_owned());
        let main_real = main_path.canonicalize().unwrap_or(main_path);
        let mut includer = Includer {
            folder,
            root,
            sources: &mut self.sources,
            budget: &mut budget,
            problems: &mut self.problems,
            lookup: &lookup,
            stack: vec![main_real],
        };
        let node = includer.resolve(node, Keys::Known);
        for secret in resolved::written_secrets(&node) {
            self.sources.keep_secret(secret);
        }
        Some(node)
    }

    /// Lays every agent over `defaults`.
    fn with_defaults(&mut self, mut root: Node) -> Node {
        let Value::Map(map) = &mut root.value else {
            return root;
        };
        let Some(mut defaults) = map.get("defaults").map(|entry| entry.node.clone()) else {
            return root;
        };
        defaults.mark_as_defaults();
        let agents = map.entries.iter_mut().find(|entry| entry.key == "agents");
        let Some(Value::Map(agents)) = agents.map(|entry| &mut entry.node.value) else {
            return root;
        };
        if defaults.extent().nodes * agents.entries.len() > MAX_DEFAULTED {
            let message = "`defaults` is too large for so many agents";
            self.problems.push(
                Diagnostic::error(Code::TooComplex, message)
                    .at(defaults.span)
                    .path("defaults"),
            );
            return root;
        }
        for agent in &mut agents.entries {
            over_defaults(&mut agent.node, &defaults);
        }
        root
    }

    fn hash(&self) -> String {
        let mut hash = sha2::Sha256::new();
        for source in self.sources.iter() {
            hash.update(source.path.as_os_str().as_encoded_bytes());
            hash.update([0]);
            hash.update(source.text.as_bytes());
            hash.update([0]);
        }
        let digest = hash.finalize();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn watched(&self) -> Vec<PathBuf> {
        let mut files = self.sources.paths();
        files.extend(self.expected.iter().cloned());
        files.sort();
        files.dedup();
        files
    }
}

/// Where `supervisor.data_dir` is, as far as it can be told before variables are put in.
fn data_dir(root: &Node, folder: &Path, variables: &Variables) -> Option<PathBuf> {
    let supervisor = root.as_map()?.get("supervisor");
    let written = supervisor
        .and_then(|entry| entry.node.as_map()?.get("data_dir"))
        .and_then(|entry| entry.node.as_scalar());
    let lookup = |name: &str| variables.get(name);
    let text = written.map(|scalar| interpolate::expand(&scalar.text, &lookup));
    match text {
        Some(expanded) if !expanded.problems.is_empty() => None,
        Some(expanded) => Some(supervisor::data_dir(folder, Some(&expanded.text))),
        None => Some(supervisor::data_dir(folder, None)),
    }
}

fn over_defaults(agent: &mut Node, defaults: &Node) {
    if !matches!(defaults.value, Value::Map(_)) {
        return;
    }
    let span = agent.span;
    match std::mem::replace(&mut agent.value, Value::Null) {
        Value::Null => {
            let value = defaults.value.clone();
            *agent = Node { span, value };
            without_mode_of_processes(agent);
        }
        Value::Map(map) => {
            let says_mode = sandbox_mode(&map).is_some();
            let value = Value::Map(map);
            *agent = merge(defaults.clone(), Node { span, value }, Keys::Known);
            if !says_mode {
                without_mode_of_processes(agent);
            }
        }
        other @ (Value::Text(_) | Value::List(_)) => agent.value = other,
    }
}

fn sandbox_mode(agent: &Map) -> Option<&Node> {
    let sandbox = agent.get("sandbox")?.node.as_map()?;
    Some(&sandbox.get("mode")?.node)
}

/// Takes a mode for processes that came from the defaults off an agent with an image: that is a
/// container, whatever processes are.
fn without_mode_of_processes(agent: &mut Node) {
    let Value::Map(map) = &mut agent.value else {
        return;
    };
    let is_container = ["image", "build"].iter().any(|key| map.get(key).is_some());
    let mode = sandbox_mode(map).and_then(Node::as_scalar);
    let for_processes = mode.is_some_and(|mode| matches!(mode.text.as_str(), "none" | "process"));
    if !is_container || !for_processes {
        return;
    }
    let sandbox = map.entries.iter_mut().find(|entry| entry.key == "sandbox");
    if let Some(Value::Map(sandbox)) = sandbox.map(|entry| &mut entry.node.value) {
        sandbox.remove("mode");
    }
}
