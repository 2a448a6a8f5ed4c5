//! S11 and S15: what pruning keeps, and what damage is noticed.

use std::collections::BTreeMap;
use std::time::Duration;

use claw_store::state::{At, Mark, Versions};

use crate::state::history_from;
use crate::support::*;

#[tokio::test]
async fn s11_pruning_changes_no_kept_version() {
    let bench = Bench::new();
    let mut contents = BTreeMap::new();
    let mut chance = Chance(11);
    for n in 0..scaled(3_000, 260) {
        let key = format!("k{}", chance.below(4));
        let change = match chance.below(6) {
            0 => commit(vec![delete(&key)]),
            1 => commit(vec![op("history", &history_from(n, 400))]),
            _ => set(&key, &format!("\"{}\"", chance.draw())),
        };
        let version = bench.store.commit(change).await.unwrap();
        if version == 50 || version == 51 {
            bench
                .store
                .checkpoint(&space(), Mark::Pinned, Some("deploy".into()))
                .await
                .unwrap();
        }
        contents.insert(
            version,
            bench.store.snapshot(&space(), At::Head).await.unwrap(),
        );
        bench.advance(Duration::from_secs(1_800)).await;
    }
    bench.advance(Duration::from_secs(40 * 24 * 3_600)).await;
    let pruned = bench.store.prune().await.unwrap();
    assert!(
        pruned.versions > 100 && pruned.revisions > 50 && pruned.chunks > 10,
        "{pruned:?}"
    );
    let kept = bench.store.versions(&space(), Versions::All).await.unwrap();
    assert!(kept.iter().any(|one| one.version == 50));
    assert_eq!(kept[0].version, *contents.last_key_value().unwrap().0);
    for one in &kept {
        let at = At::Version(one.version);
        let now = bench.store.snapshot(&space(), at).await.unwrap();
        assert_eq!(now, contents[&one.version]);
    }
    let head = bench.store.snapshot(&space(), At::Head).await.unwrap();
    assert_eq!(head, contents[&kept[0].version]);
    let again = bench.store.prune().await.unwrap();
    assert_eq!((again.versions, again.revisions, again.chunks), (0, 0, 0));
    let dropped =
        (1..kept[0].version).find(|version| kept.iter().all(|one| one.version != *version));
    let gone = bench
        .store
        .get(&space(), "k0", At::Version(dropped.unwrap()))
        .await;
    assert_eq!(code(gone), "version_gone");
    // A rewrite finds swept chunks gone and stores them again.
    bench.set("history", &history_from(0, 400)).await;
    let bench = bench.restart();
    assert_eq!(
        bench.text("history", At::Head).await,
        Some(history_from(0, 400))
    );
}

#[tokio::test]
async fn s15_a_flipped_byte_is_noticed_and_named() {
    for (table, key) in [("chunk", "big"), ("val", "small"), ("val", "raw")] {
        let bench = Bench::new();
        bench.set("big", &history_from(0, 2_000)).await;
        bench.set("small", &history_from(0, 5)).await;
        bench.set("raw", "12345").await;
        bench.set("fine", "1").await;
        let path = bench.path();
        bench.store.close().unwrap();
        let conn = rusqlite::Connection::open(&path).unwrap();
        let which = match key {
            "big" => "id = 3".to_owned(),
            key => format!("id = (SELECT val FROM head WHERE key = '{key}')"),
        };
        let sql = format!("SELECT data FROM {table} WHERE {which}");
        let mut data: Vec<u8> = conn.query_row(&sql, [], |row| row.get(0)).unwrap();
        let middle = data.len() / 2;
        data[middle] ^= 0x10;
        let sql = format!("UPDATE {table} SET data = ?1 WHERE {which}");
        assert_eq!(conn.execute(&sql, [data]).unwrap(), 1);
        drop(conn);
        let store = open(&path, &bench.clock, &bench.limits).unwrap();
        let error = store.get(&space(), key, At::Head).await.unwrap_err();
        assert_eq!(error.code(), "damaged");
        assert!(error.to_string().contains(key), "{error}");
        for other in ["big", "small", "raw", "fine"] {
            let read = store.get(&space(), other, At::Head).await;
            assert_eq!(read.is_ok(), other != key, "{other} while {key} is damaged");
        }
    }
}

/// What the tables hold, without free pages and the log.
fn used_bytes(bench: &Bench) -> u64 {
    let conn = rusqlite::Connection::open(bench.path()).unwrap();
    let pages = |what: &str| {
        conn.pragma_query_value(None, what, |row| row.get::<_, i64>(0))
            .unwrap()
    };
    u64::try_from((pages("page_count") - pages("freelist_count")) * pages("page_size")).unwrap()
}

#[tokio::test]
async fn a_rewrite_of_a_long_history_costs_a_hundredth_of_it_and_retention_bounds_them_all() {
    const PER_DAY: u64 = 288;
    let bench = Bench::new();
    let first = history_from(0, 10_000);
    let raw = first.len() as u64;
    assert!(raw > 1_000_000, "{raw} bytes are no long history");
    bench.set("history", &first).await;
    let rewrite = async |n: u64| {
        bench.set("history", &history_from(n * 3, 10_000)).await;
        bench.advance(Duration::from_secs(300)).await;
    };
    let before = used_bytes(&bench);
    let count = scaled(10 * PER_DAY, 40);
    for n in 1..=count {
        rewrite(n).await;
    }
    let each = (used_bytes(&bench) - before) / count;
    assert!(each <= raw / 100, "{each} bytes of {raw} for each rewrite");

    // A year later only the last of them is needed, and the file takes its room again.
    bench.advance(Duration::from_secs(366 * 24 * 3_600)).await;
    rewrite(count + 1).await;
    let pruned = bench.store.prune().await.unwrap();
    assert!(pruned.versions >= count, "{pruned:?}");
    let left = used_bytes(&bench);
    assert!(
        left <= before + 2 * raw / 100,
        "{left} bytes are left of a history that began with {before}"
    );
}
