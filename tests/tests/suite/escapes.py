"""What an agent may try to get out of its container; prints one line per attempt."""

import ctypes
import errno
import os
import resource
import socket
import sys
from pathlib import Path

libc = ctypes.CDLL(None, use_errno=True)


def call(number, *arguments):
    """Make a system call by its number on x86_64."""
    libc.syscall.restype = ctypes.c_long
    wide = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    if libc.syscall(ctypes.c_long(number), *wide) == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def reads(path):
    """Read a file."""
    return lambda: Path(path).open("rb").close()


def writes(path, flags=0):
    """Open a file for writing."""

    def attempt():
        os.close(os.open(path, os.O_WRONLY | flags))

    return attempt


def connects(family, address):
    """Connect a stream."""

    def attempt():
        with socket.socket(family) as client:
            client.settimeout(3)
            client.connect(address)

    return attempt


def opens(family, kind=socket.SOCK_STREAM, protocol=0):
    """Make a socket."""
    return lambda: socket.socket(family, kind, protocol).close()


def fills(path):
    """Write 256 MiB."""

    def attempt():
        with Path(path).open("wb", buffering=0) as file:
            for _ in range(256):
                file.write(bytes(1 << 20))

    return attempt


def opens_many():
    """Open more files than are allowed."""
    held: list[int] = []
    try:
        for _ in range(5000):
            held.append(os.open("/dev/null", os.O_RDONLY))
    finally:
        for one in held:
            os.close(one)


def lowers_its_score():
    """Make itself a worse victim than others."""
    with Path("/proc/self/oom_score_adj").open("wb", buffering=0) as file:
        file.write(b"-500")


def is_alone():
    """Complain of processes that are not of this container."""
    seen = [one.name for one in Path("/proc").iterdir() if one.name.isdigit()]
    if len(seen) > 2:
        raise ValueError(f"it sees {seen}")


def has_only_standard_streams():
    """Complain of descriptors that were handed down."""
    extra = []
    for name in [one.name for one in Path("/proc/self/fd").iterdir()]:
        try:
            os.fstat(int(name))
        except OSError:
            continue
        if int(name) > 2:
            extra.append(name)
    if extra:
        raise ValueError(f"descriptors {extra}")


def has_no_foreign_variables():
    """Complain of variables of the supervisor."""
    everything = "".join(f"{name}={value}" for name, value in os.environ.items())
    for number in (1, os.getppid(), os.getpid()):
        try:
            with Path(f"/proc/{number}/environ").open(errors="replace") as file:
                everything += file.read()
        except OSError:
            pass
    if "CARGO" in everything:
        raise ValueError("it has variables of the supervisor")


def is_nobody_special():
    """Complain of any privilege."""
    with Path("/proc/self/status").open() as file:
        status = dict(line.rstrip().split(":\t", 1) for line in file if ":\t" in line)
    found = [status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")]
    if set(found) != {"0" * 16} or status["NoNewPrivs"] != "1" or status["Seccomp"] != "2":
        raise ValueError(f"{found}, {status['NoNewPrivs']}, {status['Seccomp']}")
    if os.getuid() != 1000 or set(os.getgroups()) - {1000}:
        raise ValueError(f"user {os.getuid()}, groups {os.getgroups()}")
    if resource.getrlimit(resource.RLIMIT_CORE) != (0, 0):
        raise ValueError("it may dump core")


FOREIGN, PORT, HOME = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
ABSTRACT = "\0" + sys.argv[4]
ATTEMPTS = [
    (1, "shadow", reads("/etc/shadow")),
    (1, "home of root", reads("/root/.bashrc")),
    (2, "fleet file", reads(f"{HOME}/openclaw.yaml")),
    (2, "journal", reads(f"{HOME}/.openclaw/journal.db")),
    (3, "environment of a host's process", reads(f"/proc/{FOREIGN}/environ")),
    (4, "foreign processes", is_alone),
    (5, "inherited descriptors", has_only_standard_streams),
    (6, "inherited environment", has_no_foreign_variables),
    (7, "identity and capabilities", is_nobody_special),
    (8, "metadata address", connects(socket.AF_INET, ("169.254.169.254", 80))),
    (11, "loopback of the host", connects(socket.AF_INET, ("127.0.0.1", PORT))),
    (12, "address on the internet", connects(socket.AF_INET, ("192.0.2.1", 443))),
    (13, "resolver on the internet", connects(socket.AF_INET, ("192.0.2.1", 53))),
    (18, "abstract socket of the host", connects(socket.AF_UNIX, ABSTRACT)),
    (20, "socket of the engine", connects(socket.AF_UNIX, "/var/run/docker.sock")),
    (20, "socket of containerd", connects(socket.AF_UNIX, "/run/containerd/containerd.sock")),
    (21, "control socket", connects(socket.AF_UNIX, f"{HOME}/.openclaw/control.sock")),
    (22, "AF_VSOCK", opens(40)),
    (22, "AF_PACKET", opens(17, socket.SOCK_RAW)),
    (22, "raw socket", opens(socket.AF_INET, socket.SOCK_RAW, 1)),
    (24, "signal to a host's process", lambda: os.kill(FOREIGN, 0)),
    (27, "nice of -20", lambda: os.setpriority(os.PRIO_PROCESS, 0, -20)),
    (27, "real-time class", lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))),
    (28, "files of the image", writes("/bin/new", os.O_CREAT)),
    (28, "filling /tmp", fills("/tmp/full")),
    (30, "many descriptors", opens_many),
    (31, "io_uring_setup", lambda: call(425, 8, ctypes.create_string_buffer(256))),
    (31, "bpf", lambda: call(321, 0, ctypes.create_string_buffer(256), 72)),
    (31, "userfaultfd", lambda: call(323, 0)),
    (31, "add_key", lambda: call(248, b"user", b"x", b"x", 1, -2)),
    (31, "keyctl", lambda: call(250, 0, -3, 1)),
    (31, "perf_event_open", lambda: call(298, ctypes.create_string_buffer(128), 0, -1, -1, 0)),
    (32, "unshare of users", lambda: call(272, 0x10000000)),
    (32, "mount", lambda: call(165, b"none", b"/tmp", b"tmpfs", 0, None)),
    (32, "fsopen", lambda: call(430, b"tmpfs", 0)),
    (32, "open_tree", lambda: call(428, -100, b"/", 1)),
    (32, "pivot_root", lambda: call(155, b"/tmp", b"/tmp")),
    (32, "chroot", lambda: os.chroot("/tmp")),
    (32, "setns", lambda: call(308, os.open("/proc/1/ns/net", os.O_RDONLY), 0)),
    (34, "terminal", reads("/dev/tty")),
    (35, "core_pattern", writes("/proc/sys/kernel/core_pattern")),
    (35, "sysrq", writes("/proc/sysrq-trigger")),
    (36, "cgroup", lambda: Path("/sys/fs/cgroup/memory/mine").mkdir()),
    (36, "own score", lowers_its_score),
    (36, "hard limits", lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (9999, 9999))),
    (37, "init's executable", writes("/proc/1/exe")),
    (40, "mknod", lambda: os.mknod("/tmp/disk", 0o60600, os.makedev(8, 0))),
    (40, "open_by_handle_at", lambda: call(304, -100, ctypes.create_string_buffer(64), 0)),
    (44, "clock", lambda: call(227, 0, ctypes.create_string_buffer(16))),
]

for row, what, attempt in ATTEMPTS:
    try:
        attempt()
        outcome = "allowed"
    except OSError as error:
        outcome = errno.errorcode.get(error.errno or 0, repr(error))
    except ValueError as error:
        outcome = str(error)
    print(f"row {row} {what}: {outcome}", flush=True)
print("done", flush=True)
