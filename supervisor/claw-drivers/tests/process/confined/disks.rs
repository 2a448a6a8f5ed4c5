//! Directories of a fixed size.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use claw_core::memory::Recovered;
use claw_core::sandbox::Layer;
use claw_core::spec::container::Exec;
use claw_core::spec::sandbox::Writable;
use claw_core::{AgentSpec, ExitStatus, InstanceId, Order, SpawnStage};
use claw_drivers::Driver;

use super::{confined, run, whole};
use crate::world::{World, eventually, line_of, lives, stat};

const MIB: u64 = 1 << 20;

/// Whether there can be such directories; says so if not.
fn limited(test: &str) -> bool {
    match whole(test).map(|abilities| abilities.quota) {
        Some(Ok(())) => true,
        Some(Err(lack)) => {
            eprintln!("SKIP {test}: {lack}");
            false
        }
        None => false,
    }
}

/// An agent with a shell script that has a directory `sized`.
fn sized(world: &World, size: u64, script: &str) -> AgentSpec {
    let path = world.file("sized");
    let script = format!("cd {} && {script}", path.display());
    confined(world, &["/bin/sh", "-c", &script], |sandbox| {
        sandbox.writable.push(Writable {
            path: path.clone(),
            size: Some(size),
            exec: Exec::Denied,
        });
    })
}

async fn run_sized(world: &mut World, size: u64, script: &str) -> (ExitStatus, String, InstanceId) {
    let spec = sized(world, size, script);
    run(world, spec).await
}

fn image(world: &World) -> PathBuf {
    let dir = world.file("data/agents/agent/disks");
    let mut found = std::fs::read_dir(dir).unwrap();
    let path = found.next().unwrap().unwrap().path();
    assert!(found.next().is_none());
    path
}

/// Devices and mounts of the host that have to do with what lies below a directory.
fn traces(dir: &Path) -> Vec<String> {
    let dir = dir.to_string_lossy();
    let devices = std::fs::read_dir("/sys/block").unwrap().flatten();
    let files = devices
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("loop/backing_file")).ok());
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mounts = mounts.lines().map(str::to_owned);
    files
        .chain(mounts)
        .filter(|line| line.contains(&*dir))
        .collect()
}

async fn left_nothing(world: &World) {
    eventually("the end of its devices", || {
        traces(world.dir.path()).is_empty()
    })
    .await;
}

async fn end(world: &mut World, instance: &InstanceId) {
    world.order(Order::Kill {
        instance: instance.clone(),
    });
    world.gone(instance).await;
}

const FILL: &str = r#"
import errno, os

def until_full(act):
    done = 0
    try:
        while True:
            done += act(done)
    except OSError as error:
        return done, errno.errorcode[error.errno]

def data(done):
    return os.write(file, b"x" * 65536)

file = os.open("data", os.O_CREAT | os.O_WRONLY)
total, error = until_full(data)
print("data", total >> 20, error)
os.close(file)
os.remove("data")

file = os.open("reserved", os.O_CREAT | os.O_WRONLY)
try:
    os.posix_fallocate(file, 0, 64 << 20)
    print("fallocate done")
except OSError as error:
    print("fallocate", errno.errorcode[error.errno])
os.ftruncate(file, 0)
os.ftruncate(file, 1 << 36)
os.lseek(file, 1 << 35, os.SEEK_SET)
total, error = until_full(data)
print("sparse", total >> 20, error)
os.close(file)
os.remove("reserved")

os.mkdir("small")
def touch(done):
    os.close(os.open(f"small/{done}", os.O_CREAT | os.O_WRONLY))
    return 1
total, error = until_full(touch)
print("files", 1000 < total < 4096, error)
for name in os.listdir("small"):
    os.remove("small/" + name)

def deeper(done):
    os.mkdir("d")
    os.chdir("d")
    return 1
total, error = until_full(deeper)
print("directories", 1000 < total < 4096, error)
"#;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_it_is_filled_with_ends_at_its_size() {
    if !limited("whatever_it_is_filled_with_ends_at_its_size") {
        return;
    }
    let mut world = World::new().await;
    let script = world.file("own/fill.py");
    std::fs::create_dir_all(script.parent().unwrap()).unwrap();
    std::fs::write(&script, FILL).unwrap();
    let spec = sized(&world, 16 * MIB, &format!("python3 {}", script.display()));
    let (status, said, instance) = run(&mut world, spec).await;
    assert_eq!(status, ExitStatus::Code(0), "{said}");
    let lines: Vec<&str> = said.lines().collect();
    let expected = [
        "data 15 ENOSPC",
        "fallocate ENOSPC",
        "sparse 15 ENOSPC",
        "files True ENOSPC",
        "directories True ENOSPC",
    ];
    assert_eq!(lines, expected);
    let plan = world.driver().plan_of(&instance);
    assert!(plan.is_none_or(|plan| plan.layers.contains(&Layer::Quota)));
    let found = image(&world).metadata().unwrap();
    assert_eq!(found.len(), 16 * MIB);
    assert!(found.blocks() * 512 <= 16 * MIB, "{}", found.blocks());
    let host = std::fs::read_dir(world.file("sized")).unwrap();
    assert_eq!(host.count(), 0);
    left_nothing(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_outlives_the_agent_and_its_supervisor() {
    if !limited("what_was_written_outlives_the_agent_and_its_supervisor") {
        return;
    }
    let mut world = World::new().await;
    let ready = world.file("own/ready");
    let script = format!(
        "ls -A; stat -c %u-%g .; echo kept > note; echo > {}; exec sleep 4003",
        ready.display()
    );
    let spec = sized(&world, 8 * MIB, &script);
    let (first, _) = world.started(spec.clone()).await;
    eventually("the first note", || ready.exists()).await;
    assert_eq!(world.log(&first), "1000-1000\n");
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains("/dev/loop"), "{mounts}");
    let command = [
        "/bin/cat".to_owned(),
        world.file("sized/note").display().to_string(),
    ];
    let patience = Duration::from_secs(20);
    let seen = world.driver().execute(&first, &spec, &command, patience);
    assert_eq!(seen.await.unwrap().output, "kept\n");
    world.crash();
    world.restart().await;
    let open = world.open(&first);
    let recovered = world.driver().recover(vec![open]).await;
    assert!(matches!(
        recovered[..],
        [(_, None, Recovered::Alive { .. })]
    ));
    end(&mut world, &first).await;
    left_nothing(&world).await;
    let again = sized(&world, 8 * MIB, "cat note; touch fresh");
    let (status, said, _) = run(&mut world, again).await;
    assert_eq!((status, &*said), (ExitStatus::Code(0), "1000-1000\nkept\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_lives_of_an_agent_share_it() {
    if !limited("two_lives_of_an_agent_share_it") {
        return;
    }
    let mut world = World::new().await;
    let ready = world.file("own/ready");
    let script = format!(
        "echo shared > note; echo > {}; exec sleep 4004",
        ready.display()
    );
    let (first, _) = world.started(sized(&world, 8 * MIB, &script)).await;
    eventually("the first note", || ready.exists()).await;
    let (status, said, _) = run_sized(&mut world, 8 * MIB, "cat note").await;
    assert_eq!((status, &*said), (ExitStatus::Code(0), "shared\n"));
    assert_eq!(traces(world.dir.path()).len(), 1);
    end(&mut world, &first).await;
    left_nothing(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_when_all_are_killed() {
    if !limited("nothing_is_left_when_all_are_killed") {
        return;
    }
    let mut world = World::new().await;
    let pid = world.file("own/pid");
    let script = format!(
        "echo up > {}; setsid sleep 4005 & exec sleep 4005",
        pid.display()
    );
    let (_, main) = world.started(sized(&world, 8 * MIB, &script)).await;
    line_of(&pid).await;
    assert_eq!(traces(world.dir.path()).len(), 1);
    let keeper = stat(main).unwrap().parent;
    let shim = stat(keeper).unwrap().parent;
    let spawner = world.driver().spawner_pid().await.unwrap();
    for pid in [spawner.cast_signed(), shim, keeper, main] {
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
    }
    eventually("their end", || !lives(main) && !lives(keeper)).await;
    left_nothing(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_grows_and_never_shrinks() {
    if !limited("it_grows_and_never_shrinks") {
        return;
    }
    let mut world = World::new().await;
    let count = "stat -f -c %b .; cat note 2> /dev/null; echo first > note";
    let (_, small, _) = run_sized(&mut world, 8 * MIB, count).await;
    let blocks: u64 = small.trim().parse().unwrap();
    assert!((1_700..=2_048).contains(&blocks), "{blocks}");
    let (_, both, _) = run_sized(&mut world, 200 * MIB, count).await;
    let large: Vec<&str> = both.lines().skip(1).collect();
    let blocks: u64 = large[0].parse().unwrap();
    assert!((47_000..=51_200).contains(&blocks), "{blocks}");
    assert_eq!(large[1], "first");
    let instance = world.spawn(sized(&world, 8 * MIB, count));
    let error = world.spawn_failed(&instance).await;
    assert_eq!(error.stage, SpawnStage::Sandbox);
    assert!(
        error
            .detail
            .contains("is never made smaller; write 209715200 or more"),
        "{}",
        error.detail
    );
    left_nothing(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_limited_is_refused_with_the_way_out() {
    if !limited("what_cannot_be_limited_is_refused_with_the_way_out") {
        return;
    }
    let mut world = World::new().await;
    let path = world.file("sized");
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("precious"), "mine").unwrap();
    let instance = world.spawn(sized(&world, 8 * MIB, "true"));
    let error = world.spawn_failed(&instance).await;
    assert_eq!(error.stage, SpawnStage::Sandbox);
    assert!(error.detail.contains("it holds files"), "{}", error.detail);
    assert!(!world.file("data/agents/agent/disks").exists());
    std::fs::remove_file(path.join("precious")).unwrap();
    let (status, _, _) = run_sized(&mut world, 8 * MIB, "true").await;
    assert_eq!(status, ExitStatus::Code(0));
    std::fs::write(image(&world), "no file system").unwrap();
    let instance = world.spawn(sized(&world, 8 * MIB, "true"));
    let error = world.spawn_failed(&instance).await;
    assert_eq!(error.stage, SpawnStage::Sandbox);
    assert!(
        error.detail.contains("holds no file system"),
        "{}",
        error.detail
    );
    left_nothing(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_line_of_the_file_is_no_way_around_a_size() {
    if !limited("another_line_of_the_file_is_no_way_around_a_size") {
        return;
    }
    let mut world = World::new().await;
    let script = "dd if=/dev/zero of=zeros bs=1M count=40 2> /dev/null; stat -c %s zeros";
    let mut spec = sized(&world, 8 * MIB, script);
    let path = world.file("sized");
    std::fs::create_dir(&path).unwrap();
    super::open_to_all(&path);
    // In a larger directory that is written to, and once more as one that is made.
    spec.launch.data_dirs = vec![world.file("own"), path.clone()];
    let sandbox = spec.launch.sandbox.as_mut().unwrap();
    sandbox.readable.push(path);
    let (_, said, _) = run(&mut world, spec).await;
    let written: u64 = said.trim().parse().unwrap();
    assert!((6 * MIB..8 * MIB).contains(&written), "{written}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_with_the_user_of_its_agent() {
    if !limited("it_goes_with_the_user_of_its_agent") {
        return;
    }
    let mut world = World::new().await;
    let script = "mkdir -p a/b; echo one > a/b/c; ln -sf /etc/passwd link";
    run_sized(&mut world, 8 * MIB, script).await;
    let mut spec = sized(&world, 8 * MIB, "echo two >> a/b/c; cat a/b/c");
    spec.launch.user = Some("nobody".to_owned());
    let (status, said, _) = run(&mut world, spec).await;
    assert_eq!((status, &*said), (ExitStatus::Code(0), "one\ntwo\n"));
    assert_eq!(std::fs::metadata("/etc/passwd").unwrap().uid(), 0);
}
