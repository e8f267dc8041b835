"""Engines: where the lots of a preparation are worked. All of them are driven by the same code (`driving`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from biosig_mtl.pipeline.engines.crumbs import are_left as were_killed
from biosig_mtl.pipeline.engines.dask_crew import Dask
from biosig_mtl.pipeline.engines.driving import TRIES, Account, drive
from biosig_mtl.pipeline.engines.here import Here
from biosig_mtl.pipeline.engines.interface import Engine
from biosig_mtl.pipeline.engines.local import Local
from biosig_mtl.pipeline.engines.slurm import Cluster, read_cluster
from biosig_mtl.recipe import choose
from biosig_mtl.types import RecipeError

__all__ = [
    "ENGINES",
    "TRIES",
    "Account",
    "Cluster",
    "Dask",
    "Engine",
    "Here",
    "Local",
    "apart",
    "chosen_engine",
    "drive",
    "read_cluster",
    "were_killed",
]

ENGINES = ("local", "dask")


def chosen_engine(
    word: str,
    workers: int,
    scheduler: str | None = None,
    cluster: Mapping[str, Any] | None = None,
    tell: Callable[[str], None] | None = None,
) -> Engine:
    """Return the engine that the words of a command name.

    Parameters
    ----------
    word
        One of `ENGINES`.
    workers
        Processes on this machine; one of them is this very process.
    scheduler
        Address of a scheduler of Dask.
    cluster
        The recipe's block ``cluster``, which only Dask without a scheduler looks at.
    tell
        Called with a line where there is something to wait for.

    Raises
    ------
    RecipeError
        An unknown word, an address without Dask, nonsense in the block, or the extra is not installed.
    """
    choose(word, ENGINES, "engine (--engine)")
    if word == "dask":
        engine = Dask(scheduler, workers, None if scheduler else read_cluster(cluster or {}), tell=tell)
        engine.warm()
        return engine
    if scheduler is not None:
        raise RecipeError(f"--scheduler {scheduler}: only --engine dask has a scheduler")
    return Local(workers) if workers > 1 else Here()


def apart(engine: Engine, *, limited: bool) -> Engine:
    """Return an engine whose workers may die without the driver: in processes of their own.

    ``limited``: each works one record at a time, so that a time limit of a record can be kept.
    """
    if isinstance(engine, Here):
        return Local(1)
    return replace(engine, one_thread=True) if limited and isinstance(engine, Dask) else engine
