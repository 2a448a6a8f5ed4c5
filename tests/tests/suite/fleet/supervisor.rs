//! The supervisor of a fleet: started, killed, ended.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use claw_daemon::api::{Agent, State};
use rustix::process::Signal;
use tempfile::TempDir;

use super::command::{Ran, clawctl, prepared};
use super::patience::{PATIENCE, until, within};
use super::{Api, Process};

/// The variable that marks every process of a fleet.
const MARK: &str = "CLAW_TEST_FLEET";

static FLEETS: AtomicU32 = AtomicU32::new(0);

/// A fleet in a folder of its own.
pub(crate) struct Fleet {
    folder: TempDir,
    base: PathBuf,
    mark: String,
    supervisor: Option<Child>,
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
        Self::at(folder, base, supervisor, agents)
    }

    /// The same in a folder that is there already.
    pub(crate) fn at(folder: TempDir, base: PathBuf, supervisor: &str, agents: &str) -> Self {
        let number = FLEETS.fetch_add(1, Ordering::Relaxed);
        let fleet = Self {
            folder,
            base,
            mark: format!("{}-{number}", std::process::id()),
            supervisor: None,
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
             defaults: {{sandbox: {{mode: none}}, env: {{{MARK}: \"{}\"}}}}\n\
             agents:\n{agents}",
            self.mark
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
        self.base.join(".openclaw")
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
        let child = prepared(&self.base)
            .arg("up")
            .args(arguments)
            .env(MARK, &self.mark)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.supervisor = Some(child);
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

    /// Kills the supervisor, as a crash does.
    pub(crate) fn kill(&mut self) {
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
        let mut child = self.supervisor.take().expect("a supervisor runs");
        let status = until("the supervisor ends", || child.try_wait().unwrap());
        status.code()
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
        assert_eq!(self.processes(), Vec::new(), "left behind");
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

    /// The control API.
    pub(crate) fn api(&self) -> Api {
        Api::new(self.data().join("control.sock"))
    }

    /// Every process of the fleet: supervisor, spawner, shims, agents and what they made.
    pub(crate) fn processes(&self) -> Vec<Process> {
        Process::marked(&format!("{MARK}={}", self.mark))
    }

    /// An agent, as the API shows it.
    #[track_caller]
    pub(crate) fn agent(&self, name: &str) -> Agent {
        self.api().get(&format!("/api/agents/{name}"))
    }

    /// Waits until an agent is as wanted.
    pub(crate) fn await_agent(
        &self,
        name: &str,
        what: &str,
        wanted: impl Fn(&Agent) -> bool,
    ) -> Agent {
        let mut last = None;
        let limit = std::time::Instant::now() + PATIENCE;
        within(PATIENCE * 2, what, || {
            let agent = self.agent(name);
            if wanted(&agent) {
                return Some(agent);
            }
            last = Some(agent);
            assert!(
                std::time::Instant::now() < limit,
                "{name} never: {what}; {last:#?}\n{}",
                self.said()
            );
            None
        })
    }

    /// Waits until an agent is in a state.
    pub(crate) fn await_state(&self, name: &str, state: State) -> Agent {
        self.await_agent(name, &format!("is {state}"), |agent| agent.state == state)
    }

    /// Waits until an agent runs; its main process.
    pub(crate) fn await_main(&self, name: &str) -> Process {
        until(&format!("{name} has a process"), || {
            let agent = self.agent(name);
            let pid = agent.instance?.pid?.cast_signed();
            (agent.state == State::Running)
                .then(|| Process::of(pid))
                .flatten()
        })
    }

    /// The lines of a file of the fleet; none when it is missing.
    pub(crate) fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits until a file of the fleet has so many lines.
    pub(crate) fn await_lines(&self, name: &str, count: usize) -> Vec<String> {
        until(&format!("{count} lines in {name}"), || {
            Some(self.lines(name)).filter(|lines| lines.len() >= count)
        })
    }

    /// Waits until a process has written its number into a file.
    pub(crate) fn await_mark(&self, name: &str) -> Process {
        let pid = self.await_lines(name, 1)[0].parse().unwrap();
        Process::of(pid).expect("the process that left its mark lives")
    }

    /// Ends the supervisor in order, hastily, or by force, whichever works.
    fn end(&mut self) {
        let Some(mut child) = self.supervisor.take() else {
            return;
        };
        for _ in 0..2 {
            if let Some(process) = Process::of(child.id().cast_signed()) {
                process.signal(Signal::CONT);
                process.signal(Signal::TERM);
            }
            if ends_within(&mut child, Duration::from_secs(5)) {
                return;
            }
        }
        drop(child.kill());
        drop(child.wait());
    }

    /// Kills whatever is left, and removes its groups.
    fn clear(&self) {
        let mut groups = Vec::new();
        let cleared = (0..100).any(|_| {
            let left = self.processes();
            for process in &left {
                groups.extend(process.groups());
                process.signal(Signal::KILL);
            }
            left.is_empty() || !ends_soon(&left)
        });
        assert!(cleared, "processes that cannot be killed");
        for (controllers, group) in groups {
            remove_group(&controllers, &group);
        }
    }
}

fn ends_soon(processes: &[Process]) -> bool {
    let mut looks = 0;
    until("killed processes end", || {
        looks += 1;
        (looks > 20 || processes.iter().all(|process| !process.lives())).then_some(())
    });
    true
}

fn ends_within(child: &mut Child, limit: Duration) -> bool {
    let deadline = std::time::Instant::now() + limit;
    until("the supervisor ends", || {
        let ended = child.try_wait().unwrap().is_some();
        (ended || std::time::Instant::now() > deadline).then_some(ended)
    })
}

/// Removes a group that a killed fleet left, if it is one that nobody else can be in.
fn remove_group(controllers: &str, group: &str) {
    let names = [
        controllers,
        controllers.trim_start_matches("name="),
        "unified",
        "",
    ];
    for name in names {
        let path = Path::new("/sys/fs/cgroup")
            .join(name)
            .join(group.trim_start_matches('/'));
        if group.len() > 1 {
            // One that is not empty is not removed by this, and does not have to be.
            fs::remove_dir(path).ok();
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let was_up = self.supervisor.is_some();
        if std::thread::panicking() {
            eprintln!("the supervisor said:\n{}", self.said());
        }
        self.end();
        let left = self.processes();
        self.clear();
        let orderly = was_up && !std::thread::panicking();
        assert!(!orderly || left.is_empty(), "left behind: {left:#?}");
    }
}
