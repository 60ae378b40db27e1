"""What a model server answers when it can't: OpenAI-shaped, with the status beside.

ServingError
├── DeadlinePassed 504    the caller's time was over before the work began
├── ServerBusy 503        the queue is full; says when to come again
├── ModelRefused 503      an artifact that isn't what it says, or can't be opened here; others stay
│   └── OutOfMemory       it doesn't fit beside the others
├── NotFinite 500         the model gave a value that is no number: never an answer
└── BackendFailed 500     every session of a graph failed
"""

from __future__ import annotations

import math
from typing import Any


class ServingError(Exception):
    """A request this server refuses; `status` and `code` say why, `detail` the figures beside."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        retry_after_s: float | None = None,
        **detail: Any,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.param = status, code, message, param
        self.retry_after_s, self.detail = retry_after_s, detail

    def body(self) -> dict[str, Any]:
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        if self.status == 401:
            kind = "authentication_error"
        told = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return {"error": told | self.detail}

    def headers(self) -> dict[str, str]:
        """`Retry-After` in whole seconds where coming again helps."""
        return {} if self.retry_after_s is None else {"retry-after": str(math.ceil(self.retry_after_s))}


class DeadlinePassed(ServingError):
    """The caller's time was over; nothing was computed for it, or what was is thrown away."""

    def __init__(self, message: str = "The deadline of this request passed before it was answered.") -> None:
        super().__init__(504, "deadline_passed", message)


class ServerBusy(ServingError):
    """More rows wait than this server takes on."""

    def __init__(self, waiting: int, limit: int, retry_after_s: float) -> None:
        message = f"{waiting} rows wait and the limit is {limit}: come again in {retry_after_s:.1f} s."
        super().__init__(503, "server_busy", message, retry_after_s=max(1.0, retry_after_s))


class ModelRefused(ServingError):
    """A model, head or adapter that this server will not serve; what else it serves goes on."""

    def __init__(self, model: str, why: str, *, code: str = "model_refused", **detail: Any) -> None:
        super().__init__(503, code, f"{model} is not served: {why}", model=model, **detail)


class OutOfMemory(ModelRefused):
    """It doesn't fit: the message names what it needs and what is free."""

    def __init__(self, model: str, needed_bytes: int, free_bytes: int) -> None:
        why = f"it needs {needed_bytes:,} bytes and {free_bytes:,} are free."
        detail = {"needed_bytes": needed_bytes, "free_bytes": free_bytes}
        super().__init__(model, why, code="out_of_memory", **detail)


class NotFinite(ServingError):
    """An output holds NaN or infinity."""

    def __init__(self, model: str) -> None:
        message = f"{model} gave a value that is no number for this input; it is no answer."
        super().__init__(500, "not_finite", message, model=model)


class BackendFailed(ServingError):
    """Every session that could run a graph failed on this input."""

    def __init__(self, graph: str, reasons: list[str]) -> None:
        super().__init__(500, "backend_failed", f"{graph}: no backend could run it ({'; '.join(reasons)}).")


def invalid(message: str, param: str | None = None) -> ServingError:
    return ServingError(400, "invalid_value", message, param=param)
