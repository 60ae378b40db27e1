"""The doctor runs without anything of ours installed, and names each problem with its mend."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from switchyard.supervisor import doctor
from switchyard.supervisor.home import Home

SCRIPT = Path(doctor.__file__)


def _run(tmp_path, **env):
    clean = {"PATH": os.environ["PATH"], "SWITCHYARD_HOME": str(tmp_path)} | env
    return subprocess.run(
        [sys.executable, "-I", "-S", str(SCRIPT)], capture_output=True, text=True, env=clean, cwd=tmp_path
    )


def test_it_needs_the_standard_library_only_and_names_a_taken_port(tmp_path):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        done = _run(tmp_path, PORT=str(port))
    assert done.returncode == 1
    assert f"Port {port} is taken" in done.stdout and f"PORT={port + 1}" in done.stdout
    assert "Traceback" not in done.stderr


def test_another_instance_in_the_folder_is_named_with_its_process(tmp_path, monkeypatch):
    monkeypatch.setenv("SWITCHYARD_HOME", str(tmp_path))
    home = Home(tmp_path)
    home.prepare()
    with home.lock():
        state, sentence = doctor.check_instance()
    assert state == doctor.BAD and str(os.getpid()) in sentence
    assert doctor.check_instance()[0] == doctor.GOOD


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SWITCHYARD_HOME", str(tmp_path / "file" / "x"))
    state, sentence = doctor.check_home()
    assert state == doctor.BAD and "SWITCHYARD_HOME=" in sentence


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("SWITCHYARD_HOME", str(tmp_path))
    state, sentence = doctor.check_disk(10**18)
    assert state == doctor.BAD and "Free some space" in sentence


@pytest.mark.parametrize("version", [(3, 10), (3, 14)])
def test_another_python_is_refused_by_name(monkeypatch, version):
    monkeypatch.setattr(sys, "version_info", version + (0, "final", 0))
    state, sentence = doctor.check_python()
    assert state == doctor.BAD and "PYTHON=python3.11" in sentence


def test_a_registry_out_of_reach_is_named_before_the_first_install(monkeypatch):
    monkeypatch.setattr(doctor, "installed", lambda: False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple/")
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    state, sentence = doctor.check_registry()
    assert state == doctor.BAD and "PIP_INDEX_URL=" in sentence
    monkeypatch.setattr(doctor, "installed", lambda: True)
    assert doctor.check_registry()[0] == doctor.GOOD


@pytest.mark.parametrize(
    "options, maps, state",
    [
        ("'--enable-shared'", "7f00 r-xp /opt/lib/libpython3.11.so.1.0", doctor.NOTE),
        (
            "'--enable-shared' '--enable-optimizations'",
            "7f00 r-xp /opt/lib/libpython3.11.so.1.0",
            doctor.GOOD,
        ),
        ("'--enable-shared'", "55d0 r-xp /usr/bin/python3.11", doctor.GOOD),
    ],
)
def test_a_python_that_was_built_without_optimisations_is_named(monkeypatch, options, maps, state):
    monkeypatch.setattr(doctor.sysconfig, "get_config_var", lambda name: options)
    monkeypatch.setattr(Path, "read_text", lambda self: maps)
    told, sentence = doctor.check_build()
    assert told == state
    assert ("PYTHON=" in sentence) == (state == doctor.NOTE)
