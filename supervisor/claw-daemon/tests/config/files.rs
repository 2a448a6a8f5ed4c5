//! Everything a fleet file draws in: `.env`, `env_file`, includes; and files that are none.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use claw_core::spec::AgentSpec;
use claw_daemon::config::{Code, Environment, Loaded, Style, load};

/// A folder with files, removed at the end.
struct AgentDir(tempfile::TempDir);

impl AgentDir {
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

fn nothing() -> Environment {
    Environment::with([])
}

fn agent<'l>(loaded: &'l Loaded, name: &str) -> &'l AgentSpec {
    &loaded.fleet.agents[name]
}

#[test]
fn dotenv_files_stand_below_the_environment() {
    let folder = AgentDir::with(&[
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
    let folder = AgentDir::with(&[
        ("openclaw.yaml", &text),
        (".env", "WHERE=deep\n"),
        ("deep/data/.env", "C=c\n"),
    ]);
    let loaded = folder.load(&nothing());
    assert_eq!(loaded.supervisor.data_dir, folder.path("deep/data"));
}

#[test]
fn env_files_are_merged_below_env_and_kept_like_secrets() {
    let folder = AgentDir::with(&[
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
    let folder = AgentDir::with(&[
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
    let folder = AgentDir::with(&[
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
    let folder = AgentDir::with(&[
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
    let outside = AgentDir::with(&[("secret.yaml", "agents: {hunter2: {command: x}}\n")]);
    let folder = AgentDir::with(&[(
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
        AgentDir::with(&files)
    };
    chain(10).load(&nothing());
    let said = chain(11).refused(&nothing());
    assert!(said.contains("nested more than 10 files deep"), "{said}");
}

#[test]
fn files_that_are_no_files_are_refused_at_once() {
    let folder = AgentDir::with(&[("huge.yaml", &"#".repeat(2 << 20)), ("empty.yaml", "")]);
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
