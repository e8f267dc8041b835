"""The line to other machines: only https, who asks, what is said where the answer is no.

User name and password are taken from the environment or from netrc, never from an argument, a manifest or an address. They go
only to the host that they belong to, over https, and are dropped when that host sends us to another. No message holds them.
"""

from __future__ import annotations

import base64
import email.utils
import netrc
import os
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPMessage
from pathlib import Path
from threading import Event
from typing import IO, Any
from urllib.parse import urlsplit

from biosig_mtl.types import DataError

# Hosts whose own tools take a name and password from the environment, by the names that those tools use.
_ENVIRONMENT = {"physionet.org": ("PHYSIONET_USERNAME", "PHYSIONET_PASSWORD")}
_SOON = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Patience:
    """How often and how long we wait.

    ``tries`` are attempts in a row that bring less than 64 KiB that we did not have before; a transfer that moves on is never
    given up. A transfer that brings less than ``least_rate`` bytes a second over ``stall_s`` seconds has stalled. Waits double
    from ``first_wait_s`` to at most ``longest_wait_s``, each times a random number of 0.5 to 1.5, so that many who failed
    together do not come back together. A server that asks for a longer wait than the longest is left alone.
    """

    tries: int = 6
    stall_s: float = 60.0
    least_rate: float = 100.0
    first_wait_s: float = 1.0
    longest_wait_s: float = 120.0

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if self.tries < 1 or self.stall_s <= 0 or min(self.least_rate, self.first_wait_s, self.longest_wait_s) < 0:
            raise ValueError(f"need tries >= 1, stall_s > 0 and no negative number, got {self}")


class Later(Exception):  # noqa: N818  (not an error: come back)
    """The answer was no for now; ``wait_s`` is what the server asks us to wait (negative: it does not say)."""

    def __init__(self, message: str, wait_s: float = -1.0) -> None:
        """Keep what was said, on one line."""
        super().__init__(" ".join(message.split()))
        self.wait_s = wait_s


class NoSuchPart(Later):
    """What we hold is not a beginning of what they have (HTTP 416)."""


class _Redirect(urllib.request.HTTPRedirectHandler):
    """Follows only to https, and takes no name and password to another host (CVE-2018-18074 in requests was this very slip)."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        """Return the next question, or refuse it."""
        if not allowed(newurl):
            raise DataError(
                f"{req.full_url}: sends us on to an address that is not https ({urlsplit(newurl).hostname}); refused"
            )
        made = super().redirect_request(req, fp, code, msg, headers, newurl)
        login = req.unredirected_hdrs.get("Authorization")
        if made is not None and login and _origin(newurl) == _origin(req.full_url):
            made.add_unredirected_header("Authorization", login)
        return made


@dataclass(frozen=True)
class Line:
    """What every transfer of a fetch shares.

    ``page`` is where a person signs up; ``login`` says that the set wants name and password; ``stop`` is set when all are to
    stop.
    """

    page: str = ""
    login: bool = False
    patience: Patience = field(default_factory=Patience)
    stop: Event = field(default_factory=Event)

    def open(self, url: str, headers: dict[str, str]) -> Any:
        """Ask for an address; return the answer, a context.

        Proxies are taken from the environment, as every program does (``https_proxy``, ``no_proxy``).

        Raises
        ------
        Later
            Worth another attempt: busy, too many questions, no connection.
        DataError
            Not worth one: it is not there, or not for us; the message says what to do.
        """
        request = urllib.request.Request(url, headers={"User-Agent": "biosig-mtl", "Accept-Encoding": "identity", **headers})
        found = credentials(url) if self.login else None
        if found:
            request.add_unredirected_header("Authorization", "Basic " + base64.b64encode(":".join(found).encode()).decode())
        try:
            return _opener().open(request, timeout=self.patience.stall_s)
        except urllib.error.HTTPError as error:
            error.close()
            raise self._answer(url, error, known=found is not None) from error
        except urllib.error.URLError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error.reason):
                raise DataError(f"{url}: the certificate of the server is not trusted; is a proxy in between?") from error
            raise Later(str(error.reason)[:100]) from error

    def _answer(self, url: str, error: urllib.error.HTTPError, *, known: bool) -> Exception:
        """Return what a refusal means."""
        if error.code in _SOON:
            return Later(f"HTTP {error.code} {error.reason}", _asked_wait(error.headers.get("Retry-After", "")))
        page = self.page or f"https://{urlsplit(url).hostname}"
        how = f"register at {page}, then {asks_for(url)}" if self.login else f"it is not open to everybody now; see {page}"
        words = {
            401: "the name and password were refused; check them" if known else f"wants a log-in: {how}",
            403: f"your account may not read this yet: sign the agreement at {page}" if known else f"may not be read: {how}",
            404: f"is not there: the address may be out of date; see {page}",
            410: f"was taken away; see {page}",
            407: "the proxy wants a log-in: put it into the address in https_proxy",
            451: "is withheld for legal reasons",
        }
        if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return NoSuchPart("the server has no such part")
        if error.code in {301, 302, 303, 307, 308}:
            return DataError(f"{url}: sends us round in a circle (HTTP {error.code})")
        return DataError(f"{url}: {words.get(error.code, 'refused')} (HTTP {error.code})")


def allowed(url: str) -> bool:
    """Tell whether an address may be asked: https, or this very machine; no name or password in it."""
    parts = urlsplit(url)
    ours = parts.scheme == "http" and parts.hostname == "127.0.0.1"
    return (parts.scheme == "https" or ours) and bool(parts.hostname) and parts.username is None and parts.password is None


def credentials(url: str) -> tuple[str, str] | None:
    """Return name and password for the host of an address: from the environment, else from ``$NETRC`` or ``~/.netrc``.

    The ``default`` entry of netrc is not used: it would tell a password to whatever host a manifest names.

    Raises
    ------
    DataError
        Netrc is there and not readable. The message quotes nothing of it.
    """
    host = urlsplit(url).hostname or ""
    names = _ENVIRONMENT.get(_base(host))
    if names and all(os.environ.get(name) for name in names):
        return os.environ[names[0]], os.environ[names[1]]
    path = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    if not path.is_file():
        return None
    try:
        found = netrc.netrc(str(path)).hosts.get(host)
    except (netrc.NetrcParseError, OSError, UnicodeDecodeError):
        # The words of the parser quote the file: they may hold a password. So neither they nor their traceback are passed on.
        raise DataError(f"{path}: is not readable as netrc") from None
    return (found[0], found[2]) if found and found[0] and found[2] else None


def asks_for(url: str) -> str:
    """Return how name and password for an address are given to us, in words."""
    host = urlsplit(url).hostname or ""
    names = _ENVIRONMENT.get(_base(host))
    netrc_line = f"a line 'machine {host} login NAME password PASSWORD' in ~/.netrc (chmod 600)"
    return f"set {' and '.join(names)} in the environment, or write {netrc_line}" if names else f"write {netrc_line}"


def _base(host: str) -> str:
    return host.removeprefix("www.")


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port


def _asked_wait(text: str) -> float:
    """Return the seconds of a Retry-After header, which may be a number or a date; negative where it says nothing."""
    if text.strip().isdigit():
        return float(text)
    try:
        return max(email.utils.parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
    except (ValueError, TypeError):
        return -1.0


def _opener() -> urllib.request.OpenerDirector:
    """Return an opener that knows http and https only: urllib's own would read files and ftp as well."""
    made = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        _Redirect(),
        urllib.request.HTTPErrorProcessor(),
    ):
        made.add_handler(handler)
    return made
