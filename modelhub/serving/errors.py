"""What a model server answers when it can't: OpenAI-shaped, with the status beside."""

from __future__ import annotations

from typing import Any


class ServingError(Exception):
    """A request this server refuses; `status` and `code` say why."""

    def __init__(self, status: int, code: str, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.param = status, code, message, param

    def body(self) -> dict[str, Any]:
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        if self.status == 401:
            kind = "authentication_error"
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


def invalid(message: str, param: str | None = None) -> ServingError:
    return ServingError(400, "invalid_value", message, param=param)
