"""Examines an upload whose bytes lie sealed already: for the gateway, which doesn't do that beside requests.

Reads what is said of the file as JSON; its last line of output is {"file": id} or {"refused": {…}}.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from django.core.management.base import BaseCommand

from modelhub.services import files
from switchyard.core.errors import SwitchyardError


class Command(BaseCommand):
    help = "Examine an upload that lies sealed already (what is said of it comes as JSON on standard input)."
    requires_system_checks: list[Any] = []

    def handle(self, *args: Any, **options: Any) -> None:
        os.nice(10)
        upload = files.Upload(**json.loads(sys.stdin.read()))
        try:
            answer: dict[str, Any] = {"file": files.register(upload).pk}
        except SwitchyardError as error:
            answer = {
                "refused": {
                    "message": error.message, "code": error.code, "status": error.status, "type": error.type,
                    "errors": getattr(error, "errors", None),
                }
            }  # fmt: skip
        self.stdout.write("\n" + json.dumps(answer))
