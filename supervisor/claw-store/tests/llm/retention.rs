use claw_store::llm::{CallFilter, WindowKey};

use crate::{Bench, admitted, date, ended};

async fn ids(bench: &Bench) -> Vec<u64> {
    let filter = CallFilter {
        limit: 100,
        ..CallFilter::default()
    };
    let calls = bench.store.llm_calls(filter).await.unwrap();
    calls.iter().map(|row| row.admitted.id).collect()
}

#[tokio::test]
async fn what_is_old_is_forgotten_unless_it_still_counts() {
    let bench = Bench::new();
    for (id, agent, day) in [
        (1, "settled", "2026-10-31"),
        (2, "uncertain", "2026-10-31"),
        (3, "in-flight", "2026-10-30"),
        (4, "settled", "2026-11-02"),
        (5, "uncertain", "2026-11-02"),
        (6, "settled", "2026-11-20"),
    ] {
        bench.reserve(admitted(id, agent, day)).await;
        match agent {
            "in-flight" => {}
            "uncertain" => drop(bench.settle(id, ended(1, 99)).await),
            _ => drop(bench.settle(id, ended(1, 0)).await),
        }
    }
    let before = date("2026-11-10");
    assert_eq!(bench.store.prune_llm(before).await, Ok(3));
    assert_eq!(ids(&bench).await, [6, 5, 3]);
    let windows = bench.windows().await.into_iter();
    let windows: Vec<WindowKey> = windows.map(|(key, ..)| key).collect();
    let mut expected = WindowKey::of("settled", date("2026-11-20")).to_vec();
    let [_, month, ..] = WindowKey::of("uncertain", date("2026-11-02"));
    expected.push(month);
    // The fleet's month of the call in flight has money; its other windows have none yet.
    let [_, _, _, fleets_month] = WindowKey::of("in-flight", date("2026-10-30"));
    expected.push(fleets_month);
    expected.sort();
    assert_eq!(windows, expected);
    let restored = bench.store.restore_llm().await.unwrap();
    assert_eq!(restored.kept_since, Some(before));
}

#[tokio::test]
async fn an_id_is_not_forgotten_with_its_call() {
    let bench = Bench::new();
    bench.reserve(admitted(7, "a", "2026-10-31")).await;
    bench.settle(7, ended(1, 0)).await;
    bench.store.prune_llm(date("2026-12-01")).await.unwrap();
    bench.store.prune_llm(date("2026-11-01")).await.unwrap();
    let restored = bench.reopened().store.restore_llm().await.unwrap();
    assert_eq!(restored.last_id, 7);
    assert_eq!(
        restored.kept_since,
        Some(date("2026-12-01")),
        "what is forgotten is not there again"
    );
}

#[tokio::test]
async fn totals_never_fall_whatever_is_forgotten_or_corrected() {
    let bench = Bench::new();
    let mut used = ended(70, 0);
    used.tokens.output = 5;
    for (id, day) in [(1, "2026-10-30"), (2, "2026-10-31"), (3, "2026-11-20")] {
        bench.reserve(admitted(id, "a", day)).await;
        bench.settle(id, used.clone()).await;
    }
    bench.reserve(admitted(4, "b", "2026-11-20")).await;
    bench.settle(4, ended(40, 60)).await;
    let totals = async |bench: &Bench| {
        let rows = bench.store.llm_totals().await.unwrap().into_iter();
        rows.map(|row| (row.agent, row.calls, row.tokens.output, row.spent))
            .collect::<Vec<_>>()
    };
    let before = [("a".to_owned(), 3, 15, 210), ("b".to_owned(), 1, 0, 40)];
    assert_eq!(totals(&bench).await, before);
    assert_eq!(bench.store.prune_llm(date("2026-10-31")).await, Ok(1));
    assert_eq!(bench.store.prune_llm(date("2026-11-10")).await, Ok(1));
    bench.store.reconcile_llm_call(4, 0).await.unwrap();
    assert_eq!(totals(&bench).await, before);
    let bench = bench.reopened();
    assert_eq!(totals(&bench).await, before, "also by the next supervisor");
}

#[tokio::test]
async fn totals_too_large_to_add_stay_the_largest() {
    let bench = Bench::new();
    for (id, day) in [(1, "2026-10-30"), (2, "2026-10-31"), (3, "2026-11-20")] {
        bench.reserve(admitted(id, "a", day)).await;
        bench.settle(id, ended(i64::MAX, 0)).await;
    }
    bench.store.prune_llm(date("2026-10-31")).await.unwrap();
    bench.store.prune_llm(date("2026-11-10")).await.unwrap();
    let totals = bench.store.llm_totals().await.unwrap();
    assert_eq!(totals[0].spent, i64::MAX);
}
