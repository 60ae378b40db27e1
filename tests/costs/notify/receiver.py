"""A real HTTP server that receives webhooks: it keeps what came and answers as told."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Receiver:
    url: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    drip_s: float = 0.0  # pause between the bytes of the answer's head
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)  # path, headers, body


@contextmanager
def receiving(tls: ssl.SSLContext | None = None, **answers: Any) -> Iterator[Receiver]:
    receiver = Receiver(**answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.got.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            if receiver.drip_s:
                self._drip()
                return
            self.send_response(receiver.status)
            for name, value in receiver.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"thank you")

        do_GET = do_POST

        def _drip(self) -> None:
            try:
                for byte in b"HTTP/1.1 200 OK\r\n\r\n":
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()
                    time.sleep(receiver.drip_s)
            except OSError:
                return

        def log_message(self, *_: Any) -> None: ...

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            """A caller who turns away at the handshake is what some tests are about."""

    server = Quiet(("0.0.0.0" if tls else "127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    receiver.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}/hooks/money?team=a"
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
