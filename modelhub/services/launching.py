"""How to start vLLM or SGLang for a deployment: flags, a compose service and Helm values, from the deployment's own row.

Flags are those of vLLM 0.11–0.24 and SGLang 0.5, each named in its server's own documentation; a spec that would name
another is refused by a test. Keys are never written into it: the server reads its key from the environment.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import yaml

from modelhub.ml.activation.placement import LayerPlan, vllm_settings
from modelhub.models import Deployment, ModelVersion
from switchyard.core.errors import InvalidRequest

ENGINES = ("vllm", "sglang")
IMAGES = {"vllm": "vllm/vllm-openai", "sglang": "lmsysorg/sglang"}
DTYPES = ("auto", "bfloat16", "float16", "float32")
QUANTISATIONS = {
    "vllm": ("awq", "gptq", "fp8", "bitsandbytes", "compressed-tensors", "modelopt"),
    "sglang": (
        "awq",
        "gptq",
        "fp8",
        "bitsandbytes",
        "compressed-tensors",
        "modelopt",
        "w8a8_int8",
        "w8a8_fp8",
    ),
}
KEY_VARIABLE = "SWITCHYARD_UPSTREAM_KEY"


@dataclass(frozen=True, slots=True)
class Hardware:
    """What a deployment's row doesn't know: where the weights lie and how they are spread. Raises InvalidRequest."""

    path: str = ""
    tensor_parallel: int = 1
    data_parallel: int = 1
    expert_parallel: bool = False
    dtype: str = "auto"
    quantisation: str = ""
    max_model_len: int | None = None
    memory_share: float = 0.9
    max_lora_rank: int = 16

    def check(self, engine: str) -> None:
        if engine not in ENGINES:
            raise InvalidRequest(f"`engine` is one of {', '.join(ENGINES)}; got {engine!r}.", param="engine")
        if self.dtype not in DTYPES:
            raise InvalidRequest(f"`dtype` is one of {', '.join(DTYPES)}; got {self.dtype!r}.", param="dtype")
        if self.quantisation and self.quantisation not in QUANTISATIONS[engine]:
            known = ", ".join(QUANTISATIONS[engine])
            raise InvalidRequest(
                f"{engine} takes quantisation {known}; got {self.quantisation!r}.", param="quantisation"
            )
        for name in ("tensor_parallel", "data_parallel", "max_lora_rank"):
            if not 1 <= getattr(self, name) <= 1024:
                raise InvalidRequest(f"`{name}` must lie in 1..1024; got {getattr(self, name)}.", param=name)
        if self.max_model_len is not None and self.max_model_len < 1:
            raise InvalidRequest("`max_model_len` must be at least 1.", param="max_model_len")
        if not 0.05 <= self.memory_share <= 0.99:
            raise InvalidRequest("`memory_share` must lie in 0.05..0.99.", param="memory_share")
        if self.expert_parallel and self.tensor_parallel * self.data_parallel < 2:
            raise InvalidRequest("Experts are spread over two devices or more.", param="expert_parallel")


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """One way to start a server: the program with its arguments, and what stands around it."""

    engine: str
    deployment: str
    program: tuple[str, ...]
    arguments: tuple[str, ...]
    port: int
    devices: int
    notes: tuple[str, ...] = ()
    files: dict[str, str] = field(default_factory=dict)

    @property
    def command(self) -> str:
        """For a shell; the key comes from the environment."""
        words = [shlex.quote(word) for word in (*self.program, *self.arguments)]
        return " ".join([*words, "--api-key", f'"${KEY_VARIABLE}"'])

    @property
    def compose(self) -> str:
        """A compose service."""
        devices = {"driver": "nvidia", "count": self.devices, "capabilities": ["gpu"]}
        service: dict[str, Any] = {
            "image": IMAGES[self.engine],
            "entrypoint": ["sh", "-c", self.command.replace("$", "$$")],
            "environment": [KEY_VARIABLE],
            "ports": [f"127.0.0.1:{self.port}:{self.port}"],
            "shm_size": "16g",
            "deploy": {"resources": {"reservations": {"devices": [devices]}}},
            "healthcheck": {
                "test": ["CMD", "curl", "-fsS", f"http://127.0.0.1:{self.port}/health"], "interval": "15s",
                "start_period": "15m", "retries": 4,
            },
        }  # fmt: skip
        return yaml.safe_dump({"services": {self.deployment: service}}, sort_keys=False, width=1000)

    @property
    def helm(self) -> str:
        """Values of one server: image, arguments, devices, the key by its secret."""
        values = {
            "llmServers": [
                {
                    "name": self.deployment, "image": IMAGES[self.engine], "command": list(self.program),
                    "args": [*self.arguments, "--api-key", f"$({KEY_VARIABLE})"], "port": self.port,
                    "resources": {"limits": {"nvidia.com/gpu": self.devices}},
                    "secretKey": KEY_VARIABLE, "readinessPath": "/health",
                }
            ]
        }  # fmt: skip
        return yaml.safe_dump(values, sort_keys=False, width=1000)

    def as_dict(self) -> dict[str, Any]:
        return {
            "engine": self.engine, "deployment": self.deployment, "command": self.command,
            "arguments": list(self.arguments), "compose": self.compose, "helm": self.helm, "devices": self.devices,
            "notes": list(self.notes), "files": self.files,
        }  # fmt: skip


def launch_spec(
    deployment: Deployment, engine: str, hardware: Hardware | None = None, plans: list[LayerPlan] | None = None,
    *, versions: Iterable[ModelVersion] | None = None,
) -> LaunchSpec:  # fmt: skip
    """`plans`: a placement of experts by measured load, one a layer; `versions`: those whose adapters the asker may know of.

    Raises InvalidRequest for what can't be launched.
    """
    hardware = hardware or Hardware()
    hardware.check(engine)
    if deployment.side != "private":
        raise InvalidRequest(f"{deployment.name} is a vendor's: there is nothing to launch.")
    if not {"chat", "completion", "embedding"} & set(deployment.tasks):
        raise InvalidRequest(
            f"{deployment.name} does {', '.join(deployment.tasks)}: {engine} serves language models; ours serves these."
        )
    if plans and not hardware.expert_parallel:
        raise InvalidRequest("A placement of experts needs `expert_parallel`.", param="expert_parallel")
    port = urlsplit(deployment.base_url).port or 8000
    make = _vllm if engine == "vllm" else _sglang
    adapters = _adapters(deployment, versions)
    program, arguments, files = make(deployment, hardware, plans, port, adapters)
    return LaunchSpec(
        engine, deployment.name, program, tuple(arguments), port, hardware.tensor_parallel * hardware.data_parallel,
        tuple(_notes(deployment, hardware)), files,
    )  # fmt: skip


def _adapters(deployment: Deployment, versions: Iterable[ModelVersion] | None) -> list[ModelVersion]:
    """Versions that are adapters on this deployment's model, live ones first; a retired one is not loaded."""
    known = ModelVersion.objects.filter(deployment=deployment) if versions is None else versions
    rows = [row for row in known if row.stage != "retired" and row.artifact]
    return sorted(rows, key=lambda row: (row.stage != "live", row.upstream_model))


def _vllm(
    deployment: Deployment,
    hardware: Hardware,
    plans: list[LayerPlan] | None,
    port: int,
    adapters: list[ModelVersion],
) -> tuple[tuple[str, ...], list[str], dict[str, str]]:
    words = ["--host", "0.0.0.0", "--port", str(port), "--served-model-name", deployment.model]
    words += ["--tensor-parallel-size", str(hardware.tensor_parallel)]
    if hardware.data_parallel > 1:
        words += ["--data-parallel-size", str(hardware.data_parallel)]
    words += ["--dtype", hardware.dtype, "--max-num-seqs", str(deployment.max_concurrency)]
    words += ["--gpu-memory-utilization", str(hardware.memory_share)]
    if hardware.quantisation:
        words += ["--quantization", hardware.quantisation]
    if hardware.max_model_len:
        words += ["--max-model-len", str(hardware.max_model_len)]
    if hardware.expert_parallel:
        words.append("--enable-expert-parallel")
    if plans:
        config = vllm_settings(plans)["eplb_config"]
        words += ["--enable-eplb", "--eplb-config", json.dumps(config, separators=(",", ":"))]
    if adapters:
        words += [
            "--enable-lora",
            "--max-loras",
            str(min(8, len(adapters))),
            "--max-lora-rank",
            str(hardware.max_lora_rank),
        ]
        words += ["--lora-modules", *(f"{row.upstream_model}={row.artifact}" for row in adapters)]
    return ("vllm", "serve", hardware.path or deployment.model), words, {}


def _sglang(
    deployment: Deployment,
    hardware: Hardware,
    plans: list[LayerPlan] | None,
    port: int,
    adapters: list[ModelVersion],
) -> tuple[tuple[str, ...], list[str], dict[str, str]]:
    files: dict[str, str] = {}
    words = ["--model-path", hardware.path or deployment.model, "--served-model-name", deployment.model]
    words += ["--host", "0.0.0.0", "--port", str(port), "--tp-size", str(hardware.tensor_parallel)]
    if hardware.data_parallel > 1:
        words += ["--dp-size", str(hardware.data_parallel)]
    words += ["--dtype", hardware.dtype, "--max-running-requests", str(deployment.max_concurrency)]
    words += ["--mem-fraction-static", str(hardware.memory_share), "--enable-metrics"]
    if hardware.quantisation:
        words += ["--quantization", hardware.quantisation]
    if hardware.max_model_len:
        words += ["--context-length", str(hardware.max_model_len)]
    if hardware.expert_parallel:
        words += ["--ep-size", str(hardware.tensor_parallel)]
    if plans:
        settings = vllm_settings(plans)
        name = f"{deployment.name}-experts.json"
        files[name] = json.dumps(settings["expert_map"])
        redundant = settings["eplb_config"]["num_redundant_experts"]
        words += [
            "--enable-eplb",
            "--ep-num-redundant-experts",
            str(redundant),
            "--init-expert-location",
            name,
        ]
    if adapters:
        words += ["--enable-lora", "--max-loras-per-batch", str(min(8, len(adapters)))]
        words += ["--max-lora-rank", str(hardware.max_lora_rank)]
        words += ["--lora-paths", *(f"{row.upstream_model}={row.artifact}" for row in adapters)]
    return ("python3", "-m", "sglang.launch_server"), words, files


def _notes(deployment: Deployment, hardware: Hardware) -> list[str]:
    notes = [f"Set {KEY_VARIABLE} to the key that {deployment.name} was registered with."]
    if deployment.node is None:
        notes.append("The deployment names no machine: it is refused traffic until it does.")
    if not hardware.path:
        notes.append(
            f"The weights are looked for under the name {deployment.model!r}; give `path` where they lie elsewhere."
        )
    return notes
