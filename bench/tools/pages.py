"""Somebody who looks at pages without pause, for as long as it is let live.

python -m bench.tools.pages BASE_URL SECONDS → {"looks", "failed"}. Makes a person of its own in the database that the
environment names, and goes through the pages of money one after another.
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.error
import urllib.request

import django

PAGES = ("/", "/spend/", "/budgets/", "/ledger/", "/accuracy/")


def cookie() -> str:
    """A session of an administrator of the only organisation."""
    from django.test import Client

    from switchyard.tenancy.models import Organisation
    from tests import factories

    client = Client()
    client.force_login(factories.make_user(f"looker-{os.getpid()}", Organisation.objects.get(), "admin"))
    return f"sessionid={client.cookies['sessionid'].value}"


def look(base: str, seconds: float) -> dict[str, int]:
    headers, looks, failed, deadline = {"cookie": cookie()}, 0, 0, time.monotonic() + seconds
    while time.monotonic() < deadline:
        request = urllib.request.Request(base + PAGES[looks % len(PAGES)], headers=headers)
        looks += 1
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                answer.read()
                failed += "/login/" in answer.url
        except (urllib.error.URLError, OSError):
            failed += 1
    return {"looks": looks, "failed": failed}


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "switchyard.settings.dev")
    django.setup()
    print(json.dumps(look(sys.argv[1], float(sys.argv[2]))))
