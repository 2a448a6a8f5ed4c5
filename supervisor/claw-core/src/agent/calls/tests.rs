use std::num::NonZeroU16;

use super::*;

const CALL: CallId = CallId(1);

fn at(seconds: u64) -> Now {
    Now {
        mono: Mono::new(Duration::from_secs(seconds)),
        wall: Wall::UNIX_EPOCH + Duration::from_secs(seconds),
    }
}

fn refused(request: u8, detail: &str) -> ModelCall {
    ModelCall::Failed {
        request: RequestHash([request; 32]),
        failure: CallFailure::Refused {
            detail: detail.to_owned(),
        },
    }
}

fn over_budget(request: u8) -> ModelCall {
    ModelCall::Failed {
        request: RequestHash([request; 32]),
        failure: CallFailure::OverBudget {
            detail: "nothing left".to_owned(),
            resets_at: None,
        },
    }
}

fn answered() -> ModelCall {
    ModelCall::Answered {
        provider: "openai".to_owned(),
    }
}

/// Three times within a minute.
fn breaker() -> Breaker {
    Breaker {
        calls: NonZeroU16::new(3).unwrap(),
        within: Duration::from_secs(60),
    }
}

/// What comes of the last of some calls, each at its second.
fn after(calls: Vec<(u64, ModelCall)>) -> Option<Cause> {
    let mut requests = Requests::default();
    let mut cause = None;
    for (second, call) in calls {
        assert_eq!(cause, None, "before {second} s");
        cause = requests.note(call, at(second), &breaker());
    }
    cause
}

#[test]
fn the_same_failure_of_the_same_request_is_no_progress_and_tells_its_evidence() {
    let cause = after(vec![
        (10, refused(1, "old text")),
        (20, refused(1, "old text")),
        (70, refused(1, "new text")),
    ]);
    let failure = CallFailure::Refused {
        detail: "new text".to_owned(),
    };
    let evidence = NoProgress {
        failure,
        calls: 3,
        since: at(10).wall,
    };
    assert_eq!(
        evidence.to_string(),
        "3 times since 1970-01-01T00:00:10Z the same call to a model was refused: new text"
    );
    assert_eq!(cause, Some(Cause::NoProgress(Box::new(evidence))));
}

#[test]
fn failures_that_are_old_or_different_or_followed_by_an_answer_are_not_counted_together() {
    let slow = vec![
        (0, refused(1, "")),
        (30, refused(1, "")),
        (61, refused(1, "")),
    ];
    let other_requests = vec![
        (0, refused(1, "")),
        (1, refused(2, "")),
        (2, refused(3, "")),
    ];
    let other_failures = vec![
        (0, refused(1, "")),
        (1, over_budget(1)),
        (2, refused(1, "")),
    ];
    let with_answer = vec![
        (0, refused(1, "")),
        (1, refused(1, "")),
        (2, answered()),
        (3, refused(1, "")),
    ];
    for calls in [slow, other_requests, other_failures, with_answer] {
        assert_eq!(after(calls), None);
    }
}

#[test]
fn many_different_requests_take_no_more_room_and_hide_no_repetition() {
    let mut requests = Requests::default();
    let mut broken = 0;
    for round in 0..100 {
        for request in [round, 255] {
            let cause = requests.note(refused(request, ""), at(0), &breaker());
            broken += u32::from(cause.is_some());
        }
        assert!(requests.failed.len() <= MAX_REQUESTS);
    }
    assert_eq!(broken, 98);
}

#[test]
fn an_end_is_laid_to_the_outage_that_the_last_request_met_lately() {
    let out = ModelCall::ProviderOut {
        provider: "openai".to_owned(),
    };
    let met = |calls: Vec<ModelCall>, later: u64| {
        let mut requests = Requests::default();
        for call in calls {
            assert_eq!(requests.note(call, at(0), &breaker()), None);
        }
        requests.outage(at(later).mono).cloned()
    };
    assert_eq!(met(vec![out.clone()], 600), Some("openai".to_owned()));
    assert_eq!(met(vec![out.clone()], 601), None);
    assert_eq!(met(vec![out.clone(), answered()], 0), None);
    assert_eq!(met(vec![out, refused(1, "")], 0), None);
}

#[test]
fn a_call_in_flight_speaks_until_its_end_or_its_limit() {
    let limit = Duration::from_secs(30);
    let began = ModelCall::Began { call: CALL, limit };
    let mut flights = Flights::default();
    flights.note(&began, at(0).mono);
    assert_eq!(flights.until(), Some(at(30).mono));
    flights.note(&ModelCall::Progressed { call: CALL }, at(20).mono);
    assert_eq!(flights.until(), Some(at(50).mono));
    flights.shift(Duration::from_secs(5));
    assert_eq!(flights.until(), Some(at(55).mono));
    flights.note(&ModelCall::Ended { call: CALL }, at(40).mono);
    assert_eq!(flights.until(), None);
}

#[test]
fn no_limit_is_longer_than_an_hour_and_no_crowd_of_calls_is_kept() {
    let mut flights = Flights::default();
    for call in 0..1000 {
        let call = ModelCall::Began {
            call: CallId(call),
            limit: Duration::MAX,
        };
        flights.note(&call, at(0).mono);
    }
    assert_eq!(flights.0.len(), MAX_FLIGHTS);
    assert_eq!(flights.until(), Some(Mono::default() + MAX_LIMIT));
    let limit = Duration::from_secs(1);
    let late = ModelCall::Began { call: CALL, limit };
    flights.note(&late, Mono::default() + MAX_LIMIT);
    assert_eq!(flights.0.len(), 1);
}
