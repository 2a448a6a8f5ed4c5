//! The kill switch: what is asked of the core, and who may ask for what.

use claw_core::{Command, Halt, HaltLevel};
use serde_json::Value;

use super::fleet::Fleet;
use super::samples::{name, now};
use super::{Call, get, post};
use crate::api::routes::{HALT, RESUME_ALL};

/// The status, and the code of a problem.
async fn answered(fleet: &Fleet, call: Call) -> (u16, Value) {
    let answer = call.send(fleet).await;
    (answer.status, answer.json()["code"].clone())
}

#[tokio::test]
async fn a_halt_is_asked_for_with_who_wants_it_and_why() {
    let fleet = Fleet::new();
    let body = r#"{"level":"freeze","agents":["monitor"],"reason":" it loops "}"#;
    let answer = post(HALT).json(body).send(&fleet).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.json()["agents"][0]["agent"], "monitor");
    let halt = Halt {
        level: HaltLevel::Freeze,
        since: now(),
        by: "root".to_owned(),
        why: Some("it loops".to_owned()),
    };
    let agent = name("monitor");
    assert_eq!(fleet.asked(), [Command::Halt { agent, halt }]);
}

#[tokio::test]
async fn all_are_halted_at_once_and_a_journal_that_is_out_is_said() {
    let fleet = Fleet::new();
    let call = post(HALT).json(r#"{"level":"kill","all":true}"#);
    let refused = (503, Value::from("halt_unrecorded"));
    assert_eq!(answered(&fleet, call).await, refused);
    assert_eq!(fleet.asked().len(), 4);
}

#[tokio::test]
async fn nothing_is_halted_when_the_request_is_wrong() {
    let long = format!(
        r#"{{"level":"kill","agents":["monitor"],"reason":"{}"}}"#,
        "x".repeat(501)
    );
    let table = [
        (r#"{"level":"kill"}"#, 400, "bad_parameter"),
        (
            r#"{"level":"kill","all":true,"agents":["monitor"]}"#,
            400,
            "bad_parameter",
        ),
        (
            r#"{"level":"kill","agents":["monitor","nobody"]}"#,
            404,
            "no_such_agent",
        ),
        (
            r#"{"level":"kill","agents":["No Name"]}"#,
            400,
            "bad_agent_name",
        ),
        (r#"{"level":"sleep","all":true}"#, 400, "invalid_json"),
        (
            r#"{"level":"kill","all":true,"reason":"two\nlines"}"#,
            400,
            "bad_parameter",
        ),
        (long.as_str(), 400, "bad_parameter"),
    ];
    for (body, status, code) in table {
        let fleet = Fleet::new();
        let found = answered(&fleet, post(HALT).json(body)).await;
        assert_eq!(found, (status, Value::from(code)), "{body}");
        assert!(fleet.asked().is_empty(), "{body}");
    }
}

#[tokio::test]
async fn everybody_of_this_machine_halts_and_only_the_control_socket_lifts() {
    let fleet = Fleet::new();
    let over_tcp = |path, body| {
        let call = post(path).json(body).over_tcp();
        call.header("host", "127.0.0.1:8400")
    };
    let halt = over_tcp(HALT, r#"{"level":"runs","agents":["monitor"]}"#);
    assert_eq!(answered(&fleet, halt).await.0, 200);
    let lift = r#"{"agents":["monitor"]}"#;
    let forbidden = (403, Value::from("forbidden"));
    assert_eq!(
        answered(&fleet, over_tcp(RESUME_ALL, lift)).await,
        forbidden
    );
    let lifted = answered(&fleet, post(RESUME_ALL).json(lift)).await;
    assert_eq!(lifted.0, 200);
    let agent = name("monitor");
    let by = "root".to_owned();
    assert_eq!(fleet.asked().last(), Some(&Command::Lift { agent, by }));
}

#[tokio::test]
async fn nobody_is_listed_where_nobody_is_halted() {
    let answer = get(HALT).send(&Fleet::new()).await;
    assert_eq!(answer.json()["agents"], Value::Array(Vec::new()));
}
