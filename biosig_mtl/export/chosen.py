"""Which networks of a run go into the file."""

from __future__ import annotations

import re
from collections.abc import Sequence

from biosig_mtl.training.checkpoint import Member
from biosig_mtl.types import RecipeError

_NAME = re.compile(r"(?P<variant>.+)-seed(?P<seed>\d+)-fold(?P<fold>\d+)-member(?P<number>\d+)")


def place_of(name: str) -> tuple[int, int, int]:
    """Return seed, fold and number of a network by its name; zeros for a name of another form.

    >>> place_of("model-seed1-fold4-member2")
    (1, 4, 2)
    """
    found = _NAME.fullmatch(name)
    return (0, 0, 0) if found is None else (int(found["seed"]), int(found["fold"]), int(found["number"]))


def choose_members(members: Sequence[Member], word: str) -> tuple[Member, ...]:
    """Return the networks that a word asks for.

    Parameters
    ----------
    members
        All of a run.
    word
        ``all``; ``fold`` or ``fold:K``: those of one fold of the first seed, which have all seen the same people; or a number
        N: the first N, one of each fold before the second of any, so that few networks still have seen most people.

    Raises
    ------
    RecipeError
        Another word, a fold or a number that the run does not have.
    """
    if word == "all":
        return tuple(members)
    if re.fullmatch(r"fold(:\d+)?", word):
        return _of_fold(members, int(word.partition(":")[2] or 0))
    if not word.isdecimal() or int(word) < 1:
        raise RecipeError(f"--members {word}: write all, fold, fold:K or a number of networks")
    if int(word) > len(members):
        raise RecipeError(f"--members {word}: the run has {len(members)} networks")
    return tuple(sorted(members, key=_one_of_each)[: int(word)])


def _one_of_each(member: Member) -> tuple[int, int, int]:
    seed, fold, number = place_of(member.name)
    return number, seed, fold


def _of_fold(members: Sequence[Member], fold: int) -> tuple[Member, ...]:
    places = [place_of(member.name) for member in members]
    first = min(seed for seed, _, _ in places)
    found = tuple(m for m, (seed, number, _) in zip(members, places, strict=True) if (seed, number) == (first, fold))
    if not found:
        known = sorted({number for seed, number, _ in places if seed == first})
        raise RecipeError(f"--members fold:{fold}: the run has the folds {known[0]} to {known[-1]}")
    return found
