import random

import pytest

from switchyard.core.errors import InvalidRequest
from switchyard.gateway.multipart import FormReader, boundary_of
from tests.clocks import cpu_seconds

FORM = (
    b'--b0\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
    b'--b0\r\nContent-Disposition: form-data; name="file"; filename="a \\"b\\".jsonl"\r\nContent-Type: x/y\r\n\r\n'
    b"line\r\n--b\r\n--b\r\n\r\nend\r\n--b0--\r\nepilogue"
)
CONTENT = b"line\r\n--b\r\n--b\r\n\r\nend"


def read(pieces, boundary=b"b0"):
    got = []
    form = FormReader(boundary, got.append)
    for piece in pieces:
        form.feed(piece)
    form.close()
    return form, b"".join(got)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10_000])
def test_a_form_reads_the_same_in_pieces_of_any_size(size):
    form, content = read(FORM[i : i + size] for i in range(0, len(FORM), size))
    assert (form.fields, form.filename, content) == ({"purpose": "fine-tune"}, 'a "b".jsonl', CONTENT)


def test_random_content_and_random_cuts():
    draw = random.Random(5)
    for _ in range(200):
        content = bytes(draw.choice(b"\r\n-b0x") for _ in range(draw.randrange(200))).replace(
            b"\r\n--b0", b""
        )
        form = (
            b'--b0\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
            + content
            + b"\r\n--b0--"
        )
        cuts = sorted(draw.randrange(len(form)) for _ in range(4))
        pieces = [form[a:b] for a, b in zip([0, *cuts], [*cuts, len(form)], strict=True)]
        assert read(pieces)[1] == content


@pytest.mark.parametrize(
    ("form", "words"),
    [
        (FORM[:-20], "cut off"), (b"x" * 20_000, "doesn't begin"), (b"--b0\r\n" + b"h" * 20_000, "headers are longer"),
        (b"--b0\r\n\r\nx\r\n--b0--", "no name"), (b"--b0xx\r\n", "end its line"),
        (b'--b0\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + b"x" * 70_000, "longer than 65536"),
        (b'--b0\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n' * 30, "more than 20 parts"),
        ((b'--b0\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n\r\n') * 2, "one file"),
    ],
)  # fmt: skip
def test_forms_that_are_wrong_are_refused_in_words(form, words):
    with pytest.raises(InvalidRequest, match=words):
        read([form])


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "multipart/form-data", 'multipart/form-data; boundary=""',
     "multipart/form-data; boundary=" + "b" * 71, 'multipart/form-data; boundary="a\tb"'],
)  # fmt: skip
def test_a_content_type_must_name_a_boundary(content_type):
    with pytest.raises(InvalidRequest):
        boundary_of(content_type)


def test_boundaries_are_read_as_they_are_written():
    assert boundary_of("multipart/form-data; boundary=abc") == b"abc"
    assert boundary_of('Multipart/Form-Data; charset=x; boundary="a b:c"') == b"a b:c"


def test_content_that_looks_like_boundaries_costs_no_more_than_other_content():
    """Time is linear: an adversary's file takes a small multiple of a plain one's."""

    def seconds(content):
        form = (
            b"--"
            + b"-" * 70
            + b'\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
            + content
        )
        form += b"\r\n--" + b"-" * 70 + b"--"
        pieces = [form[i : i + 65_536] for i in range(0, len(form), 65_536)]
        return cpu_seconds(lambda: read(iter(pieces), b"-" * 70), rounds=3)

    plain, hostile = seconds(b"x" * (8 << 20)), seconds(b"\r\n--" + b"-" * 69 + b"\r\n--" * (2 << 20))
    assert hostile < 40 * plain + 0.5
