//! Fleet files that are accepted, and what becomes of them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use claw_core::spec::{
    AgentSpec, CatchUp, Check, CleanExit, Condition, Mode, RestartPolicy, Timing,
};
use claw_daemon::config::{Code, Environment, Loaded, Privilege, Style, load, load_str};

/// A folder with files, removed at the end.
struct Folder(tempfile::TempDir);

impl Folder {
    fn with(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("it is in the folder")).expect("made");
            fs::write(&path, text).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("permitted");
        }
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn load(&self, environment: &Environment) -> Loaded {
        match load(&self.path("openclaw.yaml"), environment) {
            Ok(loaded) => loaded,
            Err(problems) => panic!("{}", problems.render(Style::Plain)),
        }
    }

    fn refused(&self, environment: &Environment) -> String {
        match load(&self.path("openclaw.yaml"), environment) {
            Ok(_) => panic!("it was accepted"),
            Err(problems) => problems.render(Style::Plain),
        }
    }
}

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
    let mut environment = Environment::with([("SLACK_WEBHOOK", "https://hooks/1")]);
    environment.privilege = Privilege::Root;
    let loaded = load(Path::new("tests/fleets/sample.yaml"), &environment);
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
fn dotenv_files_stand_below_the_environment() {
    let folder = Folder::with(&[
        (
            "openclaw.yaml",
            &fleet("  a: {command: run, secrets: [A, B, C]}\n"),
        ),
        (".env", "A=file\nB=file\n"),
        (".openclaw/.env", "B=data\nC=data\n"),
    ]);
    let loaded = folder.load(&Environment::with([("A", "real")]));
    let secrets = &agent(&loaded, "a").launch.secrets;
    let values: Vec<&str> = secrets.values().map(|secret| secret.expose()).collect();
    assert_eq!(values, ["real", "file", "data"]);
    assert!(loaded.warnings.is_empty());
    assert!(loaded.files.contains(&folder.path(".env")));
    assert!(loaded.files.contains(&folder.path(".openclaw/.env")));
    assert!(!loaded.resolved.contains("file") && !loaded.resolved.contains("data\""));
}

#[test]
fn the_data_folder_may_itself_be_a_variable() {
    let text = "supervisor: {data_dir: \"${WHERE}/data\"}\n".to_owned()
        + &fleet("  a: {command: run, secrets: [C]}\n");
    let folder = Folder::with(&[
        ("openclaw.yaml", &text),
        (".env", "WHERE=deep\n"),
        ("deep/data/.env", "C=c\n"),
    ]);
    let loaded = folder.load(&nothing());
    assert_eq!(loaded.supervisor.data_dir, folder.path("deep/data"));
}

#[test]
fn env_files_are_merged_below_env_and_kept_like_secrets() {
    let folder = Folder::with(&[
        (
            "openclaw.yaml",
            &fleet("  a: {command: run, env_file: [one.env, two.env], env: {C: env}}\n"),
        ),
        ("one.env", "A=1\nB=1\nC=1\n"),
        ("two.env", "B=2\nA\n"),
    ]);
    let loaded = folder.load(&nothing());
    let launch = &agent(&loaded, "a").launch;
    assert!(!launch.secrets.contains_key("A"), "`A` alone unsets it");
    assert_eq!(launch.secrets["B"].expose(), "2");
    assert_eq!(launch.env["C"], "env");
    assert!(!launch.secrets.contains_key("C"));
}

#[test]
fn an_env_file_that_others_may_read_is_a_warning() {
    let folder = Folder::with(&[
        (
            "openclaw.yaml",
            &fleet("  a: {command: run, env_file: a.env}\n"),
        ),
        ("a.env", "A=hunter2\n"),
    ]);
    let readable = fs::Permissions::from_mode(0o644);
    fs::set_permissions(folder.path("a.env"), readable).expect("permitted");
    let loaded = folder.load(&nothing());
    let codes: Vec<Code> = loaded.warnings.iter().map(|problem| problem.code).collect();
    assert_eq!(codes, [Code::Permissions]);
    assert!(!loaded.warnings.render(Style::Plain).contains("hunter2"));
}

#[test]
fn includes_are_merged_in_order_below_the_file_that_names_them() {
    let folder = Folder::with(&[
        (
            "openclaw.yaml",
            &("$include: [one.yaml, sub/two.yaml]\n".to_owned()
                + &fleet("  a: {env: {C: main}}\n")),
        ),
        (
            "one.yaml",
            "agents:\n  a: {command: one, env: {A: one, B: one, C: one}}\n",
        ),
        (
            "sub/two.yaml",
            "$include: three.yaml\nagents:\n  a: {env: {B: two}}\n",
        ),
        ("sub/three.yaml", "agents:\n  three: {command: three}\n"),
    ]);
    let loaded = folder.load(&nothing());
    let env = &agent(&loaded, "a").launch.env;
    assert_eq!(env.values().collect::<Vec<_>>(), ["one", "two", "main"]);
    assert_eq!(agent(&loaded, "three").launch.working_dir, folder.0.path());
    assert!(loaded.files.contains(&folder.path("sub/three.yaml")));
}

#[test]
fn an_include_may_stand_in_an_agent() {
    let folder = Folder::with(&[
        (
            "openclaw.yaml",
            &fleet("  http: {$include: base.yaml, env: {A: own}}\n  exec: {$include: base.yaml}\n"),
        ),
        ("base.yaml", "command: run\nenv: {A: base}\n"),
    ]);
    let loaded = folder.load(&nothing());
    assert_eq!(agent(&loaded, "http").launch.env["A"], "own");
    assert_eq!(agent(&loaded, "exec").launch.command, ["run"]);
}

#[test]
fn an_include_never_leaves_the_folder_through_a_link() {
    let outside = Folder::with(&[("secret.yaml", "agents: {hunter2: {command: x}}\n")]);
    let folder = Folder::with(&[(
        "openclaw.yaml",
        &("$include: link.yaml\n".to_owned() + &fleet("  a: {command: x}\n")),
    )]);
    std::os::unix::fs::symlink(outside.path("secret.yaml"), folder.path("link.yaml"))
        .expect("linked");
    let said = folder.refused(&nothing());
    assert!(
        said.contains("is outside the folder of the fleet file"),
        "{said}"
    );
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn includes_may_be_ten_deep_and_no_deeper() {
    let chain = |depth: usize| {
        let mut files = vec![(
            "openclaw.yaml".to_owned(),
            "$include: f1.yaml\n".to_owned() + &fleet("  a: {command: x}\n"),
        )];
        for level in 1..=depth {
            let text = if level == depth {
                "x-end: 1\n".to_owned()
            } else {
                format!("$include: f{}.yaml\n", level + 1)
            };
            files.push((format!("f{level}.yaml"), text));
        }
        let files: Vec<(&str, &str)> = files
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()))
            .collect();
        Folder::with(&files)
    };
    chain(10).load(&nothing());
    let said = chain(11).refused(&nothing());
    assert!(said.contains("nested more than 10 files deep"), "{said}");
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
fn files_that_are_no_files_are_refused_at_once() {
    let folder = Folder::with(&[("huge.yaml", &"#".repeat(2 << 20)), ("empty.yaml", "")]);
    for (name, said) in [
        ("missing.yaml", "there is no such file"),
        (".", "it is a directory"),
        ("huge.yaml", "it is larger than 1 MiB"),
        ("empty.yaml", "the file is empty"),
    ] {
        let problems = load(&folder.path(name), &nothing()).expect_err(name);
        let rendered = problems.render(Style::Plain);
        assert!(rendered.contains(said), "{name}: {rendered}");
    }
    let device = load(Path::new("/dev/zero"), &nothing()).expect_err("a device");
    assert!(device.render(Style::Plain).contains("not a regular file"));
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
        "schedule",
        "health_check",
        "restart_policy",
        "graceful_shutdown",
    ] {
        assert!(agent[key].is_object(), "{key}");
        assert!(agent[key]["description"].is_string(), "{key}");
    }
    for key in ["source", "image", "sharding", "subscribe"] {
        assert!(agent[key].is_null(), "{key}");
    }
    assert_eq!(schema["additionalProperties"], serde_json::json!(false));
    let probe = &agent["health_check"]["properties"]["liveness"]["properties"];
    assert_eq!(
        probe["http"]["properties"]["port"]["anyOf"][0]["maximum"],
        65_535
    );
}
