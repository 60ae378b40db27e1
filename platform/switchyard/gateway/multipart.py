"""Forms with a file in them, read as they come: one file streams on, fields are small, everything is bounded.

Feed bytes in any pieces; `on_file` is called for each piece of the one file. Nothing is read twice, so the work is linear
in what came, whatever a boundary looks like.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from switchyard.core.errors import InvalidRequest

MOST_PARTS, MOST_HEADERS, MOST_FIELD = 20, 8 * 1024, 64 * 1024
_BOUNDARY = re.compile(
    r"""[0-9a-zA-Z'()+_,./:=?-][0-9a-zA-Z'()+_,./:=? -]{0,68}[0-9a-zA-Z'()+_,./:=?-]|[0-9a-zA-Z]"""
)
_PARAMETER = re.compile(r';\s*([a-zA-Z*]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))')


def boundary_of(content_type: str) -> bytes:
    """The boundary that a content type names. Raises InvalidRequest for another kind of body, or none that may be one."""
    kind, _, rest = content_type.partition(";")
    if kind.strip().lower() != "multipart/form-data":
        raise InvalidRequest(
            "Send the file as multipart/form-data with the parts `file` and `purpose`.",
            param="file",
            code="invalid_value",
        )
    found = _parameters(";" + rest[:500]).get("boundary", "")
    if not _BOUNDARY.fullmatch(found):
        raise InvalidRequest("The content type has no boundary of 1 to 70 ordinary characters.", param="file")
    return found.encode("latin-1")


def _parameters(text: str) -> dict[str, str]:
    return {
        name.lower(): (quoted.replace('\\"', '"').replace("\\\\", "\\") if quoted else plain)
        for name, quoted, plain in _PARAMETER.findall(text)
    }


class FormReader:
    """`fields` and `filename` are known when `done`; `on_file(piece)` gets the file's bytes as they come.

    Raises InvalidRequest for a form that is cut off, has a part too many, or headers or fields beyond their bounds.
    """

    def __init__(
        self, boundary: bytes, on_file: Callable[[bytes], None], *, file_field: str = "file"
    ) -> None:
        self._mark = b"\r\n--" + boundary
        self._on_file, self._file_field = on_file, file_field
        self._buffer = bytearray(b"\r\n")  # so that the first boundary is like the others
        self._state: Callable[[], bool] = self._preamble
        self._parts, self._name = 0, ""
        self._field: bytearray | None = None
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self.done = False

    def feed(self, data: bytes) -> None:
        if self.done:
            return  # an epilogue says nothing
        self._buffer += data
        while not self.done and self._state():
            pass

    def close(self) -> None:
        """Raises InvalidRequest unless the form came whole."""
        if not self.done:
            raise InvalidRequest("The form is cut off before its last boundary.", param="file")

    # ------------------------------------------------------------------ states: True when there is more to do at once
    def _preamble(self) -> bool:
        at = self._buffer.find(self._mark)
        if at < 0:
            if len(self._buffer) > MOST_HEADERS:
                raise InvalidRequest("The body doesn't begin with its boundary.", param="file")
            return False
        del self._buffer[: at + len(self._mark)]
        self._state = self._after_boundary
        return True

    def _after_boundary(self) -> bool:
        if len(self._buffer) < 2:
            return False
        if self._buffer[:2] == b"--":
            self.done = True
            return False
        if self._buffer[:2] != b"\r\n":
            raise InvalidRequest("A boundary must end its line.", param="file")
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise InvalidRequest(f"The form has more than {MOST_PARTS} parts.", param="file")
        self._state = self._headers
        return True

    def _headers(self) -> bool:
        """What is left of the boundary's line end stays in front, so that a part without headers is found too."""
        end = self._buffer.find(b"\r\n\r\n", 0, MOST_HEADERS + 4)
        if end < 0:
            if len(self._buffer) > MOST_HEADERS:
                raise InvalidRequest(f"A part's headers are longer than {MOST_HEADERS} bytes.", param="file")
            return False
        self._begin(bytes(self._buffer[:end]).decode("utf-8", "replace"))
        del self._buffer[: end + 4]
        self._state = self._content
        return True

    def _begin(self, headers: str) -> None:
        line = next((h for h in headers.split("\r\n") if h.lower().startswith("content-disposition:")), "")
        told = _parameters(line)
        self._name = told.get("name", "")
        if not self._name:
            raise InvalidRequest("A part of the form has no name.", param="file")
        if self._name == self._file_field and ("filename" in told or "filename*" in told):
            if self.filename is not None:
                raise InvalidRequest("Send one file in one request.", param="file")
            self.filename, self._field = told.get("filename", "") or "upload", None
        else:
            self._field = bytearray()

    def _content(self) -> bool:
        at = self._buffer.find(self._mark)
        if at >= 0:
            self._give(bytes(self._buffer[:at]))
            if self._field is not None:
                self.fields[self._name] = self._field.decode("utf-8", "replace")
            del self._buffer[: at + len(self._mark)]
            self._state = self._after_boundary
            return True
        sure = len(self._buffer) - len(self._mark) + 1  # a boundary may have begun in the rest
        if sure > 0:
            self._give(bytes(self._buffer[:sure]))
            del self._buffer[:sure]
        return False

    def _give(self, data: bytes) -> None:
        if not data:
            return
        if self._field is None:
            self._on_file(data)
            return
        self._field += data
        if len(self._field) > MOST_FIELD:
            raise InvalidRequest(
                f"The field {self._name[:40]!r} is longer than {MOST_FIELD} bytes.", param=self._name[:40]
            )
