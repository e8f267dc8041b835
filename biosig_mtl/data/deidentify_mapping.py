"""The mapping file of a de-identification: a secret, and who became whom. It is the only way back, and lies apart.

Names are made from a random secret of 256 bits that only the mapping file holds (HMAC-SHA-256, RFC 2104). A hash without a
secret would be none: whoever knows a hospital number could hash it and look. The same file gives the same names again.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from biosig_mtl.data.fetching_lock import take
from biosig_mtl.types import DataError, Entry, RecipeError

FORMAT = 1
WHAT = "mapping of biosig-mtl deidentify: leads back to people; keep it apart from the clean copy"
# Days that the dates of a person are moved by, to earlier or later.
SHIFT_DAYS = (30, 3650)
_SAME_WEEKDAY = 7
_LETTERS = 8  # of base 32: 40 bits


@dataclass(slots=True)
class Names:
    """What the mapping keeps of one data set: original → new; ``sessions`` and ``records`` count within a person."""

    subjects: dict[str, str] = field(default_factory=dict)
    sessions: dict[str, dict[str, str]] = field(default_factory=dict)
    records: dict[str, str] = field(default_factory=dict)
    persons: dict[str, str] = field(default_factory=dict)
    stimuli: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Key:
    """An opened mapping file. New names are held in memory until `save`."""

    path: Path
    secret: bytes
    keep_weekday: bool
    sets: dict[str, Names] = field(default_factory=dict)

    def of(self, dataset: str) -> Names:
        """Return the names of a data set: subject 7 of one set is not subject 7 of another."""
        return self.sets.setdefault(dataset, Names())

    def token(self, *words: str) -> str:
        """Return letters and digits that only the secret and these words give."""
        return base64.b32encode(self._hash(*words)).decode().lower()[:_LETTERS]

    def days(self, dataset: str, subject: str) -> int:
        """Return by how many days the dates of a person move: 30 to 3650, earlier or later, whole weeks where asked for.

        One number a person, so that the time between two of their sessions stays what it was.
        """
        low, high = SHIFT_DAYS
        step = _SAME_WEEKDAY if self.keep_weekday else 1
        first, last = -(-low // step), high // step
        drawn = int.from_bytes(self._hash("days", dataset, subject), "big") % (2 * (last - first + 1))
        size, later = divmod(drawn, 2)
        return (first + size) * step * (1 if later else -1)

    def _hash(self, *words: str) -> bytes:
        # As JSON: no two lists of words make the same text.
        return hmac.new(self.secret, json.dumps(words).encode(), hashlib.sha256).digest()

    def learn(self, dataset: str, entry: Entry) -> None:
        """Give a record, and its subject, session and person, their new names; known ones keep theirs.

        Subjects are named at random. Sessions of a subject and records of a session are counted in the order in which they
        are met, and keep their number when others come later.
        """
        names = self.of(dataset)
        subject = names.subjects.setdefault(entry.subject, f"p{self.token('subject', dataset, entry.subject)}")
        sessions = names.sessions.setdefault(entry.subject, {})
        session = sessions.setdefault(entry.session, str(len(sessions) + 1))
        if entry.record not in names.records:
            start = f"{subject}_{session}_"
            taken = sum(name.startswith(start) for name in names.records.values())
            names.records[entry.record] = f"{start}{taken + 1:04d}"
        if person := str(entry.options.get("person", "")):
            names.persons.setdefault(person, f"q{self.token('person', dataset, person)}")
        if len(set(names.subjects.values())) < len(names.subjects):  # pragma: no cover (once in 2**40 / n**2)
            raise DataError(f"{self.path}: two subjects drew the same name; use a new mapping file")

    def stimulus(self, dataset: str, stimulus: str) -> str:
        """Return the new name of what was shown, the same for everybody; nothing stays nothing."""
        names = self.of(dataset)
        return names.stimuli.setdefault(stimulus, f"c{self.token('stimulus', dataset, stimulus)}") if stimulus else ""

    def save(self) -> None:
        """Write the file whole, readable by its owner alone."""
        content = {
            "what": WHAT,
            "format": FORMAT,
            "secret": self.secret.hex(),
            "keep_weekday": self.keep_weekday,
            "datasets": {name: _shown(self, name) for name in sorted(self.sets)},
        }
        write_private(self.path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _shown(mapping: Key, dataset: str) -> dict[str, Any]:
    names = mapping.sets[dataset]
    people = {
        subject: {"id": new, "days": mapping.days(dataset, subject), "sessions": names.sessions.get(subject, {})}
        for subject, new in names.subjects.items()
    }
    return {"subjects": people, "records": names.records, "persons": names.persons, "stimuli": names.stimuli}


def keep_apart(path: Path, out: Path) -> None:
    """Refuse a mapping file inside the clean copy, whatever links lead there.

    Raises
    ------
    RecipeError
        It would lie there.
    """
    if path.resolve().is_relative_to(out.resolve()):
        raise RecipeError(f"--mapping {path}: lies inside --out {out}; it leads back to people: keep it apart")


def open_mapping(path: Path, *, keep_weekday: bool) -> Key:
    """Return the mapping in a file, or begin one where there is no file.

    Raises
    ------
    RecipeError
        It was begun with another answer to whether weekdays stay.
    DataError
        The file holds something else (it is never overwritten), is damaged, or others than its owner may read it.
    """
    if path.is_dir():
        raise DataError(f"{path}: is a folder; --mapping names a file")
    if not path.exists() or path.stat().st_size == 0:
        made = Key(path, secrets.token_bytes(32), keep_weekday)
        made.save()
        return made
    if os.name == "posix" and path.stat().st_mode & 0o077:
        raise DataError(f"{path}: others than its owner may read it, and it leads back to people; `chmod 600` it")
    made = _read(path)
    if made.keep_weekday != keep_weekday:
        raise RecipeError(f"{path}: was begun with{'' if made.keep_weekday else 'out'} --keep-weekday; give the same again")
    return made


def _read(path: Path) -> Key:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        known = isinstance(content, dict) and content.get("what") == WHAT
    except OSError as error:
        raise DataError(f"{path}: not readable: {error.strerror}") from error
    except (ValueError, RecursionError):
        known = False
    if not known:
        raise DataError(f"{path}: is no mapping file of ours, and is not overwritten; name another --mapping")
    try:
        made = Key(path, bytes.fromhex(content["secret"]), bool(content["keep_weekday"]))
        made.sets = {str(name): _names(one) for name, one in content["datasets"].items()}
        if content["format"] != FORMAT or len(made.secret) != 32:
            raise ValueError
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: a damaged mapping file; without it the same names cannot be given again") from error
    return made


def _names(content: Mapping[str, Any]) -> Names:
    people = content["subjects"]
    return Names(
        subjects={subject: str(one["id"]) for subject, one in people.items()},
        sessions={subject: dict(one["sessions"]) for subject, one in people.items()},
        records=dict(content["records"]),
        persons=dict(content["persons"]),
        stimuli=dict(content["stimuli"]),
    )


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Hold a mapping file for one run: two would each forget what the other learnt.

    Raises
    ------
    DataError
        Another process works with it, or its folder cannot be written to.
    """
    lock = path.with_name(f".{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise DataError(f"{path}: its folder cannot be written to: {error.strerror}") from error
    try:
        take(handle)
    except OSError as error:
        os.close(handle)
        raise DataError(f"{path}: another process works with this mapping now; wait for it to end") from error
    try:
        yield
    finally:
        # The name stays: removing it would let a third process lock a file that a second one no longer sees.
        os.close(handle)


def write_private(path: Path, text: str) -> None:
    """Write a file whole or not at all, with mode 0600 from its first byte on.

    Raises
    ------
    DataError
        The place cannot be written to.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise DataError(f"{path}: cannot be written: {error.strerror}") from error
