"""A very small object store that speaks as much of S3 as one file at a time needs, on 127.0.0.1."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from biosig_mtl.types import EMPTY


@dataclass
class ObjectStore:
    """What is stored, by ``bucket/key``; ``broken`` is how many of the next requests are cut."""

    port: int = 0
    objects: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    broken: int = 0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class Server(ThreadingHTTPServer):
    """Serves one store."""

    daemon_threads = True
    store: ObjectStore


class Handler(BaseHTTPRequestHandler):
    """Lists, gets and puts."""

    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer with a listing or an object, or a part of it."""
        split = urlsplit(self.path)
        key = unquote(split.path.lstrip("/"))
        if self._cut():
            return
        if not key.startswith("bucket"):
            self._answer(404, b"<Error><Code>NoSuchBucket</Code></Error>")
        elif "list-type" in split.query:
            self._answer(200, self._listing(parse_qs(split.query).get("prefix", [""])[0]))
        elif key not in self.server.store.objects:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        else:
            self._object(self.server.store.objects[key])

    def do_HEAD(self) -> None:
        """Answer as to a GET, without the body."""
        self.do_GET()

    def do_PUT(self) -> None:
        """Keep an object."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not self._cut():
            self.server.store.objects[unquote(urlsplit(self.path).path.lstrip("/"))] = body
            self._answer(200)

    def _listing(self, prefix: str) -> bytes:
        keys = {key.partition("/")[2]: len(body) for key, body in sorted(self.server.store.objects.items())}
        rows = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{size}</Size></Contents>"
            for key, size in keys.items()
            if key.startswith(prefix)
        )
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>".encode()

    def _object(self, body: bytes) -> None:
        span = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if span is None:
            self._answer(200, body)
            return
        first, last = int(span[1]), min(int(span[2] or len(body) - 1), len(body) - 1)
        self._answer(206, body[first : last + 1], {"Content-Range": f"bytes {first}-{last}/{len(body)}"})

    def _cut(self) -> bool:
        store = self.server.store
        store.asked.append(f"{self.command} {self.path}")
        if store.broken <= 0:
            return False
        store.broken -= 1
        self.close_connection = True
        self.connection.close()
        return True

    def _answer(self, code: int, body: bytes = b"", headers: Mapping[str, str] = EMPTY) -> None:
        self.send_response(code)
        for name, value in {"ETag": '"0"', **headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def serving() -> Iterator[ObjectStore]:
    """Run an object store with the bucket ``bucket`` while the block lasts."""
    server = Server(("127.0.0.1", 0), Handler)
    server.store = ObjectStore(port=server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.store
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
