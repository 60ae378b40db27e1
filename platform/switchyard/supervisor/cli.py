"""`switchyard run` and `switchyard doctor`."""

from __future__ import annotations

import sys

from switchyard.supervisor.home import Home, StartRefused

USAGE = """usage: switchyard run | doctor

run      start every process in the foreground; Ctrl-C stops them all
doctor   say what would keep it from starting, and the mend
"""


def main(arguments: list[str] | None = None) -> int:
    words = sys.argv[1:] if arguments is None else arguments
    if words == ["run"]:
        from switchyard.supervisor.supervise import Supervisor

        try:
            return Supervisor(Home.from_environment()).run()
        except StartRefused as error:
            print(error, file=sys.stderr)
            return 1
    if words[:1] == ["doctor"]:
        from switchyard.supervisor import doctor

        return doctor.main(words[1:])
    print(USAGE, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
