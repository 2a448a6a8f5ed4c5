use claw_core::{Record, Wall, action::SlotFate};

use claw_store::journal::limits::{INSTANCES_KEPT, PRUNE_EVERY, RUNS_KEPT};

use crate::support::*;

#[tokio::test]
async fn old_history_goes_and_what_is_open_or_newest_stays() {
    let (_directory, path) = directory();
    let mut bench = Bench::open(&path);
    let old = |minutes: i64| Record::Slot {
        agent: agent("old"),
        planned: Wall::from_second(1_000_000_000 + 60 * minutes).unwrap(),
        fate: SlotFate::Ran,
        run: None,
    };
    let mut asked = 0;
    let mut ask = |record| {
        bench.ask(record);
        asked += 1;
    };
    ask(run(queued("a", 0)));
    ask(intent("a", 1));
    ask(memory("old", 0));
    for number in 1..=1_500 {
        ask(run(finished("a", number)));
        ask(outcome("a", number + 1, 0));
        ask(old(i64::try_from(number).unwrap()));
        ask(slot("future", i64::try_from(number).unwrap()));
    }
    bench.acks(asked);
    bench.close();

    // Everything is looked at after opening, when the writer is idle.
    let bench = Bench::open(&path);
    let reader = bench.journal.reader();
    let expected = (1_001, 201, 1 + 1_500);
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let counts = reader.counts().await.unwrap();
        let found = (counts.runs, counts.instances, counts.slots);
        if found == expected {
            assert_eq!((counts.open_runs, counts.open_instances), (1, 1));
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{found:?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let newest = reader.slots(agent("old"), 10).await.unwrap();
    assert_eq!(newest.len(), 1);
    assert_eq!(newest[0].planned.as_second(), 1_000_000_000 + 60 * 1_500);
    let runs = reader.runs(agent("a"), 1_000, None).await.unwrap();
    assert_eq!(runs[0], finished("a", 1_500));
    assert_eq!(reader.run(run_id(0)).await.unwrap(), Some(queued("a", 0)));
    assert_eq!(reader.run(run_id(500)).await.unwrap(), None);
}

#[tokio::test]
async fn the_history_of_an_agent_that_never_rests_is_bounded_while_it_grows() {
    let (_directory, path) = directory();
    let mut bench = Bench::open(&path);
    let reader = bench.journal.reader();
    for number in 1..=2_000 {
        bench.record(run(finished("busy", number))).unwrap();
        bench.record(outcome("busy", number, 0)).unwrap();
        if number % 100 == 0 {
            let counts = reader.counts().await.unwrap();
            assert!(
                counts.runs <= u64::from(RUNS_KEPT + PRUNE_EVERY),
                "{counts:?}"
            );
            assert!(
                counts.instances <= u64::from(INSTANCES_KEPT + PRUNE_EVERY),
                "{counts:?}"
            );
        }
    }
}
