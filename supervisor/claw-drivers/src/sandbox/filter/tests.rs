//! The program, run by hand, against the lists it was made of.

use super::*;

/// What the kernel would answer to a call.
pub(crate) fn run(program: &[sock_filter], arch: u32, number: i64, arguments: [u32; 3]) -> u32 {
    let [first, second, third] = arguments;
    run_with(program, arch, number, [first, second, third, 0])
}

fn run_with(program: &[sock_filter], arch: u32, number: i64, arguments: [u32; 4]) -> u32 {
    let (mut at, mut loaded) = (0, 0_u32);
    loop {
        let step = program[at];
        at += 1;
        let jump = |holds| usize::from(if holds { step.jt } else { step.jf });
        match step.code {
            LOAD => {
                loaded = match step.k {
                    NUMBER => u32::try_from(number).unwrap(),
                    ARCH => arch,
                    offset => {
                        let found = (0..4).find(|index| argument(*index) == offset);
                        arguments[usize::try_from(found.unwrap()).unwrap()]
                    }
                };
            }
            RETURN => return step.k,
            EQUAL => at += jump(loaded == step.k),
            AT_LEAST => at += jump(loaded >= step.k),
            ALWAYS => at += usize::try_from(step.k).unwrap(),
            ANY_BIT => at += jump(loaded & step.k != 0),
            other => panic!("an instruction that is not used: {other}"),
        }
    }
}

fn usual() -> Filter {
    Filter {
        otherwise: Otherwise::Fail,
        also: Vec::new(),
        internet: Internet::Allowed,
    }
}

const EPERM: u32 = fail(libc::EPERM);

#[test]
fn each_call_of_a_list_gets_the_lists_answer() {
    let program = compile(&usual());
    assert!(program.len() < 400, "{}", program.len());
    for (name, number) in calls::ALLOWED {
        assert_eq!(run(&program, OWN_ARCH, *number, [0; 3]), ALLOW, "{name}");
    }
    for (name, number) in calls::REFUSED.iter().chain(calls::TRACING) {
        assert_eq!(run(&program, OWN_ARCH, *number, [0; 3]), EPERM, "{name}");
    }
    let later = calls::newest() + 1;
    let unknown = fail(libc::ENOSYS);
    assert_eq!(run(&program, OWN_ARCH, later, [0; 3]), unknown);
}

#[test]
fn the_lists_name_no_call_twice() {
    let lists = [
        calls::ALLOWED,
        calls::CONDITIONAL,
        calls::TRACING,
        calls::REFUSED,
    ];
    let mut numbers: Vec<i64> = lists
        .iter()
        .flat_map(|list| list.iter())
        .map(|c| c.1)
        .collect();
    let count = numbers.len();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), count);
}

#[test]
fn arguments_decide_where_a_call_has_two_sides() {
    let program = compile(&usual());
    let answer = |number, arguments| run(&program, OWN_ARCH, number, arguments);
    let unsigned = libc::c_int::unsigned_abs;
    let [unix, inet, inet6, netlink] = [
        libc::AF_UNIX,
        libc::AF_INET,
        libc::AF_INET6,
        libc::AF_NETLINK,
    ]
    .map(unsigned);
    for (arguments, expected) in [
        ([unix, 1, 0], ALLOW),
        ([inet, 1, 0], ALLOW),
        ([inet6, 2, 0], ALLOW),
        ([inet, 1, 262], fail(libc::EPROTONOSUPPORT)),
        ([netlink, 3, 0], ALLOW),
        ([netlink, 3, 15], EPERM),
        ([unsigned(libc::AF_VSOCK), 1, 0], EPERM),
        ([unsigned(libc::AF_ALG), 5, 0], EPERM),
        ([unsigned(libc::AF_PACKET), 3, 0], EPERM),
    ] {
        assert_eq!(
            answer(libc::SYS_socket, arguments),
            expected,
            "{arguments:?}"
        );
    }
    let thread = unsigned(libc::CLONE_VM | libc::CLONE_THREAD | libc::CLONE_SIGHAND);
    assert_eq!(answer(libc::SYS_clone, [thread, 0, 0]), ALLOW);
    let child = unsigned(libc::SIGCHLD | libc::CLONE_VFORK);
    assert_eq!(answer(libc::SYS_clone, [child, 0, 0]), ALLOW);
    let user = unsigned(libc::CLONE_NEWUSER | libc::SIGCHLD);
    assert_eq!(answer(libc::SYS_clone, [user, 0, 0]), EPERM);
    let modern = answer(libc::SYS_clone3, [0; 3]);
    assert_eq!(modern, fail(libc::ENOSYS));
    assert_eq!(answer(libc::SYS_ioctl, [0, 0x5401, 0]), ALLOW);
    assert_eq!(answer(libc::SYS_ioctl, [0, 0x5412, 0]), EPERM);
    assert_eq!(answer(libc::SYS_personality, [u32::MAX, 0, 0]), ALLOW);
    assert_eq!(answer(libc::SYS_personality, [0x0004_0000, 0, 0]), EPERM);
}

#[test]
fn another_interface_of_the_kernel_is_deadly() {
    let program = compile(&usual());
    let i386 = 0x4000_0003;
    assert_eq!(run(&program, i386, 1, [0; 3]), KILL);
    if cfg!(target_arch = "x86_64") {
        assert_eq!(run(&program, OWN_ARCH, 0x4000_0001, [0; 3]), KILL);
    }
}

#[test]
fn what_a_file_allows_is_allowed() {
    let wanted = ["io_uring_setup", "ptrace"].map(|name| calls::number(name).unwrap());
    let more = compile(&Filter {
        also: wanted.to_vec(),
        ..usual()
    });
    for number in wanted {
        assert_eq!(run(&more, OWN_ARCH, number, [0; 3]), ALLOW);
    }
}

#[test]
fn learning_lets_go_on_what_leads_nowhere_and_nothing_else() {
    let [logging, telling] = [Otherwise::Log, Otherwise::Tell].map(|otherwise| {
        compile(&Filter {
            otherwise,
            ..usual()
        })
    });
    let mbind = calls::number("mbind").unwrap();
    let answer = |program, number| run(program, OWN_ARCH, number, [0; 3]);
    assert_eq!(answer(&logging, mbind), libc::SECCOMP_RET_LOG);
    assert_eq!(answer(&telling, mbind), libc::SECCOMP_RET_USER_NOTIF);
    for (name, number) in calls::REFUSED.iter().chain(calls::TRACING) {
        // It is counted, and refused by whoever counts.
        assert_eq!(
            answer(&telling, *number),
            libc::SECCOMP_RET_USER_NOTIF,
            "{name}"
        );
        if learn::judge(*number) == Verdict::Denied {
            assert_eq!(answer(&logging, *number), EPERM, "{name}");
        }
    }
    let user = libc::CLONE_NEWUSER.unsigned_abs();
    for program in [&logging, &telling] {
        assert_eq!(answer(program, libc::SYS_clone3), fail(libc::ENOSYS));
        assert_eq!(answer(program, libc::SYS_read), ALLOW);
        let apart = run(program, OWN_ARCH, libc::SYS_clone, [user, 0, 0]);
        assert!(apart == EPERM || apart == libc::SECCOMP_RET_USER_NOTIF);
    }
    assert_eq!(answer(&logging, calls::newest() + 1), fail(libc::ENOSYS));
}

#[test]
fn without_the_internet_there_are_local_sockets() {
    let program = compile(&Filter {
        internet: Internet::Denied,
        ..usual()
    });
    let answer = |family: i32| {
        let arguments = [family.unsigned_abs(), 1, 0];
        run(&program, OWN_ARCH, libc::SYS_socket, arguments)
    };
    assert_eq!(answer(libc::AF_UNIX), ALLOW);
    assert_eq!(answer(libc::AF_INET), EPERM);
    assert_eq!(answer(libc::AF_INET6), EPERM);
}

#[test]
fn where_ports_are_ruled_there_are_sockets_of_tcp_that_connect_by_that_call_alone() {
    let program = compile(&Filter {
        internet: Internet::Connecting,
        ..usual()
    });
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    let answer = |family: i32, kind: i32, protocol: i32| {
        let arguments = [family, kind, protocol].map(i32::unsigned_abs);
        run(&program, OWN_ARCH, libc::SYS_socket, arguments)
    };
    for family in [libc::AF_INET, libc::AF_INET6] {
        for kind in [libc::SOCK_STREAM, libc::SOCK_STREAM | flags] {
            assert_eq!(answer(family, kind, 0), ALLOW);
            assert_eq!(answer(family, kind, libc::IPPROTO_TCP), ALLOW);
            let several_paths = answer(family, kind, libc::IPPROTO_MPTCP);
            assert_eq!(several_paths, fail(libc::EPROTONOSUPPORT));
            assert_eq!(answer(family, kind, libc::IPPROTO_SCTP), EPERM);
        }
        for kind in [0, libc::SOCK_DGRAM, libc::SOCK_RAW, libc::SOCK_SEQPACKET] {
            assert_eq!(answer(family, kind, 0), EPERM, "{kind}");
            assert_eq!(answer(family, kind | flags, 0), EPERM, "{kind}");
        }
    }
    assert_eq!(answer(libc::AF_UNIX, libc::SOCK_DGRAM, 0), ALLOW);
    let fast = (libc::MSG_FASTOPEN | libc::MSG_NOSIGNAL).unsigned_abs();
    let plain = libc::MSG_NOSIGNAL.unsigned_abs();
    for (number, at) in SENDING {
        let answer = |flags: u32| {
            let mut arguments = [7; 4];
            arguments[usize::try_from(at).unwrap()] = flags;
            run_with(&program, OWN_ARCH, number, arguments)
        };
        assert_eq!(answer(plain), ALLOW);
        assert_eq!(answer(fast), EPERM);
    }
}

/// What a supervisor needs beside what agents may call, to make their sandboxes.
const MAKING: [&str; 14] = [
    "clone",
    "clone3",
    "fsconfig",
    "fsmount",
    "fsopen",
    "mount",
    "mount_setattr",
    "move_mount",
    "open_tree",
    "pivot_root",
    "sethostname",
    "setns",
    "umount2",
    "unshare",
];

/// The profile of the manual, for a supervisor in a container. It is one file for all machines, so
/// calls of another one may stand in it.
#[test]
fn the_profile_of_the_manual_allows_what_is_needed() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/openclaw-seccomp.json"
    );
    let profile: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
    let rules = profile["syscalls"].as_array().unwrap().iter();
    let names = rules.flat_map(|rule| rule["names"].as_array().unwrap());
    let allowed: Vec<&str> = names.map(|name| name.as_str().unwrap()).collect();
    let own = [calls::ALLOWED, calls::CONDITIONAL, calls::TRACING];
    let own = own.into_iter().flatten().map(|(name, _)| *name);
    for name in own.chain(MAKING) {
        assert!(allowed.contains(&name), "{name} is needed");
    }
    for (name, _) in calls::REFUSED {
        let needed = MAKING.contains(name);
        assert_eq!(allowed.contains(name), needed, "{name}");
    }
}
