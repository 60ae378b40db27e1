"""Other gateways for comparison, from their public packages, each in an environment of its own under the home.

python -m bench.tools.peers install [NAME …] — litellm, mlflow (a virtual environment each), portkey (needs node and npm).
`installed(home)` names those that are there; `start(...)` runs one before an upstream and says how it is asked.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from bench.common import end, free_port, wait_for

NAMES = ("litellm", "portkey", "mlflow")
KEY = "sk-bench-0123456789"
# hono's server helper is held everywhere: with later ones every stream of this gateway answers 500.
NODE_PACKAGES = ("@portkey-ai/gateway", "@hono/node-server@1.13.7")
NODE_MANIFEST = '{"name": "peer", "private": true, "overrides": {"@hono/node-server": "1.13.7"}}\n'
PIP_PACKAGES = {"litellm": ["litellm[proxy]"], "mlflow": ["mlflow[gateway]"]}
WAITED_S = 240.0


@dataclass(frozen=True)
class Peer:
    """A gateway that runs: where chat completions are asked for, and with what."""

    name: str
    url: str
    key: str
    pid: int
    model: str
    headers: dict[str, str] = field(default_factory=dict)
    how: str = ""


def folder(home: Path, name: str) -> Path:
    return home / "peers" / name


def home() -> Path:
    return Path(os.environ.get("SWITCHYARD_HOME", "var")).absolute()


def _program(where: Path, name: str) -> Path:
    if name == "portkey":
        return where / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    return where / "bin" / name


def missing(where: Path, name: str) -> str:
    """Why a peer can't run here; empty when it can."""
    if name == "portkey" and shutil.which("node") is None:
        return "node is not installed"
    if not _program(folder(where, name), name).exists():
        return f"not installed: python -m bench.tools.peers install {name}"
    return ""


def install(where: Path, name: str) -> None:
    """From the registries that pip and npm are set up for. CalledProcessError when one of them can't be reached."""
    target = folder(where, name)
    target.mkdir(parents=True, exist_ok=True)
    if name == "portkey":
        (target / "package.json").write_text(NODE_MANIFEST)
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", *NODE_PACKAGES], cwd=target, check=True)
        return
    venv.create(target, with_pip=True)
    subprocess.run(
        [str(target / "bin" / "python"), "-m", "pip", "install", "-q", *PIP_PACKAGES[name]], check=True
    )


def version(where: Path, name: str) -> str:
    if name == "portkey":
        package = folder(where, name) / "node_modules" / "@portkey-ai" / "gateway" / "package.json"
        import json

        return str(json.loads(package.read_text())["version"])
    words = [
        str(folder(where, name) / "bin" / "python"), "-c",
        f"import importlib.metadata as m; print(m.version('{name}'))",
    ]  # fmt: skip
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


LITELLM = """\
model_list:
  - model_name: m
    litellm_params: {{model: openai/m, api_base: "{upstream}", api_key: any, rpm: 4000000, tpm: 2000000000}}
general_settings: {{master_key: {key}}}
litellm_settings: {{telemetry: false, drop_params: true, request_timeout: 60}}
"""
MLFLOW = """\
endpoints:
  - name: m
    endpoint_type: llm/v1/chat
    model:
      provider: openai
      name: m
      config: {{openai_api_key: any, openai_api_base: "{upstream}"}}
"""


@contextmanager
def start(where: Path, name: str, upstream: str, work: Path) -> Iterator[Peer]:
    """The peer before `upstream` (its /v1), until the block ends. RuntimeError when it doesn't come up."""
    port, place = free_port(), folder(where, name)
    env = os.environ | {"LITELLM_MODE": "PRODUCTION", "LITELLM_TELEMETRY": "False", "DO_NOT_TRACK": "1"}
    env["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it asks a host that may be out of reach, thrice
    env.pop("PYTHONPATH", None)
    base = f"http://127.0.0.1:{port}"
    (work / f"{name}.yaml").write_text(
        {"litellm": LITELLM, "mlflow": MLFLOW}.get(name, "").format(upstream=upstream, key=KEY)
    )
    config = str(work / f"{name}.yaml")
    if name == "litellm":
        words = [
            str(place / "bin" / "litellm"),
            "--config",
            config,
            "--port",
            str(port),
            "--host",
            "127.0.0.1",
        ]
        peer = {"url": f"{base}/v1/chat/completions", "ready": f"{base}/health/liveliness", "key": KEY}
        how = "master key, requests and tokens a minute on the model; without its database"
    elif name == "mlflow":
        words = [
            str(place / "bin" / "mlflow"), "gateway", "start", "--config-path", config, "--port", str(port),
            "--host", "127.0.0.1", "--workers", "1",
        ]  # fmt: skip
        peer = {"url": f"{base}/v1/chat/completions", "ready": f"{base}/health", "key": "any"}
        how = "without keys, budgets or records"
    else:
        words = ["node", str(_program(place, name)), f"--port={port}", "--headless"]
        env |= {"TRUSTED_CUSTOM_HOSTS": "127.0.0.1,localhost"}
        peer = {"url": f"{base}/v1/chat/completions", "ready": f"{base}/", "key": "any"}
        how = "without keys, budgets or records"
    headers = {"x-portkey-provider": "openai", "x-portkey-custom-host": upstream} if name == "portkey" else {}
    with (work / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(words, cwd=work, env=env, stdout=log, stderr=log, process_group=0)
    try:
        wait_for(peer["ready"], process, WAITED_S)
        yield Peer(name, peer["url"], peer["key"], process.pid, "m", headers, how)
    finally:
        end(process)
        with suppress(ProcessLookupError):  # what it started and left behind, as MLflow's server does
            os.killpg(process.pid, signal.SIGTERM)


def main() -> None:
    command, *names = sys.argv[1:] or ["install"]
    if command != "install":
        raise SystemExit("python -m bench.tools.peers install [litellm] [portkey] [mlflow]")
    for name in names or NAMES:
        try:
            install(home(), name)
            print(f"{name} {version(home(), name)} in {folder(home(), name)}", flush=True)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"{name} could not be installed: {error}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
