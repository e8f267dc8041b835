"""Laws of the page's server: for this machine only, nothing from elsewhere, events that go on where they broke off."""

from __future__ import annotations

import http.client
import re
import socket
import time
from collections.abc import Iterator

import pytest

from biosig_mtl.live import page as pages
from biosig_mtl.live.hub import Hub
from biosig_mtl.live.page import Page, is_own
from biosig_mtl.types import RecipeError


@pytest.fixture
def page() -> Iterator[Page]:
    made = Page(Hub())
    yield made
    made.close()


def ask(page: Page, path: str = "/", method: str = "GET", host: str | None = None) -> tuple[int, dict[str, str], bytes]:
    line = http.client.HTTPConnection("127.0.0.1", page.port, timeout=5)
    line.request(method, path, headers={"Host": host} if host is not None else {})
    answer = line.getresponse()
    got = answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    line.close()
    return got


class Reader:
    """Reads events from the line, one at a time."""

    def __init__(self, page: Page, last_id: str | None = None) -> None:
        self.line = http.client.HTTPConnection("127.0.0.1", page.port, timeout=5)
        self.line.request("GET", "/events", headers={} if last_id is None else {"Last-Event-ID": last_id})
        self.answer = self.line.getresponse()
        assert self.answer.status == 200
        assert self.answer.getheader("Content-Type") == "text/event-stream"

    def block(self) -> dict[str, str]:
        fields = {}
        while line := self.answer.readline().decode().rstrip("\n"):
            name, _, value = line.partition(":")
            fields[name] = value.strip()
        return fields

    def close(self) -> None:
        self.answer.close()
        self.line.close()


def until(done: object) -> None:
    for _ in range(500):
        if done():  # type: ignore[operator]
            return
        time.sleep(0.01)
    pytest.fail("it did not happen within 5 s")


def test_the_page_is_one_file_that_may_load_nothing(page: Page) -> None:
    status, headers, body = ask(page)
    text = body.decode()
    assert status == 200
    assert headers["content-type"] == "text/html; charset=utf-8"
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert not re.search(r"https?://", text)
    assert "Research use only" in text
    assert re.findall(r'\bsrc="', text) == []
    assert re.findall(r'<link[^>]*href="([^"]*)"', text) == ["data:,"]
    # Text of others is never made into elements.
    assert "innerHTML" not in text
    assert "eval(" not in text


def test_only_names_of_this_machine_are_answered(page: Page) -> None:
    for name in ("localhost", f"localhost:{page.port}", "127.0.0.1", f"[::1]:{page.port}", "127.8.8.8"):
        assert ask(page, host=name)[0] == 200, name
    for name in ("example.org", "example.org:80", "", "127.0.0.1.example.org", "[2001:db8::1]:80", "[::1]example.org"):
        assert ask(page, host=name)[0] == 403, name
        assert ask(page, "/events", host=name)[0] == 403, name
        assert ask(page, method="HEAD", host=name)[0] == 404, name


def test_other_places_and_other_words_are_refused(page: Page) -> None:
    assert ask(page, "/etc/passwd")[0] == 404
    assert ask(page, "/../../etc/passwd")[0] == 404
    assert ask(page, "/?x=1")[0] == 200
    assert ask(page, method="POST")[0] == 501
    status, headers, body = ask(page, method="HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) == len(page.html)
    assert "python" not in headers["server"].lower()


def test_events_arrive_and_go_on_where_they_broke_off(page: Page) -> None:
    page.hub.publish("event", {"n": 0})
    reader = Reader(page)
    assert reader.block() == {"retry": "1500"}
    first = reader.block()
    assert (first["event"], first["data"]) == ("event", '{"n":0}')
    page.hub.publish("event", {"n": 1})
    assert reader.block()["data"] == '{"n":1}'
    reader.close()
    page.hub.publish("event", {"n": 2})
    again = Reader(page, first["id"])
    again.block()
    assert [again.block()["data"] for _ in range(2)] == ['{"n":1}', '{"n":2}']
    again.close()


def test_a_quiet_line_is_kept_open(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "HEARTBEAT_S", 0.01)
    reader = Reader(page)
    reader.block()
    assert reader.block() == {"": "still here"}
    reader.close()


def test_the_end_closes_the_line() -> None:
    page = Page(Hub())
    reader = Reader(page)
    reader.block()
    page.hub.publish("end", {"says": "ended"})
    page.close()
    assert reader.block()["event"] == "end"
    assert reader.answer.readline() == b""
    reader.close()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", page.port), timeout=1)


def test_who_goes_away_is_forgotten(page: Page, capfd: pytest.CaptureFixture[str]) -> None:
    reader = Reader(page)
    reader.block()
    assert page.hub.onlookers == 1
    reader.close()

    def gone() -> bool:
        page.hub.publish("event", {"long": "x" * 10000})
        return page.hub.onlookers == 0

    until(gone)
    assert capfd.readouterr() == ("", "")


def test_who_does_not_read_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages._Handler, "timeout", 0.2)
    page = Page(Hub({"trace": 2}, backlog=5))
    slow = socket.create_connection(("127.0.0.1", page.port), timeout=5)
    slow.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    until(lambda: page.hub.onlookers == 1)

    def gone() -> bool:
        page.hub.publish("trace", {"long": "x" * 300_000})
        return page.hub.onlookers == 0

    until(gone)
    slow.close()
    page.close()


def test_not_everybody_may_look_on_at_once(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MOST_ONLOOKERS", 1)
    reader = Reader(page)
    reader.block()
    assert ask(page, "/events")[0] == 503
    assert ask(page)[0] == 200
    reader.close()


def test_a_port_that_is_taken_is_told(page: Page) -> None:
    with pytest.raises(RecipeError, match=rf"--page {page.port}: cannot listen on 127\.0\.0\.1: .*another port") as error:
        Page(Hub(), page.port)
    assert error.value.exit_code == 2
    with pytest.raises(RecipeError, match=r"cannot listen on 192\.0\.2\.1"):
        Page(Hub(), 0, "192.0.2.1")


def test_a_page_for_others_says_so() -> None:
    page = Page(Hub(), 0, "0.0.0.0")
    assert not page.private
    assert ask(page, host="anybody.example.org")[0] == 200
    page.close()
    six = Page(Hub(), 0, "::1")
    assert six.url == f"http://[::1]:{six.port}/"
    assert six.private
    six.close()
    assert [is_own(name) for name in ("LOCALHOST", "::", "")] == [True, False, False]
