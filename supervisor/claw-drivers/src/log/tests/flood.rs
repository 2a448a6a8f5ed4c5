//! Real agents: latency of a quiet one, order and memory under a flood.

use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use super::*;

const OUT: Stream = Stream::Stdout;
const ERR: Stream = Stream::Stderr;

/// Starts a shell script whose two streams come out of the files returned.
fn shell(script: &str) -> (Child, File, File) {
    let mut child = Command::new("sh")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let out = File::from(OwnedFd::from(child.stdout.take().unwrap()));
    let err = File::from(OwnedFd::from(child.stderr.take().unwrap()));
    prepare_pipe(&out).unwrap();
    prepare_pipe(&err).unwrap();
    (child, out, err)
}

/// Moves everything a child prints, as the shim's loop does.
fn drain(writer: &mut LogWriter, out: &File, mut after_each: impl FnMut(&LogWriter)) {
    loop {
        wait_readable(out);
        if writer.pump(OUT, out.as_fd(), Stamp::now()) == Pumped::Closed {
            return;
        }
        after_each(writer);
    }
}

#[test]
fn a_line_of_a_quiet_agent_is_readable_as_soon_as_it_is_pumped() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = LogWriter::open(dir.path(), LogPolicy::default(), Stamp::now());
    let reader = LogReader::open(dir.path());
    let (mut child, out, err) = shell("while read line; do echo \"got $line\"; done; echo bye >&2");
    let mut stdin = child.stdin.take().unwrap();
    let mut cursor = Cursor::default();
    for i in 0..20 {
        let begin = Instant::now();
        stdin.write_all(format!("{i}\n").as_bytes()).unwrap();
        wait_readable(&out);
        writer.pump(OUT, out.as_fd(), Stamp::now());
        let page = reader
            .read_after(
                &cursor,
                Limits {
                    lines: 10,
                    bytes: 1000,
                },
            )
            .unwrap();
        let [LogItem::Line(line)] = &page.items[..] else {
            panic!("one line, not {page:?}")
        };
        assert_eq!(line.text_lossy(), format!("got {i}"));
        assert!(begin.elapsed() < Duration::from_secs(5));
        cursor = page.cursor;
    }
    drop(stdin);
    child.wait().unwrap();
    let pipes = [(OUT, out.as_fd()), (ERR, err.as_fd())];
    let end = writer.finish(&pipes, Stamp::now());
    let query = LogQuery {
        tail: Some(1),
        ..LogQuery::default()
    };
    assert_eq!(texts(&lines_of(&reader, &query)), ["err:bye"]);
    assert_eq!(reader.end().unwrap().to_string(), format!("0.{end}"));
}

#[test]
fn a_follower_of_a_flood_misses_nothing_but_what_it_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = LogWriter::open(dir.path(), policy(64 * 1024, 3), Stamp::now());
    let reader = LogReader::open(dir.path());
    let (mut child, out, _err) = shell("seq 1 300000");
    let mut cursor: Cursor = "0.0".parse().unwrap();
    let mut follower = Sequence::default();
    let mut pumps = 0;
    drain(&mut writer, &out, |_| {
        pumps += 1;
        if pumps % 3 == 0 {
            cursor = follower.take(reader.read_after(
                &cursor,
                Limits {
                    lines: 9000,
                    bytes: 1 << 20,
                },
            ));
        }
    });
    child.wait().unwrap();
    while reader.changed_since(&cursor).unwrap() {
        cursor = follower.take(reader.read_after(
            &cursor,
            Limits {
                lines: 9000,
                bytes: 1 << 20,
            },
        ));
    }
    assert_eq!(follower.last, 300_000);
    assert_eq!(follower.bytes, writer.position());
}

/// Checks that numbers rise by one except over a gap, and that gaps account for the bytes.
#[derive(Default)]
struct Sequence {
    last: u64,
    bytes: u64,
    after_gap: bool,
}

impl Sequence {
    fn take(&mut self, page: Result<Page, ReadError>) -> Cursor {
        let page = page.unwrap();
        for item in page.items {
            match item {
                LogItem::Gap(gap) => {
                    self.bytes += gap.bytes;
                    self.after_gap = true;
                }
                LogItem::Line(line) => self.take_line(&line),
            }
        }
        page.cursor
    }

    fn take_line(&mut self, line: &LogLine) {
        let number: u64 = line.text_lossy().parse().unwrap();
        assert!(
            number == self.last + 1 || (self.after_gap && number > self.last),
            "{line:?} after {}",
            self.last
        );
        assert!(!line.partial);
        self.last = number;
        self.bytes += line.text.len() as u64 + 1;
        self.after_gap = false;
    }
}

#[test]
fn lines_of_two_streams_stay_whole_when_both_flood() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = LogWriter::open(dir.path(), policy(100_000, 1000), Stamp::now());
    let (mut child, out, err) = shell("seq 1 60000 & seq 1 60000 >&2 & wait");
    let mut open = [true, true];
    while open.contains(&true) {
        let pipes = [(OUT, &out), (ERR, &err)];
        for ((stream, pipe), open) in pipes.into_iter().zip(&mut open).filter(|(_, open)| **open) {
            wait_readable(pipe);
            *open = writer.pump(stream, pipe.as_fd(), Stamp::now()) != Pumped::Closed;
        }
    }
    child.wait().unwrap();
    let lines = lines_of(&LogReader::open(dir.path()), &LogQuery::default());
    for stream in [OUT, ERR] {
        let of_stream = lines.iter().filter(|line| line.stream == stream);
        let texts: Vec<_> = of_stream
            .map(|line| line.text_lossy().into_owned())
            .collect();
        assert!(
            texts
                .iter()
                .enumerate()
                .all(|(i, text)| *text == (i + 1).to_string())
        );
        assert_eq!(texts.len(), 60_000);
    }
}

#[test]
fn a_flood_without_line_ends_keeps_disk_and_memory_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = LogWriter::open(dir.path(), policy(1 << 20, 3), Stamp::now());
    let (mut child, out, _err) = shell("head -c 200000000 /dev/zero");
    drain(&mut writer, &out, |_| ());
    child.wait().unwrap();
    assert_eq!(writer.position(), 200_000_000);
    let files = log_files(&dir.path().join("lane-0"));
    assert!(
        files
            .iter()
            .all(|(_, bytes)| bytes.len() <= (1 << 20) + (256 << 10))
    );
    assert_eq!(files.len(), 3);
    let query = LogQuery {
        tail: Some(2),
        ..LogQuery::default()
    };
    let lines = lines_of(&LogReader::open(dir.path()), &query);
    assert!(
        lines
            .iter()
            .all(|line| line.partial && line.text.len() <= MAX_LINE_PIECE)
    );
}

#[test]
fn the_buffer_of_a_burst_is_given_back_after_a_second_of_silence() {
    let mut agent = Agent::new(policy(1 << 20, 3));
    agent.print(OUT, "quiet\n");
    assert_eq!(agent.writer.deadline(), None);
    agent.print(OUT, "x".repeat(100_000));
    let due = agent.writer.deadline().unwrap();
    assert_eq!(due, agent.mono + Duration::from_secs(1));
    agent.mono = due;
    let now = agent.stamp();
    agent.writer.on_deadline(now);
    assert_eq!(agent.writer.deadline(), None);
    agent.print(OUT, "\nstill works\n");
    assert_eq!(
        agent.texts(&LogQuery {
            tail: Some(1),
            ..LogQuery::default()
        }),
        ["out:still works"]
    );
}
