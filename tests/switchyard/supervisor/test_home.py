"""The home folder, its lock and its private files."""

import os
import stat
import subprocess
import sys

import pytest

from switchyard.supervisor.home import (
    SOCKET_PATH_MAX_BYTES,
    Home,
    StartRefused,
    read_json,
    write_private_json,
)


def test_a_second_instance_in_the_same_home_is_refused_with_the_mend(tmp_path):
    home = Home(tmp_path)
    home.prepare()
    with home.lock(), pytest.raises(StartRefused, match=rf"{os.getpid()}.*PORT=8001"):
        home.lock()


def test_the_lock_is_free_again_once_its_holder_is_gone(tmp_path):
    home = Home(tmp_path)
    home.prepare()
    home.lock().close()
    home.lock().close()


def test_a_socket_path_that_is_too_long_moves_to_a_short_private_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/tmp")
    home = Home(tmp_path / ("x" * 120))
    path = home.socket_path()
    try:
        assert len(os.fsencode(path)) <= SOCKET_PATH_MAX_BYTES
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert path == home.socket_path()
    finally:
        path.parent.rmdir()


def test_a_runtime_folder_open_to_others_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/tmp")
    home = Home(tmp_path / ("y" * 120))
    folder = home.socket_path().parent
    folder.chmod(0o755)
    try:
        with pytest.raises(StartRefused, match="remove it"):
            home.socket_path()
    finally:
        folder.rmdir()


def test_a_private_file_is_readable_by_its_owner_only_and_never_half_written(tmp_path):
    path = tmp_path / "demo.json"
    write_private_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_private_json(path, {"a": object()})
    assert read_json(path) == {"a": 1}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["demo.json"]


def test_a_file_with_anything_else_reads_as_empty(tmp_path):
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "broken.json").write_text("{")
    assert read_json(tmp_path / "list.json") == read_json(tmp_path / "broken.json") == {}
    assert read_json(tmp_path / "absent.json") == {}


def test_a_home_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StartRefused, match="SWITCHYARD_HOME="):
        Home(tmp_path / "file" / "home").prepare()


def test_the_switchyard_command_names_its_words():
    done = subprocess.run(
        [sys.executable, "-m", "switchyard.supervisor.cli", "jump"],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": "platform:."},
    )  # fmt: skip
    assert done.returncode == 2
    assert "run | doctor" in done.stderr
