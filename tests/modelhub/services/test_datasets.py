import hashlib
import json
from datetime import timedelta
from pathlib import Path

import pytest

from modelhub.ml import datasets as shipped
from modelhub.models import Dataset
from modelhub.services import datasets
from modelhub.services.datasets import read_rows, upload
from switchyard.audit.models import AuditEvent
from switchyard.core.clock import now
from switchyard.core.errors import (
    BodyTooLarge,
    Conflict,
    InvalidRequest,
    PolicyDenied,
    Unavailable,
    ValidationFailed,
)
from switchyard.jobs.services import submit_once
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
    plain = lines(ROWS) + b"\n"
    assert dataset.digest == hashlib.sha256(plain).hexdigest()
    assert dataset.path == f"datasets/{workload.lob_id}/{dataset.digest}.rows"
    assert read_rows(dataset) == ROWS
    assert b"the a was fine" not in (Path(settings.MEDIA_ROOT) / dataset.path).read_bytes(), "it lies sealed"
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
    [(b"", "holds no rows"), (lines(ROWS[:3]), "at least 8"), (lines([(t, "one") for t, _ in ROWS]), "label 'one'"),
     (b"a,b\n1,2\n", "must name the columns .* it names a, b"), (b'text,label\n"open,positive\n', "not CSV")],
)  # fmt: skip
def test_files_that_cannot_be_learnt_from_are_refused(workload, content, words):
    with pytest.raises(ValidationFailed, match=words):
        send(
            workload,
            content,
            "rows.csv" if b"," in content[:12] and not content.startswith(b"{") else "rows.jsonl",
        )


@pytest.mark.parametrize(
    ("head", "between", "name"),
    [("text,intent", ",", "train.csv"), ("Text;Label", ";", "rows.csv"), ("label\ttext", "\t", "rows.tsv"),
     ("text\tlabel", "\t", "rows.txt"), ('"text","category"', ",", "rows.csv"), ("id;label;text", ";", "rows.csv")],
)  # fmt: skip
def test_tables_are_taken_as_people_export_them(workload, head, between, name):
    cells = {"text": 0, "intent": 1, "label": 1, "category": 1, "id": 2}
    order = [cells[cell.strip('"').lower()] for cell in head.split(between)]
    body = "\n".join(between.join((*row, "7")[i] for i in order) for row in ROWS)
    assert read_rows(send(workload, f"{head}\n{body}\n".encode(), name)) == ROWS


def test_json_lines_are_known_whatever_their_file_is_called(workload):
    assert read_rows(send(workload, lines(ROWS), "rows.csv")) == ROWS


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"PK\x03\x04" + bytes(99), "workbook"), (b"\x1f\x8b\x08" + bytes(99), "gzip"), (b"PAR1" + bytes(99), "Parquet"),
     (json.dumps([{"text": t, "label": y} for t, y in ROWS], indent=1).encode(), "one JSON list"),
     (json.dumps({"rows": ROWS}, indent=1).encode(), "over several lines")],
)  # fmt: skip
def test_a_file_of_another_kind_is_called_by_its_name(workload, content, words):
    with pytest.raises(ValidationFailed, match=words):
        send(workload, content)


def test_a_label_that_is_missing_is_told_from_one_that_is_no_text(workload):
    wrong = b'{"text": "a", "intent": "b"}\n{"text": "a", "label": 0}\n{"text": "a", "label": " "}'
    faults = faults_of(workload, wrong)
    assert faults[1] == "`label` is missing; the row has text, intent"
    assert faults[2] == "`label` is 0, which is no text: write it in quotes"
    assert faults[3] == "`label` is empty"


def test_too_much_is_refused_before_it_is_read(workload, monkeypatch):
    monkeypatch.setattr(datasets, "MAX_BYTES", 100)
    with pytest.raises(BodyTooLarge):
        send(workload, lines(ROWS))


def test_rows_changed_on_disk_are_not_trained_on(workload, settings):
    dataset = send(workload, lines(ROWS))
    path = Path(settings.MEDIA_ROOT) / dataset.path
    kept = bytearray(path.read_bytes())
    kept[-20] ^= 1
    path.write_bytes(kept)
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


def chat(*messages):
    return json.dumps({"messages": [{"role": role, "content": content} for role, content in messages]})


def chats(rows, system=True):
    head = [("system", "Say how it is.")] if system else []
    return "\n".join(chat(*head, ("user", text), ("assistant", label)) for text, label in rows).encode()


def test_conversations_are_texts_with_labels_for_a_classifier(workload):
    dataset = send(workload, chats(ROWS))
    assert (dataset.format, dataset.labels) == ("labelled", ["negative", "positive"])
    assert read_rows(dataset) == ROWS


def test_conversations_stay_conversations_for_a_chat(workload):
    talk = make_workload(workload.lob, "talk", task="chat")
    rows = [*ROWS, (ROWS[0][0], "another good answer"), ROWS[0]]
    dataset = send(talk, chats(rows))
    assert (dataset.format, dataset.rows, dataset.report["duplicate_lines"]) == ("chat", 11, [12])
    first = datasets.read_chats(dataset)[0]
    assert [message["role"] for message in first] == ["system", "user", "assistant"]
    assert datasets.read_chats(send(workload, lines(ROWS)))[0][1] == {
        "role": "assistant",
        "content": "negative",
    }


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"messages": []}', "list of 2 to 200"), (chat(("user", "a"), ("user", "b")), "must be the assistant's"),
        (chat(("robot", "a"), ("assistant", "b")), "role"), (chat(("user", " "), ("assistant", "b")), r"messages\[0\].content"),
        (chat(("system", "a"), ("assistant", "b")), "no message of the user"),
        (chat(("user", "a"), ("assistant", "b" * 201)), "longer than 200"),
        ('{"text": "a", "label": "b"}', "the rows before are conversations"),
    ],
)  # fmt: skip
def test_conversations_that_are_wrong_say_how(workload, line, words):
    with pytest.raises(ValidationFailed, match=words) as refused:
        send(workload, chats(ROWS) + b"\n" + line.encode())
    assert refused.value.errors[0]["line"] == 11


def test_a_file_of_another_encoding_or_shape_says_what_was_expected(workload):
    for content, words in (
        (lines(ROWS).decode().encode("utf-16"), "UTF-16"), (json.dumps([{"text": "a"}]).encode(), "one JSON list"),
        (b'{"text": "' + b"x" * (3 << 20), "longer than 2 MiB"),
    ):  # fmt: skip
        with pytest.raises(ValidationFailed, match=words):
            send(workload, content)


def test_what_identifies_people_raises_the_class_and_is_located(workload):
    rows = [*ROWS, ("mail me at jo@example.com", "positive"), ("my card 4111 1111 1111 1111", "negative")]
    dataset = send(workload, lines(rows))
    assert (dataset.sensitivity, dataset.report["sensitivity"]) == ("confidential", "confidential")
    assert dataset.report["sensitive"] == {"card": [12], "email": [11]}
    assert sorted(group for group, _ in dataset.report["groups"]) == [[], ["card"], ["email"]]


def test_restricted_rows_are_kept_nowhere(workload, settings, tmp_path):
    secret = ("-----BEGIN RSA PRIVATE KEY----- abc", "positive")
    with pytest.raises(PolicyDenied, match="private key in line 11"):
        send(workload, lines([*ROWS, secret]))
    with pytest.raises(PolicyDenied, match="never kept"):
        send(make_workload(workload.lob, "notes", sensitivity="restricted"), lines(ROWS))
    with pytest.raises(PolicyDenied):
        upload(workload=workload, name="a", content=lines(ROWS), user=None, declared="restricted")
    assert not Dataset.objects.exists()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_full_disk_refuses_the_file_and_leaves_nothing(workload, monkeypatch, tmp_path):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("switchyard.core.sealed_files.os.fsync", full)
    with pytest.raises(Unavailable, match="No space left"):
        send(workload, lines(ROWS))
    assert not Dataset.objects.exists()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_rows_are_deleted_with_their_last_data_set_and_after_thirty_days(workload, settings):
    first, second = send(workload, lines(ROWS)), send(workload, lines(ROWS))
    path = Path(settings.MEDIA_ROOT) / first.path
    datasets.delete(first, None)
    assert path.exists() and read_rows(second) == ROWS
    assert datasets.purge_expired() == 0
    assert datasets.purge_expired(now() + timedelta(days=31)) == 1
    second.refresh_from_db()
    assert not path.exists() and "rows_deleted" in second.report
    with pytest.raises(ValidationFailed, match="gone"):
        read_rows(second)


def test_rows_that_a_live_job_needs_are_not_deleted(workload):
    dataset = send(workload, lines(ROWS))
    job = submit_once(
        kind="fine_tune", organisation=workload.organisation, lob=workload.lob, params={"dataset": dataset.pk}
    )
    with pytest.raises(Conflict, match=job.pk):
        datasets.delete(dataset, None)
    assert datasets.purge_expired(now() + timedelta(days=31)) == 0


def test_a_big_file_is_read_in_pieces(workload):
    content = lines([(f"row number {i}", "ab"[i % 2]) for i in range(40_000)])
    pieces = (content[i : i + 70_001] for i in range(0, len(content), 70_001))
    dataset = send(workload, pieces)
    assert dataset.rows == 40_000 and read_rows(dataset)[-1] == ("row number 39999", "b")
