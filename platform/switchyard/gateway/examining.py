"""An uploaded file is examined before its caller hears of it: small ones in a thread, others in a process of their own."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings

from modelhub.models import StoredFile
from modelhub.services import files
from switchyard.core.conf import conf
from switchyard.core.errors import SwitchyardError, Unavailable, ValidationFailed
from switchyard.gateway.threads import in_thread

log = logging.getLogger(__name__)
EXAMINE_S = 540.0
AT_ONCE = asyncio.Semaphore(2)


class FileRefused(ValidationFailed):
    """A file with located faults; they travel in the error's body."""

    code = "invalid_value"

    def body(self) -> dict[str, Any]:
        told = super().body()
        told["error"]["errors"] = self.errors
        return told


async def examine(upload: files.Upload) -> StoredFile:
    """The file's row. Raises FileRefused with located faults, PolicyDenied, Unavailable; the bytes are gone then."""
    if upload.bytes <= conf("FILES_INLINE_BYTES"):
        try:
            return await in_thread(lambda: files.register(upload))
        except ValidationFailed as error:
            raise FileRefused(error.message, error.errors, param="file") from None
    return await _examine_apart(upload)


async def _examine_apart(upload: files.Upload) -> StoredFile:
    """In a process of its own, behind everything that somebody waits for."""
    program = [sys.executable, str(Path(settings.ROOT) / "manage.py"), "register_upload"]
    async with AT_ONCE:
        returned, out, complaint = await _examiner(program, upload)
    answer = json.loads(out.strip().rpartition(b"\n")[2] or b"{}") if returned == 0 else {}
    if "file" in answer:
        return await in_thread(lambda: StoredFile.objects.get(pk=answer["file"]))
    if "refused" in answer:
        raise _refusal(answer["refused"])
    log.error("examining %s failed: %s", upload.id, complaint.decode(errors="replace")[-2000:])
    raise Unavailable(
        "The file could not be examined, so it was not kept. Send it again later.", retry_after_s=10
    )


async def _examiner(program: list[str], upload: files.Upload) -> tuple[int | None, bytes, bytes]:
    """(status, output, complaints). However it ends without a row, the bytes are gone."""
    process = await asyncio.create_subprocess_exec(
        *program,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    told = json.dumps(asdict(upload)).encode()
    try:
        async with asyncio.timeout(EXAMINE_S):
            out, complaint = await process.communicate(told)
    except BaseException as error:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await asyncio.shield(in_thread(partial(files.forget, upload)))
        if isinstance(error, TimeoutError):
            raise Unavailable(
                "Examining the file took too long: send it in parts.", retry_after_s=60
            ) from None
        raise
    return process.returncode, out, complaint


def _refusal(told: dict[str, Any]) -> SwitchyardError:
    if told.get("errors"):
        return FileRefused(told["message"], told["errors"], param="file")
    error = SwitchyardError(told["message"], code=told["code"], status=told["status"], param="file")
    error.type = told["type"]
    return error
