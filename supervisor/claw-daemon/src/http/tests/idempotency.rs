//! Idempotency keys.

use super::fleet::Fleet;
use super::samples::now;
use super::{Call, post};

fn trigger(body: &str) -> Call {
    post("/api/agents/nightly/trigger")
        .header("idempotency-key", "k1")
        .json(body)
}

#[tokio::test]
async fn the_same_request_gets_the_same_answer_and_is_done_once() {
    let fleet = Fleet::new();
    let first = trigger("{}").send(&fleet).await;
    let second = trigger("{}").send(&fleet).await;
    assert_eq!((second.status, &second.body), (first.status, &first.body));
    assert_eq!(second.header("location"), first.header("location"));
    assert_eq!(
        (
            first.header("idempotent-replayed"),
            second.header("idempotent-replayed")
        ),
        ("", "true")
    );
    assert_eq!(fleet.asked().len(), 1);
}

#[tokio::test]
async fn a_request_whose_answer_nobody_kept_finds_its_run() {
    let mut fleet = Fleet::new();
    let first = trigger("{}").send(&fleet).await;
    fleet.restart();
    let second = trigger("{}").send(&fleet).await;
    assert_eq!((second.status, &second.body), (first.status, &first.body));
    assert_eq!(second.header("location"), first.header("location"));
    assert_eq!(fleet.asked().len(), 1);
    fleet.restart();
    trigger("[]").send(&fleet).await;
    assert_eq!(fleet.asked().len(), 2, "another request makes another run");
}

#[tokio::test]
async fn another_request_with_the_same_key_is_refused() {
    let fleet = Fleet::new();
    trigger("{}").send(&fleet).await;
    for other in [
        trigger("[]"),
        post("/api/agents/nightly/start").header("idempotency-key", "k1"),
    ] {
        let refused = other.send(&fleet).await;
        assert_eq!(
            (refused.status, &refused.json()["code"]),
            (422, &"idempotency_key_reused".into())
        );
    }
    assert_eq!(fleet.asked().len(), 1);
}

#[tokio::test]
async fn a_request_is_refused_while_the_first_is_under_way() {
    let fleet = Fleet::new();
    let stop = || post("/api/agents/monitor/stop?wait=30s").header("idempotency-key", "k2");
    let second = async {
        tokio::task::yield_now().await;
        while fleet.asked().is_empty() {
            tokio::task::yield_now().await;
        }
        let second = stop().send(&fleet).await;
        fleet.world.stopped.send_replace(true);
        second
    };
    let (first, second) = tokio::join!(stop().send(&fleet), second);
    assert_eq!(first.status, 200);
    assert_eq!(
        (second.status, &second.json()["code"]),
        (409, &"idempotency_in_progress".into())
    );
}

#[tokio::test]
async fn a_request_whose_caller_hung_up_is_carried_out_and_kept() {
    let fleet = Fleet::new();
    let stop = || post("/api/agents/monitor/stop?wait=30s").header("idempotency-key", "k3");
    let asked = async {
        while fleet.asked().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _answer = stop().send(&fleet) => panic!("it is not stopped yet"),
        () = asked => {}
    }
    fleet.world.stopped.send_replace(true);
    while fleet.world.kept.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let again = stop().send(&fleet).await;
    assert_eq!(
        (again.status, again.header("idempotent-replayed")),
        (200, "true")
    );
    assert_eq!(fleet.asked().len(), 1);
}

#[tokio::test]
async fn a_refusal_is_not_kept_because_nothing_was_started() {
    let fleet = Fleet::new();
    let refused = || post("/api/agents/idle/trigger").header("idempotency-key", "k4");
    assert_eq!(refused().send(&fleet).await.status, 409);
    assert_eq!(
        refused().send(&fleet).await.header("idempotent-replayed"),
        ""
    );
    assert_eq!(fleet.asked().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_timed_out_is_kept_because_its_run_goes_on() {
    let fleet = Fleet::new();
    let wait = || post("/api/agents/nightly/trigger?wait=1s").header("idempotency-key", "k5");
    let first = wait().send(&fleet).await;
    let second = wait().send(&fleet).await;
    assert_eq!((first.status, second.status), (504, 504));
    assert_eq!(second.body, first.body);
    assert_eq!(fleet.asked().len(), 1);
}

#[tokio::test]
async fn an_answer_is_forgotten_after_a_day() {
    let fleet = Fleet::new();
    trigger("{}").send(&fleet).await;
    let yesterday = now() - jiff::SignedDuration::from_hours(25);
    for stored in fleet.world.kept.lock().unwrap().values_mut() {
        stored.at = yesterday;
    }
    for seen in fleet.world.seen.lock().unwrap().values_mut() {
        *seen = yesterday;
    }
    trigger("[]").send(&fleet).await;
    assert_eq!(fleet.asked().len(), 2);
}
