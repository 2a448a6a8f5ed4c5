//! Statement 66: the figures are the truth.

use std::time::Duration;

use claw_store::bus::{Delivery, Figures, Settle, Settled};

use crate::support::*;

#[tokio::test]
async fn statement_66_the_figures_equal_the_ground_truth() {
    let mut bench = Bench::new();
    bench.group("g", wide("t.>")).await;
    let mut chance = Chance(66);
    let (mut waiting, mut held) = (0_u64, Vec::new());
    let (mut dead, mut published, mut redelivered) = (0, 0, 0);
    let mut kills = bench.store.kills();
    for step in 0..scaled(5_000, 600) {
        match chance.below(10) {
            0..=2 => {
                let count = chance.below(30);
                bench.numbers("t.x", published..published + count).await;
                bench.numbers("u.x", published..published + count).await;
                published += count;
                waiting += count;
            }
            3..=5 => {
                let most = usize::try_from(chance.below(20)).unwrap();
                let pulled = bench.pull(&member("g", 0), most).await;
                waiting -= pulled.len() as u64;
                redelivered += pulled.iter().filter(|one| one.attempt > 1).count() as u64;
                held.extend(pulled);
            }
            6..=7 => {
                for delivery in held.drain(..held.len() / 2) {
                    bench.ack(&member("g", 0), &delivery).await;
                }
            }
            8 => {
                if let Some(delivery) = held.pop() {
                    match fail(&bench, &delivery, &mut chance).await {
                        Settled::Dead => dead += 1,
                        Settled::Done | Settled::Again { .. } => waiting += 1,
                    }
                }
            }
            _ => {
                bench.clock.advance(Duration::from_millis(100));
                bench.store.renew(&member("g", 0)).await.unwrap();
            }
        }
        let found = bench.store.figures("g").await.unwrap();
        assert!(found.redelivered <= redelivered, "step {step}");
        let expected = Figures {
            pending: waiting,
            in_flight: held.len() as u64,
            // Counted since the store was opened, which a kill does anew.
            redelivered: if bench.store.kills() == kills {
                redelivered
            } else {
                found.redelivered
            },
            dead,
            oldest: found.oldest,
            floor: found.floor,
            ..Figures::default()
        };
        assert_eq!(found, expected, "step {step}");
        if step % 97 == 96 {
            bench = bench.restart();
            // What was in flight waits again, or has been tried too often.
            let found = bench.store.figures("g").await.unwrap();
            assert_eq!(
                found.pending + found.dead,
                waiting + held.len() as u64 + dead
            );
            (waiting, dead, redelivered) = (found.pending, found.dead, 0);
            kills = bench.store.kills();
            held.clear();
        }
    }
}

async fn fail(bench: &Bench, delivery: &Delivery, chance: &mut Chance) -> Settled {
    let error = "x".to_owned();
    let settle = match chance.below(3) {
        0 => Settle::Terminate { error },
        _ => Settle::Nak {
            delay: Some(Duration::from_secs(3)),
            error,
        },
    };
    let who = member("g", 0);
    let settled = bench.store.settle(&who, delivery.lease, settle);
    settled.await.unwrap()
}
