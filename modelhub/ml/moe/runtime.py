"""Opening whichever form of a model this runtime can run: best first, or whichever is quickest here. Needs onnxruntime alone."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
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


def open_fastest(
    paths: Mapping[str, Path],
    feed: Mapping[str, np.ndarray],
    *,
    calls: int = 5,
    open_session: Callable[[Path], ort.InferenceSession] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[str, ort.InferenceSession]:
    """Open every form that runs here and keep the one that answers `feed`, a typical batch, soonest.

    Give it forms of one precision: which is quickest depends on the batch and the machine, what they answer does not. Timed
    by the median of `calls` calls after one that isn't. Raises NoFormRuns.
    """
    left = dict(paths)
    found: list[tuple[float, str, ort.InferenceSession]] = []
    while left:
        try:
            form, session = open_best(left, order=tuple(left), open_session=open_session)
        except NoFormRuns:
            if not found:
                raise
            break
        for passed in list(left):  # open_best tried them in this order: those before `form` can't be run
            del left[passed]
            if passed == form:
                break
        found.append((_median_s(session, feed, calls, clock), form, session))
    if not found:
        raise NoFormRuns("no file was given")
    _, form, session = min(found, key=lambda one: one[0])
    return form, session


def _median_s(
    session: ort.InferenceSession, feed: Mapping[str, np.ndarray], calls: int, clock: Callable[[], float]
) -> float:
    session.run(None, dict(feed))
    times = []
    for _ in range(calls):
        start = clock()
        session.run(None, dict(feed))
        times.append(clock() - start)
    return statistics.median(times)


def _open(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
