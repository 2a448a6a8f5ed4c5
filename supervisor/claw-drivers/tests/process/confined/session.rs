//! Commands beside a sandboxed agent, and what is learned of its calls.

use claw_core::spec::sandbox::{Egress, HostRule, Reach, SystemCalls};
use claw_core::{ExitStatus, Order};
use claw_drivers::sandbox::Verdict;
use claw_drivers::session::{SessionEnd, SessionOptions};

use super::{confined, whole};
use crate::session::{finish, open, terminal};
use crate::world::{SetUp, World};

const PIPES: SessionOptions = SessionOptions {
    timeout: None,
    terminal: None,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_where_the_agent_is() {
    if whole("a_session_is_where_the_agent_is").is_none() {
        return;
    }
    let mut world = World::new().await;
    let script = "echo there > /tmp/of-the-agent; exec sleep 4000";
    let spec = confined(&world, &["/bin/sh", "-c", script], |_| {});
    let (instance, main) = world.started(spec.clone()).await;
    let script = "until cat /tmp/of-the-agent 2> /dev/null; do sleep 0.02; done; id -u; \
                  grep -E '^(Seccomp|NoNewPrivs|CapEff):' /proc/self/status; \
                  for kind in user mnt pid net ipc uts; do readlink /proc/self/ns/$kind; done; \
                  echo again > /dev/stderr; ls /root; exit 3";
    for options in [PIPES, terminal()] {
        let is_terminal = options.terminal.is_some();
        let command = ["/bin/sh", "-c", script];
        let session = open(&world, &instance, &spec, &command, options).await;
        let (printed, errors, end) = finish(session).await;
        let printed = printed.replace('\r', "") + &errors;
        let namespaces = ["user", "mnt", "pid", "net", "ipc", "uts"].map(|kind| {
            let link = std::fs::read_link(format!("/proc/{main}/ns/{kind}")).unwrap();
            link.to_string_lossy().into_owned()
        });
        let mut wanted = vec!["there".to_owned(), "1000".to_owned()];
        wanted.extend(["CapEff:\t0000000000000000", "NoNewPrivs:\t1"].map(str::to_owned));
        wanted.extend(namespaces);
        if !is_terminal {
            // Rules about files know of no terminal, so that one is not opened by its name.
            wanted.push("again".to_owned());
        }
        for line in wanted {
            assert!(printed.contains(&line), "{line}\n{printed}");
        }
        assert!(printed.contains("Seccomp:\t2"), "{printed}");
        assert!(printed.contains("No such file or directory"), "{printed}");
        assert_eq!(end, Ok(SessionEnd::Exited(ExitStatus::Code(3))));
    }
    world.order(Order::Kill {
        instance: instance.clone(),
    });
    world.gone(&instance).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_knows_the_proxy_of_the_agent() {
    if whole("a_session_knows_the_proxy_of_the_agent").is_none() {
        return;
    }
    let (egress, _changes) = tokio::sync::mpsc::unbounded_channel();
    let mut world = World::set(SetUp {
        egress: Some(egress),
        ..SetUp::default()
    })
    .await;
    let allowed = HostRule {
        pattern: "example.com".to_owned(),
        key: "allowed_network[0]".to_owned(),
    };
    let spec = confined(&world, &["sleep", "4000"], |sandbox| {
        sandbox.network = Reach::Listed(Egress {
            allowed: vec![allowed.clone()],
            ..Egress::default()
        });
    });
    let (instance, main) = world.started(spec.clone()).await;
    let session = open(&world, &instance, &spec, &["env"], PIPES).await;
    let (printed, _, _) = finish(session).await;
    let environment = std::fs::read_to_string(format!("/proc/{main}/environ")).unwrap();
    let proxies: Vec<&str> = environment
        .split('\0')
        .filter(|entry| entry.to_ascii_lowercase().contains("_proxy="))
        .collect();
    assert!(proxies.len() >= 4, "{environment}");
    for entry in proxies {
        assert!(printed.contains(entry), "{entry}\n{printed}");
    }
}

/// Makes calls off the list: two harmless ones, and two that lead out.
const CALLER: &str = "
import ctypes, errno, sys, time
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(number, *arguments)
    return ctypes.get_errno() if result < 0 else 0
ADJTIMEX, PERSONALITY, UNSHARE, MOUNT = 159, 135, 272, 165
buffer = ctypes.create_string_buffer(512)
told = [call(ADJTIMEX, buffer), call(ADJTIMEX, buffer), call(PERSONALITY, 0x0040000)]
told += [call(UNSHARE, 0x10000000), call(MOUNT, None, b'/', None, 0, None), call(1000)]
print('told', *told, flush=True)
if len(sys.argv) > 1:
    time.sleep(4000)
";

#[cfg(target_arch = "x86_64")]
#[tokio::test(flavor = "multi_thread")]
async fn calls_are_learned_and_ways_out_stay_shut() {
    if whole("calls_are_learned_and_ways_out_stay_shut").is_none() {
        return;
    }
    let mut world = World::new().await;
    let command = ["/usr/bin/python3", "-c", CALLER, "stay"];
    let spec = confined(&world, &command, |sandbox| {
        sandbox.seccomp = SystemCalls::Learn
    });
    let (instance, _) = world.started(spec.clone()).await;
    // EPERM is 1, ENOSYS is 38.
    crate::world::eventually("its answers", || world.log(&instance).contains("told")).await;
    let log = world.log(&instance);
    assert!(log.contains("told 0 0 0 1 1 38"), "{log}");
    check(&world, 1).await;
    // The next supervisor is told by the same shim.
    world.crash();
    world.restart().await;
    let open = world.open(&instance);
    claw_drivers::Driver::recover(world.driver(), vec![open]).await;
    check(&world, 1).await;
    world.order(Order::Kill {
        instance: instance.clone(),
    });
    world.gone(&instance).await;
    check(&world, 1).await;
    let again = confined(&world, &command[..3], |sandbox| {
        sandbox.seccomp = SystemCalls::Learn;
    });
    super::run(&mut world, again).await;
    check(&world, 2).await;
}

async fn check(world: &World, lives: u64) {
    let learned = world.driver().learned(&"agent".parse().unwrap()).await;
    let calls: Vec<(&str, u64, Verdict)> = learned
        .iter()
        .map(|call| (call.name.as_str(), call.count, call.verdict))
        .collect();
    for wanted in [
        ("adjtimex", 2 * lives, Verdict::Allowed),
        ("personality", lives, Verdict::Allowed),
        ("unshare", lives, Verdict::Denied),
        ("mount", lives, Verdict::Denied),
        ("#1000", lives, Verdict::Denied),
    ] {
        assert!(calls.contains(&wanted), "{wanted:?} of {calls:?}");
    }
}

#[cfg(target_arch = "x86_64")]
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_learned_is_refused() {
    if whole("what_is_not_learned_is_refused").is_none() {
        return;
    }
    let mut world = World::new().await;
    let spec = confined(&world, &["/usr/bin/python3", "-c", CALLER], |_| {});
    let (_, log, _) = super::run(&mut world, spec).await;
    assert!(log.contains("told 1 1 1 1 1 38"), "{log}");
    let learned = world.driver().learned(&"agent".parse().unwrap()).await;
    assert!(learned.is_empty(), "{learned:?}");
}
