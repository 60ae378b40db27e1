"""MBPP's hand-checked tasks as functions to complete, for the same sandbox and the same count as HumanEval.

A task's prompt is its imports, the signature of its reference solution, and a docstring of its words and asserts.
"""

from __future__ import annotations

import ast
import gzip
import json
import re
from pathlib import Path
from typing import Any

from modelhub.sandbox.humaneval import Problem

TASKS = Path(__file__).resolve().parents[2] / "data" / "mbpp" / "dev.jsonl.gz"
CALLED = re.compile(r"([A-Za-z_]\w*)\s*\(")


def load_tasks(path: Path = TASKS) -> list[Problem]:
    """The tasks that ship here; an empty list where the file is absent. A task whose asserts call none of its functions is
    left out."""
    if not path.exists():
        return []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        found = [as_problem(json.loads(line)) for line in lines if line.strip()]
    return [problem for problem in found if problem is not None]


def as_problem(row: dict[str, Any]) -> Problem | None:
    """One row in HumanEval's form; None when its asserts name no function that it defines."""
    tree = ast.parse(row["code"])
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    name = next((n for test in row["test_list"] for n in CALLED.findall(test) if n in functions), None)
    if name is None:
        return None
    words = row["prompt"].replace('"""', "'''").replace("\\", "\\\\")
    asserts = "\n".join(
        f"    {line}" for test in row["test_list"] for line in test.replace("\\", "\\\\").splitlines()
    )
    asserts = asserts.replace('"""', "'''")
    prompt = f'def {name}({ast.unparse(functions[name].args)}):\n    """{words}\n\n{asserts}\n    """\n'
    lines = [*row["test_imports"], *row["test_list"]]
    test = "def check(candidate):\n" + "\n".join(
        f"    {line}" for text in lines for line in text.splitlines()
    )
    return Problem(f"MBPP/{row['task_id']}", prompt, name, test, row["code"])
