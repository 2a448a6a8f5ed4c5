//! Agents that are containers: what becomes of their keys.

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use claw_core::spec::container::{
    Access, Container, Exec, Init, MountSource, Network, PullPolicy, RootFs, Seccomp,
};
use claw_core::spec::{AgentSpec, Mode, Program};
use claw_daemon::config::{Environment, Loaded, Severity, Style, load_str};

fn read(agents: &str, folder: &Path) -> Result<Loaded, String> {
    let text = format!("project: My.Fleet\nversion: \"1.0\"\nagents:\n{agents}");
    let environment = Environment::with([("HOME", "/home/me")]);
    load_str(&text, &folder.join("openclaw.yaml"), &environment)
        .map_err(|problems| problems.render(Style::Plain))
}

fn accepted(agents: &str) -> Loaded {
    read(agents, Path::new("/srv/fleet")).unwrap_or_else(|said| panic!("{said}"))
}

fn container(spec: &AgentSpec) -> &Container {
    spec.launch.container.as_deref().expect("it is a container")
}

#[test]
fn an_image_alone_is_a_container_that_is_closed_on_all_sides() {
    let loaded = accepted("  a: {image: busybox}\n");
    let spec = &loaded.fleet.agents["a"];
    let made = container(spec);
    assert_eq!(
        (made.image.as_str(), made.pull),
        ("busybox", PullPolicy::Missing)
    );
    assert_eq!(
        (made.root, &made.network),
        (RootFs::ReadOnly, &Network::None)
    );
    assert_eq!((made.seccomp, made.init), (Seccomp::Default, Init::Engine));
    assert!(made.mounts.is_empty() && made.ports.is_empty() && made.capabilities.is_empty());
    assert_eq!((made.shm, made.nofile), (16 << 20, 1024));
    let [tmp] = made.tmpfs.as_slice() else {
        panic!("{:?}", made.tmpfs)
    };
    assert_eq!(
        (tmp.target.as_path(), tmp.size, tmp.exec),
        (Path::new("/tmp"), 64 << 20, Exec::Allowed)
    );
    assert_eq!(spec.resources.memory, Some(512 << 20));
    assert_eq!(
        (spec.resources.pids, spec.resources.cpu_millis),
        (Some(128), None)
    );
    assert!(spec.launch.command.is_empty());
    assert_eq!(
        (&spec.launch.program, spec.mode),
        (&Program::Any, Mode::Daemon)
    );
    assert_eq!(
        (spec.launch.user.as_deref(), &made.working_dir),
        (None, &None)
    );
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
}

#[test]
fn arguments_are_words_and_need_name_no_program() {
    let loaded = accepted(
        "  a: {image: x, command: [--port=80, \"\"]}\n  b: {image: x, command: NAME=value 'two words'}\n",
    );
    let command = |name: &str| loaded.fleet.agents[name].launch.command.clone();
    assert_eq!(command("a"), ["--port=80", ""]);
    assert_eq!(command("b"), ["NAME=value", "two words"]);
}

#[test]
fn paths_of_the_host_start_at_the_fleet_file_and_names_are_volumes() {
    let loaded = accepted(
        "  a:\n    image: x\n    volumes: [\"./data:/data\", \"../up:/up:ro\", \"/srv/x:/x:rw\", \
         \"${HOME}/y:/y\", \"cache-1.a:/cache\", {source: named, target: /n/, read_only: true}]\n",
    );
    let mounts = &container(&loaded.fleet.agents["a"]).mounts;
    let shown: Vec<String> = mounts
        .iter()
        .map(|mount| {
            let source = match &mount.source {
                MountSource::Path(path) => path.display().to_string(),
                MountSource::Volume(name) => format!("volume {name}"),
            };
            let access = match mount.access {
                Access::ReadOnly => "ro",
                Access::ReadWrite => "rw",
            };
            format!("{source} {} {access}", mount.target.display())
        })
        .collect();
    assert_eq!(
        shown,
        [
            "/srv/fleet/data /data rw",
            "/srv/up /up ro",
            "/srv/x /x rw",
            "/home/me/y /y rw",
            "volume cache-1.a /cache rw",
            "volume named /n ro",
        ]
    );
}

#[test]
fn what_is_built_is_named_for_its_fleet_and_agent() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("image")).expect("made");
    for name in ["Dockerfile", "image/Dockerfile"] {
        std::fs::write(folder.path().join(name), "FROM scratch\n").expect("written");
    }
    let agents = "  my_tool: {build: image}\n  other: {build: {context: ., dockerfile: image/Dockerfile}, image: \"own:1\"}\n";
    let loaded = read(agents, folder.path()).unwrap_or_else(|said| panic!("{said}"));
    let made = |name: &str| container(&loaded.fleet.agents[name]).clone();
    let (tool, other) = (made("my_tool"), made("other"));
    assert_eq!(
        (tool.image.as_str(), other.image.as_str()),
        ("openclaw/my-fleet-my-tool", "own:1")
    );
    let built = tool.build.expect("it is built");
    assert_eq!(built.context, folder.path().join("image"));
    assert_eq!(built.dockerfile, Path::new("Dockerfile"));
}

/// A link is no way to what is refused by its own name.
#[test]
fn links_to_what_no_agent_may_have_are_refused_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = |name: &str| folder.path().join(name);
    let engine = tempfile::tempdir().expect("a folder");
    let listener = UnixListener::bind(engine.path().join("docker.sock")).expect("bound");
    symlink(engine.path().join("docker.sock"), place("harmless")).expect("linked");
    symlink("/proc", place("numbers")).expect("linked");
    std::fs::create_dir(place(".openclaw")).expect("made");
    symlink(folder.path(), place("itself")).expect("linked");
    for (source, why) in [
        ("./harmless", "is the socket of a container engine"),
        ("./numbers", "belongs to the machine itself"),
        ("./itself", "the supervisor's own directory"),
    ] {
        let agents = format!("  a: {{image: x, volumes: [\"{source}:/x\"]}}\n");
        let said = read(&agents, folder.path()).expect_err("it is refused");
        assert!(said.contains(why), "{source}: {said}");
    }
    drop(listener);
}

#[test]
fn an_engine_that_is_named_is_kept_from_its_containers() {
    let text = "project: p\nversion: \"1.0\"\nsupervisor: {engine: \"unix:///srv/engine/e.sock\"}\n\
                agents:\n  a: {image: x, volumes: [\"/srv/engine:/x\"]}\n";
    let environment = Environment::with([]);
    let said = load_str(text, Path::new("/srv/fleet/openclaw.yaml"), &environment);
    let said = said.expect_err("it is refused").render(Style::Plain);
    assert!(
        said.contains("the socket of the container engine"),
        "{said}"
    );
}

#[test]
fn something_else_may_stand_at_tmp() {
    let loaded = accepted(
        "  a: {image: x, volumes: [\"scratch:/tmp\"]}\n  b: {image: x, sandbox: {writable: [{path: /tmp, size: 1Mi}]}}\n",
    );
    assert!(container(&loaded.fleet.agents["a"]).tmpfs.is_empty());
    let [tmp] = container(&loaded.fleet.agents["b"]).tmpfs.as_slice() else {
        panic!("there is one")
    };
    assert_eq!((tmp.size, tmp.exec), (1 << 20, Exec::Denied));
}

#[test]
fn capabilities_that_reach_nobody_are_a_warning() {
    let of = |user: &str| {
        let agents = format!(
            "  a: {{image: x, {user}sandbox: {{capabilities: [cap_chown, KILL, CHOWN]}}}}\n"
        );
        let loaded = accepted(&agents);
        let made = container(&loaded.fleet.agents["a"]);
        assert_eq!(made.capabilities, ["CHOWN", "KILL"]);
        loaded
            .warnings
            .iter()
            .filter(|one| one.severity == Severity::Warning)
            .count()
    };
    assert_eq!(of(""), 1);
    assert_eq!(of("user: \"1000:0\", "), 1);
    for root in ["user: root, ", "user: \"0\", ", "user: \"0:0\", "] {
        assert_eq!(of(root), 0, "{root}");
    }
}

#[test]
fn ports_of_the_host_may_be_shared_where_listeners_can() {
    accepted(
        "  a: {image: x, ports: [\"80:80\", \"80:80/udp\"], sandbox: {network: bridge}}\n  \
         b: {image: x, ports: [\"127.0.0.2:80:80\", \"127.0.0.2:8400:1\"], sandbox: {network: bridge}}\n",
    );
}

#[test]
fn a_mode_of_the_defaults_for_processes_does_not_concern_containers() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("Dockerfile"), "FROM scratch\n").unwrap();
    let file = folder.path().join("openclaw.yaml");
    let over = |defaults: &str, agents: &str| {
        let text = format!("project: p\nversion: \"1.0\"\ndefaults: {defaults}\nagents:\n{agents}");
        load_str(&text, &file, &Environment::with([]))
            .map_err(|problems| problems.render(Style::Plain))
    };
    let mixed = "  boxed: {image: x}\n  built: {build: .}\n  bare: {command: [x]}\n  \
                 wide: {image: x, sandbox: {network: bridge}}\n";
    let loaded = over("{sandbox: {mode: none, shm: 1Mi}}", "  boxed: {image: x}\n").unwrap();
    assert_eq!(container(&loaded.fleet.agents["boxed"]).shm, 1 << 20);
    let loaded = over("{sandbox: {mode: none}}", mixed).unwrap();
    assert!(loaded.fleet.agents["bare"].launch.container.is_none());
    container(&loaded.fleet.agents["boxed"]);
    container(&loaded.fleet.agents["built"]);
    let wide = container(&loaded.fleet.agents["wide"]);
    assert_eq!(wide.network, Network::Bridge);
    let inherited = over(
        "{image: x, sandbox: {mode: process}}",
        "  boxed: {}\n  other:\n",
    )
    .unwrap();
    container(&inherited.fleet.agents["boxed"]);
    container(&inherited.fleet.agents["other"]);
    let own = "  boxed: {image: x, sandbox: {mode: none}}\n";
    let said = over("{sandbox: {mode: none}}", own).unwrap_err();
    assert!(said.contains("is a container, which"), "{said}");
    let said = over("{sandbox: {mode: docker}}", mixed).unwrap_err();
    assert!(
        said.contains("`mode: docker` is for agents with an `image`"),
        "{said}"
    );
    let said = over("{sandbox: {mode: dockre}}", "  boxed: {image: x}\n").unwrap_err();
    assert!(said.contains("dockre"), "{said}");
}

#[test]
fn an_agent_with_its_own_program_takes_no_image_from_the_defaults() {
    let text = "project: p\nversion: \"1.0\"\ndefaults: {image: base}\nagents:\n  a: {command: run}\n  b: {}\n";
    let loaded = load_str(
        text,
        Path::new("/srv/openclaw.yaml"),
        &Environment::with([]),
    );
    let loaded = loaded.unwrap_or_else(|problems| panic!("{}", problems.render(Style::Plain)));
    assert!(loaded.fleet.agents["a"].launch.container.is_none());
    assert_eq!(container(&loaded.fleet.agents["b"]).image, "base");
}

#[test]
fn calls_of_a_container_are_counted_where_they_pass_the_supervisor() {
    let read = |sandbox: &str| {
        let text = format!(
            "project: p\nversion: \"1.0\"\nagents:\n  a: {{image: x, resources: {{api_calls_per_minute: 60}}, sandbox: {{{sandbox}}}}}\n"
        );
        load_str(&text, Path::new("/f/openclaw.yaml"), &Environment::with([]))
            .map_err(|problems| problems.render(Style::Plain))
    };
    let loaded = read("allowed_network: [api.example.com]").unwrap();
    match &container(&loaded.fleet.agents["a"]).network {
        Network::Listed(egress) => assert_eq!(egress.per_minute, Some(60)),
        other @ (Network::None | Network::Bridge) => panic!("{other:?}"),
    }
    for uncounted in ["network: bridge", "network: none", ""] {
        let said = read(uncounted).unwrap_err();
        assert!(said.contains("the agent has no such list"), "{said}");
    }
}

/// The hosts of each agent of a fleet, in their order.
fn hosts(text: &str) -> Result<Vec<(String, Vec<String>)>, String> {
    let text = format!("project: p\nversion: \"1.0\"\n{text}");
    let loaded = load_str(&text, Path::new("/f/openclaw.yaml"), &Environment::with([]))
        .map_err(|problems| problems.render(Style::Plain))?;
    let listed = |spec: &AgentSpec| match &container(spec).network {
        Network::Listed(egress) => egress
            .allowed
            .iter()
            .map(|rule| rule.pattern.clone())
            .collect(),
        Network::None | Network::Bridge => Vec::new(),
    };
    let agents = loaded.fleet.agents.iter();
    Ok(agents
        .map(|(name, spec)| (name.to_string(), listed(spec)))
        .collect())
}

#[test]
fn a_container_reaches_listed_hosts_within_those_of_the_fleet() {
    let named = |name: &str, hosts: &[&str]| {
        let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        (name.to_owned(), hosts)
    };
    let own = "agents:\n  a: {image: x, sandbox: {allowed_network: [api.example.com]}}\n  b: {image: x}\n";
    assert_eq!(
        hosts(own).unwrap(),
        [named("a", &["api.example.com"]), named("b", &[])]
    );
    let fleet = "security: {sandbox: {allowed_network: [\"*.example.com\"]}}\n";
    let within = format!("{fleet}{own}  c: {{image: x, sandbox: {{network: none}}}}\n");
    assert_eq!(
        hosts(&within).unwrap(),
        [
            named("a", &["api.example.com"]),
            named("b", &["*.example.com"]),
            named("c", &[])
        ]
    );
    for (wider, said) in [
        (
            "allowed_network: [other.org]",
            "is more than `security.sandbox` allows",
        ),
        ("network: bridge", "is more than `security.sandbox` allows"),
        (
            "network: none, allowed_network: [api.example.com]",
            "`allowed_network` has no effect beside `network: none`",
        ),
    ] {
        let text = format!("{fleet}agents:\n  a: {{image: x, sandbox: {{{wider}}}}}\n");
        let refused = hosts(&text).unwrap_err();
        assert!(refused.contains(said), "{refused}");
    }
}
