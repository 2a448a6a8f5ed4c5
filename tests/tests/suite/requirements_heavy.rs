//! Agents with packages of their own: their virtual environments are made once, and anew when they
//! are not whole. The packages are made here, and nothing is fetched.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use claw_daemon::api::{Agent, State};
use rustix::process::Signal;

use crate::fleet::{Fleet, Process, within};

/// pip and `venv` take seconds of a processor, which others use as well.
const MAKING: Duration = Duration::from_secs(180);

/// Says which version of the package it has.
const USER: &str = r#"
import subprocess, sys
import claw_sample
from openclaw import Agent

class User(Agent):
    async def setup(self):
        script = subprocess.run(["claw-sample"], capture_output=True, text=True, check=True)
        with open("marks", "a") as file:
            file.write(f"{claw_sample.VERSION} {script.stdout.strip()} {sys.prefix}\n")

    async def run(self): ...
"#;

const PLAIN: &str =
    "from openclaw import Agent\n\nclass Plain(Agent):\n    async def run(self): ...\n";

/// Makes `wheels/claw_sample-VERSION-py3-none-any.whl`, with a module and a script.
const WHEEL: &str = r#"
import pathlib, sys, zipfile
version = sys.argv[1]
name, info = f"claw_sample-{version}", f"claw_sample-{version}.dist-info"
pathlib.Path("wheels").mkdir(exist_ok=True)
with zipfile.ZipFile(f"wheels/{name}-py3-none-any.whl", "w") as wheel:
    wheel.writestr("claw_sample.py", f"VERSION = '{version}'\ndef main(): print('script', VERSION)\n")
    wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: claw-sample\nVersion: {version}\n")
    wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr(f"{info}/entry_points.txt", "[console_scripts]\nclaw-sample = claw_sample:main\n")
    files = ["claw_sample.py", *(f"{info}/{part}" for part in ("METADATA", "WHEEL", "entry_points.txt", "RECORD"))]
    wheel.writestr(f"{info}/RECORD", "".join(f"{file},,\n" for file in files))
"#;

fn wheel(fleet: &Fleet, version: &str) {
    let mut python = fleet.command_of("python3");
    let made = python.args(["-c", WHEEL, version]).status().unwrap();
    assert!(made.success());
}

/// A fleet of `user`, which takes these requirements, and of agents besides. Not started yet.
fn fleet(requirements: &str, more: &str) -> Fleet {
    let fleet = Fleet::new("");
    fs::create_dir_all(fleet.path("agents")).unwrap();
    fs::write(fleet.path("agents/user.py"), USER).unwrap();
    fs::write(fleet.path("agents/plain.py"), PLAIN).unwrap();
    describe(&fleet, requirements, more);
    fleet
}

fn describe(fleet: &Fleet, requirements: &str, more: &str) {
    let policy =
        "restart_policy: {initial_delay: 200ms, backoff: immediate, max_retries: unlimited}";
    let python = format!("python: {{requirements: {requirements}}}");
    let user = format!("  user: {{source: agents/user.py, {policy}, {python}{more}}}\n");
    fleet.write("", &format!("{user}  plain: {{source: agents/plain.py}}\n"));
}

fn await_user(fleet: &Fleet, what: &str, wanted: impl Fn(&Agent) -> bool) -> Agent {
    within(MAKING, what, || fleet.find("user").filter(&wanted))
}

fn logged(fleet: &Fleet, words: &str) -> usize {
    let lines = fleet.log("user");
    lines
        .iter()
        .filter(|line| line.text.contains(words))
        .count()
}

/// The environments of an agent, whole or not.
fn environments(fleet: &Fleet) -> Vec<PathBuf> {
    let folder = fleet.data().join("agents/user/environments");
    let entries = fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.is_dir()).collect()
}

#[test]
fn packages_are_installed_once_for_each_set_of_requirements() {
    let mut fleet = fleet(
        "[--no-index, --find-links wheels, claw-sample]",
        ", replicas: 2",
    );
    wheel(&fleet, "1.0");
    fleet.up();
    let both = || (fleet.lines("marks").len() == 2).then_some(());
    within(MAKING, "both replicas are set up", both);
    let made = environments(&fleet);
    assert_eq!(made.len(), 1, "replicas share one: {made:?}");
    let mark = format!("1.0 script 1.0 {}", made[0].display());
    assert_eq!(fleet.lines("marks"), [mark.clone(), mark]);
    fleet.run(&["restart", "user"]).ok();
    let again = || (fleet.lines("marks").len() == 4).then_some(());
    within(MAKING, "both are set up again", again);
    assert_eq!(environments(&fleet), made);
    assert_eq!(logged(&fleet, "making the virtual environment"), 1);
    fleet.down();
}

/// Imports its package once more when it runs, after the other replica has been set up.
const CONFINED: &str = r#"
import importlib, sys
import claw_sample
from openclaw import Agent

class Confined(Agent):
    async def setup(self):
        print("set up", claw_sample.VERSION, flush=True)

    async def run(self):
        print("run", importlib.reload(claw_sample).VERSION, sys.prefix, flush=True)
"#;

#[test]
fn replicas_in_sandboxes_have_environments_of_their_own() {
    let mut fleet = Fleet::new("");
    if !fleet.confines("replicas_in_sandboxes_have_environments_of_their_own") {
        return;
    }
    wheel(&fleet, "1.0");
    fs::create_dir_all(fleet.path("agents")).unwrap();
    fs::write(fleet.path("agents/confined.py"), CONFINED).unwrap();
    fleet.write(
        "",
        "  confined: {source: agents/confined.py, replicas: 2, \
             python: {requirements: [--no-index, --find-links wheels, claw-sample]}, \
             sandbox: {mode: process, readable: [wheels]}}\n",
    );
    fleet.up();
    for name in ["confined-0", "confined-1"] {
        within(MAKING, "a replica is set up", || {
            fleet.find(name).filter(|agent| agent.ready)
        });
    }
    for name in ["confined-0", "confined-1"] {
        fleet.run(&["trigger", name, "--wait"]).ok();
        let output = fleet.output(name);
        assert!(output.contains("set up 1.0\n"), "{output}");
        assert!(output.contains("run 1.0 "), "{output}");
    }
    fleet.down();
}

#[test]
fn requirements_that_change_are_installed_beside_the_old_ones() {
    let mut fleet = fleet("requirements.txt", "");
    wheel(&fleet, "1.0");
    wheel(&fleet, "2.0");
    let options = "--no-index\n--find-links wheels\n";
    let requirements = fleet.path("requirements.txt");
    fs::write(
        &requirements,
        format!("{options}-c constraints.txt\nclaw-sample\n"),
    )
    .unwrap();
    fs::write(fleet.path("constraints.txt"), "claw-sample<2\n").unwrap();
    fleet.up();
    await_user(&fleet, "it is ready", |agent| agent.ready);
    fs::write(fleet.path("constraints.txt"), "claw-sample>=2\n").unwrap();
    fleet.run(&["restart", "user"]).ok();
    let second = || fleet.lines("marks").get(1).cloned();
    assert!(within(MAKING, "it is set up again", second).starts_with("2.0 script 2.0"));
    assert_eq!(
        environments(&fleet).len(),
        2,
        "the old one was used just now"
    );
    fleet.down();
}

#[test]
fn what_cannot_be_installed_is_said_and_tried_again() {
    let mut fleet = fleet("[--no-index, --find-links wheels, claw-sample]", "");
    fs::create_dir(fleet.path("wheels")).unwrap();
    fleet.up();
    let failed = await_user(&fleet, "it has failed", |agent| {
        agent
            .last_death
            .as_ref()
            .is_some_and(|death| death.cause.exit_code == Some(75))
    });
    assert!(!failed.ready);
    let why = fleet.run(&["why", "user"]).ok();
    let because = "exited with code 75: requirements claw-sample cannot be installed: \
        ERROR: No matching distribution found for claw-sample; see `clawctl logs user`";
    assert!(why.contains(because), "{why}");
    let status = fleet.run(&["status", "user"]).out;
    for said in [
        "the virtual environment cannot be made: pip exited with code 1",
        "No matching distribution found for claw-sample",
        "correct `python.requirements` of the agent in openclaw.yaml",
    ] {
        assert!(logged(&fleet, said) > 0, "{said}: {status}");
    }
    wheel(&fleet, "1.0");
    await_user(&fleet, "it is ready", |agent| agent.ready);
    fleet.down();
}

/// A package index that answers every request, once it may. pip tries again what fails, on
/// connections that may be gone by the time they are looked at, so each has a thread.
struct Index {
    port: u16,
    /// Counts connections.
    asked: Arc<AtomicUsize>,
    answers: Arc<(Mutex<Answers>, Condvar)>,
}

/// Whether an index answers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answers {
    Withheld,
    Given,
}

impl Index {
    fn open() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(AtomicUsize::new(0));
        let answers = Arc::new((Mutex::new(Answers::Withheld), Condvar::new()));
        let (count, gate) = (Arc::clone(&asked), Arc::clone(&answers));
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::SeqCst);
                let gate = Arc::clone(&gate);
                // Who asked may have been killed meanwhile.
                thread::spawn(move || answer(connection, &gate).ok());
            }
        });
        Self {
            port,
            asked,
            answers,
        }
    }

    fn requirements(&self) -> String {
        let port = self.port;
        let options = "--no-index, --find-links wheels";
        format!("[{options}, \"--find-links http://127.0.0.1:{port}/\", claw-sample]")
    }

    fn answer_all(&self) {
        let (answers, changed) = &*self.answers;
        *answers.lock().unwrap() = Answers::Given;
        changed.notify_all();
    }
}

fn answer(mut asked: TcpStream, gate: &(Mutex<Answers>, Condvar)) -> io::Result<()> {
    let mut request = [0; 4096];
    let _length = asked.read(&mut request)?;
    let (answers, changed) = gate;
    let withheld = |answers: &mut Answers| *answers == Answers::Withheld;
    drop(changed.wait_while(answers.lock().unwrap(), withheld));
    let page = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    asked.write_all(page.as_bytes())?;
    asked.shutdown(Shutdown::Write)
}

#[test]
fn an_environment_in_the_making_keeps_nobody_waiting_and_is_made_anew_when_it_is_torn() {
    let index = Index::open();
    let mut fleet = fleet(&index.requirements(), "");
    wheel(&fleet, "1.0");
    fleet.up();
    let asked = || (index.asked.load(Ordering::SeqCst) > 0).then_some(());
    within(MAKING, "pip asks the index", asked);
    fleet.await_agent("plain", "is ready", |agent| agent.ready);
    let making = await_user(&fleet, "it says what it does", |agent| {
        agent
            .status_text
            .as_ref()
            .is_some_and(|text| text.starts_with("pip: Looking in links"))
    });
    assert_eq!((making.state, making.ready), (State::Initializing, false));
    let why = fleet.run(&["why", "user"]).ok();
    assert!(why.contains("(\"pip: Looking in links"), "{why}");
    let torn = environments(&fleet);
    assert_eq!(torn.len(), 1);
    let pid = making.instance.unwrap().pid.unwrap().cast_signed();
    Process::of(pid).unwrap().signal(Signal::KILL);
    index.answer_all();
    let ready = await_user(&fleet, "it is ready", |agent| agent.ready);
    assert_eq!(ready.status_text, None, "what pip did is over");
    assert_eq!(logged(&fleet, "making the virtual environment"), 2);
    assert_eq!(environments(&fleet), torn);
    fleet.down();
}
