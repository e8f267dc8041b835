"""YAML that may come from a stranger: read within bounds, and only into plain content.

A short text can make a YAML reader work for ever: words that refer to words (a "billion laughs"), brackets in brackets in
brackets (the C reader ends the process at some 10,000), numbers to the base of 60 with thousands of digits. So the text is
first walked over event by event, which needs no stack; then the tree is measured as if every reference were written out; only
then is it built, by the safe constructor, which makes plain values and calls nothing.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from biosig_mtl.types import RecipeError

MOST_BYTES = 1 << 20
"""No recipe or manifest is that long: the longest that comes with the package has 8 kB."""
MOST_VALUES = 50_000
"""Values of a text with every reference written out."""
MOST_DEPTH = 40
"""Blocks inside blocks."""
LONGEST_NUMBER = 64
"""Letters of a number."""

# What PyYAML lets through beside its own errors when a value does not fit its tag (a month 13, `0x_`, a bottomless nesting).
NOT_YAML = (
    yaml.YAMLError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    RecursionError,
)
# The safe loader on top of libyaml, where there is one, is ten times as fast.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float", "tag:yaml.org,2002:timestamp")
# Half a letter cannot be written again; the others would steer a terminal.
_STRANGE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def read_yaml(path: Path) -> Any:
    """Return the plain content of a YAML file; None where it is empty.

    Raises
    ------
    RecipeError
        It cannot be read, is no YAML, has a tag beyond plain values, names a word twice in one block, or is larger than
        `MOST_BYTES`, `MOST_VALUES` or `MOST_DEPTH` allow: one line with file and line.
    """
    try:
        with path.open("rb") as stream:
            raw = stream.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise RecipeError(f"{path}: not readable as YAML: {error}") from error
    if len(raw) > MOST_BYTES:
        raise RecipeError(f"{path}: has more than {MOST_BYTES >> 20} MB: is it a recipe or a manifest?")
    try:
        return plain_yaml(raw.decode("utf-8-sig"), str(path))
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: not readable as YAML: {error}") from error


def plain_yaml(text: str, where: str) -> Any:
    """Return the plain content of a YAML text; ``where`` is for the message.

    Raises
    ------
    RecipeError
        See `read_yaml`.
    """
    if len(text) > MOST_BYTES:
        raise RecipeError(f"{where}: has more than {MOST_BYTES >> 20} MB: is it a recipe or a manifest?")
    try:
        _walk(text, where)
        loader = _LOADER(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _measure(node, where, {})
        return loader.construct_document(node)
    except NOT_YAML as error:
        spot = getattr(error, "problem_mark", None)
        line = f", line {spot.line + 1}" if spot is not None else ""
        why = next(iter(str(error).splitlines()), type(error).__name__)
        raise RecipeError(f"{where}{line}: not readable as YAML: {why[:200]}") from error


def _walk(text: str, where: str) -> None:
    """Refuse a text that is nested too deep or has too many values, before anything recurses into it."""
    depth = 0
    for values, event in enumerate(yaml.parse(text, Loader=_LOADER), 1):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        line = 0 if event.start_mark is None else event.start_mark.line + 1
        if depth > MOST_DEPTH:
            raise RecipeError(f"{where}, line {line}: blocks inside blocks, more than {MOST_DEPTH} deep: refused")
        if values > 2 * MOST_VALUES:
            raise RecipeError(f"{where}, line {line}: more than {MOST_VALUES} values: refused")


def _measure(node: Any, where: str, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Return how many values a part has and how deep it is, with every reference written out."""
    line = f"{where}, line {node.start_mark.line + 1}"
    if id(node) in known:
        size, height = known[id(node)]
        if not size:
            raise RecipeError(f"{line}: a block refers to itself: refused")
        return size, height
    known[id(node)] = 0, 0
    size, height = 1, 1
    for part in _parts(node, line):
        inner, below = _measure(part, where, known)
        size, height = size + inner, max(height, below + 1)
    if size > MOST_VALUES or height > MOST_DEPTH:
        raise RecipeError(f"{line}: references that unfold to more than {MOST_VALUES} values, or {MOST_DEPTH} deep: refused")
    known[id(node)] = size, height
    return size, height


def _parts(node: Any, line: str) -> list[Any]:
    if isinstance(node, yaml.MappingNode):
        _refuse_twice(node, line.rpartition(", line ")[0])
        return [part for pair in node.value for part in pair]
    if isinstance(node, yaml.SequenceNode):
        return list(node.value)
    if node.tag in _NUMBERS and len(node.value) > LONGEST_NUMBER:
        raise RecipeError(f"{line}: a number of {len(node.value)} letters: refused")
    if _STRANGE.search(node.value):
        raise RecipeError(f"{line}: a word with letters that cannot be shown: refused")
    return []


def _refuse_twice(node: Any, where: str) -> None:
    """Refuse a word that stands twice in one block: YAML would silently take the last."""
    seen: set[str] = set()
    for key, _ in node.value:
        word = str(getattr(key, "value", ""))
        if word in seen:
            raise RecipeError(f"{where}, line {key.start_mark.line + 1}: '{word[:80]}' stands twice in one block")
        seen.add(word)
