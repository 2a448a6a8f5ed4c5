//! The engine that tests use: one that is given, or one of their own for a whole run.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use claw_core::spec::container::{Build, PullPolicy};

/// The image of the agents in these tests.
pub(crate) const IMAGE: &str = "claw-test:1";

/// An engine.
#[derive(Debug, Clone)]
pub(crate) struct TestEngine {
    /// As in `DOCKER_HOST`.
    pub(crate) address: String,
}

/// An engine of one test's own, which may be stopped and killed.
pub(crate) struct OwnEngine {
    pub(crate) engine: TestEngine,
    pub(crate) dir: tempfile::TempDir,
    options: Vec<&'static str>,
}

impl TestEngine {
    /// The engine of this run; the first test that asks starts it.
    pub(crate) fn shared() -> Result<Self, String> {
        let engine = match std::env::var("CLAW_ENGINE") {
            Ok(address) if !address.is_empty() => Self { address },
            Ok(_) | Err(_) => Self::of_this_run()?,
        };
        let lock = File::create(std::env::temp_dir().join("claw-test-image.lock")).unwrap();
        lock.lock().unwrap();
        engine.import()?;
        Ok(engine)
    }

    /// Test runners start a process per test: those of one run have the same parent, and a
    /// process of its own ends the engine when that is gone.
    fn of_this_run() -> Result<Self, String> {
        let parent = std::os::unix::process::parent_id();
        let dir = std::env::temp_dir().join(format!("claw-engine-{parent}"));
        std::fs::create_dir_all(&dir).unwrap();
        let lock = File::create(dir.join("lock")).unwrap();
        lock.lock().unwrap();
        let known = dir.join("address");
        if let Ok(address) = std::fs::read_to_string(&known) {
            return Ok(Self { address });
        }
        let address = start(&dir, &[])?;
        std::fs::write(&known, &address).unwrap();
        let script = format!(
            "while kill -0 {parent} 2>/dev/null; do sleep 1; done; {} stop {1}; rm -rf {1}",
            tool().display(),
            dir.display()
        );
        let reaper = Command::new("setsid")
            .args(["sh", "-c", &script])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        // It outlives this test on purpose.
        drop(reaper.unwrap());
        Ok(Self { address })
    }

    /// Makes the image if it is not there.
    fn import(&self) -> Result<(), String> {
        if self.docker(&["image", "inspect", IMAGE]).is_ok() {
            return Ok(());
        }
        let busybox = ["/bin/busybox", "/usr/bin/busybox"];
        let busybox = busybox.iter().find(|path| Path::new(path).exists());
        let busybox = busybox.ok_or("there is no busybox to make an image from")?;
        let root = tempfile::tempdir().unwrap();
        let script = format!(
            "cd {} && mkdir -p bin etc tmp proc dev sys run && cp {busybox} bin/busybox && \
             for a in $(bin/busybox --list); do [ $a = busybox ] || ln -s busybox bin/$a; done && \
             echo root:x:0:0:root:/:/bin/sh > etc/passwd && tar c . | docker import - {IMAGE}",
            root.path().display()
        );
        let made = Command::new("sh")
            .args(["-c", &script])
            .env("DOCKER_HOST", &self.address)
            .output()
            .unwrap();
        if made.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&made.stderr).into_owned())
        }
    }

    /// Runs Docker's own client, as somebody by hand does; what it printed.
    pub(crate) fn docker(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new("docker")
            .args(arguments)
            .env("DOCKER_HOST", &self.address)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("there is no docker client: {error}"))?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
        }
    }
}

impl OwnEngine {
    /// Starts one.
    pub(crate) fn start(options: &[&'static str]) -> Result<Self, String> {
        let dir = tempfile::tempdir().unwrap();
        let engine = TestEngine {
            address: start(dir.path(), options)?,
        };
        let own = Self {
            engine,
            dir,
            options: options.to_vec(),
        };
        own.engine.import()?;
        Ok(own)
    }

    fn pid(&self) -> nix::unistd::Pid {
        let text = std::fs::read_to_string(self.dir.path().join("engine.pid")).unwrap();
        nix::unistd::Pid::from_raw(text.trim().parse().unwrap())
    }

    /// Sends the engine a signal.
    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(self.pid(), signal).unwrap();
    }

    /// Kills it, as a crash does.
    pub(crate) fn kill(&self) {
        let stat = format!("/proc/{}/stat", self.pid());
        self.signal(nix::sys::signal::Signal::SIGKILL);
        let lives = || std::fs::read_to_string(&stat).is_ok_and(|text| !text.contains(") Z "));
        while lives() {
            std::thread::yield_now();
        }
        std::fs::remove_file(self.dir.path().join("engine.pid")).ok();
    }

    /// Starts it again.
    pub(crate) fn restart(&self) {
        start(self.dir.path(), &self.options).unwrap();
    }
}

impl Drop for OwnEngine {
    fn drop(&mut self) {
        // A test that failed may have left it stopped.
        if self.dir.path().join("engine.pid").exists() {
            self.signal(nix::sys::signal::Signal::SIGCONT);
        }
        Command::new(tool())
            .arg("stop")
            .arg(self.dir.path())
            .output()
            .ok();
    }
}

fn tool() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/engine")
}

fn start(dir: &Path, options: &[&str]) -> Result<String, String> {
    let out = tempfile::tempfile().unwrap();
    let started = Command::new(tool())
        .arg("start")
        .arg(dir)
        .args(options)
        // The engine keeps what it is given; a pipe would never end.
        .stdout(out.as_fd().try_clone_to_owned().unwrap())
        .stderr(Stdio::null())
        .stdin(Stdio::null())
        .status()
        .unwrap();
    let mut out = out;
    let mut text = String::new();
    std::io::Seek::rewind(&mut out).unwrap();
    std::io::Read::read_to_string(&mut out, &mut text).unwrap();
    if started.success() {
        Ok(text.trim().to_owned())
    } else {
        Err("no container engine can be started here".to_owned())
    }
}

/// A build from a folder.
pub(crate) fn build(context: &Path) -> Build {
    Build {
        context: context.to_owned(),
        dockerfile: "Dockerfile".into(),
        target: None,
        args: std::collections::BTreeMap::new(),
    }
}

/// Images are never fetched in these tests: there may be no network.
pub(crate) const PULL: PullPolicy = PullPolicy::Missing;
