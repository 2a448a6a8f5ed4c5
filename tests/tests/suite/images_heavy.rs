//! The images of `sandbox-images/`, built as users build them, and a fleet that runs on them.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use claw_daemon::api::{RunState, State};

use crate::fleet::{Engine, Fleet, root, within};

const TEST: &str = "a_fleet_runs_on_the_images_of_this_tree";

/// Chromium takes its time to come up on a machine that does much else.
const UP: Duration = Duration::from_secs(120);

const PYTHON: &str = "\
import os, pathlib
from openclaw import Agent

class Counter(Agent):
    async def run(self):
        count = await self.state.update('count', lambda n: n + 1, 0)
        self.logger.info('run %d as %d', count, os.getuid())
        pathlib.Path('/app/agent.py').read_text()
        try:
            pathlib.Path('/written').touch()
        except OSError as error:
            self.logger.info('refused: %s', error.strerror)
";

const NODE: &str = "\
const fs = require('fs'), os = require('os');
console.log('node as', process.getuid(), 'speaks with', process.env.OPENCLAW_AGENT);
try { fs.writeFileSync('/written', ''); } catch (error) { console.log('refused:', error.code); }
console.log('networks:', Object.keys(os.networkInterfaces()).join());
setInterval(() => {}, 1000);
";

const COMMANDS: &str = "id -u; echo '[1,2]' | jq -c 'map(. + 1)'; git init -q /tmp/a && \
    cd /tmp/a && echo needle > file && git add file && rg --no-line-number --with-filename needle file; \
    touch /written 2>/dev/null || echo refused; \
    curl --silent --max-time 5 http://1.1.1.1/ || echo unreachable";

/// Builds the images; `None`, and said, where they are not wanted or there is nothing to begin from.
fn build(engine: &Engine) -> Option<()> {
    let skip = |why: &str| {
        eprintln!("SKIP {TEST}: {why}");
        None
    };
    if std::env::var("CLAW_IMAGES").is_ok_and(|wanted| wanted == "0") {
        return skip("CLAW_IMAGES is 0");
    }
    if std::env::var("CLAW_IMAGES").is_err() {
        return skip("building images takes minutes, and CLAW_IMAGES=1 is not set");
    }
    let built = Command::new(root().join("scripts/images"))
        .env("DOCKER_HOST", &engine.address)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&built.stderr);
    if said.contains("cannot be had") {
        return skip(said.lines().last().unwrap_or_default());
    }
    assert!(built.status.success(), "{said}");
    Some(())
}

fn await_running(fleet: &Fleet, name: &str) {
    within(UP, &format!("{name} is up"), || {
        let agent = fleet.agent(name);
        (agent.state == State::Running && agent.ready).then_some(())
    });
}

/// How the engine was told to confine an agent's only container.
fn confinement(engine: &Engine, fleet: &Fleet, name: &str) -> String {
    let containers = engine.containers(name, &fleet.path(""));
    let format = "{{.Config.User}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} \
                  {{.HostConfig.NetworkMode}} {{.HostConfig.SecurityOpt}}";
    let asked = engine.docker(&["inspect", "--format", format, &containers[0]]);
    asked.unwrap()
}

#[test]
fn a_fleet_runs_on_the_images_of_this_tree() {
    let Some(engine) = Engine::find(TEST) else {
        return;
    };
    if build(&engine).is_none() {
        return;
    }
    let memory = "tmp: {size: 256Mi}, shm: 256Mi";
    let agents = format!(
        "  python: {{image: openclaw/agent-python, command: [agent.py], mode: worker, volumes: [\"./app:/app:ro\"]}}\n  \
           node: {{image: openclaw/agent-node, command: [agent.js], volumes: [\"./app:/app:ro\"]}}\n  \
           browser: {{image: openclaw/sandbox-browser, resources: {{memory: 1Gi}}, sandbox: {{{memory}}}, \
             health_check: {{readiness: {{http: {{port: 9222, path: /json/version}}, interval: 500ms}}}}}}\n\
         sandboxes: {{tools: {{image: openclaw/sandbox-tools}}}}\n"
    );
    let mut fleet = Fleet::with(&format!("engine: \"{}\"", engine.address), &agents);
    fs::create_dir(fleet.path("app")).unwrap();
    fs::write(fleet.path("app/agent.py"), PYTHON).unwrap();
    fs::write(fleet.path("app/agent.js"), NODE).unwrap();
    fleet.up();
    for name in ["python", "node", "browser"] {
        await_running(&fleet, name);
        let asked = confinement(&engine, &fleet, name);
        let expected = "1000:1000 true [ALL] none [no-new-privileges";
        assert!(asked.starts_with(expected), "{name}: {asked}");
    }
    fleet.run(&["trigger", "python", "--wait"]).ok();
    assert_eq!(fleet.runs("python")[0].state, RunState::Succeeded);
    fleet.await_output("python", "run 1 as 1000");
    fleet.await_output("python", "refused: Read-only file system");
    fleet.await_output("node", "node as 1000 speaks with node");
    fleet.await_output("node", "refused: EROFS");
    fleet.await_output("node", "networks: lo");
    let ran = fleet.run(&["sandbox", "run", "tools", "--", "sh", "-c", COMMANDS]);
    let expected = "1000\n[2,3]\nfile:needle\nrefused\nunreachable\n";
    assert_eq!(ran.ok(), expected);
    assert_eq!(fleet.agent("browser").restarts, 0);
    fleet.down();
}
