//! Requests of the agent protocol that are sent again, as by a client that did not get the answer.

use std::fs;

use serde_json::{Value, json};

use crate::fleet::Fleet;

/// Makes the calls of its `calls.json`, one after the other, and writes down the answers. It says
/// no hello: the token is all that it needs.
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
    return {"status": answer.status, "body": json.loads(text) if text else None}

def told(name, answer):
    with open("answers", "a") as file:
        file.write(json.dumps({"name": name, **answer}) + "\n")

"#;

/// A fleet with an agent that makes these calls.
fn caller(calls: &str) -> Fleet {
    let mut fleet = Fleet::new(WORKER);
    let script = format!("{CALLER}{calls}\ntime.sleep(600)\n");
    fs::write(fleet.path("caller.py"), script).unwrap();
    fleet.up();
    fleet
}

/// What the agent was answered, once there are so many answers.
fn answers(fleet: &Fleet, count: usize) -> Vec<Value> {
    let lines = fleet.await_lines("answers", count);
    let read = |line: &String| serde_json::from_str(line).unwrap();
    lines.iter().map(read).collect()
}

const WORKER: &str = "  caller: {command: [python3, caller.py], mode: worker, \
    shared_state: {write: [\"*\"]}}\n";

#[test]
fn a_request_that_is_sent_again_gets_the_first_answer() {
    let mut fleet = caller(
        r#"
call("PUT", "/v1/state/a", 1)
call("PUT", "/v1/state/gone", 1)
batch = {"state": [{"op": "get", "key": "a"}, {"op": "set", "key": "a", "value": 2},
                   {"op": "delete", "key": "gone"}], "events": [{"name": "x"}]}
for key in ("k1", "k1"):
    told("batch", call("POST", "/v1/state:batch", batch, Idempotency_Key=key))
    call("PUT", "/v1/state/a", 7)
call("PUT", "/v1/shared/s", 1)
for key in ("k2", "k2"):
    told("delete", call("DELETE", "/v1/shared/s", Idempotency_Key=key))
for key in ("k3", "k3"):
    told("events", call("POST", "/v1/events:batch", {"events": [{"name": "y"}, {"name": "y"}]},
                        Idempotency_Key=key))
work = None
while not work:
    work = call("GET", "/v1/work?wait=10")["body"]
path = "/v1/work/" + work[0]["work"] + "/done"
for _ in range(2):
    told("done", call("POST", path, {"attempt": 1, "ok": True, "events": [{"name": "z"}]}))
    call("PUT", "/v1/state/a", 8)
told("a", call("GET", "/v1/state/a"))
"#,
    );
    answers(&fleet, 6);
    fleet.run(&["trigger", "caller"]).ok();
    let answers = answers(&fleet, 9);
    for pair in answers[..6].chunks(2) {
        assert_eq!(pair[0]["status"], 200, "{pair:?}");
        assert_eq!(pair[0], pair[1]);
    }
    let batch = &answers[0]["body"];
    assert_eq!(
        batch["results"],
        json!([{"version": 1, "value": 1}, {"version": 3}, {"deleted": true}])
    );
    assert_eq!(answers[2]["body"]["deleted"], true);
    assert_eq!(answers[4]["body"]["ids"].as_array().unwrap().len(), 2);
    let (done, again) = (&answers[6]["body"], &answers[7]["body"]);
    assert_eq!(
        (&done["duplicate"], &again["duplicate"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(
        (&done["events"], &done["version"]),
        (&again["events"], &again["version"])
    );
    assert_eq!(done["events"].as_array().unwrap().len(), 1);
    assert_eq!(
        answers[8]["body"], 8,
        "what was done once is not done again"
    );
    fleet.down();
}
