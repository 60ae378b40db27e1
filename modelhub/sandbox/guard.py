"""What runs inside the sandbox's process: lowers the limits, closes the network, then runs one file.

Started as `python -I -S guard.py LIMITS PROGRAM`; imports nothing of ours, since it runs beside untrusted code.
The limits are the kernel's. Shutting off sockets in Python is the second lock, for a machine where the process
could not be given a network of its own: native code could still open one there, and `Outcome.isolated` says so.
"""

import json
import os
import resource
import sys

FOLDER = os.path.realpath(os.getcwd())
NOBODY = 65534
FORBIDDEN = (
    "socket.", "subprocess.", "ctypes.", "shutil.", "signal.",
    "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.system", "os.kill", "os.putenv",
    "os.remove", "os.rename", "os.rmdir", "os.chmod", "os.chown", "os.link", "os.symlink", "os.truncate",
)  # fmt: skip


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


def close_doors(event: str, args: tuple[object, ...]) -> None:
    """Audit hook: no sockets, processes, native libraries or changes to files beyond the working folder."""
    if event.startswith(FORBIDDEN):
        raise PermissionError(f"{event} is not allowed in the sandbox")
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
    os.environ.clear()
    sys.argv = [program]
    sys.addaudithook(close_doors)
    exec(compile(source, "program.py", "exec"), {"__name__": "__main__"})  # noqa: S102 - the sandbox's purpose


if __name__ == "__main__":
    main()
