//! What an agent sees and whose it is.

use std::os::unix::fs::MetadataExt;

use claw_core::sandbox::Level;
use claw_core::spec::container::Exec;
use claw_core::spec::sandbox::{Scratch, Writable};
use claw_core::{ExitStatus, SpawnStage};

use super::{confined, open_to_all, run, whole};
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_named_is_at_its_own_path() {
    if whole("what_is_named_is_at_its_own_path").is_none() {
        return;
    }
    let mut world = World::new().await;
    let (real, link) = (world.file("real"), world.file("link"));
    std::fs::create_dir_all(real.join("deep")).unwrap();
    std::fs::write(real.join("deep/file"), "seen\n").unwrap();
    std::fs::write(world.file("hidden"), "").unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let script = format!(
        "exec 2>&1; cat {link}/deep/file {real}/deep/file; ls {dir}; echo x > {link}/new; echo x > {own}/new; \
         id -un; id -u; hostname; echo ~; pwd",
        link = link.display(),
        real = real.display(),
        dir = world.dir.path().display(),
        own = world.file("own").display(),
    );
    let mut spec = confined(&world, &["/bin/sh", "-c", &script], |sandbox| {
        sandbox.readable.push(link.clone());
    });
    spec.launch.working_dir.clone_from(&real);
    let (status, text, _) = run(&mut world, spec).await;
    assert_eq!(status, ExitStatus::Code(0), "{text}");
    let there = format!("{}", real.display());
    let denied = format!(
        "/bin/sh: 1: cannot create {}/new: Read-only file system",
        link.display()
    );
    let expected = [
        "seen",
        "seen",
        "link",
        "own",
        "real",
        &denied,
        "agent",
        "1000",
        "agent",
        "/tmp/home",
        &there,
    ];
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines, expected);
    assert!(world.file("own/new").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_is_not_there_is_refused_by_name() {
    if whole("a_path_that_is_not_there_is_refused_by_name").is_none() {
        return;
    }
    let mut world = World::new().await;
    let spec = confined(&world, &["true"], |sandbox| {
        sandbox.readable.push("/nonexistent/models".into());
    });
    let instance = world.spawn(spec);
    let error = world.spawn_failed(&instance).await;
    assert_eq!(error.stage, SpawnStage::Sandbox);
    assert_eq!(
        error.detail,
        "`/nonexistent/models`, of `readable`, is not there; make it, or remove it from `readable`"
    );
    let spec = confined(&world, &["true"], |sandbox| {
        sandbox.readable.push("/proc/1".into());
    });
    let instance = world.spawn(spec);
    let error = world.spawn_failed(&instance).await;
    assert!(error.detail.contains("none of `/proc`"), "{}", error.detail);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_an_agent_planted_leads_nowhere() {
    if whole("a_link_that_an_agent_planted_leads_nowhere").is_none() {
        return;
    }
    let mut world = World::new().await;
    let spec = confined(&world, &["true"], |_| {});
    drop(spec);
    let planted = world.file("own/models");
    std::os::unix::fs::symlink("/etc", &planted).unwrap();
    // Executable ones of its own make it a mount of its own.
    let spec = confined(&world, &["true"], |sandbox| {
        sandbox.writable[0].exec = Exec::Denied;
        sandbox.writable.push(Writable {
            path: planted.clone(),
            size: None,
            exec: Exec::Allowed,
        });
    });
    let instance = world.spawn(spec);
    let error = world.spawn_failed(&instance).await;
    assert_eq!(error.errno, nix::libc::ELOOP, "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_hold_and_programs_run_where_they_may() {
    if whole("sizes_hold_and_programs_run_where_they_may").is_none() {
        return;
    }
    let mut world = World::new().await;
    let script = "exec 2> /dev/null; head -c 900000 /dev/zero > /tmp/a && echo fits; \
                  head -c 2000000 /dev/zero > /tmp/b || echo full; \
                  head -c 2000000 /dev/zero > /dev/shm/b || echo full; \
                  rm /tmp/a /tmp/b; cp /bin/true /tmp/true && /tmp/true || echo denied; \
                  cp /bin/true /dev/shm/true && /dev/shm/true || echo denied";
    let spec = confined(&world, &["/bin/sh", "-c", script], |sandbox| {
        sandbox.tmp = Scratch {
            size: 1 << 20,
            exec: Exec::Denied,
        };
        sandbox.shm = 1 << 20;
    });
    let (_, text, _) = run(&mut world, spec).await;
    let said = |word: &str| text.lines().filter(|line| *line == word).count();
    assert_eq!(
        (said("fits"), said("full"), said("denied")),
        (1, 2, 2),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_kept_from_one_supervisor_to_the_next() {
    if whole("a_plan_is_kept_from_one_supervisor_to_the_next").is_none() {
        return;
    }
    let mut world = World::new().await;
    let spec = confined(&world, &["sleep", "1000"], |_| {});
    let (instance, _) = world.started(spec).await;
    let plan = world.driver().plan_of(&instance).unwrap();
    assert_eq!(plan.level, Level::Full);
    world.crash();
    world.restart().await;
    use claw_drivers::Driver;
    world.driver().recover(vec![world.open(&instance)]).await;
    assert_eq!(world.driver().plan_of(&instance), Some(plan));
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_are_their_agents() {
    if whole("directories_are_their_agents").is_none() {
        return;
    }
    let mut world = World::new().await;
    let (made, ours) = (world.file("made"), world.file("data/agents/agent/kept"));
    std::fs::create_dir_all(&ours).unwrap();
    std::fs::write(ours.join("old"), "old").unwrap();
    let script = format!(
        "echo x > {}/x && echo y >> {}/old && echo fine",
        made.display(),
        ours.display()
    );
    let mut spec = confined(&world, &["/bin/sh", "-c", &script], |_| {});
    spec.launch.data_dirs = vec![made.clone(), ours.clone()];
    let (status, text, _) = run(&mut world, spec).await;
    assert_eq!((status, &*text), (ExitStatus::Code(0), "fine\n"));
    let owner = made.metadata().unwrap().uid();
    assert_eq!(ours.join("old").metadata().unwrap().uid(), owner);
    let own = nix::unistd::geteuid().as_raw();
    let expected = if own == 0 {
        200_000..265_536
    } else {
        own..own + 1
    };
    assert!(expected.contains(&owner), "{owner}");
    if own == 0 {
        let foreign = world.file("foreign");
        std::fs::create_dir(&foreign).unwrap();
        let mut spec = confined(&world, &["true"], |_| {});
        spec.launch.data_dirs = vec![foreign.clone()];
        let instance = world.spawn(spec);
        let error = world.spawn_failed(&instance).await;
        let way_out = format!("`chown -R {owner}:{owner} {}`", foreign.display());
        assert!(error.detail.contains(&way_out), "{}", error.detail);
        open_to_all(&foreign);
    }
}
