"""What is wrong with a file of rows, and where."""

from __future__ import annotations

from typing import Any


def fault(line: int, message: str, column: int = 1) -> dict[str, Any]:
    """One located fault of a file."""
    return {"path": f"line {line}", "line": line, "column": column, "message": message}
