//! What an agent that is a process may try to get out of its sandbox, from inside a real one.

use claw_daemon::api::State;

use crate::escapes::{Bait, Place, judge};
use crate::fleet::{Engine, Fleet, IMAGE, program, until};

/// The user that supervisors of an ordinary user run as.
const NOBODY: u32 = 65534;

fn agents(bait: &Bait, fleet: &Fleet, limits: &str) -> String {
    let argument = bait.script(fleet);
    format!(
        "  boxed: {{mode: oneshot{limits}, \
             command: [/usr/bin/python3, attempts/escapes.py, {argument}], \
             sandbox: {{mode: process, tmp: {{size: 64Mi}}, readable: [attempts], \
             allowed_network: [\"localhost:{}\"]}}}}\n",
        bait.port(),
    )
}

fn tried(fleet: &Fleet) -> String {
    fleet.await_output("boxed", "done");
    fleet.output("boxed")
}

#[test]
fn no_attempt_leads_out_of_a_sandbox_of_root() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIP no_attempt_leads_out_of_a_sandbox_of_root: not root");
        return;
    }
    let bait = Bait::lay();
    let mut fleet = Fleet::new("");
    let limits = ", resources: {pids: 32, memory: 256Mi}";
    fleet.write("", &agents(&bait, &fleet, limits));
    fleet.up();
    let output = tried(&fleet);
    judge(
        "no_attempt_leads_out_of_a_sandbox_of_root",
        Place::Full,
        &output,
        &[],
    );
    fleet.down();
}

#[test]
fn no_attempt_leads_out_of_a_sandbox_of_an_ordinary_user() {
    let name = "no_attempt_leads_out_of_a_sandbox_of_an_ordinary_user";
    let bait = Bait::lay();
    let mut fleet = Fleet::new("");
    fleet.write("", &agents(&bait, &fleet, ""));
    if rustix::process::geteuid().is_root() {
        fleet.set_user(NOBODY, NOBODY);
    }
    fleet.up();
    let output = tried(&fleet);
    // Without cgroups of its own an ordinary user can limit nobody's number of processes.
    judge(name, Place::Full, &output, &["row 25 fork bomb"]);
    fleet.down();
}

/// A supervisor in a container with the engine's own profile, where namespaces are forbidden.
fn up_in_a_container(fleet: &Fleet, engine: &Engine, name: &str) {
    let folder = fleet.place("");
    let folder = folder.trim_end_matches('/');
    let program = program();
    let program = program.to_str().unwrap();
    let volumes = [
        format!("{folder}:{folder}"),
        format!("{program}:{program}:ro"),
        "/usr:/usr:ro".to_owned(),
        "/usr/lib:/lib:ro".to_owned(),
        "/usr/lib64:/lib64:ro".to_owned(),
    ];
    let mut run = vec!["run", "--detach", "--name", name, "--network", "none"];
    run.extend(["--workdir", folder]);
    let volumes = volumes.iter().map(String::as_str);
    run.extend(volumes.flat_map(|volume| ["--volume", volume]));
    run.extend([IMAGE, program, "up"]);
    engine.docker(&run).unwrap();
    until("the supervisor in a container is ready", || {
        let answer = fleet.api().ask("/api/ready");
        answer.filter(|(status, _)| *status == 200)
    });
}

fn down_in_a_container(fleet: &Fleet, engine: &Engine, name: &str) {
    fleet.run(&["down"]).ok();
    engine.docker(&["wait", name]).unwrap();
    engine.docker(&["rm", "--force", name]).unwrap();
}

#[test]
fn in_a_container_an_agent_is_refused_with_what_to_do() {
    let Some(engine) = Engine::find("in_a_container_an_agent_is_refused_with_what_to_do") else {
        return;
    };
    let fleet = Fleet::new(
        "  monitor: {command: [sleep, \"1000\"], sandbox: {mode: process, allowed_network: [api.example.com]}}\n  \
         content: {command: [sleep, \"1000\"], sandbox: {mode: process, on_missing: degrade}}\n",
    );
    let name = format!("claw-test-refused-{}", std::process::id());
    up_in_a_container(&fleet, &engine, &name);
    let agent = fleet.await_state("monitor", State::Stopped);
    assert_eq!(
        agent.reason.text,
        "could not be started: `allowed_network` is set, and a network namespace cannot be \
         created (clone: EPERM, this container has no user namespaces). Run the supervisor as root, or allow user namespaces (in a container: with \
         the seccomp profile of `docs/process-sandbox.md`); give the agent an `image`; or set \
         `sandbox: {on_missing: degrade}` to run with Landlock and a filter of system calls, \
         where it sees the processes of the host and a list of hosts lets it reach all of them"
    );
    fleet.await_state("content", State::Running);
    let status = fleet.run(&["status", "content"]).ok();
    assert!(status.contains("degraded to landlock"), "{status}");
    down_in_a_container(&fleet, &engine, &name);
}

#[test]
fn no_attempt_leads_out_of_what_a_container_leaves_of_a_sandbox() {
    let test = "no_attempt_leads_out_of_what_a_container_leaves_of_a_sandbox";
    let Some(engine) = Engine::find(test) else {
        return;
    };
    let bait = Bait::lay();
    let fleet = Fleet::new("");
    let argument = bait.script(&fleet);
    fleet.write(
        "",
        &format!(
            "  boxed: {{mode: oneshot, command: [/usr/bin/python3, attempts/escapes.py, {argument}], \
                 sandbox: {{mode: process, on_missing: degrade, readable: [attempts]}}}}\n"
        ),
    );
    let name = format!("claw-test-degraded-{}", std::process::id());
    up_in_a_container(&fleet, &engine, &name);
    let output = tried(&fleet);
    down_in_a_container(&fleet, &engine, &name);
    // A supervisor in a container has no cgroups to limit anything with.
    judge(test, Place::Landlock, &output, &["row 25 fork bomb"]);
}
