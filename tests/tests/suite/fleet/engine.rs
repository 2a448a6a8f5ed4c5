//! The container engine of the tests: one that is given, or one of their own for a whole run.

use std::fs::{self, File};
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::folder::root;

/// A small image with a shell.
pub(crate) const IMAGE: &str = "claw-test:1";

/// A container engine.
pub(crate) struct Engine {
    /// As in `DOCKER_HOST`.
    pub(crate) address: String,
}

impl Engine {
    /// The engine of this run, with the image; `None`, and said, where there can be none. One that
    /// is given in `CLAW_ENGINE` has to work.
    pub(crate) fn find(test: &str) -> Option<Self> {
        let engine = match std::env::var("CLAW_ENGINE") {
            Ok(address) if !address.is_empty() => Self { address },
            Ok(_) | Err(_) => match Self::of_this_run() {
                Ok(engine) => engine,
                Err(why) => {
                    eprintln!("SKIP {test}: {why}");
                    return None;
                }
            },
        };
        let lock = File::create(std::env::temp_dir().join("claw-test-image.lock")).unwrap();
        lock.lock().unwrap();
        match engine.import(IMAGE) {
            Ok(()) => Some(engine),
            Err(why) => {
                eprintln!("SKIP {test}: {why}");
                None
            }
        }
    }

    /// Each test is a process: those of one run have the same parent, and share an engine that a
    /// process of its own ends when that parent is gone.
    fn of_this_run() -> Result<Self, String> {
        let parent = std::os::unix::process::parent_id();
        let dir = std::env::temp_dir().join(format!("claw-engine-{parent}"));
        fs::create_dir_all(&dir).unwrap();
        let lock = File::create(dir.join("lock")).unwrap();
        lock.lock().unwrap();
        let known = dir.join("address");
        if let Ok(address) = fs::read_to_string(&known) {
            return Ok(Self { address });
        }
        let address = start(&dir)?;
        fs::write(&known, &address).unwrap();
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

    /// Makes the image under this name, if it is not there.
    pub(crate) fn import(&self, name: &str) -> Result<(), String> {
        if self.docker(&["image", "inspect", name]).is_ok() {
            return Ok(());
        }
        let places = ["/bin/busybox", "/usr/bin/busybox"];
        let busybox = places.iter().find(|path| Path::new(path).exists());
        let busybox = busybox.ok_or("there is no busybox to make an image from")?;
        let folder = tempfile::tempdir().unwrap();
        let script = format!(
            "cd {} && mkdir -p bin etc tmp proc dev sys run && cp {busybox} bin/busybox && \
             for a in $(bin/busybox --list); do [ $a = busybox ] || ln -s busybox bin/$a; done && \
             echo root:x:0:0:root:/:/bin/sh > etc/passwd && tar c . | docker import - {name}",
            folder.path().display()
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

    /// Docker's own client, as somebody uses it by hand; what it printed.
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

    /// The names of an agent's containers whose data directory is below a folder, running or not.
    pub(crate) fn containers(&self, agent: &str, folder: &Path) -> Vec<String> {
        let filter = format!("label=openclaw.agent={agent}");
        let format = "{{.Names}}";
        let list = ["ps", "--all", "--filter", &filter, "--format", format];
        let names = self.docker(&list).unwrap();
        let folder = folder.to_str().unwrap();
        let ours = |name: &&str| {
            let mounts = self.docker(&["inspect", "--format", "{{json .Mounts}}", name]);
            // One that is gone in between is not there any more.
            mounts.is_ok_and(|mounts| mounts.contains(folder))
        };
        names.lines().filter(ours).map(str::to_owned).collect()
    }
}

fn tool() -> PathBuf {
    root().join("scripts/engine")
}

fn start(dir: &Path) -> Result<String, String> {
    // The engine keeps what it is given; a pipe would never end.
    let mut out = tempfile::tempfile().unwrap();
    let started = Command::new(tool())
        .arg("start")
        .arg(dir)
        .stdout(out.try_clone().unwrap())
        .stderr(Stdio::null())
        .stdin(Stdio::null())
        .status()
        .unwrap();
    let mut text = String::new();
    out.rewind().unwrap();
    out.read_to_string(&mut text).unwrap();
    if started.success() {
        Ok(text.trim().to_owned())
    } else {
        Err("no container engine can be started here".to_owned())
    }
}
