//! S1, S2, S4, S5, S7 to S10, S12, S13 and S16: what a namespace promises.

use std::time::{Duration, Instant};

use claw_store::state::{
    At, CommitCause, Expect, Export, Mark, Namespace, StateOp, VersionKind, Versions, WriterId,
};

use crate::hosted::Hosted;
use crate::support::*;

fn timed(key: &str, value: &str, ttl: Duration) -> StateOp {
    StateOp::Set {
        key: key.into(),
        value: value.as_bytes().to_vec(),
        ttl: Some(ttl),
        expect: Expect::Anything,
    }
}

fn expecting(key: &str, value: &str, expect: Expect) -> StateOp {
    StateOp::Set {
        key: key.into(),
        value: value.as_bytes().to_vec(),
        ttl: None,
        expect,
    }
}

async fn back(bench: &Bench, to: At) -> u64 {
    let cause = CommitCause::default();
    bench
        .store
        .rollback(&space(), to, writer(), cause)
        .await
        .unwrap()
}

async fn keys(bench: &Bench) -> Vec<String> {
    let keys = bench.store.list(&space(), "", At::Head).await.unwrap();
    keys.into_iter().map(|one| one.key).collect()
}

#[tokio::test]
async fn s01_a_writer_reads_what_it_wrote() {
    let bench = Bench::new();
    assert_eq!(bench.text("k", At::Head).await, None);
    for n in 0..50 {
        let value = format!("{{\"n\":{n}}}");
        let version = bench.set("k", &value).await;
        let read = bench
            .store
            .get(&space(), "k", At::Head)
            .await
            .unwrap()
            .unwrap();
        assert_eq!((&*read.bytes, read.version), (value.as_bytes(), version));
        let keys = bench.store.list(&space(), "", At::Head).await.unwrap();
        assert_eq!(
            (keys[0].version, keys[0].size),
            (version, value.len() as u64)
        );
    }
    let bench = bench.restart();
    assert_eq!(
        bench.text("k", At::Head).await.as_deref(),
        Some("{\"n\":49}")
    );
}

#[tokio::test]
async fn s02_versions_have_no_gaps() {
    let bench = Bench::new();
    bench.store.set_quota(&space(), 100).await.unwrap();
    let mut expected = Vec::new();
    for n in 1..=30 {
        assert_eq!(bench.set("k", &n.to_string()).await, n);
        expected.push(n);
        let huge = set("x", &"9".repeat(200));
        assert_eq!(code(bench.store.commit(huge).await), "state_too_large");
        let absent = commit(vec![delete("nothing")]);
        assert_eq!(bench.store.commit(absent).await, Ok(n), "nothing changed");
    }
    expected.reverse();
    let versions = bench.store.versions(&space(), Versions::All).await.unwrap();
    assert_eq!(
        versions.iter().map(|one| one.version).collect::<Vec<_>>(),
        expected
    );
    assert_eq!(versions[0].live_bytes, 2);
}

#[tokio::test]
async fn s04_a_rollback_equals_the_old_content_on_a_new_version() {
    let bench = Bench::new();
    bench.set("a", "1").await;
    bench.set("b", "2").await;
    let old = bench.store.snapshot(&space(), At::Head).await.unwrap();
    bench.set("a", "10").await;
    bench.set("later", "3").await;
    bench.store.commit(commit(vec![delete("b")])).await.unwrap();
    assert_eq!(back(&bench, At::Version(2)).await, 6);
    let now = bench.store.snapshot(&space(), At::Head).await.unwrap();
    let plain = |snapshot: &claw_store::state::Snapshot| {
        let entries = snapshot.entries.iter();
        entries
            .map(|(key, value)| (key.clone(), value.bytes.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(plain(&now), plain(&old));
    let versions = bench.store.versions(&space(), Versions::All).await.unwrap();
    assert_eq!(
        (versions[0].kind, versions[0].live_bytes),
        (VersionKind::Rollback, 2)
    );
    assert_eq!((versions[1].version, versions[1].mark), (5, Mark::Pinned));
    assert_eq!(
        bench.text("later", At::Version(5)).await.as_deref(),
        Some("3")
    );
    let differences = bench
        .store
        .diff(&space(), At::Version(5), At::Head)
        .await
        .unwrap();
    let changed: Vec<_> = differences.iter().map(|one| one.key.as_str()).collect();
    assert_eq!(changed, ["a", "b", "later"]);
    assert_eq!(
        bench
            .store
            .diff(&space(), At::Version(2), At::Head)
            .await
            .unwrap(),
        vec![]
    );
    let gone = bench.store.get(&space(), "a", At::Version(99)).await;
    assert_eq!(code(gone), "version_gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn s05_a_rollback_among_sets_is_one_of_them() {
    let bench = Bench::new();
    bench.set("k", "0").await;
    let mut tasks = Vec::new();
    for n in 0..8 {
        let store = bench.store.clone();
        tasks.push(tokio::spawn(async move {
            for i in 0..20 {
                let both = vec![
                    op("k", &format!("{}", n * 100 + i)),
                    op("l", &format!("{}", n * 100 + i)),
                ];
                store.commit(commit(both)).await.unwrap();
            }
        }));
    }
    for _ in 0..10 {
        back(&bench, At::Version(1)).await;
        tokio::task::yield_now().await;
    }
    for task in tasks {
        task.await.unwrap();
    }
    let versions = bench.store.versions(&space(), Versions::All).await.unwrap();
    for one in versions {
        let at = At::Version(one.version);
        let (k, l) = (bench.text("k", at).await, bench.text("l", at).await);
        match one.kind {
            VersionKind::Commit if one.version > 1 => assert_eq!(k, l),
            VersionKind::Commit
            | VersionKind::Ttl
            | VersionKind::Rollback
            | VersionKind::Import => {
                assert_eq!((k.as_deref(), l), (Some("0"), None));
            }
        }
    }
}

#[tokio::test]
async fn s07_the_quota_is_exact_and_shrinking_is_always_allowed() {
    let bench = Bench::new();
    bench.store.set_quota(&space(), 10).await.unwrap();
    bench.set("a", "12345").await;
    bench.set("b", "12345").await;
    assert_eq!(
        code(bench.store.commit(set("a", "123456")).await),
        "state_too_large"
    );
    assert_eq!(
        code(bench.store.commit(set("c", "1")).await),
        "state_too_large"
    );
    bench.set("a", "54321").await;
    // Within one change it is the sum that counts.
    bench
        .store
        .commit(commit(vec![op("a", "12345678"), op("b", "12")]))
        .await
        .unwrap();
    bench.store.set_quota(&space(), 4).await.unwrap();
    bench.set("a", "1234567").await;
    assert_eq!(
        code(bench.store.commit(set("a", "12345678")).await),
        "state_too_large"
    );
    bench.store.commit(commit(vec![delete("a")])).await.unwrap();
    let space = &bench.store.namespaces().await.unwrap()[0];
    assert_eq!((space.live_bytes, space.max_bytes), (2, 4));
}

#[tokio::test]
async fn s08_a_key_expires_exactly_and_is_not_revived() {
    let bench = Bench::new();
    let ttl = Duration::from_secs(10);
    bench
        .store
        .commit(commit(vec![timed("k", "1", ttl), op("stays", "2")]))
        .await
        .unwrap();
    bench.advance(ttl - Duration::from_millis(1)).await;
    assert_eq!(bench.text("k", At::Head).await.as_deref(), Some("1"));
    bench.clock.advance(Duration::from_millis(1));
    assert_eq!(bench.text("k", At::Head).await, None, "hidden at once");
    assert_eq!(keys(&bench).await, ["stays"]);
    bench.store.tick().await.unwrap();
    let versions = bench.store.versions(&space(), Versions::All).await.unwrap();
    assert_eq!(
        (versions[0].kind, versions[0].live_bytes),
        (VersionKind::Ttl, 1)
    );
    bench.set("stays", "3").await;
    back(&bench, At::Version(1)).await;
    assert_eq!(keys(&bench).await, ["stays"], "not revived");
    // A key may come again, and one that is absent may be expected to be.
    let again = commit(vec![expecting("k", "9", Expect::Absent)]);
    bench.store.commit(again).await.unwrap();
    let bench = bench.restart();
    assert_eq!(bench.text("k", At::Head).await.as_deref(), Some("9"));
}

#[tokio::test]
async fn s09_a_snapshot_is_one_version() {
    let bench = Bench::new();
    let space = space();
    for n in 0..40 {
        let both = vec![op("a", &n.to_string()), op("b", &n.to_string())];
        let (written, read) = tokio::join!(
            bench.store.commit(commit(both)),
            bench.store.snapshot(&space, At::Head)
        );
        written.unwrap();
        let read = read.unwrap();
        let value = |key: &str| read.entries.get(key).map(|value| value.bytes.clone());
        assert_eq!(value("a"), value("b"));
    }
    let nobody = bench
        .store
        .snapshot(&Namespace::agent("nobody"), At::Head)
        .await
        .unwrap();
    assert_eq!((nobody.version, nobody.entries.len()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn s10_compare_and_set_loses_no_increment() {
    let bench = Bench::new();
    let (writers, each) = (16, scaled(1_000, 25));
    let shared = Namespace::shared();
    let mut tasks = Vec::new();
    for _ in 0..writers {
        tasks.push(tokio::spawn(increment(
            bench.store.clone(),
            shared.clone(),
            each,
        )));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let total = bench
        .store
        .get(&shared, "n", At::Head)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&*total.bytes, (writers * each).to_string().as_bytes());
}

async fn increment(store: Hosted, namespace: Namespace, times: u64) {
    let mut done = 0;
    while done < times {
        let read = store.get(&namespace, "n", At::Head).await.unwrap();
        let text = read
            .as_ref()
            .map_or("0", |read| std::str::from_utf8(&read.bytes).unwrap());
        let value = text.parse::<u64>().unwrap() + 1;
        let version = read.as_ref().map(|read| read.version);
        let expect = version.map_or(Expect::Absent, Expect::Version);
        let mut change = commit(vec![expecting("n", &value.to_string(), expect)]);
        change.namespace = namespace.clone();
        match store.commit(change).await {
            Ok(_) => done += 1,
            Err(error) => assert_eq!(error.code(), "version_conflict"),
        }
    }
}

#[tokio::test]
async fn s12_an_export_comes_back() {
    let bench = Bench::new();
    let history = history(500);
    bench
        .store
        .commit(commit(vec![
            op("h", &history),
            op("ü", "\"\u{1f980}\""),
            op("n", " 1.0 "),
        ]))
        .await
        .unwrap();
    let exported = bench
        .store
        .export(&crate::support::space(), At::Head)
        .await
        .unwrap();
    let json = exported.to_json().unwrap();
    let read = Export::from_json(&json).unwrap();
    let other = Bench::new();
    let space = space();
    let import = |export| {
        other
            .store
            .import(&space, export, writer(), CommitCause::default())
    };
    other.set("stale", "1").await;
    assert_eq!(import(read.clone()).await, Ok(2));
    assert_eq!(import(read).await, Ok(2), "nothing differs");
    assert_eq!(keys(&other).await, ["h", "n", "ü"]);
    assert_eq!(other.text("h", At::Head).await, Some(history));
    let again = other.store.export(&space, At::Head).await.unwrap();
    assert_eq!(again.keys[2], exported.keys[2]);
}

#[tokio::test]
async fn s13_a_stale_epoch_is_refused() {
    let bench = Bench::new();
    bench.set("k", "1").await;
    bench.store.fence(&space(), 5).await.unwrap();
    assert_eq!(code(bench.store.commit(set("k", "2")).await), "fenced");
    let newer = WriterId {
        name: "a/1".into(),
        epoch: 6,
    };
    let mut change = set("k", "3");
    change.writer = newer;
    bench.store.commit(change).await.unwrap();
    bench.store.fence(&space(), 2).await.unwrap();
    let bench = bench.restart();
    assert_eq!(bench.store.namespaces().await.unwrap()[0].epoch, 6);
    let cause = CommitCause::default();
    let refused = bench
        .store
        .rollback(&space(), At::Version(1), writer(), cause)
        .await;
    assert_eq!(code(refused), "fenced");
    assert_eq!(bench.text("k", At::Head).await.as_deref(), Some("3"));
}

#[tokio::test]
async fn s16_a_hundred_megabytes_in_a_namespace_are_listed_and_rolled_back_quickly() {
    let bench = Bench::new();
    let megabytes = scaled(100, 10);
    bench.store.set_quota(&space(), 1 << 30).await.unwrap();
    let filler = "x".repeat(4_050);
    for some in 0..megabytes {
        let ops = (0..256).map(|n| {
            op(
                &format!("k{some:03}/{n:03}"),
                &format!("\"{some}/{n}{filler}\""),
            )
        });
        bench.store.commit(commit(ops.collect())).await.unwrap();
    }
    let began = Instant::now();
    let keys = bench.store.list(&space(), "", At::Head).await.unwrap();
    let listed = began.elapsed();
    assert_eq!(keys.len() as u64, megabytes * 256);
    let half = At::Version(megabytes / 2);
    let began = Instant::now();
    back(&bench, half).await;
    let rolled = began.elapsed();
    println!("{megabytes} MB: list {listed:?}, rollback {rolled:?}");
    // The statement names 50 ms and 1 s; a debug build on a loaded machine gets four times that.
    assert!(listed < Duration::from_millis(200), "{listed:?}");
    assert!(rolled < Duration::from_secs(4), "{rolled:?}");
    let left = bench.store.list(&space(), "", At::Head).await.unwrap();
    assert_eq!(left.len() as u64, megabytes / 2 * 256);
}

/// A history like that of the uptime monitor.
pub(crate) fn history(entries: u64) -> String {
    history_from(0, entries)
}

pub(crate) fn history_from(first: u64, entries: u64) -> String {
    let entry = |n: u64| {
        let latency = Chance(n).below(100_000);
        format!(
            "{{\"site\":\"https://example.com/{}\",\"at\":\"2027-01-{:02}T{:02}:{:02}:00Z\",\"status\":200,\"latency_ms\":{}.{:03},\"ok\":true,\"error\":null,\"region\":\"eu-central\",\"check\":\"{:016x}\",\"attempts\":1}}",
            n % 3,
            n / 1_440 % 28 + 1,
            n / 60 % 24,
            n % 60,
            latency / 1_000,
            latency % 1_000,
            n
        )
    };
    let entries: Vec<_> = (first..first + entries).map(entry).collect();
    format!("[{}]", entries.join(","))
}

#[tokio::test]
async fn more_history_than_ten_times_the_quota_is_pruned_from_its_oldest_end() {
    const VERSIONS: u64 = 60;
    let bench = Bench::new();
    let mut chance = Chance(1);
    // 10 KB that no compression makes smaller.
    let mut noise = || {
        let text: String = (0..640)
            .map(|_| format!("{:016x}", chance.draw()))
            .collect();
        format!("\"{text}\"")
    };
    let size = noise().len() as u64;
    bench.set("n", &noise()).await;
    bench.store.set_quota(&space(), size).await.unwrap();
    bench
        .store
        .checkpoint(&space(), Mark::Pinned, Some("deploy".into()))
        .await
        .unwrap();
    let pinned = bench.text("n", At::Version(1)).await;
    let mut last = String::new();
    for _ in 1..VERSIONS {
        last = noise();
        bench.set("n", &last).await;
    }
    bench.store.prune().await.unwrap();
    let versions = bench.store.versions(&space(), Versions::All).await.unwrap();
    let kept: Vec<_> = versions.iter().map(|one| one.version).rev().collect();
    // Hexadecimal text takes half its length, so twenty versions are ten times the quota.
    assert_eq!(kept[0], 1, "a pinned version is kept");
    assert!((15..25).contains(&(kept.len() - 1)), "{kept:?}");
    let newest: Vec<_> = (VERSIONS + 2 - kept.len() as u64..=VERSIONS).collect();
    assert_eq!(kept[1..], newest);
    assert_eq!(bench.text("n", At::Head).await, Some(last));
    assert_eq!(bench.text("n", At::Version(1)).await, pinned);
}
