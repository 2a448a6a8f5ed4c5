//! What an agent's own socket makes of those who should not be there.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::fleet::{Fleet, until};

const IDLE: &str = "from openclaw import Agent\n\nclass Idle(Agent):\n    pass\n";

fn fleet() -> Fleet {
    let mut fleet = Fleet::new("  idle: {source: idle.py}\n");
    fs::write(fleet.path("idle.py"), IDLE).unwrap();
    fleet.up();
    fleet.await_agent("idle", "is ready", |agent| agent.ready);
    fleet
}

/// Sends these bytes to the agent's socket; what came back until it was closed.
fn send(fleet: &Fleet, bytes: &[u8]) -> String {
    let socket = fleet.data().join("agents/idle/api/agent.sock");
    let mut stream = UnixStream::connect(socket).unwrap();
    let patience = Duration::from_secs(30);
    stream.set_read_timeout(Some(patience)).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn get(fleet: &Fleet, token: &str) -> String {
    let request = format!(
        "GET /v1/state HTTP/1.1\r\nHost: openclaw\r\nConnection: close\r\n\
         Authorization: Bearer {token}\r\n\r\n"
    );
    send(fleet, request.as_bytes())
}

fn await_audited(fleet: &Fleet, what: &str) {
    until(&format!("{what} is audited"), || {
        let said = fleet.said();
        let mut lines = said.lines();
        lines
            .find(|line| line.contains("refused: ") && line.contains(what))
            .map(drop)
    });
}

#[test]
fn a_token_of_nobody_and_one_in_foreign_hands_are_refused_and_audited() {
    let mut fleet = fleet();
    let answer = get(&fleet, "nonsense");
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert!(answer.contains("\"code\":\"unauthorized\""), "{answer}");
    await_audited(&fleet, "the token is not one of this agent");
    let main = fleet.await_main("idle");
    let environment = fs::read(format!("/proc/{}/environ", main.pid)).unwrap();
    let environment = String::from_utf8_lossy(&environment).into_owned();
    let token = environment
        .split('\0')
        .find_map(|variable| variable.strip_prefix("OPENCLAW_TOKEN="))
        .expect("the agent has a token");
    let answer = get(&fleet, token);
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert!(answer.contains("\"code\":\"forbidden\""), "{answer}");
    await_audited(&fleet, "does not belong to the agent");
    assert!(main.lives(), "the agent itself is left alone");
    fleet.down();
}

#[test]
fn nonsense_is_refused_and_audited_and_the_agent_works_on() {
    let mut fleet = fleet();
    let answer = send(&fleet, b"\x16\x03\x01\xff\xfe\r\n\r\n");
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 400"),
        "{answer}"
    );
    await_audited(&fleet, "not HTTP");
    let chunked = b"POST /v1/events HTTP/1.1\r\nHost: openclaw\r\nConnection: close\r\n\
        Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let answer = send(&fleet, chunked);
    assert!(answer.starts_with("HTTP/1.1 411"), "{answer}");
    fleet.run(&["trigger", "idle", "--wait"]).ok();
    assert_eq!(fleet.agent("idle").restarts, 0);
    fleet.down();
}
