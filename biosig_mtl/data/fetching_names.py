"""Names that come from elsewhere: which may become a file below a folder, on any machine."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

FETCHED = "fetched.json"
"""What was fetched into a folder and what was unpacked there: name, size, sha256, where from."""

LOCK = ".fetch.lock"
_LONGEST = 1000
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def below(name: str) -> PurePosixPath:
    r"""Return a name as a relative path that stays below its folder.

    A backslash separates, as it does where some archives are made.

    Raises
    ------
    ValueError
        The name is empty, absolute, begins with a drive, has ``..`` in it, cannot be written on every machine, or is one that
        the fetching keeps for itself.

    Examples
    --------
    >>> below("a\\b/./c.txt").as_posix()
    'a/b/c.txt'
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", name):
        raise ValueError(f"{_told(name)} would write outside of the folder")
    odd = not path.parts or len(name) > _LONGEST or any(unicodedata.category(c) in {"Cc", "Cs"} for c in name)
    if odd or any(_RESERVED.fullmatch(part) for part in path.parts):
        raise ValueError(f"{_told(name)} is no name that every machine can write")
    if path.parts[0] in {FETCHED, LOCK} or path.name.endswith((".part", ".part.json")):
        raise ValueError(f"{_told(name)} is a name that the fetching itself uses")
    return path


def _told(name: str) -> str:
    """Return a foreign name fit for one line."""
    return repr(name if len(name) <= 80 else f"{name[:77]}...")


def clash(names: Iterable[PurePosixPath]) -> str:
    """Return which two names fall together where case does not count, or are file and folder at once; '' if none do."""
    seen: dict[str, tuple[PurePosixPath, bool]] = {}
    for name in names:
        for path, is_file in ((name, True), *((parent, False) for parent in name.parents if parent.parts)):
            other, was_file = seen.setdefault(unicodedata.normalize("NFC", str(path)).casefold(), (path, is_file))
            first_seen = other is path
            if not first_seen and (is_file or was_file or other != path):
                return f"'{name}' and '{other}' would be one"
    return ""


def stays(folder: Path, name: PurePosixPath) -> bool:
    """Tell whether a name below a folder really lies there: no part of the way is a link that leads out."""
    return (folder / name).parent.resolve().is_relative_to(folder.resolve()) and not (folder / name).is_symlink()
