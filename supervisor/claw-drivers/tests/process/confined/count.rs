//! Limits to the number of processes where there are no cgroups.

use claw_core::ExitStatus;
use claw_core::sandbox::{Abilities, Lack, Layer};
use claw_core::spec::sandbox::OnMissing;
use claw_drivers::process::{Backend, CgroupChoice};

use super::{confined, run, whole};
use crate::world::{SetUp, World, eventually, lives, script};

/// Makes processes for as long as it can, which then stay, and says what the kernel answered and how
/// many there are at last; threads are counted alike. Ends once there is a file `done`.
///
/// Two that are made at the same moment refuse each other the last place, so it goes on until that
/// one is taken as well.
const BOMB: &str = r#"
import errno, os, sys, threading, time

def own():
    count = 0
    for name in os.listdir("/proc"):
        try:
            count += name.isdigit() and os.stat("/proc/" + name).st_uid == os.getuid()
        except FileNotFoundError:
            pass
    return count

def fork():
    try:
        child = os.fork()
    except OSError as error:
        return errno.errorcode[error.errno]
    if child == 0:
        while fork() is None:
            pass
        time.sleep(4006)
        os._exit(0)
    return None

made = 0
while (refused := fork()) is None:
    made += 1
    if made > 1000:
        refused = "unlimited"
        break
    time.sleep(0.01)
print(refused)
while own() < 20:
    fork()
try:
    threading.Thread(target=time.sleep, args=(1,)).start()
    print("a thread")
except RuntimeError:
    print("no thread")
print(own(), flush=True)
while not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
os._exit(0)
"#;

fn without_groups(abilities: Option<Abilities>) -> SetUp {
    SetUp {
        choice: CgroupChoice::Only(Backend::None),
        abilities,
        ..SetUp::default()
    }
}

/// The machine, if processes can be counted here; says so if not.
fn counting(test: &str) -> Option<Abilities> {
    let machine = whole(test)?;
    match &machine.process_count {
        Ok(()) => Some(machine),
        Err(lack) => {
            eprintln!("SKIP {test}: {lack}");
            None
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_bomb_without_a_cgroup_ends_at_the_limit_and_harms_nobody() {
    let test = "a_fork_bomb_without_a_cgroup_ends_at_the_limit_and_harms_nobody";
    let Some(machine) = counting(test) else {
        return;
    };
    let mut world = World::set(without_groups(Some(machine))).await;
    let sleeper = confined(
        &world,
        &["/bin/sh", "-c", "while :; do /bin/true; done"],
        |_| {},
    );
    let (_, other) = world.started(sleeper).await;
    let done = world.file("own/done");
    let command = ["python3", "-c", BOMB, &done.to_string_lossy()];
    let mut spec = confined(&world, &command, |_| {});
    spec.resources.pids = Some(20);
    let (instance, _) = world.started(spec).await;
    let plan = world.driver().plan_of(&instance).unwrap();
    assert!(plan.layers.contains(&Layer::ProcessCount), "{plan:?}");
    eventually("its end", || world.log(&instance).lines().count() >= 3).await;
    let said = world.log(&instance);
    let lines: Vec<&str> = said.lines().collect();
    // Itself, what it made and what that made.
    assert_eq!(lines, ["EAGAIN", "no thread", "20"], "{said}");
    // One of the same user without a sandbox, and one in another.
    let (plain, _) = world.started(script("true & true & wait")).await;
    assert_eq!(world.gone(&plain).await.status, ExitStatus::Code(0));
    assert!(lives(other));
    std::fs::write(done, "").unwrap();
    assert_eq!(world.gone(&instance).await.status, ExitStatus::Code(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_agents_of_one_user_are_counted_apart() {
    let Some(machine) = counting("two_agents_of_one_user_are_counted_apart") else {
        return;
    };
    let mut world = World::set(without_groups(Some(machine))).await;
    let text = "for n in 1 2 3 4 5 6; do sleep 4007 & done; echo up; wait";
    let mut full = confined(&world, &["/bin/sh", "-c", text], |_| {});
    full.resources.pids = Some(7);
    world.started(full.clone()).await;
    let (second, _) = world.started(full).await;
    eventually("both", || world.log(&second).matches("up").count() == 2).await;
    assert!(
        !world.log(&second).contains("fork"),
        "{}",
        world.log(&second)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn root_counts_by_the_user_of_the_agent_where_there_are_no_namespaces() {
    let test = "root_counts_by_the_user_of_the_agent_where_there_are_no_namespaces";
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let Some(machine) = whole(test) else {
        return;
    };
    let lack = Lack {
        call: "unshare".to_owned(),
        errno: 1,
        reason: "EPERM".to_owned(),
    };
    let machine = Abilities {
        namespaces: Err(lack),
        ..machine
    };
    let mut world = World::set(without_groups(Some(machine))).await;
    let command = ["python3", "-u", "-c", BOMB, "/"];
    let mut spec = confined(&world, &command, |sandbox| {
        sandbox.on_missing = OnMissing::Degrade;
    });
    spec.resources.pids = Some(20);
    let (status, said, _) = run(&mut world, spec).await;
    assert_eq!(status, ExitStatus::Code(0), "{said}");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines, ["EAGAIN", "no thread", "20"], "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nothing_counts_is_refused_with_its_limit() {
    let Some(machine) = whole("what_nothing_counts_is_refused_with_its_limit") else {
        return;
    };
    let lack = Lack {
        call: "RLIMIT_NPROC".to_owned(),
        errno: 11,
        reason: "EAGAIN".to_owned(),
    };
    let machine = Abilities {
        process_count: Err(lack),
        ..machine
    };
    let mut world = World::set(without_groups(Some(machine))).await;
    let mut spec = confined(&world, &["true"], |_| {});
    spec.resources.pids = Some(20);
    let instance = world.spawn(spec.clone());
    let error = world.spawn_failed(&instance).await;
    let detail = "`resources.pids` of `agent` cannot be enforced: there are no usable cgroups";
    assert_eq!(error.detail, detail);
    // Memory is counted by nothing but a cgroup.
    spec.resources.pids = None;
    spec.resources.memory = Some(64 << 20);
    let instance = world.spawn(spec);
    let error = world.spawn_failed(&instance).await;
    assert!(
        error.detail.starts_with("`resources.memory` of `agent`"),
        "{}",
        error.detail
    );
}
