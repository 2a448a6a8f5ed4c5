//! An engine with two small images, and sandboxes on it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command as Program, Stdio};
use std::time::{Duration, Instant};

use claw_drivers::container::pool::{
    Command, Outcome, SandboxConfig, SandboxSpec, SandboxStatus, Sandboxes,
};

/// An image with a busybox that is every command it can be.
pub(crate) const FULL: &str = "claw-sandbox-test:full-2";

/// An image with nothing but `echo`.
pub(crate) const BARE: &str = "claw-sandbox-test:bare";

/// What of busybox is used.
const COMMANDS: [&str; 15] = [
    "sh", "sleep", "cat", "ls", "id", "grep", "touch", "hostname", "head", "yes", "true", "pwd",
    "tar", "ln", "mkdir",
];

/// Long enough for a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// An engine for a test; one that was started for it ends with it.
pub(crate) struct Engine {
    pub(crate) address: String,
    own: Option<tempfile::TempDir>,
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(dir) = &self.own {
            // A test that failed may have left it stopped.
            self.signal(nix::sys::signal::Signal::SIGCONT);
            let stopped = Program::new(SCRIPT).arg("stop").arg(dir.path()).status();
            assert!(
                stopped.is_ok_and(|status| status.success()),
                "the engine stays"
            );
        }
    }
}

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/engine");

impl Engine {
    /// An engine of the test's own with its images, which may be stopped, or `None` with a word of
    /// why.
    pub(crate) fn own(test: &str) -> Option<Self> {
        let busybox = busybox().or_else(|| skip(test, "there is no static busybox"))?;
        let engine = Self::start(test)?;
        engine.import(FULL, &busybox, &COMMANDS);
        Some(engine)
    }

    /// Sends an engine of the test's own a signal.
    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        let file = self.own.as_ref().unwrap().path().join("engine.pid");
        let pid = std::fs::read_to_string(file).unwrap();
        let pid = nix::unistd::Pid::from_raw(pid.trim().parse().unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
        // A busy machine takes its time to stop all threads of a process.
        while signal == nix::sys::signal::Signal::SIGSTOP && !is_stopped(pid) {
            std::thread::yield_now();
        }
    }

    /// The engine with its images, or `None` with a word of why.
    pub(crate) fn get(test: &str) -> Option<Self> {
        let busybox = busybox().or_else(|| skip(test, "there is no static busybox"))?;
        let engine = match std::env::var("CLAW_ENGINE") {
            Ok(address) => Self { address, own: None },
            Err(_) => Self::start(test)?,
        };
        engine.import(FULL, &busybox, &COMMANDS);
        engine.import(BARE, &busybox, &["echo"]);
        Some(engine)
    }

    /// An engine that is not there.
    pub(crate) fn absent(dir: &Path) -> Self {
        Self {
            address: format!("unix://{}", dir.join("no.sock").display()),
            own: None,
        }
    }

    fn start(test: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let started = Program::new(SCRIPT).arg("start").arg(dir.path()).output();
        let started = started.unwrap();
        if !started.status.success() {
            let why = String::from_utf8_lossy(&started.stderr);
            return skip(test, why.trim());
        }
        Some(Self {
            address: String::from_utf8(started.stdout).unwrap().trim().to_owned(),
            own: Some(dir),
        })
    }

    pub(crate) fn docker(&self, arguments: &[&str]) -> String {
        let ran = self.client(arguments).output().unwrap();
        assert!(ran.status.success(), "docker {arguments:?}: {ran:?}");
        String::from_utf8(ran.stdout).unwrap()
    }

    fn client(&self, arguments: &[&str]) -> Program {
        let mut docker = Program::new("docker");
        docker.env("DOCKER_HOST", &self.address).args(arguments);
        docker
    }

    /// Makes an image of one program under some names.
    fn import(&self, image: &str, busybox: &Path, names: &[&str]) {
        let found = self.client(&["image", "inspect", image]).output().unwrap();
        if found.status.success() {
            return;
        }
        let root = tempfile::tempdir().unwrap();
        for dir in ["bin", "tmp"] {
            std::fs::create_dir(root.path().join(dir)).unwrap();
        }
        let bin = root.path().join("bin");
        let (first, rest) = names.split_first().unwrap();
        std::fs::copy(busybox, bin.join(first)).unwrap();
        for name in rest {
            std::os::unix::fs::symlink(first, bin.join(name)).unwrap();
        }
        let packed = Program::new("tar")
            .arg("-C")
            .arg(root.path())
            .args(["-c", "."])
            .output()
            .unwrap();
        let mut importing = self.client(&["import", "-", image]);
        let mut importing = importing
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        importing
            .stdin
            .take()
            .unwrap()
            .write_all(&packed.stdout)
            .unwrap();
        assert!(importing.wait().unwrap().success());
    }

    /// The sandboxes that there are below a data directory's project, by the engine's word.
    pub(crate) fn containers(&self, sandbox: &str) -> Vec<String> {
        let filter = format!("label=openclaw.sandbox={sandbox}");
        let listed = self.docker(&["ps", "-aq", "--filter", &filter]);
        listed.lines().map(str::to_owned).collect()
    }
}

fn is_stopped(pid: nix::unistd::Pid) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let mut stats = threads.map(|thread| thread.unwrap().path().join("stat"));
    stats.all(|stat| std::fs::read_to_string(stat).is_ok_and(|text| text.contains(") T ")))
}

fn busybox() -> Option<std::path::PathBuf> {
    let found = Program::new("sh")
        .args(["-c", "command -v busybox"])
        .output()
        .ok()?;
    let path = String::from_utf8(found.stdout).ok()?;
    let path = std::path::PathBuf::from(path.trim());
    path.is_file().then_some(path)
}

fn skip<T>(test: &str, why: &str) -> Option<T> {
    println!("SKIP {test}: {why}");
    None
}

/// Sandboxes of one supervisor, with one that is named for its test.
pub(crate) struct House {
    pub(crate) sandboxes: Sandboxes,
    pub(crate) name: String,
    pub(crate) dir: tempfile::TempDir,
}

impl House {
    pub(crate) fn open(engine: &Engine, name: &str, spec: SandboxSpec) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let sandboxes = Sandboxes::start(SandboxConfig {
            engine: Some(engine.address.clone()),
            data_dir: dir.path().to_owned(),
        });
        let name = format!("{name}-{}", std::process::id());
        sandboxes.configure(&BTreeMap::from([(name.clone(), spec)]));
        Self {
            sandboxes,
            name,
            dir,
        }
    }

    pub(crate) fn status(&self) -> SandboxStatus {
        self.sandboxes.list().into_iter().next().unwrap()
    }

    /// Waits until so many are ready.
    pub(crate) async fn ready(&self, count: usize) {
        eventually(|| self.status().ready == count).await;
    }

    pub(crate) async fn run(&self, command: &Command) -> Outcome {
        self.sandboxes.run(&self.name, command).await.unwrap()
    }

    pub(crate) async fn sh(&self, script: &str) -> Outcome {
        self.run(&shell(script)).await
    }
}

pub(crate) fn spec() -> SandboxSpec {
    SandboxSpec::of_image(FULL.to_owned())
}

/// A script for the image that has a shell.
pub(crate) fn shell(script: &str) -> Command {
    Command {
        program: ["sh", "-c", script].map(str::to_owned).to_vec(),
        ..Command::default()
    }
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

pub(crate) async fn eventually(mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "it did not come to pass");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
