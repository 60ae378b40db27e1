"""Conversations become a candidate of the demonstration language model, answered by our own server under its own name only."""

import json
import urllib.error
import urllib.request

import pytest

from costs.models import LedgerEntry
from modelhub import artifacts
from modelhub.ml.adapters import chat_rows
from modelhub.models import ModelVersion
from modelhub.services.datasets import upload
from modelhub.services.fine_tuning import Settings, start
from modelhub.services.self_test import check_files
from modelhub.tasks import run_job
from tests.factories import make_deployment, make_workload
from tests.modelhub.adapters.test_chat_rows import checkpoint
from tests.modelhub.recipes.conftest import KEY

LINES = "\n".join(
    json.dumps({"messages": [{"role": "user", "content": f"machine {number} stands still"},
                             {"role": "assistant", "content": "call the night shift"}]})
    for number in range(16)
).encode()  # fmt: skip


@pytest.fixture
def chat(company, served):
    """A chat workload and the language model's deployment."""
    workload = make_workload(company.lob, "code-assist", task="chat", metric="none")
    deployment = make_deployment(
        company.organisation, "private-lm", "private", base_url=served.private, model="lm-tiny", tasks=["chat"]
    )  # fmt: skip
    return workload, deployment


def tuned(chat, **settings):
    workload, deployment = chat
    dataset = upload(workload=workload, name="chats.jsonl", content=LINES, user=None)
    job = start(dataset=dataset, deployment=deployment, user=None, settings=Settings(**settings))
    run_job(job.pk)
    job.refresh_from_db()
    return job


def ask(url, model):
    body = {"model": model, "messages": [{"role": "user", "content": "machine 3 stands still"}], "max_tokens": 8,
            "temperature": 0}  # fmt: skip
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/chat/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as reply:
        return json.loads(reply.read())


def test_conversations_become_a_candidate_that_is_served_and_paid_for(chat, served, company):
    before = ask(served.private, "lm-tiny")["choices"][0]["message"]["content"]
    job = tuned(chat, epochs=6, batch_size=8, suffix="night")
    assert job.state == "succeeded", job.error
    candidate = ModelVersion.objects.get(pk=job.result["candidate"])
    assert candidate.stage == "candidate" and candidate.version.startswith("ft-night-")
    assert candidate.upstream_model == f"lm-tiny/code-assist@{candidate.version}"
    assert job.result["trunk_hash"]["equal"] and job.result["loss"][1] < job.result["loss"][0]
    assert job.result["trained_tokens"] > 6 * 16 * 4 and job.result["trained_tokens"] % 6 == 0, (
        "every row, six times"
    )
    assert check_files(candidate) == ""
    assert LedgerEntry.objects.get(job_id=job.pk).amount_nusd == job.cost_nusd > 0
    told = ask(served.private, candidate.upstream_model)
    assert told["usage"]["completion_tokens"] > 0
    assert (
        ask(served.private, "lm-tiny")["choices"][0]["message"]["content"] == before
    )  # the base is as it was
    assert ask(served.private, candidate.upstream_model)["choices"] == told["choices"]


def test_nobody_gets_it_under_another_name(chat, served):
    job = tuned(chat, epochs=1)
    assert job.state == "succeeded", job.error
    name = f"code-assist@{job.result['version']}"
    folder = artifacts.home() / "artifacts" / "lm-tiny" / "heads" / name
    stolen = folder.with_name(name.replace("code-assist", "legal-chat"))
    folder.rename(stolen)
    for wanted, status in (
        (f"lm-tiny/{stolen.name}", 503),
        (f"lm-tiny/{name}", 404),
        ("lm-tiny/code-assist@ft-none", 404),
    ):
        with pytest.raises(urllib.error.HTTPError) as refused:
            ask(served.private, wanted)
        assert refused.value.code == status, wanted


@pytest.mark.parametrize("kind", ["tiny-deepseek", "tiny-qwen"])
def test_a_checkpoint_of_that_architecture_is_taught_by_its_own_template(kind, company, home, monkeypatch):
    peft = pytest.importorskip("peft")
    import torch
    from transformers import AutoModelForCausalLM

    folder = home / "llms" / kind
    fast = checkpoint(folder, kind)
    workload = make_workload(company.lob, "plant-chat", task="chat", metric="none")
    deployment = make_deployment(company.organisation, f"our-{kind}", "private", model=kind, tasks=["chat"])
    read = []
    learnable = chat_rows.learnable
    monkeypatch.setattr(
        chat_rows, "learnable", lambda spelt, most: read.extend(spelt) or learnable(spelt, most)
    )
    job = tuned((workload, deployment), epochs=4, batch_size=8, learning_rate_multiplier=20.0)
    assert job.state == "succeeded", job.error
    assert (
        fast.decode(read[0][0]) == "<s>user:machine 0 stands still</s><s>assistant:call the night shift</s>"
    )
    assert job.result["trunk_hash"]["equal"] and job.result["loss"][1] < job.result["loss"][0]
    candidate = ModelVersion.objects.get(pk=job.result["candidate"])
    adapter = home / candidate.artifact
    assert artifacts.verify(adapter)["kind"] == "causal-lora"
    asked = [{"role": "user", "content": "machine 3 stands still"}]
    prompt = fast(
        fast.apply_chat_template(asked, tokenize=False, add_generation_prompt=True), return_tensors="pt"
    )["input_ids"]
    base = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).eval()
    with torch.no_grad():
        before = base(prompt).logits[0, -1]
        after = peft.PeftModel.from_pretrained(base, adapter).eval()(prompt).logits[0, -1]
    wanted = fast("c", add_special_tokens=False)["input_ids"][0]
    assert after.log_softmax(-1)[wanted] > before.log_softmax(-1)[wanted] + 0.1, "it answers as it was taught"


def test_a_model_that_isn_t_here_says_where_to_put_it(chat, company, served):
    other = make_deployment(
        company.organisation, "vllm", "private", base_url=served.private, model="big-chat", tasks=["chat"]
    )  # fmt: skip
    job = tuned((chat[0], other))
    assert job.state == "failed" and "llms/big-chat" in job.error
