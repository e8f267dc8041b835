"""The lowest versions that `pyproject.toml` declares, as pins: what `make test-lowest` installs and tests with.

    python tests/lowest.py                 # pins of all dependencies and extras, one a line
    python tests/lowest.py --off           # what is installed here at another version than its lowest; nothing if all are

Only what has a lower bound is pinned: a bound that nobody tries is a guess. Tools that look at the code and run none of it
(ruff, mypy and the stubs) are left out.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
OWN = "biosig-mtl"
# What only `make bench` measures against.
PEERS = {"bench"}
# These read code; they do not run with it.
TOOLS = re.compile(r"^(ruff|mypy|.*-stubs|types-.*)$", re.IGNORECASE)
# What a lowest version needs to be older than, though it does not say so.
BESIDE = {"pyparsing": "<3.2"}  # matplotlib 3.8 calls names that later ones warn of
REQUIREMENT = re.compile(r"^\s*(?P<name>[A-Za-z0-9._-]+)\s*(?:\[(?P<extras>[^\]]*)\])?\s*(?P<bounds>[^;]*)")
LOWEST = re.compile(r">=\s*([0-9][0-9A-Za-z.]*)")


def requirements(project: Mapping[str, Any]) -> Iterator[str]:
    """Yield every requirement of a ``[project]`` table: those of the package, then those of its extras but `PEERS`."""
    yield from project.get("dependencies", ())
    for extra, listed in project.get("optional-dependencies", {}).items():
        if extra not in PEERS:
            yield from listed


def pins(listed: Iterable[str]) -> dict[str, str]:
    """Return the lowest version of every requirement by name.

    Raises
    ------
    ValueError
        Two requirements of one package have different lower bounds.
    """
    found: dict[str, str] = {}
    for requirement in listed:
        matched = REQUIREMENT.match(requirement)
        bound = LOWEST.search(matched["bounds"]) if matched else None
        if matched is None or bound is None or matched["name"] == OWN or TOOLS.match(matched["name"]):
            continue
        name = matched["name"].lower()
        if found.setdefault(name, bound[1]) != bound[1]:
            raise ValueError(f"need one lower bound of {name}, got {found[name]} and {bound[1]}")
    return found


def declared(path: Path = PYPROJECT) -> dict[str, str]:
    """Return the lowest versions that a ``pyproject.toml`` declares."""
    return pins(requirements(tomllib.loads(path.read_text(encoding="utf-8"))["project"]))


def numbers(text: str) -> tuple[int, ...]:
    """Return a version as numbers that compare: ``2.13.0+cpu`` is (2, 13)."""
    words = re.match(r"[0-9]+(\.[0-9]+)*", text)
    parts = [int(word) for word in words[0].split(".")] if words else []
    while parts and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


def off(lowest: Mapping[str, str]) -> list[str]:
    """Return a line for each package that is not installed here at its lowest version."""
    told = []
    for name, bound in lowest.items():
        try:
            here = version(name)
        except PackageNotFoundError:
            told.append(f"{name}: not installed, its lowest version is {bound}")
            continue
        if numbers(here) != numbers(bound):
            told.append(f"{name}: {here} is installed, its lowest version is {bound}")
    return told


def main(arguments: list[str]) -> int:
    """Print the pins; with ``--off`` what differs from them here."""
    lowest = declared()
    pinned = [*(f"{name}=={bound}" for name, bound in lowest.items()), *(f"{name}{bound}" for name, bound in BESIDE.items())]
    lines = off(lowest) if "--off" in arguments else pinned
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
