//! Calls from outside: signed, near in time, each taken once.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::fleet::Fleet;
use crate::workers::await_ready;

pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Writes down the events that it hears and the runs that it is triggered for.
const LISTENER: &str = r#"
from openclaw import Agent, on

class Listener(Agent):
    async def run(self):
        with open("runs", "a") as file:
            file.write("run\n")

    @on("deployed")
    async def on_deployed(self, event):
        with open("heard", "a") as file:
            file.write(f"{event.data['version']} {event.source}\n")
"#;

/// The signature, made by somebody else's implementation.
pub(crate) fn signature(time: i64, body: &str, secret: &str) -> String {
    let program = "import hashlib, hmac, sys; t, body, secret = sys.argv[1:]; \
        mac = hmac.new(secret.encode(), f'{t}.{body}'.encode(), hashlib.sha256); \
        print(f't={t},v1={mac.hexdigest()}')";
    let time = time.to_string();
    let arguments = ["-c", program, &time, body, secret];
    let output = Command::new("python3").args(arguments).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

pub(crate) fn call(fleet: &Fleet, hook: &str, body: &str, signature: &str) -> (u16, Value) {
    let path = format!("/api/hooks/{hook}");
    let header = ("openclaw-signature", signature);
    fleet.api().post_with(&path, body, header)
}

fn fleet() -> Fleet {
    let mut fleet = Fleet::new("");
    fs::write(fleet.path("listener.py"), LISTENER).unwrap();
    let listener = "  listener: {source: listener.py}\n";
    fleet.write(
        "",
        &format!(
            "{listener}webhooks:\n  \
             deployment: {{event: deployed, secret: {SECRET}}}\n  \
             run: {{agent: listener, secret: {SECRET}}}\n  \
             rare: {{event: deployed, secret: {SECRET}, per_minute: 1}}\n"
        ),
    );
    fleet.up();
    await_ready(&fleet, "listener");
    fleet
}

#[test]
fn a_signed_call_is_taken_once_also_over_a_kill_of_the_supervisor() {
    let mut fleet = fleet();
    let body = json!({"version": "1.2"}).to_string();
    let signed = signature(jiff::Timestamp::now().as_second(), &body, SECRET);
    let (status, taken) = call(&fleet, "deployment", &body, &signed);
    assert_eq!(
        (status, &taken["duplicate"]),
        (200, &json!(false)),
        "{taken}"
    );
    assert_eq!(fleet.await_lines("heard", 1), ["1.2 hook:deployment"]);
    let (status, taken) = call(&fleet, "run", &body, &signed);
    assert_eq!(
        (status, &taken["duplicate"]),
        (200, &json!(false)),
        "{taken}"
    );
    fleet.await_lines("runs", 1);
    for _ in 0..2 {
        for hook in ["deployment", "run"] {
            let (status, taken) = call(&fleet, hook, &body, &signed);
            assert_eq!(
                (status, &taken["duplicate"]),
                (200, &json!(true)),
                "{taken}"
            );
        }
        fleet.crash_and_up();
    }
    await_ready(&fleet, "listener");
    assert_eq!(fleet.lines("heard").len(), 1);
    assert_eq!(fleet.runs("listener").len(), 1);
    fleet.down();
}

#[test]
fn a_call_that_is_forged_old_or_one_too_many_is_refused() {
    let mut fleet = fleet();
    let now = jiff::Timestamp::now().as_second();
    let refused = |hook: &str, signature: &str, status: u16, code: &str| {
        let (found, problem) = call(&fleet, hook, "{}", signature);
        assert_eq!(found, status, "{problem}");
        assert_eq!(problem["code"], code, "{problem}");
    };
    refused("deployment", "", 401, "bad_signature");
    refused(
        "deployment",
        &signature(now, "{}", "another"),
        401,
        "bad_signature",
    );
    refused(
        "deployment",
        &signature(now, "[]", SECRET),
        401,
        "bad_signature",
    );
    refused(
        "deployment",
        &signature(now - 400, "{}", SECRET),
        401,
        "bad_signature",
    );
    refused(
        "deployment",
        &signature(now + 400, "{}", SECRET),
        401,
        "bad_signature",
    );
    refused("nobody", &signature(now, "{}", SECRET), 404, "no_such_hook");
    refused("rare", "t=1,v1=00", 401, "bad_signature");
    let body = json!({"version": "2"}).to_string();
    let signed = signature(now, &body, SECRET);
    for duplicate in [false, true] {
        let (status, taken) = call(&fleet, "rare", &body, &signed);
        assert_eq!(status, 200, "forged calls use nothing up: {taken}");
        assert_eq!(taken["duplicate"], duplicate, "{taken}");
        assert!(taken["event"].is_string(), "the first answer: {taken}");
    }
    refused("rare", &signature(now, "{}", SECRET), 429, "rate_limited");
    assert!(
        fleet
            .said()
            .contains("the signature is not that of this body")
    );
    assert_eq!(fleet.await_lines("heard", 1), ["2 hook:rare"]);
    fleet.down();
}
