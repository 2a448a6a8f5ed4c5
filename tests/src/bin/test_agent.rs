//! A program that does what its arguments say, one after the other: the agent of the tests.
//!
//! ```text
//! test-agent mark /tmp/starts say hello block TERM child [ session forever ] count 10
//! ```
//!
//! After the last step it ends with 0.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio, exit};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::{Pid, setsid};

fn main() -> ExitCode {
    let steps: Vec<String> = std::env::args().skip(1).collect();
    let mut steps = Steps {
        steps: steps.into_iter(),
    };
    while let Some(step) = steps.steps.next() {
        perform(&step, &mut steps);
    }
    ExitCode::SUCCESS
}

/// The steps still to come.
struct Steps {
    steps: std::vec::IntoIter<String>,
}

impl Steps {
    fn text(&mut self) -> String {
        self.steps.next().expect("the step has an argument")
    }

    fn number(&mut self) -> u64 {
        self.text().parse().expect("the argument is a number")
    }

    fn pause(&mut self) -> Duration {
        Duration::from_millis(self.number())
    }

    fn path(&mut self) -> PathBuf {
        PathBuf::from(self.text())
    }

    /// The steps between `[` and the `]` that belongs to it.
    fn block(&mut self) -> Vec<String> {
        assert_eq!(self.text(), "[", "a block begins with [");
        let mut inside = Vec::new();
        let mut depth = 1;
        loop {
            let step = self.text();
            match step.as_str() {
                "[" => depth += 1,
                "]" => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return inside;
            }
            inside.push(step);
        }
    }
}

fn perform(step: &str, steps: &mut Steps) {
    match step {
        "mark" => append(&steps.path(), &format!("{}\n", std::process::id())),
        "mark-time" => append(&steps.path(), &format!("{}\n", now_ms())),
        "write" => append(&steps.path(), &format!("{}\n", steps.text())),
        "say" => say(&steps.text()),
        "say-error" => drop(writeln!(std::io::stderr(), "{}", steps.text())),
        "say-payload" => say_payload(),
        "say-environment" => say_environment(),
        "count" => count(steps.pause()),
        "count-from" => count_from(&steps.path(), steps.pause()),
        "flood" => flood(steps.number()),
        "sleep" => sleep(steps.pause()),
        "forever" => forever(),
        "exit" => exit(i32::try_from(steps.number()).expect("an exit code is small")),
        "raise" => raise(&steps.text()),
        "block" => signals(&steps.text())
            .thread_block()
            .expect("signals can be blocked"),
        "await-signal" => await_signal(&steps.text()),
        "await-file" => await_file(&steps.path()),
        "if-first" => if_first(steps),
        "child" => drop(child(&steps.block())),
        "must" => must(&steps.block()),
        "daemonise" => daemonise(steps.block()),
        "children" => children(steps.number()),
        "session" => drop(setsid().expect("a child leads no group")),
        "notify" => notify(&steps.text()),
        "beat" => beat(steps.pause()),
        "beat-while" => beat_while(&steps.path(), steps.pause()),
        "listen" => listen(steps.number(), None),
        "listen-while" => listen(steps.number(), Some(steps.path())),
        "take" => take(steps.number()),
        other => panic!("there is no step {other}"),
    }
}

/// Milliseconds of the wall clock.
fn now_ms() -> u128 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("after 1970").as_millis()
}

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .expect("the file can be written");
    file.write_all(text.as_bytes())
        .expect("the file can be written");
}

/// A closed or broken standard output is part of some tests, and none of the agent's business.
fn say(text: &str) {
    drop(writeln!(std::io::stdout(), "{text}"));
}

fn say_payload() {
    let mut payload = String::new();
    drop(std::io::stdin().read_to_string(&mut payload));
    say(&format!("payload {payload}"));
}

fn say_environment() {
    for (name, value) in std::env::vars() {
        say(&format!("{name}={value}"));
    }
}

/// Numbered lines, at a pace, for ever.
fn count(pace: Duration) {
    let mut number: u64 = 0;
    loop {
        say(&format!("line {number}"));
        number += 1;
        sleep(pace);
    }
}

/// Numbered lines for ever, with a prefix that no other life of the agent has: its process id.
fn count_from(marks: &Path, pace: Duration) {
    append(marks, &format!("{}\n", std::process::id()));
    let own = std::process::id();
    let mut number: u64 = 0;
    loop {
        say(&format!("{own} {number}"));
        number += 1;
        sleep(pace);
    }
}

/// So many numbered lines, as fast as they are taken.
fn flood(lines: u64) {
    let mut out = std::io::BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
    for number in 0..lines {
        if writeln!(out, "line {number} {}", "x".repeat(80)).is_err() {
            return;
        }
    }
    drop(out.flush());
}

#[expect(
    clippy::disallowed_methods,
    reason = "an agent that does nothing for a while is what some tests are about"
)]
fn sleep(pause: Duration) {
    std::thread::sleep(pause);
}

fn forever() {
    loop {
        sleep(Duration::from_secs(3600));
    }
}

fn signals(name: &str) -> SigSet {
    let mut set = SigSet::empty();
    set.add(signal(name));
    set
}

fn signal(name: &str) -> Signal {
    format!("SIG{name}").parse().expect("a signal's name")
}

fn raise(name: &str) {
    kill(Pid::this(), signal(name)).expect("a process may signal itself");
    forever();
}

/// Goes on when the signal arrives, instead of dying of it.
fn await_signal(name: &str) {
    let set = signals(name);
    set.thread_block().expect("signals can be blocked");
    set.wait().expect("a signal can be waited for");
}

fn await_file(path: &Path) {
    while !path.exists() {
        sleep(Duration::from_millis(10));
    }
}

/// `if-first FILE [ … ]`: the block only when the file was not there yet; makes it.
fn if_first(steps: &mut Steps) {
    let path = steps.path();
    let block = steps.block();
    let fresh = OpenOptions::new()
        .create_new(true)
        .write(true)
        .open(&path)
        .is_ok();
    if !fresh {
        return;
    }
    let mut inside = Steps {
        steps: block.into_iter(),
    };
    while let Some(step) = inside.steps.next() {
        perform(&step, &mut inside);
    }
}

/// Another process with steps of its own; it is not waited for.
fn child(steps: &[String]) -> std::process::Child {
    let own = std::env::current_exe().expect("this program has a path");
    Command::new(own)
        .args(steps)
        .spawn()
        .expect("a child can be started")
}

/// A child that has to succeed, else this process fails too.
fn must(steps: &[String]) {
    let status = child(steps).wait().expect("a child can be waited for");
    if !status.success() {
        say(&format!("the child failed: {status}"));
        exit(1);
    }
}

/// A grandchild in a session of its own, whose parent is gone.
fn daemonise(steps: Vec<String>) {
    let mut between = vec!["session".to_owned(), "child".to_owned(), "[".to_owned()];
    between.extend(steps);
    between.push("]".to_owned());
    drop(child(&between).wait());
}

/// As many children as the system gives, up to a number, each of which stays.
fn children(most: u64) {
    let own = std::env::current_exe().expect("this program has a path");
    let mut started = 0;
    for _ in 0..most {
        let spawned = Command::new(&own)
            .arg("forever")
            .stdin(Stdio::null())
            .spawn();
        match spawned {
            Ok(_child) => started += 1,
            Err(_refused) => break,
        }
    }
    say(&format!("started {started}"));
}

fn notify(text: &str) {
    let address = std::env::var_os("NOTIFY_SOCKET").expect("agents are given a socket");
    let socket = UnixDatagram::unbound().expect("a socket can be made");
    drop(socket.send_to(text.as_bytes(), address));
}

fn beat(pace: Duration) {
    loop {
        notify("WATCHDOG=1");
        sleep(pace);
    }
}

/// Beats as long as the file is there, then only lives.
fn beat_while(path: &Path, pace: Duration) {
    while path.exists() {
        notify("WATCHDOG=1");
        sleep(pace);
    }
    forever();
}

/// Answers HTTP on loopback: 200, or 503 while `only_with` is missing.
fn listen(port: u64, only_with: Option<PathBuf>) {
    let port = u16::try_from(port).expect("a port");
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
    let serve = move || {
        for stream in listener.incoming().flatten() {
            answer(stream, only_with.as_deref());
        }
    };
    std::thread::spawn(serve);
}

fn answer(mut stream: std::net::TcpStream, only_with: Option<&Path>) {
    let mut request = [0; 1024];
    drop(stream.read(&mut request));
    let status = match only_with {
        Some(path) if !path.exists() => "503 Service Unavailable",
        Some(_) | None => "200 OK",
    };
    let text = format!("HTTP/1.1 {status}\r\ncontent-length: 4\r\nconnection: close\r\n\r\n\"ok\"");
    drop(stream.write_all(text.as_bytes()));
}

/// Takes memory and writes to all of it.
fn take(mebibytes: u64) {
    let mut held = Vec::new();
    for _ in 0..mebibytes {
        held.push(vec![1_u8; 1 << 20]);
    }
    say(&format!("holds {} MiB", held.len()));
    forever();
}
