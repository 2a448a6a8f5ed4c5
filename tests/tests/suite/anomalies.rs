//! Fault matrix, rows 9, 11, 17 and 19: a system call of ours fails once, whichever it is.
//!
//! ```text
//!  the N-th call of each thread fails ──► it goes on, or ends with a sentence ──► a plain start
//!     ▲                                                                             │
//!     └── N + 1 ◄── something failed ◄── what must hold, holds ◄────────────────────┘
//!                   nothing did: all is tried
//! ```
//!
//! The calls are made to fail by `strace`, which counts them for each thread by itself. An ordinary
//! run takes a sample; `CLAW_ANOMALIES=all` takes everything, `CLAW_ANOMALIES=5` the first five, and
//! `CLAW_ANOMALIES=openat:EIO:Fresh:33` that one alone, as a failure names it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;
use std::{fmt, fs};

use crate::crash_points::remains::{
    assert_no_leftovers, assert_one_copy, assert_one_outcome_each, make_marks, marks,
};
use crate::dice::Dice;
use crate::fleet::{Fleet, Waited, agent, until};

/// What fails, and with what.
const FAULTS: &[(&str, &[&str])] = &[
    ("fsync,fdatasync", &["EIO", "ENOSPC"]),
    ("pwrite64", &["EIO", "ENOSPC"]),
    ("ftruncate", &["EIO"]),
    ("rename,renameat,renameat2", &["EIO", "ENOSPC"]),
    ("openat", &["EMFILE", "EIO"]),
    ("mkdir,mkdirat", &["ENOSPC", "EIO"]),
    ("unlink,unlinkat,rmdir", &["EIO"]),
    ("flock", &["EIO"]),
    ("socket,socketpair", &["EMFILE", "ENOMEM"]),
    ("connect", &["EAGAIN"]),
    // Not `clone3`, by which threads are made: the runtime takes its own for granted.
    ("clone,fork,vfork", &["EAGAIN", "ENOMEM"]),
];

/// So many runs are a sample. Each takes a second or two.
const SAMPLE: usize = 15;

/// Up to here each call is tried; beyond, one in eight of as many as there were before. A thread
/// makes some hundred calls of a kind while it starts, and most are alike.
const EACH: u32 = 12;

/// No thread makes so many calls of a kind in such a run.
const MOST: u32 = 3000;

/// Courses at once for each processor where all are tried.
const AT_ONCE: usize = 3;

/// How long something is given to go on after a call of it failed.
const COURSE: Duration = Duration::from_secs(1);

/// The one panic that cannot be mended here: the runtime takes a pair of sockets for granted when
/// it is made, which is before anything else happens.
const NOT_OURS: &str = "/src/signal/unix.rs";

/// What a supervisor begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begin {
    /// Nothing is there.
    Fresh,
    /// Agents live that another supervisor left.
    Inherited,
}

/// One course of things.
#[derive(Debug, Clone, Copy)]
struct Course {
    calls: &'static str,
    error: &'static str,
    begin: Begin,
}

impl fmt::Display for Course {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            calls,
            error,
            begin,
        } = self;
        write!(to, "{calls}:{error}:{begin:?}")
    }
}

/// Whether a call failed at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Injected {
    Some,
    None,
}

impl Course {
    fn all() -> Vec<Self> {
        let begins = [Begin::Fresh, Begin::Inherited];
        let mut all = Vec::new();
        for (calls, errors) in FAULTS {
            for error in *errors {
                all.extend(begins.map(|begin| Self {
                    calls,
                    error,
                    begin,
                }));
            }
        }
        all
    }

    /// Has the N-th call of each thread fail, and looks at what comes of it.
    fn run(self, number: u32) -> Injected {
        let mut fleet = Fleet::new("");
        make_marks(&fleet);
        fleet.write("", &agents(&fleet));
        if self.begin == Begin::Inherited {
            fleet.up();
            fleet.await_main("mortal");
            fleet.kill();
        }
        let trace = fleet.place("trace");
        fleet.set_launcher(self.strace(&trace, number));
        fleet.start();
        go_on(&mut fleet);
        fleet.set_launcher(Vec::new());
        assert_no_panic_of_ours(&fleet);
        fleet.up();
        check(&mut fleet);
        let text = fs::read_to_string(Path::new(&trace)).unwrap_or_default();
        if text.contains("INJECTED") {
            Injected::Some
        } else {
            Injected::None
        }
    }

    fn strace(self, trace: &str, number: u32) -> Vec<String> {
        let Self { calls, error, .. } = self;
        let words = [
            "strace",
            "-D",
            "-f",
            "--seccomp-bpf",
            "-qq",
            "-o",
            trace,
            "-e",
            &format!("trace={calls}"),
            "-e",
            "signal=none",
            "-e",
            &format!("inject={calls}:error={error}:when={number}"),
        ];
        words.map(str::to_owned).to_vec()
    }
}

/// One that stays, one that is restarted, and one that works.
fn agents(fleet: &Fleet) -> String {
    let policy = "restart_policy: {initial_delay: 20ms, max_delay: 200ms, max_retries: unlimited}";
    let lives = ["steady", "mortal"].map(|name| {
        agent(
            name,
            &["mark", &fleet.place(&marks(name)), "forever"],
            policy,
        )
    });
    lives.concat() + &agent("job", &["say", "done"], "mode: oneshot")
}

/// The supervisor ends with a sentence, or goes on and is asked for something; then it is killed.
fn go_on(fleet: &mut Fleet) {
    // It may answer that it is not ready, and why: a disk that failed once is not trusted again.
    let ended = until("it answers or ends", || match fleet.has_ended() {
        Some(status) => Some(Some(status)),
        None => fleet.api().ask("/api/ready").map(|_answered| None),
    });
    let ended = ended.or_else(|| {
        // Whatever is answered: what is asked for need not work.
        for path in ["/api/agents/mortal/restart", "/api/agents/job/trigger"] {
            drop(fleet.api().offer(path, "{}", ("x-any", "any")));
        }
        let mut waited = Waited::start();
        until("its course is over", || {
            let ended = fleet.has_ended();
            (ended.is_some() || waited.total() > COURSE).then_some(ended)
        })
    });
    match ended {
        Some(status) => {
            let failed = status.code().is_some_and(|code| code != 0);
            assert!(failed, "{status}: {}", fleet.said());
            assert!(!fleet.said().trim().is_empty(), "it ended without a word");
        }
        None => fleet.kill(),
    }
}

/// A plain start brings everything up, and nothing is left of what failed.
fn check(fleet: &mut Fleet) {
    for name in ["steady", "mortal"] {
        assert_one_copy(fleet, name);
        assert_one_outcome_each(fleet, name);
    }
    fleet.run(&["trigger", "job", "--wait"]).ok();
    until("every run is over", || {
        let runs = fleet.runs("job");
        runs.iter().all(|run| run.state.is_final()).then_some(())
    });
    assert_no_leftovers(fleet, &["steady", "mortal"]);
    assert_no_panic_of_ours(fleet);
    fleet.down();
}

/// Nothing of ours panics.
fn assert_no_panic_of_ours(fleet: &Fleet) {
    let said = fleet.said();
    let mut panics = said.lines().filter(|line| line.contains("panicked at"));
    assert!(panics.all(|line| line.contains(NOT_OURS)), "{said}");
}

/// Whether calls can be made to fail here.
fn can_inject(test: &str) -> bool {
    let tried = Command::new("strace")
        .args(["-f", "--seccomp-bpf", "-qq", "-o", "/dev/null"])
        .args(["-e", "trace=chdir", "-e", "inject=chdir:error=EIO", "true"])
        .status();
    let can = tried.is_ok_and(|status| status.success());
    if !can {
        eprintln!("SKIP anomalies::{test}: strace cannot make system calls fail here");
    }
    can
}

fn next(number: u32) -> u32 {
    if number < EACH {
        return number + 1;
    }
    number + number / 8
}

/// What failed of a course, if anything did.
fn failure(course: Course, number: u32) -> Result<Injected, String> {
    let run = catch_unwind(AssertUnwindSafe(|| course.run(number)));
    run.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        format!("{course}:{number}: {}", text.unwrap_or_default())
    })
}

/// Everything of a course up to that call.
fn whole(course: Course, most: u32) -> Vec<String> {
    let (mut failures, mut number) = (Vec::new(), 1);
    while number <= most {
        match failure(course, number) {
            Ok(Injected::None) => break,
            Ok(Injected::Some) => {}
            Err(error) => {
                eprintln!("{error}");
                failures.push(error);
            }
        }
        number = next(number);
    }
    let failed = failures.len();
    eprintln!("{course}: up to call {number}, {failed} failures");
    failures
}

/// Everything up to that call, some courses at a time: each mostly waits.
fn everything(most: u32) -> Vec<String> {
    let courses = Mutex::new(Course::all());
    let next_course = || courses.lock().expect("no thread panics").pop();
    let alone = || {
        let mut failures = Vec::new();
        while let Some(course) = next_course() {
            failures.extend(whole(course, most));
        }
        failures
    };
    let count = AT_ONCE * thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|_| scope.spawn(alone)).collect();
        let joined = threads.into_iter().map(|one| one.join());
        joined
            .flat_map(|failures| failures.expect("no thread panics"))
            .collect()
    })
}

/// One course at one call, as a failure names it.
fn one(named: &str) -> Vec<String> {
    let (course, number) = named.rsplit_once(':').expect("a course and a number");
    let mut courses = Course::all().into_iter();
    let course = courses.find(|known| known.to_string() == course);
    let number = number.parse().expect("the number of a call");
    let failed = failure(course.expect("a course as a failure names it"), number);
    failed.err().into_iter().collect()
}

fn sample() -> Vec<String> {
    let (mut dice, courses) = (Dice::usual(4711), Course::all());
    let mut failures = Vec::new();
    for _ in 0..SAMPLE {
        let chosen = dice.below(courses.len() as u64);
        let course = courses[usize::try_from(chosen).unwrap()];
        // Small numbers are what most threads come to.
        let end = [3, 10, 40][usize::try_from(dice.below(3)).unwrap()];
        let number = u32::try_from(1 + dice.below(end)).unwrap();
        eprintln!("{course}:{number}");
        failures.extend(failure(course, number).err());
    }
    failures
}

#[test]
fn a_system_call_that_fails_once_harms_nothing_that_a_plain_start_does_not_mend() {
    let test = "a_system_call_that_fails_once_harms_nothing_that_a_plain_start_does_not_mend";
    if !can_inject(test) {
        return;
    }
    let failures = match std::env::var("CLAW_ANOMALIES").as_deref() {
        Ok("all") => everything(MOST),
        Ok(named) if named.contains(':') => one(named),
        Ok(most) => everything(most.parse().expect("`all` or a number")),
        Err(_) => sample(),
    };
    assert!(failures.is_empty(), "{failures:#?}");
}

/// A supervisor that guessed would take what lives for what another boot has left.
#[test]
fn a_boot_that_cannot_be_read_ends_the_start_and_no_agent_gets_a_second_copy() {
    if !can_inject("a_boot_that_cannot_be_read_ends_the_start_and_no_agent_gets_a_second_copy") {
        return;
    }
    let mut fleet = Fleet::new("");
    make_marks(&fleet);
    fleet.write("", &agents(&fleet));
    fleet.up();
    fleet.await_main("steady");
    fleet.kill();
    let path = "/proc/sys/kernel/random/boot_id";
    let options = ["-D", "-f", "-qq", "-o", "/dev/null", "-P", path];
    let fault = [
        "-e",
        "trace=openat",
        "-e",
        "signal=none",
        "-e",
        "inject=openat:error=EIO",
    ];
    let words = ["strace"].into_iter().chain(options).chain(fault);
    fleet.set_launcher(words.map(str::to_owned).collect());
    fleet.start();
    let status = until("it ends", || fleet.has_ended());
    assert!(!status.success(), "{status}");
    assert!(fleet.said().contains(path), "{}", fleet.said());
    fleet.set_launcher(Vec::new());
    fleet.up();
    check(&mut fleet);
}
