"""Lines of a batch's file as requests, and what is said of each in the files that come back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from modelhub.models import StoredFile
from modelhub.services import files
from modelhub.services.row_formats import text_lines

# The endpoint as a line names it → as the pipeline knows it; responses are translated to a chat.
ENDPOINTS = {
    "/v1/chat/completions": "chat/completions", "/v1/completions": "completions", "/v1/embeddings": "embeddings",
    "/v1/moderations": "moderations", "/v1/classifications": "classifications", "/v1/predictions": "predictions",
    "/v1/responses": "chat/completions",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Line:
    """`number` counts from 1 as editors do."""

    number: int
    custom_id: str
    url: str
    body: dict[str, Any]


def lines_of(file: StoredFile) -> Iterator[Line]:
    """In the file's order; the upload was refused if a line weren't one."""
    for number, text in text_lines(files.pieces_of(file)):
        if text.strip():
            row = orjson.loads(text)
            yield Line(number, row["custom_id"], row["url"], row["body"])


def fault_of(line: Line, endpoint: str) -> dict[str, Any] | None:
    """Why this line can't be one of the batch's, as OpenAI's `errors` have it."""
    if line.url != endpoint:
        message = f"Line {line.number} asks {line.url[:60]}, and the batch is for {endpoint}."
        return {"code": "invalid_url", "message": message, "param": "url", "line": line.number}
    if line.body.get("stream"):
        message = f"Line {line.number} asks for a stream: nobody reads along in a batch."
        return {"code": "invalid_value", "message": message, "param": "body.stream", "line": line.number}
    return None


def told(
    mark: str, custom_id: str, status: int, request_id: str, body: dict[str, Any], policy_version: str
) -> dict[str, Any]:
    """A line of the output or of the error file. It has no headers, so it says which policy was in force in itself."""
    response = {
        "status_code": status, "request_id": request_id, "body": body, "switchyard": {"policy_version": policy_version}
    }  # fmt: skip
    return {"id": f"batch_req_{mark}", "custom_id": custom_id, "response": response, "error": None}


def never_asked(mark: str, custom_id: str, code: str, message: str) -> dict[str, Any]:
    error = {"code": code, "message": message}
    return {"id": f"batch_req_{mark}", "custom_id": custom_id, "response": None, "error": error}
