//! A driver, its facts, and what it is given to run.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use claw_core::order::RunContext;
use claw_core::{AgentSpec, ExitReport, Fact, Generation, InstanceId, Order, SpawnError};
use claw_drivers::{Driver, OpenInstance};
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::spec::agent;

/// Nothing a case waits for takes this long, on a machine that is busy with something else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A kind of driver.
pub(crate) trait Platform: Sized + Send + Sync {
    /// The driver itself.
    type Driver: Driver;

    /// What the driver needs beside a directory; an error says what is missing here.
    async fn find() -> Result<Self, String>;

    /// Starts a driver, or the next one on the same directory.
    async fn start(&self, data_dir: &Path) -> (Self::Driver, mpsc::Receiver<Fact>);

    /// Turns a spec for a process of the host into one for this platform; `shared` is to be seen
    /// inside under the same path.
    fn adapt(&self, spec: AgentSpec, shared: &Path) -> AgentSpec;

    /// Whether the driver, or whatever it works with, still has something of the instance.
    async fn has_traces(&self, data_dir: &Path, instance: &InstanceId) -> bool;

    /// Whether it can limit memory and processes.
    fn can_limit(&self, driver: &Self::Driver) -> Result<(), String>;

    /// Whether it can tell what was killed for memory.
    fn tells_memory_kills(&self) -> Result<(), String> {
        Ok(())
    }

    /// What the driver left after it ended whatever it knew of.
    async fn clean(&self, data_dir: &Path);
}

/// A driver and what came of it.
pub(crate) struct Stage<P: Platform> {
    pub(crate) platform: P,
    dir: TempDir,
    driver: Option<P::Driver>,
    facts: mpsc::Receiver<Fact>,
    /// Facts that were passed over, oldest first.
    pub(crate) passed: Vec<Fact>,
    next: u64,
    test: &'static str,
}

impl<P: Platform> Stage<P> {
    /// Sets a stage; `None`, and a word about it, where the machine cannot have one.
    pub(crate) async fn set(test: &'static str) -> Option<Self> {
        match P::find().await {
            Ok(platform) => Some(Self::of(platform, test).await),
            Err(why) => {
                eprintln!("SKIP {test}: {why}");
                None
            }
        }
    }

    pub(crate) async fn of(platform: P, test: &'static str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let all = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(dir.path(), all).unwrap();
        for name in ["data", "shared"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let open = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(dir.path().join("shared"), open).unwrap();
        let (driver, facts) = platform.start(&dir.path().join("data")).await;
        Self {
            platform,
            dir,
            driver: Some(driver),
            facts,
            passed: Vec::new(),
            next: 0,
            test,
        }
    }

    pub(crate) fn driver(&self) -> &P::Driver {
        self.driver.as_ref().unwrap()
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// A file that agents see under the same name.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("shared").join(name)
    }

    /// Whether limits can be tested here; says so if not.
    pub(crate) fn can_limit(&self) -> bool {
        let can = self.platform.can_limit(self.driver());
        if let Err(why) = &can {
            eprintln!("SKIP {}: {why}", self.test);
        }
        can.is_ok()
    }

    /// Whether kills for memory can be tested here; says so if not.
    pub(crate) fn tells_memory_kills(&self) -> bool {
        let tells = self.platform.tells_memory_kills();
        if let Err(why) = &tells {
            eprintln!("SKIP {}: {why}", self.test);
        }
        tells.is_ok()
    }

    /// Whether something of the instance is still there.
    pub(crate) async fn has_traces(&self, instance: &InstanceId) -> bool {
        self.platform.has_traces(&self.data_dir(), instance).await
    }

    /// An agent that runs `command`.
    pub(crate) fn agent(&self, command: &[&str]) -> AgentSpec {
        let command = command.iter().map(|&text| text.to_owned()).collect();
        let shared = self.dir.path().join("shared");
        self.platform.adapt(agent(command), &shared)
    }

    /// An agent that runs a shell script.
    pub(crate) fn script(&self, text: &str) -> AgentSpec {
        self.agent(&["/bin/sh", "-c", text])
    }

    pub(crate) fn order(&self, order: Order) {
        self.driver().order(order);
    }

    pub(crate) fn signal(&self, instance: &InstanceId, signal: i32) {
        let instance = instance.clone();
        self.order(Order::Signal { instance, signal });
    }

    pub(crate) fn kill(&self, instance: &InstanceId) {
        let instance = instance.clone();
        self.order(Order::Kill { instance });
    }

    pub(crate) fn instance(&mut self) -> InstanceId {
        self.next += 1;
        InstanceId {
            agent: "agent".parse().unwrap(),
            generation: Generation(self.next),
        }
    }

    pub(crate) fn spawn(&mut self, spec: AgentSpec) -> InstanceId {
        self.spawn_run(spec, None)
    }

    pub(crate) fn spawn_run(&mut self, spec: AgentSpec, run: Option<RunContext>) -> InstanceId {
        let instance = self.instance();
        self.order(Order::Spawn {
            instance: instance.clone(),
            spec: Arc::new(spec),
            run,
        });
        instance
    }

    /// Spawns and waits until it runs.
    pub(crate) async fn started(&mut self, spec: AgentSpec) -> InstanceId {
        let instance = self.spawn(spec);
        self.await_start(&instance).await;
        instance
    }

    pub(crate) async fn await_start(&mut self, instance: &InstanceId) -> u32 {
        self.find(|fact| match fact {
            Fact::Started {
                instance: of, pid, ..
            } if of == instance => Some(*pid),
            Fact::SpawnFailed { error, .. } => panic!("spawn failed: {error:?}"),
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
            Fact::Lost { instance: of } if of == instance => panic!("{of} was lost"),
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
            Fact::Started { instance: of, .. } if of == instance => panic!("it was started"),
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
        let (driver, facts) = self.platform.start(&self.data_dir()).await;
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

    /// All that instances of the agent have printed.
    pub(crate) fn log(&self) -> String {
        let logs = self.data_dir().join("agents/agent/log");
        let lanes = files_in(&logs);
        let files = lanes.iter().flat_map(|lane| files_in(lane));
        files
            .filter(|path| path.extension().is_some_and(|kind| kind == "log"))
            .map(|path| std::fs::read_to_string(path).unwrap())
            .collect()
    }
}

/// Ends whatever the case left, as a new supervisor does that knows of no agent.
impl<P: Platform> Drop for Stage<P> {
    fn drop(&mut self) {
        self.driver = None;
        let data_dir = self.data_dir();
        let platform = &self.platform;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let runtime = tokio::runtime::Runtime::new().unwrap();
                runtime.block_on(platform.clean(&data_dir));
            });
        });
    }
}

/// Waits for a condition, with a bound.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whether a process with this word in its command line runs, wherever on the machine.
pub(crate) fn runs(word: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines
        .map(|line| String::from_utf8_lossy(&line).into_owned())
        .any(|line| line.split('\0').any(|part| part == word))
}

/// A number of seconds that no other process on the machine sleeps for.
pub(crate) fn unique_sleep() -> String {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);
    let next = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    format!("{}{:03}", 100_000 + std::process::id(), next)
}

fn files_in(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

fn boot_id() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    text.trim().to_owned()
}
