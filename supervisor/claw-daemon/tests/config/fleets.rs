//! Fleet files that are accepted, and what becomes of them.

use std::path::Path;
use std::time::Duration;

use claw_core::AgentName;
use claw_core::spec::{
    AgentSpec, CatchUp, Check, CleanExit, Condition, Mode, RestartPolicy, Timing,
};
use claw_daemon::config::{Environment, Loaded, Privilege, Style, load, load_str};
use claw_store::bus::{Ordering, Overflow};

fn fleet(agents: &str) -> String {
    format!("project: p\nversion: \"1.0\"\nagents:\n{agents}")
}

fn accepted(agents: &str, environment: &Environment) -> Loaded {
    match load_str(
        &fleet(agents),
        Path::new("/srv/fleet/openclaw.yaml"),
        environment,
    ) {
        Ok(loaded) => loaded,
        Err(problems) => panic!("{}", problems.render(Style::Plain)),
    }
}

fn nothing() -> Environment {
    Environment::with([])
}

fn agent<'l>(loaded: &'l Loaded, name: &str) -> &'l AgentSpec {
    &loaded.fleet.agents[name]
}

#[test]
fn the_sample_of_the_manual_is_read_as_it_says() {
    let mut environment = Environment::with([
        ("SLACK_WEBHOOK", "https://hooks/1"),
        ("OPENAI_API_KEY", "sk-1"),
    ]);
    environment.privilege = Privilege::Root;
    let loaded = load(Path::new("tests/config/fleets/sample.yaml"), &environment);
    let loaded = loaded.unwrap_or_else(|problems| panic!("{}", problems.render(Style::Plain)));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let mut settings = insta::Settings::clone_current();
    let here = std::env::current_dir().expect("there is one");
    let here = here.display().to_string();
    settings.set_snapshot_path("fleets");
    settings.set_prepend_module_to_snapshot(false);
    settings.bind(|| {
        let spec = serde_json::to_string_pretty(&loaded.fleet).expect("it is plain data");
        let spec = spec.replace(&here, "HERE");
        insta::assert_snapshot!("sample.spec", spec);
        let supervisor = format!("{:#?}", loaded.supervisor).replace(&here, "HERE");
        insta::assert_snapshot!("sample.supervisor", supervisor);
        insta::assert_snapshot!("sample.resolved", loaded.resolved.replace(&here, "HERE"));
    });
}

#[test]
fn a_short_file_gets_the_defaults_of_the_manual() {
    let loaded = accepted("  a: {command: run}\n", &nothing());
    let a = agent(&loaded, "a");
    assert_eq!(a.mode, Mode::Daemon);
    assert_eq!(a.restart.policy, RestartPolicy::Always);
    assert_eq!(a.restart.max_retries, Some(5));
    assert_eq!(a.shutdown.timeout, Duration::from_secs(30));
    assert_eq!(
        a.shutdown.clean,
        [CleanExit::Code(0), CleanExit::Signal(15)]
    );
    assert_eq!(a.launch.working_dir, Path::new("/srv/fleet"));
    assert_eq!(a.logging.max_size, 50 << 20);
    assert_eq!(
        loaded.supervisor.data_dir,
        Path::new("/srv/fleet/.openclaw")
    );
    assert_eq!(loaded.fleet.max_concurrent_starts.get(), 10);
}

#[test]
fn a_schedule_makes_a_oneshot_that_is_not_repeated() {
    let loaded = accepted("  a: {command: run, schedule: every 5m}\n", &nothing());
    let a = agent(&loaded, "a");
    assert_eq!(a.mode, Mode::Oneshot);
    assert_eq!(a.restart.policy, RestartPolicy::Never);
    assert!(a.restart.exit_codes.retry.contains(&75));
    let timing = a.schedule.as_ref().map(|schedule| schedule.timing.clone());
    assert_eq!(timing, Some(Timing::Every(Duration::from_secs(300))));
}

#[test]
fn schedules_are_read_in_all_their_forms() {
    for (text, expected) in [
        ("every 1h30m", "Every(5400s)"),
        ("'cron \"0 */2 * * *\"'", "0 */2 * * *"),
        ("\"*/5 * * * *\"", "*/5 * * * *"),
        ("\"0 0 3 * * 1\"", "0 0 3 * * 1"),
        ("\"@daily\"", "@daily"),
        ("\"@midnight\"", "@midnight"),
        ("daily 09:00", "09:00:00"),
        ("{every: 5m, on_start: 1}", ""),
        (
            "{cron: \"30 2 * * *\", timezone: Europe/Berlin}",
            "Europe/Berlin",
        ),
        ("{daily: \"09:30\", catch_up: all, jitter: 5m}", "09:30:00"),
    ] {
        let text = fleet(&format!("  a: {{command: run, schedule: {text}}}\n"));
        let loaded = load_str(&text, Path::new("/srv/openclaw.yaml"), &nothing());
        match loaded {
            Ok(loaded) => {
                let timing = agent(&loaded, "a").schedule.as_ref().expect("it has one");
                let shown = format!("{:?}", timing.timing);
                assert!(shown.contains(expected), "{text}: {shown}");
            }
            Err(problems) => assert!(expected.is_empty(), "{}", problems.render(Style::Plain)),
        }
    }
}

#[test]
fn on_missed_is_the_same_as_catch_up() {
    let loaded = accepted(
        "  a: {command: run, schedule: daily 09:00, on_missed: all}\n",
        &nothing(),
    );
    let schedule = agent(&loaded, "a").schedule.clone().expect("it has one");
    assert_eq!(schedule.catch_up, CatchUp::All);
}

#[test]
fn anchors_merge_keys_and_extensions_work() {
    let text = "x-common: &common\n  env: {A: one, B: two}\n  restart_policy: {max_retries: unlimited}\n\
        x-other: &other {working_dir: sub, env: {C: three}}\n\
        project: p\nversion: \"1.0\"\nagents:\n\
        \x20 a: {<<: *common, command: run, x-note: {any: thing}}\n\
        \x20 b: {<<: [*other, *common], command: run}\n\
        \x20 c: {<<: *common, command: run, env: {A: own}}\n";
    let loaded = load_str(text, Path::new("/srv/openclaw.yaml"), &nothing());
    let loaded = loaded.unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(agent(&loaded, "a").restart.max_retries, None);
    assert_eq!(agent(&loaded, "a").launch.env["A"], "one");
    assert_eq!(agent(&loaded, "b").launch.env["C"], "three");
    assert!(
        !agent(&loaded, "b").launch.env.contains_key("A"),
        "merge keys are not deep"
    );
    assert_eq!(
        agent(&loaded, "b").launch.working_dir,
        Path::new("/srv/sub")
    );
    assert_eq!(agent(&loaded, "c").launch.env["A"], "own");
}

#[test]
fn defaults_lie_below_every_agent() {
    let text = "project: p\nversion: \"1.0\"\n\
        defaults:\n  env: {A: d, B: d}\n  data_dirs: []\n  command: [default]\n\
        \x20 health_check: {liveness: {http: {port: 1}, interval: 7s}}\n\
        agents:\n  a:\n  b: {command: own, env: {A: own}, health_check: {liveness: {exec: [x]}}}\n";
    let loaded = load_str(text, Path::new("/srv/openclaw.yaml"), &nothing());
    let loaded = loaded.unwrap_or_else(|problems| panic!("{problems}"));
    let (a, b) = (agent(&loaded, "a"), agent(&loaded, "b"));
    assert_eq!(a.launch.command, ["default"]);
    assert_eq!(b.launch.command, ["own"]);
    assert_eq!(
        (b.launch.env["A"].as_str(), b.launch.env["B"].as_str()),
        ("own", "d")
    );
    let liveness = b.probes.liveness.clone().expect("it has one");
    assert_eq!(
        liveness.check,
        Check::Exec {
            command: vec!["x".to_owned()]
        }
    );
    assert_eq!(liveness.interval, Duration::from_secs(7));
}

#[test]
fn variables_are_put_in_as_compose_does() {
    let environment = Environment::with([("SET", "v"), ("EMPTY", ""), ("PORT", "8080")]);
    let loaded = accepted(
        "  a:\n    command: run\n    env:\n\
        \x20     A: ${SET}\n      B: ${NONE:-d}\n      C: ${EMPTY:-d}\n      D: ${EMPTY-d}\n\
        \x20     E: ${SET:+yes}\n      F: x${NONE:+no}\n      G: $$HOME\n      H: ${NONE:-${SET}}\n\
        \x20     I: $SET-x\n      J: \"${SET}\"\n      K: '${SET}'\n      L: |\n        ${SET}\n        end\n\
        \x20   health_check: {liveness: {tcp: {port: \"${PORT}\"}}}\n",
        &environment,
    );
    let launch = &agent(&loaded, "a").launch;
    let kept = |name: &str| launch.secrets[name].expose().to_owned();
    assert_eq!(kept("A"), "v");
    assert_eq!(launch.env["B"], "d");
    assert_eq!(launch.env["C"], "d");
    assert_eq!(kept("D"), "");
    assert_eq!(launch.env["E"], "yes");
    assert_eq!(launch.env["F"], "x");
    assert_eq!(launch.env["G"], "$HOME");
    assert_eq!(kept("H"), "v");
    assert_eq!(kept("I"), "v-x");
    assert_eq!((kept("J"), kept("K")), ("v".to_owned(), "v".to_owned()));
    assert_eq!(kept("L"), "v\nend\n");
    let liveness = agent(&loaded, "a")
        .probes
        .liveness
        .clone()
        .expect("it has one");
    assert!(matches!(liveness.check, Check::Tcp { port: 8080, .. }));
}

#[test]
fn values_of_variables_are_neither_read_again_nor_split_nor_shown() {
    let environment = Environment::with([("EVIL", "a ${SET} 'b; c: d\n- e"), ("SET", "no")]);
    let loaded = accepted(
        "  a: {command: \"run --x ${EVIL} y\", config: {k: \"${EVIL}\"}, env: {E: \"${EVIL}\"}}\n",
        &environment,
    );
    let launch = &agent(&loaded, "a").launch;
    let evil = "a ${SET} 'b; c: d\n- e";
    assert_eq!(launch.command, ["run", "--x", evil, "y"]);
    assert_eq!(launch.config, serde_json::json!({"k": evil}));
    assert_eq!(launch.secrets["E"].expose(), evil);
    assert!(!loaded.resolved.contains("c: d"), "{}", loaded.resolved);
    assert!(
        loaded.resolved.contains("run --x ${EVIL} y"),
        "{}",
        loaded.resolved
    );
}

#[test]
fn byte_order_marks_and_windows_line_ends_change_nothing() {
    let text = fleet("  a: {command: run, config: {t: \"x\"}}\n");
    let windows = format!("\u{feff}{}", text.replace('\n', "\r\n"));
    let path = Path::new("/srv/openclaw.yaml");
    let plain = load_str(&text, path, &nothing()).expect("it is good");
    let marked = load_str(&windows, path, &nothing()).expect("it is good");
    assert_eq!(plain.fleet, marked.fleet);
}

#[test]
fn dependencies_are_read_as_list_and_as_map() {
    let loaded = accepted(
        "  db: {command: x}\n  job: {command: x, mode: oneshot}\n  a: {command: x, depends_on: [db]}\n\
        \x20 b: {command: x, depends_on: {db: {condition: ready}, job: {condition: completed}}}\n",
        &nothing(),
    );
    assert_eq!(agent(&loaded, "a").depends_on["db"], Condition::Started);
    assert_eq!(agent(&loaded, "b").depends_on["db"], Condition::Ready);
    assert_eq!(agent(&loaded, "b").depends_on["job"], Condition::Completed);
}

#[test]
fn exit_codes_written_once_leave_the_usual_sets() {
    let loaded = accepted(
        "  a: {command: x, restart_policy: {exit_codes: {success: [0, 75]}}}\n",
        &nothing(),
    );
    let codes = &agent(&loaded, "a").restart.exit_codes;
    assert!(codes.success.contains(&75) && codes.retry.is_empty());
    assert!(codes.fatal.contains(&78));
}

#[test]
fn masked_values_stay_masked_in_what_is_shown() {
    let loaded = accepted(
        "  a: {command: x, env: {API_TOKEN: hunter2, DSN: \"pg://u:hunter2@h/d\", PLAIN: seen}}\n",
        &nothing(),
    );
    assert!(!loaded.resolved.contains("hunter2"), "{}", loaded.resolved);
    assert!(loaded.resolved.contains("seen"));
}

#[test]
fn the_hash_follows_the_text() {
    let one = accepted("  a: {command: x}\n", &nothing());
    let same = accepted("  a: {command: x}\n", &nothing());
    let other = accepted("  a: {command: y}\n", &nothing());
    assert_eq!(one.text_hash, same.text_hash);
    assert_ne!(one.text_hash, other.text_hash);
}

#[test]
fn the_schema_knows_every_key_of_the_sample_and_none_that_is_refused() {
    let schema = claw_daemon::config::schema();
    let agent = &schema["properties"]["agents"]["additionalProperties"]["properties"];
    for key in [
        "command",
        "source",
        "subscribe",
        "schedule",
        "health_check",
        "restart_policy",
        "graceful_shutdown",
    ] {
        assert!(agent[key].is_object(), "{key}");
        assert!(agent[key]["description"].is_string(), "{key}");
    }
    let sandbox = &agent["sandbox"]["properties"];
    assert!(sandbox["allowed_network"].is_object());
    assert!(sandbox["limits"]["properties"]["io"].is_null());
    assert!(sandbox["uid_range"].is_null());
    assert_eq!(schema["additionalProperties"], serde_json::json!(false));
    let probe = &agent["health_check"]["properties"]["liveness"]["properties"];
    assert_eq!(
        probe["http"]["properties"]["port"]["anyOf"][0]["maximum"],
        65_535
    );
}

#[test]
fn replicas_are_agents_that_share_a_name() {
    let loaded = accepted(
        "  work: {command: [x], mode: worker, schedule: every 5m, replicas: 3, \
         sharding: {strategy: range, key: id, boundaries: [h, q]}, \
         delivery: {ordering: key, max_attempts: 8, initial_delay: 2s, lease: 2m, concurrency: 4, \
         max_pending: 100, on_full: drop_oldest}}\n  \
         after: {command: [x], depends_on: {work: {condition: ready}}}\n",
        &nothing(),
    );
    let agents = &loaded.fleet.agents;
    let names: Vec<&str> = agents.keys().map(AgentName::as_str).collect();
    assert_eq!(names, ["after", "work-0", "work-1", "work-2"]);
    let on: Vec<&str> = agents["after"]
        .depends_on
        .keys()
        .map(AgentName::as_str)
        .collect();
    assert_eq!(on, ["work-0", "work-1", "work-2"]);
    let scheduled = |name: &str| agents[name].schedule.is_some();
    assert_eq!(
        [
            scheduled("work-0"),
            scheduled("work-1"),
            scheduled("work-2")
        ],
        [true, false, false]
    );
    assert!(
        agents
            .values()
            .skip(1)
            .all(|spec| spec.concurrency.get() == 4)
    );
    let group: AgentName = "work".parse().unwrap();
    let members = loaded.replicas.members(&group).unwrap();
    for (index, member) in (0..).zip(members) {
        let place = loaded.replicas.place(member).unwrap();
        assert_eq!((&place.group, place.index, place.count), (&group, index, 3));
        assert_eq!(loaded.replicas.identity(member), group);
        let worker = &loaded.workers[member];
        assert_eq!(worker.sharding.replicas(), Some(3));
        assert_eq!(worker.shard_key.as_deref(), Some("id"));
        assert_eq!(worker.delivery.ordering, Ordering::Key);
        assert_eq!(worker.delivery.retry.max_attempts, 8);
        assert_eq!(worker.delivery.retry.base, Duration::from_secs(2));
        assert_eq!(worker.delivery.lease, Duration::from_secs(120));
        let bound = worker.delivery.bound.unwrap();
        assert_eq!(
            (bound.max_pending, bound.policy),
            (100, Overflow::DropOldest)
        );
    }
}

#[test]
fn events_are_gathered_and_published_as_the_file_says() {
    let loaded = accepted(
        "  free: {command: [x], mode: worker, delivery: {debounce: 5s}}\n  \
         bound: {command: [x], mode: worker, publishes: [reported, \"alerts.>\"], \
         delivery: {batch: {size: 50, wait: 2s}}}\n  \
         mute: {command: [x], mode: worker, publishes: []}\n",
        &nothing(),
    );
    let worker = |name: &str| &loaded.workers[&name.parse::<AgentName>().unwrap()];
    let may = |name: &str, topic: &str| worker(name).may_publish(topic);
    assert!(may("free", "anything"));
    assert!(may("bound", "reported") && may("bound", "alerts.disk.full"));
    assert!(!may("bound", "alerts") && !may("bound", "reported.twice"));
    assert!(!may("mute", "reported"));
    let (free, bound) = (&worker("free").delivery, &worker("bound").delivery);
    assert_eq!(free.debounce, Some(Duration::from_secs(5)));
    assert_eq!((free.batch, bound.debounce), (None, None));
    let batch = bound.batch.unwrap();
    assert_eq!((batch.size, batch.wait), (50, Duration::from_secs(2)));
}

#[test]
fn the_manual_and_the_example_of_language_models_are_right() {
    let environment = Environment::with([
        ("OPENAI_API_KEY", "hunter2"),
        ("ANTHROPIC_API_KEY", "hunter2"),
    ]);
    let manual = std::fs::read_to_string("../../docs/llm.md").unwrap();
    let (_, from_example) = manual.split_once("```yaml\n").expect("it begins with one");
    let (example, _) = from_example.split_once("```").expect("it ends");
    let path = Path::new("/srv/fleet/openclaw.yaml");
    let loaded = load_str(example, path, &environment);
    let loaded = loaded.unwrap_or_else(|problems| panic!("{}", problems.render(Style::Plain)));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let llm = loaded.llm.expect("it is about that");
    assert_eq!(&*llm.settings.agents["monitor"].models[0], "cheap");
    assert!(!llm.settings.agents.contains_key("mover"));
    assert!(llm.unpriced.is_empty());

    let path = Path::new("../../examples/llm/openclaw.yaml");
    let loaded = load(path, &environment);
    let loaded = loaded.unwrap_or_else(|problems| panic!("{}", problems.render(Style::Plain)));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
}
