"""The errors a caller can meet.

SwitchyardError
├── InvalidRequest            400  invalid_value (invalid_json, body_too_deep, wrong_endpoint by `code=`)
│   ├── BodyTooLarge          413  body_too_large
│   └── BodyTooSlow           408  body_too_slow
├── NotAuthenticated          401  invalid_api_key
├── PolicyDenied              403  policy_denied
├── NotFound                  404  not_found
│   └── ModelNotFound         404  model_not_found
├── Conflict                  409  idempotency_conflict, already_answered, approval_required …
├── ContentBlocked            400  content_policy_violation
├── RateLimited               429  rate_limit_exceeded
├── BudgetExhausted           429  project_spend_limit_exceeded (type insufficient_quota, never retried)
├── UpstreamFailure           502  upstream_error
│   ├── UpstreamRejected      400/413/422 upstream_rejected
│   ├── UpstreamMisconfigured 502  upstream_misconfigured
│   ├── UpstreamBusy          503  upstream_busy
│   └── UpstreamTimeout       504  upstream_timeout
└── Unavailable               503  no_deployment_available
    ├── ResidencyUnavailable  503  residency_capacity_unavailable
    └── BudgetUnavailable     503  budget_unavailable
"""

from typing import Any


class SwitchyardError(Exception):
    """Root of everything a caller can meet. `fields` names extra keys that go into the error body."""

    code = "internal_error"
    status = 500
    type = "server_error"
    retry: bool | None = None  # None: say nothing; False: x-should-retry: false
    retry_after_s: float | None = None
    fields: tuple[str, ...] = ()

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        status: int | None = None,
        retry_after_s: float | None = None,
        **fields: Any,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or self.code
        self.status = status or self.status
        if retry_after_s is not None:
            self.retry_after_s = retry_after_s
        self.extra = {name: fields.get(name) for name in self.fields}

    def body(self) -> dict[str, Any]:
        """The OpenAI-shaped error body."""
        return {
            "error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
            | self.extra
        }

    def headers(self) -> dict[str, str]:
        headers = {}
        if self.retry_after_s is not None:
            headers["retry-after"] = str(max(1, round(self.retry_after_s)))
        if self.retry is False or (self.status == 503 and (self.retry_after_s or 0) > 5):
            headers["x-should-retry"] = "false"
        return headers


class InvalidRequest(SwitchyardError):
    code, status, type = "invalid_value", 400, "invalid_request_error"


class BodyTooLarge(InvalidRequest):
    code, status = "body_too_large", 413


class BodyTooSlow(InvalidRequest):
    code, status = "body_too_slow", 408

    def headers(self) -> dict[str, str]:
        return super().headers() | {"connection": "close"}  # what still comes of the body is nobody's


class NotAuthenticated(SwitchyardError):
    code, status, type = "invalid_api_key", 401, "authentication_error"


class PolicyDenied(SwitchyardError):
    """The policy lets no deployment answer."""

    code, status, type = "policy_denied", 403, "permission_error"
    fields = ("decision_id",)


class NotFound(SwitchyardError):
    code, status, type = "not_found", 404, "invalid_request_error"


class ModelNotFound(NotFound):
    code = "model_not_found"


class Conflict(SwitchyardError):
    code, status, type = "conflict", 409, "invalid_request_error"


class ContentBlocked(SwitchyardError):
    code, status, type = "content_policy_violation", 400, "invalid_request_error"


class RateLimited(SwitchyardError):
    code, status, type = "rate_limit_exceeded", 429, "rate_limit_error"
    retry_after_s = 1.0
    fields = ("limit", "scope")


class BudgetExhausted(SwitchyardError):
    """No headroom is left in a budget on the path organisation → LOB → application → key."""

    code, status, type, retry = "project_spend_limit_exceeded", 429, "insufficient_quota", False
    fields = ("budget", "scope", "period", "spent_usd", "limit_usd", "resets_at")


class UpstreamFailure(SwitchyardError):
    code, status, type = "upstream_error", 502, "api_error"


class UpstreamRejected(UpstreamFailure):
    code, status, type = "upstream_rejected", 400, "invalid_request_error"


class UpstreamMisconfigured(UpstreamFailure):
    code = "upstream_misconfigured"


class UpstreamBusy(UpstreamFailure):
    code, status, retry_after_s = "upstream_busy", 503, 2.0


class UpstreamTimeout(UpstreamFailure):
    code, status = "upstream_timeout", 504


class Unavailable(SwitchyardError):
    code, status, type, retry_after_s = "no_deployment_available", 503, "api_error", 2.0


class ResidencyUnavailable(Unavailable):
    """Nobody is left who may see the data."""

    code = "residency_capacity_unavailable"


class BudgetUnavailable(Unavailable):
    """The counters can't be reached and a strict budget applies."""

    code = "budget_unavailable"


class ValidationFailed(SwitchyardError):
    """A document or form with located faults: `errors` is a list of {path, line, column, message}."""

    code, status, type = "validation_failed", 400, "invalid_request_error"

    def __init__(self, message: str, errors: list[dict[str, Any]] | None = None, **kwargs: Any) -> None:
        super().__init__(message, **kwargs)
        self.errors = errors or [{"path": self.param or "", "line": None, "column": None, "message": message}]
