//! A driver, its facts, and what it is given to run.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use claw_core::order::RunContext;
use claw_core::sandbox::Abilities;
use claw_core::{
    AgentSpec, ExitReport, ExitStatus, Fact, Generation, InstanceId, Order, SpawnError,
};
use claw_drivers::process::{
    CgroupChoice, EgressChange, Enforcement, ProcessConfig, ProcessDriver,
};
use claw_drivers::{Driver, OpenInstance};
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::conformance::spec;

/// Nothing a test waits for takes this long, on a machine that is busy or emulated.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What is different from the usual.
#[derive(Clone)]
pub(crate) struct SetUp {
    pub(crate) choice: CgroupChoice,
    pub(crate) abilities: Option<Abilities>,
    pub(crate) egress: Option<mpsc::UnboundedSender<EgressChange>>,
}

impl Default for SetUp {
    fn default() -> Self {
        Self {
            choice: CgroupChoice::Auto,
            abilities: None,
            egress: None,
        }
    }
}

/// A driver and what came of it.
pub(crate) struct World {
    pub(crate) dir: TempDir,
    set_up: SetUp,
    driver: Option<ProcessDriver>,
    facts: mpsc::Receiver<Fact>,
    /// Facts that were passed over, oldest first.
    pub(crate) passed: Vec<Fact>,
    next: u64,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(CgroupChoice::Auto).await
    }

    pub(crate) async fn with(choice: CgroupChoice) -> Self {
        Self::set(SetUp {
            choice,
            ..SetUp::default()
        })
        .await
    }

    pub(crate) async fn set(set_up: SetUp) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Agents of other users go through it.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let (driver, facts) = start(dir.path(), &set_up).await;
        Self {
            dir,
            set_up,
            driver: Some(driver),
            facts,
            passed: Vec::new(),
            next: 0,
        }
    }

    pub(crate) fn driver(&self) -> &ProcessDriver {
        self.driver.as_ref().unwrap()
    }

    pub(crate) fn order(&self, order: Order) {
        self.driver().order(order);
    }

    /// A file for agents to write to, outside the driver's own directories.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn instance_dir(&self, instance: &InstanceId) -> PathBuf {
        self.dir
            .path()
            .join("data/run")
            .join(instance.agent.as_str())
            .join(instance.generation.to_string())
    }

    /// All that instances of the agent have printed.
    pub(crate) fn log(&self, instance: &InstanceId) -> String {
        let agent = self
            .dir
            .path()
            .join("data/agents")
            .join(instance.agent.as_str());
        let lanes = files_in(&agent.join("log"));
        let files = lanes.iter().flat_map(|lane| files_in(lane));
        files
            .filter(|path| path.extension().is_some_and(|kind| kind == "log"))
            .map(|path| std::fs::read_to_string(path).unwrap())
            .collect()
    }

    pub(crate) fn instance(&mut self, agent: &str) -> InstanceId {
        self.next += 1;
        InstanceId {
            agent: agent.parse().unwrap(),
            generation: Generation(self.next),
        }
    }

    pub(crate) fn spawn(&mut self, spec: AgentSpec) -> InstanceId {
        self.spawn_run(spec, None)
    }

    pub(crate) fn spawn_run(&mut self, spec: AgentSpec, run: Option<RunContext>) -> InstanceId {
        let instance = self.instance("agent");
        self.order(Order::Spawn {
            instance: instance.clone(),
            spec: Arc::new(spec),
            run,
        });
        instance
    }

    /// Spawns and waits until it runs; the process id.
    pub(crate) async fn started(&mut self, spec: AgentSpec) -> (InstanceId, i32) {
        let instance = self.spawn(spec);
        let pid = self.await_start(&instance).await;
        (instance, pid)
    }

    pub(crate) async fn await_start(&mut self, instance: &InstanceId) -> i32 {
        self.find(|fact| match fact {
            Fact::Started {
                instance: of, pid, ..
            } if of == instance => Some(pid.cast_signed()),
            Fact::SpawnFailed { error, .. } => panic!("spawn failed: {error:?}"),
            _ => None,
        })
        .await
    }

    pub(crate) async fn main_exit(&mut self, instance: &InstanceId) -> ExitStatus {
        self.find(|fact| match fact {
            Fact::MainExited {
                instance: of,
                status,
            } if of == instance => Some(*status),
            _ => None,
        })
        .await
    }

    pub(crate) async fn gone(&mut self, instance: &InstanceId) -> ExitReport {
        self.find(|fact| match fact {
            Fact::Gone {
                instance: of,
                report,
            } if of == instance => Some(report.clone()),
            _ => None,
        })
        .await
    }

    pub(crate) async fn spawn_failed(&mut self, instance: &InstanceId) -> SpawnError {
        self.find(|fact| match fact {
            Fact::SpawnFailed {
                instance: of,
                error,
            } if of == instance => Some(error.clone()),
            Fact::Started { .. } => panic!("it was started"),
            _ => None,
        })
        .await
    }

    /// Waits for a fact; those before it are kept in `passed`.
    pub(crate) async fn find<T>(&mut self, pick: impl Fn(&Fact) -> Option<T>) -> T {
        if let Some(at) = self.passed.iter().position(|fact| pick(fact).is_some()) {
            let fact = self.passed.remove(at);
            return pick(&fact).unwrap();
        }
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let fact = tokio::time::timeout_at(deadline, self.facts.recv()).await;
            let Ok(Some(fact)) = fact else {
                panic!("the fact did not come; these did: {:#?}", self.passed);
            };
            match pick(&fact) {
                Some(found) => return found,
                None => self.passed.push(fact),
            }
        }
    }

    /// The supervisor dies: nothing is told to the agents.
    pub(crate) fn crash(&mut self) {
        self.driver = None;
        self.passed.clear();
    }

    /// Another supervisor starts on the same directory.
    pub(crate) async fn restart(&mut self) {
        let (driver, facts) = start(self.dir.path(), &self.set_up).await;
        self.driver = Some(driver);
        self.facts = facts;
    }

    pub(crate) fn open(&self, instance: &InstanceId) -> OpenInstance {
        OpenInstance {
            instance: instance.clone(),
            run: None,
            boot_id: boot_id(),
            spec: None,
        }
    }

    /// Whether a limit can be tested here; says so if not.
    pub(crate) fn can(&self, test: &str, what: impl Fn(&ProcessDriver) -> &Enforcement) -> bool {
        match what(self.driver()) {
            Enforcement::Yes => true,
            Enforcement::No { why } => {
                eprintln!("SKIP {test}: {why}");
                false
            }
        }
    }
}

/// Ends whatever the test left, as a new supervisor does that knows of no agent.
impl Drop for World {
    fn drop(&mut self) {
        self.driver = None;
        let (path, set_up) = (self.dir.path().to_owned(), self.set_up.clone());
        let sweeper = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let (driver, _facts) = start(&path, &set_up).await;
                driver.recover(Vec::new()).await;
            });
        });
        sweeper.join().unwrap();
    }
}

/// What this machine can do. It is tried out once for all tests of a process and not by each driver, which
/// would take an emulated machine longer than most tests.
pub(crate) fn machine() -> Abilities {
    static MACHINE: OnceLock<Abilities> = OnceLock::new();
    let look = || claw_drivers::sandbox::probe(Path::new("/proc/self/exe"));
    MACHINE.get_or_init(look).clone()
}

async fn start(dir: &Path, set_up: &SetUp) -> (ProcessDriver, mpsc::Receiver<Fact>) {
    let (sender, facts) = mpsc::channel(1024);
    let mut config = ProcessConfig::new(dir.join("data"), sender);
    config.cgroups = set_up.choice;
    let abilities = set_up.abilities.clone().unwrap_or_else(machine);
    config.abilities = Some(abilities);
    config.egress.clone_from(&set_up.egress);
    config
        .own_env
        .insert("CANARY_SECRET".to_owned(), "must not be seen".to_owned());
    config
        .control_env
        .insert("OPENCLAW_CONTROL".to_owned(), "there".to_owned());
    (ProcessDriver::start(config).await.unwrap(), facts)
}

/// An agent that runs `command` and keeps little of what it prints.
pub(crate) fn agent(command: Vec<String>) -> AgentSpec {
    let mut spec = spec::agent(command);
    spec.logging.max_size = 1 << 20;
    spec
}

/// An agent that runs a shell script.
pub(crate) fn script(text: &str) -> AgentSpec {
    agent(vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned()])
}

pub(crate) struct Stat {
    pub(crate) state: char,
    pub(crate) parent: i32,
    pub(crate) session: i32,
}

pub(crate) fn stat(pid: i32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    Some(Stat {
        state: fields[0].chars().next()?,
        parent: fields[1].parse().ok()?,
        session: fields[3].parse().ok()?,
    })
}

/// Whether a process runs (a zombie does not).
pub(crate) fn lives(pid: i32) -> bool {
    stat(pid).is_some_and(|stat| stat.state != 'Z')
}

/// Waits for a condition, with a bound.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits for a file to hold a whole line, and reads it.
pub(crate) async fn line_of(path: &Path) -> String {
    let read = || std::fs::read_to_string(path).unwrap_or_default();
    eventually(&format!("a line in {}", path.display()), || {
        read().ends_with('\n')
    })
    .await;
    read().trim().to_owned()
}

/// What is in a directory, in order; nothing if it is none.
fn files_in(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

/// The process id a script wrote to a file.
pub(crate) async fn pid_in(path: &Path) -> i32 {
    line_of(path).await.parse().unwrap()
}

pub(crate) fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .unwrap()
        .trim()
        .to_owned()
}
