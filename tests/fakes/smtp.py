"""A real mail server on a free port: speaks SMTP (RFC 5321) with EHLO, AUTH PLAIN and STARTTLS, keeps what it takes.

Written here because aiosmtpd is in no lock file; what alerts need of SMTP is thirty lines of one conversation.
"""

from __future__ import annotations

import base64
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class MailServer:
    port: int = 0
    refuses: str = ""  # an address that no mail is taken for
    login: tuple[str, str] | None = None  # who may send; anybody when left out
    got: list[tuple[str, list[str], bytes]] = field(default_factory=list)  # from, to, message
    secured: list[bool] = field(default_factory=list)  # for each message, whether it came over TLS


@contextmanager
def serving_mail(tls: ssl.SSLContext | None = None, **answers: Any) -> Iterator[MailServer]:
    kept = MailServer(**answers)

    class Session(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.known, self.secure = kept.login is None, False
            self.sender, self.receivers = "", list[str]()
            self._say("220 ready")
            while line := self.rfile.readline(2048).decode("ascii", "replace").strip():
                verb, _, rest = line.partition(" ")
                handler = getattr(self, f"do_{verb.upper()}", None)
                if handler is None:
                    self._say("502 not here")
                elif handler(rest) is False:
                    return

        def _say(self, *lines: str) -> None:
            """Every line but the last goes on with a dash after its code."""
            told = [f"{line[:3]}-{line[4:]}" for line in lines[:-1]] + [lines[-1]]
            self.wfile.write("".join(f"{line}\r\n" for line in told).encode())

        def do_EHLO(self, _: str) -> None:
            offers = ["250 AUTH PLAIN"] + (["250 STARTTLS"] if tls and not self.secure else [])
            self._say("250 mail.test", *offers)

        def do_STARTTLS(self, _: str) -> None:
            assert tls is not None
            self._say("220 go ahead")
            self.connection = tls.wrap_socket(self.connection, server_side=True)
            self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)
            self.secure = True

        def do_AUTH(self, rest: str) -> None:
            _, name, password = base64.b64decode(rest.split()[1]).decode().split("\0")
            self.known = (name, password) == kept.login
            self._say("235 welcome" if self.known else "535 who is that?")

        def do_MAIL(self, rest: str) -> None:
            self.sender, self.receivers = rest[rest.index("<") + 1 : rest.index(">")], []
            self._say("250 fine" if self.known else "530 log in first")

        def do_RCPT(self, rest: str) -> None:
            address = rest[rest.index("<") + 1 : rest.index(">")]
            if address == kept.refuses:
                self._say("550 nobody here by that name")
                return
            self.receivers.append(address)
            self._say("250 fine")

        def do_DATA(self, _: str) -> None:
            self._say("354 end with a dot")
            lines = iter(self.rfile.readline, b".\r\n")
            kept.got.append(
                (self.sender, self.receivers, b"".join(line.removeprefix(b".") for line in lines))
            )
            kept.secured.append(self.secure)
            self._say("250 taken")

        def do_RSET(self, _: str) -> None:
            self._say("250 fine")

        def do_QUIT(self, _: str) -> bool:
            self._say("221 bye")
            return False

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address, daemon_threads = True, True

        def handle_error(self, *_: Any) -> None:
            """A caller who hangs up in the middle is what some tests are about."""

    server = Server(("127.0.0.1", 0), Session)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    kept.port = server.server_address[1]
    try:
        yield kept
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
