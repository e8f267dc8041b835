"""Places that are no folder of this machine: object stores and the like, through fsspec.

A place is only ever listed, fetched from and put to, one whole file at a time: an object store knows no rename, no appending
and no lock, but a put object is there whole or not at all, which is what the window store asks of a commit. Readers and memory
maps work on local copies.

Who may enter is a matter of the machine (``AWS_PROFILE``, ``FSSPEC_S3_KEY``, an instance's role …); an address that carries a
secret is refused, since addresses are written into messages.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from biosig_mtl.types import DataError, RecipeError

T = TypeVar("T")


class GoneError(DataError):
    """A file is not at its place; whatever else keeps it from being read says nothing about the file."""


PROTOCOLS = ("s3", "s3a", "gs", "gcs", "az", "abfs", "adl", "http", "https", "sftp", "file")
"""What an address may begin with. fsspec knows more, some of which open archives or chains of addresses."""

TRIES = 4
WAIT_S = 0.5  # before the second try; twice as long before each further one
# A path swallows the second slash of an address.
_ADDRESS = re.compile(r"^([a-z][a-z0-9+.-]+):/+(.*)$", re.IGNORECASE | re.DOTALL)
_LONGEST_NAME = 200


def url_of(given: str | Path) -> str | None:
    """Return the address that was given, as text or by way of a `Path`; None for a folder of this machine.

    >>> url_of(Path("s3://bucket/stores")), url_of("/data/stores")
    ('s3://bucket/stores', None)

    Raises
    ------
    RecipeError
        An address of a kind that is not known here, or one with a secret in it.
    """
    found = _ADDRESS.match(str(given))
    if found is None or len(found[1]) < 2:  # a drive of Windows
        return None
    protocol, rest = found[1].lower(), found[2]
    if protocol not in PROTOCOLS:
        raise RecipeError(f"{protocol}://…: addresses begin with {', '.join(PROTOCOLS)}; or name a folder")
    user = rest.partition("/")[0].rpartition("@")[0]
    if "::" in rest or (user and (protocol != "sftp" or ":" in user)) or re.search(r"[?#]", rest):
        raise RecipeError(
            f"{protocol}://…: write the plain address; keys belong into the environment (AWS_PROFILE, FSSPEC_S3_KEY …)"
        )
    return f"{protocol}://{'/' if protocol == 'file' else ''}{rest.rstrip('/')}"


def cache() -> Path:
    """Return the folder for local copies: ``$BIOSIG_CACHE``, or ``biosig-mtl`` in the user's cache folder."""
    if told := os.environ.get("BIOSIG_CACHE"):
        return Path(told)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "biosig-mtl"


@dataclass(frozen=True, slots=True)
class Place:
    """A folder at an address, see `url_of`. Names are relative to it, with ``/``."""

    url: str

    def below(self, name: str) -> Place:
        """Return a folder in this folder."""
        return Place(f"{self.url}/{name}")

    def files(self, below: str = "") -> dict[str, int]:
        """Return the sizes in bytes of all files, by name; of a folder that is not there, none.

        Raises
        ------
        DataError
            The place cannot be reached, or holds a name that no folder of this machine could take.
        """
        start = f"{self.url}/{below}".rstrip("/")
        found = self._tried("listed", lambda fs: fs.find(start, detail=True))
        root = str(self._system()._strip_protocol(self.url)).rstrip("/") + "/"  # noqa: SLF001 (fsspec's own word for it)
        names = {str(path).removeprefix(root): int(told["size"] or 0) for path, told in found.items()}
        for name in names:
            _check(name, self.url)
        return dict(sorted(names.items()))

    def fetch(self, name: str, path: Path) -> Path:
        """Copy a file to this machine, whole or not at all; return where it lies.

        Raises
        ------
        GoneError
            It is not there.
        DataError
            The place cannot be reached, or the copy cannot be written.
        """
        _check(name, self.url)
        _make(path.parent)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        try:
            self._tried(f"read ({name})", lambda fs: fs.get_file(f"{self.url}/{name}", str(temporary)))
            temporary.replace(path)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()
        return path

    def put(self, path: Path, name: str) -> None:
        """Copy a file of this machine to the place; it is there whole or not at all."""
        _check(name, self.url)
        system, target = self._system(), f"{self.url}/{name}"
        if not hasattr(system, "mv") or _protocol(self.url) not in {"file", "sftp"}:
            self._tried(f"written ({name})", lambda fs: fs.put_file(str(path), target))
            return
        # Where files grow as they are written, a name of its own comes first.
        parent, _, last = target.rpartition("/")
        temporary = f"{parent}/.{last}.{secrets.token_hex(4)}.tmp"
        self._tried(f"written ({name})", lambda fs: fs.makedirs(parent, exist_ok=True))
        self._tried(f"written ({name})", lambda fs: fs.put_file(str(path), temporary))
        self._tried(f"written ({name})", lambda fs: fs.mv(temporary, target))

    def _system(self) -> Any:
        return connect(_protocol(self.url))

    def _tried(self, what: str, act: Callable[[Any], T]) -> T:
        """Do something, again where the line broke; raise `DataError` in one line where it cannot be done."""
        for turn in range(TRIES):
            try:
                return act(self._system())
            except RecipeError:  # what is not installed will not come by waiting
                raise
            except FileNotFoundError as error:
                raise GoneError(f"{self.url}: cannot be {what}: {_kind(error)}") from error
            except (PermissionError, IsADirectoryError) as error:
                raise DataError(f"{self.url}: cannot be {what}: {_kind(error)}") from error
            except Exception as error:  # each library behind fsspec has errors of its own
                if turn + 1 == TRIES or not _passing(error):
                    raise DataError(f"{self.url}: cannot be {what}: {_kind(error)}; run the same command again") from error
                time.sleep(WAIT_S * 2**turn)
        raise AssertionError


@lru_cache(maxsize=8)
def connect(protocol: str) -> Any:
    """Return fsspec's file system of a protocol; it never remembers listings, which others change meanwhile.

    Raises
    ------
    RecipeError
        fsspec, or what it needs for this protocol, is not installed.
    """
    try:
        import fsspec

        return fsspec.filesystem(protocol, use_listings_cache=False)
    except ImportError as error:
        raise RecipeError(f"{protocol}://…: needs the extra: pip install 'biosig-mtl[remote]' ({error})") from error


def room_for(folder: Path, needed: int) -> None:
    """Refuse copies that the disk has no room for, before the first is made."""
    _make(folder)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(
            f"{folder}: needs {needed / 2**30:.1f} GiB for local copies and has {free / 2**30:.1f} GiB free; "
            "set BIOSIG_CACHE to a larger disk"
        )


def bring(place: Place, sizes: Mapping[str, int], folder: Path, *, anew: bool = False) -> list[str]:
    """Copy files to a folder, but those that lie there in their size; return the names that were copied.

    ``anew``: also those, since of equal size does not mean equal. Who reads one of them meanwhile reads it whole.

    Raises
    ------
    GoneError
        A file is no longer there.
    DataError
        The place cannot be reached, a file came short, or the disk has no room.
    """
    wanted = [name for name, size in sizes.items() if anew or not _lies(folder / name, size)]
    room_for(folder, sum(sizes[name] for name in wanted))
    for name in wanted:
        path = place.fetch(name, folder / name)
        if sizes[name] and not _lies(path, sizes[name]):  # some servers tell no size
            path.unlink(missing_ok=True)
            raise DataError(f"{place.url}: {name} came in another size than it was listed with; run the same command again")
    return wanted


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder}: cannot be made: {error.strerror}; set BIOSIG_CACHE to a folder for local copies") from error


def _lies(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _protocol(url: str) -> str:
    return url.partition("://")[0]


def _check(name: str, url: str) -> None:
    parts = PurePosixPath(name).parts
    odd = not parts or name.startswith("/") or ".." in parts or "\\" in name or not name.isprintable()
    if odd or any(len(part.encode()) > _LONGEST_NAME for part in parts):
        raise DataError(f"{url}: holds the name {name[:60]!r}, which leads out of the folder or fits no folder; rename it")


def _kind(error: BaseException) -> str:
    """Return what went wrong, in words that hold neither keys nor headers of a request."""
    if isinstance(error, FileNotFoundError):
        return "not there"
    if isinstance(error, PermissionError):
        return "access denied; see the credentials of this machine"
    if type(error).__name__ in {"NoCredentialsError", "PartialCredentialsError"}:
        return "no credentials; set AWS_PROFILE or the like"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__


def _passing(error: BaseException) -> bool:
    """Whether trying again may help: lines break, words do not change."""
    return isinstance(error, OSError | TimeoutError | EOFError) or any(
        word in type(error).__name__
        for word in ("Connection", "Timeout", "Payload", "Disconnected", "HttpError", "ClientError")
    )
