"""Patterns that a manifest brings along: they may come from a stranger, and a pattern can leave a folder or take for ever."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

LONGEST_PATTERN = 200
LONGEST_SOUGHT = 200
"""Letters of a name in which a pattern is looked for: the last ones."""
MOST_REPEATS = 3
_MOST_DEEP = 2
# Escaped letters and classes stand for one letter each.
_ONE = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
_REPEAT = re.compile(r"[*+]|\{\d*,\d*\}|\{\d{2,}\}")


def subject_pattern(text: str) -> re.Pattern[str]:
    """Return a regular expression with a group ``subject``; only such as end soon on any name.

    A search tries every way to share a name out among the repeats of an expression, so repeats of repeats (``(a+)+``) and many
    of them one after the other would not end within a lifetime. Allowed are three repeats, none of a group.

    Raises
    ------
    ValueError
        It is none, has no such group, or could take for ever.
    """
    try:
        made = re.compile(text) if len(text) <= LONGEST_PATTERN else None
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"need a subject_pattern that is a regular expression, got '{text}': {error}") from error
    if made is None:
        raise ValueError(f"need a subject_pattern of {LONGEST_PATTERN} letters or fewer, got {len(text)}")
    if "subject" not in made.groupindex:
        raise ValueError("need a group (?P<subject>...) in subject_pattern")
    bare = _ONE.sub("x", text)
    slow = re.search(r"\)(?:[*+]|\{)", bare) or re.search(r"\(\?P=|\(\?\(", bare) or re.search(r"\\[1-9]", text)
    if slow or len(_REPEAT.findall(bare)) > MOST_REPEATS:
        raise ValueError(f"need a subject_pattern with at most {MOST_REPEATS} repeats (* +), none of a group, got '{text}'")
    return made


def subject_in(pattern: re.Pattern[str], name: str) -> str:
    """Return the subject that a name tells; "" where it tells none."""
    found = pattern.search(name[-LONGEST_SOUGHT:])
    return (found["subject"] or "") if found else ""


def inside(name: str, what: str) -> str:
    """Return the name or pattern of a file below a folder; raise ``ValueError`` where it would lead out of it.

    >>> inside("**/*.hea", "pattern")
    '**/*.hea'
    """
    path = PurePosixPath(name)
    drive = re.match(r"[A-Za-z]:", name)
    odd = not name.isprintable() or len(name) > LONGEST_PATTERN or "\\" in name
    if path.is_absolute() or ".." in path.parts or drive or odd:
        raise ValueError(f"need a {what} that stays below the folder of the set, got {name[:80]!r}")
    if path.parts.count("**") > _MOST_DEEP:
        raise ValueError(f"need a {what} with at most {_MOST_DEEP} '**', got '{name[:80]}'")
    return name
