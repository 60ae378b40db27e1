"""/v1/files: create, list, retrieve, content, delete, as OpenAI's clients expect.

Uploads stream to disk under the line of business's key, in a thread; what they hold is examined there too, or, when it is
much, in a process of its own.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import quote

from modelhub.models import StoredFile
from modelhub.services import files
from routing.contracts import KeyInfo
from routing.inspection.sensitivity import declared
from switchyard.core.clock import now
from switchyard.core.conf import conf
from switchyard.core.errors import (
    BodyTooSlow,
    InvalidRequest,
    PolicyDenied,
    SwitchyardError,
    Unavailable,
)
from switchyard.core.ids import new_id
from switchyard.core.sealed_files import SealedWriter
from switchyard.gateway.bodies import ClientGone, too_large
from switchyard.gateway.examining import examine
from switchyard.gateway.multipart import FormReader, boundary_of
from switchyard.gateway.paging import page_of, whole_number
from switchyard.gateway.relaying import hang_up
from switchyard.gateway.replies import Send, encode_headers, send_json
from switchyard.gateway.threads import in_thread
from switchyard.tenancy.models import LineOfBusiness

log = logging.getLogger(__name__)
Receive = Callable[[], Awaitable[dict[str, Any]]]
FORM_BYTES = 256 * 1024  # what a form may hold beside its file
HELD = 1 << 20  # bytes that wait for the disk
DRAINED, DRAIN_S = 1 << 29, 20.0


def as_object(file: StoredFile) -> dict[str, Any]:
    """OpenAI's `File`, and what we found in it."""
    return {
        "id": file.pk, "object": "file", "bytes": file.bytes, "created_at": int(file.created_at.timestamp()),
        "expires_at": int(file.expires_at.timestamp()), "filename": file.filename, "purpose": file.purpose,
        "status": file.status, "status_details": None,
        "switchyard": {"sensitivity": file.sensitivity, "sha256": file.sha256, "report": file.report},
    }  # fmt: skip


async def handle(
    method: str,
    rest: str,
    query: Mapping[str, str],
    headers: dict[bytes, bytes],
    key: KeyInfo,
    receive: Receive,
    send: Send,
) -> None:
    """Everything under /v1/files; `rest` is the path behind it."""
    file_id, _, tail = rest.partition("/")
    if not rest and method == "POST":
        await _create(headers, key, receive, send)
    elif not rest and method == "GET":
        await send_json(send, 200, await in_thread(lambda: _list(key, query)))
    elif file_id and not tail and method == "GET":
        await send_json(send, 200, as_object(await _found(key, file_id)))
    elif file_id and not tail and method == "DELETE":
        await in_thread(lambda: files.delete(files.find(_lob(key).pk, file_id)))
        await send_json(send, 200, {"id": file_id, "object": "file", "deleted": True})
    elif file_id and tail == "content" and method == "GET":
        await _content(await _found(key, file_id), receive, send)
    else:
        raise InvalidRequest("This endpoint takes GET, POST and DELETE.", code="wrong_endpoint", status=405)


def _lob(key: KeyInfo) -> LineOfBusiness:
    rows = LineOfBusiness.objects.select_related("organisation")
    return rows.get(organisation_id=key.organisation_id, slug=key.lob)


def _lob_with_room(key: KeyInfo) -> LineOfBusiness:
    lob = _lob(key)
    files.check_room(lob)
    return lob


async def _found(key: KeyInfo, file_id: str) -> StoredFile:
    return await in_thread(lambda: files.find(_lob(key).pk, file_id))


def _list(key: KeyInfo, query: Mapping[str, str]) -> dict[str, Any]:
    rows = StoredFile.objects.filter(lob=_lob(key), expires_at__gt=now())
    if query.get("purpose"):
        rows = rows.filter(purpose=query["purpose"][:40])
    return page_of(rows, query, as_object, most=10_000, usual=10_000)


# ------------------------------------------------------------------------------------------------------------ create
class _Inbox:
    """The file of one form on its way to the disk; its methods run in a thread."""

    def __init__(self, writer: SealedWriter, boundary: bytes) -> None:
        self.writer = writer
        self.form = FormReader(boundary, self._take)

    def _take(self, piece: bytes) -> None:
        if self.writer.size + len(piece) > files.MAX_BYTES:
            raise too_large(files.MAX_BYTES)
        self.writer.write(piece)

    def end(self) -> None:
        self.form.close()
        if self.form.filename is None:
            raise InvalidRequest("The form has no part `file` with a file in it.", param="file")


async def _create(headers: dict[bytes, bytes], key: KeyInfo, receive: Receive, send: Send) -> None:
    boundary = boundary_of(headers.get(b"content-type", b"").decode("latin-1"))
    said = declared(headers.get(b"x-switchyard-sensitivity", b"").decode("latin-1"))
    if said == "restricted":
        raise PolicyDenied("Restricted data is never kept, so the file was not taken.")
    length = headers.get(b"content-length", b"")
    if length.isdigit() and int(length) > files.MAX_BYTES + FORM_BYTES:
        await _refuse_large(too_large(files.MAX_BYTES), receive, send)
        return
    try:
        upload = await _receive(key, boundary, said, receive)
    except SwitchyardError as error:
        if error.status != 413:
            raise
        await _refuse_large(error, receive, send)
        return
    file = await examine(upload)
    await send_json(send, 200, as_object(file))


async def _receive(key: KeyInfo, boundary: bytes, said: str, receive: Receive) -> files.Upload:
    """The bytes on the disk, sealed, and what the form says of them. Raises Unavailable when the disk is full."""
    lob = await in_thread(lambda: _lob_with_room(key))
    file_id = new_id("file")
    try:
        inbox = await asyncio.to_thread(lambda: _Inbox(files.receive(lob, file_id).__enter__(), boundary))
        kept_s = await _fill(inbox, receive)
    except OSError as error:
        raise Unavailable(
            f"The file could not be written ({error.strerror or error}); nothing was kept. Send it again later.",
            retry_after_s=30,
        ) from error
    form, writer = inbox.form, inbox.writer
    return files.Upload(
        id=file_id, lob_id=lob.pk, filename=form.filename or "", purpose=form.fields["purpose"], bytes=writer.size,
        sha256=writer.sha256, application=key.application, declared=said, kept_s=kept_s,
    )  # fmt: skip


async def _fill(inbox: _Inbox, receive: Receive) -> int:
    """Read the whole form and close its file, or leave nothing of it; gives for how many seconds it is to be kept."""
    failure: BaseException | None = None
    try:
        async for piece in _batches(receive):
            await asyncio.to_thread(inbox.form.feed, piece)
        inbox.end()
        fields = inbox.form.fields
        kept_s = _kept_s(fields)
        files.check_said(fields.get("purpose", ""), inbox.form.filename or "", kept_s)
        return kept_s
    except BaseException as error:
        failure = error
        raise
    finally:
        kind = type(failure) if failure is not None else None
        await asyncio.shield(asyncio.to_thread(inbox.writer.__exit__, kind, failure, None))


def _kept_s(fields: Mapping[str, str]) -> int:
    anchor, seconds = fields.get("expires_after[anchor]"), fields.get("expires_after[seconds]")
    if anchor is None and seconds is None:
        return int(files.KEPT.total_seconds())
    if anchor != "created_at":
        raise InvalidRequest("`expires_after.anchor` must be created_at.", param="expires_after")
    return whole_number(seconds or "", "expires_after")


async def _batches(receive: Receive) -> AsyncIterator[bytes]:
    """The body in pieces of up to a mebibyte: a trip to the thread costs more than a small piece. Raises ClientGone."""
    waiting, size, total = [], 0, 0
    until = time.monotonic() + conf("BODY_MAX_S")
    while True:
        try:
            async with asyncio.timeout(until - time.monotonic()):
                message = await receive()
        except TimeoutError:
            raise BodyTooSlow(
                f"Less than a mebibyte came in {conf('BODY_MAX_S'):g} s. Send the file again."
            ) from None
        if message["type"] == "http.disconnect":
            raise ClientGone
        piece = message.get("body", b"")
        waiting.append(piece)
        size, total = size + len(piece), total + len(piece)
        if total > files.MAX_BYTES + FORM_BYTES:
            raise too_large(files.MAX_BYTES)
        more = message.get("more_body", False)
        if size >= HELD or not more:
            yield b"".join(waiting)
            waiting, size, until = [], 0, time.monotonic() + conf("BODY_MAX_S")
        if not more:
            return


async def _refuse_large(error: SwitchyardError, receive: Receive, send: Send) -> None:
    """Answer at once, then read on for a while: a client that is still sending would never see an answer it is cut off from."""
    payload = json.dumps(error.body()).encode()
    listed = [(b"content-type", b"application/json"), (b"content-length", str(len(payload)).encode())]
    await send(
        {
            "type": "http.response.start",
            "status": error.status,
            "headers": [*listed, (b"connection", b"close")],
        }
    )
    await send({"type": "http.response.body", "body": payload, "more_body": True})
    try:
        async with asyncio.timeout(DRAIN_S):
            drained = 0
            while drained < DRAINED:
                message = await receive()
                drained += len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    break
    except TimeoutError:
        pass
    await send({"type": "http.response.body", "body": b""})


# ----------------------------------------------------------------------------------------------------------- content
async def _content(file: StoredFile, receive: Receive, send: Send) -> None:
    """The bytes as they were sent, piece by piece. Raises ClientGone, and drops who takes none of them."""
    pieces = files.pieces_of(file)
    first = await asyncio.to_thread(next, pieces, None)
    name = quote(file.filename, safe="")
    headers = {
        "content-type": "application/octet-stream", "content-length": str(file.bytes),
        "content-disposition": f"attachment; filename*=UTF-8''{name}", "x-content-type-options": "nosniff",
    }  # fmt: skip
    await send({"type": "http.response.start", "status": 200, "headers": encode_headers(headers)})
    while first is not None:
        try:
            async with asyncio.timeout(conf("UNTAKEN_MAX_S")):
                await send({"type": "http.response.body", "body": first, "more_body": True})
        except TimeoutError:
            hang_up(receive)
            raise ClientGone from None
        first = await asyncio.to_thread(next, pieces, None)
    await send({"type": "http.response.body", "body": b""})
