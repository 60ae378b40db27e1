"""Which processes there are, and who is told what."""

import pytest

from switchyard.supervisor import plan
from switchyard.supervisor.home import SOCKET_PATH_MAX_BYTES, Home


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Of a home, as the supervisor makes them."""
    monkeypatch.delenv("FORWARDED_ALLOW_IPS", raising=False)
    monkeypatch.delenv(plan.PAGES_URL, raising=False)

    def made(home: Home | None = None) -> plan.Places:
        home = home or Home(tmp_path)
        return plan.Places(home, 8000, 1, 2, "unix:///x", "a", "b", 3, *plan.place_of_pages(home))

    return made


def named(places: plan.Places) -> dict[str, plan.Spec]:
    return {spec.name: spec for spec in plan.servers(places)}


def test_web_is_told_where_the_pages_process_listens_and_pages_are_not(places, tmp_path):
    found = named(places())
    path = str(tmp_path / "run" / "pages.sock")
    assert found["web"].env[plan.PAGES_URL] == f"unix://{path}" == found["pages"].ready_url
    assert path in found["pages"].command and plan.PAGES_URL not in found["pages"].env
    assert found["web"].command[found["web"].command.index("--workers") + 1] == "3"
    assert found["pages"].phase == found["web"].phase


def test_a_long_home_still_has_a_socket(places, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/tmp")
    found = places(Home(tmp_path / ("x" * 120)))
    try:
        assert len(str(found.pages_socket)) <= SOCKET_PATH_MAX_BYTES
        assert found.pages_socket != found.home.socket_path()
    finally:
        found.pages_socket.parent.rmdir()


@pytest.mark.parametrize("url", ["", "http://pages:8001"])
def test_who_names_the_place_of_pages_gets_no_process_for_it(places, monkeypatch, url):
    monkeypatch.setenv(plan.PAGES_URL, url)
    found = named(places())
    assert "pages" not in found and found["web"].env[plan.PAGES_URL] == url


def test_nobodys_word_on_addresses_is_believed_unless_named(places, monkeypatch):
    assert "--no-proxy-headers" in named(places())["web"].command
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "10.0.0.1")
    assert "--no-proxy-headers" not in named(places())["web"].command


def test_training_waits_for_pages_and_pages_for_calls(places):
    found = named(places())
    assert found["trainer"].nice > plan.priority.PAGES > plan.priority.LEDGER > found["web"].nice == 0
    assert found["worker"].nice == plan.priority.PAGES
