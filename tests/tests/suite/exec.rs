//! Commands beside agents, and what is learned of agents' calls, from the command line.

use std::fs;
use std::process::Command;

use claw_daemon::api::State;
use serde_json::Value;

use crate::fleet::{Fleet, agent, until};

fn open_fleet() -> Fleet {
    let mut fleet = Fleet::new(&agent("open", &["forever"], "sandbox: {mode: none}"));
    fleet.up();
    fleet.await_state("open", State::Running);
    fleet
}

#[test]
fn a_command_has_its_streams_and_its_exit_code() {
    let mut fleet = open_fleet();
    let exec = |command: &[&str]| {
        let head = ["sandbox", "exec", "open", "--"];
        fleet.run(&[&head[..], command].concat())
    };
    let ran = exec(&["sh", "-c", "echo $OPENCLAW_AGENT; echo bad >&2; exit 9"]);
    assert_eq!(ran.out, "open\n");
    assert!(
        ran.err
            .contains("`open` has no sandbox: the command runs on the host"),
        "{ran:?}"
    );
    assert!(ran.err.ends_with("bad\n"), "{ran:?}");
    ran.exits(9);
    let much = exec(&["seq", "100000"]);
    assert_eq!(much.out.lines().count(), 100_000);
    much.exits(0);
    exec(&["sh", "-c", "kill -TERM $$"]).exits(128 + 15);
    let missing = exec(&["no-such-program"]);
    assert!(
        missing.err.contains("cannot execute `no-such-program`"),
        "{missing:?}"
    );
    missing.exits(127);
    exec(&["/etc/passwd"]).exits(126);
    let slow = [
        "sandbox",
        "exec",
        "open",
        "--timeout",
        "200ms",
        "--",
        "sleep",
        "1000",
    ];
    fleet.run(&slow).exits(124);
    let log = fleet.said();
    assert!(log.contains("a command is run beside an agent"), "{log}");
    assert!(log.contains("no-such-program"), "{log}");
    fleet.down();
    fleet.assert_empty();
}

#[test]
fn what_is_read_is_read_to_its_end() {
    let mut fleet = open_fleet();
    let mut command = fleet.command();
    command.args([
        "sandbox",
        "exec",
        "open",
        "--",
        "sh",
        "-c",
        "wc -c; echo done",
    ]);
    let input = fleet.path("input");
    fs::write(&input, vec![b'x'; 3_000_000]).unwrap();
    let output = command
        .stdin(fs::File::open(input).unwrap())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "3000000\ndone\n");
    fleet.down();
}

#[test]
fn why_a_command_is_not_run_is_said() {
    let mut fleet = Fleet::new(&format!(
        "{}{}",
        agent("idle", &["forever"], ""),
        agent(
            "pool",
            &["forever"],
            "mode: worker, replicas: 2, sandbox: {mode: none}"
        ),
    ));
    fleet.up();
    let exec = |name: &str, more: &[&str]| {
        let head = ["sandbox", "exec", name];
        fleet.run(&[&head[..], more, &["--", "true"]].concat())
    };
    let nobody = exec("nobody", &[]);
    assert!(nobody.err.contains("no agent `nobody`"), "{nobody:?}");
    nobody.exits(125);
    fleet.run(&["stop", "idle"]).ok();
    fleet.await_state("idle", State::Stopped);
    let idle = exec("idle", &[]);
    assert!(idle.err.contains("clawctl start idle"), "{idle:?}");
    idle.exits(125);
    until("a replica", || {
        let ran = exec("pool", &[]);
        ran.err.is_empty().then_some(()).or_else(|| {
            assert!(!ran.err.contains("no agent"), "{ran:?}");
            ran.err.contains("has no sandbox").then_some(())
        })
    });
    let third = exec("pool", &["--instance", "7"]);
    assert!(third.err.contains("no instance 7"), "{third:?}");
    third.exits(125);
    let (status, _) = fleet.api().ask("/api/agents/pool/exec").unwrap();
    assert_eq!(status, 400, "without a WebSocket");
    fleet.down();
}

/// Runs a command in a terminal of its own, types a line, and prints what it showed.
const IN_TERMINAL: &str = "
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
shown, keys = b'', [(b'ready', b'word\\n'), (b'got word', b'\\x03')]
while True:
    try:
        piece = os.read(terminal, 4096)
    except OSError:
        break
    if not piece:
        break
    shown += piece
    if keys and keys[0][0] in shown:
        os.write(terminal, keys.pop(0)[1])
print(shown.decode(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
";

#[test]
fn in_a_terminal_the_command_has_one_too() {
    let mut fleet = open_fleet();
    let script = "stty size >/dev/null && echo ready; read line; echo got $line; exec sleep 1000";
    let clawctl = fleet.command();
    let output = Command::new("python3")
        .args(["-c", IN_TERMINAL])
        .arg(clawctl.get_program())
        .args(["sandbox", "exec", "open", "--", "sh", "-c", script])
        .current_dir(clawctl.get_current_dir().unwrap())
        .env("TERM", "vt100")
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(shown.contains("got word"), "{shown} {output:?}");
    // Control-C went to the command, which died of it.
    assert!(shown.trim().ends_with("130"), "{shown}");
    fleet.down();
}

#[test]
fn the_end_of_the_caller_is_that_of_the_command() {
    let mut fleet = open_fleet();
    let mark = fleet.path("running");
    let script = format!(
        "echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000",
        mark.display()
    );
    let mut command = fleet.command();
    command.args(["sandbox", "exec", "open", "--", "sh", "-c", &script]);
    let mut caller = command.spawn().unwrap();
    let pid = until("the command", || fs::read_to_string(&mark).ok());
    caller.kill().unwrap();
    caller.wait().unwrap();
    let process = format!("/proc/{}", pid.trim());
    until("its end", || (!fs::exists(&process).unwrap()).then_some(()));
    fleet.await_state("open", State::Running);
    fleet.down();
    fleet.assert_empty();
}

fn is_full(fleet: &Fleet, test: &str) -> bool {
    let machine = fleet.run(&["doctor", "--output", "json"]);
    let machine: Value = serde_json::from_str(&machine.out).unwrap();
    let full = machine["sandbox"]["level"] == "full";
    if !full {
        eprintln!("SKIP {test}: no namespaces can be made here");
    }
    full
}

#[test]
fn a_command_sees_what_a_sandboxed_agent_sees() {
    let script = "echo there > /tmp/mine; exec sleep 1000";
    let mut fleet = Fleet::new(&format!(
        "  locked: {{command: [/bin/sh, -c, {script:?}], sandbox: {{mode: process}}}}\n"
    ));
    if !is_full(&fleet, "a_command_sees_what_a_sandboxed_agent_sees") {
        return;
    }
    fleet.up();
    fleet.await_state("locked", State::Running);
    let look = "until cat /tmp/mine 2>/dev/null; do sleep 0.02; done; id -un; ls /root";
    let ran = fleet.run(&["sandbox", "exec", "locked", "--", "sh", "-c", look]);
    assert_eq!(ran.out, "there\nagent\n", "{ran:?}");
    assert!(!ran.err.contains("has no sandbox"), "{ran:?}");
    fleet.crash_and_up();
    let ran = fleet.run(&["sandbox", "exec", "locked", "--", "cat", "/tmp/mine"]);
    assert_eq!(ran.out, "there\n", "{ran:?}");
    fleet.down();
    fleet.assert_empty();
}

#[test]
fn learned_calls_are_listed_with_the_line_that_allows_them() {
    let calls = "import ctypes, time; libc = ctypes.CDLL(None); \
                 libc.syscall(135, 0x0040000); libc.syscall(272, 0x10000000); \
                 print('called', flush=True); time.sleep(1000)";
    let mut fleet = Fleet::new(&format!(
        "  learner: {{command: [python3, -c, {calls:?}], sandbox: {{mode: process, seccomp: learn}}}}\n{}",
        agent("open", &["forever"], "sandbox: {mode: none}")
    ));
    if !is_full(&fleet, "learned_calls") || !cfg!(target_arch = "x86_64") {
        return;
    }
    fleet.up();
    fleet.await_output("learner", "called");
    let said = fleet.run(&["sandbox", "learned", "learner"]).ok();
    assert!(said.contains("personality"), "{said}");
    assert!(said.contains("unshare"), "{said}");
    assert!(
        said.contains("to allow the others: seccomp: {also: [personality]}"),
        "{said}"
    );
    fleet.crash_and_up();
    let list: Value = fleet
        .run(&["sandbox", "learned", "learner", "--output", "json"])
        .json();
    assert_eq!(list["learning"], true);
    let denied = |name: &str| {
        let calls = list["calls"].as_array().unwrap().iter();
        let found = calls.filter(|call| call["name"] == name);
        found.map(|call| call["denied"].clone()).next()
    };
    assert_eq!(denied("personality"), Some(false.into()));
    assert_eq!(denied("unshare"), Some(true.into()));
    let open = fleet.run(&["sandbox", "learned", "open"]).ok();
    assert!(open.contains("seccomp: learn"), "{open}");
    fleet.run(&["sandbox", "learned", "nobody"]).exits(4);
    fleet.down();
}
