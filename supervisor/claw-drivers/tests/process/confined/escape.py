"""Tries to get out of a sandbox; one line for each attempt, with what came of it."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import resource
import signal
import socket
import stat
import sys
from collections.abc import Callable
from pathlib import Path

HOST = json.loads(sys.argv[1])
LIBC = ctypes.CDLL(None, use_errno=True)
# x86_64; `None` where the numbers are not known.
CALLS = {
    "ptrace": 101,
    "pivot_root": 155,
    "chroot": 161,
    "settimeofday": 164,
    "mount": 165,
    "clock_settime": 227,
    "add_key": 248,
    "keyctl": 250,
    "unshare": 272,
    "perf_event_open": 298,
    "name_to_handle_at": 303,
    "open_by_handle_at": 304,
    "setns": 308,
    "process_vm_readv": 310,
    "bpf": 321,
    "userfaultfd": 323,
    "io_uring_setup": 425,
    "open_tree": 428,
    "fsopen": 430,
    "pidfd_getfd": 438,
}
NEWUSER = 0x10000000
NEWCGROUP = 0x02000000


def name(number: int) -> str:
    return errno.errorcode.get(number, str(number))


def attempt(what: str, act: Callable[[], object]) -> None:
    try:
        outcome = str(act())
    except OSError as error:
        outcome = name(error.errno or 0)
    print(f"{what}: {outcome}", flush=True)


def call(which: str, *arguments: int | bytes | None) -> str:
    result = LIBC.syscall(CALLS[which], *arguments)
    return "done" if result >= 0 else name(ctypes.get_errno())


def read(path: str) -> str:
    with Path(path).open("rb") as file:
        file.read(1)
    return "read"


def write(path: str, text: str) -> str:
    with Path(path).open("w") as file:
        file.write(text)
    return "written"


def connect(family: int, address: object) -> str:
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.settimeout(3)
        sock.connect(address)
    return "connected"


def make_socket(family: int, kind: int, protocol: int) -> str:
    socket.socket(family, kind, protocol).close()
    return "made"


def processes() -> str:
    own = {os.getpid(), os.getppid()}
    seen = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
    return str(len([pid for pid in seen if pid not in own]))


def descriptors() -> str:
    extra = []
    for entry in os.listdir("/proc/self/fd"):
        if int(entry) > 2:
            try:
                extra.append(os.readlink(f"/proc/self/fd/{entry}"))
            except OSError:
                continue  # The listing itself.
    return " ".join(extra) or "none"


def status(key: str) -> str:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return line.split(":", 1)[1].strip()
    return "?"


def ioctl(request: int) -> str:
    fcntl.ioctl(0, request, b"x")
    return "done"


def raise_limit() -> str:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most + 1, most + 1))
    except ValueError:
        return "EPERM"
    return "raised"


def kill(pid: int) -> str:
    os.kill(pid, 0)
    return "may"


def clone_user() -> str:
    result = LIBC.syscall(56, NEWUSER | signal.SIGCHLD, 0, 0, 0, 0)
    if result == 0:
        os._exit(0)
    return "done" if result > 0 else name(ctypes.get_errno())


attempt("1 shadow", lambda: read("/etc/shadow"))
attempt("1 home of root", lambda: os.listdir("/root"))
attempt("1 file of the host", lambda: read(HOST["file"]))
attempt("2 data directory", lambda: os.listdir(HOST["data"]))
attempt("3 environment of the supervisor", lambda: read(f"/proc/{HOST['supervisor']}/environ"))
attempt("3 environment of process 1", lambda: read("/proc/1/environ"))
attempt("4 foreign processes", processes)
attempt("5 descriptors", descriptors)
attempt("6 canary", lambda: os.environ.get("CANARY_SECRET", "absent"))
attempt("7 groups", lambda: sorted(set(os.getgroups()) - {os.getgid()}))
attempt("11 loopback of the host", lambda: connect(socket.AF_INET, ("127.0.0.1", HOST["port"])))
attempt("18 abstract socket", lambda: connect(socket.AF_UNIX, "\0" + HOST["abstract"]))
attempt("20 docker", lambda: connect(socket.AF_UNIX, "/var/run/docker.sock"))
attempt("20 bus", lambda: connect(socket.AF_UNIX, "/run/dbus/system_bus_socket"))
attempt("22 vsock", lambda: make_socket(40, socket.SOCK_STREAM, 0))
attempt("22 packet", lambda: make_socket(17, socket.SOCK_RAW, 0))
attempt("22 alg", lambda: make_socket(38, 5, 0))
attempt("22 raw", lambda: make_socket(socket.AF_INET, socket.SOCK_RAW, 1))
attempt("22 mptcp", lambda: make_socket(socket.AF_INET, socket.SOCK_STREAM, 262))
attempt("22 netlink", lambda: make_socket(16, socket.SOCK_RAW, 15))
attempt("22 netlink of routes", lambda: make_socket(16, socket.SOCK_RAW, 0))
attempt("23 ptrace", lambda: call("ptrace", 16, os.getppid(), 0, 0))
attempt("23 process_vm_readv", lambda: call("process_vm_readv", os.getppid(), 0, 0, 0, 0, 0))
attempt("23 pidfd_getfd", lambda: call("pidfd_getfd", 0, 0, 0))
attempt("24 kill the supervisor", lambda: kill(HOST["supervisor"]))
attempt("31 io_uring", lambda: call("io_uring_setup", 1, None))
attempt("31 bpf", lambda: call("bpf", 0, None, 0))
attempt("31 userfaultfd", lambda: call("userfaultfd", 1))
attempt("31 keyctl", lambda: call("keyctl", 0, -3, 0))
attempt("31 add_key", lambda: call("add_key", b"user", b"x", b"y", 1, -3))
attempt("31 perf", lambda: call("perf_event_open", None, 0, -1, -1, 0))
attempt("32 unshare", lambda: call("unshare", NEWUSER))
attempt("32 clone", clone_user)
attempt("32 mount", lambda: call("mount", b"none", b"/tmp", b"tmpfs", 0, None))
attempt("32 fsopen", lambda: call("fsopen", b"tmpfs", 0))
attempt("32 open_tree", lambda: call("open_tree", -100, b"/", 1))
attempt("32 pivot_root", lambda: call("pivot_root", b"/", b"/"))
attempt("32 chroot", lambda: call("chroot", b"/"))
attempt("32 setns", lambda: call("setns", 0, 0))
attempt("33 capabilities", lambda: status("CapPrm") + status("CapEff") + status("CapAmb"))
attempt("33 bounding set", lambda: status("CapBnd"))
attempt("33 new privileges", lambda: status("NoNewPrivs"))
attempt("33 setuid files", lambda: bool(os.statvfs("/usr").f_flag & os.ST_NOSUID))
attempt("34 terminal", lambda: read("/dev/tty"))
attempt("34 TIOCSTI", lambda: ioctl(0x5412))
attempt("34 TIOCLINUX", lambda: ioctl(0x541C))
attempt("35 core dumps", lambda: resource.getrlimit(resource.RLIMIT_CORE))
attempt("35 core pattern", lambda: write("/proc/sys/kernel/core_pattern", "x"))
attempt("35 sysrq", lambda: write("/proc/sysrq-trigger", "x"))
attempt("36 groups of the kernel", lambda: os.listdir("/sys/fs/cgroup"))
attempt("36 own score", lambda: write("/proc/self/oom_score_adj", "0"))
attempt("36 limits", raise_limit)
attempt("36 namespace of groups", lambda: call("unshare", NEWCGROUP))
attempt("37 file of process 1", lambda: os.open("/proc/1/exe", os.O_WRONLY))
attempt("40 device", lambda: os.mknod(HOST["writable"] + "/d", stat.S_IFCHR, os.makedev(1, 3)))
attempt("40 name_to_handle_at", lambda: call("name_to_handle_at", -100, b"/", None, None, 0))
attempt("40 open_by_handle_at", lambda: call("open_by_handle_at", -100, None, 0))
attempt("44 clock_settime", lambda: call("clock_settime", 0, None))
attempt("44 settimeofday", lambda: call("settimeofday", None, None))
attempt("write to /", lambda: write("/x", ""))
attempt("write to /usr", lambda: write("/usr/x", ""))
attempt("write to /etc", lambda: write("/etc/x", ""))
attempt("write to a directory of its own", lambda: write(HOST["writable"] + "/x", "x"))
attempt("command line of the kernel", lambda: len(Path("/proc/cmdline").read_text()) > 0)
attempt("keys", lambda: len(Path("/proc/keys").read_text()) > 0)
