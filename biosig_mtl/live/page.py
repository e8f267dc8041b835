"""A small web server for one page: live estimates as server-sent events, on this machine only unless told otherwise."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from biosig_mtl.live.hub import Hub, Onlooker
from biosig_mtl.types import RecipeError

HOME = "127.0.0.1"
# A line without news is kept open by a comment; proxies and browsers give up on silence.
HEARTBEAT_S = 10.0
RETRY_MS = 1500
# A browser that takes nothing for so long has gone, or is no browser.
STUCK_S = 20.0
MOST_ONLOOKERS = 16
TEMPLATES = Path(__file__).parents[1] / "templates"


def build_page(language: str = "en") -> tuple[bytes, str]:
    """Return the page, one file that loads nothing from elsewhere, and the content security policy that holds it to that."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    style, script = ((TEMPLATES / name).read_text(encoding="utf-8") for name in ("live.css", "live.js"))
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    html = environment.get_template("live.html.j2").render(language=language, style=Markup(style), script=Markup(script))
    policy = (
        f"default-src 'none'; connect-src 'self'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return html.encode(), policy


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


class Page:
    """The page and its events, served by threads of their own until `close`.

    Parameters
    ----------
    hub
        What is told.
    port
        0: any free one.
    host
        The address to listen on. The default is seen by nobody but this machine.

    Raises
    ------
    RecipeError
        The port is taken, or the address is not one of this machine's.
    """

    def __init__(self, hub: Hub, port: int = 0, host: str = HOME) -> None:
        """Begin to listen."""
        self.hub = hub
        self.html, self.policy = build_page()
        try:
            self._server = _Server((host, port), self)
        except OSError as error:
            raise RecipeError(
                f"--page {port}: cannot listen on {host}: {error.strerror}; give another port (0: any free one)"
            ) from error
        self.host, self.port = host, int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="page", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where to look."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{name}:{self.port}/"

    @property
    def private(self) -> bool:
        """Whether only this machine can see it."""
        return is_own(self.host)

    def welcomes(self, name: str | None) -> bool:
        """Return whether a request for this name of ours is answered.

        A page of somebody else's may let its name point to this machine (DNS rebinding) and would then read along; so a page
        that is private answers only to names that mean this machine.
        """
        return not self.private or (name is not None and is_own(_host_of(name)))

    def close(self) -> None:
        """Let onlookers go, and stop listening."""
        self.hub.close()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def is_own(host: str) -> bool:
    """Return whether a name means this machine as only it can see itself.

    >>> is_own("127.0.0.1"), is_own("::1"), is_own("localhost"), is_own("0.0.0.0"), is_own("example.org")
    (True, True, True, False, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _host_of(name: str) -> str:
    """Return the host in a Host header, without its port; empty where it is no host."""
    if name.startswith("["):
        host, _, rest = name[1:].partition("]")
        return host if rest[:1] in {"", ":"} else ""
    return name.partition(":")[0]


class _Server(ThreadingHTTPServer):
    # A thread that writes to somebody who does not read must not hold up the end.
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], page: Page) -> None:
        self.page = page
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # The one of HTTPServer looks up a name for the address, which may ask the network.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "live", int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: who goes away in the middle of a line is no error of ours."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "biosig-mtl", ""
    timeout = STUCK_S
    server: _Server

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if not self.server.page.welcomes(self.headers.get("Host")):
            self._answer(403, b"this page is for this machine only\n")
        elif path == "/":
            self._answer(200, self.server.page.html, "text/html; charset=utf-8")
        elif path == "/events":
            self._events()
        else:
            self._answer(404, b"there is / and /events\n")

    def do_HEAD(self) -> None:
        page = self.server.page
        known = page.welcomes(self.headers.get("Host")) and self.path.partition("?")[0] == "/"
        self._begin(200 if known else 404, "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page.html) if known else 0))
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the terminal for the estimates."""

    def _answer(self, code: int, content: bytes, kind: str = "text/plain; charset=utf-8") -> None:
        self._begin(code, kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _begin(self, code: int, kind: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Security-Policy", self.server.page.policy)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Cache-Control", "no-store")

    def _events(self) -> None:
        hub = self.server.page.hub
        if hub.onlookers >= MOST_ONLOOKERS:
            self._answer(503, b"too many look on; close one of the pages\n")
            return
        self.close_connection = True
        self._begin(200, "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        with _looking(hub, self.headers.get("Last-Event-ID")) as one:
            self.wfile.write(f"retry: {RETRY_MS}\n\n".encode())
            while (told := one.take(HEARTBEAT_S)) is not None:
                self.wfile.write(b"".join(m.text for m in told) or b": still here\n\n")


@contextmanager
def _looking(hub: Hub, last_id: str | None) -> Iterator[Onlooker]:
    one = hub.join(last_id)
    try:
        yield one
    finally:
        hub.leave(one)
