"""A server on this machine that answers well, or badly in a way that is told to it."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

CONTENT = bytes(range(256)) * 5000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Faulty:
    """What is served (path → bytes), how (path → rule), and what was asked.

    A rule gets the handler and how many questions for this path came before; it answers itself and returns True, or returns
    False for an ordinary answer.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=lambda: {"/a": CONTENT})
    rules: dict[str, Callable[[Handler, int], bool]] = field(default_factory=dict)
    etag: str = '"v1"'
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    over: Event = field(default_factory=Event)

    def asked(self, path: str = "/a") -> list[str | None]:
        """Return the ranges that were asked for."""
        return [heads.get("Range") for where, heads in self.seen if where == path]


class Handler(BaseHTTPRequestHandler):
    """Answers one question."""

    faulty: Faulty

    def do_GET(self) -> None:
        faulty = self.faulty
        before = sum(path == self.path for path, _ in faulty.seen)
        faulty.seen.append((self.path, dict(self.headers.items())))
        rule = faulty.rules.get(self.path)
        try:
            if rule and rule(self, before):
                return
            if self.path not in faulty.files:
                self.give(b"", 404)
                return
            self.plain()
        except (BrokenPipeError, ConnectionResetError):
            pass

    def begin(self) -> int:
        """Return where the answer is asked to begin."""
        asked = self.headers.get("Range")
        fits = self.headers.get("If-Range", self.faulty.etag) == self.faulty.etag
        return int(re.findall(r"\d+", asked)[0]) if asked and fits else 0

    def plain(self, stop: int | None = None, shift: int = 0, total: int | None = None) -> bool:
        """Answer as a good server does; ``stop`` cuts the line there, ``shift`` lies about where it begins."""
        content = self.faulty.files[self.path]
        begin = self.begin()
        if begin and begin >= len(content):
            return self.give(b"", 416)
        heads = {"ETag": self.faulty.etag} if self.faulty.etag else {}
        if begin:
            heads["Content-Range"] = f"bytes {begin + shift}-{len(content) - 1}/{total or len(content)}"
        heads["Content-Length"] = str(len(content) - begin)
        return self.give(content[begin:stop], 206 if begin else 200, heads)

    def give(self, body: bytes, status: int = 200, heads: dict[str, str] | None = None) -> bool:
        """Answer with just this."""
        self.send_response(status)
        for name, value in (heads or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        return True

    def stall(self, body: bytes = b"", every_s: float = 0.0) -> bool:
        """Begin well, then say nothing more, or a byte now and then."""
        self.give(body, 200, {"Content-Length": str(len(CONTENT)), "ETag": self.faulty.etag})
        self.wfile.flush()
        while not self.faulty.over.wait(every_s or 0.05):
            if every_s:
                self.wfile.write(b"x")
                self.wfile.flush()
        return True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving() -> Iterator[Faulty]:
    """Run a server of its own on 127.0.0.1."""
    faulty = Faulty()
    handler = type("Own", (Handler,), {"faulty": faulty})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        running.daemon_threads = True
        thread = Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        faulty.url = f"http://127.0.0.1:{running.server_port}"
        try:
            yield faulty
        finally:
            faulty.over.set()
            running.shutdown()
            thread.join()


def until(check: Callable[[], bool], seconds: float = 20.0) -> bool:
    """Wait until something is so; tell whether it came."""
    end = time.monotonic() + seconds
    while not check():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True
