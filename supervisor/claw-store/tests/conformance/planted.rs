//! Engines that are broken on purpose: a suite that does not notice them shows nothing.

use claw_store::StoreError;
use claw_store::bus::{Delivery, GroupConfig, Level, Member, NewEvent, Ordering, Settle, Settled};

use crate::durability::{Cut, lost_in_a_power_cut};
use crate::history::{Engine, Sound, run};
use crate::support::*;

const STEPS: u64 = 400;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Says that an event is stored and forgets it.
    LosesEvents,
    /// Believes an acknowledgement after the lease.
    BelievesStaleAcks,
    /// Does not keep the order of a key.
    IgnoresOrder,
    /// Hands out again what was acknowledged.
    Repeats,
    /// Does not count attempts.
    ForgetsAttempts,
    /// Gives an event up without a dead letter.
    DropsFailures,
}

struct Broken {
    fault: Fault,
    calls: u64,
    acknowledged: Option<Delivery>,
}

impl Engine for Broken {
    async fn publish(&mut self, bench: &Bench, event: NewEvent) {
        self.calls += 1;
        if self.fault == Fault::LosesEvents && self.calls.is_multiple_of(17) {
            return;
        }
        Sound.publish(bench, event).await;
    }

    async fn pull(&mut self, bench: &Bench, who: &Member) -> Vec<Delivery> {
        let mut pulled = Sound.pull(bench, who).await;
        if self.fault == Fault::Repeats {
            pulled.extend(self.acknowledged.take());
        }
        if self.fault == Fault::ForgetsAttempts {
            pulled.iter_mut().for_each(|one| one.attempt = 1);
        }
        pulled
    }

    async fn settle(
        &mut self,
        bench: &Bench,
        who: &Member,
        delivery: &Delivery,
        settle: Settle,
    ) -> Result<Settled, StoreError> {
        let settle = match settle {
            Settle::Nak { .. } if self.fault == Fault::DropsFailures => Settle::Ack,
            other @ (Settle::Ack
            | Settle::Nak { .. }
            | Settle::Terminate { .. }
            | Settle::Return) => other,
        };
        let settled = Sound.settle(bench, who, delivery, settle).await;
        match settled {
            Ok(Settled::Done) => self.acknowledged = Some(delivery.clone()),
            Err(StoreError::StaleLease(_)) if self.fault == Fault::BelievesStaleAcks => {
                return Ok(Settled::Done);
            }
            Ok(_) | Err(_) => {}
        }
        settled
    }

    fn config(&self) -> GroupConfig {
        let sound = Sound.config();
        match self.fault {
            Fault::IgnoresOrder => GroupConfig {
                ordering: Ordering::None,
                ..sound
            },
            Fault::LosesEvents
            | Fault::BelievesStaleAcks
            | Fault::Repeats
            | Fault::ForgetsAttempts
            | Fault::DropsFailures => sound,
        }
    }
}

#[tokio::test]
async fn broken_engines_are_noticed() {
    for fault in [
        Fault::LosesEvents,
        Fault::BelievesStaleAcks,
        Fault::IgnoresOrder,
        Fault::Repeats,
        Fault::ForgetsAttempts,
        Fault::DropsFailures,
    ] {
        let mut broken = Broken {
            fault,
            calls: 0,
            acknowledged: None,
        };
        let noticed = run(&mut broken, 1, STEPS).await;
        println!("{fault:?}: {noticed:?}");
        assert!(noticed.is_err(), "{fault:?} was not noticed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_sync_loses_events_in_a_power_cut() {
    let cut = Cut::new();
    let lost = lost_in_a_power_cut(&cut, Level::Os, 3).await;
    assert!(!lost.is_empty(), "the power cut cuts nothing");
}
