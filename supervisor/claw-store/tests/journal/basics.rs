use claw_core::action::SlotFate;
use claw_core::{Cause, Generation, Image, Record, Run, Trigger, Wall};
use claw_store::journal::{Ended, IdempotencyKey, InstanceRow, Remembered};
use rusqlite::Connection;

use crate::support::*;

#[tokio::test]
async fn a_life_is_read_back_with_its_evidence() {
    let (_directory, path) = directory();
    let mut bench = Bench::open(&path);
    for record in [intent("a", 1), started("a", 1), outcome("a", 1, 3)] {
        bench.record(record).unwrap();
    }
    let rows = bench.journal.reader().outcomes(agent("a"), 10).await;
    assert_eq!(
        rows.unwrap(),
        [InstanceRow {
            instance: instance("a", 1),
            spec_hash: Some("5eed".into()),
            run: None,
            boot_id: Some(BOOT.into()),
            intent_at: Some(at(0)),
            started: Some((4711, at(1))),
            ended: Some(Ended {
                cause: Cause::exit(3),
                failed: true,
                report: None,
                at: at(2),
            }),
            image: None,
        }]
    );
}

fn image() -> Image {
    Image {
        reference: "python:3".into(),
        digest: "sha256:0a1b".into(),
    }
}

#[tokio::test]
async fn a_life_and_a_run_say_what_they_were_made_of() {
    let (_directory, path) = directory();
    let mut bench = Bench::open(&path);
    let contained = Record::Started {
        instance: instance("a", 1),
        pid: 4711,
        at: at(1),
        image: Some(image()),
    };
    let made = Run {
        image: Some(image()),
        ..finished("a", 1)
    };
    for record in [intent("a", 1), contained, intent("a", 2), started("a", 2)] {
        bench.record(record).unwrap();
    }
    bench.record(run(made.clone())).unwrap();
    let reader = bench.journal.reader();
    let rows = reader.outcomes(agent("a"), 10).await.unwrap();
    let images: Vec<_> = rows.into_iter().map(|row| row.image).collect();
    assert_eq!(images, [None, Some(image())]);
    let runs = reader.runs(agent("a"), 10, None).await.unwrap();
    assert_eq!(runs, [made]);
}

#[tokio::test]
async fn a_journal_from_before_images_is_read_on() {
    let (_directory, path) = directory();
    let mut bench = Bench::open(&path);
    for record in [intent("a", 1), started("a", 1), run(finished("a", 1))] {
        bench.record(record).unwrap();
    }
    bench.close();
    let older = Connection::open(&path).unwrap();
    older
        .execute_batch("ALTER TABLE instance DROP COLUMN image; PRAGMA user_version = 1")
        .unwrap();
    older.close().unwrap();
    let mut bench = Bench::open(&path);
    assert_eq!(bench.opened.open_instances[0].instance, instance("a", 1));
    bench.record(outcome("a", 1, 3)).unwrap();
    let reader = bench.journal.reader();
    let rows = reader.outcomes(agent("a"), 10).await.unwrap();
    assert_eq!((rows.len(), &rows[0].image), (1, &None));
    let runs = reader.runs(agent("a"), 10, None).await.unwrap();
    assert_eq!(runs, [finished("a", 1)]);
}

#[tokio::test]
async fn the_second_outcome_of_a_life_is_dropped_and_counted() {
    let (_directory, path) = directory();
    let mut bench = Bench::open(&path);
    for code in [3, 4] {
        bench.record(outcome("a", 1, code)).unwrap();
    }
    let reader = bench.journal.reader();
    let rows = reader.outcomes(agent("a"), 10).await.unwrap();
    let cause = rows[0].ended.as_ref().map(|ended| &ended.cause);
    assert_eq!(cause, Some(&Cause::exit(3)));
    assert_eq!(bench.journal.stats().duplicate_outcomes, 1);
}

#[test]
fn a_slot_is_settled_once_and_its_neighbours_in_the_batch_are_written() {
    let (_directory, path) = directory();
    let mut bench = Bench::open(&path);
    for record in [slot("a", 0), slot("a", 0), slot("a", 60), slot("b", 0)] {
        bench.ask(record);
    }
    let answers: Vec<_> = bench.acks(4).into_values().collect();
    let oks: Vec<_> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(oks, [true, false, true, true]);
    let reason = answers[1].clone().unwrap_err();
    assert!(reason.starts_with("slot already settled"), "{reason}");
}

#[test]
fn a_run_waits_for_a_slot_only_if_the_slot_is_its_own() {
    let (_directory, path) = directory();
    let mut bench = Bench::open(&path);
    let of_slot = |number| Run {
        trigger: Trigger::Schedule { slot: at(0) },
        ..queued("a", number)
    };
    let taken = Record::Slot {
        agent: agent("a"),
        planned: at(0),
        fate: SlotFate::Ran,
        run: Some(run_id(1)),
    };
    bench.record(taken).unwrap();
    bench.record(run(of_slot(1))).unwrap();
    let reason = bench.record(run(of_slot(2))).unwrap_err();
    assert!(reason.contains("does not belong to run"), "{reason}");
}

#[test]
fn a_generation_that_ended_is_never_started_again() {
    let (_directory, path) = directory();
    let mut bench = Bench::open(&path);
    bench.record(intent("a", 1)).unwrap();
    bench.record(intent("a", 1)).unwrap();
    bench.record(outcome("a", 1, 0)).unwrap();
    let reason = bench.record(intent("a", 1)).unwrap_err();
    assert_eq!(reason, "a#1 has already ended");
}

#[test]
fn a_new_supervisor_finds_what_was_open() {
    let (_directory, path) = directory();
    let mut bench = Bench::open(&path);
    assert_eq!(bench.opened.last_boot_id, None);
    let records = [
        intent("a", 1),
        started("a", 1),
        outcome("a", 1, 0),
        intent("a", 2),
        started("a", 2),
        intent("b", 1),
        memory("a", 5),
        run(queued("a", 9)),
        run(queued("a", 2)),
        run(queued("a", 3)),
        run(finished("a", 3)),
    ];
    let count = records.len();
    for record in records {
        bench.ask(record);
    }
    bench.acks(count);
    bench.close();

    let bench = Bench::open(&path);
    let opened = &bench.opened;
    assert_eq!(opened.last_boot_id.as_deref(), Some(BOOT));
    let open: Vec<_> = opened.open_instances.iter().collect();
    assert_eq!(open.len(), 2);
    assert_eq!(open[0].instance, instance("a", 2));
    assert_eq!(open[0].started, Some((4711, at(1))));
    assert_eq!(open[0].boot_id.as_deref(), Some(BOOT));
    assert_eq!(
        (&open[1].instance, open[1].started),
        (&instance("b", 1), None)
    );
    // In the order of acceptance, not of their ids.
    assert_eq!(opened.open_runs, [queued("a", 9), queued("a", 2)]);
    assert_eq!(opened.memory[&agent("a")].failures, 5);
    assert_eq!(opened.memory[&agent("a")].last_generation, Generation(2));
    assert_eq!(opened.memory[&agent("b")].last_generation, Generation(1));
    let started_with = opened.memory[&agent("a")].started_with.as_deref();
    assert_eq!(started_with, Some("5eed"));
    assert_eq!(opened.notes, Vec::<String>::new());
}

#[test]
fn an_agent_that_left_keeps_only_its_last_generation() {
    let (_directory, path) = directory();
    let mut bench = Bench::open(&path);
    bench.record(memory("a", 5)).unwrap();
    let removed = Record::Removed {
        agent: agent("a"),
        last: Generation(7),
    };
    bench.record(removed).unwrap();
    bench.close();
    let bench = Bench::open(&path);
    let memory = &bench.opened.memory[&agent("a")];
    assert_eq!(
        (memory.failures, memory.last_generation),
        (0, Generation(7))
    );
}

#[tokio::test]
async fn runs_are_paged_newest_first() {
    let (_directory, path) = directory();
    let mut bench = Bench::open(&path);
    for number in 1..=5 {
        bench.record(run(finished("a", number))).unwrap();
    }
    bench.record(run(queued("b", 6))).unwrap();
    let reader = bench.journal.reader();
    let page = |before| reader.runs(agent("a"), 2, before);
    let first = page(None).await.unwrap();
    assert_eq!(first, [finished("a", 5), finished("a", 4)]);
    let second = page(Some(first[1].id)).await.unwrap();
    assert_eq!(second, [finished("a", 3), finished("a", 2)]);
    assert_eq!(page(Some(run_id(99))).await.unwrap(), []);
    assert_eq!(reader.run(run_id(6)).await.unwrap(), Some(queued("b", 6)));
    assert_eq!(reader.run(run_id(7)).await.unwrap(), None);
    let counts = reader.counts().await.unwrap();
    assert_eq!((counts.runs, counts.open_runs), (6, 1));
}

#[tokio::test]
async fn an_answer_is_remembered_under_its_key() {
    let (_directory, path) = directory();
    let bench = Bench::open(&path);
    let first = Remembered {
        key: IdempotencyKey {
            scope: "trigger/a".into(),
            key: "k".into(),
        },
        request_hash: "h".into(),
        response: "{}".into(),
        at: Wall::now(),
    };
    let second = Remembered {
        response: "other".into(),
        ..first.clone()
    };
    // Columns hold microseconds.
    let micros = |mut row: Remembered| {
        row.at = Wall::from_microsecond(row.at.as_microsecond()).unwrap();
        row
    };
    assert_eq!(bench.journal.remember(first.clone()).await, Ok(None));
    let known = bench.journal.remember(second).await;
    assert_eq!(known, Ok(Some(micros(first.clone()))));
    let read = bench.journal.reader().remembered(first.key.clone()).await;
    assert_eq!(read.unwrap(), Some(micros(first)));
}

#[tokio::test]
async fn a_closed_journal_refuses() {
    let (_directory, path) = directory();
    let bench = Bench::open(&path);
    let clone = bench.journal.clone();
    bench.close();
    let new = Remembered {
        key: IdempotencyKey {
            scope: "trigger/a".into(),
            key: "k".into(),
        },
        request_hash: String::new(),
        response: "{}".into(),
        at: at(0),
    };
    clone.remember(new).await.unwrap_err();
    clone.close().unwrap();
}

#[test]
fn what_is_queued_is_written_when_the_last_handle_is_dropped() {
    let (_directory, path) = directory();
    let bench = Bench::open(&path);
    for failures in 0..500 {
        bench.tell(memory("a", failures));
    }
    // The last of them is answered, so all are written when the answer comes.
    let Bench { journal, .. } = bench;
    drop(journal);
    let reopened = std::iter::repeat_with(|| Bench::open(&path))
        .take(1_000)
        .find(|bench| {
            let memory = bench.opened.memory.get(&agent("a"));
            memory.is_some_and(|memory| memory.failures == 499)
        });
    assert!(reopened.is_some());
}
