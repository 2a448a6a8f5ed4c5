//! What an agent's sandbox lets it do, and why.

use std::path::Path;

use claw_core::AgentSpec;
use claw_core::sandbox::{Abilities, Need, Plan, Shortfall, let_call_models, plan};
use claw_core::spec::container::{Access, Exec, MountSource, Network, RootFs};
use claw_core::spec::sandbox::{
    Capture, Egress, HostRule, Landlock, Proc, Reach, Sandbox, Sni, SystemCalls, Tracing,
};
use claw_core::spec::{Container, Launch, Program, Resources};
use owo_colors::OwoColorize;
use serde::Serialize;

use super::time::size;

/// What an agent may do.
#[derive(Debug, Serialize)]
pub(crate) struct Explanation {
    /// Which.
    pub agent: String,
    /// `process`, `docker` or `none`.
    pub mode: &'static str,
    /// Why it would not be started here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// What it may, by kind.
    pub may: Vec<Chapter>,
}

/// One kind of thing that it may do.
#[derive(Debug, Serialize)]
pub(crate) struct Chapter {
    /// Its verb.
    pub verb: &'static str,
    /// What it may.
    pub lines: Vec<Line>,
}

/// One thing that it may do.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Line {
    /// What.
    pub what: String,
    /// Which key of the fleet file says so, or which rule.
    pub why: String,
}

const USUAL: &str = "every sandbox has it";

/// Explains the sandbox of an agent, on a machine that can do this, as far as that is known.
pub(crate) fn explain(agent: &str, spec: &AgentSpec, machine: Option<&Abilities>) -> Explanation {
    let launch = &spec.launch;
    let (mode, refused, mut may) = if let Some(container) = &launch.container {
        ("docker", None, of_container(container))
    } else if let Some(sandbox) = &launch.sandbox {
        let planned = machine.map(|machine| planned(launch, sandbox, machine));
        let refused = match &planned {
            Some(Err(shortfall)) => Some(shortfall.to_string()),
            Some(Ok(_)) | None => None,
        };
        ("process", refused, of_process(spec, sandbox, planned))
    } else {
        ("none", None, of_unconfined(launch))
    };
    if launch.models.is_some() {
        let what = "on 127.0.0.1, through the supervisor";
        let why = "`llm`; `OPENCLAW_LLM_URL` names the port";
        may.push(chapter("models", vec![line(what, why)]));
    }
    Explanation {
        agent: agent.to_owned(),
        mode,
        refused,
        may,
    }
}

/// For people.
pub(crate) fn text(explanation: &Explanation) -> String {
    let mut lines = vec![explanation.agent.bold().to_string()];
    if let Some(refused) = &explanation.refused {
        lines.push(format!("{:>10}  not started here: {refused}", "refused"));
    }
    for Chapter { verb, lines: all } in &explanation.may {
        let width = all.iter().map(|line| line.what.chars().count()).max();
        let width = width.unwrap_or_default().min(40);
        for (number, Line { what, why }) in all.iter().enumerate() {
            let verb = if number == 0 { verb } else { "" };
            let line = format!("{verb:>10}  {what:<width$}  {}", why.dimmed());
            lines.push(line.trim_end().to_owned());
        }
    }
    lines.join("\n")
}

fn planned(launch: &Launch, sandbox: &Sandbox, machine: &Abilities) -> Result<Plan, Shortfall> {
    let mut plan = plan(sandbox, machine)?;
    if launch.models.is_some() {
        let_call_models(&mut plan, sandbox, machine);
    }
    Ok(plan)
}

fn of_process(
    spec: &AgentSpec,
    sandbox: &Sandbox,
    planned: Option<Result<Plan, Shortfall>>,
) -> Vec<Chapter> {
    let launch = &spec.launch;
    let mut chapters = Vec::new();
    let mut sizes = Sizes::Enforced;
    if let Some(Ok(plan)) = planned {
        chapters.push(confined(&plan));
        if plan.losses.iter().any(|loss| loss.need == Need::Quota) {
            sizes = Sizes::NotEnforced;
        }
    }
    chapters.extend([
        chapter("runs", runs(launch, sandbox)),
        chapter("reads", reads(launch, sandbox)),
        chapter("writes", writes(launch, sandbox, sizes)),
    ]);
    if !sandbox.hidden.is_empty() {
        let hidden = sandbox.hidden.iter();
        let hidden = hidden.map(|path| line(shown(path), "the supervisor's own"));
        chapters.push(chapter("not", hidden.collect()));
    }
    chapters.push(chapter("reaches", reaches(&sandbox.network)));
    chapters.push(chapter("uses", uses(sandbox)));
    chapters.push(chapter("limits", limits(spec, sandbox)));
    chapters
}

fn confined(plan: &Plan) -> Chapter {
    let level = format!("level {}", plan.level);
    let layers: Vec<String> = plan.layers.iter().map(ToString::to_string).collect();
    let mut lines = vec![line(level, &layers.join(", "))];
    for loss in &plan.losses {
        let what = format!("degraded: {}", loss.need);
        lines.push(line(what, &loss.lack.to_string()));
    }
    chapter("confined", lines)
}

fn runs(launch: &Launch, sandbox: &Sandbox) -> Vec<Line> {
    let mut lines = vec![
        line(launch.command.join(" "), "the agent's program"),
        line("programs of the system", USUAL),
    ];
    let writable = sandbox.writable.iter();
    let executable = writable.filter(|one| one.exec == Exec::Allowed);
    lines.extend(executable.map(|one| line(shown(&one.path), "`writable` with `exec: true`")));
    if sandbox.tmp.exec == Exec::Allowed {
        lines.push(line("/tmp", "`tmp.exec`"));
    }
    lines
}

fn reads(launch: &Launch, sandbox: &Sandbox) -> Vec<Line> {
    let mut lines = vec![
        line("/usr, and of /etc what programs need", USUAL),
        line(shown(&launch.working_dir), "`working_dir`"),
    ];
    if let Program::Python(_) = launch.program {
        lines.push(line("its interpreter and the SDK", "it has a `source`"));
        lines.push(line("the folder of its source", "it has a `source`"));
    }
    let readable = sandbox.readable.iter();
    lines.extend(readable.map(|path| line(shown(path), "`readable`")));
    lines
}

/// Whether the machine enforces the sizes of directories on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sizes {
    Enforced,
    NotEnforced,
}

fn writes(launch: &Launch, sandbox: &Sandbox, sizes: Sizes) -> Vec<Line> {
    let mut lines = Vec::new();
    for one in &sandbox.writable {
        let why = match (one.size, sizes) {
            (Some(bytes), Sizes::Enforced) => format!("`writable`, up to {}", size(bytes)),
            (Some(bytes), Sizes::NotEnforced) => {
                format!("`writable`; its size, {}, is not enforced", size(bytes))
            }
            (None, _) => "`writable`".to_owned(),
        };
        lines.push(line(shown(&one.path), &why));
    }
    let data_dirs = launch.data_dirs.iter();
    lines.extend(data_dirs.map(|path| line(shown(path), "`data_dirs`")));
    if launch.program.own_packages().is_some() {
        let what = "its virtual environment";
        lines.push(line(what, "`python.requirements`"));
    }
    let in_memory = |bytes| format!("its own, {} in memory", size(bytes));
    lines.push(line("/tmp", &in_memory(sandbox.tmp.size)));
    lines.push(line("/dev/shm", &in_memory(sandbox.shm)));
    lines
}

fn reaches(network: &Reach) -> Vec<Line> {
    match network {
        Reach::Host => vec![line("all that this machine reaches", "`network: host`")],
        Reach::Listed(egress) => listed(egress),
    }
}

fn listed(egress: &Egress) -> Vec<Line> {
    let mut lines = vec![line("itself, on 127.0.0.1", USUAL)];
    if egress.allowed.is_empty() {
        let why = match egress.capture {
            Capture::Nothing => "`allowed_network` is empty",
            Capture::Transparent | Capture::ProxyOnly => "there is no `allowed_network`",
        };
        lines.push(line("nothing else", why));
        return lines;
    }
    lines.extend(egress.allowed.iter().map(|rule| host(rule, "")));
    lines.extend(egress.blocked.iter().map(|rule| host(rule, "not ")));
    lines.extend(within(egress));
    lines
}

/// What is said about all of its hosts.
fn within(egress: &Egress) -> Vec<Line> {
    let private = egress.private_networks.iter();
    let mut lines: Vec<Line> = private
        .map(|rule| {
            let what = format!("hosts of the list in {}", rule.pattern);
            line(what, &format!("`{}`", rule.key))
        })
        .collect();
    let never = if egress.private_networks.is_empty() {
        "not private networks, nor metadata of a cloud"
    } else {
        "not other private networks, nor metadata of a cloud"
    };
    lines.push(line(never, "whatever the list says"));
    let way = match egress.capture {
        Capture::Transparent => "through the supervisor, also without a proxy",
        Capture::ProxyOnly | Capture::Nothing => "through the proxy in its environment alone",
    };
    lines.push(line(way, "`proxy.transparent`"));
    if egress.sni == Sni::Optional {
        let what = "TLS without the name of its host";
        lines.push(line(what, "`proxy.require_sni: false`"));
    }
    let most = format!("{} connections at once", egress.max_tunnels);
    lines.push(line(most, "`proxy.max_tunnels`"));
    if let Some(most) = egress.per_minute {
        let most = format!("{most} connections a minute");
        lines.push(line(most, "`resources.api_calls_per_minute`"));
    }
    if let Some(most) = egress.max_bytes {
        let most = format!("{} by each connection", size(most));
        lines.push(line(most, "`proxy.max_bytes`"));
    }
    lines
}

fn host(rule: &HostRule, not: &str) -> Line {
    line(format!("{not}{}", rule.pattern), &format!("`{}`", rule.key))
}

fn uses(sandbox: &Sandbox) -> Vec<Line> {
    let calls = match &sandbox.seccomp {
        SystemCalls::Listed { also } if also.is_empty() => {
            line("system calls of a list", "`seccomp: default`")
        }
        SystemCalls::Listed { also } => {
            let what = format!("system calls of a list, and {}", also.join(", "));
            line(what, "`seccomp.also`")
        }
        SystemCalls::Learn => line(
            "system calls of a list, and harmless ones beside; `sandbox learned` counts those",
            "`seccomp: learn`",
        ),
        SystemCalls::Any => line("all system calls", "`seccomp: off`"),
    };
    let mut lines = vec![calls];
    if let Landlock::Require(version) = sandbox.landlock {
        let what = format!("Landlock of version {version} at least");
        lines.push(line(what, "`landlock.require`"));
    }
    lines.push(match sandbox.proc {
        Proc::Masked => line("/proc with its own processes", "`proc: masked`"),
        Proc::Minimal => line("/proc with its own processes alone", "`proc: minimal`"),
    });
    if sandbox.tracing == Tracing::Allowed {
        lines.push(line("ptrace on its own processes", "`debug.ptrace`"));
    }
    lines
}

/// How much it may use, and who said so.
fn limits(spec: &AgentSpec, sandbox: &Sandbox) -> Vec<Line> {
    const MEMORY: &str = "`resources.memory`";
    const PIDS: &str = "`resources.pids`";
    let usual = |key: &str| format!("{USUAL} where groups can be limited; {key} takes its place");
    let Resources {
        cpu_millis,
        memory,
        pids,
    } = &spec.resources;
    let mut lines = Vec::new();
    let in_all = |bytes| format!("{} of memory in all", size(bytes));
    lines.extend(memory.map(|bytes| line(in_all(bytes), MEMORY)));
    let memory = sandbox.usual.memory;
    lines.extend(memory.map(|bytes| line(in_all(bytes), &usual(MEMORY))));
    let in_all = |count| format!("{count} processes and threads");
    lines.extend(pids.map(|count| line(in_all(count), PIDS)));
    let pids = sandbox.usual.pids;
    lines.extend(pids.map(|count| line(in_all(count), &usual(PIDS))));
    lines.push(match cpu_millis {
        Some(millis) => line(
            format!("{} processors", f64::from(*millis) / 1000.0),
            "`resources.cpu`",
        ),
        None => line("any time on processors", "there is no `resources.cpu`"),
    });
    let files = format!("{} open files in each process", sandbox.limits.nofile);
    lines.push(line(files, "`limits.nofile`"));
    if let Some(most) = sandbox.limits.fsize {
        let what = format!("files of {} at most", size(most));
        lines.push(line(what, "`limits.fsize`"));
    }
    lines
}

fn of_unconfined(launch: &Launch) -> Vec<Chapter> {
    let user = launch.user.as_deref();
    let what = match user {
        Some(user) => format!("all that the user {user} can"),
        None => "all that the supervisor's user can".to_owned(),
    };
    vec![chapter(
        "does",
        vec![line(what, "`sandbox.mode` is `none`")],
    )]
}

fn of_container(container: &Container) -> Vec<Chapter> {
    let mut reads = vec![line("the files of its image", "`image`")];
    let mut writes = Vec::new();
    for mount in &container.mounts {
        let source = match &mount.source {
            MountSource::Path(path) => shown(path),
            MountSource::Volume(name) => format!("the volume {name}"),
        };
        let what = format!("{source}, at {}", mount.target.display());
        match mount.access {
            Access::ReadOnly => reads.push(line(what, "`volumes`")),
            Access::ReadWrite => writes.push(line(what, "`volumes`")),
        }
    }
    if container.root == RootFs::Writable {
        let why = "`sandbox.read_only_filesystem: false`";
        writes.push(line("the files of its image, until it ends", why));
    }
    for tmp in &container.tmpfs {
        let why = format!("{} in memory", size(tmp.size));
        writes.push(line(shown(&tmp.target), &why));
    }
    let reached = match &container.network {
        Network::None => vec![line("itself, on 127.0.0.1", "`sandbox.network: none`")],
        Network::Listed(egress) => listed(egress),
        Network::Bridge => {
            let why = "`sandbox.network: bridge`";
            vec![line("all that this machine reaches", why)]
        }
    };
    vec![
        chapter("reads", reads),
        chapter("writes", writes),
        chapter("reaches", reached),
    ]
}

const fn chapter(verb: &'static str, lines: Vec<Line>) -> Chapter {
    Chapter { verb, lines }
}

fn line(what: impl Into<String>, why: &str) -> Line {
    Line {
        what: what.into(),
        why: why.to_owned(),
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use claw_core::sandbox::{Lack, Privilege};
    use claw_daemon::config::{Environment, load_str};

    use super::*;

    fn explained(agent: &str, machine: Option<&Abilities>) -> String {
        let text = format!("project: p\nversion: \"1.0\"\nagents:\n  a: {{{agent}}}\n");
        let path = Path::new("/srv/fleet/openclaw.yaml");
        let loaded = load_str(&text, path, &Environment::with([]));
        let loaded = loaded.unwrap_or_else(|problems| panic!("{problems}"));
        let spec = &loaded.fleet.agents["a"];
        let text = super::text(&explain("a", spec, machine));
        anstream::adapter::strip_str(&text).to_string()
    }

    fn machine() -> Abilities {
        Abilities {
            privilege: Privilege::Root,
            namespaces: Ok(()),
            root_dir: Ok(()),
            proc: Ok(()),
            network: Ok(()),
            landlock: Ok(7),
            seccomp: Ok(()),
            quota: Ok(()),
            process_count: Ok(()),
        }
    }

    #[test]
    fn a_process_is_told_what_it_may_and_by_which_line() {
        let agent = "command: [./coder, --serve], data_dirs: [state], resources: {api_calls_per_minute: 60}, sandbox: {readable: [prompts], writable: [{path: work, size: 1Gi, exec: true}], allowed_network: [api.example.com], blocked_network: [b.example.com], private_networks: [10.0.0.0/8], seccomp: {also: [bpf]}}";
        let said = explained(agent, Some(&machine()));
        for wanted in [
            "confined  level full  a user of its own, a user namespace without capabilities",
            "runs  ./coder --serve",
            "/srv/fleet/prompts",
            "/srv/fleet/work",
            "`writable`, up to 1.0 GiB",
            "`data_dirs`",
            "/srv/fleet/.openclaw",
            "`agents.a.sandbox.allowed_network[0]`",
            "not b.example.com",
            "hosts of the list in 10.0.0.0/8",
            "60 connections a minute",
            "system calls of a list, and bpf",
        ] {
            assert!(said.contains(wanted), "{wanted}\n{said}");
        }
        let lack = Lack {
            call: "open /dev/loop-control".to_owned(),
            errno: 2,
            reason: "ENOENT".to_owned(),
        };
        let without = Abilities {
            quota: Err(lack),
            ..machine()
        };
        let said = explained(agent, Some(&without));
        let soft = "`writable`; its size, 1.0 GiB, is not enforced";
        assert!(said.contains(soft), "{said}");
        let closed = explained(
            "command: run, resources: {memory: 1Gi, cpu: 1.5}, sandbox: {network: none}",
            None,
        );
        for wanted in [
            "`allowed_network` is empty",
            "1.0 GiB of memory in all",
            "`resources.memory`",
            "512 processes and threads",
            "every sandbox has it where groups can be limited; `resources.pids` takes its place",
            "1.5 processors",
        ] {
            assert!(closed.contains(wanted), "{wanted}\n{closed}");
        }
        let closed = explained("command: run", None);
        assert!(closed.contains("there is no `allowed_network`"), "{closed}");
        assert!(closed.contains("nothing else"), "{closed}");
        assert!(!closed.contains("confined"), "{closed}");
    }

    #[test]
    fn a_machine_that_cannot_is_told_as_the_agent_would_be_refused() {
        let lack = Lack {
            call: "unshare".to_owned(),
            errno: 1,
            reason: "EPERM".to_owned(),
        };
        let docker = Abilities {
            namespaces: Err(lack.clone()),
            network: Err(lack),
            ..machine()
        };
        let strict = explained("command: run, sandbox: {mode: process}", Some(&docker));
        assert!(
            strict.contains("not started here: it may reach no host"),
            "{strict}"
        );
        assert!(strict.contains("(unshare: EPERM)"), "{strict}");
        let lax = explained(
            "command: run, sandbox: {on_missing: degrade}",
            Some(&docker),
        );
        assert!(lax.contains("level landlock"), "{lax}");
        assert!(
            lax.contains("degraded: it is not kept from the network"),
            "{lax}"
        );
    }

    #[test]
    fn who_calls_models_is_told_where_they_are() {
        let load = |agent: &str| {
            let text = format!("project: p\nversion: \"1.0\"\nagents:\n  a: {{{agent}}}\n");
            let path = Path::new("/srv/fleet/openclaw.yaml");
            load_str(&text, path, &Environment::with([])).unwrap()
        };
        for agent in [
            "command: run, sandbox: {network: none}",
            "command: run, sandbox: {mode: none}",
            "image: busybox",
        ] {
            let mut spec = AgentSpec::clone(&load(agent).fleet.agents["a"]);
            spec.launch.models = None;
            let said = |spec: &AgentSpec| super::text(&explain("a", spec, None));
            assert!(!said(&spec).contains("models"), "{}", said(&spec));
            spec.launch.models = Some(4141);
            let told = anstream::adapter::strip_str(&said(&spec)).to_string();
            let wanted = "    models  on 127.0.0.1, through the supervisor  `llm`";
            assert!(told.contains(wanted), "{told}");
        }
    }

    #[test]
    fn others_are_told_what_they_are() {
        let plain = explained("command: run, sandbox: {mode: none}", None);
        assert!(
            plain.contains("all that the supervisor's user can"),
            "{plain}"
        );
        let container = explained("image: busybox, volumes: [\"./x:/x:ro\"]", None);
        assert!(container.contains("/srv/fleet/x, at /x"), "{container}");
        assert!(container.contains("`sandbox.network: none`"), "{container}");
    }
}
