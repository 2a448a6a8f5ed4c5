//! Agents that are processes in a sandbox: what becomes of their keys.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use claw_core::spec::Resources;
use claw_core::spec::container::Exec;
use claw_core::spec::sandbox::{
    Capture, Egress, HostRule, Landlock, OnMissing, Proc, Reach, Sandbox, Sni, SystemCalls, Tracing,
};
use claw_daemon::config::{Environment, Loaded, Style, load, load_str};

fn read(rest: &str) -> Result<Loaded, String> {
    let text = format!("project: p\nversion: \"1.0\"\n{rest}");
    let path = Path::new("/srv/fleet/openclaw.yaml");
    load_str(&text, path, &Environment::with([])).map_err(|problems| problems.render(Style::Plain))
}

fn accepted(rest: &str) -> Loaded {
    read(rest).unwrap_or_else(|said| panic!("{said}"))
}

/// The sandbox of the agent `a`.
fn sandbox(loaded: &Loaded) -> Option<&Sandbox> {
    loaded.fleet.agents["a"].launch.sandbox.as_deref()
}

/// The sandbox of an agent of which this is written, and of nothing else.
fn own(written: &str) -> Sandbox {
    let loaded = accepted(&format!(
        "agents:\n  a: {{command: run, sandbox: {written}}}\n"
    ));
    sandbox(&loaded).expect("it has one").clone()
}

fn egress(sandbox: &Sandbox) -> &Egress {
    match &sandbox.network {
        Reach::Listed(egress) => egress,
        Reach::Host => panic!("{sandbox:?}"),
    }
}

fn patterns(rules: &[HostRule]) -> Vec<&str> {
    rules.iter().map(|rule| rule.pattern.as_str()).collect()
}

#[test]
fn an_agent_without_a_word_about_it_is_confined_and_need_not_be() {
    for security in [
        "",
        "security: {}\n",
        "security: {sandbox: {}}\n",
        "security: {sandbox: {allow_override: true, uid_range: 300000-300999}}\n",
    ] {
        let loaded = |written: &str| {
            accepted(&format!(
                "{security}agents:\n  a: {{command: run{written}}}\n"
            ))
        };
        for written in ["", ", sandbox: {}"] {
            let loaded = loaded(written);
            let made = sandbox(&loaded).expect("it has one");
            assert_eq!(made.on_missing, OnMissing::Refuse, "{security}{written}");
            assert!(egress(made).allowed.is_empty());
            assert!(loaded.warnings.is_empty());
        }
        // Nobody has said that agents may not.
        let open = loaded(", sandbox: {network: host, on_missing: degrade, seccomp: off}");
        let open = sandbox(&open).expect("it has one");
        assert_eq!(
            (&open.network, open.on_missing),
            (&Reach::Host, OnMissing::Degrade)
        );
        assert_eq!(sandbox(&loaded(", sandbox: {mode: none}")), None);
    }
    let security = "security: {sandbox: {mode: none}}\n";
    for written in ["", ", sandbox: {}", ", sandbox: {mode: none}"] {
        let loaded = accepted(&format!(
            "{security}agents:\n  a: {{command: run{written}}}\n"
        ));
        assert_eq!(sandbox(&loaded), None, "{written}");
    }
}

#[test]
fn connections_are_taken_to_be_told_of_unless_none_is_meant() {
    let capture = |rest: &str| egress(sandbox(&accepted(rest)).unwrap()).capture;
    for (rest, expected) in [
        ("agents: {a: {command: run}}", Capture::Transparent),
        (
            "agents: {a: {command: run, sandbox: {network: none}}}",
            Capture::Nothing,
        ),
        (
            "agents: {a: {command: run, sandbox: {allowed_network: []}}}",
            Capture::Nothing,
        ),
        (
            "security: {sandbox: {allowed_network: []}}\nagents: {a: {command: run}}",
            Capture::Nothing,
        ),
        (
            "agents: {a: {command: run, sandbox: {proxy: {transparent: false}}}}",
            Capture::ProxyOnly,
        ),
        (
            "security: {sandbox: {network: none, allow_override: true}}\nagents: {a: {command: run, sandbox: {allowed_network: [a.example], proxy: {transparent: false}}}}",
            Capture::ProxyOnly,
        ),
    ] {
        assert_eq!(capture(rest), expected, "{rest}");
    }
    let fleet = "security: {sandbox: {proxy: {transparent: false}}}\nagents:\n";
    let wider =
        format!("{fleet}  a: {{command: run, sandbox: {{proxy: {{transparent: true}}}}}}\n");
    let said = read(&wider).unwrap_err();
    assert!(said.contains("proxy.transparent` is more than"), "{said}");
}

#[test]
fn a_server_that_only_probes_reach_is_warned_of_once() {
    let warnings = |rest: &str| {
        let probes =
            "health_check: {startup: {tcp: {port: 8080}}, liveness: {http: {port: 8080, path: /}}}";
        let loaded = accepted(&format!("agents:\n  a: {{command: run, {probes}{rest}}}\n"));
        loaded.warnings.render(Style::Plain)
    };
    let said = warnings("");
    assert_eq!(
        said.matches("only its probes reach port 8080").count(),
        1,
        "{said}"
    );
    assert!(said.contains("`sandbox: {network: host}`"), "{said}");
    for known in [
        "network: host",
        "network: none",
        "allowed_network: [a.example]",
        "mode: none",
    ] {
        let said = warnings(&format!(", sandbox: {{{known}}}"));
        assert_eq!(said.trim(), "", "{known}");
    }
}

#[test]
fn what_is_not_written_of_resources_is_bounded_and_no_more() {
    let usual = |written: &str| {
        let rest = format!("agents:\n  a: {{command: run{written}}}\n");
        sandbox(&accepted(&rest)).unwrap().usual.clone()
    };
    let resources = |cpu_millis, memory, pids| Resources {
        cpu_millis,
        memory,
        pids,
    };
    assert_eq!(usual(""), resources(None, Some(512 << 20), Some(512)));
    assert_eq!(
        usual(", resources: {memory: 2Gi}"),
        resources(None, None, Some(512))
    );
    assert_eq!(
        usual(", resources: {memory: 2Gi, pids: 7, cpu: 2}"),
        resources(None, None, None)
    );
}

#[test]
fn the_word_alone_closes_everything() {
    let closed = own("{mode: process}");
    assert_eq!(closed.on_missing, OnMissing::Refuse);
    assert!(closed.readable.is_empty() && closed.writable.is_empty());
    assert_eq!(
        (closed.tmp.size, closed.tmp.exec, closed.shm),
        (64 << 20, Exec::Allowed, 16 << 20)
    );
    let reach = egress(&closed);
    assert!(reach.allowed.is_empty() && reach.private_networks.is_empty());
    assert_eq!(
        (reach.capture, reach.sni, reach.max_tunnels),
        (Capture::Transparent, Sni::Required, 64)
    );
    assert_eq!((reach.max_bytes, reach.per_minute), (None, None));
    assert_eq!(closed.seccomp, SystemCalls::Listed { also: vec![] });
    assert_eq!(
        (closed.landlock, closed.proc, closed.tracing),
        (Landlock::BestEffort, Proc::Masked, Tracing::Denied)
    );
    assert_eq!((closed.limits.nofile, closed.limits.fsize), (1024, None));
}

#[test]
fn any_other_key_means_a_process_and_says_what_it_says() {
    let open = own(
        "{on_missing: degrade, readable: [models, /opt/x], writable: [work, {path: /srv/out, size: 1Gi, exec: true}], tmp: {size: 8Mi, exec: false}, shm: 1Mi, read_only_filesystem: true}",
    );
    assert_eq!(open.on_missing, OnMissing::Degrade);
    let readable = ["/srv/fleet/models", "/opt/x"].map(PathBuf::from);
    assert_eq!(open.readable, readable);
    let [work, out] = open.writable.as_slice() else {
        panic!("{:?}", open.writable)
    };
    assert_eq!(
        (work.path.as_path(), work.size, work.exec),
        (Path::new("/srv/fleet/work"), None, Exec::Denied)
    );
    assert_eq!(
        (out.path.as_path(), out.size, out.exec),
        (Path::new("/srv/out"), Some(1 << 30), Exec::Allowed)
    );
    assert_eq!(
        (open.tmp.size, open.tmp.exec, open.shm),
        (8 << 20, Exec::Denied, 1 << 20)
    );
    let calls = |written: &str| own(&format!("{{seccomp: {written}}}")).seccomp;
    assert_eq!(calls("learn"), SystemCalls::Learn);
    assert_eq!(calls("off"), SystemCalls::Any);
    assert_eq!(
        calls("{also: [io_uring_setup]}"),
        SystemCalls::Listed {
            also: vec!["io_uring_setup".to_owned()]
        }
    );
    let kernel = own("{landlock: {require: 5}, proc: minimal, debug: {ptrace: true}}");
    assert_eq!(
        (kernel.landlock, kernel.proc, kernel.tracing),
        (Landlock::Require(5), Proc::Minimal, Tracing::Allowed)
    );
    let limits = own("{limits: {nofile: 64, fsize: 1Mi}}").limits;
    assert_eq!((limits.nofile, limits.fsize), (64, Some(1 << 20)));
    assert_eq!(own("{network: host}").network, Reach::Host);
}

#[test]
fn hosts_keep_the_line_they_were_written_on() {
    let loaded = accepted(
        "security: {sandbox: {blocked_network: [metadata.google.internal]}}\nagents:\n  a:\n    command: run\n    resources: {api_calls_per_minute: 60}\n    sandbox:\n      allowed_network: [\"*.internal\", \"db.internal:5432\"]\n      blocked_network: [secret.internal]\n      private_networks: [10.0.0.0/8]\n      proxy: {transparent: true, require_sni: true, max_tunnels: 4, max_bytes: 1Mi}\n",
    );
    let made = sandbox(&loaded).unwrap();
    let reach = egress(made);
    let keys = |rules: &[HostRule]| -> Vec<String> {
        let lines = rules
            .iter()
            .map(|rule| format!("{} {}", rule.key, rule.pattern));
        lines.collect()
    };
    assert_eq!(
        keys(&reach.allowed),
        [
            "agents.a.sandbox.allowed_network[0] *.internal",
            "agents.a.sandbox.allowed_network[1] db.internal:5432"
        ]
    );
    assert_eq!(
        keys(&reach.blocked),
        [
            "security.sandbox.blocked_network[0] metadata.google.internal",
            "agents.a.sandbox.blocked_network[0] secret.internal"
        ]
    );
    assert_eq!(patterns(&reach.private_networks), ["10.0.0.0/8"]);
    assert_eq!(
        (reach.capture, reach.max_tunnels, reach.max_bytes),
        (Capture::Transparent, 4, Some(1 << 20))
    );
    assert_eq!(reach.per_minute, Some(60));
}

#[test]
fn what_the_fleet_says_is_for_every_process_and_can_be_narrowed() {
    let fleet = "security: {sandbox: {readable: [data], tmp: {size: 32Mi}, allowed_network: [api.example.com, \"*.pypi.org\"], proxy: {max_tunnels: 8}, on_missing: degrade, seccomp: learn}}\n";
    let loaded = accepted(&format!("{fleet}agents:\n  a: {{command: run}}\n"));
    let made = sandbox(&loaded).unwrap();
    assert_eq!(made.readable, [PathBuf::from("/srv/fleet/data")]);
    assert_eq!(
        patterns(&egress(made).allowed),
        ["api.example.com", "*.pypi.org"]
    );
    assert_eq!(
        (made.on_missing, &made.seccomp),
        (OnMissing::Degrade, &SystemCalls::Learn)
    );
    let narrowed = accepted(&format!(
        "{fleet}agents:\n  a: {{command: run, sandbox: {{readable: [data/a], tmp: {{size: 1Mi, exec: false}}, allowed_network: [files.pypi.org], on_missing: refuse, seccomp: {{also: [bpf]}}, writable: [work], shm: 1Gi}}}}\n"
    ));
    let made = sandbox(&narrowed).unwrap();
    assert_eq!(made.readable, [PathBuf::from("/srv/fleet/data/a")]);
    assert_eq!(patterns(&egress(made).allowed), ["files.pypi.org"]);
    assert_eq!((egress(made).max_tunnels, made.tmp.size), (8, 1 << 20));
    let nothing = accepted(&format!(
        "{fleet}agents:\n  a: {{command: run, sandbox: {{network: none}}}}\n"
    ));
    assert!(egress(sandbox(&nothing).unwrap()).allowed.is_empty());
}

#[test]
fn more_than_the_fleet_says_needs_its_word() {
    let wider = [
        "mode: none",
        "network: host",
        "allowed_network: [other.example.com]",
        "on_missing: degrade",
        "seccomp: off",
        "debug: {ptrace: true}",
        "proxy: {require_sni: false}",
    ];
    for key in wider {
        let fleet = |overriding: &str| {
            read(&format!(
                "security: {{sandbox: {{mode: process, allowed_network: [api.example.com]{overriding}}}}}\nagents:\n  a: {{command: run, sandbox: {{{key}}}}}\n"
            ))
        };
        let refused = fleet("").unwrap_err();
        assert!(
            refused.contains("more than `security.sandbox` allows"),
            "{refused}"
        );
        assert!(refused.contains("allow_override: true"), "{refused}");
        if let Err(said) = fleet(", allow_override: true") {
            panic!("{said}");
        }
    }
}

#[test]
fn a_fleet_without_network_closes_the_lists_of_its_agents() {
    let fleet = "security: {sandbox: {network: none}}\nagents:\n";
    let refused = read(&format!(
        "{fleet}  a: {{command: run, sandbox: {{allowed_network: [a.example]}}}}\n"
    ));
    assert!(refused.unwrap_err().contains("allowed_network[0]` is more"));
    let open = accepted(
        "security: {sandbox: {network: host}}\nagents:\n  a: {command: run}\n  b: {command: run, sandbox: {allowed_network: [a.example]}}\n",
    );
    assert_eq!(sandbox(&open).unwrap().network, Reach::Host);
    let b = open.fleet.agents["b"].launch.sandbox.as_deref().unwrap();
    assert_eq!(patterns(&egress(b).allowed), ["a.example"]);
}

#[test]
fn defaults_are_for_processes_and_containers_each_what_concerns_them() {
    let loaded = accepted(
        "defaults: {sandbox: {readable: [data], capabilities: [CHOWN], allowed_network: [a.example], landlock: best_effort, tmp: {size: 1Mi}}}\nagents:\n  a: {command: run}\n  b: {image: busybox, user: root}\n  c: {command: run, sandbox: {mode: none}}\n  d: {command: run, sandbox: {network: host}}\n",
    );
    let made = sandbox(&loaded).unwrap();
    assert_eq!(made.readable, [PathBuf::from("/srv/fleet/data")]);
    assert_eq!(loaded.fleet.agents["c"].launch.sandbox, None);
    let d = loaded.fleet.agents["d"].launch.sandbox.as_deref();
    assert_eq!(d.map(|d| &d.network), Some(&Reach::Host));
    let b = &loaded.fleet.agents["b"].launch;
    assert_eq!(b.sandbox, None);
    let tmpfs = &b.container.as_deref().unwrap().tmpfs;
    assert_eq!(tmpfs.first().map(|tmp| tmp.size), Some(1 << 20));
}

#[test]
fn the_supervisors_own_files_are_hidden() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let main = "project: p\nversion: \"1.0\"\n$include: more.yaml\nsupervisor: {data_dir: data}\nagents:\n  a: {command: run, env_file: [a.env], sandbox: {readable: [., more.yaml]}}\n";
    std::fs::write(at("openclaw.yaml"), main).unwrap();
    std::fs::write(at("more.yaml"), "agents: {b: {command: run}}\n").unwrap();
    std::fs::write(at("a.env"), "A=1\n").unwrap();
    let loaded = load(&at("openclaw.yaml"), &Environment::with([]));
    let loaded = loaded.unwrap_or_else(|problems| panic!("{}", problems.render(Style::Plain)));
    // What the agent names itself it sees.
    let hidden = [".env", "a.env", "data", "openclaw.yaml"].map(at);
    assert_eq!(sandbox(&loaded).unwrap().hidden, hidden);

    for key in ["readable: [.openclaw/journal]", "writable: [.openclaw]"] {
        let refused = read(&format!(
            "agents:\n  a: {{command: run, sandbox: {{{key}}}}}\n"
        ));
        let said = refused.unwrap_err();
        assert!(said.contains("is the supervisor's own"), "{said}");
    }
}

#[test]
fn users_of_agents_are_a_range() {
    let loaded =
        accepted("security: {sandbox: {uid_range: 300000-300999}}\nagents:\n  a: {command: run}\n");
    assert_eq!(loaded.uids, Some(300_000..=300_999));
    assert_eq!(accepted("agents:\n  a: {command: run}\n").uids, None);
}

#[test]
fn a_thousand_sandboxed_agents_are_read() {
    let mut agents = String::from("security: {sandbox: {mode: process}}\nagents:\n");
    for number in 0..1000 {
        writeln!(
            agents,
            "  a{number}: {{command: run, sandbox: {{allowed_network: [h{number}.example]}}}}"
        )
        .unwrap();
    }
    let loaded = accepted(&agents);
    let confined = loaded.fleet.agents.values();
    assert_eq!(
        confined.filter(|one| one.launch.sandbox.is_some()).count(),
        1000
    );
}
