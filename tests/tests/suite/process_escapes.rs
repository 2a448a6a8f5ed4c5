//! What an agent that is a process may try to get out of its sandbox, from inside a real one.

use claw_daemon::api::State;

use crate::escapes::{Bait, CANARY, OPEN_NETWORK, Place, User, build_calls, judge};
use crate::fleet::{Engine, Fleet, IMAGE, PATIENCE, program, root, until, within};

/// What takes a server of names that the supervisor asks.
const NAMES: [&str; 3] = ["row 8 metadata by an allowed", "row 9 ", "row 14 "];

/// An agent that tries everything, with more keys of its own and of its sandbox.
fn trying(argument: &str, keys: &str, sandbox: &str) -> String {
    format!(
        "  boxed: {{mode: oneshot{keys}, \
             command: [/usr/bin/python3, attempts/escapes.py, {argument}], \
             sandbox: {{mode: process, tmp: {{size: 64Mi}}, readable: [attempts], \
                 writable: [{{path: sized, size: 8Mi}}]{sandbox}}}}}\n"
    )
}

/// Waits for the end of all attempts. An emulated machine takes minutes for them.
fn await_done(fleet: &Fleet) {
    within(PATIENCE * 10, "everything is tried", || {
        fleet.output("boxed").ends_with("done\n").then_some(())
    });
}

/// Tries everything at a place.
fn tried(test: &str, place: Place) {
    let bait = Bait::lay();
    let mut fleet = Fleet::new("");
    let Some(place) = place.prepare(test, &mut fleet, &bait) else {
        return;
    };
    let calls = build_calls(test, &fleet);
    let mut excused: Vec<&str> = Vec::new();
    if calls.is_none() {
        excused.push(" static ");
    }
    if !bait.has_names() {
        // Only root can have a supervisor ask another server of names.
        excused.extend(NAMES);
    }
    let (neighbour, sandbox) = match place {
        Place::Landlock(..) => (String::new(), ", on_missing: degrade".to_owned()),
        Place::Full(_) | Place::Container => (
            ", allowed_network: [neighbours.test]".to_owned(),
            format!(
                ", private_networks: [{OPEN_NETWORK}], allowed_network: [{}]",
                bait.listed()
            ),
        ),
    };
    let limits = match place {
        // There a limit would be refused.
        Place::Landlock(User::Ordinary, _) => "",
        // Without groups of its own a supervisor has the kernel count the processes of a user, or
        // of a namespace of users.
        Place::Full(_) | Place::Landlock(..) | Place::Container => ", resources: {pids: 32}",
    };
    if place == Place::Full(User::Root) && !fleet.enforces_sizes() {
        excused.push("row 28 filling a directory of the host");
    }
    let degraded = match place {
        Place::Landlock(..) => ", on_missing: degrade",
        Place::Full(_) | Place::Container => "",
    };
    let neighbour = bait.neighbour(&format!("{neighbour}{degraded}"));
    fleet.write("", &neighbour);
    fleet.up();
    fleet.await_output("neighbour", "listen");
    let argument = bait.argument(place, (&fleet, fleet.pid()), calls.as_deref());
    let boxed = trying(&argument, limits, &sandbox);
    fleet.write("", &format!("{neighbour}{boxed}"));
    fleet.run(&["apply"]).ok();
    await_done(&fleet);
    judge(test, place, &fleet.output("boxed"), &excused);
    fleet.down();
}

#[test]
fn no_attempt_leads_out_of_a_sandbox_of_root() {
    let test = "no_attempt_leads_out_of_a_sandbox_of_root";
    tried(test, Place::Full(User::Root));
}

#[test]
fn no_attempt_leads_out_of_a_sandbox_of_an_ordinary_user() {
    let test = "no_attempt_leads_out_of_a_sandbox_of_an_ordinary_user";
    tried(test, Place::Full(User::Ordinary));
}

#[test]
fn no_attempt_leads_out_of_a_sandbox_of_root_without_namespaces() {
    let test = "no_attempt_leads_out_of_a_sandbox_of_root_without_namespaces";
    tried(test, Place::Landlock(User::Root, 0));
}

#[test]
fn no_attempt_leads_out_of_a_sandbox_of_an_ordinary_user_without_namespaces() {
    let test = "no_attempt_leads_out_of_a_sandbox_of_an_ordinary_user_without_namespaces";
    tried(test, Place::Landlock(User::Ordinary, 0));
}

/// A supervisor in a container: with the engine's own profile namespaces are forbidden there.
fn up_in_a_container(fleet: &Fleet, engine: &Engine, name: &str, options: &[&str]) {
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
    let canary = format!("{CANARY}=a secret of the supervisor");
    run.extend(["--env", &canary]);
    run.extend(options);
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
    up_in_a_container(&fleet, &engine, &name, &[]);
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

/// Tries everything in a container that is started with these options.
fn tried_in_a_container(test: &str, place: impl Fn(&Fleet) -> Place, options: &[&str]) {
    let Some(engine) = Engine::find(test) else {
        return;
    };
    let bait = Bait::lay();
    let fleet = Fleet::new("");
    let place = place(&fleet);
    bait.place(&fleet);
    let calls = build_calls(test, &fleet);
    let supervisor = match place {
        // There it is the first process, and is seen.
        Place::Landlock(..) => 1,
        // The first process of a sandbox is its own.
        Place::Full(_) | Place::Container => std::process::id().cast_signed(),
    };
    let argument = bait.argument(place, (&fleet, supervisor), calls.as_deref());
    let degrade = match place {
        Place::Landlock(..) => ", on_missing: degrade".to_owned(),
        Place::Full(_) | Place::Container => format!(", allowed_network: [{}]", bait.listed()),
    };
    // A supervisor in a container has no groups; the kernel counts an agent's processes by its user.
    let boxed = trying(&argument, ", resources: {pids: 32}", &degrade);
    let neighbour = bait.neighbour(match place {
        Place::Landlock(..) => ", on_missing: degrade",
        Place::Full(_) | Place::Container => ", allowed_network: [neighbours.test]",
    });
    fleet.write("", &format!("{neighbour}{boxed}"));
    let name = format!("claw-test-boxed-{}", std::process::id());
    up_in_a_container(&fleet, &engine, &name, options);
    await_done(&fleet);
    let output = fleet.output("boxed");
    down_in_a_container(&fleet, &engine, &name);
    let mut excused = Vec::new();
    if calls.is_none() {
        excused.push(" static ");
    }
    if let Place::Full(_) = place {
        // No server of names answers there.
        excused.extend(NAMES);
    }
    judge(test, place, &output, &excused);
}

#[test]
fn no_attempt_leads_out_of_what_a_container_leaves_of_a_sandbox() {
    let test = "no_attempt_leads_out_of_what_a_container_leaves_of_a_sandbox";
    let place = |fleet: &Fleet| {
        let version = fleet.landlock().unwrap_or(0);
        Place::Landlock(User::RootInContainer, version)
    };
    tried_in_a_container(test, place, &[]);
}

/// With what the manual says a container needs for it.
#[test]
fn no_attempt_leads_out_of_a_sandbox_in_a_container() {
    let test = "no_attempt_leads_out_of_a_sandbox_in_a_container";
    let profile = root().join("docs/openclaw-seccomp.json");
    let profile = format!("seccomp={}", profile.display());
    let options = [
        "--security-opt",
        &profile,
        "--security-opt",
        "systempaths=unconfined",
        "--security-opt",
        "apparmor=unconfined",
    ];
    tried_in_a_container(test, |_| Place::Full(User::RootInContainer), &options);
}
