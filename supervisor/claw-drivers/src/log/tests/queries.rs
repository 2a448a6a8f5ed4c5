//! What the reader answers.

use super::*;

const OUT: Stream = Stream::Stdout;
const ERR: Stream = Stream::Stderr;

fn numbered(count: usize, policy: LogPolicy) -> Agent {
    let mut agent = Agent::new(policy);
    for i in 0..count {
        agent.print(OUT, format!("{i}\n"));
    }
    agent
}

fn tail(lines: usize) -> LogQuery {
    LogQuery {
        tail: Some(lines),
        ..LogQuery::default()
    }
}

#[test]
fn tail_gives_the_last_lines_across_segments() {
    let agent = numbered(500, policy(64, 1000));
    assert_eq!(agent.texts(&tail(3)), ["out:497", "out:498", "out:499"]);
    assert_eq!(agent.texts(&tail(400)).len(), 400);
    assert_eq!(agent.texts(&tail(10_000)).len(), 500);
    assert!(agent.texts(&tail(0)).is_empty());
}

#[test]
fn tail_finds_a_late_line_of_the_quiet_stream() {
    let mut agent = Agent::new(policy(1 << 20, 3));
    agent.print(OUT, "early\n");
    agent.print(ERR, "noise\n".repeat(100));
    agent.print(OUT, "late\n");
    assert_eq!(agent.texts(&tail(2)), ["err:noise", "out:late"]);
    let query = LogQuery {
        streams: StreamSet::only(OUT),
        ..tail(2)
    };
    assert_eq!(agent.texts(&query), ["out:early", "out:late"]);
}

#[test]
fn time_bounds_hold_also_after_the_clock_was_set_back() {
    let mut agent = numbered(5, policy(1 << 20, 3));
    agent.clock -= Duration::from_secs(3600);
    let step = agent.clock;
    agent.print(OUT, "after the step\n");
    let query = LogQuery {
        until: Some(step + Duration::from_secs(1)),
        ..LogQuery::default()
    };
    assert_eq!(agent.texts(&query), ["out:after the step"]);
    let query = LogQuery {
        since: Some(step + Duration::from_secs(1)),
        ..LogQuery::default()
    };
    assert_eq!(agent.texts(&query).len(), 5);
}

#[test]
fn a_line_that_began_before_the_bound_is_completed_beyond_it() {
    let mut agent = Agent::new(policy(1 << 20, 3));
    agent.print(OUT, "begun ");
    agent.print(ERR, "later\n");
    let until = agent.clock;
    agent.print(OUT, "in time\n");
    let query = LogQuery {
        until: Some(until),
        ..LogQuery::default()
    };
    assert_eq!(agent.texts(&query), ["out:begun in time"]);
}

#[test]
fn lanes_are_merged_by_time() {
    let mut first = Agent::new(policy(1 << 20, 3));
    let mut second = LogWriter::open(first.dir.path(), first.policy, first.stamp());
    assert_eq!(second.lane(), Some(1));
    let (reading, mut writing) = pipe();
    for i in 0..3 {
        first.print(OUT, format!("a{i}\n"));
        first.advance(Duration::from_millis(1));
        writing.write_all(format!("b{i}\n").as_bytes()).unwrap();
        second.pump(OUT, reading.as_fd(), first.stamp());
    }
    let expected = ["out:a0", "out:b0", "out:a1", "out:b1", "out:a2", "out:b2"];
    assert_eq!(first.texts(&LogQuery::default()), expected);
    assert_eq!(first.texts(&tail(3)), expected[3..]);
    let range = LogRange {
        lane: 1,
        from: 3,
        to: Some(6),
    };
    let query = LogQuery {
        range: Some(range),
        ..LogQuery::default()
    };
    assert_eq!(first.texts(&query), ["out:b1"]);
}

#[test]
fn a_follower_sees_a_held_line_once_it_ends() {
    let mut agent = Agent::new(policy(1 << 20, 3));
    let reader = agent.reader();
    let limits = Limits {
        lines: 10,
        bytes: 1 << 20,
    };
    agent.print(OUT, "prompt> ");
    let page = reader.read_after(&Cursor::default(), limits).unwrap();
    assert_eq!((page.items.len(), page.end), (0, PageEnd::LogEnd));
    assert_eq!(page.cursor.to_string(), "0.8.o0");
    assert!(!reader.changed_since(&page.cursor).unwrap());
    agent.print(ERR, "noise\n");
    assert!(reader.changed_since(&page.cursor).unwrap());
    agent.print(OUT, "answer\n");
    let page = reader.read_after(&page.cursor, limits).unwrap();
    let shown = page.items.iter().map(|item| match item {
        LogItem::Line(line) => line.text_lossy().into_owned(),
        LogItem::Gap(_) => "gap".to_owned(),
    });
    assert_eq!(shown.collect::<Vec<_>>(), ["noise", "prompt> answer"]);
}

#[test]
fn what_was_rotated_away_before_it_was_read_is_a_gap() {
    let mut agent = numbered(1, policy(10, 2));
    let page = agent
        .reader()
        .read(
            &LogQuery::default(),
            Limits {
                lines: 9,
                bytes: 99,
            },
        )
        .unwrap();
    for i in 1..50 {
        agent.print(OUT, format!("{i:04}\n"));
    }
    let query = LogQuery {
        after: Some(page.cursor),
        ..LogQuery::default()
    };
    let items: Vec<_> = agent
        .reader()
        .lines(&query)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let oldest = segment::list(&agent.lane_dir()).unwrap()[0];
    assert_eq!(
        items[0],
        LogItem::Gap(LogGap {
            lane: 0,
            bytes: oldest - 2
        })
    );
    let LogItem::Line(last) = items.last().unwrap() else {
        panic!("a line is last")
    };
    assert_eq!(last.text, b"0049");
}

#[test]
fn a_lost_index_costs_times_and_streams_but_no_text() {
    let mut agent = numbered(3, policy(1 << 20, 3));
    agent.print(ERR, "error\n");
    std::fs::remove_file(segment::index_path(&agent.lane_dir(), 0)).unwrap();
    assert_eq!(
        agent.texts(&LogQuery::default()),
        ["out:0", "out:1", "out:2", "out:error"]
    );
    assert_eq!(agent.texts(&tail(1)), ["out:error"]);
    agent.restart();
    agent.print(ERR, "known\n");
    assert_eq!(agent.texts(&tail(2)), ["out:error", "err:known"]);
}

#[test]
fn a_damaged_or_torn_index_costs_no_text() {
    let mut agent = numbered(40, policy(1 << 20, 3));
    let path = segment::index_path(&agent.lane_dir(), 0);
    let mut index = std::fs::read(&path).unwrap();
    index[16 * 20..16 * 21].fill(0);
    index.truncate(16 * 38 + 7);
    std::fs::write(&path, index).unwrap();
    let all: Vec<_> = (0..40).map(|i| format!("out:{i}")).collect();
    assert_eq!(agent.texts(&LogQuery::default()), all);
    agent.restart();
    agent.print(OUT, "40\n");
    assert_eq!(agent.texts(&tail(2)), ["out:39", "out:40"]);
    assert_eq!(agent.texts(&LogQuery::default()).len(), 41);
}

#[test]
fn a_log_that_does_not_exist_reads_as_empty() {
    let dir = tempfile::tempdir().unwrap();
    let reader = LogReader::open(dir.path().join("never"));
    assert_eq!(reader.lines(&LogQuery::default()).unwrap().count(), 0);
    assert_eq!(reader.end().unwrap(), Cursor::default());
}

#[test]
fn a_replaced_lane_is_read_from_its_beginning_after_a_gap_of_unknown_size() {
    let agent = numbered(2, policy(1 << 20, 3));
    let query = LogQuery {
        after: Some("0.999".parse().unwrap()),
        ..LogQuery::default()
    };
    let items: Vec<_> = agent
        .reader()
        .lines(&query)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(items[0], LogItem::Gap(LogGap { lane: 0, bytes: 0 }));
    assert_eq!(items.len(), 3);
}
