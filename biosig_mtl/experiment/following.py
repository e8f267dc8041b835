"""Networks that several processes train: process 0 conducts, the others follow.

Two ways (``training.parallel``):

- ``batch``: all processes train one network after the other, each on its rows of every batch; the result is that of one process
  but for rounding.
- ``networks``: each process takes the next network that nobody has yet and trains it alone; the result is that of one process
  bit for bit, and nothing is exchanged while they train. ``auto`` takes this where there are at least 4 networks for each
  process: then little time is lost at the end, when some have nothing left to do.

Process 0 alone splits, grades and writes; the others read the stores and, with ``networks``, write their own work into the run
folder, so stores and run folder must be seen by all under the same path.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from biosig_mtl.experiment import members
from biosig_mtl.experiment.members import Begin, Job
from biosig_mtl.recipe import from_dict
from biosig_mtl.training import distributed
from biosig_mtl.training.distributed import World
from biosig_mtl.types import BiosigError, DataError, Fold, RecipeError

ENOUGH = 4  # networks for each process, from which on each trains its own
TURN_S = 0.2
UNSEEN_S = 60.0  # how long a result may take to show on a file system that processes share


@contextmanager
def together() -> Iterator[World]:
    """Join the processes that were started together, if this is one of them; send the others home at the end."""
    with distributed.joined() as world:
        try:
            yield world
        except BaseException as error:
            # Whatever it is: one who waits for this process would wait for ever.
            world.leave_word(str(error) if isinstance(error, BiosigError) else f"stopped by {type(error).__name__}")
            raise
        finally:
            if world.leads and world.size > 1:
                world.hand_out(None)


def follow(world: World) -> None:
    """Do what process 0 hands out until it has nothing more."""
    while (told := world.handed()) is not None:
        if told["way"] == "networks":
            for i in _taken(world, told):
                members.work(_job(world.asked(f"{told['name']}/{i}")))
                world.tell(f"{told['name']}/{i}/done", None)
        else:
            members.work(_job(told["job"]), world=world)


def train(jobs: Sequence[Job], workers: int, begin: Begin | None = None) -> Iterator[Job]:
    """Train what is not trained yet, with all processes there are; yield each job when its result is there.

    Raises
    ------
    RecipeError
        Networks that begin elsewhere cannot be trained apart.
    DataError
        A process was lost, or process 0 does not see what another one wrote.
    """
    world = distributed.current()
    if world.size == 1:
        yield from members.train(jobs, workers, begin)
        return
    waiting = []
    for job in jobs:
        if (job.place / members.RESULT).is_file():
            yield job
        else:
            waiting.append(job)
    if not waiting:
        return
    word = members.settings(from_dict(waiting[0].recipe))[2].parallel
    if word == "networks" and begin is not None:
        raise RecipeError("training.parallel: networks: these networks start from another one, which only 'batch' can share")
    apart = word == "networks" or (word == "auto" and begin is None and len(waiting) >= ENOUGH * world.size)
    if apart:
        yield from _apart(world, waiting)
        return
    for job in waiting:
        world.hand_out({"way": "batch", "job": _told(job)})
        members.work(job, begin=begin, world=world)
        yield job


def _apart(world: World, waiting: Sequence[Job]) -> Iterator[Job]:
    """Let each process take networks until none is left."""
    told = {"way": "networks", "name": world.drawer(), "count": len(waiting)}
    for i, job in enumerate(waiting):
        world.tell(f"{told['name']}/{i}", _told(job))
    world.hand_out(told)
    left = dict(enumerate(waiting))
    for i in _taken(world, told):
        members.work(waiting[i])
        yield from _finished(left)
    while left:
        _check(world, told, left)
        yield from _finished(left)
        time.sleep(TURN_S)


def _finished(left: dict[int, Job]) -> Iterator[Job]:
    for i in [i for i, job in left.items() if (job.place / members.RESULT).is_file()]:
        yield left.pop(i)


def _check(world: World, told: Mapping[str, Any], left: Mapping[int, Job]) -> None:
    """Raise `DataError` where a process has stopped, or says that it is done with what cannot be seen here."""
    world.check()
    done = {i for i in left if world.has(f"{told['name']}/{i}/done")}
    end = time.monotonic() + UNSEEN_S
    while unseen := [left[i] for i in done if not (left[i].place / members.RESULT).is_file()]:
        if time.monotonic() > end:
            raise DataError(f"{unseen[0].place}: written by another process and not seen here: give all one --out folder")
        time.sleep(TURN_S)


def _taken(world: World, told: Mapping[str, Any]) -> Iterator[int]:
    """Yield the numbers of networks that nobody else has taken."""
    while (i := world.take(f"{told['name']}/next")) < told["count"]:
        yield i


# ------------------------------------------------------------------------------------------------------- jobs as words
_PARTS = ("train", "validation", "test", "calibration")


def _told(job: Job) -> dict[str, Any]:
    return {
        "variant": job.variant,
        "fold": _fold_told(job.fold),
        "member": job.member,
        "members": job.members,
        "recipe": dict(job.recipe),
        "stores": [str(store.absolute()) for store in job.stores],
        "out": str(job.out.absolute()),
    }


def _fold_told(fold: Fold) -> dict[str, Any]:
    rows = {part: torch.from_numpy(np.asarray(getattr(fold, part), np.int64)) for part in _PARTS}
    return {**rows, "number": fold.number, "seed": fold.seed, "leaky": fold.leaky, "unit": fold.unit}


def _job(told: Mapping[str, Any]) -> Job:
    rows = {part: told["fold"][part].numpy() for part in _PARTS}
    fold = Fold(**{**told["fold"], **rows})
    stores = tuple(Path(store) for store in told["stores"])
    return Job(told["variant"], fold, told["member"], told["members"], told["recipe"], stores, Path(told["out"]))
