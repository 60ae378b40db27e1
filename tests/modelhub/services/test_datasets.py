import hashlib
import json
from pathlib import Path

import pytest

from modelhub.ml import datasets as shipped
from modelhub.models import Dataset
from modelhub.services import datasets
from modelhub.services.datasets import read_rows, upload
from switchyard.audit.models import AuditEvent
from switchyard.core.errors import BodyTooLarge, InvalidRequest, ValidationFailed
from switchyard.tenancy.querysets import scope_of
from tests.factories import make_lob, make_organisation, make_user, make_workload

pytestmark = pytest.mark.django_db
ROWS = [(f"the {word} was fine", "positive" if i % 2 else "negative") for i, word in enumerate("abcdefghij")]


@pytest.fixture
def workload(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    return make_workload(make_lob(), "support-sentiment")


def lines(rows):
    return "\n".join(json.dumps({"text": text, "label": label}) for text, label in rows).encode()


def send(workload, content, name="rows.jsonl"):
    return upload(workload=workload, name=name, content=content, user=None)


def faults_of(workload, content, name="rows.jsonl"):
    with pytest.raises(ValidationFailed) as refused:
        send(workload, content, name)
    assert not Dataset.objects.exists()
    return {fault["line"]: fault["message"] for fault in refused.value.errors}


def test_good_rows_are_kept_by_the_hash_of_what_is_kept(workload, settings):
    dataset = send(workload, lines(ROWS))
    assert (dataset.rows, dataset.labels, dataset.report["rows"]) == (10, ["negative", "positive"], 10)
    kept = (Path(settings.MEDIA_ROOT) / dataset.path).read_bytes()
    assert dataset.path == f"datasets/{hashlib.sha256(kept).hexdigest()}.jsonl"
    assert read_rows(dataset) == ROWS
    assert AuditEvent.objects.get(action="dataset.uploaded").lob == "customer-service"


def test_csv_with_a_mark_quotes_and_line_breaks_is_the_same_rows(workload):
    body = "\ufefflabel,text\n" + "\n".join(f'{label},"{text}, said\nshe"' for text, label in ROWS)
    dataset = send(workload, body.encode(), "rows.CSV")
    assert read_rows(dataset)[0] == ("the a was fine, said\nshe", "negative")


def test_every_wrong_line_is_named(workload):
    wrong = [
        b'{"text": "no label"}', b"not json", b'{"text": "", "label": "a"}', b'["a", "b"]', b'{"text": 3, "label": "a"}',
        b'{"text": "\\ud800", "label": "a"}', b'{"text": "nul \\u0000", "label": "a"}', b'{"text": "x", "label": "   "}',
        b'{"text": "' + b"y" * 20_001 + b'", "label": "a"}',
    ]  # fmt: skip
    faults = faults_of(workload, lines(ROWS) + b"\n\n" + b"\n".join(wrong))
    assert list(faults) == list(range(12, 12 + len(wrong)))
    assert "`label` is missing" in faults[12]
    assert faults[13] == "not a JSON object"
    assert "can't be stored" in faults[17]
    assert "longer than 20000" in faults[20]


def test_contradictions_name_both_lines(workload):
    rows = [*ROWS, ("The  A was fine", "positive")]
    assert faults_of(workload, lines(rows)) == {11: "the same text has label 'negative' in line 1"}


def test_duplicates_and_rows_of_the_evaluation_set_are_left_out_and_listed(workload):
    leaked = shipped.load("support-sentiment", "val").texts[0]
    rows = [*ROWS, ROWS[0], (leaked.upper(), "positive"), ("brand new", "complaint")]
    dataset = send(workload, lines(rows))
    assert dataset.rows == 11
    assert (dataset.report["duplicate_lines"], dataset.report["leaked_lines"]) == ([11], [12])
    assert dataset.report["new_labels"] == ["complaint"]
    assert dataset.report["rare_labels"] == ["complaint"]
    assert leaked.upper() not in dict(read_rows(dataset))


def test_bytes_that_are_no_utf8_are_located(workload):
    assert faults_of(workload, lines(ROWS[:2]) + b"\n\xff\xfe") == {3: "not UTF-8"}


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "0 usable rows"), (lines(ROWS[:3]), "at least 8"), (lines([(t, "one") for t, _ in ROWS]), "1 labels"),
     (b"a,b\n1,2\n", "must name the columns"), (b'text,label\n"open,positive\n', "not CSV")],
)  # fmt: skip
def test_files_that_cannot_be_learnt_from_are_refused(workload, content, words):
    with pytest.raises(ValidationFailed, match=words):
        send(
            workload,
            content,
            "rows.csv" if b"," in content[:12] and not content.startswith(b"{") else "rows.jsonl",
        )


def test_too_much_is_refused_before_it_is_read(workload, monkeypatch):
    monkeypatch.setattr(datasets, "MAX_BYTES", 100)
    with pytest.raises(BodyTooLarge):
        send(workload, lines(ROWS))


def test_rows_changed_on_disk_are_not_trained_on(workload, settings):
    dataset = send(workload, lines(ROWS))
    path = Path(settings.MEDIA_ROOT) / dataset.path
    path.write_bytes(path.read_bytes().replace(b"positive", b"negative"))
    with pytest.raises(ValidationFailed, match="were changed"):
        read_rows(dataset)
    path.unlink()
    with pytest.raises(ValidationFailed, match="gone"):
        read_rows(dataset)


def test_the_same_file_for_another_workload_is_cleaned_by_that_ones_evaluation_set(workload):
    leaked = shipped.load("support-sentiment", "val").texts[0]
    other = make_workload(workload.lob, "returns-intent")
    content = lines([*ROWS, (leaked, "positive")])
    here, there = send(workload, content), send(other, content)
    assert (here.rows, there.rows) == (10, 11)
    assert here.path != there.path
    assert len(read_rows(here)) == 10


def test_predictions_take_no_rows_of_text(workload):
    with pytest.raises(InvalidRequest):
        send(make_workload(workload.lob, "equipment-fault", task="prediction"), lines(ROWS))


def test_the_neighbour_does_not_see_the_rows(workload):
    dataset = send(workload, lines(ROWS))
    organisation = workload.organisation
    bob = make_user("bob", organisation, "model_engineer", (make_lob(organisation, "legal"),))
    eve = make_user("eve", make_organisation(), "admin")
    alice = make_user("alice", organisation, "admin")
    seen = [list(Dataset.objects.for_tenant(scope_of(user))) for user in (alice, bob, eve)]
    assert seen == [[dataset], [], []]
