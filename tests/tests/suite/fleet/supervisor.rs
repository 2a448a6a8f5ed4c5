//! The supervisor of a fleet: started, killed, ended.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use claw_daemon::api::Health;
use rustix::process::Signal;
use tempfile::TempDir;

use super::command::{Ran, clawctl, launched, prepared};
use super::patience::{until, within};
use super::{Api, Process};

/// The variable that marks every process of a fleet.
const MARK: &str = "CLAW_TEST_FLEET";

/// How long processes of our own may take from their last word to their end.
const LEAVING: Duration = Duration::from_secs(2);

static FLEETS: AtomicU32 = AtomicU32::new(0);

/// A fleet in a folder of its own.
pub(crate) struct Fleet {
    folder: TempDir,
    base: PathBuf,
    data: PathBuf,
    mark: String,
    /// Variables of its supervisors, beside those of this process.
    env: BTreeMap<&'static str, String>,
    /// Who its supervisors run as; this process's user if nothing was said.
    user: Option<(u32, u32)>,
    /// What its supervisors are started through, if not as they are.
    launcher: Vec<String>,
    pub(super) supervisor: Option<Child>,
    /// Fork servers of supervisors that are gone; they go by themselves.
    pub(super) spawners: Vec<Process>,
}

impl Fleet {
    /// A fleet of these agents, each a line as `agent()` makes them. Not started yet.
    pub(crate) fn new(agents: &str) -> Self {
        Self::with("", agents)
    }

    /// The same, with more keys of `supervisor:` in flow style.
    pub(crate) fn with(supervisor: &str, agents: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("claw-").tempdir().unwrap();
        let base = folder.path().to_owned();
        let number = FLEETS.fetch_add(1, Ordering::Relaxed);
        let fleet = Self {
            data: base.join(".openclaw"),
            folder,
            base,
            mark: format!("{}-{number}", std::process::id()),
            env: BTreeMap::new(),
            user: None,
            launcher: Vec::new(),
            supervisor: None,
            spawners: Vec::new(),
        };
        fleet.write(supervisor, agents);
        fleet
    }

    /// Writes the fleet file anew, as an editor does: beside, then in its place.
    pub(crate) fn write(&self, supervisor: &str, agents: &str) {
        let comma = if supervisor.is_empty() { "" } else { ", " };
        self.write_raw(&format!(
            "project: test\nversion: \"1.0\"\n\
             supervisor: {{listen: \"off\"{comma}{supervisor}}}\n\
             defaults: {{sandbox: {{mode: none}}, env: {{{}}}}}\n\
             agents:\n{agents}",
            self.mark()
        ));
    }

    /// Writes this very text as the fleet file.
    pub(crate) fn write_raw(&self, text: &str) {
        let fresh = self.base.join("openclaw.yaml.new");
        fs::write(&fresh, text).unwrap();
        fs::rename(fresh, self.file()).unwrap();
    }

    /// The fleet file.
    pub(crate) fn file(&self) -> PathBuf {
        self.base.join("openclaw.yaml")
    }

    /// A place for the fleet's own files.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.base.join(name)
    }

    /// The same as text, for steps.
    pub(crate) fn place(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// The data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.data.clone()
    }

    /// Says where the fleet file to come puts the data directory.
    pub(crate) fn set_data(&mut self, data: PathBuf) {
        self.data = data;
    }

    /// The mark, as an entry of `env:`.
    pub(crate) fn mark(&self) -> String {
        format!("{MARK}: \"{}\"", self.mark)
    }

    /// Names the container engine of supervisors that are started from now on.
    pub(crate) fn set_engine(&mut self, address: &str) {
        self.set_env("DOCKER_HOST", address);
    }

    /// Sets a variable of supervisors that are started from now on.
    pub(crate) fn set_env(&mut self, name: &'static str, value: &str) {
        self.env.insert(name, value.to_owned());
    }

    /// Says who supervisors run as that are started from now on, and gives them the folder.
    pub(crate) fn set_user(&mut self, user: u32, group: u32) {
        for path in [self.base.clone(), self.file()] {
            std::os::unix::fs::chown(path, Some(user), Some(group)).unwrap();
        }
        self.user = Some((user, group));
    }

    /// Names a program that supervisors are started through from now on. It becomes their user by
    /// itself, and executes what comes behind its own arguments.
    pub(crate) fn set_launcher(&mut self, words: Vec<String>) {
        self.launcher = words;
    }

    /// Starts the supervisor and waits until its fleet is loaded.
    pub(crate) fn up(&mut self) {
        self.start();
        self.await_answer();
    }

    /// Starts the supervisor, and does not wait.
    pub(crate) fn start(&mut self) {
        self.start_with(&[]);
    }

    /// The same with more arguments of `up`.
    pub(crate) fn start_with(&mut self, arguments: &[&str]) {
        assert!(self.supervisor.is_none(), "one supervisor at a time");
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("supervisor.err"))
            .unwrap();
        let mut command = launched(&self.launcher, &self.base);
        if self.launcher.is_empty() {
            self.become_user(&mut command);
        }
        let child = command
            .envs(&self.env)
            .arg("up")
            .args(arguments)
            .env(MARK, &self.mark)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.supervisor = Some(child);
    }

    /// `clawctl up --detach`; what it said. The supervisor is not this process's child then.
    pub(crate) fn up_detached(&mut self) -> String {
        let output = self.command().args(["up", "--detach"]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{output:?}");
        let health: Health = self.api().get("/api/health");
        self.spawners
            .extend(Process::spawners_of(health.pid.cast_signed()));
        text
    }

    /// Waits until the supervisor that was started answers.
    pub(crate) fn await_answer(&mut self) {
        let api = self.api();
        until("the supervisor is ready", || {
            let child = self.supervisor.as_mut().expect("it was started");
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the supervisor ended with {status}: {}", self.said());
            }
            api.ask("/api/ready").filter(|(status, _)| *status == 200)
        });
    }

    /// What the supervisors of this fleet wrote of themselves.
    pub(crate) fn said(&self) -> String {
        let text = fs::read(self.folder.path().join("supervisor.err")).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// The process id of the supervisor.
    pub(crate) fn pid(&self) -> i32 {
        self.child().id().cast_signed()
    }

    fn child(&self) -> &Child {
        self.supervisor.as_ref().expect("a supervisor runs")
    }

    /// How the supervisor ended, if it has by itself.
    pub(crate) fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.supervisor.as_mut()?.try_wait().unwrap()
    }

    /// Kills the supervisor, as a crash does.
    pub(crate) fn kill(&mut self) {
        self.spawners.extend(Process::spawners_of(self.pid()));
        let mut child = self.supervisor.take().expect("a supervisor runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Sends the supervisor a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(supervisor) = Process::of(self.pid()) {
            supervisor.signal(signal);
        }
    }

    /// Waits until the supervisor has ended by itself; its exit code.
    pub(crate) fn await_end(&mut self) -> Option<i32> {
        self.spawners.extend(Process::spawners_of(self.pid()));
        let mut child = self.supervisor.take().expect("a supervisor runs");
        let status = until("the supervisor ends", || child.try_wait().unwrap());
        status.code()
    }

    /// How the supervisor has ended, if it has.
    pub(crate) fn has_ended(&mut self) -> Option<ExitStatus> {
        self.spawners.extend(Process::spawners_of(self.pid()));
        let child = self.supervisor.as_mut().expect("a supervisor runs");
        let status = child.try_wait().unwrap()?;
        self.supervisor = None;
        Some(status)
    }

    /// Waits until the supervisor has been killed by itself.
    pub(crate) fn await_killed(&mut self) {
        self.spawners.extend(Process::spawners_of(self.pid()));
        let mut child = self.supervisor.take().expect("a supervisor runs");
        let status = until("the supervisor is killed", || child.try_wait().unwrap());
        assert_eq!(status.signal(), Some(9), "{status}: {}", self.said());
    }

    /// Kills the supervisor and starts another.
    pub(crate) fn crash_and_up(&mut self) {
        self.kill();
        self.up();
    }

    /// `clawctl down`; nothing of the fleet is left after it.
    pub(crate) fn down(&mut self) {
        self.run(&["down"]).ok();
        assert_eq!(self.await_end(), Some(0), "{}", self.said());
        self.assert_empty();
    }

    /// Checks that no process of the fleet is left; shims and spawners go a moment after they
    /// have said that they do.
    pub(crate) fn assert_empty(&self) {
        within(LEAVING, "no process of the fleet is left", || {
            self.processes().is_empty().then_some(())
        });
    }

    /// Runs `clawctl` in the fleet's folder.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        clawctl(&self.base, arguments)
    }

    /// `clawctl` in the fleet's folder, to be run by the test itself.
    pub(crate) fn command(&self) -> std::process::Command {
        let mut command = prepared(&self.base);
        command.env(MARK, &self.mark);
        command
    }

    /// The same, run as the user that supervisors run as.
    pub(super) fn command_of_user(&self) -> std::process::Command {
        let mut command = self.command();
        self.become_user(&mut command);
        command
    }

    fn become_user(&self, command: &mut std::process::Command) {
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group).env("HOME", &self.base);
        }
    }

    /// Another program in the fleet's folder.
    pub(crate) fn command_of(&self, program: &str) -> std::process::Command {
        let mut command = std::process::Command::new(program);
        command
            .current_dir(&self.base)
            .env(MARK, &self.mark)
            .stdin(Stdio::null());
        command
    }

    /// The control API.
    pub(crate) fn api(&self) -> Api {
        Api::new(self.data().join("control.sock"))
    }

    /// Every process of the fleet: supervisor, spawner, shims, agents and what they made.
    pub(crate) fn processes(&self) -> Vec<Process> {
        let mut found = Process::marked(&format!("{MARK}={}", self.mark));
        found.extend(Process::shims_of(&self.data));
        found.extend(
            self.spawners
                .iter()
                .filter(|spawner| spawner.lives())
                .cloned(),
        );
        if let Some(supervisor) = &self.supervisor {
            found.extend(Process::spawners_of(supervisor.id().cast_signed()));
        }
        found.sort();
        found
    }
}
