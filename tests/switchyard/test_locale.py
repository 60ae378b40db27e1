"""The pages' second language: every word they may say is translated, with the same placeholders, and compiled."""

from __future__ import annotations

import ast
import gettext
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CATALOGUE = Path("locale/zh_Hans/LC_MESSAGES/django.po")
SOURCES = ("platform", "templates", "costs", "routing", "modelhub")
TRANSLATES = {"_", "gettext", "gettext_lazy", "ngettext", "pgettext", "npgettext"}
# Named and plain placeholders of either style, and tags with what is in them.
KEPT = re.compile(r"%\(\w+\)[a-z]|%[a-z]|<[^>]+>")
LINE = re.compile(r'(?:(msgctxt|msgid_plural|msgid|msgstr)(?:\[\d\])? )?(".*")$')


@dataclass
class Entry:
    flags: str = ""
    words: dict[str, str] = field(default_factory=dict)

    @property
    def english(self) -> str:
        return self.words.get("msgid_plural") or self.words["msgid"]

    @property
    def chinese(self) -> str:
        return self.words["msgstr"]


def entries(path: Path) -> list[Entry]:
    """Chinese has one plural form, so each entry has one translation."""
    found = []
    for block in path.read_text("utf-8").split("\n\n")[1:]:
        entry, name = Entry(), ""
        for line in block.splitlines():
            if line.startswith("#,"):
                entry.flags += line
            elif match := LINE.match(line):
                name = match[1] or name
                entry.words[name] = entry.words.get(name, "") + ast.literal_eval(match[2])
        if entry.words.get("msgid"):
            found.append(entry)
    return found


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory) -> list[Entry]:
    """The catalogue as Django's own extraction leaves it, over a copy: new words without, changed ones with a guess."""
    if missing := [tool for tool in ("xgettext", "msgmerge") if not shutil.which(tool)]:
        pytest.skip(
            f"no {' and no '.join(missing)} here (package gettext): words can't be extracted from the sources"
        )
    copy = tmp_path_factory.mktemp("words")
    for source in SOURCES:
        for path in (ROOT / source).rglob("*"):
            if path.suffix in {".py", ".html"}:
                target = copy / path.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
    (copy / CATALOGUE).parent.mkdir(parents=True)
    shutil.copyfile(ROOT / CATALOGUE, copy / CATALOGUE)
    # Settings would send what is found to the project's own folder.
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    subprocess.run(
        [sys.executable, "-m", "django", "makemessages", "-l", "zh_Hans", "--no-location", "--no-obsolete"],
        cwd=copy, env=environment, check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    return entries(copy / CATALOGUE)


def test_every_word_of_the_pages_is_translated(extracted: list[Entry]) -> None:
    assert len(extracted) > 900
    assert [entry.english for entry in extracted if not entry.chinese] == []


def test_no_translation_is_a_guess(extracted: list[Entry]) -> None:
    assert [entry.english for entry in extracted if "fuzzy" in entry.flags] == []


def test_no_translation_is_of_a_word_that_nobody_says(extracted: list[Entry]) -> None:
    said = {entry.english for entry in extracted}
    assert [entry.english for entry in entries(ROOT / CATALOGUE) if entry.english not in said] == []


def test_translations_keep_placeholders_and_tags() -> None:
    wrong = {
        entry.english: entry.chinese
        for entry in entries(ROOT / CATALOGUE)
        if sorted(KEPT.findall(entry.english)) != sorted(KEPT.findall(entry.chinese))
    }
    assert wrong == {}


def test_yes_and_no_keep_their_number() -> None:
    """`yesno` splits its words at the comma of ASCII."""
    pairs = [entry for entry in entries(ROOT / CATALOGUE) if re.fullmatch(r"[a-z ()]+,[a-z]+", entry.english)]
    assert pairs
    assert [entry.chinese for entry in pairs if entry.chinese.count(",") != 1] == []


def test_the_compiled_catalogue_says_what_the_source_says() -> None:
    with (ROOT / CATALOGUE).with_suffix(".mo").open("rb") as compiled:
        catalogue = gettext.GNUTranslations(compiled)
    stale = []
    for entry in entries(ROOT / CATALOGUE):
        context, english = entry.words.get("msgctxt"), entry.words["msgid"]
        if context:
            told = catalogue.pgettext(context, english)
        elif "msgid_plural" in entry.words:
            told = catalogue.ngettext(english, entry.english, 2)
        else:
            told = catalogue.gettext(english)
        if told != entry.chinese:
            stale.append(english)
    assert stale == []


def test_no_word_hides_where_extraction_does_not_look() -> None:
    """xgettext reads no calls inside f-strings, and what it doesn't read is never translated."""
    hidden = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for source in SOURCES
        for path in (ROOT / source).rglob("*.py")
        for text in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(text, ast.JoinedStr)
        for call in ast.walk(text)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in TRANSLATES
    ]
    assert hidden == []
