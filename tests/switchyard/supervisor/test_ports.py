"""Ports: a taken one is named with the mend, free ones are free."""

import socket

import pytest

from switchyard.supervisor import ports
from switchyard.supervisor.home import StartRefused


@pytest.fixture
def taken():
    with socket.socket() as held:
        held.bind((ports.HOST, 0))
        held.listen()
        yield held.getsockname()[1]


def test_a_taken_port_is_refused_with_another_suggested(taken):
    with pytest.raises(StartRefused, match=rf"Port {taken} is taken.*PORT={taken + 1}"):
        ports.require_free(taken)


def test_a_free_port_can_be_listened_on(taken):
    port = ports.free_port(frozenset({taken}))
    assert port != taken
    assert ports.is_free(port)


@pytest.mark.parametrize("value", ["", "0", "70000", "eighty", "-1"])
def test_nonsense_in_port_is_refused(monkeypatch, value):
    monkeypatch.setenv("PORT", value)
    with pytest.raises(StartRefused, match="1..65535"):
        ports.read_port()
