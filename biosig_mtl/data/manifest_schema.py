"""The words of a manifest: facts about a data set that is not shipped."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

from biosig_mtl.data.patterns import inside, subject_pattern
from biosig_mtl.data.readers import LISTERS, READERS
from biosig_mtl.data.readers.channels import kind_of
from biosig_mtl.recipe import choose
from biosig_mtl.types import EMPTY, ChannelInfo

# Words that are not known are refused, also in settings inside settings.
_STRICT = {"extra": "forbid"}

SubjectLevel = Literal["person", "group", "record", "unknown"]


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    ours = parts.scheme == "http" and parts.hostname == "127.0.0.1"
    if not ((parts.scheme == "https" or ours) and parts.hostname):
        raise ValueError(f"need a url that begins with https://, got {url}")
    if parts.username is not None or parts.password is not None:
        raise ValueError(f"need a url without name and password, got one for {parts.hostname}: put them into ~/.netrc")


@dataclass(frozen=True)
class RemoteFile:
    """A file to fetch. ``sha256`` and ``bytes`` are empty where the source publishes none; ``unpack`` opens an archive."""

    __pydantic_config__: ClassVar[dict[str, str]] = _STRICT

    url: str
    name: str
    sha256: str = ""
    bytes: int = 0
    unpack: bool = False

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        _check_url(self.url)
        if not re.fullmatch(r"[\w][\w. \-]*", self.name) or self.name.endswith(".part"):
            raise ValueError(f"need a plain file name, got '{self.name}'")
        if self.sha256 and not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise ValueError(f"need a sha256 of 64 hexadecimal digits, got '{self.sha256}'")
        if self.bytes < 0:
            raise ValueError(f"need bytes >= 0, got {self.bytes}")


@dataclass(frozen=True)
class Access:
    """How to obtain the set.

    ``open`` sets are fetched from ``files``, or from the place of ``sums``: a list of checksums as PhysioNet publishes it
    (``SHA256SUMS.txt``), whose paths are relative to its own address; ``only`` are patterns of the paths that are of use.
    ``credentialed`` sets are fetched alike, with name and password from the environment or netrc, once an agreement was signed
    at ``url``. ``registration`` means that a person has to do it, by ``command`` or at ``url``.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = _STRICT

    kind: Literal["open", "credentialed", "registration", "simulated"]
    url: str = ""
    files: tuple[RemoteFile, ...] = ()
    sums: str = ""
    only: tuple[str, ...] = ()
    command: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if self.sums:
            _check_url(self.sums)
        names = [f.name.casefold() for f in self.files]
        if len(set(names)) < len(names):
            raise ValueError("need files of different names")


@dataclass(frozen=True)
class SourceChannel:
    """A channel of ours: the names it has in the files, in order of preference, its unit and usual rate there.

    What a file's own header says about unit and rate goes before what is said here.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = _STRICT

    name: str
    names: tuple[str, ...]
    unit: str
    fs_hz: float = 125.0

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if not self.names:
            raise ValueError("need at least one name of the channel in the files")
        if not self.fs_hz > 0:
            raise ValueError(f"need fs_hz > 0, got {self.fs_hz}")


@dataclass(frozen=True)
class Index:
    """A CSV that lists the records: the columns of record, subject and session, and where a record's file lies.

    ``path`` may use any column: ``{record}.hea``. ``demographics`` maps our names to columns. ``labels`` maps the name of a
    target to a column with one value a record; ``scales`` tells the unit of a label, or its scale as ``low..high``, where it is
    not mmHg. ``stimulus`` is the column of what was shown, ``begins`` that of the seconds at which a record begins in its
    session. ``person`` is the column of a tighter id, for personal calibration, of a set whose subjects may merge people: it
    may split a person, and is never what a split is made by.
    """

    file: str = "records.csv"
    record: str = "record"
    subject: str = "subject"
    session: str = ""
    path: str = "{record}.hea"
    demographics: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    scales: Mapping[str, str] = field(default_factory=dict)
    stimulus: str = ""
    begins: str = ""
    person: str = ""

    def __post_init__(self) -> None:
        """Refuse nonsense, and names that lead out of the folder of the set."""
        inside(self.file, "file of the index")
        inside(self.path, "path")


@dataclass(frozen=True)
class Manifest:
    """Facts about one data set.

    ``subject_level`` says what a subject id of this set is: a ``person``; a ``group`` (may merge people, never splits one on
    purpose: safe for splits); only a ``record``; or ``unknown``. ``timing_reliable`` says whether times between channels
    may be trusted, with ``timing_reason``. ``folders`` are names under which the set is looked for. Records are found by
    ``index``, or else by ``pattern`` (a glob; ``subject_pattern`` then takes the subject from the path).
    """

    name: str
    title: str
    version: str
    licence: str
    citation: str
    access: Access
    format: str
    channels: tuple[SourceChannel, ...]
    subject_level: SubjectLevel
    timing_reliable: bool
    timing_reason: str
    labels: Mapping[str, str] = field(default_factory=dict)
    doi: str = ""
    folders: tuple[str, ...] = ()
    index: Index | None = None
    pattern: str = ""
    subject_pattern: str = ""
    options: Mapping[str, Any] = field(default_factory=lambda: dict(EMPTY))
    defects: tuple[str, ...] = ()
    simulated: bool = False

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            raise ValueError(f"need a name of small letters, digits and _, got '{self.name}'")
        choose(self.format, READERS, "format")
        if not (self.index or self.pattern or self.format == "ppg_bp" or self.format in LISTERS):
            raise ValueError("need an index or a pattern, by which records are found")
        if self.subject_pattern:
            subject_pattern(self.subject_pattern)
        if self.pattern:
            inside(self.pattern, "pattern")
        for folder in self.folders:
            inside(folder, "name in folders")

    def channel_infos(self) -> dict[str, ChannelInfo]:
        """Return what is known of the channels without a file: what a recipe is checked against."""
        return {c.name: ChannelInfo(c.name, kind_of(c.name), c.unit, c.fs_hz) for c in self.channels}

    def facts(self) -> dict[str, Any]:
        """Return what a report says about a set, as plain content."""
        words = ("name", "title", "version", "licence", "citation", "doi", "subject_level", "timing_reliable", "timing_reason")
        return {word: getattr(self, word) for word in words} | {
            "url": self.access.url,
            "labels": dict(self.labels),
            "defects": list(self.defects),
            "simulated": self.simulated,
        }
