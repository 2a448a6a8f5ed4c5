//! What good calls answer, whole bodies as goldens.

use std::time::Duration;

use claw_core::Command;
use claw_core::event::Freeze;

use super::fleet::Fleet;
use super::samples::{NEW_RUN, OLD_RUN, degraded_plan, name};
use super::{Call, get, post};

/// The status and the pretty body of a call.
async fn shown(fleet: &Fleet, call: Call) -> String {
    let answered = call.send(fleet).await;
    let pretty = serde_json::to_string_pretty(&answered.json()).unwrap();
    format!("{}\n{pretty}", answered.status)
}

#[tokio::test]
async fn agents_are_listed_by_name_with_reason_and_use() {
    insta::assert_snapshot!(shown(&Fleet::new(), get("/api/agents")).await);
}

#[tokio::test]
async fn one_agent_is_shown_as_in_the_list() {
    let fleet = Fleet::new();
    let list = get("/api/agents").send(&fleet).await.json();
    let one = get("/api/agents/monitor").send(&fleet).await.json();
    assert_eq!(list["agents"][2], one);
    let versioned = get("/api/v1/agents/monitor").send(&fleet).await.json();
    assert_eq!(versioned, one);
}

#[tokio::test]
async fn runs_are_listed_newest_first_a_page_at_a_time() {
    let fleet = Fleet::new();
    post("/api/agents/nightly/trigger").send(&fleet).await;
    let first = get("/api/agents/nightly/runs?limit=1")
        .send(&fleet)
        .await
        .json();
    assert_eq!(first["runs"][0]["id"], NEW_RUN);
    let rest = format!(
        "/api/agents/nightly/runs?before={}",
        first["next"].as_str().unwrap()
    );
    insta::assert_snapshot!(shown(&fleet, get(&rest)).await);
}

#[tokio::test]
async fn one_run_is_found_by_its_id() {
    let found = get(&format!("/api/runs/{OLD_RUN}"))
        .send(&Fleet::new())
        .await
        .json();
    assert_eq!(
        (&found["state"], &found["agent"]),
        (&"failed".into(), &"nightly".into())
    );
}

#[tokio::test]
async fn transitions_carry_their_evidence() {
    insta::assert_snapshot!(shown(&Fleet::new(), get("/api/agents/broken/transitions")).await);
}

#[tokio::test]
async fn the_configuration_is_shown_with_secrets_masked() {
    let shown = shown(&Fleet::new(), get("/api/config")).await;
    assert!(
        !shown.contains("secret-") && !shown.contains("very-secret"),
        "{shown}"
    );
    insta::assert_snapshot!(shown);
}

#[tokio::test]
async fn a_plan_tells_each_change_and_what_it_takes() {
    let fleet = Fleet::new();
    let of_file = shown(&fleet, post("/api/config/plan")).await;
    let of_text = post("/api/config/plan").body("text/yaml", "project: x\n");
    assert_eq!(shown(&fleet, of_text).await, of_file);
    insta::assert_snapshot!(of_file);
}

#[tokio::test]
async fn applying_tells_what_was_changed() {
    insta::assert_snapshot!(shown(&Fleet::new(), post("/api/config/apply")).await);
}

#[tokio::test]
async fn health_is_ok_and_readiness_given() {
    let fleet = Fleet::new();
    let health = get("/api/health").send(&fleet).await.json();
    assert_eq!(health["degraded"], serde_json::json!([]));
    assert_eq!(health["status"], "ok");
    assert_eq!(
        get("/api/ready").send(&fleet).await.body,
        r#"{"ready":true}"#
    );
}

#[tokio::test]
async fn a_degraded_sandbox_is_told_by_status_and_health_and_ends_no_readiness() {
    let fleet = Fleet::new().confined_by(degraded_plan());
    let agent = get("/api/agents/monitor").send(&fleet).await.json();
    insta::assert_snapshot!(serde_json::to_string_pretty(&agent["sandbox"]).unwrap());
    let idle = get("/api/agents/idle").send(&fleet).await.json();
    assert_eq!(
        idle["sandbox"],
        serde_json::json!({"layers": [], "losses": []})
    );
    let health = get("/api/health").send(&fleet).await.json();
    assert_eq!(health["status"], "degraded");
    assert_eq!(
        (
            &health["degraded"][0]["part"],
            &health["degraded"][0]["detail"]
        ),
        (
            &"sandbox".into(),
            &"`monitor` runs degraded: files and processes of the host are not hidden from it"
                .into()
        )
    );
    assert_eq!(get("/api/ready").send(&fleet).await.status, 200);
}

#[tokio::test]
async fn what_was_denied_is_told_newest_first() {
    let fleet = Fleet::new();
    insta::assert_snapshot!(shown(&fleet, get("/api/agents/monitor/denials")).await);
    let nobody = get("/api/agents/nobody/denials").send(&fleet).await;
    assert_eq!(nobody.status, 404);
}

#[tokio::test]
async fn learned_calls_come_with_the_line_that_allows_those_that_can_be() {
    let fleet = Fleet::new();
    let said = get("/api/agents/monitor/learned").send(&fleet).await.json();
    assert_eq!(
        said,
        serde_json::json!({
            "learning": false,
            "calls": [
                {"name": "mbind", "count": 12, "first_seen": "2026-11-20T09:59:00Z", "denied": false},
                {"name": "mount", "count": 2, "first_seen": "2026-11-20T09:59:00Z", "denied": true},
                {"name": "personality", "count": 1, "first_seen": "2026-11-20T09:59:00Z", "denied": false},
            ],
            "line": "seccomp: {also: [mbind, personality]}",
        })
    );
    let idle = get("/api/agents/idle/learned").send(&fleet).await.json();
    assert_eq!(idle, serde_json::json!({"learning": false, "calls": []}));
    let nobody = get("/api/agents/nobody/learned").send(&fleet).await;
    assert_eq!(nobody.status, 404);
}

#[tokio::test]
async fn a_journal_that_cannot_be_written_degrades_health_and_ends_readiness() {
    let fleet = Fleet::new();
    *fleet.world.journal.lock().unwrap() = Err("the disk is full".to_owned());
    let health = get("/api/health").send(&fleet).await;
    assert_eq!(
        (health.status, &health.json()["status"]),
        (200, &"degraded".into())
    );
    insta::assert_snapshot!(shown(&fleet, get("/api/ready")).await);
}

#[tokio::test]
async fn a_trigger_is_accepted_with_the_place_of_its_run() {
    let fleet = Fleet::new();
    let call = post("/api/agents/nightly/trigger").json(r#" {"day": 1} "#);
    let answered = call.send(&fleet).await;
    assert_eq!(
        (answered.status, answered.header("location")),
        (202, &*format!("/api/runs/{NEW_RUN}"))
    );
    let payload = Some(r#"{"day": 1}"#.to_owned());
    assert_eq!(
        fleet.asked(),
        [Command::Trigger {
            agent: name("nightly"),
            payload,
            run: None,
        }]
    );
    insta::assert_snapshot!(serde_json::to_string_pretty(&answered.json()).unwrap());
}

#[tokio::test]
async fn a_stop_is_answered_when_taken_up_and_with_wait_when_done() {
    let fleet = Fleet::new();
    let at_once = post("/api/agents/monitor/stop").send(&fleet).await;
    assert_eq!(at_once.status, 202);
    let late = post("/api/agents/monitor/stop?wait=10ms")
        .send(&fleet)
        .await;
    assert_eq!(
        (late.status, &late.json()["code"]),
        (504, &"wait_timed_out".into())
    );
    let waiting = post("/api/agents/monitor/stop?wait=30s").send(&fleet);
    let stopping = async {
        tokio::task::yield_now().await;
        fleet.world.stopped.send_replace(true);
    };
    let (done, ()) = tokio::join!(waiting, stopping);
    assert_eq!(
        (done.status, &done.json()["name"]),
        (200, &"monitor".into())
    );
    assert_eq!(
        fleet.asked(),
        vec![
            Command::Stop {
                agent: name("monitor")
            };
            3
        ]
    );
}

#[tokio::test]
async fn a_pause_freezes_when_query_or_body_say_so() {
    let fleet = Fleet::new();
    for (call, freeze) in [
        (post("/api/agents/monitor/pause"), Freeze::No),
        (post("/api/agents/monitor/pause?freeze=true"), Freeze::Yes),
        (
            post("/api/agents/monitor/pause").json(r#"{"freeze":true}"#),
            Freeze::Yes,
        ),
    ] {
        assert_eq!(call.send(&fleet).await.status, 202);
        let asked = Command::Pause {
            agent: name("monitor"),
            freeze,
        };
        assert_eq!(fleet.asked().last(), Some(&asked));
    }
}

#[tokio::test]
async fn the_supervisor_is_ended_from_the_socket_only() {
    let fleet = Fleet::new();
    assert_eq!(
        post("/api/shutdown?mode=keep").send(&fleet).await.status,
        202
    );
    let over_tcp = post("/api/shutdown").header("host", "localhost").over_tcp();
    assert_eq!(over_tcp.send(&fleet).await.status, 403);
}

#[tokio::test]
async fn the_supervisor_is_upgraded_from_the_socket_only_and_told_the_whole_path() {
    let fleet = Fleet::new();
    for (body, status) in [
        (r#"{"binary": "/opt/clawctl"}"#, 409),
        (r#"{"binary": "clawctl"}"#, 400),
        (r#"{"binary": "/opt/clawctl", "timeout_seconds": 0.5}"#, 400),
        (r#"{"binary": "/opt/clawctl", "timeout_seconds": 601}"#, 400),
        (r#"{"binary": "/opt/clawctl", "force": true}"#, 400),
    ] {
        let answer = post("/api/upgrade").json(body).send(&fleet).await;
        assert_eq!(answer.status, status, "{body}");
    }
    let over_tcp = post("/api/upgrade")
        .json(r#"{"binary": "/opt/clawctl"}"#)
        .header("host", "localhost")
        .over_tcp();
    assert_eq!(over_tcp.send(&fleet).await.status, 403);
}

#[tokio::test(start_paused = true)]
async fn a_trigger_that_waits_answers_the_outcome() {
    let fleet = Fleet::new();
    let waiting = post("/api/agents/nightly/trigger?wait=30s").send(&fleet);
    let working = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        fleet.finish(claw_core::RunOutcome::Succeeded);
    };
    let (answered, ()) = tokio::join!(waiting, working);
    let body = answered.json();
    assert_eq!(
        (answered.status, &body["state"]),
        (200, &"succeeded".into())
    );
    assert_eq!(body["duration_seconds"], 30.0);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_times_out_names_the_run_that_goes_on() {
    let call = post("/api/agents/nightly/trigger?wait=30s");
    insta::assert_snapshot!(shown(&Fleet::new(), call).await);
}

#[tokio::test]
async fn request_ids_are_taken_where_plain_and_made_where_not() {
    let fleet = Fleet::new();
    let plain = get("/api/ready").send(&fleet).await;
    assert_eq!(plain.header("x-request-id"), "test");
    let mut odd = get("/api/nothing");
    odd.headers = vec![("x-request-id".to_owned(), "a b\t".to_owned())];
    let odd = odd.send(&fleet).await;
    assert_eq!(odd.header("x-request-id").len(), 16);
    assert_eq!(odd.json()["request_id"], odd.header("x-request-id"));
}
