"""How many threads one inference may use: the model server's own number, so that what is tuned is what is served."""

from __future__ import annotations

import os

VARIABLE = "SWITCHYARD_INFERENCE_THREADS"


def count() -> int:
    """Threads of one inference; 1 unless SWITCHYARD_INFERENCE_THREADS says otherwise. Raises ValueError for nonsense."""
    value = os.environ.get(VARIABLE, "1")
    if not value.isdigit() or int(value) < 1:
        raise ValueError(f"{VARIABLE} is {value!r}: expected a whole number from 1")
    return int(value)
