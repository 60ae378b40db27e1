"""Reference pages name the test that holds each promise: every one of them must be there."""

import re
from pathlib import Path

import pytest

PAGES = sorted(Path("docs/reference").glob("*.md"))
FILES = {path.as_posix(): path.read_text("utf-8") for path in Path("tests").rglob("*.py")}
NAMED = re.compile(r"`((?:[\w/]+\.py)?)::(test_\w+)`")


def lacking(text: str) -> list[str]:
    """`file.py::test` and `::test` of the file before it that aren't in any file of that name."""
    file, found = "", []
    for named in NAMED.finditer(text):
        file = named[1] or file
        places = [body for path, body in FILES.items() if path.endswith(file)]
        if not any(f"def {named[2]}(" in body for body in places):
            found.append(f"{file}::{named[2]}")
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_test_that_a_page_names_is_there(page: Path):
    assert lacking(page.read_text("utf-8")) == []


def test_a_test_that_is_not_there_is_found():
    assert lacking("`test_named_tests.py::test_of_nothing`") == ["test_named_tests.py::test_of_nothing"]
    assert lacking("`test_named_tests.py::test_a_test_that_is_not_there_is_found`, `::test_gone`") == [
        "test_named_tests.py::test_gone"
    ]
