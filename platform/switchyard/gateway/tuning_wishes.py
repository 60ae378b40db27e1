"""What a caller of /v1/fine_tuning/jobs asks for, checked: the old `hyperparameters` and the new `method` alike."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from modelhub.services.fine_tuning import Settings
from switchyard.core.errors import InvalidRequest

KNOWN = {
    "model", "training_file", "validation_file", "hyperparameters", "method", "suffix", "seed", "metadata", "integrations",
    "adapter", "workload",
}  # fmt: skip
HYPERPARAMETERS = {
    "n_epochs": "epochs",
    "batch_size": "batch_size",
    "learning_rate_multiplier": "learning_rate_multiplier",
}
SAID = {ours: said for said, ours in HYPERPARAMETERS.items()} | {"method": "adapter"}


@dataclass(frozen=True, slots=True)
class Wish:
    """`workload` decides where the base serves several; empty: it is found by the rows' labels."""

    model: str
    training_file: str
    validation_file: str
    settings: Settings
    workload: str = ""
    method_type: str = ""
    metadata: dict[str, str] = field(default_factory=dict)


def read_wish(body: Mapping[str, Any]) -> Wish:
    """Raises InvalidRequest naming the parameter that is wrong."""
    unknown = sorted(set(body) - KNOWN)
    if unknown:
        raise InvalidRequest(
            f"Unknown parameter {unknown[0][:60]!r}; known are {', '.join(sorted(KNOWN))}.",
            param=unknown[0][:60],
        )
    if body.get("integrations"):
        raise InvalidRequest(
            "There are no integrations here: leave `integrations` out.", param="integrations"
        )
    told, kind = _hyperparameters(body)
    seed = body.get("seed")
    settings = Settings(
        seed=secrets.randbelow(2**31) if seed is None else seed, suffix=_suffix(body.get("suffix")),
        method=_text(body, "adapter", "") or "lora", **told,
    )  # fmt: skip
    _check(settings)
    return Wish(
        model=_text(body, "model"), training_file=_text(body, "training_file"),
        validation_file=_text(body, "validation_file", ""), settings=settings, workload=_text(body, "workload", ""),
        method_type=kind, metadata=_metadata(body.get("metadata")),
    )  # fmt: skip


def _check(settings: Settings) -> None:
    """Raises InvalidRequest that names a parameter as its caller wrote it."""
    try:
        settings.check()
    except InvalidRequest as error:
        ours = error.param or ""
        said = SAID.get(ours, ours)
        raise InvalidRequest(error.message.replace(f"`{ours}`", f"`{said}`"), param=said) from None


def _text(body: Mapping[str, Any], name: str, default: str | None = None) -> str:
    value = body.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, str) or not value.strip() or "\x00" in value or len(value) > 300:
        raise InvalidRequest(f"`{name}` is missing or not text.", param=name)
    return value


def _hyperparameters(body: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """(settings, method type)."""
    old = _checked(body.get("hyperparameters"), "hyperparameters")
    method = body.get("method")
    if method is None:
        return old, ""
    if not isinstance(method, Mapping) or method.get("type") != "supervised":
        raise InvalidRequest(
            "`method.type` must be supervised: nothing else is trained here.", param="method"
        )
    inner = method.get("supervised") or {}
    if not isinstance(inner, Mapping):
        raise InvalidRequest("`method.supervised` must be an object.", param="method")
    new = _checked(inner.get("hyperparameters"), "method.supervised.hyperparameters")
    clash = sorted(name for name in old if name in new and old[name] != new[name])
    if clash:
        raise InvalidRequest(
            f"`hyperparameters` and `method` differ in {clash[0]}: send one of them.", param="method"
        )
    return old | new, "supervised"


def _checked(given: Any, param: str) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise InvalidRequest(f"`{param}` must be an object.", param=param)
    unknown = sorted(set(given) - set(HYPERPARAMETERS))
    if unknown:
        raise InvalidRequest(
            f"Unknown hyperparameter {unknown[0][:60]!r}; known are {', '.join(HYPERPARAMETERS)}.",
            param=param,
        )
    return {HYPERPARAMETERS[name]: value for name, value in given.items() if value is not None}


def _suffix(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidRequest("`suffix` must be text.", param="suffix")
    return value.strip().lower().replace(" ", "-")


def _metadata(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    good = isinstance(value, Mapping) and len(value) <= 16 and all(
        isinstance(k, str) and isinstance(v, str) and len(k) <= 64 and len(v) <= 512 and "\x00" not in k + v
        for k, v in value.items()
    )  # fmt: skip
    if not good:
        raise InvalidRequest(
            "`metadata` has at most 16 pairs of text: keys of 64, values of 512 characters.", param="metadata"
        )
    return dict(value)
