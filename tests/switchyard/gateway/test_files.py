"""/v1/files through the official client, over real HTTP."""

import json
import os
import socket
import threading
import time
from datetime import timedelta
from pathlib import Path

import openai
import pytest

from modelhub.models import Dataset, StoredFile
from modelhub.services import files
from switchyard.core.clock import now
from switchyard.gateway import metrics

pytestmark = pytest.mark.django_db(transaction=True)
ROWS = [(f"the {word} was fine", "positive" if i % 2 else "negative") for i, word in enumerate("abcdefghij")]


@pytest.fixture(autouse=True)
def media(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.SWITCHYARD = settings.SWITCHYARD | {"FILES_INLINE_BYTES": 1 << 40}
    return settings.MEDIA_ROOT


def lines(rows=ROWS):
    return b"".join(json.dumps({"text": t, "label": c}).encode() + b"\n" for t, c in rows)


def send(client, content=None, name="rows.jsonl", purpose="fine-tune", **more):
    return client.files.create(file=(name, lines() if content is None else content), purpose=purpose, **more)


def on_disk(media):
    return [path for path in media.rglob("*") if path.is_file()]


def test_a_file_goes_in_comes_out_and_is_deleted(gateway, media):
    client = gateway.openai()
    made = send(client)
    assert (made.object, made.filename, made.bytes, made.purpose, made.status) == (
        "file", "rows.jsonl", len(lines()), "fine-tune", "processed",
    )  # fmt: skip
    assert abs(made.expires_at - made.created_at - 30 * 86_400) <= 1
    assert client.files.retrieve(made.id) == made
    assert client.files.content(made.id).read() == lines()
    assert client.files.wait_for_processing(made.id).id == made.id
    dataset = Dataset.objects.get()
    assert (dataset.rows, dataset.workload, dataset.file_id) == (10, None, made.id)
    assert not any(b"the a was fine" in path.read_bytes() for path in on_disk(media)), "it lies sealed"
    gone = client.files.delete(made.id)
    assert (gone.id, gone.deleted, gone.object) == (made.id, True, "file")
    assert on_disk(media) == [] and not StoredFile.objects.exists()
    with pytest.raises(openai.NotFoundError) as unknown:
        client.files.retrieve(made.id)
    assert unknown.value.code == "not_found"


def test_lists_have_pages_purposes_and_both_orders(gateway):
    client = gateway.openai()
    made = [send(client, name=f"{i}.jsonl", purpose="evals" if i == 2 else "fine-tune").id for i in range(5)]
    assert [file.id for file in client.files.list(limit=2)] == made[::-1], "the client turns the pages itself"
    first = client.files.list(limit=2)
    assert (len(first.data), first.has_more) == (2, True)
    assert [file.id for file in client.files.list(order="asc")] == made
    assert [file.id for file in client.files.list(purpose="evals")] == [made[2]]
    for wrong in ({"limit": 0}, {"order": "up"}, {"after": "file_none"}):
        with pytest.raises(openai.BadRequestError):
            client.files.list(**wrong)


def test_the_neighbour_knows_nothing_of_it(gateway):
    made = send(gateway.openai())
    legal = gateway.openai("legal")
    assert list(legal.files.list()) == []
    for ask in (legal.files.retrieve, legal.files.content, legal.files.delete):
        with pytest.raises(openai.NotFoundError):
            ask(made.id)
    assert StoredFile.objects.filter(pk=made.id).exists()


@pytest.mark.parametrize(
    ("content", "words", "line"),
    [
        (b"", "empty", 1), (lines()[:40], "not a JSON object", 1), (lines(ROWS[:3]), "at least 8", None),
        (lines([(t, "one") for t, _ in ROWS]), "label 'one'", None), (lines() + b"\xff\xfe", "line 11 is not UTF-8", 11),
        (lines([*ROWS, ("THE a was fine", "positive")]), "has label 'negative' in line 1", 11),
        (lines() + b'{"text": "x"}\n', "`label` is missing", 11),
    ],
)  # fmt: skip
def test_files_that_are_wrong_say_where_and_leave_nothing(gateway, media, content, words, line):
    with pytest.raises(openai.BadRequestError) as refused:
        send(gateway.openai(), content)
    assert words.lower() in str(refused.value).lower()
    assert (refused.value.code, refused.value.param) == ("invalid_value", "file")
    if line:
        assert refused.value.body["errors"][0]["line"] == line
    assert on_disk(media) == [] and not StoredFile.objects.exists() and not Dataset.objects.exists()


def test_restricted_rows_are_never_kept(gateway, media):
    client = gateway.openai()
    with pytest.raises(openai.PermissionDeniedError, match="private key in line 11"):
        send(client, lines([*ROWS, ("-----BEGIN RSA PRIVATE KEY-----", "positive")]))
    with pytest.raises(openai.PermissionDeniedError):
        send(client, extra_headers={"X-Switchyard-Sensitivity": "restricted"})
    with pytest.raises(openai.PermissionDeniedError):
        send(client, b"my key is AKIA" + b"ABCDEFGHIJKLMNOP", "note.txt", "user_data")
    assert on_disk(media) == []


def test_what_was_found_is_told_with_the_file(gateway):
    made = send(gateway.openai(), lines([*ROWS, ROWS[0], ("write to jo@example.com", "negative")]))
    told = made.switchyard
    assert (told["sensitivity"], told["report"]["sensitive"]) == ("confidential", {"email": [12]})
    assert told["report"]["duplicate_lines"] == [11]


def test_batches_and_evaluations_are_examined_by_their_own_rules(gateway):
    client = gateway.openai()
    request = {
        "custom_id": "a",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "chatter"},
    }
    good = json.dumps(request).encode()
    assert send(client, good, purpose="batch").purpose == "batch"
    for wrong, words in (
        (good + b"\n" + good, "there twice"), (json.dumps(request | {"url": "x"}).encode(), "/v1/"), (b"[]", "not a JSON object"),
    ):  # fmt: skip
        with pytest.raises(openai.BadRequestError, match=words):
            send(client, wrong, purpose="batch")
    assert send(client, b'{"item": {"q": 1}}\n', purpose="evals").status == "processed"
    assert send(client, bytes(range(256)), "picture.png", "vision").bytes == 256


@pytest.mark.parametrize(
    ("more", "param"),
    [({"purpose": "training"}, "purpose"), ({"expires_after": {"anchor": "created_at", "seconds": 60}}, "expires_after"),
     ({"expires_after": {"anchor": "now", "seconds": 7200}}, "expires_after")],
)  # fmt: skip
def test_what_is_said_of_a_file_is_checked(gateway, media, more, param):
    with pytest.raises(openai.BadRequestError) as refused:
        send(gateway.openai(), **more)
    assert refused.value.param == param and on_disk(media) == []


def test_files_end_when_they_were_to(gateway, media):
    client = gateway.openai()
    made = send(client, expires_after={"anchor": "created_at", "seconds": 7200})
    assert made.expires_at - made.created_at == pytest.approx(7200, abs=1)
    assert files.purge_expired() == 0
    StoredFile.objects.update(expires_at=now() - timedelta(seconds=1))
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(made.id)
    assert list(client.files.list()) == []
    assert files.purge_expired() == 1 and on_disk(media) == []


def test_too_large_is_answered_while_the_client_still_sends(gateway, media, monkeypatch):
    monkeypatch.setattr(files, "MAX_BYTES", 1 << 20)
    client = gateway.openai()
    with pytest.raises(openai.APIStatusError) as refused:
        send(client, b"x" * (40 << 20))  # declared in its header
    assert (refused.value.status_code, refused.value.code) == (413, "body_too_large")
    assert on_disk(media) == []


def test_more_than_was_declared_is_stopped_by_what_came(gateway, media, monkeypatch):
    """Chunked: no length is told in advance."""
    monkeypatch.setattr(files, "MAX_BYTES", 1 << 20)

    def body():
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(40):
            yield b"x" * (1 << 20)

    with gateway.client() as client:
        reply = client.post(
            "/v1/files", content=body(), headers={"content-type": "multipart/form-data; boundary=b"}
        )
    assert reply.status_code == 413 and on_disk(media) == []


def test_a_full_disk_refuses_the_file_in_words(gateway, media, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(openai.InternalServerError, match="No space left") as refused:
        send(gateway.openai())
    assert refused.value.status_code == 503 and on_disk(media) == []


def test_somebody_who_hangs_up_leaves_nothing(gateway, media):
    host, port = gateway.url.removeprefix("http://").split(":")
    key = gateway.company.keys["customer-service"]
    head = (
        f"POST /v1/files HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-length: 5000000\r\n"
        "content-type: multipart/form-data; boundary=b\r\n\r\n"
        '--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    )
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head.encode() + b"x" * 2_500_000)
        deadline = time.monotonic() + 5
        while not on_disk(media) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert on_disk(media), "it is on its way"
    deadline = time.monotonic() + 5
    while on_disk(media) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert on_disk(media) == []


def test_other_requests_go_on_during_a_large_upload(gateway):
    client, took = gateway.openai(), []
    big = lines([(f"row number {i} of many", "ab"[i % 2]) for i in range(12_000)])
    upload = threading.Thread(target=lambda: send(client.with_options(timeout=100), big))
    upload.start()
    with gateway.client() as other:
        while upload.is_alive():
            began = time.perf_counter()
            assert other.get("/v1/models").status_code == 200
            took.append(time.perf_counter() - began)
    assert len(took) > 2, "the loop never stood still for the whole upload"


def test_paths_and_methods_that_are_none(gateway):
    with gateway.client() as client:
        assert client.put("/v1/files").status_code == 405
        assert client.post("/v1/files", json={}).json()["error"]["param"] == "file"
        assert client.get("/v1/files/a/b").status_code == 405
        assert client.get("/v1/files/%00").status_code == 404


def test_a_large_upload_is_examined_in_a_process_of_its_own(gateway, monkeypatch, capsys, media):
    """The process itself is driven here: it can't see the test's database from outside."""
    import io

    from django.core.management import call_command

    from switchyard.tenancy.models import LineOfBusiness

    def run(content):
        lob = LineOfBusiness.objects.get(slug="legal")
        with files.receive(lob, "file_apart") as writer:
            writer.write(content)
        told = {"id": "file_apart", "lob_id": lob.pk, "filename": "a.jsonl", "purpose": "fine-tune", "bytes": writer.size,
                "sha256": writer.sha256}  # fmt: skip
        monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(told)))
        monkeypatch.setattr(os, "nice", lambda _: 0)
        call_command("register_upload")
        return json.loads(capsys.readouterr().out.strip().rpartition("\n")[2])

    refused = run(lines(ROWS[:2]))["refused"]
    assert "at least 8" in refused["message"] and on_disk(media) == []
    assert run(lines()) == {"file": "file_apart"}
    assert StoredFile.objects.get().status == "processed"
    assert Path(media / StoredFile.objects.get().path).exists()


def test_the_gateway_reads_what_the_process_says(gateway, media, settings, monkeypatch, tmp_path):
    """A stand-in for the process says what the real one would; how it is started and read is the gateway's own."""
    from switchyard.gateway import examining

    settings.SWITCHYARD = settings.SWITCHYARD | {"FILES_INLINE_BYTES": 0}
    client, script = gateway.openai(), tmp_path / "manage.py"
    monkeypatch.setattr(examining.settings, "ROOT", tmp_path, raising=False)

    def says(answer, status=0):
        script.write_text(
            f"import sys; sys.stdin.read(); print('a log line'); print({json.dumps(answer)!r}); sys.exit({status})"
        )

    kept = files.keep_result(
        StoredFile._meta.get_field("lob").related_model.objects.get(slug="customer-service"), "k", b"x"
    )
    says({"file": kept.pk})
    assert send(client).id == kept.pk
    fault = {"path": "line 2", "line": 2, "column": 1, "message": "not UTF-8"}
    told = {"message": "Line 2 is not UTF-8.", "code": "x", "status": 400, "type": "x"}
    says({"refused": told | {"errors": [fault]}})
    with pytest.raises(openai.BadRequestError, match="Line 2") as refused:
        send(client)
    assert refused.value.body["errors"] == [fault]
    says({"refused": told | {"status": 403, "code": "policy_denied", "errors": None}})
    with pytest.raises(openai.PermissionDeniedError) as denied:
        send(client)
    assert denied.value.code == "policy_denied"
    says({}, status=1)
    with pytest.raises(openai.InternalServerError, match="could not be examined"):
        send(client)


def test_who_asks_for_a_file_and_takes_nothing_is_let_go(gateway, settings):
    settings.SWITCHYARD = settings.SWITCHYARD | {"UNTAKEN_MAX_S": 0.3}
    client = gateway.openai()
    made = send(client, b"x" * (24 << 20), name="large.bin", purpose="user_data")
    host, port = gateway.url.removeprefix("http://").split(":")
    with socket.socket() as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        caller.settimeout(15)
        caller.connect((host, int(port)))
        caller.sendall(
            f"GET /v1/files/{made.id}/content HTTP/1.1\r\nhost: x\r\n"
            f"authorization: Bearer {gateway.company.keys['customer-service']}\r\n\r\n".encode()
        )
        until = time.monotonic() + 10
        while metrics.IN_FLIGHT.count == 0 and time.monotonic() < until:
            time.sleep(0.01)
        while metrics.IN_FLIGHT.count and time.monotonic() < until:
            time.sleep(0.05)
        assert metrics.IN_FLIGHT.count == 0
        buffered = sum(len(piece) for piece in iter(lambda: taken(caller), b""))
        assert buffered < 24 << 20, "the connection is gone, and what waited for him with it"
    assert client.files.content(made.id).read() == b"x" * (24 << 20), "who takes it gets all of it"


def taken(caller):
    try:
        return caller.recv(65536)
    except ConnectionResetError:
        return b""
