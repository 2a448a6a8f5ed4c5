//! Random operations and faults beside a model of what may happen.
//!
//! `CLAW_SEED` replays a run, `CLAW_STEPS` makes it longer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use claw_store::StoreError;
use claw_store::bus::{Delivery, GroupConfig, Member, NewEvent, Ordering, Settle, Settled};
use claw_store::store::UnixMs;

use crate::support::*;

const REPLICAS: u64 = 3;
const MAX_ATTEMPTS: u32 = 3;

/// What the history is made of; a broken one is put before the store in `planted.rs`.
pub(crate) trait Engine {
    async fn publish(&mut self, bench: &Bench, event: NewEvent);
    async fn pull(&mut self, bench: &Bench, who: &Member) -> Vec<Delivery>;
    async fn settle(
        &mut self,
        bench: &Bench,
        who: &Member,
        delivery: &Delivery,
        settle: Settle,
    ) -> Result<Settled, StoreError>;
    fn config(&self) -> GroupConfig {
        GroupConfig {
            ordering: Ordering::Key,
            concurrency: 3,
            ..config("t")
        }
    }
}

pub(crate) struct Sound;

impl Engine for Sound {
    async fn publish(&mut self, bench: &Bench, event: NewEvent) {
        bench.publish(vec![event]).await;
    }

    async fn pull(&mut self, bench: &Bench, who: &Member) -> Vec<Delivery> {
        bench.pull(who, 3).await
    }

    async fn settle(
        &mut self,
        bench: &Bench,
        who: &Member,
        delivery: &Delivery,
        settle: Settle,
    ) -> Result<Settled, StoreError> {
        bench.store.settle(who, delivery.lease, settle).await
    }
}

#[tokio::test]
async fn random_histories_hold() {
    let given = std::env::var("CLAW_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let steps = std::env::var("CLAW_STEPS")
        .ok()
        .and_then(|steps| steps.parse().ok());
    let steps = steps.unwrap_or(scaled(20_000, 700));
    let seeds = match given {
        Some(seed) => vec![seed],
        None => (0..scaled(50, 4)).collect(),
    };
    for seed in seeds {
        if let Err(error) = run(&mut Sound, seed, steps).await {
            panic!("CLAW_SEED={seed} CLAW_STEPS={steps}: {error}");
        }
    }
}

/// What is known to have happened.
#[derive(Default)]
struct Model {
    /// Of each key, the numbers of its events that are not settled.
    open: BTreeMap<String, BTreeSet<u64>>,
    attempts: BTreeMap<String, u32>,
    /// In hand, with the end of the lease.
    held: Vec<(Member, Delivery, UnixMs)>,
    /// No longer in hand; settling them must be refused.
    stale: Vec<(Member, Delivery)>,
    acknowledged: BTreeSet<String>,
    dead: BTreeSet<String>,
    published: BTreeSet<String>,
    /// How often the host of the store was killed.
    kills: u64,
}

/// Runs one history; an error says what may not have happened.
pub(crate) async fn run(engine: &mut impl Engine, seed: u64, steps: u64) -> Result<(), String> {
    let mut chance = Chance(seed);
    let mut bench = Bench::new();
    bench.group("g", engine.config()).await;
    let mut model = Model::default();
    let mut now = BEGAN;
    for n in 0..steps {
        let who = member("g", u32::try_from(chance.below(REPLICAS)).unwrap());
        match chance.below(100) {
            0..30 => {
                let key = format!("k{}", chance.below(6));
                let event = keyed("t", &key, n);
                model.published.insert(event.id.clone());
                model.open.entry(key).or_default().insert(n);
                engine.publish(&bench, event).await;
            }
            30..60 => {
                for delivery in engine.pull(&bench, &who).await {
                    model.delivered(&who, delivery, now)?;
                }
            }
            60..85 => {
                let settle = match chance.below(6) {
                    0 => nak(),
                    _ => Settle::Ack,
                };
                model
                    .settle_some(engine, &bench, &mut chance, settle)
                    .await?;
            }
            85..90 => {
                let picked = model.stale.len() as u64;
                if picked > 0 {
                    let (who, delivery) = model
                        .stale
                        .swap_remove(usize::try_from(chance.below(picked)).unwrap());
                    let refused = engine.settle(&bench, &who, &delivery, Settle::Ack).await;
                    if refused.is_ok() {
                        return Err(format!("{} was settled after its lease", delivery.event.id));
                    }
                }
            }
            90..94 => {
                bench.store.release_replica(&who).await.unwrap();
                model.lose(|member, _until| *member == who);
            }
            94..99 => {
                let span = Duration::from_millis(chance.below(3_000));
                bench.advance(span).await;
                now = now.after(span);
                model.lose(|_member, until| until <= now);
            }
            _ => {
                bench = bench.restart();
                model.lose(|_member, _until| true);
            }
        }
        model.note_kills(&bench, now);
    }
    model.finish(engine, &bench, now).await
}

fn nak() -> Settle {
    Settle::Nak {
        delay: None,
        error: "it failed".into(),
    }
}

fn number(delivery: &Delivery) -> u64 {
    delivery
        .event
        .id
        .rsplit('-')
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

impl Model {
    fn delivered(&mut self, who: &Member, delivery: Delivery, now: UnixMs) -> Result<(), String> {
        let id = delivery.event.id.clone();
        let key = delivery.event.key.clone().unwrap();
        if !self.published.contains(&id) {
            return Err(format!("{id} was never published"));
        }
        if self.acknowledged.contains(&id) || self.dead.contains(&id) {
            return Err(format!("{id} came again after it was settled"));
        }
        let busy =
            |(_, held, _): &(Member, Delivery, UnixMs)| held.event.key.as_ref() == Some(&key);
        if self.held.iter().any(busy) {
            return Err(format!("two of {key} are handled at once"));
        }
        let first = self.open.get(&key).and_then(BTreeSet::first).copied();
        if first != Some(number(&delivery)) {
            return Err(format!("{id} came before {first:?}"));
        }
        let attempts = self.attempts.entry(id.clone()).or_default();
        *attempts += 1;
        if *attempts != delivery.attempt {
            return Err(format!(
                "{id}: attempt {} is called {}",
                attempts, delivery.attempt
            ));
        }
        self.held.push((who.clone(), delivery, now.after(LEASE)));
        Ok(())
    }

    async fn settle_some(
        &mut self,
        engine: &mut impl Engine,
        bench: &Bench,
        chance: &mut Chance,
        settle: Settle,
    ) -> Result<(), String> {
        if self.held.is_empty() {
            return Ok(());
        }
        let picked = usize::try_from(chance.below(self.held.len() as u64)).unwrap();
        let (who, delivery, _until) = self.held.swap_remove(picked);
        let acknowledges = settle == Settle::Ack;
        match engine.settle(bench, &who, &delivery, settle).await {
            Ok(_) if acknowledges => {
                self.close(&delivery);
                self.acknowledged.insert(delivery.event.id.clone());
            }
            Ok(_) => self.failed(&delivery),
            Err(error) => return Err(format!("{}: {error}", delivery.event.id)),
        }
        Ok(())
    }

    fn lose(&mut self, lost: impl Fn(&Member, UnixMs) -> bool) {
        let (lost, held) = std::mem::take(&mut self.held)
            .into_iter()
            .partition(|(member, _, until)| lost(member, *until));
        self.held = held;
        for (who, delivery, _until) in lost {
            self.failed(&delivery);
            self.stale.push((who, delivery));
        }
    }

    /// A lease that its replica resumes after a kill begins anew.
    fn note_kills(&mut self, bench: &Bench, now: UnixMs) {
        let kills = bench.store.kills();
        if kills != self.kills {
            self.kills = kills;
            for (_, _, until) in &mut self.held {
                *until = now.after(LEASE);
            }
        }
    }

    fn failed(&mut self, delivery: &Delivery) {
        let id = &delivery.event.id;
        if self.attempts[id] >= MAX_ATTEMPTS {
            self.close(delivery);
            self.dead.insert(id.clone());
        }
    }

    fn close(&mut self, delivery: &Delivery) {
        let key = delivery.event.key.as_ref().unwrap();
        self.open.get_mut(key).unwrap().remove(&number(delivery));
    }

    /// Lets everything come to an end: nothing may be missing, nothing twice.
    async fn finish(
        mut self,
        engine: &mut impl Engine,
        bench: &Bench,
        now: UnixMs,
    ) -> Result<(), String> {
        let mut now = now;
        let who = member("g", 0);
        for _ in 0..100_000 {
            let pulled = engine.pull(bench, &who).await;
            let idle = pulled.is_empty();
            for delivery in pulled {
                self.delivered(&who, delivery, now)?;
            }
            while !self.held.is_empty() {
                self.settle_some(engine, bench, &mut Chance(0), Settle::Ack)
                    .await?;
            }
            if self.open.values().all(BTreeSet::is_empty) {
                break;
            }
            if idle {
                bench.advance(LEASE).await;
                now = now.after(LEASE);
                if now > BEGAN.after(Duration::from_secs(1_000_000)) {
                    break;
                }
            }
        }
        let mut ended = self.acknowledged.clone();
        ended.extend(self.dead.iter().cloned());
        let missing: Vec<_> = self.published.difference(&ended).collect();
        if !missing.is_empty() {
            return Err(format!("{missing:?} were lost"));
        }
        let letters = bench.store.dead_letters("g", 1_000).await.unwrap();
        let letters: BTreeSet<_> = letters.iter().map(|one| one.event.id.clone()).collect();
        if letters.len() < 1_000 && letters != self.dead {
            return Err(format!(
                "dead letters {letters:?}, expected {:?}",
                self.dead
            ));
        }
        Ok(())
    }
}
