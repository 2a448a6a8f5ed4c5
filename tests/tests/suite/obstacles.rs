//! Control groups that are in the way: one that cannot be made, and one that cannot be emptied.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use claw_daemon::api::State;

use crate::fleet::{Fleet, Process, agent, holds_for, until};

/// Executes what follows where every control group can be read and none can be changed.
const READ_ONLY_GROUPS: &str = "grep -E ' cgroup2? ' /proc/mounts | while read -r _ place _; do \
     mount -o remount,bind,ro \"$place\" || exit 1; done && exec \"$@\"";

/// Row 19 of the fault matrix: a limit that cannot be given is a refusal with its reason, and the
/// agents that want none go on.
#[test]
fn an_agent_whose_limits_cannot_be_enforced_is_refused_and_never_run_without_them() {
    let test = "an_agent_whose_limits_cannot_be_enforced_is_refused_and_never_run_without_them";
    let mut fleet = Fleet::new("");
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIP {test}: only root may mount anything");
        return;
    }
    if !fleet.enforces("pids", test) {
        return;
    }
    let marks = fleet.place("marks");
    let policy = "restart_policy: {initial_delay: 100ms, max_delay: 200ms, max_retries: unlimited}";
    fleet.write(
        "",
        &[
            agent(
                "limited",
                &["mark", &marks, "forever"],
                &format!("resources: {{pids: 20}}, {policy}"),
            ),
            agent("free", &["forever"], ""),
        ]
        .concat(),
    );
    let words = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        READ_ONLY_GROUPS,
        "sh",
    ];
    fleet.set_launcher(words.map(str::to_owned).to_vec());
    fleet.up();
    let free = fleet.await_main("free");
    let refused = fleet.await_agent("limited", "is refused", |agent| {
        agent.instance.is_none() && agent.reason.text.contains("pids")
    });
    assert!(
        matches!(refused.state, State::Error | State::Stopped),
        "{refused:#?}"
    );
    holds_for(Duration::from_secs(1), "it never runs", || {
        fleet.lines("marks").is_empty()
    });
    assert!(free.lives());
    fleet.down();
}

/// A group of the old freezer, in which even SIGKILL waits.
struct Ice {
    group: PathBuf,
}

impl Ice {
    fn around(process: &Process) -> std::io::Result<Self> {
        let group = Path::new("/sys/fs/cgroup/freezer").join(format!("claw-ice-{}", process.pid));
        fs::create_dir(&group)?;
        let ice = Self { group };
        fs::write(ice.group.join("cgroup.procs"), process.pid.to_string())?;
        fs::write(ice.group.join("freezer.state"), "FROZEN")?;
        until("it is frozen", || {
            let state = fs::read_to_string(ice.group.join("freezer.state")).unwrap();
            (state.trim() == "FROZEN").then_some(())
        });
        Ok(ice)
    }

    fn melt(&self) {
        fs::write(self.group.join("freezer.state"), "THAWED").unwrap();
    }
}

impl Drop for Ice {
    fn drop(&mut self) {
        // What is left is thawed, so that the fleet can end it; the group goes once that is gone.
        fs::write(self.group.join("freezer.state"), "THAWED").ok();
        let emptied = || fs::remove_dir(&self.group).is_ok();
        for _ in 0..1_000 {
            if emptied() {
                return;
            }
            std::thread::yield_now();
        }
    }
}

/// Row 20 of the fault matrix: a process that no signal ends, as one in the middle of a call to a
/// disk that hangs. The agent is stopping as long as that is there, and no second one is started.
#[test]
fn an_agent_that_cannot_be_killed_is_stopping_until_it_is_gone_and_has_no_successor() {
    let test = "an_agent_that_cannot_be_killed_is_stopping_until_it_is_gone_and_has_no_successor";
    let mut fleet = Fleet::new("");
    let (marks, child) = (fleet.place("marks"), fleet.place("child"));
    let script = [
        "mark", &marks, "child", "[", "mark", &child, "forever", "]", "forever",
    ];
    let shutdown = "graceful_shutdown: {timeout: 500ms}";
    fleet.write("", &agent("stuck", &script, shutdown));
    fleet.up();
    let main = fleet.await_main("stuck");
    let frozen = fleet.await_mark("child");
    let ice = match Ice::around(&frozen) {
        Ok(ice) => ice,
        Err(error) => {
            eprintln!("SKIP {test}: nothing can be frozen so that it cannot be killed: {error}");
            return;
        }
    };
    let restart = fleet.api().post("/api/agents/stuck/restart", None);
    until("its main process is killed", || {
        (!main.lives()).then_some(())
    });
    holds_for(Duration::from_secs(3), "it is stopping", || {
        let agent = fleet.agent("stuck");
        agent.state == State::Stopping && frozen.lives() && fleet.lines("marks").len() == 1
    });
    ice.melt();
    fleet.await_lines("marks", 2);
    assert!(!frozen.lives(), "two copies at once: {restart:?}");
    fleet.await_state("stuck", State::Running);
    assert_eq!(fleet.ends("stuck").len(), 1);
    drop(ice);
    fleet.down();
}
