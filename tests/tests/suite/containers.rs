//! Agents that are containers of a real engine, beside agents that are processes.

use std::fs;
use std::os::unix::fs::MetadataExt;

use claw_daemon::api::{Engine as Told, Health, Image, Overall, Part, RunState, State};

use crate::examples::example;
use crate::fleet::{Engine, Fleet, IMAGE, agent, program, until};

/// Runs until it is told to end.
const STAYS: &str = "trap 'exit 0' TERM; echo up; while :; do sleep 0.1; done";

/// An agent of the image that runs a script, with more keys in flow style.
fn container(name: &str, script: &str, keys: &str) -> String {
    let command = serde_json::to_string(&["sh", "-c", script]).unwrap();
    let comma = if keys.is_empty() { "" } else { ", " };
    format!(
        "  {name}: {{image: \"{IMAGE}\", command: {}{comma}{keys}}}\n",
        // A variable of the container's, not of the fleet file.
        command.replace('$', "$$")
    )
}

fn fleet(engine: &Engine, agents: &str) -> Fleet {
    Fleet::with(&format!("engine: \"{}\"", engine.address), agents)
}

/// Waits until a container runs; its first process, as the host sees it.
fn await_pid(fleet: &Fleet, name: &str) -> u32 {
    let up = fleet.await_agent(name, "runs and is ready", |agent| {
        agent.state == State::Running && agent.ready
    });
    up.instance.unwrap().pid.unwrap()
}

#[test]
fn a_container_is_looked_after_as_a_process_is() {
    let Some(engine) = Engine::find("a_container_is_looked_after_as_a_process_is") else {
        return;
    };
    let script = format!("echo $OPENCLAW_AGENT is $(id -u) in $(hostname); {STAYS}");
    let probes =
        "health_check: {startup: {exec: [sh, -c, \"test -S $$OPENCLAW_SOCK\"], interval: 100ms}}";
    let keys = format!("depends_on: [beside], {probes}");
    let agents = agent("beside", &["forever"], "") + &container("boxed", &script, &keys);
    let mut fleet = fleet(&engine, &agents);
    fleet.up();
    let first = await_pid(&fleet, "boxed");
    fleet.await_output("boxed", "boxed is 1000 in");
    let shown = fleet.run(&["status", "boxed"]).ok();
    assert!(
        shown.contains(&format!("Image: {IMAGE} (sha256:")),
        "{shown}"
    );
    assert!(shown.contains("it has no network"), "{shown}");
    assert!(shown.contains("up"), "{shown}");
    let names = engine.containers("boxed", &fleet.path(""));
    assert_eq!(names.len(), 1, "{names:?}");
    fleet.run(&["restart", "boxed"]).ok();
    let second = await_pid(&fleet, "boxed");
    assert_ne!(first, second);
    let name = &engine.containers("boxed", &fleet.path(""))[0];
    engine.docker(&["kill", name]).unwrap();
    let ends = fleet.await_ends("boxed", 2);
    assert_eq!(ends[1].1, "signal", "{ends:?}");
    assert_eq!(fleet.agent("beside").restarts, 0);
    fleet.run(&["stop", "boxed"]).ok();
    assert_eq!(fleet.agent("boxed").state, State::Stopped);
    until("its containers are removed", || {
        engine
            .containers("boxed", &fleet.path(""))
            .is_empty()
            .then_some(())
    });
    fleet.down();
}

#[test]
fn containers_outlive_a_supervisor_that_is_killed() {
    let Some(engine) = Engine::find("containers_outlive_a_supervisor_that_is_killed") else {
        return;
    };
    let counts = "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.1; done";
    let agents = agent("beside", &["forever"], "")
        + &container("boxed", counts, "graceful_shutdown: {timeout: 1s}");
    let mut fleet = fleet(&engine, &agents);
    fleet.up();
    let pid = await_pid(&fleet, "boxed");
    let beside = fleet.await_main("beside");
    fleet.await_output("boxed", "line 5");
    fleet.crash_and_up();
    assert_eq!(await_pid(&fleet, "boxed"), pid);
    assert_eq!(fleet.await_main("beside"), beside);
    assert_eq!(engine.containers("boxed", &fleet.path("")).len(), 1);
    let printed = fleet.log("boxed").len() + 5;
    fleet.await_output("boxed", &format!("line {printed}"));
    let lines: Vec<String> = fleet
        .log("boxed")
        .into_iter()
        .map(|line| line.text)
        .collect();
    let expected: Vec<String> = (1..=lines.len()).map(|n| format!("line {n}")).collect();
    assert_eq!(lines, expected);
    assert_eq!(fleet.agent("boxed").restarts, 0);
    fleet.down();
    let left = engine.containers("boxed", &fleet.path(""));
    assert_eq!(left, Vec::<String>::new());
}

#[test]
fn an_image_that_there_is_not_is_refused_in_a_sentence() {
    let Some(engine) = Engine::find("an_image_that_there_is_not_is_refused_in_a_sentence") else {
        return;
    };
    let missing =
        "  boxed: {image: \"claw-nowhere:1\", pull_policy: never, sandbox: {mode: docker}}\n";
    let agents = agent("beside", &["forever"], "") + missing;
    let mut fleet = fleet(&engine, &agents);
    fleet.up();
    let refused = fleet.await_state("boxed", State::Stopped);
    assert_eq!(refused.reason.code, "refused", "{refused:?}");
    let text = &refused.reason.text;
    assert!(
        text.contains("claw-nowhere:1") && text.contains("never"),
        "{text}"
    );
    assert!(
        fleet
            .run(&["status", "boxed"])
            .exits(3)
            .contains("claw-nowhere:1")
    );
    fleet.await_state("beside", State::Running);
    fleet.down();
}

#[test]
fn processes_do_not_notice_that_there_is_no_engine() {
    let mut fleet = Fleet::new("");
    let nowhere = fleet.place("engine.sock");
    let agents = agent("beside", &["forever"], "") + &container("boxed", STAYS, "");
    fleet.write(&format!("engine: \"unix://{nowhere}\""), &agents);
    fleet.up();
    fleet.await_state("beside", State::Running);
    let waiting = fleet.await_state("boxed", State::Error);
    assert_eq!(waiting.reason.code, "backing_off", "{waiting:?}");
    assert!(waiting.reason.text.contains(&nowhere), "{waiting:?}");
    let health: Health = fleet.api().get("/api/health");
    assert_eq!(health.status, Overall::Degraded);
    assert_eq!(health.degraded[0].part, Part::Engine, "{health:?}");
    assert!(
        matches!(health.engine, Some(Told::Unreachable { .. })),
        "{health:?}"
    );
    let said = fleet.run(&["doctor"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(
        said.out.contains("there is no container engine at"),
        "{said:?}"
    );
    assert_eq!(fleet.agent("beside").restarts, 0);
    fleet.down();
}

#[test]
fn a_fleet_without_images_is_told_of_no_engine() {
    let mut fleet = Fleet::new(&agent("beside", &["forever"], ""));
    fleet.up();
    let health: Health = fleet.api().get("/api/health");
    assert_eq!(health.engine, None);
    fleet.down();
}

#[test]
fn the_engine_is_told_of_by_doctor_and_health() {
    let Some(engine) = Engine::find("the_engine_is_told_of_by_doctor_and_health") else {
        return;
    };
    let mut fleet = fleet(&engine, &container("boxed", STAYS, ""));
    fleet.up();
    await_pid(&fleet, "boxed");
    let health: Health = fleet.api().get("/api/health");
    let Some(Told::Reachable(told)) = health.engine else {
        panic!("{health:?}");
    };
    assert_eq!(told.address, engine.address);
    let said = fleet.run(&["doctor"]).out;
    assert!(
        said.contains(&told.version) && said.contains(&engine.address),
        "{said}"
    );
    fleet.down();
}

#[test]
fn one_container_a_run_keeps_what_it_writes_to_its_directories() {
    let Some(engine) = Engine::find("one_container_a_run_keeps_what_it_writes_to_its_directories")
    else {
        return;
    };
    let script = "echo run $OPENCLAW_TRIGGER >> /data/kept/runs; touch /forbidden; exit 0";
    let keys = "mode: oneshot, data_dirs: [deep/kept]";
    let mut fleet = fleet(&engine, &container("job", script, keys));
    fleet.up();
    until("the run at start is over", || {
        let runs = fleet.runs("job");
        (runs.first()?.state == RunState::Succeeded).then_some(())
    });
    fleet.run(&["trigger", "job", "--wait"]).ok();
    assert_eq!(fleet.lines("deep/kept/runs").len(), 2);
    let id = engine.docker(&["image", "inspect", "--format", "{{.Id}}", IMAGE]);
    let made_of = Some(Image {
        reference: IMAGE.to_owned(),
        digest: id.unwrap().trim().to_owned(),
    });
    let images: Vec<_> = fleet.runs("job").into_iter().map(|run| run.image).collect();
    assert_eq!(images, [made_of.clone(), made_of]);
    for kept in ["runs", "why"] {
        let shown = fleet.run(&[kept, "job"]).ok();
        assert!(shown.contains(&format!("{IMAGE} (sha256:")), "{shown}");
    }
    assert_eq!(fs::metadata(fleet.path("deep/kept")).unwrap().uid(), 1000);
    fleet.await_output("job", "Read-only file system");
    until("no container is left of a run", || {
        engine
            .containers("job", &fleet.path(""))
            .is_empty()
            .then_some(())
    });
    fleet.down();
}

/// Someone with nothing but the right to use the engine's socket.
const ORDINARY: u32 = 61_234;

#[test]
fn a_supervisor_without_root_looks_after_containers_too() {
    let test = "a_supervisor_without_root_looks_after_containers_too";
    let Some(engine) = Engine::find(test) else {
        return;
    };
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIP {test}: only root can run something as somebody else");
        return;
    }
    let socket = engine.address.strip_prefix("unix://").unwrap();
    let group = fs::metadata(socket).unwrap().gid();
    let asks = "test -S $OPENCLAW_SOCK && test -r $OPENCLAW_CONFIG && echo socket for $(id -u)";
    let script = format!("{asks}; echo kept > /data/kept/file; {STAYS}");
    let own = format!("user: \"{ORDINARY}:{group}\", data_dirs: [kept]");
    let agents = agent("beside", &["forever"], "")
        + &container("boxed", &script, &own)
        + &container("other", STAYS, "");
    let owner = container("owner", STAYS, "data_dirs: [others]");
    let mut fleet = fleet(&engine, &owner);
    fleet.set_user(ORDINARY, group);
    fleet.start();
    assert_eq!(fleet.await_end(), Some(1));
    let said = fleet.said();
    let way = format!("write `user: \"{ORDINARY}\"`");
    assert!(
        said.contains("does not run as root") && said.contains(&way),
        "{said}"
    );
    fleet.write(&format!("engine: \"{}\"", engine.address), &agents);
    fleet.up();
    fleet.await_state("beside", State::Running);
    await_pid(&fleet, "boxed");
    fleet.await_output("boxed", &format!("socket for {ORDINARY}"));
    assert_eq!(fleet.await_lines("kept/file", 1), ["kept"]);
    await_pid(&fleet, "other");
    let first = await_pid(&fleet, "boxed");
    fleet.crash_and_up();
    assert_eq!(await_pid(&fleet, "boxed"), first);
    fleet.run(&["stop", "boxed"]).ok();
    fleet.down();
    assert_eq!(
        engine.containers("boxed", &fleet.path("")),
        Vec::<String>::new()
    );
}

/// A supervisor in a container of the same engine, with the fleet's folder at this place.
fn up_inside(fleet: &Fleet, engine: &Engine, name: &str, place: &str) {
    let socket = engine.address.strip_prefix("unix://").unwrap();
    let program = program();
    let program = program.to_str().unwrap();
    let volumes = [
        format!("{}:{place}", fleet.place("").trim_end_matches('/')),
        format!("{socket}:/run/engine.sock"),
        format!("{program}:{program}:ro"),
        "/usr:/usr:ro".to_owned(),
        "/usr/lib:/lib:ro".to_owned(),
        "/usr/lib64:/lib64:ro".to_owned(),
    ];
    let mut run = vec!["run", "--detach", "--name", name, "--network", "none"];
    run.extend([
        "--workdir",
        place,
        "--env",
        "DOCKER_HOST=unix:///run/engine.sock",
    ]);
    run.extend(
        volumes
            .iter()
            .flat_map(|volume| ["--volume", volume.as_str()]),
    );
    run.extend([IMAGE, program, "up"]);
    engine.docker(&run).unwrap();
    until("the supervisor in a container is ready", || {
        fleet
            .api()
            .ask("/api/ready")
            .filter(|(status, _)| *status == 200)
    });
}

/// Asks the agent API from inside, and says how it was answered.
const CALLS: &str = "import os, socket, time\n\
     s = socket.socket(socket.AF_UNIX)\n\
     s.connect(os.environ['OPENCLAW_SOCK'])\n\
     token = os.environ['OPENCLAW_TOKEN']\n\
     s.sendall(f'GET /v1/state/some HTTP/1.1\\r\\nHost: a\\r\\nAuthorization: Bearer {token}\\r\\n\\r\\n'.encode())\n\
     print('answer', repr(s.recv(4000)), flush=True)\n\
     time.sleep(1000)\n";

#[test]
fn a_supervisor_in_a_container_works_where_paths_are_those_of_the_host() {
    let Some(engine) = Engine::find("a_supervisor_in_a_container_works") else {
        return;
    };
    let command = serde_json::to_string(&["python3", "-c", CALLS]).unwrap();
    let libraries = "[\"/usr:/usr:ro\", \"/usr/lib:/lib:ro\", \"/usr/lib64:/lib64:ro\"]";
    let caller = format!(
        "  caller: {{image: \"{IMAGE}\", command: {}, volumes: {libraries}, \
         graceful_shutdown: {{timeout: 1s}}, sandbox: {{mode: docker}}}}\n",
        command.replace('$', "$$")
    );
    let script = format!("echo kept > /data/kept/file; {STAYS}");
    let agents = caller + &container("boxed", &script, "data_dirs: [kept]");
    for (number, place) in [None, Some("/elsewhere")].into_iter().enumerate() {
        let fleet = Fleet::new(&agents);
        let name = format!("claw-test-inside-{}-{number}", std::process::id());
        let own = fleet.place("").trim_end_matches('/').to_owned();
        up_inside(&fleet, &engine, &name, place.unwrap_or(&own));
        if place.is_none() {
            fleet.await_state("boxed", State::Running);
            fleet.await_output("caller", "HTTP/1.1");
            let answer = fleet.output("caller");
            assert!(!answer.contains("does not belong"), "{answer}");
            until("the directory is written to", || {
                fs::read_to_string(fleet.path("kept/file"))
                    .ok()
                    .filter(|text| text == "kept\n")
            });
        } else {
            fleet.await_agent("boxed", "says what paths it needs", |agent| {
                agent
                    .reason
                    .text
                    .contains("the path that it has on the host")
            });
        }
        fleet.run(&["down"]).ok();
        engine.docker(&["wait", &name]).unwrap();
        engine.docker(&["rm", "--force", &name]).unwrap();
        assert_eq!(
            engine.containers("boxed", &fleet.path("")),
            Vec::<String>::new()
        );
    }
}

#[test]
fn what_is_in_memory_can_be_written_by_a_user_with_a_name() {
    let Some(engine) = Engine::find("what_is_in_memory_can_be_written_by_a_user_with_a_name")
    else {
        return;
    };
    let context = tempfile::tempdir().unwrap();
    let dockerfile = format!(
        "FROM {IMAGE}\nRUN echo agent:x:4321:4322:agent:/:/bin/sh >> /etc/passwd && mkdir /cache\n"
    );
    fs::write(context.path().join("Dockerfile"), dockerfile).unwrap();
    let script = format!(
        "id -u; for dir in /tmp /cache /fresh; do touch $dir/x && echo wrote $dir; done; {STAYS}"
    );
    let command = serde_json::to_string(&["sh", "-c", &script]).unwrap();
    let image = format!("claw-test-named:{}", std::process::id());
    let mut fleet = fleet(
        &engine,
        &format!(
            "  named: {{build: {}, image: \"{image}\", user: agent, command: {}, \
             sandbox: {{mode: docker, writable: [/cache, /fresh]}}}}\n",
            context.path().display(),
            command.replace('$', "$$")
        ),
    );
    fleet.up();
    await_pid(&fleet, "named");
    for text in ["4321", "wrote /tmp", "wrote /cache", "wrote /fresh"] {
        fleet.await_output("named", text);
    }
    fleet.down();
    engine.docker(&["rmi", &image]).unwrap();
}

#[test]
fn the_example_with_containers_works() {
    let Some(engine) = Engine::find("the_example_with_containers_works") else {
        return;
    };
    engine.import("busybox:1.36").unwrap();
    let mut fleet = example("containers");
    fleet.write_raw(&format!(
        "$include: example.yaml\nsupervisor: {{engine: \"{}\"}}\ndefaults: {{env: {{{}}}}}\n",
        engine.address,
        fleet.mark()
    ));
    fleet.up();
    await_pid(&fleet, "reader");
    fleet.await_output("reader", ":");
    fleet.run(&["trigger", "job", "--wait"]).ok();
    fleet.await_output("job", "started by manual");
    fleet.await_output("job", "1000");
    fleet.down();
}
