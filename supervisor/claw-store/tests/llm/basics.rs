use claw_store::StoreError;
use claw_store::bus::Level;
use claw_store::llm::{
    Admitted, CallFilter, CallRow, Correction, EndedCall, Period, Settlement, Tokens, Told,
    UsageBy, WindowCorrection, WindowKey,
};
use claw_store::store::UnixMs;
use rusqlite::Connection;

use crate::{Bench, admitted, date, ended, open};

const DAY: &str = "2026-11-22";

fn of_agent(period: Period, start: &str) -> WindowKey {
    WindowKey {
        agent: Some("a".into()),
        period,
        start: date(start),
    }
}

fn whole() -> EndedCall {
    EndedCall {
        outcome: "reported".into(),
        spent: 70,
        uncertain: 0,
        tokens: Tokens {
            input: 1,
            cache_read: 2,
            cache_write_5m: 3,
            cache_write_1h: 4,
            output: 5,
            reasoning: 6,
            searches: 7,
        },
        model_served: Some("gpt-5.4-2026-03-05".into()),
        status: Some(200),
        attempts: Some("[]".into()),
        started_at: Some(UnixMs(5)),
        first_byte_at: Some(UnixMs(6)),
        ended_at: Some(UnixMs(7)),
    }
}

#[tokio::test]
async fn a_call_that_cost_nothing_is_in_no_window_and_its_id_is_used() {
    let bench = Bench::new();
    let (call, over) = (admitted(7, "a", DAY), ended(0, 0));
    let noted = bench.store.note_llm_call(call.clone(), over.clone());
    noted.await.unwrap();
    let again = bench.store.note_llm_call(call.clone(), over.clone());
    assert!(matches!(again.await, Err(StoreError::Invalid(_))));
    let bench = bench.reopened();
    let restored = bench.store.restore_llm().await.unwrap();
    assert_eq!((restored.in_flight, restored.windows), (vec![], vec![]));
    assert_eq!(restored.last_id, 7);
    let filter = CallFilter {
        limit: 10,
        ..CallFilter::default()
    };
    let row = CallRow {
        admitted: call,
        ended: Some(over),
    };
    assert_eq!(bench.store.llm_calls(filter).await.unwrap(), [row]);
}

#[tokio::test]
async fn a_call_is_in_flight_until_it_is_settled_and_then_in_its_windows() {
    let bench = Bench::new();
    let call = admitted(1, "a", DAY);
    bench.reserve(call.clone()).await;
    let bench = bench.reopened();
    let restored = bench.store.restore_llm().await.unwrap();
    assert_eq!(restored.in_flight, std::slice::from_ref(&call));
    assert_eq!(restored.windows, []);
    assert_eq!(restored.last_id, 1);
    assert_eq!(bench.settle(1, whole()).await, Settlement::Written);
    let bench = bench.reopened();
    let restored = bench.store.restore_llm().await.unwrap();
    assert_eq!(restored.in_flight, []);
    let mut expected = WindowKey::of("a", date(DAY)).map(|key| (key, 70, 0));
    expected.sort();
    assert_eq!(bench.windows().await, expected);
    let filter = CallFilter {
        limit: 10,
        ..CallFilter::default()
    };
    let row = CallRow {
        admitted: call,
        ended: Some(whole()),
    };
    assert_eq!(bench.store.llm_calls(filter).await.unwrap(), [row]);
}

#[tokio::test]
async fn a_call_is_settled_once() {
    let bench = Bench::new();
    bench.reserve(admitted(1, "a", DAY)).await;
    assert_eq!(bench.settle(1, ended(70, 0)).await, Settlement::Written);
    let before = bench.windows().await;
    assert_eq!(bench.settle(1, ended(30, 9)).await, Settlement::Already);
    assert_eq!(bench.settle(2, ended(30, 9)).await, Settlement::Unknown);
    assert_eq!(bench.windows().await, before);
}

#[tokio::test]
async fn a_call_in_flight_may_come_to_cost_less_and_never_more() {
    let bench = Bench::new();
    let call = admitted(1, "a", DAY);
    bench.reserve(call.clone()).await;
    bench.reserve(admitted(2, "a", DAY)).await;
    bench.settle(2, ended(70, 0)).await;
    for (id, held) in [(1, 7), (1, call.held), (2, 0), (3, 0)] {
        let shrunk = bench.store.shrink_llm_call(id, held, Level::Os);
        shrunk.await.unwrap();
    }
    let bench = bench.reopened();
    let restored = bench.store.restore_llm().await.unwrap();
    let less = Admitted {
        held: 7,
        estimate: call.estimate.min(7),
        ..call
    };
    assert_eq!(restored.in_flight, [less]);
    let calls = bench.store.llm_calls(CallFilter {
        limit: 10,
        ..CallFilter::default()
    });
    assert_eq!(calls.await.unwrap()[0].admitted, admitted(2, "a", DAY));
}

#[tokio::test]
async fn calls_of_a_store_from_before_holds_go_on() {
    let bench = Bench::new();
    for id in 1..=2 {
        bench.reserve(admitted(id, "a", DAY)).await;
    }
    bench.settle(1, whole()).await;
    let Bench { store, directory } = bench;
    store.close().unwrap();
    let older = Connection::open(directory.path().join("store.db")).unwrap();
    older
        .execute_batch(
            "INSERT INTO llm_call (id, admitted_at, day, agent, run, provider, model, model_id,
                held, estimate, rates, clamped, request_hash, corrected)
            SELECT * FROM llm_hold;
            DROP TABLE llm_hold;
            CREATE INDEX llm_call_in_flight ON llm_call (id) WHERE outcome IS NULL;
            PRAGMA user_version = 3",
        )
        .unwrap();
    older.close().unwrap();
    let store = open(&directory);
    let bench = Bench { store, directory };
    let restored = bench.store.restore_llm().await.unwrap();
    assert_eq!(restored.in_flight, [admitted(2, "a", DAY)]);
    assert_eq!(bench.settle(1, whole()).await, Settlement::Already);
    assert_eq!(bench.settle(2, whole()).await, Settlement::Written);
    let windows = bench.windows().await.into_iter();
    let settled: Vec<_> = windows.map(|(_, settled, _)| settled).collect();
    assert_eq!(settled, [140; 4]);
}

#[tokio::test]
async fn an_id_is_reserved_once() {
    let bench = Bench::new();
    bench.reserve(admitted(1, "a", DAY)).await;
    let again = bench
        .store
        .reserve_llm_call(admitted(1, "b", DAY), Level::Disk)
        .await;
    assert!(matches!(again, Err(StoreError::Invalid(_))), "{again:?}");
    let restored = bench.store.restore_llm().await.unwrap();
    assert_eq!(restored.in_flight, [admitted(1, "a", DAY)]);
}

#[tokio::test]
async fn alerts_that_were_given_stay_given() {
    let bench = Bench::new();
    let day = of_agent(Period::Day, DAY);
    bench.reserve(admitted(1, "a", DAY)).await;
    bench.settle(1, ended(70, 0)).await;
    for told in [Told::Reached, Told::Nearing] {
        let told = bench.store.tell_llm_window(day.clone(), told);
        told.await.unwrap();
    }
    let month = of_agent(Period::Month, "2026-11-01");
    bench
        .store
        .tell_llm_window(month.clone(), Told::Nearing)
        .await
        .unwrap();
    let bench = bench.reopened();
    for row in bench.store.restore_llm().await.unwrap().windows {
        let expected = match &row.key {
            key if *key == day => Told::Reached,
            key if *key == month => Told::Nearing,
            _ => Told::Nothing,
        };
        assert_eq!(row.told, expected, "{row:?}");
    }
}

#[tokio::test]
async fn what_was_uncertain_is_reconciled_once_where_it_still_is() {
    let bench = Bench::new();
    bench.reserve(admitted(1, "a", DAY)).await;
    bench.settle(1, ended(10, 90)).await;
    let day = of_agent(Period::Day, DAY);
    bench
        .store
        .reconcile_llm_window(WindowCorrection {
            key: day.clone(),
            settled: 45,
            cleared: 90,
            calls: vec![1],
        })
        .await
        .unwrap();
    let uncertain = bench.store.restore_llm().await.unwrap().uncertain;
    assert_eq!(uncertain.len(), 1);
    assert_eq!((uncertain[0].spent, uncertain[0].uncertain), (10, 90));
    assert_eq!(uncertain[0].windows.len(), 3, "{uncertain:?}");
    assert!(!uncertain[0].windows.contains(&day));
    let reconciled = bench.store.reconcile_llm_call(1, 40).await;
    assert_eq!(reconciled, Ok(Correction::Written));
    let again = bench.store.reconcile_llm_call(1, 99).await;
    assert_eq!(again, Ok(Correction::NothingUncertain));
    for (key, settled, uncertain) in bench.windows().await {
        let expected = if key == day { 55 } else { 40 };
        assert_eq!((settled, uncertain), (expected, 0), "{key:?}");
    }
}

#[tokio::test]
async fn a_call_that_is_written_after_a_correction_that_knew_of_it_comes_to_the_same() {
    let bench = Bench::new();
    bench.reserve(admitted(1, "a", DAY)).await;
    bench.reserve(admitted(2, "a", DAY)).await;
    let day = of_agent(Period::Day, DAY);
    // The first has ended by now, of which nothing is written yet; the second has not.
    let correction = WindowCorrection {
        key: day.clone(),
        settled: 45,
        cleared: 90,
        calls: vec![1],
    };
    let corrected = bench.store.reconcile_llm_window(correction).await;
    assert_eq!(corrected, Ok(()));
    bench.settle(2, ended(7, 3)).await;
    bench.settle(1, ended(10, 90)).await;
    for (key, settled, uncertain) in bench.windows().await {
        let expected = if key == day { (62, 3) } else { (17, 93) };
        assert_eq!((settled, uncertain), expected, "{key:?}");
    }
    let uncertain = bench.store.restore_llm().await.unwrap().uncertain;
    let has_day = uncertain.iter().map(|call| call.windows.contains(&day));
    assert_eq!(has_day.collect::<Vec<_>>(), [false, true], "{uncertain:?}");
}

#[tokio::test]
async fn amounts_too_large_to_add_stay_the_largest() {
    let bench = Bench::new();
    for id in 1..=2 {
        bench.reserve(admitted(id, "a", DAY)).await;
        let mut absurd = ended(i64::MAX, 0);
        absurd.tokens.output = u64::MAX;
        bench.settle(id, absurd).await;
    }
    for (key, settled, _) in bench.windows().await {
        assert_eq!(settled, i64::MAX, "{key:?}");
    }
    let usage = bench.store.llm_usage(UnixMs(0), UsageBy::Agent).await;
    let usage = usage.unwrap();
    assert_eq!(usage[0].spent, i64::MAX);
    assert_eq!(usage[0].tokens.output, i64::MAX.unsigned_abs());
}

#[tokio::test]
async fn calls_are_paged_and_filtered() {
    let bench = Bench::new();
    for id in 1..=10 {
        let agent = if id % 2 == 0 { "a" } else { "b" };
        bench.reserve(admitted(id, agent, DAY)).await;
    }
    // The others are in flight, newer ones and older ones.
    for id in [2, 3, 6, 7, 8] {
        bench.settle(id, ended(1, i64::from(id == 6))).await;
    }
    let ids = async |filter: CallFilter| {
        let calls = bench.store.llm_calls(filter).await.unwrap();
        calls
            .iter()
            .map(|row| row.admitted.id)
            .collect::<Vec<u64>>()
    };
    let of_a = CallFilter {
        agent: Some("a".into()),
        limit: 3,
        ..CallFilter::default()
    };
    assert_eq!(ids(of_a.clone()).await, [10, 8, 6]);
    let before = Some(6);
    assert_eq!(ids(CallFilter { before, ..of_a }).await, [4, 2]);
    let of_run = CallFilter {
        run: Some("run-b".into()),
        since: Some(UnixMs(6_000)),
        limit: 100,
        ..CallFilter::default()
    };
    assert_eq!(ids(of_run).await, [9, 7]);
    let uncertain = CallFilter {
        uncertain: true,
        limit: 100,
        ..CallFilter::default()
    };
    assert_eq!(ids(uncertain).await, [6]);
}

#[tokio::test]
async fn usage_is_summed_up_by_agent_model_day_and_run() {
    let bench = Bench::new();
    let days = [DAY, "2026-11-23"];
    for id in 1..=4 {
        let agent = if id % 2 == 0 { "a" } else { "b" };
        let mut call = admitted(id, agent, days[usize::from(id > 2)]);
        call.model_id = format!("m{id}");
        bench.reserve(call).await;
    }
    for id in 1..=3 {
        bench.settle(id, whole()).await;
    }
    let usage = async |since, by| {
        let rows = bench.store.llm_usage(UnixMs(since), by).await.unwrap();
        let rows = rows.into_iter();
        rows.map(|row| (row.name, row.calls, row.spent, row.tokens.searches))
            .collect::<Vec<_>>()
    };
    let row = |name: &str, calls: u64| {
        let spent = 70 * i64::try_from(calls).unwrap();
        (name.to_owned(), calls, spent, 7 * calls)
    };
    assert_eq!(usage(0, UsageBy::Agent).await, [row("a", 1), row("b", 2)]);
    let by_day = usage(0, UsageBy::Day).await;
    assert_eq!(by_day, [row(DAY, 2), row("2026-11-23", 1)]);
    let by_model = usage(2_000, UsageBy::Model).await;
    assert_eq!(by_model, [row("m2", 1), row("m3", 1)]);
    let mut outside = admitted(5, "c", DAY);
    outside.run = None;
    bench.reserve(outside).await;
    bench.settle(5, whole()).await;
    let by_run = usage(0, UsageBy::Run).await;
    assert_eq!(by_run, [row("run-b", 2), row("run-a", 1)]);
}
