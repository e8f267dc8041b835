"""Settings from plain content without pydantic and YAML: stands in for `biosig_mtl.recipe` in a folder that runs alone.

What comes here was checked when the recipe was read; it is only put into its form: lists become tuples, mappings settings.
"""

from __future__ import annotations

import types
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, is_dataclass
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from biosig_mtl.types import RecipeError

T = TypeVar("T")


@dataclass(frozen=True)
class Recipe:
    """The blocks of a recipe that prepare a recording, with every default filled in."""

    task: str
    signal: tuple[Mapping[str, Any], ...]
    windows: Mapping[str, Any]
    features: Mapping[str, Any]
    model: Mapping[str, Any] = field(default_factory=dict)


def choose(word: str, words: Collection[str], what: str) -> str:
    """Return ``word`` if it is one of ``words``; raise `RecipeError` otherwise."""
    if word in words:
        return word
    raise RecipeError(f"unknown {what} '{word}'; choose from {', '.join(sorted(words))}")


def build(settings: type[T], content: Mapping[str, Any], where: str) -> T:
    """Make a settings dataclass from plain content; raise `RecipeError` where it is nonsense."""
    try:
        made: T = _formed(settings, content)
    except (TypeError, ValueError, KeyError) as error:
        raise RecipeError(f"{where}: {error}") from error
    return made


def _formed(kind: Any, value: Any) -> Any:
    """Return a value in the form that a type hint asks for."""
    origin, parts = get_origin(kind), get_args(kind)
    if is_dataclass(kind) and isinstance(value, Mapping):
        hints = get_type_hints(kind)
        return kind(**{word: _formed(hints[word], item) for word, item in value.items()})  # type: ignore[operator]
    if origin in {Union, types.UnionType}:
        return None if value is None else _formed(next(part for part in parts if part is not type(None)), value)
    if origin is tuple:
        each = [parts[0]] * len(value) if len(parts) == 2 and parts[1] is Ellipsis else list(parts)
        return tuple(_formed(part, item) for part, item in zip(each, value, strict=True))
    if origin is not None and isinstance(value, Mapping):
        return {key: _formed(parts[1], item) for key, item in value.items()}
    return float(value) if kind is float and not isinstance(value, bool) else value
