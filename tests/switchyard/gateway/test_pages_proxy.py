"""What goes to a pages process of its own, and what comes back: as if Django stood in the gateway's process."""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
import stat
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from switchyard.gateway.pages import BadPagesUrl, PagesElsewhere, pages_address
from switchyard.gateway.pages_server import PagesFront
from tests.fakes.pages import TOKEN, Echo, Front, Pair, Served


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def pair(echo: Echo, tmp_path: Any) -> Iterator[Pair]:
    found = Pair(echo, tmp_path)
    yield found
    found.stop()


def ask(
    pair: Pair, method: str, target: str, body: Any = None, headers: Any = None
) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", pair.front.port, timeout=20)
    connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
    sent = {"Host": "switchyard.example"} | (headers or {})
    if isinstance(body, bytes):
        sent["Content-Length"] = str(len(body))
    for name, value in sent.items():
        connection.putheader(name, value)
    connection.endheaders(body)
    return connection.getresponse()


def told(pair: Pair, method: str, target: str, body: Any = None, headers: Any = None) -> dict[str, Any]:
    answer = ask(pair, method, target, body, headers)
    assert answer.status == 200
    return json.loads(answer.read())


def eventually(holds: Callable[[], Any], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# ------------------------------------------------------------------ what goes there
@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/spend/?period=14d&tz=Asia%2FKolkata", "/spend/", "period=14d&tz=Asia%2FKolkata"),
        ("/a%2Fb/%E4%B8%AD/..;/?q=%20+%26&&x", "/a/b/中/..;/", "q=%20+%26&&x"),
        ("//evil.example/x", "//evil.example/x", ""),
        ("/a/../b/%2e%2e/./c", "/a/../b/.././c", ""),
        ("/[x]|y^z", "/[x]|y^z", ""),
        ("/?", "/", ""),
    ],
)  # fmt: skip
def test_method_path_and_query_arrive_as_they_were_sent(pair, target, path, query):
    found = told(pair, "PATCH", target)
    assert (found["method"], found["path"], found["query"]) == ("PATCH", path, query)


def test_headers_arrive_as_they_were_sent_but_for_those_of_the_connection(pair):
    sent = {
        "X-One": "é", "Cookie": "a=1; b=2", "Accept-Encoding": "br", "Connection": "keep-alive, X-Own", "X-Own": "1",
        "TE": "trailers", "Keep-Alive": "timeout=9", "Proxy-Authorization": "secret", "Upgrade": "h2c",
        "If-None-Match": '"x"',
    }  # fmt: skip
    found = dict(told(pair, "GET", "/", headers=sent)["headers"])
    assert found["host"] == found["x-forwarded-host"] == "switchyard.example"
    assert (
        found["cookie"] == "a=1; b=2" and found["accept-encoding"] == "br" and found["if-none-match"] == '"x"'
    )
    assert not {"x-own", "te", "keep-alive", "proxy-authorization", "upgrade"} & set(found)
    assert not {"user-agent", "accept", "content-type"} & set(found), (
        "nothing is added that the client didn't say"
    )


def test_the_address_is_the_connections_whatever_the_client_claims(pair):
    claims = {
        "X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example",
        "Forwarded": "for=6.6.6.6", "X-Real-IP": "6.6.6.6", "X-Switchyard-Front": "guess", "X-Forwarded-Port": "1",
    }  # fmt: skip
    found = told(pair, "GET", "/", headers=claims)
    assert found["client"][0] == "127.0.0.1" and found["scheme"] == "http"
    headers = [
        (name, value) for name, value in found["headers"] if "forward" in name or name.startswith("x-")
    ]
    assert sorted(headers) == [
        ("x-forwarded-for", "127.0.0.1"), ("x-forwarded-host", "switchyard.example"), ("x-forwarded-proto", "http"),
    ]  # fmt: skip


def test_who_reaches_the_pages_process_itself_stands_for_himself(pair):
    def straight(**headers: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(pair.path))
        connection.request("GET", "/", headers=headers)
        return connection.getresponse()

    found = json.loads(straight(**{"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "https"}).read())
    assert found["client"] != ["6.6.6.6", 0] and found["scheme"] == "http"
    assert not [name for name, _ in found["headers"] if name.startswith("x-forwarded")]
    refused = straight(**{"X-Switchyard-Front": "guess", "X-Forwarded-For": "6.6.6.6"})
    assert refused.status == 503 and b"SWITCHYARD_SECRET_KEY" in refused.read()


def test_the_socket_is_its_owners_only(pair):
    assert stat.S_IMODE(pair.path.stat().st_mode) == 0o600
    assert [found.name for found in pair.path.parent.iterdir()] == ["pages.sock"]


@pytest.mark.parametrize("chunked", [False, True])
def test_an_upload_streams_through(pair, chunked):
    part, count = b"0123456789abcdef" * 4096, 200  # 13 MB
    whole = hashlib.sha256(part * count).hexdigest()

    def parts() -> Iterator[bytes]:
        for _ in range(count):
            yield part

    headers = {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(len(part) * count)}
    connection = http.client.HTTPConnection("127.0.0.1", pair.front.port, timeout=30)
    connection.request("POST", "/upload", body=parts(), headers=headers, encode_chunked=chunked)
    found = json.loads(connection.getresponse().read())
    assert found["size"] == len(part) * count and found["sha256"] == whole
    assert found["parts"] > 10, "it was passed on in parts"


# ------------------------------------------------------------------ what comes back
def test_every_cookie_comes_back_and_nothing_of_the_connection(pair):
    answer = ask(pair, "GET", "/cookies")
    assert answer.status == 302 and answer.headers["location"] == "/next/?a=%2F"
    cookies = answer.headers.get_all("set-cookie")
    assert cookies[:2] == ["a=1; Path=/", "b=2; Expires=Thu, 26 Nov 2026 09:00:00 GMT"]
    assert cookies[2].encode("latin-1") == b"c=\xc3\xa9"
    assert "x-own" not in answer.headers and "keep-alive" not in answer.headers
    assert len(answer.headers.get_all("date")) == 1


def test_answers_without_a_body_have_none(pair):
    connection = http.client.HTTPConnection("127.0.0.1", pair.front.port, timeout=5)
    for method, path, status in (("HEAD", "/", 200), ("GET", "/not-modified", 304), ("GET", "/", 200)):
        connection.request(
            method, path
        )  # on one connection: a byte too many would be read as the next answer
        answer = connection.getresponse()
        assert answer.status == status
        assert (answer.read() == b"") == (path != "/" or method == "HEAD")
        if method == "HEAD":
            assert int(answer.headers["content-length"]) > 100


def test_events_come_as_they_are_sent(pair, echo):
    answer = ask(pair, "GET", "/events")
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.readline() == b"data: first\n"  # the second isn't written yet
    echo.go_on.set()
    assert answer.read() == b"\ndata: second\n\n"


def test_a_client_that_leaves_ends_the_work(pair, echo):
    with socket.create_connection(("127.0.0.1", pair.front.port)) as client:
        client.sendall(b"GET /hang HTTP/1.1\r\nhost: x\r\n\r\n")
        eventually(lambda: "GET /hang" in echo.asked)
    eventually(lambda: echo.left == ["/hang"])


def test_a_client_that_leaves_in_the_middle_of_its_upload_ends_the_work(pair, echo):
    with socket.create_connection(("127.0.0.1", pair.front.port)) as client:
        client.sendall(b"POST /upload HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nhalf")
        eventually(lambda: "POST /upload" in echo.asked)
    eventually(lambda: echo.left == ["/upload"])
    assert told(pair, "GET", "/")["method"] == "GET"


def test_an_answer_before_the_end_of_an_upload_is_passed_on(pair):
    with socket.create_connection(("127.0.0.1", pair.front.port), timeout=10) as client:
        client.sendall(b"POST /early HTTP/1.1\r\nhost: x\r\ncontent-length: 100000000\r\n\r\nhalf")
        assert client.recv(12) == b"HTTP/1.1 413"
    assert told(pair, "GET", "/")["method"] == "GET"


def test_a_cut_answer_looks_cut(pair):
    answer = ask(pair, "GET", "/cut")
    with pytest.raises(http.client.IncompleteRead) as raised:
        answer.read()
    assert raised.value.partial == b"a,b\n"


# ------------------------------------------------------------------ while it is away
def test_a_reader_gets_a_page_that_asks_again_and_a_program_a_problem(pair):
    pair.stop_pages()
    page = ask(pair, "GET", "/spend/", headers={"Accept": "text/html,*/*", "Accept-Language": "en"})
    assert page.status == 503 and int(page.headers["retry-after"]) > 0
    assert (
        page.headers["content-type"] == "text/html; charset=utf-8"
        and page.headers["cache-control"] == "no-store"
    )
    text = page.read().decode()
    assert 'http-equiv="refresh"' in text and "Nothing of your request was done" in text and "/v1" in text
    form = ask(pair, "POST", "/budgets/", b"a=1", {"Accept": "text/html"}).read().decode()
    assert "refresh" not in form and "Nothing of your request was done" in form
    problem = ask(pair, "GET", "/api/v1/lobs", headers={"Accept": "text/html"})
    assert problem.status == 503 and problem.headers["content-type"] == "application/problem+json"
    assert json.loads(problem.read())["code"] == "pages_away"


def test_it_speaks_the_readers_language(pair):
    pair.stop_pages()
    for headers in (
        {"Accept-Language": "zh-CN,zh"},
        {"Cookie": "django_language=zh-hans", "Accept-Language": "en"},
    ):
        page = ask(pair, "GET", "/", headers={"Accept": "text/html"} | headers)
        assert page.headers["content-language"] == "zh-hans" and 'lang="zh-hans"' in (
            text := page.read().decode()
        )
        assert "页面" in text


def test_it_answers_as_soon_as_the_pages_process_is_back(pair):
    assert told(pair, "GET", "/")
    pair.stop_pages()
    assert ask(pair, "GET", "/").status == 503
    pair.start_pages()
    assert told(pair, "POST", "/", b"x")["size"] == 1


def test_what_may_have_been_done_is_not_sent_again(pair, echo):
    answer = ask(pair, "POST", "/gone", b"amount=1", {"Accept": "text/html"})
    assert answer.status == 503 and "may or may not have been done" in answer.read().decode()
    assert echo.asked == ["POST /gone"]


def test_ready_says_how_the_pages_are(pair, tmp_path):
    import asyncio

    async def states() -> list[str]:
        pages = PagesElsewhere(f"unix://{pair.path}", TOKEN)
        await pages.open()
        found = [await pages.state()]
        await asyncio.get_running_loop().run_in_executor(None, pair.stop_pages)
        pages._known = 0.0
        found.append(await pages.state())
        await pages.close()
        return found

    assert asyncio.run(states()) == ["up", "away"]


def test_a_pages_process_behind_a_port_works_as_well(echo):
    pages = Served(PagesFront(echo, TOKEN)).start()
    front = Served(Front(PagesElsewhere(f"http://127.0.0.1:{pages.port}", TOKEN))).start()
    try:
        connection = http.client.HTTPConnection("127.0.0.1", front.port)
        connection.request("GET", "/x", headers={"X-Forwarded-For": "6.6.6.6"})
        found = json.loads(connection.getresponse().read())
        assert found["client"] == ["127.0.0.1", 0] and found["path"] == "/x"
    finally:
        front.stop()
        pages.stop()


# ------------------------------------------------------------------ settings
@pytest.mark.parametrize(
    "url",
    [
        "pages:8001", "https://pages:8001", "http://pages", "http://pages:x", "http://pages:8001/below",
        "unix://pages.sock", "unix:", "http://u:p@pages:8001", "http://:8001",
    ],
)  # fmt: skip
def test_an_address_that_names_no_place_is_refused_in_words(url):
    with pytest.raises(BadPagesUrl, match="unix:///path"):
        pages_address(url)


def test_addresses_that_are_understood():
    assert pages_address("unix:///run/pages.sock") == ("/run/pages.sock", "http://pages")
    assert (
        pages_address("http://pages:8001") == pages_address("http://pages:8001/") == ("", "http://pages:8001")
    )
