"""Starts a program where namespaces cannot be made, or where names are asked of another server.

closed.py {"namespaces": false, "resolver": "/path/of/it", "user": 65534} PROGRAM ARGUMENT...
"""

import ctypes
import json
import os
import struct
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
NEW_MOUNTS = 0x00020000
PRIVATE = (1 << 18) | (1 << 14)
BIND = 1 << 12
# clone(2), unshare(2) and clone3(2) of x86_64 and of aarch64.
CALLS = {"x86_64": (56, 272, 435), "aarch64": (220, 97, 435)}
NAMESPACES = 0x7E020000
NO_NEW_PRIVILEGES, SECCOMP, FILTER = 38, 22, 2


def made(result):
    """Complain of a call that failed."""
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def ask_another(resolver):
    """Show this process alone another list of servers that know names."""
    made(LIBC.unshare(NEW_MOUNTS))
    made(LIBC.mount(None, b"/", None, PRIVATE, None))
    known = os.path.realpath("/etc/resolv.conf").encode()
    made(LIBC.mount(resolver.encode(), known, None, BIND, None))


def close_namespaces():
    """Refuse what makes namespaces, as a container's engine does."""
    clone, unshare, clone3 = CALLS[os.uname().machine]
    allow, eperm, enosys = 0x7FFF0000, 0x00050001, 0x00050026
    load, equal, any_bit, answer = 0x20, 0x15, 0x45, 0x06
    program = [
        (load, 0, 0, 0),
        (equal, 5, 0, unshare),
        (equal, 3, 0, clone3),
        (equal, 0, 4, clone),
        (load, 0, 0, 16),
        (any_bit, 1, 2, NAMESPACES),
        (answer, 0, 0, enosys),
        (answer, 0, 0, eperm),
        (answer, 0, 0, allow),
    ]
    code = b"".join(struct.pack("HBBI", *one) for one in program)
    held = ctypes.create_string_buffer(code)
    description = struct.pack("HxxxxxxQ", len(program), ctypes.addressof(held))
    if os.getuid() != 0:
        made(LIBC.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    made(LIBC.prctl(SECCOMP, FILTER, ctypes.create_string_buffer(description), 0, 0))


def main():
    """Do what the first argument says, and become the rest."""
    wanted = json.loads(sys.argv[1])
    if "resolver" in wanted:
        ask_another(wanted["resolver"])
    if not wanted.get("namespaces", True):
        close_namespaces()
    if "user" in wanted:
        os.setgroups([])
        os.setgid(wanted["user"])
        os.setuid(wanted["user"])
    os.execv(sys.argv[2], sys.argv[2:])


main()
