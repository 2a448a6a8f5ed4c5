//! An agent that speaks the protocol itself, without an SDK. It says no hello: its token is all
//! that it needs.

use std::fs;

use serde_json::Value;

use crate::fleet::Fleet;

/// What the calls of the agent are written with: `call` makes one, `told` writes down its answer.
const CALLER: &str = r#"
import http.client, json, os, socket, time

class Socket(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(os.environ["OPENCLAW_SOCK"])

def call(method, path, body=None, **headers):
    line = Socket("openclaw")
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    headers["Authorization"] = "Bearer " + os.environ["OPENCLAW_TOKEN"]
    text = None if body is None else json.dumps(body)
    line.request(method, path, text, headers)
    answer = line.getresponse()
    text = answer.read()
    told = {"status": answer.status, "body": json.loads(text) if text else None}
    if answer.getheader("Retry-After"):
        told["retry_after"] = answer.getheader("Retry-After")
    return told

def told(name, answer):
    with open("answers", "a") as file:
        file.write(json.dumps({"name": name, **answer}) + "\n")

"#;

/// A fleet with an agent `caller` of these keys that makes these calls.
pub(crate) fn caller(keys: &str, calls: &str) -> Fleet {
    let mut fleet = caller_with(keys, calls, "");
    fleet.up();
    fleet
}

/// The same with more of the fleet file behind its agents, and not started yet.
pub(crate) fn caller_with(keys: &str, calls: &str, more: &str) -> Fleet {
    let agent = format!("  caller: {{command: [python3, caller.py], mode: worker, {keys}}}\n");
    let fleet = Fleet::new(&format!("{agent}{more}"));
    let script = format!("{CALLER}{calls}\ntime.sleep(600)\n");
    fs::write(fleet.path("caller.py"), script).unwrap();
    fleet
}

/// What the agent was answered, once there are so many answers.
pub(crate) fn answers(fleet: &Fleet, count: usize) -> Vec<Value> {
    let lines = fleet.await_lines("answers", count);
    let read = |line: &String| serde_json::from_str(line).unwrap();
    lines.iter().map(read).collect()
}
