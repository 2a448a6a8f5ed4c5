//! Case 22: what agents write is kept, and no agent is hurt by what becomes of it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use claw_daemon::api::{LogStream, State};

use crate::fleet::{Fleet, Process, agent, until};

const NEVER: &str = "restart_policy: {policy: never}";

#[test]
fn the_last_line_before_a_sigkill_is_kept() {
    let mut fleet = Fleet::new(
        &[
            agent(
                "shot",
                &["say", "first", "say", "last words", "raise", "KILL"],
                NEVER,
            ),
            agent("upset", &["say-error", "oh no", "exit", "1"], NEVER),
        ]
        .concat(),
    );
    fleet.up();
    let shot = fleet.await_state("shot", State::Stopped);
    assert_eq!(shot.last_death.unwrap().cause.signal, Some(9));
    assert_eq!(fleet.run(&["logs", "shot"]).ok(), "first\nlast words\n");
    fleet.await_state("upset", State::Stopped);
    let line = fleet.log("upset").remove(0);
    assert_eq!(
        (line.stream, line.text.as_str()),
        (LogStream::Stderr, "oh no")
    );
    fleet.down();
}

#[test]
fn a_flood_is_rotated_and_holds_up_neither_its_agent_nor_the_others() {
    let lines = 300_000;
    let mut fleet = Fleet::new(
        &[
            agent(
                "flood",
                &["flood", &lines.to_string(), "exit", "0"],
                "restart_policy: {policy: never}, logging: {max_size: 4Mi, max_files: 3}",
            ),
            agent("calm", &["count", "20"], ""),
        ]
        .concat(),
    );
    fleet.up();
    let calm = fleet.await_main("calm");
    let mut slowest = Duration::ZERO;
    until("the flood is over", || {
        let asked = Instant::now();
        let state = fleet.agent("flood").state;
        slowest = slowest.max(asked.elapsed());
        (state == State::Stopped).then_some(())
    });
    assert!(
        slowest < Duration::from_secs(2),
        "an answer took {slowest:?}"
    );
    assert_eq!(
        fleet.agent("flood").last_death.unwrap().cause.exit_code,
        Some(0)
    );
    let output = fleet.output("flood");
    assert!(output.len() < 14 << 20, "{} bytes are kept", output.len());
    let numbers: Vec<u64> = output
        .lines()
        .filter_map(|line| line.split(' ').nth(1)?.parse().ok())
        .collect();
    assert_eq!(numbers.last(), Some(&(lines - 1)), "the end is there");
    assert!(
        numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "no gap within what is kept"
    );
    assert_eq!(fleet.await_main("calm"), calm);
    fleet.down();
}

/// A child that escaped and holds standard output must not hide that its agent is gone.
#[test]
fn an_exit_is_noticed_although_an_escaped_child_holds_standard_output() {
    let mut fleet = Fleet::new("");
    let (escaped, left) = (fleet.place("escaped"), fleet.place("left"));
    let script = [
        "daemonise",
        "[",
        "session",
        "mark",
        &escaped,
        "forever",
        "]",
        "await-file",
        &escaped,
        "mark-time",
        &left,
        "exit",
        "3",
    ];
    fleet.write("", &agent("leader", &script, NEVER));
    fleet.up();
    let agent = fleet.await_state("leader", State::Stopped);
    let death = agent.last_death.unwrap();
    assert_eq!(death.cause.exit_code, Some(3));
    let exited: i64 = fleet.await_lines("left", 1)[0].parse().unwrap();
    let noticed = death.at.as_millisecond() - exited;
    // The child has a second to end by itself before it is killed.
    assert!(noticed < 2500, "noticed after {noticed} ms");
    let child: i32 = fleet.lines("escaped")[0].parse().unwrap();
    assert_eq!(Process::of(child), None, "the child is gone too");
    fleet.down();
}

#[test]
fn following_a_log_goes_on_as_more_is_written_and_ends_when_told() {
    let mut fleet = Fleet::new(&agent("counter", &["count", "50"], ""));
    fleet.up();
    fleet.await_output("counter", "line 3");
    let mut follower = fleet
        .command()
        .args(["logs", "counter", "-f", "-n", "2"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let numbers: Vec<u64> = lines
        .by_ref()
        .map(|line| {
            line.unwrap()
                .strip_prefix("line ")
                .unwrap()
                .parse()
                .unwrap()
        })
        .take(20)
        .collect();
    assert!(
        numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "{numbers:?}"
    );
    let process = Process::of(follower.id().cast_signed()).unwrap();
    process.signal(rustix::process::Signal::INT);
    let status = until("it ends", || follower.try_wait().unwrap());
    assert_eq!(status.code(), Some(130));
    fleet.down();
}

#[test]
fn logs_of_several_agents_are_told_apart_and_filtered_by_stream() {
    let both = ["say", "to stdout", "say-error", "to stderr", "forever"];
    let mut fleet = Fleet::new(&[agent("one", &both, ""), agent("other", &both, "")].concat());
    fleet.up();
    fleet.await_output("one", "to stderr");
    fleet.await_output("other", "to stderr");
    let errors = fleet
        .run(&["logs", "one", "other", "--stream", "stderr"])
        .ok();
    let mut lines: Vec<&str> = errors.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["one   | to stderr", "other | to stderr"]);
    fleet.down();
}

/// The agent sees what it was given, and nothing of the supervisor's own surroundings.
#[test]
fn an_agent_sees_its_own_environment_and_nothing_of_the_supervisors() {
    let mut fleet = Fleet::new("");
    let home = fleet.place("agent.env");
    fs::write(&home, "FROM_FILE=file\nWINS=file\n").unwrap();
    fs::write(fleet.path(".env"), "TOKEN=very-secret\n").unwrap();
    let keys =
        "env: {WINS: env, LEVEL: 5}, env_file: agent.env, secrets: [TOKEN], config: {depth: 3}";
    fleet.write("", &agent("looker", &["say-environment", "forever"], keys));
    fleet.up();
    fleet.await_output("looker", "TOKEN=");
    let output = until("all is written", || {
        Some(fleet.output("looker")).filter(|text| text.contains("OPENCLAW_CONFIG"))
    });
    let has = |line: &str| output.lines().any(|other| other == line);
    assert!(
        has("FROM_FILE=file") && has("WINS=env") && has("LEVEL=5"),
        "{output}"
    );
    assert!(has("TOKEN=***********"), "its log shows a secret: {output}");
    assert!(has("OPENCLAW_CONFIG={\"depth\":3}"), "{output}");
    assert!(
        !output.contains("CARGO"),
        "the supervisor's surroundings leak: {output}"
    );
    let (_, config) = fleet.api().ask("/api/config").unwrap();
    assert!(!config.contains("very-secret"), "the API shows a secret");
    assert!(
        !fleet.said().contains("very-secret"),
        "the log shows a secret"
    );
    fleet.down();
}
