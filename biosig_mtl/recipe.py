"""Recipes: one YAML, one answer. Strict reading, overrides, and the digest that names everything upstream."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import yaml

from biosig_mtl.recipe_text import plain_yaml, read_yaml
from biosig_mtl.types import RecipeError

T = TypeVar("T")

BLOCKS = ("task", "data", "signal", "windows", "features", "split", "model", "training")
UPSTREAM = ("task", "data", "signal", "windows", "features")


def choose(word: str, words: Collection[str], what: str) -> str:
    """Return ``word`` if it is one of ``words``; raise `RecipeError` with the nearest word otherwise.

    >>> choose("bandpas", ["bandpass", "resample"], "signal step")
    Traceback (most recent call last):
    biosig_mtl.errors.RecipeError: unknown signal step 'bandpas'; did you mean 'bandpass'?
    """
    if word in words:
        return word
    near = difflib.get_close_matches(str(word), sorted(words), n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"choose from {', '.join(sorted(words))}"
    raise RecipeError(f"unknown {what} '{word}'; {hint}")


def build(settings: type[T], content: Mapping[str, Any], where: str) -> T:
    """Make a settings dataclass from a mapping, refusing unknown words, wrong types and nonsense in one line.

    Parameters
    ----------
    settings
        A frozen dataclass whose ``__post_init__`` raises ``ValueError`` on nonsense.
    content
        What the recipe says.
    where
        The block, for the message.
    """
    # Heavier than the rest of this module, and needed only once a recipe is really read.
    from pydantic import ValidationError

    if not isinstance(content, Mapping):
        raise RecipeError(f"{where}: need a mapping of settings, got {type(content).__name__}")
    _check_words(settings, content, where)
    try:
        made: T = _adapter(settings).validate_python(dict(content))  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        spot = ".".join([where, *map(str, first["loc"])])
        got = repr(first["input"])
        got = got if len(got) <= 80 else f"{got[:77]}..."
        raise RecipeError(f"{spot}: {first['msg'].removeprefix('Value error, ')} (got {got})") from error
    return made


@lru_cache(maxsize=128)
def _adapter(settings: Any) -> Any:
    """Return what checks a kind of settings; making one costs more than using it."""
    from pydantic import TypeAdapter

    return TypeAdapter(settings)


def _check_words(settings: Any, content: Mapping[str, Any], where: str) -> None:
    """Refuse unknown words, also those of settings inside settings (pydantic passes over them)."""
    hints = get_type_hints(settings)
    for word, value in content.items():
        choose(word, hints, f"setting of '{where}'")
        _check_inside(hints[word], value, f"{where}.{word}")


def _check_inside(kind: Any, value: Any, where: str) -> None:
    if is_dataclass(kind) and isinstance(value, Mapping):
        _check_words(kind, value, where)
    elif get_origin(kind) in {dict, Mapping} and isinstance(value, Mapping):
        for key, item in value.items():
            _check_inside(get_args(kind)[1], item, f"{where}.{key}")
    elif isinstance(value, list | tuple) and get_origin(kind) in {list, tuple}:
        for item in value:
            _check_inside(get_args(kind)[0], item, where)
    elif isinstance(value, Mapping):
        for option in get_args(kind):
            _check_inside(option, value, where)


@dataclass(frozen=True)
class DataBlock:
    """Which data. ``test_dataset`` makes a transfer run: train on one set, test on the other.

    ``allow_record_level`` accepts ids that are only records; the report is stamped with it. ``channels`` overrides the
    manifest's channel names; ``limit`` keeps the first records only, for a quick look; ``exclude`` maps records that are left
    out to the reason why.
    """

    dataset: str
    test_dataset: str | None = None
    allow_record_level: bool = False
    channels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    limit: int | None = None
    exclude: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"need limit >= 1, got {self.limit}")


@dataclass(frozen=True)
class Recipe:
    """The eight blocks in flow order. Settings of other rooms stay plain mappings until a conductor builds them.

    ``cluster`` says where a preparation runs (`biosig_mtl.pipeline.engines.slurm`); recipes that differ in it are equal.
    """

    name: str
    task: str
    data: DataBlock
    signal: tuple[Mapping[str, Any], ...]
    windows: Mapping[str, Any]
    features: Mapping[str, Any]
    split: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    title: str = ""
    cluster: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return plain YAML-able content, without ``cluster``: where a recipe is worked is no part of what comes of it."""
        content: dict[str, Any] = _plain({f.name: getattr(self, f.name) for f in fields(self) if f.name != "cluster"})
        return content


def load(path: str | Path, overrides: Collection[str] = ()) -> Recipe:
    """Read a recipe; ``overrides`` are ``block.word=value`` with the value in YAML.

    A bare name is looked for among the recipes that come with the package.
    """
    content = _read_yaml(find(path))
    for override in overrides:
        _override(content, override)
    return from_dict(content, str(path))


def from_dict(content: Mapping[str, Any], where: str = "recipe") -> Recipe:
    """Make a recipe from plain content (the inverse of `Recipe.to_dict`)."""
    return build(Recipe, content, Path(where).name)


def find(path: str | Path) -> Path:
    """Return the file of a recipe given by path or by the name of one that comes with the package."""
    return find_shipped(path, "pipelines", "recipe")


def find_shipped(path: str | Path, folder: str, what: str) -> Path:
    """Return ``path`` if it is a file, else the YAML of that name in a folder that comes with the package."""
    given = Path(path)
    if given.is_file():
        return given
    package = Path(__file__).parent
    folders = [f for f in (package.parent / folder, package / f"_{folder}") if f.is_dir()]
    shipped = {p.stem: p for f in folders for p in sorted(f.glob("*.yaml"))}
    if given.parent.as_posix() in {".", folder} and given.suffix in {"", ".yaml"} and given.stem in shipped:
        return shipped[given.stem]
    if given.suffix or len(given.parts) > 1:
        raise RecipeError(f"{path}: no such {what}; shipped ones are {', '.join(shipped)}")
    return shipped[choose(given.name, shipped, what)]


def digest(content: object) -> str:
    """Return the 12-hex name of plain content: equal content, equal name, whatever the order of keys."""
    try:
        text = json.dumps(_plain(content), sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"a setting can be no date, infinity or not-a-number: {error}") from error
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def dump(content: Mapping[str, Any]) -> str:
    """Return plain content as YAML, in the order given."""
    return str(yaml.safe_dump(_plain(content), sort_keys=False, allow_unicode=True, width=120))


def _read_yaml(path: Path) -> dict[str, Any]:
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise RecipeError(f"{path}: a recipe is a mapping with the blocks {', '.join(BLOCKS)}")
    return content


def _override(content: dict[str, Any], override: str) -> None:
    key, found, value = override.partition("=")
    words = key.strip().split(".")
    if not found or not all(words):
        raise RecipeError(f"--set {override}: write it as block.word=value")
    choose(words[0], [*BLOCKS, "name", "title", "cluster"], "block")
    parsed = plain_yaml(value, f"--set {override[:200]}")
    spot: Any = content
    for word in words[:-1]:
        spot = _descend(spot, word, override)
    if isinstance(spot, list):
        spot[_position(spot, words[-1], override)] = parsed
    elif isinstance(spot, dict):
        spot[words[-1]] = parsed
    else:
        raise RecipeError(f"--set {override}: '{words[-2]}' has no words inside")


def _descend(spot: Any, word: str, override: str) -> Any:
    if isinstance(spot, list):
        return spot[_position(spot, word, override)]
    if isinstance(spot, dict):
        if spot.get(word) is None:
            spot[word] = {}
        return spot[word]
    raise RecipeError(f"--set {override}: '{word}' is not inside a block")


def _position(spot: list[Any], word: str, override: str) -> int:
    if not word.isdecimal() or int(word) >= len(spot):
        raise RecipeError(f"--set {override}: '{word}' is not a position in a list of {len(spot)}")
    return int(word)


def _plain(value: Any) -> Any:
    """Turn settings into what YAML and JSON can hold."""
    if hasattr(value, "__dataclass_fields__"):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(v) for v in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if isinstance(value, Path):
        return str(value)
    return value
