//! A writer killed in the middle of a flood.

use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use super::*;

/// Tells the test binary, started again, where to write.
const LOG_DIR: &str = "CLAW_TEST_LOG_DIR";

/// Not a test: the process that is killed. Writes its standard input to the log for ever.
#[test]
#[ignore = "started by the tests below"]
fn writer_process() {
    let Some(dir) = std::env::var_os(LOG_DIR) else {
        return;
    };
    let mut writer = LogWriter::open(dir, policy(1 << 20, 100), Stamp::now());
    let stdin = std::io::stdin();
    prepare_pipe(stdin.as_fd()).unwrap();
    let input = File::from(stdin.as_fd().try_clone_to_owned().unwrap());
    loop {
        wait_readable(&input);
        if writer.pump(Stream::Stdout, input.as_fd(), Stamp::now()) == Pumped::Closed {
            return;
        }
    }
}

fn start_writer(dir: &Path, input: impl Into<Stdio>) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "log::tests::kill::writer_process",
            "--ignored",
            "--nocapture",
        ])
        .env(LOG_DIR, dir)
        .stdin(input)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn after_a_kill_there_is_no_hole_and_the_next_writer_appends() {
    let dir = tempfile::tempdir().unwrap();
    let reader = LogReader::open(dir.path());
    let mut first = LogQuery::default();
    for round in 0..5_u64 {
        let begin = reader.end().unwrap();
        let mut agent = Command::new("seq")
            .args(["1", "2000000"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = OwnedFd::from(agent.stdout.take().unwrap());
        let mut writer = start_writer(dir.path(), output);
        let wanted =
            begin.lanes.get(&0).map_or(0, |position| position.next) + (round + 1) * 900_000;
        wait_for_position(&reader, wanted);
        writer.kill().unwrap();
        writer.wait().unwrap();
        agent.kill().unwrap();
        agent.wait().unwrap();
        first.after = Some(begin);
        check_round(&lines_of(&reader, &first));
    }
    let index_holes = reader.lines(&LogQuery::default()).unwrap();
    assert!(
        index_holes
            .into_iter()
            .all(|item| matches!(item, Ok(LogItem::Line(_))))
    );
}

/// The lines of one round: the end of the line the last writer left, if it left one open, then
/// 1, 2, 3, …, the last one perhaps cut.
fn check_round(lines: &[LogLine]) {
    let numbers: Vec<_> = lines
        .iter()
        .filter(|line| !line.partial)
        .map(|line| &line.text)
        .collect();
    assert!(numbers.len() > 1000);
    for (i, number) in numbers.iter().enumerate() {
        assert_eq!(String::from_utf8_lossy(number), (i + 1).to_string());
    }
    let partial = lines.iter().filter(|line| line.partial).count();
    assert!(partial == 0 || (partial == 1 && lines.last().unwrap().partial));
}

#[expect(
    clippy::disallowed_methods,
    reason = "another process grows the log; polled with a bound"
)]
fn wait_for_position(reader: &LogReader, wanted: u64) {
    let begin = Instant::now();
    while reader
        .end()
        .unwrap()
        .lanes
        .get(&0)
        .is_none_or(|position| position.next < wanted)
    {
        assert!(
            begin.elapsed() < Duration::from_secs(20),
            "the log does not grow"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}
