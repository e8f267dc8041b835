"""Who asks, whom, and what a refusal means: names and passwords go nowhere else, and no address but https is asked."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from biosig_mtl.data import fetching_line
from biosig_mtl.data.fetching import Wanted, fetch_file
from biosig_mtl.data.fetching_line import Line, Patience, allowed, asks_for, credentials
from biosig_mtl.types import DataError
from tests.data.faulty_server import CONTENT, DIGEST, Faulty, serving

QUICK = Patience(tries=2, stall_s=5, first_wait_s=0.001, longest_wait_s=0.01)
SECRET = "correct-horse"
BASIC = "Basic " + base64.b64encode(f"me:{SECRET}".encode()).decode()


@pytest.fixture
def server() -> Iterator[Faulty]:
    with serving() as running:
        yield running


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PHYSIONET_USERNAME", "PHYSIONET_PASSWORD", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


def known(tmp_path: Path, machine: str = "127.0.0.1") -> None:
    (tmp_path / "netrc").write_text(f"machine {machine} login me password {SECRET}\n", encoding="ascii")


def get(url: str, folder: Path, *, login: bool = True) -> None:
    line = Line("https://example.org/sign-up", login=login, patience=QUICK)
    fetch_file(Wanted(url, "a.bin", DIGEST), folder / "a.bin", line)


def send_on(to: str, status: int = 302) -> object:
    return lambda handler, _: handler.give(b"", status, {"Location": to})


# ------------------------------------------------------------------------------------------------------------- passwords
def test_name_and_password_come_from_netrc_and_go_to_their_host(tmp_path: Path, server: Faulty) -> None:
    known(tmp_path)
    get(f"{server.url}/a", tmp_path)
    assert server.seen[0][1]["Authorization"] == BASIC


def test_a_set_that_wants_no_login_gets_none(tmp_path: Path, server: Faulty) -> None:
    known(tmp_path)
    get(f"{server.url}/a", tmp_path, login=False)
    assert "Authorization" not in server.seen[0][1]


def test_the_environment_goes_before_netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known(tmp_path, "physionet.org")
    assert credentials("https://physionet.org/files/x") == ("me", SECRET)
    monkeypatch.setenv("PHYSIONET_USERNAME", "you")
    assert credentials("https://physionet.org/files/x") == ("me", SECRET)
    monkeypatch.setenv("PHYSIONET_PASSWORD", "else")
    assert credentials("https://www.physionet.org/files/x") == ("you", "else")
    assert credentials("https://physionet.org.example.com/files/x") is None


def test_the_default_of_netrc_is_told_to_nobody(tmp_path: Path) -> None:
    assert credentials("https://example.org/") is None
    (tmp_path / "netrc").write_text(f"default login me password {SECRET}\n", encoding="ascii")
    assert credentials("https://example.org/") is None


def test_a_netrc_that_cannot_be_read_is_not_quoted(tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text(f"machine a login me passwort {SECRET}\n", encoding="ascii")
    with pytest.raises(DataError, match="is not readable as netrc") as caught:
        credentials("https://a/")
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_password_is_dropped_on_the_way_to_another_host(tmp_path: Path, server: Faulty) -> None:
    known(tmp_path)
    with serving() as other:
        server.rules["/a"] = send_on(f"{other.url}/a")  # type: ignore[assignment]
        get(f"{server.url}/a", tmp_path)
        assert server.seen[0][1]["Authorization"] == BASIC
        assert [heads.get("Authorization") for _, heads in other.seen] == [None]
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_password_is_kept_on_the_same_host_and_not_got_back(tmp_path: Path, server: Faulty) -> None:
    known(tmp_path)
    server.files["/b"] = CONTENT
    server.rules["/a"] = send_on("/b")  # type: ignore[assignment]
    get(f"{server.url}/a", tmp_path)
    assert server.seen[1][1]["Authorization"] == BASIC
    # Away and back again: the stranger in between chose where, so it is not sent.
    (tmp_path / "a.bin").unlink()
    server.seen.clear()
    with serving() as other:
        server.rules["/a"] = send_on(f"{other.url}/x")  # type: ignore[assignment]
        other.rules["/x"] = send_on(f"{server.url}/b")  # type: ignore[assignment]
        get(f"{server.url}/a", tmp_path)
    assert [heads.get("Authorization") for _, heads in server.seen] == [BASIC, None]


@pytest.mark.parametrize("status", [401, 403, 404, 503])
def test_no_message_holds_a_password(
    tmp_path: Path, server: Faulty, status: int, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    known(tmp_path)
    server.rules["/a"] = lambda handler, _: handler.give(SECRET.encode(), status)
    with pytest.raises(DataError) as caught:
        get(f"{server.url}/a", tmp_path)
    shown = str(caught.value) + repr(caught.value.__cause__) + "".join(capsys.readouterr()) + caplog.text
    assert SECRET not in shown
    assert BASIC[6:] not in shown


# -------------------------------------------------------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    ("status", "login", "has", "message"),
    [
        (401, True, False, r"wants a log-in: register at https://example.org/sign-up, then write a line 'machine 127.0.0.1"),
        (401, True, True, "the name and password were refused; check them"),
        (403, True, False, "register at https://example.org/sign-up"),
        (403, True, True, "your account may not read this yet: sign the agreement at https://example.org/sign-up"),
        (403, False, False, "it is not open to everybody now; see https://example.org/sign-up"),
        (404, False, False, "is not there: the address may be out of date; see https://example.org/sign-up"),
        (410, False, False, "was taken away"),
        (407, False, False, "the proxy wants a log-in"),
        (451, False, False, "withheld for legal reasons"),
        (400, False, False, r"refused \(HTTP 400\)"),
    ],
)
def test_a_refusal_is_told_in_words_and_not_repeated(
    tmp_path: Path, server: Faulty, status: int, login: bool, has: bool, message: str
) -> None:
    if has:
        known(tmp_path)
    server.rules["/a"] = lambda handler, _: handler.give(b"", status)
    with pytest.raises(DataError, match=message):
        get(f"{server.url}/a", tmp_path, login=login)
    assert len(server.seen) == 1
    assert not (tmp_path / "a.bin").exists()


def test_what_to_do_names_the_variables_of_physionet() -> None:
    assert asks_for("https://physionet.org/files/x").startswith(
        "set PHYSIONET_USERNAME and PHYSIONET_PASSWORD in the environment"
    )


# ------------------------------------------------------------------------------------------------------------- addresses
@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://example.org/a", True),
        ("http://127.0.0.1:80/a", True),
        ("http://example.org/a", False),
        ("http://127.0.0.1.example.org/a", False),
        ("http://127.0.0.1@example.org/a", False),
        ("https://me:pw@example.org/a", False),
        ("file:///etc/passwd", False),
        ("https:///a", False),
    ],
)
def test_only_https_and_this_machine(url: str, good: bool) -> None:
    assert allowed(url) is good


@pytest.mark.parametrize(
    "to", ["http://example.org/a", "file:///etc/passwd", "ftp://example.org/a", "https://a:b@example.org/a"]
)
def test_nobody_sends_us_from_the_safe_road(tmp_path: Path, server: Faulty, to: str) -> None:
    server.rules["/a"] = send_on(to)  # type: ignore[assignment]
    with pytest.raises(DataError, match=r"is not https|refused|circle"):
        get(f"{server.url}/a", tmp_path)
    assert not (tmp_path / "a.bin").exists()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_circle_ends(tmp_path: Path, server: Faulty, status: int) -> None:
    server.rules["/a"] = send_on("/a", status)  # type: ignore[assignment]
    with pytest.raises(DataError, match="round in a circle"):
        get(f"{server.url}/a", tmp_path)
    assert len(server.seen) <= 11


def test_the_range_is_asked_of_the_host_we_are_sent_to(tmp_path: Path, server: Faulty) -> None:
    server.files["/b"] = CONTENT
    server.rules["/a"] = send_on("/b")  # type: ignore[assignment]
    server.rules["/b"] = lambda handler, before: not before and handler.plain(300_000)
    get(f"{server.url}/a", tmp_path)
    assert server.asked("/b") == [None, "bytes=300000-"]


def test_a_proxy_is_taken_from_the_environment(tmp_path: Path, server: Faulty, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("no_proxy", "")
    server.files["http://127.0.0.1:9/a"] = CONTENT
    get("http://127.0.0.1:9/a", tmp_path)
    assert server.seen[0][0] == "http://127.0.0.1:9/a"


def test_a_certificate_that_is_not_trusted_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ssl
    import urllib.error

    class Broken:
        def open(self, *_: object, **__: object) -> None:
            raise urllib.error.URLError(ssl.SSLCertVerificationError("[SSL: CERTIFICATE_VERIFY_FAILED] nobody knows it"))

    monkeypatch.setattr(fetching_line, "_opener", Broken)
    with pytest.raises(DataError, match="the certificate of the server is not trusted"):
        get("https://example.org/a", tmp_path)
