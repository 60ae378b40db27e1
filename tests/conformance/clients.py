"""The official clients a conformance run drives: the installed one, and older ones in folders of their own.

python -m tests.conformance.clients install   puts them under var/conformance, or where
$SWITCHYARD_CONFORMANCE says; what can't be had is named.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@dataclass(frozen=True)
class Client:
    """`asks`: what to install; `script`: which checks it runs."""

    name: str
    asks: tuple[str, ...]
    script: str

    @property
    def node(self) -> bool:
        return self.script.endswith(".mjs")

    @property
    def folder(self) -> Path:
        home = Path(os.environ.get("SWITCHYARD_CONFORMANCE") or ROOT / "var" / "conformance")
        return home / self.name

    @property
    def program(self) -> Path | None:
        """What runs its checks; None where it isn't installed."""
        if self.name == "openai_python_installed":
            return Path(sys.executable)
        if self.node:
            found = shutil.which("node")
            return Path(found) if found and (self.folder / "node_modules" / "openai").is_dir() else None
        python = self.folder / "bin" / "python"
        return python if python.exists() else None


CLIENTS = (
    Client("openai_python_installed", (), "checks_openai.py"),
    Client("openai_python_1", ("openai<2",), "checks_openai.py"),
    Client("openai_python_2", ("openai<3",), "checks_openai.py"),
    Client("openai_python_3", ("openai<4",), "checks_openai.py"),
    Client("openai_node", ("openai",), "checks_openai.mjs"),
    Client("anthropic_python", ("anthropic",), "checks_anthropic.py"),
)


def run(client: Client, url: str, key: str, timeout_s: float = 300.0) -> dict[str, Any]:
    """{"client": name and version, "results": [{"area", "name", "passed", "detail"}]}. Raises RuntimeError when it broke."""
    assert client.program is not None, f"{client.name} is not installed"
    more = [str(client.folder)] if client.node else []
    call = [str(client.program), str(HERE / client.script), url, key, *more]
    ended = subprocess.run(call, capture_output=True, text=True, timeout=timeout_s, cwd="/")
    if ended.returncode:
        raise RuntimeError(f"{client.name} broke: {ended.stderr[-2000:]}")
    told: dict[str, Any] = json.loads(ended.stdout.strip().rpartition("\n")[2])
    return told


def install(client: Client) -> str:
    """ "" when it is there, else why not."""
    if not client.asks or client.program is not None:
        return ""
    client.folder.mkdir(parents=True, exist_ok=True)
    if client.node:
        if shutil.which("npm") is None:
            return "there is no npm"
        call = [
            "npm",
            "install",
            "--silent",
            "--no-audit",
            "--no-fund",
            "--prefix",
            str(client.folder),
            *client.asks,
        ]
    else:
        subprocess.run([sys.executable, "-m", "venv", str(client.folder)], check=True)
        call = [str(client.folder / "bin" / "python"), "-m", "pip", "install", "-q", *client.asks]
    ended = subprocess.run(call, capture_output=True, text=True)
    return "" if ended.returncode == 0 else (ended.stderr.strip().splitlines() or ["it failed"])[-1][:200]


if __name__ == "__main__":
    for wanted in CLIENTS:
        why = install(wanted)
        print(f"{wanted.name}: {why or 'there'}", flush=True)
