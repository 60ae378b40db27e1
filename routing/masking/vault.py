"""The two-way mapping of one request: what was found and what stands for it. It lives as long as the request, no longer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

MARK = re.compile(r"\[[A-Z][A-Z_]{0,23}_\d{1,5}\]")


@dataclass(repr=False, slots=True)
class Vault:
    """`[EMAIL_1]` ↔ ann@example.com. The same value has the same placeholder; one that the text already holds is never given.

    Its repr tells no value, so that no log does.
    """

    taken: frozenset[str] = frozenset()  # marks of the same form in what the caller wrote
    by_value: dict[str, str] = field(default_factory=dict)
    by_mark: dict[str, str] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Vault({len(self.by_mark)} values)"

    @property
    def counts(self) -> dict[str, int]:
        """Kind → how many different values."""
        found: dict[str, int] = {}
        for mark in self.by_mark:
            kind = mark[1:].rpartition("_")[0].lower()
            found[kind] = found.get(kind, 0) + 1
        return found

    @classmethod
    def beside(cls, texts: Iterable[str]) -> Vault:
        """A vault whose placeholders differ from everything in these texts, whatever its case."""
        return cls(frozenset(mark.upper() for text in texts for mark in MARK.findall(text.upper())))

    def mark_for(self, kind: str, value: str) -> str:
        """The placeholder of a value, the one it has or a new one."""
        mark = self.by_value.get(value)
        if mark is not None:
            return mark
        while True:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            mark = f"[{kind.upper()}_{self._counts[kind]}]"
            if mark not in self.taken:
                break
        self.by_value[value], self.by_mark[mark] = mark, value
        return mark

    def unmask(self, text: str, *, inside_json: bool = False) -> str:
        """The text with its values back. `inside_json`: it is JSON, or a part of it, so values are escaped as strings are."""
        if "[" not in text or not self.by_mark:
            return text

        def value(match: re.Match[str]) -> str:
            found = self.by_mark.get(match.group())
            if found is None:
                return match.group()
            return json.dumps(found, ensure_ascii=False)[1:-1] if inside_json else found

        return MARK.sub(value, text)

    def held_from(self, text: str) -> int:
        """Where the end of a text begins that may yet become a placeholder; its length when none does."""
        at = text.rfind("[")
        if at < 0 or not self.by_mark:
            return len(text)
        tail = text[at:]
        return at if any(mark.startswith(tail) and mark != tail for mark in self.by_mark) else len(text)
