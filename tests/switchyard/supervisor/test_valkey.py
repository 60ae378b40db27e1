"""The embedded Valkey keeps what it acknowledged and is adopted rather than started twice."""

import subprocess
import time

from switchyard.supervisor import valkey


def _start(tmp_path):
    path = tmp_path / "v.sock"
    process = subprocess.Popen(valkey.command(path, tmp_path / "data"), stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 10
    while not valkey.answers(path):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    return path, process


def test_a_write_survives_a_kill_and_a_new_start(tmp_path):
    import redis

    path, process = _start(tmp_path)
    try:
        client = redis.Redis(unix_socket_path=str(path))
        client.set("spent", "42")
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("appendfsync") == {"appendfsync": "everysec"}
        client.close()
    finally:
        process.kill()
        process.wait()
    path, process = _start(tmp_path)
    try:
        client = redis.Redis(unix_socket_path=str(path))
        assert client.get("spent") == b"42"
        client.close()
    finally:
        process.kill()
        process.wait()


def test_a_living_server_is_adopted_and_a_dead_ones_socket_cleared(tmp_path):
    path, process = _start(tmp_path)
    assert valkey.adoptable(path)
    process.kill()
    process.wait()
    assert path.exists()
    assert not valkey.adoptable(path)
    assert not path.exists()
