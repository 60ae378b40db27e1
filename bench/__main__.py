"""`python -m bench [name …]`: run benchmarks, all of them without a name. Each writes bench/results/<name>.json."""

from __future__ import annotations

import importlib
import sys
import time
import traceback
from pathlib import Path


def names() -> list[str]:
    """Modules of this package that have a `main()`; read, not imported."""
    files = Path(__file__).parent.glob("[!_]*.py")
    return sorted(file.stem for file in files if "\ndef main() -> None:" in file.read_text())


def main(wanted: list[str]) -> int:
    known = names()
    unknown = [name for name in wanted if name not in known]
    if unknown:
        print(f"There is no benchmark {', '.join(unknown)}. Known: {', '.join(known)}.", file=sys.stderr)
        return 2
    failed = []
    for name in wanted or known:
        print(f"{name}:", flush=True)
        began = time.monotonic()
        try:
            importlib.import_module(f"bench.{name}").main()
        except Exception:
            traceback.print_exc()
            failed.append(name)
        print(f"  {time.monotonic() - began:.0f} s", flush=True)
    if failed:
        print(f"Failed: {', '.join(failed)}.", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
