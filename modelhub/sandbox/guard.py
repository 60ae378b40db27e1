"""What runs inside the sandbox's process: lowers the limits, closes the network, then runs one file.

Started as `python -I -S guard.py LIMITS PROGRAM`; imports nothing of ours, since it runs beside untrusted code.
The limits are the kernel's, and on Linux so is the filter of system calls: no process, no socket, no look into another
process, whatever code asks, native code too, and root as well as nobody. Shutting the same doors in Python is the second
lock, for machines without such a filter; `Outcome.isolated` says whether the network was the process's own.
"""

import json
import os
import platform
import resource
import struct
import sys
from typing import NamedTuple

FOLDER = os.path.realpath(os.getcwd())
NOBODY = 65534
FORBIDDEN = (
    "socket.", "subprocess.", "ctypes.", "shutil.", "signal.",
    "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.system", "os.kill", "os.putenv",
    "os.remove", "os.rename", "os.rmdir", "os.chmod", "os.chown", "os.link", "os.symlink", "os.truncate",
)  # fmt: skip


class Calls(NamedTuple):
    """System calls by their numbers on one kind of machine; `arch` is what the kernel calls it."""

    arch: int
    clone: int
    clone3: int
    refused: tuple[int, ...]


# Refused: fork vfork execve execveat socket socketpair ptrace kill process_vm_* unshare setns io_uring pidfd_* bpf mount chroot.
CALLS = {
    "x86_64": Calls(
        0xC000003E,
        56,
        435,
        (57, 58, 59, 322, 41, 53, 101, 62, 310, 311, 272, 308, 425, 434, 438, 321, 165, 161),
    ),
    "aarch64": Calls(
        0xC00000B7, 220, 435, (221, 281, 198, 199, 117, 129, 270, 271, 97, 268, 425, 434, 438, 280, 40, 51)
    ),
}
CLONE_THREAD = 0x00010000
ALLOW, REFUSE, UNKNOWN = (
    0x7FFF0000,
    0x00050001,
    0x00050026,
)  # EPERM; ENOSYS, so that the C library takes clone instead
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06


def filter_calls() -> bool:
    """Have the kernel refuse those system calls from here on, for good. False where it can't."""
    calls = CALLS.get(platform.machine())
    if calls is None or not sys.platform.startswith("linux"):
        return False
    tests = [
        (LOAD, 0, 0, 4), (EQUAL, 1, 0, calls.arch), (RETURN, 0, 0, REFUSE),
        (LOAD, 0, 0, 0), (AT_LEAST, 0, 1, 0x40000000), (RETURN, 0, 0, REFUSE),
        (EQUAL, 0, 1, calls.clone3), (RETURN, 0, 0, UNKNOWN),
    ]  # fmt: skip
    for number in calls.refused:
        tests += [(EQUAL, 0, 1, number), (RETURN, 0, 0, REFUSE)]
    tests += [
        (EQUAL, 1, 0, calls.clone), (RETURN, 0, 0, ALLOW),
        (LOAD, 0, 0, 16), (ANY_BIT, 0, 1, CLONE_THREAD), (RETURN, 0, 0, ALLOW), (RETURN, 0, 0, REFUSE),
    ]  # fmt: skip
    program = b"".join(struct.pack("HBBI", *test) for test in tests)
    import ctypes  # before any code of others runs

    kept = ctypes.create_string_buffer(program)
    described = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(tests), ctypes.addressof(kept)))
    prctl = ctypes.CDLL(None).prctl
    arguments = [ctypes.c_ulong(value) for value in (38, 1, 0, 0, 0)]  # PR_SET_NO_NEW_PRIVS
    if prctl(*arguments) != 0:
        return False
    return prctl(ctypes.c_ulong(22), ctypes.c_ulong(2), described, ctypes.c_ulong(0), ctypes.c_ulong(0)) == 0


def lower_limits(limits: dict[str, int]) -> None:
    """Set the kernel's limits of this process and its children; they cannot be raised again."""
    for name, value in limits.items():
        kind = getattr(resource, name, None)
        if kind is None:
            continue
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        room = hard in (resource.RLIM_INFINITY, max(hard, value + 1))
        spare = int(name == "RLIMIT_CPU" and room)  # a second between the signal and the kill
        resource.setrlimit(kind, (value, value + spare))


def drop_root() -> None:
    """Become nobody when started as root, unless the interpreter itself would no longer be readable."""
    if os.geteuid() != 0:
        return
    os.seteuid(NOBODY)
    readable = os.access(os.path.dirname(os.__file__), os.R_OK | os.X_OK, effective_ids=True)
    os.seteuid(0)
    if readable:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def _of_processes(path: str | bytes) -> bool:
    """Whether it leads to what the kernel tells of other processes: their environment holds secrets."""
    return os.path.realpath(os.fsdecode(path)).startswith("/proc/")


def close_doors(event: str, args: tuple[object, ...]) -> None:
    """Audit hook: no sockets, processes, native libraries or changes to files beyond the working folder."""
    if event.startswith(FORBIDDEN):
        raise PermissionError(f"{event} is not allowed in the sandbox")
    if event == "open" and args and isinstance(args[0], str | bytes) and _of_processes(args[0]):
        raise PermissionError(f"reading {args[0]!r} is not allowed in the sandbox")
    if event in ("open", "os.mkdir") and args and isinstance(args[0], str | bytes | os.PathLike):
        flags = args[2] if event == "open" and len(args) > 2 and isinstance(args[2], int) else os.O_WRONLY
        writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        if writes and not os.path.realpath(os.fsdecode(args[0])).startswith(FOLDER + os.sep):
            raise PermissionError(f"writing to {args[0]!r} is not allowed in the sandbox")


def main() -> None:
    limits, program = json.loads(sys.argv[1]), sys.argv[2]
    with open(program, encoding="utf-8") as handle:
        source = handle.read()
    drop_root()
    lower_limits(limits)
    filter_calls()
    os.environ.clear()
    sys.argv = [program]
    sys.addaudithook(close_doors)
    exec(compile(source, "program.py", "exec"), {"__name__": "__main__"})  # noqa: S102 - the sandbox's purpose


if __name__ == "__main__":
    main()
