//! Webhooks.

use claw_core::{Cause, RunOutcome, RunPhase};

use super::fleet::Fleet;
use super::samples::{HOOK_SECRET, now};
use super::{Call, post};
use crate::agent_api::{hex, hmac_sha256};

const PATH: &str = "/api/hooks/nightly";

fn signed(body: &str) -> Call {
    let at = now().as_second();
    let mac = hmac_sha256(HOOK_SECRET.as_bytes(), format!("{at}.{body}").as_bytes());
    let signature = format!("t={at},v1={}", hex(&mac));
    post(PATH)
        .header("openclaw-signature", &signature)
        .json(body)
}

/// The supervisor may be killed right after the run was written down.
#[tokio::test]
async fn a_call_makes_one_run_also_when_nothing_but_the_run_is_known_of_it() {
    let mut fleet = Fleet::new();
    let first = signed("1").send(&fleet).await.json();
    fleet.restart();
    let again = signed("1").send(&fleet).await.json();
    assert_eq!(
        (&again["run"], &again["duplicate"]),
        (&first["run"], &true.into())
    );
    assert_eq!(fleet.asked().len(), 1, "{first}");
    let other = signed("2").send(&fleet).await.json();
    assert_ne!(other["run"], first["run"]);
    assert_eq!(fleet.asked().len(), 2);
}

/// The journal was late: the caller was refused, and the run that was written down too late was
/// cancelled.
#[tokio::test]
async fn a_call_whose_run_was_called_off_makes_another() {
    let mut fleet = Fleet::new();
    let first = signed("1").send(&fleet).await.json();
    for run in fleet.world.runs.lock().unwrap().values_mut() {
        let outcome = RunOutcome::Cancelled {
            cause: Cause::Asked,
        };
        let (started, at) = (None, now());
        run.phase = RunPhase::Finished {
            started,
            at,
            outcome,
        };
    }
    fleet.restart();
    let again = signed("1").send(&fleet).await.json();
    assert_eq!(again["duplicate"], false, "{again}");
    assert_ne!(again["run"], first["run"]);
    assert!(first["run"].is_string(), "{first}");
}

#[tokio::test]
async fn forged_calls_are_told_to_stop_and_shut_nobody_out() {
    let fleet = Fleet::new();
    let mut codes = Vec::new();
    for _ in 0..12 {
        let forged = post(PATH).header("openclaw-signature", "t=1,v1=00");
        codes.push(forged.json("1").send(&fleet).await.status);
    }
    assert_eq!(codes[..10], [401; 10]);
    assert_eq!(codes[10..], [429; 2]);
    let taken = signed("1").send(&fleet).await;
    assert_eq!(taken.status, 200, "{}", taken.body);
}
