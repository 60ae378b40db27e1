"""Opening whichever form of a model this runtime can run, best first. Needs onnxruntime alone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import onnxruntime as ort

logger = logging.getLogger(__name__)
BEST_FIRST = ("qmoe", "unrolled_int8", "moe", "unrolled")


class NoFormRuns(RuntimeError):
    """No file of the model can be opened by this runtime; the message holds each one's reason."""


def open_best(
    paths: Mapping[str, Path],
    *,
    order: tuple[str, ...] = BEST_FIRST,
    open_session: Callable[[Path], ort.InferenceSession] | None = None,
) -> tuple[str, ort.InferenceSession]:
    """Open the first form that this runtime takes; give its name and the session.

    `paths`: form → file; forms without a file are passed over. A runtime that lacks a contrib operator, or has another
    kernel for it, refuses at opening, so nothing is found out in the middle of a request. Raises NoFormRuns.
    """
    refusals = []
    for form in (form for form in order if form in paths):
        try:
            return form, (open_session or _open)(paths[form])
        except Exception as error:  # the runtime's own exceptions share no base class
            refusals.append(f"{form}: {str(error).strip()[:200]}")
            logger.warning("form %s of %s can't be run here: %s", form, paths[form].name, refusals[-1])
    raise NoFormRuns(
        f"none of {', '.join(order)} can be opened: {'; '.join(refusals) or 'no file was given'}"
    )


def _open(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
