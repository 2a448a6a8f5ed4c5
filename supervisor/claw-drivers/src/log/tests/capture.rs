//! What the writer leaves on disk.

use super::*;

const OUT: Stream = Stream::Stdout;
const ERR: Stream = Stream::Stderr;

#[test]
fn files_hold_exactly_the_bytes_and_lines_of_two_streams_are_kept_apart() {
    let mut agent = Agent::new(policy(1 << 20, 3));
    agent.print(OUT, "one\nsecond, half");
    agent.print(ERR, b"oops \xff\n");
    agent.print(OUT, " done\r\nprompt> ");
    let expected = b"one\nsecond, halfoops \xff\n done\r\nprompt> ";
    assert_eq!(log_files(&agent.lane_dir()), vec![(0, expected.to_vec())]);
    assert_eq!(agent.writer.position(), expected.len() as u64);
    let lines = agent.lines(&LogQuery::default());
    let shown = texts(&lines);
    assert_eq!(
        shown,
        [
            "out:one",
            "err:oops \u{fffd}",
            "out:second, half done\r",
            "out:prompt> …"
        ]
    );
    let start = agent.clock - Duration::from_millis(2);
    assert_eq!(lines[2].at, start);
    assert_eq!((lines[2].offset, lines[3].at), (4, agent.clock));
}

#[test]
fn a_new_writer_goes_on_at_the_end_and_never_joins_the_line_left_open() {
    let mut agent = Agent::new(policy(1 << 20, 3));
    agent.print(OUT, "killed in the mid");
    agent.restart();
    let begin = agent.writer.position();
    agent.print(OUT, "hello\n");
    let query = LogQuery::default();
    assert_eq!(agent.texts(&query), ["out:killed in the mid…", "out:hello"]);
    assert_eq!(
        log_files(&agent.lane_dir())[0].1,
        b"killed in the mid\nhello\n"
    );
    let range = LogRange {
        lane: 0,
        from: begin,
        to: None,
    };
    assert_eq!(
        agent.texts(&LogQuery {
            range: Some(range),
            ..query.clone()
        }),
        ["out:hello"]
    );
    let range = LogRange {
        lane: 0,
        from: 0,
        to: Some(begin),
    };
    assert_eq!(
        agent.texts(&LogQuery {
            range: Some(range),
            ..query
        }),
        ["out:killed in the mid…"]
    );
}

#[test]
fn a_line_left_open_behind_another_stream_is_not_joined_either() {
    let mut agent = Agent::new(policy(1 << 20, 3));
    agent.print(OUT, "half");
    agent.print(ERR, "whole\n");
    agent.restart();
    agent.print(OUT, "new\n");
    assert_eq!(
        agent.texts(&LogQuery::default()),
        ["err:whole", "out:half…", "out:new"]
    );
}

#[test]
fn segments_end_with_a_line_and_only_the_newest_are_kept() {
    let mut agent = Agent::new(policy(100, 3));
    for i in 0..100 {
        agent.print(OUT, format!("line number {i:04}\n"));
    }
    let files = log_files(&agent.lane_dir());
    assert_eq!(files.len(), 3);
    for pair in files.windows(2) {
        assert_eq!(pair[0].0 + pair[0].1.len() as u64, pair[1].0);
        assert_eq!(pair[0].1.last(), Some(&b'\n'));
        assert!((100..120).contains(&pair[0].1.len()));
    }
    let indexes = segment::list_with_extension(&agent.lane_dir(), "idx").unwrap();
    assert_eq!(indexes, segment::list(&agent.lane_dir()).unwrap());
    assert_eq!(
        agent.texts(&LogQuery::default()).last().unwrap(),
        "out:line number 0099"
    );
}

#[test]
fn one_write_larger_than_many_segments_is_cut_at_lines() {
    let mut agent = Agent::new(policy(1000, 100));
    let text = "0123456789abcdef\n".repeat(3000);
    agent.print(OUT, &text);
    let files = log_files(&agent.lane_dir());
    let whole: Vec<_> = files.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
    assert!(whole == text.as_bytes());
    assert!(
        files
            .iter()
            .all(|(_, bytes)| bytes.len() <= 1016 && bytes.ends_with(b"\n"))
    );
}

#[test]
fn a_line_longer_than_the_slack_is_split_over_segments_and_comes_in_pieces() {
    let mut agent = Agent::new(policy(1000, 100));
    let size = 700 * 1024;
    for _ in 0..7 {
        agent.print(OUT, "x".repeat(size / 7));
    }
    agent.print(OUT, "\nnext\n");
    let bound = 1000 + 256 * 1024;
    assert!(
        log_files(&agent.lane_dir())
            .iter()
            .all(|(_, bytes)| bytes.len() <= bound)
    );
    let lines = agent.lines(&LogQuery::default());
    let lengths: Vec<_> = lines
        .iter()
        .map(|line| (line.text.len(), line.partial))
        .collect();
    let rest = size - 2 * MAX_LINE_PIECE;
    assert_eq!(
        lengths,
        [
            (MAX_LINE_PIECE, true),
            (MAX_LINE_PIECE, true),
            (rest, false),
            (4, false)
        ]
    );
}

#[test]
fn a_single_segment_is_a_legal_limit() {
    let mut agent = Agent::new(policy(50, 0));
    for i in 0..20 {
        agent.print(OUT, format!("{i:019}\n"));
    }
    assert_eq!(log_files(&agent.lane_dir()).len(), 1);
}

#[test]
fn single_characters_do_not_blow_up_the_index() {
    let mut agent = Agent::new(policy(1 << 20, 3));
    for _ in 0..1000 {
        agent.print(OUT, ".");
    }
    let index = std::fs::metadata(segment::index_path(&agent.lane_dir(), 0)).unwrap();
    assert_eq!(index.len(), 16);
}

#[test]
fn an_index_that_outgrows_its_text_starts_a_new_segment_too() {
    let mut agent = Agent::new(policy(60_000, 10));
    for _ in 0..3000 {
        agent.print(OUT, "o\n");
        agent.print(ERR, "e\n");
    }
    let starts = segment::list(&agent.lane_dir()).unwrap();
    assert_eq!(starts, [0, 2 * 64 * 1024 / 16]);
    assert_eq!(agent.texts(&LogQuery::default()).len(), 6000);
}

#[test]
fn expired_segments_go_at_rotation_and_when_asked_but_offsets_stay() {
    let mut agent = Agent::new(LogPolicy {
        retention: Duration::from_secs(60),
        ..policy(20, 9)
    });
    // Ages count from the files' own times, which the real clock gives.
    agent.clock = SystemTime::now();
    for _ in 0..4 {
        agent.print(OUT, "a line of some length\n");
    }
    assert_eq!(log_files(&agent.lane_dir()).len(), 4);
    let later = agent.clock + Duration::from_secs(61);
    let pruned = prune(agent.dir.path(), &agent.policy, later).unwrap();
    assert_eq!(
        pruned,
        Pruned {
            segments: 3,
            bytes: 66
        }
    );
    assert_eq!(log_files(&agent.lane_dir()).len(), 1);
    let cursor = agent.reader().end().unwrap();
    drop(std::mem::replace(
        &mut agent.writer,
        LogWriter::open(
            tempfile::tempdir().unwrap().path(),
            agent.policy,
            Stamp::now(),
        ),
    ));
    let pruned = eventually(|| {
        let pruned = prune(agent.dir.path(), &agent.policy, later).unwrap();
        (pruned.segments > 0).then_some(pruned)
    });
    assert_eq!(
        pruned,
        Pruned {
            segments: 1,
            bytes: 22
        }
    );
    assert_eq!(log_files(&agent.lane_dir()), vec![(88, Vec::new())]);
    assert!(!agent.reader().changed_since(&cursor).unwrap());
}

#[test]
fn markers_stand_on_their_own_line_and_break_no_line() {
    let mut agent = Agent::new(policy(1 << 20, 3));
    agent.print(OUT, "half a ");
    let now = agent.stamp();
    agent.writer.marker("out of\nmemory", now);
    agent.print(OUT, "line\n");
    assert_eq!(
        agent.texts(&LogQuery::default()),
        ["sup:[clawctl: out of memory]", "out:half a line"]
    );
    assert_eq!(
        log_files(&agent.lane_dir())[0].1,
        b"half a \n[clawctl: out of memory]\nline\n"
    );
}

#[test]
fn a_directory_that_cannot_be_made_is_a_failure_that_heals() {
    let dir = tempfile::tempdir().unwrap();
    let log_dir = dir.path().join("log");
    std::fs::write(&log_dir, "in the way").unwrap();
    let mut now = Stamp::now();
    let mut writer = LogWriter::open(&log_dir, LogPolicy::default(), now);
    assert_eq!(writer.failure().unwrap().to_string(), "not a directory");
    let (reading, mut writing) = pipe();
    writing.write_all(b"lost\n").unwrap();
    assert_eq!(
        writer.pump(Stream::Stdout, reading.as_fd(), now),
        Pumped::Read(5)
    );
    std::fs::remove_file(&log_dir).unwrap();
    now.mono = writer.deadline().unwrap();
    writer.on_deadline(now);
    assert_eq!(writer.failure(), None);
    let stats = LogStats {
        bytes: 0,
        dropped_bytes: 5,
        dropped_lines: 1,
    };
    assert_eq!(writer.stats(), stats);
    let shown = texts(&lines_of(&LogReader::open(&log_dir), &LogQuery::default()));
    assert_eq!(
        shown,
        ["sup:[clawctl: 5 bytes (1 lines) of output were dropped: not a directory]"]
    );
}

#[test]
fn the_end_of_a_pipe_and_an_empty_one_are_told_apart() {
    let mut agent = Agent::new(policy(1 << 20, 3));
    let (reading, writing) = pipe();
    let now = agent.stamp();
    assert_eq!(
        agent.writer.pump(OUT, reading.as_fd(), now),
        Pumped::Read(0)
    );
    drop(writing);
    assert_eq!(agent.writer.pump(OUT, reading.as_fd(), now), Pumped::Closed);
}
