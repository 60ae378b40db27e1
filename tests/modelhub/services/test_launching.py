"""Launch specifications of vLLM and SGLang: only flags that their servers document, no keys, the asker's adapters only."""

from __future__ import annotations

import json
import shlex
from io import StringIO

import numpy as np
import pytest
import yaml
from django.core.management import call_command
from django.core.management.base import CommandError

from modelhub.ml.activation.placement import plan_layer
from modelhub.services.launching import ENGINES, Hardware, launch_spec
from switchyard.core.errors import InvalidRequest
from tests import factories
from tests.switchyard.api.company import Company, make_company

pytestmark = pytest.mark.django_db
# As `vllm serve --help` and SGLang's page of server arguments name them.
DOCUMENTED = {
    "vllm": {
        "--host", "--port", "--served-model-name", "--tensor-parallel-size", "--data-parallel-size", "--dtype",
        "--max-num-seqs", "--gpu-memory-utilization", "--quantization", "--max-model-len", "--enable-expert-parallel",
        "--enable-eplb", "--eplb-config", "--enable-lora", "--max-loras", "--max-lora-rank", "--lora-modules", "--api-key",
    },
    "sglang": {
        "--model-path", "--served-model-name", "--host", "--port", "--tp-size", "--dp-size", "--dtype", "--api-key",
        "--max-running-requests", "--mem-fraction-static", "--enable-metrics", "--quantization", "--context-length",
        "--ep-size", "--enable-eplb", "--ep-num-redundant-experts", "--init-expert-location", "--enable-lora",
        "--max-loras-per-batch", "--max-lora-rank", "--lora-paths",
    },
}  # fmt: skip
EVERYTHING = Hardware(
    path="/models/v3", tensor_parallel=4, data_parallel=2, expert_parallel=True, dtype="bfloat16", quantisation="fp8",
    max_model_len=32768, memory_share=0.85,
)  # fmt: skip


@pytest.fixture
def company() -> Company:
    return make_company()


@pytest.fixture
def llm(company: Company):
    """A chat model of everybody's, with one adapter of customer service and one of another line of business."""
    deployment = factories.make_deployment(
        company.organisation, "our-llm", "private", model="deepseek-v3", tasks=["chat"], heads=False,
        base_url="http://127.0.0.1:9100/v1", max_concurrency=48,
    )  # fmt: skip
    own = factories.make_workload(company.service, "assist", task="chat")
    other = factories.make_lob(company.organisation, "research")
    theirs = factories.make_workload(other, "secret-project", task="chat")
    factories.make_version(deployment, own, upstream_model="assist-lora", artifact="adapters/assist")
    factories.make_version(deployment, theirs, upstream_model="secret-lora", artifact="adapters/secret")
    factories.make_version(
        deployment, own, "retired", version="0", upstream_model="old-lora", artifact="adapters/old"
    )
    return deployment


def plans(layers: int = 2):
    counts = np.array([900, 50, 40, 30, 20, 10, 10, 10])
    return [plan_layer(layer, counts, devices=8, redundant=8) for layer in range(layers)]


def flags(command: str) -> set[str]:
    return {word.partition("=")[0] for word in shlex.split(command) if word.startswith("--")}


@pytest.mark.parametrize("engine", ENGINES)
def test_only_documented_flags_are_used_whatever_is_asked_for(llm, engine):
    for hardware, placed in ((Hardware(), None), (EVERYTHING, plans())):
        assert flags(launch_spec(llm, engine, hardware, placed).command) <= DOCUMENTED[engine]
    assert flags(launch_spec(llm, engine, EVERYTHING, plans()).command) == DOCUMENTED[engine]


def test_vllm_is_told_the_rows_own_limits_its_adapters_and_how_many_experts_to_repeat(llm):
    words = shlex.split(launch_spec(llm, "vllm", EVERYTHING, plans()).command)
    after = {word: words[place + 1] for place, word in enumerate(words[:-1]) if word.startswith("--")}
    assert words[:3] == ["vllm", "serve", "/models/v3"]
    assert (after["--served-model-name"], after["--port"], after["--max-num-seqs"]) == (
        "deepseek-v3",
        "9100",
        "48",
    )
    assert json.loads(after["--eplb-config"])["num_redundant_experts"] == 8
    assert after["--lora-modules"] == "assist-lora=adapters/assist"
    assert "old-lora" not in " ".join(words)
    assert after["--api-key"] == "$SWITCHYARD_UPSTREAM_KEY"


def test_sglang_gets_the_placement_itself_as_a_file(llm):
    spec = launch_spec(llm, "sglang", EVERYTHING, plans())
    ((name, content),) = spec.files.items()
    placed = json.loads(content)["physical_to_logical_map"]
    assert f"--init-expert-location {name}" in spec.command
    assert [len(layer) for layer in placed] == [16, 16]
    assert placed[0].count(0) > 1  # the hot expert is there more than once
    assert set(placed[0]) == set(range(8))


@pytest.mark.parametrize("engine", ENGINES)
def test_compose_and_helm_are_yaml_that_hold_the_command_the_devices_and_no_key(llm, engine):
    spec = launch_spec(llm, engine, EVERYTHING)
    service = yaml.safe_load(spec.compose)["services"]["our-llm"]
    assert service["deploy"]["resources"]["reservations"]["devices"][0]["count"] == 8
    assert service["entrypoint"][2].replace("$$", "$") == spec.command
    (server,) = yaml.safe_load(spec.helm)["llmServers"]
    assert server["resources"]["limits"]["nvidia.com/gpu"] == 8
    assert server["args"][-1] == "$(SWITCHYARD_UPSTREAM_KEY)"
    assert "upstream-key" not in json.dumps(spec.as_dict())


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"quantisation": "abacus"}, "quantisation"), ({"tensor_parallel": 0}, "tensor_parallel"),
        ({"dtype": "int3"}, "dtype"), ({"expert_parallel": True}, "two devices"), ({"memory_share": 1.5}, "memory_share"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_name(llm, changes, word):
    with pytest.raises(InvalidRequest, match=word):
        launch_spec(llm, "vllm", Hardware(**changes))
    with pytest.raises(InvalidRequest, match="expert_parallel"):
        launch_spec(llm, "vllm", Hardware(), plans())


def test_a_vendor_and_a_classifier_have_nothing_to_launch(company: Company):
    vendor = factories.make_deployment(company.organisation, "vendor", tasks=["chat"])
    with pytest.raises(InvalidRequest, match="vendor's"):
        launch_spec(vendor, "vllm")
    text = factories.make_deployment(company.organisation, "text", "private")
    with pytest.raises(InvalidRequest, match="language models"):
        launch_spec(text, "vllm")


def test_the_command_prints_what_was_asked_for(llm):
    out, err = StringIO(), StringIO()
    call_command(
        "launch_spec", "our-llm", "--engine", "vllm", "--tensor-parallel", "2", stdout=out, stderr=err
    )
    assert "--tensor-parallel-size 2" in out.getvalue()
    assert "SWITCHYARD_UPSTREAM_KEY" in err.getvalue()
    with pytest.raises(CommandError, match="no deployment"):
        call_command("launch_spec", "nothing", "--engine", "vllm")
    with pytest.raises(CommandError, match="isn't known"):
        call_command(
            "launch_spec", "our-llm", "--engine", "vllm", "--tensor-parallel", "2", "--redundant", "2"
        )


def test_over_rest_an_asker_sees_the_adapters_of_their_own_lines_of_business_only(company: Company, llm):
    everything = company.alice.get("deployments/our-llm/launch-spec", engine="vllm")
    assert {"assist-lora=adapters/assist", "secret-lora=adapters/secret"} <= set(everything["arguments"])
    own = company.person("gil", "viewer", company.service).get(
        "deployments/our-llm/launch-spec", engine="vllm"
    )
    assert "assist-lora=adapters/assist" in own["arguments"]
    assert "secret-lora" not in json.dumps(own)
    factories.make_deployment(
        company.organisation, "legal-llm", "private", tasks=["chat"], lobs=[company.legal]
    )
    company.alice.get("deployments/legal-llm/launch-spec", engine="vllm")
    company.bob.get("deployments/legal-llm/launch-spec", engine="vllm", expect=404)
    company.alice.get("deployments/our-llm/launch-spec", engine="abacus", expect=400)


def test_over_rest_a_move_is_a_job_for_those_who_run_deployments(company: Company, llm):
    told = company.alice.post("deployments/our-llm/migrate", {"backend": "openvino", "rows": 10}, expect=202)
    assert company.alice.get(f"jobs/{told['job']}")["kind"] == "migration"
    company.alice.post("deployments/our-llm/migrate", {"backend": "abacus"}, expect=400)
    company.bob.post("deployments/our-llm/migrate", {"backend": "openvino"}, expect=403)  # others use it too
    factories.make_deployment(company.organisation, "legal-text", "private", lobs=[company.legal])
    company.bob.post("deployments/legal-text/migrate", {"backend": "openvino"}, expect=404)
