//! What a supervisor gives up, in a process that gives it up for the test.

use std::fs;
use std::process::Command;

use nix::libc;

use crate::agents;

/// What is tried after it: a name, a call, and arguments with which it fails where it is allowed.
const TRIED: [(&str, libc::c_long, [libc::c_long; 5]); 10] = [
    ("unshare", libc::SYS_unshare, [-1, 0, 0, 0, 0]),
    ("mount", libc::SYS_mount, [0; 5]),
    ("umount2", libc::SYS_umount2, [0; 5]),
    ("ptrace", libc::SYS_ptrace, [0; 5]),
    ("process_vm_readv", libc::SYS_process_vm_readv, [0; 5]),
    ("bpf", libc::SYS_bpf, [0; 5]),
    ("init_module", libc::SYS_init_module, [0; 5]),
    ("keyctl", libc::SYS_keyctl, [0; 5]),
    ("userfaultfd", libc::SYS_userfaultfd, [0; 5]),
    ("setns", libc::SYS_setns, [-1, 0x0002_0000, 0, 0, 0]),
];

/// Gives it up, with a thread that was there before, and prints what came of it.
pub(crate) fn program() {
    let (go, waiting) = std::sync::mpsc::channel::<()>();
    let other = std::thread::spawn(move || waiting.recv().is_ok());
    claw_drivers::sandbox::lock_down().unwrap();
    for (name, number, [a, b, c, d, e]) in TRIED {
        // SAFETY: every pointer among the arguments is null or no pointer, and each of these calls
        // fails by its arguments alone where it is not denied, but for tracing and keys, which change
        // nothing outside this process.
        let result = unsafe { libc::syscall(number, a, b, c, d, e) };
        let errno = std::io::Error::last_os_error().raw_os_error();
        println!("{name} {result} {}", errno.unwrap_or(0));
    }
    // SAFETY: the descriptor is none, so the call fails whatever else is true.
    unsafe { libc::syscall(libc::SYS_setns, -1, libc::CLONE_NEWNET) };
    let errno = std::io::Error::last_os_error().raw_os_error();
    println!("setns-network {}", errno.unwrap_or(0));
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let line = |key: &str| {
            status
                .lines()
                .find(|line| line.starts_with(key))
                .unwrap()
                .to_owned()
        };
        println!("thread {} {}", line("Seccomp:"), line("NoNewPrivs:"));
    }
    // What a supervisor goes on doing.
    let program = fs::read_link("/proc/self/exe").unwrap();
    let open = fs::read_dir("/proc/self/fd").unwrap().count();
    let child = Command::new("/bin/sh")
        .args(["-c", "true"])
        .status()
        .unwrap();
    let threads = std::thread::spawn(|| 1).join().unwrap();
    println!(
        "works {} {} {} {threads}",
        program.is_absolute(),
        open > 2,
        child.success()
    );
    let dumpable = rustix::process::dumpable_behavior().unwrap();
    println!("dumpable {dumpable:?}");
    go.send(()).unwrap();
    assert!(other.join().unwrap());
}

fn outcome(program: &mut Command) -> String {
    let output = program.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn check(said: &str) {
    for (name, ..) in TRIED {
        let expected = format!("{name} -1 1\n");
        assert!(said.contains(&expected), "{name}\n{said}");
    }
    // It is the network that is asked for: bad is the descriptor (EBADF), not the call.
    assert!(said.contains("setns-network 9\n"), "{said}");
    let threads: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("thread"))
        .collect();
    assert!(threads.len() >= 2, "{said}");
    for thread in threads {
        assert_eq!(thread, "thread Seccomp:\t2 NoNewPrivs:\t1");
    }
    assert!(said.contains("works true true true 1\n"), "{said}");
    assert!(said.contains("dumpable NotDumpable\n"), "{said}");
}

#[test]
fn what_is_given_up_is_gone_on_every_thread_and_the_rest_works() {
    let command = agents::command(&["lock-down"]);
    check(&outcome(Command::new(&command[0]).args(&command[1..])));
}

#[test]
fn an_ordinary_user_can_give_it_up_too() {
    let test = "an_ordinary_user_can_give_it_up_too";
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    if Command::new("runuser").arg("--version").output().is_err() {
        eprintln!("SKIP {test}: there is no runuser");
        return;
    }
    // Where that user can go: not the folder that this program is in.
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(dir.path(), open).unwrap();
    let program = dir.path().join("tests");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let mut command = Command::new("runuser");
    command.args(["-u", "nobody", "--"]).arg(&program);
    check(&outcome(command.args(["__agent", "lock-down"])));
}
