//! Starting, and ending by itself.

use std::time::Duration;

use claw_core::order::RunContext;
use claw_core::spec::{Check, Probe, Secret};
use claw_core::{ExitStatus, Order, RunId, SpawnStage, Trigger};

use crate::agents;
use crate::world::{World, agent, eventually, script};

#[tokio::test(flavor = "multi_thread")]
async fn an_exit_code_is_reported_and_the_directory_goes_with_the_release() {
    let mut world = World::new().await;
    let (instance, _) = world.started(script("exit 7")).await;
    let report = world.gone(&instance).await;
    assert_eq!(report.status, ExitStatus::Code(7));
    assert_eq!((report.leftovers, report.oom_kills), (0, 0));
    assert!(report.cpu_us > 0 && report.memory_peak > 0, "{report:?}");
    let dir = world.instance_dir(&instance);
    assert!(dir.join("exit.json").exists());
    world.order(Order::Release { instance });
    eventually("the release", || !dir.exists()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_program_is_named_with_the_path_that_was_searched() {
    let mut world = World::new().await;
    let mut spec = agent(vec!["no-such-program".to_owned()]);
    spec.launch
        .env
        .insert("PATH".to_owned(), "/usr/bin:/bin".to_owned());
    let instance = world.spawn(spec);
    let error = world.spawn_failed(&instance).await;
    assert_eq!((error.stage, error.errno), (SpawnStage::Exec, 2));
    assert_eq!(
        error.detail,
        "cannot execute `no-such-program`: no such file or directory (not found in PATH /usr/bin:/bin)"
    );
    assert!(!world.instance_dir(&instance).join("run.json").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_without_its_interpreter_says_which() {
    let mut world = World::new().await;
    let file = world.file("script");
    std::fs::write(&file, "#!/no/such/interpreter -x\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&file, mode).unwrap();
    let name = file.to_string_lossy().into_owned();
    let instance = world.spawn(agent(vec![name.clone()]));
    let error = world.spawn_failed(&instance).await;
    assert_eq!(
        error.detail,
        format!("cannot execute `{name}`: its interpreter `/no/such/interpreter` does not exist")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_working_directory_is_named() {
    let mut world = World::new().await;
    let mut spec = script("true");
    spec.launch.working_dir = "/no/such/dir".into();
    let instance = world.spawn(spec);
    let error = world.spawn_failed(&instance).await;
    assert_eq!(error.stage, SpawnStage::WorkingDir);
    assert_eq!(
        error.detail,
        "cannot enter the working directory `/no/such/dir`: no such file or directory"
    );
}

/// What the test below expects, beside what a shell adds and what depends on the machine.
const ALWAYS_SET: [&str; 17] = [
    "HOME",
    "LOGNAME",
    "MINE",
    "NOTIFY_SOCKET",
    "OPENCLAW_AGENT",
    "OPENCLAW_ATTEMPT",
    "OPENCLAW_CONFIG",
    "OPENCLAW_CONTROL",
    "OPENCLAW_INSTANCE",
    "OPENCLAW_RUN_ID",
    "OPENCLAW_TRIGGER",
    "PATH",
    "SHELL",
    "TOKEN",
    "USER",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_holds_what_it_should_and_nothing_else() {
    let mut world = World::new().await;
    let file = world.file("env");
    let mut spec = agent(vec!["/bin/sh".into(), "-c".into()]);
    spec.launch.command.push(format!(
        "tr '\\0' '\\n' < /proc/self/environ > {}",
        file.display()
    ));
    spec.launch.env.insert("MINE".to_owned(), "yes".to_owned());
    spec.launch
        .secrets
        .insert("TOKEN".to_owned(), Secret::new("hidden".to_owned()));
    spec.launch.config = serde_json::json!({"a": 1});
    spec.probes.liveness = Some(Probe {
        check: Check::Heartbeat,
        interval: Duration::from_secs(2),
        timeout: Duration::from_secs(1),
        threshold: 3,
    });
    let run = RunContext {
        run: RunId::new(1, 1),
        trigger: Trigger::Manual,
        attempt: 2,
        payload: None,
    };
    let instance = world.spawn_run(spec, Some(run));
    let pid = world.await_start(&instance).await;
    assert_eq!(world.gone(&instance).await.status, ExitStatus::Code(0));
    let text = std::fs::read_to_string(file).unwrap();
    let mut keys: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(k, _)| k)
        .collect();
    keys.retain(|key| {
        ![
            "LANG", "LC_ALL", "TZ", "TMPDIR", "PWD", "OLDPWD", "_", "SHLVL",
        ]
        .contains(key)
    });
    keys.sort_unstable();
    assert_eq!(keys, ALWAYS_SET);
    for line in [
        "OPENCLAW_AGENT=agent".to_owned(),
        "OPENCLAW_INSTANCE=agent#1".to_owned(),
        "OPENCLAW_TRIGGER=manual".to_owned(),
        "OPENCLAW_ATTEMPT=2".to_owned(),
        "OPENCLAW_CONFIG={\"a\":1}".to_owned(),
        "TOKEN=hidden".to_owned(),
        "WATCHDOG_USEC=2000000".to_owned(),
        format!("WATCHDOG_PID={pid}"),
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is not in\n{text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_begins_with_nothing_of_ours() {
    let mut world = World::new().await;
    let file = world.file("found");
    let spec = agent(agents::command(&["describe", &file.to_string_lossy()]));
    let (instance, _) = world.started(spec).await;
    assert_eq!(world.gone(&instance).await.status, ExitStatus::Code(0));
    let text = std::fs::read_to_string(file).unwrap();
    let ignored = text
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:\t"))
        .unwrap();
    // Signals 32 and 33 belong to the C library, which lets nobody change them.
    let ours = u64::from_str_radix(ignored, 16).unwrap() & !(0b11 << 31);
    assert_eq!(ours, 0, "{text}");
    for line in [
        "SigBlk:\t0000000000000000",
        "Umask:\t0022",
        "oom 500",
        "session true",
        "fds 0 1 2",
        "stdin /dev/null",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line:?} is not in\n{text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_is_on_standard_input_and_a_large_launch_arrives_whole() {
    let mut world = World::new().await;
    let payload = "x".repeat(300_000);
    let filler = "y".repeat(90_000);
    let file = world.file("out");
    let mut spec = script(&format!(
        "wc -c > {0}; printf %s \"$FILL\" | wc -c >> {0}",
        file.display()
    ));
    spec.launch.env.insert("FILL".to_owned(), filler);
    let run = RunContext {
        run: RunId::new(1, 1),
        trigger: Trigger::Start,
        attempt: 1,
        payload: Some(payload.into()),
    };
    let instance = world.spawn_run(spec, Some(run));
    assert_eq!(world.gone(&instance).await.status, ExitStatus::Code(0));
    let text = std::fs::read_to_string(file).unwrap();
    assert_eq!(
        text.split_whitespace().collect::<Vec<_>>(),
        ["300000", "90000"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_given_before_the_agent_runs_are_not_lost() {
    let mut world = World::new().await;
    let instance = world.spawn(script("sleep 1000"));
    world.order(Order::Kill {
        instance: instance.clone(),
    });
    assert_eq!(world.gone(&instance).await.status, ExitStatus::Signal(9));
}

/// Until it has executed the agent's program, the new process ignores what its shim ignores.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_signal_at_any_moment_of_the_start_is_heard() {
    let mut world = World::new().await;
    for step in 0..40 {
        let instance = world.spawn(agent(vec!["sleep".into(), "1000".into()]));
        tokio::time::sleep(Duration::from_micros(100 * step)).await;
        world.order(Order::Signal {
            instance: instance.clone(),
            signal: 15,
        });
        assert_eq!(world.gone(&instance).await.status, ExitStatus::Signal(15));
    }
}
