//! What takes an agent of its own to try: to use up what it was given, to plant what the supervisor
//! would stumble over, not to end, to talk nonsense, to tell secrets.

mod tests;

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use claw_daemon::api::State;
use tempfile::TempDir;

use crate::escapes::{Bait, Place, User};
use crate::fleet::{Engine, Fleet, IMAGE, until, within};

/// How much memory a supervisor may have more after all that.
const GROWTH: u64 = 96 << 20;

/// The grace of the agent that does not end, and a second; an engine takes longer.
const LEAVING: Duration = Duration::from_secs(2);
const LEAVING_A_CONTAINER: Duration = Duration::from_secs(15);

/// What is planted in the place of a directory of the next life.
const PLANTED: [&str; 5] = ["link", "hole", "fifo", "socket", "sparse"];

/// What memory is taken as.
const BOMBS: [&str; 3] = ["heap", "memfd", "sysv"];

/// Agents that abuse, at a place.
struct Abuse {
    place: Place,
    fleet: Fleet,
    /// Of the supervisor, in the fleet file.
    keys: String,
    /// Whether memory is limited here.
    bombs: bool,
    /// Directories of the host's, open to everybody, that no agent may get to.
    lures: TempDir,
}

impl Abuse {
    /// Starts them all; `None`, and said, where there is no such place.
    fn start(test: &str, place: Place) -> Option<Self> {
        let bait = Bait::lay();
        let mut fleet = Fleet::new("");
        let engine = match place {
            Place::Container => Some(Engine::find(test)?),
            Place::Full(_) | Place::Landlock(..) => None,
        };
        let place = place.prepare(test, &mut fleet, &bait)?;
        let script = fleet.path("attempts/abuse.py");
        std::fs::write(script, include_str!("abuse.py")).unwrap();
        fleet.set_env("CLAW_TEST_SECRET", &secret(&fleet));
        let keys = engine.map(|engine| format!("engine: \"{}\"", engine.address));
        let ordinary = matches!(
            place,
            Place::Full(User::Ordinary) | Place::Landlock(User::Ordinary, _)
        );
        let bombs = !ordinary && fleet.enforces("memory", test);
        if ordinary {
            eprintln!("SKIP {test} row 26: an ordinary user has no groups to limit memory with");
        }
        let abuse = Self {
            place,
            fleet,
            keys: keys.unwrap_or_default(),
            bombs,
            lures: tempfile::tempdir().unwrap(),
        };
        abuse.write();
        Some(abuse)
    }

    /// Writes the fleet file: every agent with what it is to do.
    fn write(&self) {
        let never = "restart_policy: {policy: never}";
        let mut agents = vec![
            self.agent(
                "flood",
                "mode: oneshot, logging: {max_size: 4Mi, max_files: 3}",
                &["flood"],
            ),
            self.agent(
                "stubborn",
                "graceful_shutdown: {timeout: 1s}",
                &["stubborn"],
            ),
            self.agent("talker", "mode: worker", &["talk"]),
            self.agent(
                "teller",
                &format!("mode: worker, {never}, secrets: [CLAW_TEST_SECRET]"),
                &["tell"],
            ),
        ];
        if self.bombs {
            agents.extend(BOMBS.map(|bomb| {
                let keys = format!("mode: worker, {never}, resources: {{memory: 64Mi}}");
                self.agent(&format!("bomb-{bomb}"), &keys, &[bomb])
            }));
        }
        open_to_all(self.lures.path());
        agents.extend(PLANTED.map(|what| self.planter(what, never)));
        self.fleet.write(&self.keys, &agents.concat());
    }

    fn planter(&self, what: &str, never: &str) -> String {
        let base = format!("planted-{what}");
        let inner = match what {
            // A directory that is not there yet, on a way that becomes a link.
            "hole" => format!("{base}/hole/made"),
            _ => format!("{base}/{what}"),
        };
        let here = match self.place {
            Place::Container => format!("/data/{base}"),
            Place::Full(_) | Place::Landlock(..) => self.fleet.place(&base),
        };
        let lure = self.lay_lure(what);
        let keys = format!("mode: worker, {never}, data_dirs: [{base}, {inner}]");
        self.agent(
            &format!("plant-{what}"),
            &keys,
            &["plant", &here, what, &lure],
        )
    }

    fn lay_lure(&self, what: &str) -> String {
        let lure = self.lure(what);
        std::fs::create_dir(&lure).unwrap();
        open_to_all(&lure);
        lure.to_str().unwrap().to_owned()
    }

    fn lure(&self, what: &str) -> PathBuf {
        self.lures.path().join(what)
    }

    fn agent(&self, name: &str, keys: &str, arguments: &[&str]) -> String {
        let arguments = serde_json::to_string(arguments).unwrap();
        let arguments = arguments.trim_start_matches('[');
        match self.place {
            Place::Container => format!(
                "  {name}: {{image: \"{IMAGE}\", {keys}, sandbox: {{mode: docker}}, \
                     command: [/usr/bin/python3, /attempts/abuse.py, {arguments}, \
                     volumes: [\"/usr:/usr:ro\", \"/usr/lib:/lib:ro\", \"/usr/lib64:/lib64:ro\", \"./attempts:/attempts:ro\"]}}\n"
            ),
            Place::Full(_) | Place::Landlock(..) => {
                let degrade = match self.place {
                    Place::Landlock(..) => ", on_missing: degrade",
                    Place::Full(_) | Place::Container => "",
                };
                format!(
                    "  {name}: {{{keys}, command: [/usr/bin/python3, attempts/abuse.py, {arguments}, \
                         sandbox: {{mode: process, readable: [attempts]{degrade}}}}}\n"
                )
            }
        }
    }
}

fn open_to_all(path: &Path) {
    let all = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(path, all).unwrap();
}

/// What an agent is told and nobody else.
fn secret(fleet: &Fleet) -> String {
    format!("claw-secret-{}", fleet.place("").replace('/', "-"))
}

/// How much of its memory is a process's own, in bytes.
fn resident(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let mut lines = status.lines();
    let kibibytes = lines.find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    kibibytes.unwrap().trim().parse::<u64>().unwrap() << 10
}

/// Starts the agents of a place and judges each.
fn abused(test: &str, place: Place) {
    let Some(mut abuse) = Abuse::start(test, place) else {
        return;
    };
    abuse.fleet.up();
    let before = resident(abuse.fleet.pid());
    abuse.judge_tree();
    abuse.judge_flood();
    abuse.judge_bombs();
    abuse.judge_talk();
    abuse.judge_secret();
    for what in PLANTED {
        abuse.judge_planted(what);
    }
    let after = resident(abuse.fleet.pid());
    assert!(after < before + GROWTH, "from {before} to {after} bytes");
    abuse.fleet.down();
}

impl Abuse {
    /// Row 41.
    fn judge_tree(&self) {
        let fleet = &self.fleet;
        fleet.await_output("stubborn", "stubborn\n");
        let tree = || {
            let all = fleet.processes().into_iter();
            let own = all.filter(|one| one.command.ends_with("abuse.py stubborn"));
            own.collect::<Vec<_>>()
        };
        let before = tree();
        assert!(before.len() >= 5, "{before:?}");
        let (status, _) = fleet.api().post("/api/agents/stubborn/stop", None);
        assert_eq!(status, 202);
        let leaving = match self.place {
            Place::Container => LEAVING_A_CONTAINER,
            Place::Full(_) | Place::Landlock(..) => LEAVING,
        };
        within(leaving, "the tree is gone with its grace", || {
            before.iter().all(|one| !one.lives()).then_some(())
        });
        fleet.await_state("stubborn", State::Stopped);
        assert_eq!(tree(), []);
    }

    /// Row 29.
    fn judge_flood(&self) {
        let fleet = &self.fleet;
        fleet.await_output("flood", "flooded\n");
        let kept = fleet.output("flood").len();
        assert!(kept < 14 << 20, "{kept} bytes are kept");
        let shown = fleet.run(&["logs", "flood", "--tail", "2"]).ok();
        assert!(
            !shown.contains('\u{1b}') || shown.contains("flooded"),
            "{shown:?}"
        );
    }

    /// Row 26.
    fn judge_bombs(&self) {
        for bomb in BOMBS.iter().filter(|_| self.bombs) {
            let name = format!("bomb-{bomb}");
            let ends = self.fleet.await_ends(&name, 1);
            assert_eq!(ends[0].1, "oom", "{name}");
            assert!(!self.fleet.output(&name).contains("it fits"));
        }
    }

    /// Row 43.
    fn judge_talk(&self) {
        let fleet = &self.fleet;
        fleet.await_output("talker", "talked\n");
        let output = fleet.output("talker");
        let answers: Vec<_> = output.lines().collect();
        for (answer, expected) in answers.iter().zip(["huge", "deep", "wrong", "foreign"]) {
            let (what, how) = answer.split_once(' ').unwrap();
            assert_eq!(what, expected, "{output}");
            assert!(!how.starts_with('2'), "{answer}");
        }
        assert!(fleet.said().contains("refused: "), "{}", fleet.said());
        let talker = fleet.agent("talker");
        assert_eq!(talker.restarts, 0);
        assert!(talker.instance.is_some(), "it is left alone");
    }

    /// Row 45.
    fn judge_secret(&self) {
        let fleet = &self.fleet;
        fleet.await_ends("teller", 1);
        let secret = secret(fleet);
        let mask = "*".repeat(secret.len());
        let output = fleet.output("teller");
        for said in [
            format!("the secret is {mask}."),
            "PUT 2".to_owned(),
            "POST 2".to_owned(),
        ] {
            assert!(output.contains(&said), "{output}");
        }
        let told = fleet.run(&["state", "get", "teller", "told"]).ok();
        assert!(told.contains(&format!("<{mask}>")), "{told}");
        let mut seen = vec![
            output,
            fleet.run(&["status", "teller", "--output", "json"]).out,
            fleet.run(&["why", "teller"]).out,
            fleet.run(&["sandbox", "explain", "teller"]).out,
            fleet.said(),
        ];
        for path in [
            "/api/agents/teller",
            "/api/agents",
            "/metrics",
            "/api/health",
        ] {
            seen.push(fleet.api().ask(path).unwrap().1);
        }
        for file in ["journal.db", "journal.db-wal", "store.db", "store.db-wal"] {
            let bytes = std::fs::read(fleet.data().join(file)).unwrap_or_default();
            seen.push(String::from_utf8_lossy(&bytes).into_owned());
        }
        let log = fleet.data().join("agents/teller/log");
        for file in walked(&log) {
            let mode = file.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{}", file.display());
            let bytes = std::fs::read(file).unwrap();
            seen.push(String::from_utf8_lossy(&bytes).into_owned());
        }
        for text in seen {
            assert!(!text.contains(&secret), "{text}");
        }
    }

    /// Rows 38 and 39.
    fn judge_planted(&self, what: &str) {
        let (fleet, name) = (&self.fleet, format!("plant-{what}"));
        fleet.await_output(&name, "planted\n");
        fleet.await_ends(&name, 1);
        let lure = self.lure(what);
        let owner = lure.metadata().unwrap().uid();
        // It may be refused at once.
        fleet.run(&["start", &name]);
        fleet.await_ends(&name, 2);
        let entries: Vec<_> = std::fs::read_dir(&lure).unwrap().collect();
        assert!(entries.is_empty(), "{name}: {entries:?}");
        assert_eq!(lure.metadata().unwrap().uid(), owner, "{name}");
        let answer = until("the supervisor answers", || fleet.api().ask("/api/ready"));
        assert_eq!(answer.0, 200);
    }
}

fn walked(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    entries
        .flat_map(|entry| match entry.file_type().unwrap().is_dir() {
            true => walked(&entry.path()),
            false => vec![entry.path()],
        })
        .collect()
}
