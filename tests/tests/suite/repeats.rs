//! Requests of the agent protocol that are sent again, as by a client that did not get the answer.

use serde_json::json;

use crate::caller::{answers, caller};

#[test]
fn a_request_that_is_sent_again_gets_the_first_answer() {
    let mut fleet = caller(
        "shared_state: {write: [\"*\"]}",
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
