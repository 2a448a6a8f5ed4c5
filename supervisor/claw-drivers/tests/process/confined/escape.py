"""Tries to get out of a sandbox; one line for each _attempt, with what came of it."""

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


def _name(number: int) -> str:
    return errno.errorcode.get(number, str(number))


def _attempt(what: str, act: Callable[[], object]) -> None:
    try:
        outcome = str(act())
    except OSError as error:
        outcome = _name(error.errno or 0)
    print(f"{what}: {outcome}", flush=True)


def _call(which: str, *arguments: int | bytes | None) -> str:
    result = LIBC.syscall(CALLS[which], *arguments)
    return "done" if result >= 0 else _name(ctypes.get_errno())


def _read(path: str) -> str:
    with Path(path).open("rb") as file:
        file.read(1)
    return "read"


def _write(path: str, text: str) -> str:
    with Path(path).open("w") as file:
        file.write(text)
    return "written"


def _connect(family: int, address: object) -> str:
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.settimeout(3)
        sock.connect(address)
    return "connected"


def _make_socket(family: int, kind: int, protocol: int) -> str:
    socket.socket(family, kind, protocol).close()
    return "made"


def _names(directory: str) -> list[str]:
    return [entry.name for entry in Path(directory).iterdir()]


def _processes() -> str:
    own = {os.getpid(), os.getppid()}
    seen = [int(entry) for entry in _names("/proc") if entry.isdigit()]
    return str(len([pid for pid in seen if pid not in own]))


def _descriptors() -> str:
    extra = []
    for entry in _names("/proc/self/fd"):
        if int(entry) > 2:
            try:
                extra.append(str(Path(f"/proc/self/fd/{entry}").readlink()))
            except OSError:
                continue  # The listing itself.
    return " ".join(extra) or "none"


def _status(key: str) -> str:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return line.split(":", 1)[1].strip()
    return "?"


def _ioctl(request: int) -> str:
    fcntl.ioctl(0, request, b"x")
    return "done"


def _raise_limit() -> str:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most + 1, most + 1))
    except ValueError:
        return "EPERM"
    return "raised"


def _kill(pid: int) -> str:
    os.kill(pid, 0)
    return "may"


def _clone_user() -> str:
    result = LIBC.syscall(56, NEWUSER | signal.SIGCHLD, 0, 0, 0, 0)
    if result == 0:
        os._exit(0)
    return "done" if result > 0 else _name(ctypes.get_errno())


_attempt("1 shadow", lambda: _read("/etc/shadow"))
_attempt("1 home of root", lambda: _names("/root"))
_attempt("1 file of the host", lambda: _read(HOST["file"]))
_attempt("2 data directory", lambda: _names(HOST["data"]))
_attempt("3 environment of the supervisor", lambda: _read(f"/proc/{HOST['supervisor']}/environ"))
_attempt("3 environment of process 1", lambda: _read("/proc/1/environ"))
_attempt("4 foreign processes", _processes)
_attempt("5 descriptors", _descriptors)
_attempt("6 canary", lambda: os.environ.get("CANARY_SECRET", "absent"))
_attempt("7 groups", lambda: sorted(set(os.getgroups()) - {os.getgid()}))
_attempt("11 loopback of the host", lambda: _connect(socket.AF_INET, ("127.0.0.1", HOST["port"])))
_attempt("18 abstract socket", lambda: _connect(socket.AF_UNIX, "\0" + HOST["abstract"]))
_attempt("20 docker", lambda: _connect(socket.AF_UNIX, "/var/run/docker.sock"))
_attempt("20 bus", lambda: _connect(socket.AF_UNIX, "/run/dbus/system_bus_socket"))
_attempt("22 vsock", lambda: _make_socket(40, socket.SOCK_STREAM, 0))
_attempt("22 packet", lambda: _make_socket(17, socket.SOCK_RAW, 0))
_attempt("22 alg", lambda: _make_socket(38, 5, 0))
_attempt("22 raw", lambda: _make_socket(socket.AF_INET, socket.SOCK_RAW, 1))
_attempt("22 mptcp", lambda: _make_socket(socket.AF_INET, socket.SOCK_STREAM, 262))
_attempt("22 netlink", lambda: _make_socket(16, socket.SOCK_RAW, 15))
_attempt("22 netlink of routes", lambda: _make_socket(16, socket.SOCK_RAW, 0))
_attempt("23 ptrace", lambda: _call("ptrace", 16, os.getppid(), 0, 0))
_attempt("23 process_vm_readv", lambda: _call("process_vm_readv", os.getppid(), 0, 0, 0, 0, 0))
_attempt("23 pidfd_getfd", lambda: _call("pidfd_getfd", 0, 0, 0))
_attempt("24 kill the supervisor", lambda: _kill(HOST["supervisor"]))
_attempt("31 io_uring", lambda: _call("io_uring_setup", 1, None))
_attempt("31 bpf", lambda: _call("bpf", 0, None, 0))
_attempt("31 userfaultfd", lambda: _call("userfaultfd", 1))
_attempt("31 keyctl", lambda: _call("keyctl", 0, -3, 0))
_attempt("31 add_key", lambda: _call("add_key", b"user", b"x", b"y", 1, -3))
_attempt("31 perf", lambda: _call("perf_event_open", None, 0, -1, -1, 0))
_attempt("32 unshare", lambda: _call("unshare", NEWUSER))
_attempt("32 clone", _clone_user)
_attempt("32 mount", lambda: _call("mount", b"none", b"/tmp", b"tmpfs", 0, None))
_attempt("32 fsopen", lambda: _call("fsopen", b"tmpfs", 0))
_attempt("32 open_tree", lambda: _call("open_tree", -100, b"/", 1))
_attempt("32 pivot_root", lambda: _call("pivot_root", b"/", b"/"))
_attempt("32 chroot", lambda: _call("chroot", b"/"))
_attempt("32 setns", lambda: _call("setns", 0, 0))
_attempt("33 capabilities", lambda: _status("CapPrm") + _status("CapEff") + _status("CapAmb"))
_attempt("33 bounding set", lambda: _status("CapBnd"))
_attempt("33 new privileges", lambda: _status("NoNewPrivs"))
_attempt("33 setuid files", lambda: bool(os.statvfs("/usr").f_flag & os.ST_NOSUID))
_attempt("34 terminal", lambda: _read("/dev/tty"))
_attempt("34 TIOCSTI", lambda: _ioctl(0x5412))
_attempt("34 TIOCLINUX", lambda: _ioctl(0x541C))
_attempt("35 core dumps", lambda: resource.getrlimit(resource.RLIMIT_CORE))
_attempt("35 core pattern", lambda: _write("/proc/sys/kernel/core_pattern", "x"))
_attempt("35 sysrq", lambda: _write("/proc/sysrq-trigger", "x"))
_attempt("36 groups of the kernel", lambda: _names("/sys/fs/cgroup"))
_attempt("36 own score", lambda: _write("/proc/self/oom_score_adj", "0"))
_attempt("36 limits", _raise_limit)
_attempt("36 namespace of groups", lambda: _call("unshare", NEWCGROUP))
_attempt("37 file of process 1", lambda: os.open("/proc/1/exe", os.O_WRONLY))
_attempt("40 device", lambda: os.mknod(HOST["writable"] + "/d", stat.S_IFCHR, os.makedev(1, 3)))
_attempt("40 name_to_handle_at", lambda: _call("name_to_handle_at", -100, b"/", None, None, 0))
_attempt("40 open_by_handle_at", lambda: _call("open_by_handle_at", -100, None, 0))
_attempt("44 clock_settime", lambda: _call("clock_settime", 0, None))
_attempt("44 settimeofday", lambda: _call("settimeofday", None, None))
_attempt("write to /", lambda: _write("/x", ""))
_attempt("write to /usr", lambda: _write("/usr/x", ""))
_attempt("write to /etc", lambda: _write("/etc/x", ""))
_attempt("write to a directory of its own", lambda: _write(HOST["writable"] + "/x", "x"))
_attempt("command line of the kernel", lambda: len(Path("/proc/cmdline").read_text()) > 0)
_attempt("keys", lambda: len(Path("/proc/keys").read_text()) > 0)
