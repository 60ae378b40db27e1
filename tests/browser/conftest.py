"""A live server with a seeded company and the system's Chromium; without one the tests are skipped by name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))),
    None,
)


@pytest.fixture(scope="module")  # no longer: its event loop would stay in this thread
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("needs Chromium: none of chromium, chromium-browser, google-chrome is on the PATH")
    from playwright.sync_api import sync_playwright

    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = (
        "1"  # playwright keeps an event loop in this thread, the ORM asks
    )
    with sync_playwright() as player:
        found = player.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield found
        found.close()
    os.environ.pop("DJANGO_ALLOW_ASYNC_UNSAFE", None)


@pytest.fixture
def company(transactional_db: None) -> Any:
    from tests.switchyard.dashboards.company import make_company

    return make_company()


@pytest.fixture
def tab(browser: Any, live_server: Any, company: Any) -> Iterator[Any]:
    """A page that remembers every complaint of the console (`tab.complaints`), logged out."""
    context = browser.new_context(
        base_url=live_server.url, viewport={"width": 1360, "height": 900}, locale="en-GB"
    )
    page = context.new_page()
    page.complaints = []
    page.on("console", lambda m: page.complaints.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.set_default_timeout(15_000)
    yield page
    context.close()


@pytest.fixture
def alice(tab: Any, company: Any) -> Any:
    """The administrator, logged in through the form."""
    from tests import factories as make

    make.make_user("alice", company.organisation, "admin", is_staff=True, is_superuser=True)
    tab.goto("/")
    tab.fill("#id_username", "alice")
    tab.fill("#id_password", "correct horse battery")
    tab.click("main form button.primary")
    tab.wait_for_selector("h1:has-text('Overview')")
    return tab
