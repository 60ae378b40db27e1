#!/usr/bin/env python
"""Front door of Switchyard; adds platform/ to the import path so that a bare clone runs."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent


def main() -> None:
    for source_root in (str(ROOT / "platform"), str(ROOT)):
        if source_root not in sys.path:
            sys.path.insert(0, source_root)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "switchyard.settings.dev")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
