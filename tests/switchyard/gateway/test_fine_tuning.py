"""/v1/fine_tuning/jobs through the official client, over real HTTP; the recipe is a fake, everything around it real."""

import json
import threading
import time

import openai
import pytest
from openai.types.fine_tuning import FineTuningJobEvent

from costs.models import LedgerEntry
from modelhub import tasks
from modelhub.models import ModelVersion
from switchyard.gateway import fine_tuning
from switchyard.jobs import runner
from switchyard.jobs.models import Job
from tests import factories
from tests.fakes import tuning

pytestmark = pytest.mark.django_db(transaction=True)
ROWS = [
    (f"the {word} was fine", "positive" if i % 2 else "negative") for i, word in enumerate("abcdefghijkl")
]


@pytest.fixture(autouse=True)
def around(settings, tmp_path, monkeypatch):
    settings.MEDIA_ROOT = tmp_path / "media"
    monkeypatch.setitem(tasks.RECIPES, "fine_tune", "tests.fakes.tuning")
    monkeypatch.setattr(tasks, "follow", lambda job: None)
    monkeypatch.setattr(fine_tuning, "STOPS_WITHIN_S", 0.0)
    monkeypatch.setattr(runner, "LOOK_EVERY_S", 0.0)
    tuning.after_epoch.clear()
    yield
    tuning.after_epoch.clear()


def lines(rows=ROWS):
    return b"".join(json.dumps({"text": t, "label": c}).encode() + b"\n" for t, c in rows)


def send(client, rows=ROWS):
    return client.files.create(file=("rows.jsonl", lines(rows)), purpose="fine-tune").id


def start(client, **more):
    wish = {"model": "support-sentiment", "training_file": more.pop("training_file", None) or send(client)}
    return client.fine_tuning.jobs.create(**wish | more)


def test_from_rows_to_an_answer_by_the_models_name(gateway):
    client = gateway.openai()
    held = send(client, [("not seen yet " + t, c) for t, c in ROWS])
    job = start(client, validation_file=held, suffix="Nights", seed=5, metadata={"team": "night"},
                hyperparameters={"n_epochs": 4, "batch_size": 8, "learning_rate_multiplier": 0.5})  # fmt: skip
    assert job.object == "fine_tuning.job"
    assert job.status in ("validating_files", "queued")
    assert (job.model, job.seed, job.metadata, job.validation_file) == (
        "support-sentiment",
        5,
        {"team": "night"},
        held,
    )
    assert job.hyperparameters.to_dict() == {"n_epochs": 4, "batch_size": 8, "learning_rate_multiplier": 0.5}
    assert (job.fine_tuned_model, job.finished_at, job.trained_tokens, job.error, job.result_files) == (
        None,
        None,
        None,
        None,
        [],
    )
    assert job.organization_id == "acme" and job.method.type == "supervised"
    assert client.fine_tuning.jobs.retrieve(job.id) == job

    row = Job.objects.get(pk=job.id)
    told = {"method", "epochs", "batch_size", "learning_rate_multiplier", "seed", "suffix", "validation_dataset", "dataset",
            "deployment"}  # fmt: skip
    assert told <= set(row.params)
    assert (row.params["method"], row.params["suffix"], row.params["deployment"]) == (
        "lora",
        "nights",
        "private-a",
    )
    assert row.estimated_nusd == row.reserved_nusd > 0
    tasks.run_job(job.id)

    done = client.fine_tuning.jobs.retrieve(job.id)
    assert done.status == "succeeded", done.error
    assert done.trained_tokens == 7 * 12 * 4
    assert done.finished_at >= done.created_at and done.estimated_finish is None
    name = done.fine_tuned_model
    assert name.startswith("ft:private-a:support-sentiment:nights:")
    curve = client.files.content(done.result_files[0]).text.splitlines()
    assert curve[0] == "step,train_loss,valid_loss,valid_mean_token_accuracy" and len(curve) == 5
    assert client.files.retrieve(done.result_files[0]).purpose == "fine-tune-results"
    assert LedgerEntry.objects.get(job_id=job.id).amount_nusd == Job.objects.get(pk=job.id).cost_nusd > 0
    assert Job.objects.get(pk=job.id).reserved_nusd == 0

    gateway.refresh()
    assert name in [model.id for model in client.models.list()]
    assert client.models.retrieve(name).id == name
    answer = client.chat.completions.create(model=name, messages=[{"role": "user", "content": "all fine"}])
    assert (answer.model, answer.choices[0].message.content) == (name, "positive")
    version = ModelVersion.objects.get(pk=Job.objects.get(pk=job.id).result["candidate"])
    assert gateway.private.seen[-1].body["model"] == version.upstream_model
    assert not gateway.external.seen, "the version is on the private side, whatever the workload prefers"
    with gateway.client() as http:
        reply = http.post("/v1/classifications", json={"model": name, "input": ["one", "two"]}).json()
    assert (reply["model"], len(reply["data"])) == (name, 2)


def test_a_version_asked_for_by_name_passes_policy_and_is_nobody_elses(gateway):
    client = gateway.openai()
    job = start(client)
    tasks.run_job(job.id)
    name = client.fine_tuning.jobs.retrieve(job.id).fine_tuned_model
    gateway.refresh()
    with pytest.raises(openai.NotFoundError) as foreign:
        gateway.openai("legal").chat.completions.create(
            model=name, messages=[{"role": "user", "content": "x"}]
        )
    assert foreign.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        gateway.openai("legal").models.retrieve(name)
    with pytest.raises(openai.BadRequestError):
        client.embeddings.create(model=name, input="x")
    factories.make_policy(
        gateway.company.organisation,
        "invariants: []\nrules:\n  - {name: all, when: 'true', route: {prefer: [ext-a], fallback: []}}\ndefault: deny\n",
    )
    gateway.refresh()
    with pytest.raises(openai.APIStatusError) as refused:
        client.chat.completions.create(model=name, messages=[{"role": "user", "content": "x"}])
    assert refused.value.status_code in (403, 503) and not gateway.external.seen, (
        "no other model answers in its place"
    )
    ModelVersion.objects.update(stage="retired")
    gateway.refresh()
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model=name, messages=[{"role": "user", "content": "x"}])


def test_lists_and_events_and_checkpoints_have_pages(gateway):
    client = gateway.openai()
    file = send(client)
    made = [start(client, training_file=file, metadata={"n": str(i % 2)}).id for i in range(5)]
    assert len(set(made)) == 5, "each create is a job of its own"
    assert [job.id for job in client.fine_tuning.jobs.list(limit=2)] == made[::-1]
    assert client.fine_tuning.jobs.list(limit=2).has_more
    assert [j.id for j in client.fine_tuning.jobs.list(extra_query={"metadata[n]": "1"})] == [
        made[3],
        made[1],
    ]
    tasks.run_job(made[0])
    events = list(client.fine_tuning.jobs.list_events(made[0], limit=2))
    assert all(
        event.object == "fine_tuning.job.event" and event.id.startswith("ftevent-") for event in events
    )
    messages = [event.message for event in events]
    assert messages[0] == "succeeded" and messages[-1] == "submitted", "newest first"
    metrics = [event for event in events if event.type == "metrics"]
    assert [event.data["loss"] for event in metrics] == [1 / 3, 1 / 2, 1.0]
    points = list(client.fine_tuning.jobs.checkpoints.list(made[0], limit=1))
    assert [point.step_number for point in points] == [3, 2, 1]
    assert points[0].metrics.train_loss == pytest.approx(1 / 3)
    assert points[0].fine_tuned_model_checkpoint.endswith(":ckpt-step-3")
    assert points[0].fine_tuning_job_id == made[0]


def stream(client, job_id, query=""):
    return client.get(
        f"/fine_tuning/jobs/{job_id}/events?stream=true{query}", cast_to=FineTuningJobEvent, stream=True,
        stream_cls=openai.Stream[FineTuningJobEvent],
    )  # fmt: skip


def test_events_stream_from_the_first_to_the_end(gateway, monkeypatch):
    """The reader waits while the job runs: the test's database takes one of them at a time."""
    monkeypatch.setattr(fine_tuning, "LOOK_S", 0.02)
    turn, since = threading.Lock(), fine_tuning._since

    def in_turn(*args):
        with turn:
            return since(*args)

    monkeypatch.setattr(fine_tuning, "_since", in_turn)
    client = gateway.openai()
    job = start(client)
    got = []
    reader = threading.Thread(target=lambda: got.extend(stream(client, job.id)), daemon=True)
    reader.start()
    deadline = time.monotonic() + 10
    while not got and time.monotonic() < deadline:
        time.sleep(0.02)
    assert [event.message for event in got] == ["submitted"], "it is told at once, and the stream stays open"
    with turn:
        tasks.run_job(job.id)
    reader.join(10)
    assert [event.message for event in got] == [
        "submitted",
        "started",
        "epoch 1",
        "epoch 2",
        "epoch 3",
        "succeeded",
    ]
    again = list(stream(client, job.id, f"&after={got[2].id}"))
    assert [event.message for event in again] == ["epoch 2", "epoch 3", "succeeded"]


def test_pause_resume_and_cancel(gateway):
    client = gateway.openai()
    job = start(client, hyperparameters={"n_epochs": 5})

    def pause_after_two(context, epoch):
        if epoch == 2:
            assert client.fine_tuning.jobs.pause(job.id).status == "running", "until its runner looks"
            assert client.fine_tuning.jobs.retrieve(job.id).to_dict()["switchyard"]["progress"] == 0.4

    tuning.after_epoch.append(pause_after_two)
    tasks.run_job(job.id)
    assert client.fine_tuning.jobs.retrieve(job.id).status == "paused"
    with pytest.raises(openai.ConflictError):
        client.fine_tuning.jobs.pause(job.id)
    tuning.after_epoch.clear()
    assert client.fine_tuning.jobs.resume(job.id).status in ("queued", "validating_files")
    tasks.run_job(job.id)
    assert client.fine_tuning.jobs.retrieve(job.id).status == "succeeded"
    steps = [point.step_number for point in client.fine_tuning.jobs.checkpoints.list(job.id)]
    assert steps == [5, 4, 3, 2, 1], "it went on where it was"
    other = start(client)
    assert client.fine_tuning.jobs.cancel(other.id).status == "cancelled"
    with pytest.raises(openai.ConflictError) as over:
        client.fine_tuning.jobs.cancel(other.id)
    assert over.value.code == "illegal_state"


def test_a_failed_job_says_why(gateway):
    client = gateway.openai()
    job = start(client, seed=13)
    tasks.run_job(job.id)
    failed = client.fine_tuning.jobs.retrieve(job.id)
    assert (failed.status, failed.error.code, failed.error.message) == (
        "failed",
        "invalid_value",
        "The loss is not a number.",
    )
    assert failed.fine_tuned_model is None and failed.finished_at


def test_the_new_shape_and_auto_are_understood(gateway):
    client = gateway.openai()
    method = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": "auto", "batch_size": 16}}}
    job = start(client, method=method)
    assert job.method.supervised.hyperparameters.n_epochs == "auto"
    assert job.hyperparameters.batch_size == 16
    assert start(client).seed != start(client).seed, "a seed is made up where none is said"


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"hyperparameters": {"n_epochs": 0}}, "n_epochs"), ({"hyperparameters": {"n_epochs": 9000}}, "n_epochs"),
        ({"hyperparameters": {"warmth": 1}}, "hyperparameters"), ({"hyperparameters": {"batch_size": "big"}}, "batch_size"),
        ({"hyperparameters": {"learning_rate_multiplier": -1}}, "learning_rate_multiplier"),
        ({"method": {"type": "dpo"}}, "method"), ({"suffix": "ä!"}, "suffix"), ({"metadata": {"k": "v" * 600}}, "metadata"),
        ({"training_file": "file_none"}, "training_file"), ({"integrations": [{"type": "wandb"}]}, "integrations"),
        ({"extra_body": {"colour": "red"}}, "colour"), ({"seed": -3}, "seed"), ({"extra_body": {"adapter": "x"}}, "adapter"),
        ({"hyperparameters": {"n_epochs": 2},
          "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3}}}}, "method"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_name(gateway, more, param):
    with pytest.raises(openai.BadRequestError) as refused:
        start(gateway.openai(), **more)
    assert refused.value.param == param and not Job.objects.exists()
    said = refused.value.body["message"]
    assert param not in ("n_epochs", "adapter") or f"`{param}`" in said, "in the caller's words, not ours"


def test_rows_that_the_workload_refuses_are_told_by_line_and_by_parameter(gateway):
    client = gateway.openai()
    chats = [{"messages": [{"role": "user", "content": f"was {word} fine?"},
                           {"role": "assistant", "content": "long " * 50}]} for word in "abcdefghijkl"]  # fmt: skip
    content = b"\n".join(json.dumps(chat).encode() for chat in chats)
    file = client.files.create(file=("chats.jsonl", content), purpose="fine-tune").id
    with pytest.raises(openai.BadRequestError) as refused:
        start(client, training_file=file)
    assert (refused.value.param, refused.value.code) == ("training_file", "invalid_value")
    assert [fault["line"] for fault in refused.value.body["errors"]] == list(range(1, 13))
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("model", "status", "words"),
    [("nothing", 404, "no model 'nothing'"), ("private-a", 200, ""), ("txt-base", 200, ""), ("memo", 404, "no model"),
     ("vectors", 400, "tables"), ("ft:private-a:x::1", 400, "base")],
)  # fmt: skip
def test_what_may_be_trained(gateway, model, status, words):
    client = gateway.openai()
    try:
        job = start(client, model=model)
        assert (status, job.to_dict()["switchyard"]["workload"]) == (200, "support-sentiment"), (
            "found by its labels"
        )
    except openai.APIStatusError as error:
        assert error.status_code == status and words in str(error)


def test_the_neighbour_knows_no_job_of_ours(gateway):
    job = start(gateway.openai())
    legal = gateway.openai("legal").fine_tuning.jobs
    assert list(legal.list()) == []
    for ask in (
        legal.retrieve,
        legal.cancel,
        legal.pause,
        legal.resume,
        legal.list_events,
        legal.checkpoints.list,
    ):
        with pytest.raises(openai.NotFoundError):
            ask(job.id)
    with pytest.raises(openai.BadRequestError, match="no file"):
        legal.create(model="contract-clauses", training_file=job.training_file)


def test_a_full_budget_starts_nothing_and_says_which(gateway):
    factories.make_budget(gateway.company.organisation, "lob:customer-service", "0.000001", action="stop")
    with pytest.raises(
        openai.RateLimitError, match="lob:customer-service has no room for this job"
    ) as refused:
        start(gateway.openai())
    assert refused.value.code == "project_spend_limit_exceeded" and not Job.objects.exists()


def test_rows_of_the_evaluation_set_are_left_out(gateway):
    from modelhub.ml import datasets as shipped

    leak = shipped.load("support-sentiment", "val").texts[0]
    client = gateway.openai()
    job = start(client, training_file=send(client, [*ROWS, (leak, "positive")]))
    dataset = Job.objects.get(pk=job.id).params["dataset"]
    from modelhub.models import Dataset

    report = Dataset.objects.get(pk=dataset).report
    assert (report["in_evaluation_set"], report["leaked_lines"], report["rows"]) == (1, [13], 12)
    told = [event.message for event in client.fine_tuning.jobs.list_events(job.id) if event.level == "warn"]
    assert told == ["1 rows are among those that judge the model and were left out: lines 13"]


def test_the_same_idempotency_key_is_the_same_job(gateway):
    client = gateway.openai()
    file = send(client)
    ids = {
        start(client, training_file=file, seed=1, extra_headers={"Idempotency-Key": "k1"}).id
        for _ in range(2)
    }
    assert len(ids) == 1
