//! S3 and S14's operations: random changes beside a model that keeps every version whole.

use std::collections::BTreeMap;

use claw_store::state::{At, CommitCause, StateOp, Versions};

use crate::state::history_from;
use crate::support::*;

type Content = BTreeMap<String, String>;

#[tokio::test]
async fn s03_every_kept_version_equals_the_model() {
    let seed = std::env::var("CLAW_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or(3);
    println!("CLAW_SEED={seed}");
    let mut chance = Chance(seed);
    let mut bench = Bench::new();
    let mut model: Vec<Content> = vec![Content::new()];
    for step in 0..scaled(10_000, 400) {
        let mut content = model.last().unwrap().clone();
        let changed = match chance.below(20) {
            0 => {
                let to = chance.below(model.len() as u64);
                if to == 0 {
                    continue;
                }
                content = model[usize::try_from(to).unwrap()].clone();
                let cause = CommitCause::default();
                bench
                    .store
                    .rollback(&space(), At::Version(to), writer(), cause)
                    .await
                    .unwrap()
            }
            1 => {
                bench = bench.restart();
                continue;
            }
            _ => {
                let ops = random_ops(&mut chance, &mut content);
                bench.store.commit(commit(ops)).await.unwrap()
            }
        };
        match changed - (model.len() as u64 - 1) {
            0 => assert_eq!(&content, model.last().unwrap(), "step {step}: no version"),
            1 => model.push(content),
            more => panic!("step {step}: {more} versions at once"),
        }
        let version = chance.below(model.len() as u64);
        assert_eq!(
            read(&bench, At::Version(version)).await,
            model[usize::try_from(version).unwrap()],
            "step {step}"
        );
    }
    for one in bench.store.versions(&space(), Versions::All).await.unwrap() {
        let expected = &model[usize::try_from(one.version).unwrap()];
        assert_eq!(&read(&bench, At::Version(one.version)).await, expected);
        let live: usize = expected.values().map(String::len).sum();
        assert_eq!(one.live_bytes, live as u64);
    }
    assert_eq!(read(&bench, At::Head).await, *model.last().unwrap());
}

fn random_ops(chance: &mut Chance, content: &mut Content) -> Vec<StateOp> {
    let mut ops = Vec::new();
    for _ in 0..=chance.below(4) {
        let key = format!("k{}", chance.below(8));
        let value = match chance.below(8) {
            0 | 1 => {
                content.remove(&key);
                ops.push(delete(&key));
                continue;
            }
            2 => history_from(chance.below(50), 350),
            _ => format!(
                "\"{}\"",
                "v".repeat(usize::try_from(chance.below(600)).unwrap())
            ),
        };
        ops.push(op(&key, &value));
        content.insert(key, value);
    }
    ops
}

async fn read(bench: &Bench, at: At) -> Content {
    let snapshot = bench.store.snapshot(&space(), at).await.unwrap();
    let entries = snapshot.entries.into_iter();
    entries
        .map(|(key, value)| (key, String::from_utf8(value.bytes.to_vec()).unwrap()))
        .collect()
}
