//! Code that is run once, in containers of a real engine: the one that `CLAW_ENGINE` names, or one
//! that is started for the test.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::caller::{answers, caller_with};
use crate::fleet::{Fleet, root, until};

/// An image of busybox under some of its names.
const IMAGE: &str = "claw-suite-test:busybox-2";

const NAMES: [&str; 6] = ["sh", "sleep", "cat", "echo", "id", "tar"];

struct Engine {
    address: String,
    own: Option<tempfile::TempDir>,
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(dir) = &self.own {
            let stopped = script().arg("stop").arg(dir.path()).status().unwrap();
            assert!(stopped.success(), "the engine stays");
        }
    }
}

fn script() -> Command {
    Command::new(root().join("scripts/engine"))
}

fn engine(test: &str) -> Option<Engine> {
    let skip = |why: &str| {
        eprintln!("SKIP {test}: {why}");
        None
    };
    let path = std::env::var("PATH").unwrap();
    let mut folders = path.split(':').map(PathBuf::from);
    let busybox =
        folders.find_map(|folder| Some(folder.join("busybox")).filter(|path| path.exists()));
    let Some(busybox) = busybox else {
        return skip("there is no static busybox");
    };
    let engine = if let Ok(address) = std::env::var("CLAW_ENGINE") {
        Engine { address, own: None }
    } else {
        let dir = tempfile::tempdir().unwrap();
        let started = script().arg("start").arg(dir.path()).output().unwrap();
        if !started.status.success() {
            return skip(String::from_utf8_lossy(&started.stderr).trim());
        }
        Engine {
            address: String::from_utf8_lossy(&started.stdout).trim().to_owned(),
            own: Some(dir),
        }
    };
    if !engine
        .docker(&["image", "inspect", IMAGE], b"")
        .status
        .success()
    {
        let image = tempfile::tempdir().unwrap();
        let bin = image.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        std::fs::copy(busybox, bin.join("busybox")).unwrap();
        for name in NAMES {
            std::os::unix::fs::symlink("busybox", bin.join(name)).unwrap();
        }
        let packed = Command::new("tar")
            .arg("-C")
            .arg(image.path())
            .args(["-c", "."])
            .output();
        let imported = engine.docker(&["import", "-", IMAGE], &packed.unwrap().stdout);
        assert!(imported.status.success(), "{imported:?}");
    }
    Some(engine)
}

impl Engine {
    fn docker(&self, arguments: &[&str], stdin: &[u8]) -> Output {
        let mut docker = Command::new("docker");
        docker.env("DOCKER_HOST", &self.address).args(arguments);
        fed(docker, stdin)
    }

    /// The containers of a sandbox.
    fn containers(&self, sandbox: &str) -> Vec<String> {
        let filter = format!("label=openclaw.sandbox={sandbox}");
        let listed = self.docker(&["ps", "-aq", "--filter", &filter], b"");
        let text = String::from_utf8(listed.stdout).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

/// Runs a program that reads this.
fn fed(mut program: Command, stdin: &[u8]) -> Output {
    program.stdin(Stdio::piped());
    let mut running = program
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program may end without having read.
    drop(running.stdin.take().unwrap().write_all(stdin));
    running.wait_with_output().unwrap()
}

/// A name that no other test uses on the same engine.
fn unique(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}

fn await_ready(fleet: &Fleet, sandbox: &str) {
    until("the sandbox is ready", || {
        let list: Value = fleet.run(&["sandbox", "list", "-o", "json"]).json();
        let sandboxes = list.as_array().unwrap().iter();
        let mut found = sandboxes.filter(|found| found["name"] == sandbox);
        (found.next()?["ready"] == 1).then_some(())
    });
}

#[test]
fn people_run_code_in_sandboxes_and_get_its_output_and_its_code() {
    let Some(engine) = engine("people_run_code_in_sandboxes") else {
        return;
    };
    let tools = unique("people");
    let mut fleet = Fleet::new(&format!(
        " {{}}\nsandboxes: {{{tools}: {{image: \"{IMAGE}\"}}}}\n"
    ));
    fleet.set_engine(&engine.address);
    fleet.up();
    await_ready(&fleet, &tools);
    let run = |more: &[&str]| fleet.run(&[&["sandbox", "run", &tools], more].concat());
    let ran = run(&[
        "--env",
        "A=b",
        "--",
        "sh",
        "-c",
        "echo $A; echo err >&2; exit 7",
    ]);
    assert_eq!(
        (ran.code, ran.out.as_str(), ran.err.as_str()),
        (Some(7), "b\n", "err\n")
    );
    let told: Value = run(&["-o", "json", "--", "id", "-u"]).json();
    assert_eq!(
        (&told["exit_code"], &told["stdout"]),
        (&json!(0), &json!("1000\n"))
    );
    run(&["--", "no-such-program"]).exits(127);
    run(&["--", "sh", "-c", "kill -9 $$"]).exits(137);
    let late = run(&["--timeout", "1s", "--", "sleep", "600"]);
    assert!(late.err.contains("time was over"), "{late:?}");
    late.exits(124);
    let unsaid = run(&["--timeout", "1h", "--", "true"]);
    assert!(unsaid.err.contains("30s at most"), "{unsaid:?}");
    unsaid.exits(125);
    let mut reading = fleet.command();
    reading.args(["sandbox", "run", &tools, "-i", "--", "cat"]);
    let bytes: Vec<u8> = (0..=255).collect();
    assert_eq!(fed(reading, &bytes).stdout, bytes);
    std::fs::write(fleet.path("in.txt"), "from here\n").unwrap();
    let script = "cat in.txt renamed > out.txt; echo $?";
    let file = ["--in", "in.txt", "--in", "in.txt:renamed"];
    let out = ["--out", "out.txt", "--out", "out.txt:there.txt"];
    run(&[&file[..], &out, &["--", "sh", "-c", script]].concat()).ok();
    for name in ["out.txt", "there.txt"] {
        let written = std::fs::read_to_string(fleet.path(name)).unwrap();
        assert_eq!(written, "from here\nfrom here\n");
    }
    let scraped = fleet.api().ask("/metrics").unwrap().1;
    let series = format!("openclaw_sandbox_runs_total{{sandbox=\"{tools}\"}} ");
    assert!(scraped.contains(&series), "{scraped}");
    let gone = run(&["--out", "gone", "--", "sh", "-c", "true"]);
    assert!(gone.err.contains("no such file"), "{gone:?}");
    gone.exits(1);
    run(&["--in", "in.txt:../../x", "--", "sh"]).exits(125);
    let image = fleet.run(&["sandbox", "run", IMAGE, "--", "echo", "cold"]);
    assert_eq!(image.ok(), "cold\n");
    let missing = fleet.run(&["sandbox", "run", "no.such.invalid/image", "--", "true"]);
    assert!(missing.err.contains("no.such.invalid/image"), "{missing:?}");
    missing.exits(125);
    fleet.down();
    assert_eq!(engine.containers(&tools), Vec::<String>::new());
}

#[test]
fn doctor_names_a_sandbox_whose_image_cannot_wait() {
    let Some(engine) = engine("doctor_names_a_sandbox_whose_image_cannot_wait") else {
        return;
    };
    let bare = unique("claw-suite-test:bare");
    let packed = Command::new("tar").args(["-c", "-T", "/dev/null"]).output();
    let imported = engine.docker(&["import", "-", &bare], &packed.unwrap().stdout);
    assert!(imported.status.success(), "{imported:?}");
    let mut fleet = Fleet::new(&format!(
        " {{}}\nsandboxes: {{bare: {{image: \"{bare}\"}}}}\n"
    ));
    fleet.set_engine(&engine.address);
    fleet.up();
    until("it is known", || {
        let said = fleet.run(&["doctor"]).out;
        let known = said.contains(&format!("sandbox bare ({bare}): the image has no `sleep`"));
        known.then_some(())
    });
    fleet.down();
    engine.docker(&["rmi", &bare], b"");
}

#[test]
fn agents_run_code_where_the_fleet_file_lets_them() {
    let Some(engine) = engine("agents_run_code_where_the_fleet_file_lets_them") else {
        return;
    };
    let (tools, other) = (unique("agents"), unique("other"));
    let calls = format!(
        "told('mine', call('POST', '/v1/sandboxes/{tools}/run', {{'command': ['cat'], 'stdin': 'hi'}}))\n\
         told('files', call('POST', '/v1/sandboxes/{tools}/run', {{'command': ['cat', 'a'], \
         'files': [{{'name': 'a', 'content': 'in'}}], 'outputs': ['a', 'b']}}))\n\
         told('other', call('POST', '/v1/sandboxes/{other}/run', {{'command': ['id']}}))\n\
         told('bad', call('POST', '/v1/sandboxes/{tools}/run', {{'command': []}}))\n"
    );
    let more = format!(
        "sandboxes:\n  {tools}: {{image: \"{IMAGE}\"}}\n  {other}: {{image: \"{IMAGE}\", ready: 0}}\n"
    );
    let mut fleet = caller_with(&format!("sandboxes: [{tools}]"), &calls, &more);
    fleet.set_engine(&engine.address);
    fleet.up();
    let answers = answers(&fleet, 4);
    assert_eq!(answers[0]["status"], 200, "{}", answers[0]);
    assert_eq!(answers[0]["body"]["stdout"], "hi");
    assert_eq!(answers[0]["body"]["exit_code"], 0);
    assert_eq!(answers[1]["body"]["stdout"], "in", "{}", answers[1]);
    let problem = "there is no such file";
    let files = json!([{"name": "a", "content": "in"}, {"name": "b", "problem": problem}]);
    assert_eq!(answers[1]["body"]["files"], files);
    assert_eq!(answers[2]["status"], 403, "{}", answers[2]);
    assert_eq!(answers[2]["body"]["code"], "forbidden");
    let message = answers[2]["body"]["message"].as_str().unwrap();
    assert!(message.contains(&other), "{message}");
    assert_eq!(answers[3]["status"], 400, "{}", answers[3]);
    fleet.down();
}

#[test]
fn a_killed_supervisor_leaves_no_sandbox_to_the_next_one() {
    let Some(engine) = engine("a_killed_supervisor_leaves_no_sandbox") else {
        return;
    };
    let tools = unique("killed");
    let mut fleet = Fleet::new(&format!(
        " {{}}\nsandboxes: {{{tools}: {{image: \"{IMAGE}\"}}}}\n"
    ));
    fleet.set_engine(&engine.address);
    fleet.up();
    await_ready(&fleet, &tools);
    fleet.kill();
    let left = engine.containers(&tools);
    assert_eq!(left.len(), 1);
    fleet.up();
    until("what was left is gone", || {
        let now = engine.containers(&tools);
        (!now.iter().any(|container| left.contains(container))).then_some(())
    });
    await_ready(&fleet, &tools);
    assert_eq!(engine.containers(&tools).len(), 1);
    fleet.down();
    assert_eq!(engine.containers(&tools), Vec::<String>::new());
}

#[test]
fn without_an_engine_only_sandboxes_are_missing() {
    let calls = "told('run', call('POST', '/v1/sandboxes/tools/run', {'command': ['id']}))\n";
    let more = "sandboxes: {tools: {image: \"busybox:1\"}}\n";
    let mut fleet = caller_with("sandboxes: [tools]", calls, more);
    let nowhere = format!("unix://{}", fleet.path("no.sock").display());
    fleet.set_engine(&nowhere);
    fleet.up();
    let answer = &answers(&fleet, 1)[0];
    assert_eq!(answer["status"], 409, "{answer}");
    assert_eq!(answer["body"]["detail"]["reason"], "engine_unavailable");
    let body = json!({"command": ["id"]}).to_string();
    let (status, problem) = fleet.api().post("/api/sandboxes/tools/run", Some(&body));
    assert_eq!(
        (status, &problem["code"]),
        (503, &json!("engine_unavailable"))
    );
    let ran = fleet.run(&["sandbox", "run", "tools", "--", "id"]);
    assert!(
        ran.err.contains("there is no container engine at"),
        "{ran:?}"
    );
    ran.exits(125);
    fleet.down();
}
