//! The end of a fleet: in order if that works, by force if not, and nothing stays behind.

use std::fs;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::patience::until;
use super::{Fleet, Process};

impl Fleet {
    /// Ends the supervisor in order, hastily, or by force, whichever works.
    fn end(&mut self) {
        let Some(mut child) = self.supervisor.take() else {
            return;
        };
        self.spawners
            .extend(Process::spawners_of(child.id().cast_signed()));
        for _ in 0..2 {
            if let Some(process) = Process::of(child.id().cast_signed()) {
                process.signal(Signal::CONT);
                process.signal(Signal::TERM);
            }
            if ends_within(&mut child, Duration::from_secs(5)) {
                return;
            }
        }
        drop(child.kill());
        drop(child.wait());
    }

    /// Kills whatever is left, and removes its groups.
    fn clear(&self) {
        let mut groups = Vec::new();
        let cleared = (0..100).any(|_| {
            let left = self.processes();
            for process in &left {
                groups.extend(process.groups());
                process.signal(Signal::KILL);
            }
            left.is_empty() || !ends_soon(&left)
        });
        assert!(cleared, "processes that cannot be killed");
        for (controllers, group) in groups {
            remove_group(&controllers, &group);
        }
    }
}

fn ends_soon(processes: &[Process]) -> bool {
    let mut looks = 0;
    until("killed processes end", || {
        looks += 1;
        (looks > 20 || processes.iter().all(|process| !process.lives())).then_some(())
    });
    true
}

fn ends_within(child: &mut Child, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    until("the supervisor ends", || {
        let ended = child.try_wait().unwrap().is_some();
        (ended || Instant::now() > deadline).then_some(ended)
    })
}

/// Removes a group that a killed fleet left, if it is one that nobody else can be in.
fn remove_group(controllers: &str, group: &str) {
    let names = [
        controllers,
        controllers.trim_start_matches("name="),
        "unified",
        "",
    ];
    for name in names {
        let path = Path::new("/sys/fs/cgroup")
            .join(name)
            .join(group.trim_start_matches('/'));
        if group.len() > 1 {
            // One that is not empty is not removed by this, and does not have to be.
            fs::remove_dir(path).ok();
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let was_up = self.supervisor.is_some();
        if std::thread::panicking() {
            eprintln!("the supervisor said:\n{}", self.said());
        }
        self.end();
        let orderly = was_up && !std::thread::panicking();
        if orderly {
            self.assert_empty();
        }
        self.clear();
    }
}
