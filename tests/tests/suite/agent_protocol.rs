//! What an agent's own socket makes of those who should not be there.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
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

/// Says what it found of another agent's state, or what kept it from looking.
const CURIOUS: &str = r#"
from openclaw import Agent

class Curious(Agent):
    async def run(self):
        try:
            found = self.state.read_from("keeper").get("secret", None)
        except Exception as error:
            found = f"refused: {error}"
        with open("found", "a") as file:
            file.write(f"{self.config['who']} {found}\n")
"#;

const KEEPER: &str = r#"
from openclaw import Agent

class Keeper(Agent):
    async def run(self):
        await self.state.set("secret", 42)
"#;

#[test]
fn the_state_of_another_agent_is_read_by_those_who_may_alone() {
    let mut fleet = Fleet::new(
        "  keeper: {source: keeper.py}\n  \
         stranger: {source: curious.py, config: {who: stranger}, manages: keeper}\n  \
         reader: {source: curious.py, config: {who: reader}, read_from: keeper}\n",
    );
    fs::write(fleet.path("keeper.py"), KEEPER).unwrap();
    fs::write(fleet.path("curious.py"), CURIOUS).unwrap();
    fleet.up();
    for agent in ["keeper", "stranger", "reader"] {
        fleet.await_agent(agent, "is ready", |agent| agent.ready);
        fleet.run(&["trigger", agent, "--wait"]).ok();
    }
    let found = fleet.await_lines("found", 2);
    assert!(found[0].starts_with("stranger refused: "), "{found:?}");
    assert_eq!(found[1], "reader 42");
    fleet.down();
}

#[test]
fn strangers_neither_end_an_agent_nor_keep_it_from_its_socket() {
    let mut fleet = fleet();
    let main = fleet.await_main("idle");
    for _ in 0..70 {
        let answer = get(&fleet, "nonsense");
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    }
    assert!(!fleet.said().contains("taken for broken"));
    assert!(main.lives(), "the agent itself is left alone");
    let socket = fleet.data().join("agents/idle/api/agent.sock");
    let held: Vec<_> = (0..80)
        .map(|_| UnixStream::connect(&socket).unwrap())
        .collect();
    // A new life needs connections of its own.
    fleet.run(&["restart", "idle"]).ok();
    until("a new life is ready", || {
        let agent = fleet.agent("idle");
        (agent.ready && fleet.await_main("idle").pid != main.pid).then_some(())
    });
    drop(held);
    fleet.down();
}

#[test]
fn a_socket_is_served_as_long_as_its_agent_is_in_the_fleet() {
    let mut fleet = fleet();
    let socket = fleet.data().join("agents/idle/api/agent.sock");
    fleet.write("", "  other: {command: [sleep, inf]}\n");
    until("nobody answers any more", || {
        UnixStream::connect(&socket).err().map(drop)
    });
    fleet.write("", "  idle: {source: idle.py}\n");
    until("the agent is back", || {
        fleet.find("idle").filter(|agent| agent.ready)
    });
    let answer = get(&fleet, "nonsense");
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    fleet.down();
}

#[test]
fn a_socket_belongs_to_the_user_of_its_agent_also_when_that_changes() {
    if !rustix::process::geteuid().is_root() {
        let test = "a_socket_belongs_to_the_user_of_its_agent_also_when_that_changes";
        eprintln!("SKIP {test}: only root can run an agent as somebody else");
        return;
    }
    let with = |user: &str| format!("  idle: {{command: [sleep, inf], working_dir: /{user}}}\n");
    let mut fleet = Fleet::new(&with(""));
    fleet.up();
    fleet.await_main("idle");
    let socket = fleet.data().join("agents/idle/api/agent.sock");
    assert_eq!(fs::metadata(&socket).unwrap().uid(), 0);
    fleet.write("", &with(", user: nobody"));
    until("the socket is nobody's", || {
        let owner = fs::metadata(&socket).ok()?.uid();
        (owner == 65534).then_some(())
    });
    let answer = get(&fleet, "nonsense");
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    fleet.down();
}
