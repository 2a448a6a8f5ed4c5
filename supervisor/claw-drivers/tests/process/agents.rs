//! Small programs that tests run as agents.

use std::fmt::Write;
use std::fs;
use std::os::fd::AsRawFd;

use crate::world;

const AGENT: &str = "__agent";

/// The command of one of the programs below.
pub(crate) fn command(arguments: &[&str]) -> Vec<String> {
    let own = std::env::current_exe()
        .unwrap()
        .to_string_lossy()
        .into_owned();
    let head = [own, AGENT.to_owned()];
    head.into_iter()
        .chain(arguments.iter().map(|&text| text.to_owned()))
        .collect()
}

/// Runs one of them if this process was started for it.
pub(crate) fn reenter() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((AGENT, arguments)) = arguments
        .split_first()
        .map(|(first, rest)| (first.as_str(), rest))
    else {
        return;
    };
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["describe", file] => describe(file),
        ["hog", bytes] => hog(bytes.parse().unwrap()),
        ["fork", count, file] => fork_many(count.parse().unwrap(), file),
        ["notify", ref texts @ ..] => notify(texts),
        ["move-main", code, file] => move_main(code, file, |_child| {}),
        ["move-main-and-wait", code, file] => move_main(code, file, |child| drop(child.wait())),
        ["lock-down"] => crate::lockdown::program(),
        _ => std::process::exit(99),
    }
    std::process::exit(0);
}

/// Writes what it finds itself to be.
fn describe(file: &str) {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let mut text = String::new();
    for line in read("/proc/self/status").lines() {
        if [
            "SigBlk", "SigIgn", "SigCgt", "Groups", "Uid", "Gid", "Umask",
        ]
        .iter()
        .any(|key| line.starts_with(key))
        {
            text += line;
            text += "\n";
        }
    }
    text += "oom ";
    text += &read("/proc/self/oom_score_adj");
    let own = world::stat(std::process::id().cast_signed()).unwrap();
    let alone = own.session == std::process::id().cast_signed();
    writeln!(text, "session {alone}").unwrap();
    let dir = fs::File::open("/proc/self/fd").unwrap();
    let mut fds: Vec<String> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| *name != dir.as_raw_fd().to_string())
        .collect();
    fds.sort();
    // One of them is the directory being read.
    fds.pop();
    writeln!(text, "fds {}", fds.join(" ")).unwrap();
    let stdin = fs::read_link("/proc/self/fd/0").unwrap();
    writeln!(text, "stdin {}", stdin.display()).unwrap();
    text += &read("/proc/self/cgroup");
    fs::write(file, text).unwrap();
}

/// Uses so much memory that it must be killed.
fn hog(bytes: usize) {
    let mut held = Vec::new();
    while held.len() * 4096 < bytes {
        held.push(vec![1_u8; 4096]);
    }
    println!("{}", held.len());
}

/// Forks until it cannot, and writes how often it could.
fn fork_many(count: u32, file: &str) {
    let mut made = 0;
    let mut children = Vec::new();
    for _ in 0..count {
        match std::process::Command::new("/bin/sleep").arg("1000").spawn() {
            Ok(child) => children.push(child),
            Err(_) => break,
        }
        made += 1;
    }
    fs::write(file, made.to_string()).unwrap();
    std::process::exit(i32::from(made == count));
}

fn send_notification(text: &str) {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    let target = std::env::var("NOTIFY_SOCKET").unwrap();
    let address = match target.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name).unwrap(),
        None => SocketAddr::from_pathname(&target).unwrap(),
    };
    UnixDatagram::unbound()
        .unwrap()
        .send_to_addr(text.as_bytes(), &address)
        .unwrap();
}

/// Sends each text, then waits to be killed.
fn notify(texts: &[&str]) {
    for text in texts {
        send_notification(&text.replace("\\n", "\n"));
    }
    loop {
        std::thread::park();
    }
}

/// Makes a child of a child the main process, which then exits with `code`; this process goes on.
fn move_main(code: &str, file: &str, wait: fn(&mut std::process::Child)) {
    // It ends when it is told to, which is after the shim was seen to follow it.
    let script = format!("until [ -e '{file}' ]; do sleep 0.02; done; exit {code}");
    let mut child = std::process::Command::new("/bin/sh")
        .args(["-c", &script])
        .spawn()
        .unwrap();
    send_notification(&format!("MAINPID={}", child.id()));
    wait(&mut child);
    loop {
        std::thread::park();
    }
}
