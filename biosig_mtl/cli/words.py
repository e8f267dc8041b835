"""What a user writes on the command line, read: pairs, channels, facts about a person, a stretch of time."""

from __future__ import annotations

from collections.abc import Sequence

from biosig_mtl.types import RecipeError


def pair(word: str, option: str) -> tuple[str, str]:
    """Return both sides of ``NAME=VALUE``; raise `RecipeError` that names the option."""
    key, found, value = word.partition("=")
    if not found or not key or not value:
        raise RecipeError(f"{option} {word}: write it as NAME=VALUE")
    return key, value


def channels(words: Sequence[str] | None) -> dict[str, tuple[str, ...]]:
    """Return our channel names with that of the recording, from ``--channel OURS=THEIRS``."""
    return {ours: (theirs,) for ours, theirs in (pair(word, "--channel") for word in words or ())}


def facts(words: Sequence[str] | None) -> dict[str, float]:
    """Return what is known of a person, from ``--person NAME=NUMBER``."""
    return {key: _number(value, key) for key, value in (pair(word, "--person") for word in words or ())}


def _number(value: str, key: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise RecipeError(f"--person {key}={value}: not a number") from None


def span(word: str | None) -> tuple[float, float] | None:
    """Return both ends of ``START:STOP`` in seconds, from ``--rest``."""
    if word is None:
        return None
    start, _, stop = word.partition(":")
    try:
        return float(start), float(stop)
    except ValueError:
        raise RecipeError(f"--rest {word}: write it as START:STOP in seconds") from None
