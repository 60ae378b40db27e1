"""A head is compressed as a job: candidate, signed report, served behind its gate; bounds and bad input."""

import json

import pytest
import torch

from costs.models import LedgerEntry
from modelhub import artifacts
from modelhub.ml import datasets
from modelhub.ml.compress import chain, sparse_stage
from modelhub.ml.compress.stages import STAGES, BoundBroken, Stages
from modelhub.models import BiasAudit, ModelVersion
from modelhub.services import compressions
from modelhub.services.compressions import start_compression
from modelhub.services.datasets import upload
from modelhub.services.signatures import artifact_trust
from modelhub.serving.runners.text import TextClassifier
from modelhub.tasks import run_job
from switchyard.core.errors import InvalidRequest
from switchyard.jobs.models import Job
from tests.factories import make_lob, make_workload

QUICK = {"risk_limit": 12, "copies": 0}
LOOSE = {
    "epochs": 2, "width": 32, "least_share_of_teacher": 0.5, "not_below_tfidf": False, "least_speedup": 1.0,
    "most_int8_loss_points": 20.0, "least_int8_agreement": 0.5,
}  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setattr(chain, "PROBE_ROWS", 16)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def dataset(company):
    train = datasets.load("support-sentiment", "train")
    pairs = zip(train.texts[:64], train.labels[:64], strict=True)
    content = "\n".join(json.dumps({"text": text, "label": label}) for text, label in pairs).encode()
    return upload(workload=company.sentiment, name="ours.jsonl", content=content, user=None)


def quickly(job):
    Job.objects.filter(pk=job.pk).update(params=job.params | QUICK)
    run_job(job.pk)
    job.refresh_from_db()
    return job


@pytest.mark.timeout(900)
def test_a_head_becomes_a_small_gated_candidate_with_a_signed_report(company, dataset):
    job = start_compression(
        workload=company.sentiment, deployment=company.private, user=None, dataset=dataset, **LOOSE
    )
    assert (job.kind, job.queue, job.estimated_nusd > 0, job.params["paired"]) == (
        "compression",
        "training",
        True,
        False,
    )
    again = start_compression(
        workload=company.sentiment, deployment=company.private, user=None, dataset=dataset, **LOOSE
    )
    assert again.pk == job.pk  # two jobs on one teacher and the same rows are one
    job = quickly(job)
    assert job.state == "succeeded", job.error
    result = job.result
    assert list(result["stages"]) == list(STAGES)
    assert "labels" not in result["stages"]["figures"]
    assert set(result["stages"]["int8"]["methods"]) == {
        "dynamic", "min-max", "percentile", "entropy", "histogram-equalisation",
    }  # fmt: skip
    assert [row["model"] for row in result["front"]] == ["teacher", "student"]
    assert result["nusd_per_1000"]["student"] < result["nusd_per_1000"]["teacher"]
    assert result["groups"]["n"] == result["did_not_survive"]["of"] == 16
    assert LedgerEntry.objects.get(job_id=job.pk).amount_nusd == job.cost_nusd > 0

    candidate = ModelVersion.objects.get(pk=result["candidate"])
    assert (candidate.stage, candidate.lineage["teacher"]) == ("candidate", "txt-base")
    assert candidate.lineage["dataset"] == dataset.pk
    folder = artifacts.home() / candidate.artifact
    artifact_trust().check(folder, candidate.upstream_model)
    manifest = artifacts.verify(folder)
    assert manifest["bias_operator"] == "required" and "report" in manifest["files"]
    assert json.loads((folder / "report.json").read_text())["front"] == result["front"]
    assert not (artifacts.home() / "checkpoints" / candidate.version).exists()

    runner = TextClassifier(artifacts.SHIPPED / "txt-base", trunk_dir=artifacts.home() / "trunk")
    head = candidate.upstream_model.partition("/")[2]
    rows = runner.classify_mixed([head, "support-sentiment"], ["the food was great"] * 2)
    assert (rows[0].risk is not None) is rows[0].blocked and rows[1].risk is None
    assert rows[0].label in ("negative", "positive", "")


@pytest.mark.timeout(900)
def test_a_bound_that_can_t_be_met_stops_the_job_and_the_best_found_is_kept(company, dataset, monkeypatch):
    monkeypatch.setattr(sparse_stage, "has_experts", lambda manifest: False)
    settings = LOOSE | {"least_share_of_teacher": 1.0, "epochs": 1}
    job = quickly(
        start_compression(
            workload=company.sentiment, deployment=company.private, user=None, dataset=dataset, **settings
        )
    )
    assert (job.state, job.error_code) == ("failed", "bound_not_met")
    assert "keeps" in job.error and "100% were asked for" in job.error
    assert job.result["stopped"]["stage"] == "distillation"
    assert 0 < job.result["distillation"]["share_of_teacher"] < 1
    assert job.result["separation"] == {"skipped": "the teacher's trunk has no experts of its own to cluster"}
    assert not ModelVersion.objects.filter(stage="candidate").exists()


def test_a_teacher_that_is_corrupt_or_unfinished_is_refused(company, dataset):
    def code(change):
        folder = artifacts.home() / "artifacts" / "txt-base"
        folder.mkdir(parents=True, exist_ok=True)
        manifest = artifacts.load_manifest(artifacts.SHIPPED / "txt-base")
        for role in ("body", "head:support-sentiment"):
            name = manifest["files"][role]["name"]
            (folder / name).write_bytes((artifacts.SHIPPED / "txt-base" / name).read_bytes())
        manifest["files"] = {r: e for r, e in manifest["files"].items() if (folder / e["name"]).is_file()}
        change(folder, manifest)
        artifacts.write_json(folder / "manifest.json", manifest)
        try:
            job = start_compression(
                workload=company.sentiment, deployment=company.private, user=None, dataset=dataset, **LOOSE
            )
            return quickly(job).error_code
        finally:
            for path in folder.iterdir():
                if path.is_file():
                    path.unlink()

    def unfinished(folder, manifest):
        manifest["train"]["plateau"] = False

    def corrupt(folder, manifest):
        (folder / manifest["files"]["body"]["name"]).write_bytes(b"other")

    assert code(unfinished) == "teacher_not_converged"
    assert code(corrupt) == "teacher_corrupt"


def test_what_can_t_be_compressed_is_refused_before_it_costs_anything(company, dataset):
    def refused(words, **values):
        asked = {"workload": company.sentiment, "deployment": company.private, "user": None} | values
        with pytest.raises(InvalidRequest, match=words):
            start_compression(**asked)

    refused("classification workload", workload=company.alarms, deployment=company.private)
    refused("no private text classifier", deployment=company.external)
    refused("has no head for", workload=make_workload(company.lob, "odd-one"))
    refused("no fine-tuned version", version="ft-none")
    refused("`epochs` is a whole number from 1 to 50", epochs=0)
    refused("`width` is `auto` or one of", width=65)
    refused("`least_share_of_teacher` is a number", least_share_of_teacher=float("nan"))
    refused("`paired` is true, false", paired="maybe")
    refused("Unknown settings", colour="red")
    other = make_workload(make_lob(company.organisation, "legal"), "terms-review")
    refused("another workload's", workload=other, dataset=dataset)
    dataset.rows = 4
    refused("at least 20", dataset=dataset)
    assert not Job.objects.filter(kind="compression").exists()


def test_an_audit_that_failed_asks_for_pairing_and_balance(company, dataset):
    BiasAudit.objects.create(workload=company.sentiment, teacher="a", student="b", verdict="fail")
    job = start_compression(
        workload=company.sentiment, deployment=company.private, user=None, dataset=dataset
    )
    assert (job.params["paired"], job.params["balanced"], job.params["audit_failed"]) == (True, True, True)
    BiasAudit.objects.create(workload=company.sentiment, teacher="a", student="b", verdict="pass")
    assert not compressions._last_audit_failed(company.sentiment)


def test_a_stage_that_is_done_stays_done_and_another_order_starts_anew(tmp_path):
    def never():
        raise AssertionError("it was done")

    first = Stages(tmp_path, {"seed": 1})
    assert first.do("teacher", lambda: {"accuracy": 0.9}) == {"accuracy": 0.9}
    assert Stages(tmp_path, {"seed": 1}).do("teacher", never) == {"accuracy": 0.9}
    assert Stages(tmp_path, {"seed": 2}).results == {}
    with pytest.raises(KeyError, match="is no stage"):
        first.do("lunch", never)
    with pytest.raises(BoundBroken) as caught:
        raise first.break_("int8", {"loss": 3}, "too much")
    assert caught.value.report["stopped"] == {"stage": "int8", "why": "too much"}
    assert caught.value.report["teacher"] == {"accuracy": 0.9}
    (tmp_path / "stages.json").write_text("{broken")
    assert Stages(tmp_path, {"seed": 1}).results == {}


def test_a_fine_tuned_head_of_another_body_can_t_teach(tmp_path):
    folder = tmp_path / "support-sentiment@ft-1"
    folder.mkdir()
    (folder / "head.onnx").write_bytes(b"head")
    told = {"id": folder.name, "labels": ["a", "b"], "body_sha256": "0" * 64}
    artifacts.write_manifest(folder, told, {"head": "head.onnx"})
    with pytest.raises(chain.TeacherRefused, match="no plain head of txt-base"):
        chain.teacher_with(artifacts.SHIPPED / "txt-base", folder, "support-sentiment", tmp_path / "t")
    told["body_sha256"] = artifacts.load_manifest(artifacts.SHIPPED / "txt-base")["files"]["body"]["sha256"]
    artifacts.write_manifest(folder, told, {"head": "head.onnx"})
    made = chain.teacher_with(artifacts.SHIPPED / "txt-base", folder, "support-sentiment", tmp_path / "t")
    manifest = artifacts.verify(made)
    assert list(manifest["heads"]) == ["support-sentiment"] and manifest["train"]["plateau"] is True
