"""Verbs under ``torchrun``: which of them several processes can do together, and which process speaks."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from biosig_mtl.types import RecipeError

VERBS = ("train", "run")


def refuse(given: Sequence[str]) -> None:
    """Raise `RecipeError` where several processes were started for a verb that one does alone.

    Each of them would do the whole work and write the same files.
    """
    verb = next((word for word in given if not word.startswith("-")), "")
    if _several() and verb and verb not in VERBS:
        raise RecipeError(f"{verb}: one process does this; start it without torchrun, which is for {' and '.join(VERBS)}")


def led(conduct: Callable[[], object]) -> None:
    """Do what one process does by itself; of several the first does it, and the others train with it."""
    if not _several():
        conduct()
        return
    from biosig_mtl.experiment import following

    with following.together() as world:
        if world.leads:
            conduct()
        else:
            following.follow(world)


def speaks(error: BaseException) -> bool:
    """Whether this process is to tell of an error: one line, not one from each process."""
    if not _several():
        return True
    from biosig_mtl.training import distributed

    return distributed.speaks(error)


def _several() -> bool:
    # Asked for in every call of the command line, so without torch.
    return os.environ.get("WORLD_SIZE", "1") != "1" and "RANK" in os.environ
