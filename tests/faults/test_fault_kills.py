"""``kill -9`` at random moments and at the places of every commit: a run that is run again gives the very same bytes.

``BIOSIG_KILLS=500`` makes so many kills in each of the tests that draw at random.
"""

from __future__ import annotations

import itertools
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from typing import Any

from tests.faults.conftest import Bench, contents, differing

KILLED = -signal.SIGKILL
Kills = Callable[[int], int]


def test_the_harness_counts_what_it_kills_at(bench: Bench) -> None:
    whole = bench.prepare(kill_at=0)
    assert (whole.code, whole.errors, bench.unlike_the_store()) == (0, [], [])
    assert whole.places > 50  # plan, three files a lot, index, refused, summary: half of each written, fsync, rename
    first = bench.prepare("other", kill_at=1)
    assert (first.code, first.out) == (KILLED, "")
    assert bench.nursery.order("--help", signals=[(0.0, signal.SIGKILL)]).code in {0, KILLED}


def episodes(count: int, places: int, seconds: float, seed: int) -> Iterator[list[dict[str, Any]]]:
    """Yield ``count`` kills in groups of one, two and three that fall on one folder before it may end: in turn at a place of a
    commit, these evenly over the whole run, and at a random moment.
    """
    rng = random.Random(seed)
    kills: list[dict[str, Any]] = [
        {"kill_at": 1 + i * places // count} if i % 2 else {"signals": [(seconds * rng.uniform(0.05, 0.9), signal.SIGKILL)]}
        for i in range(count)
    ]
    rng.shuffle(kills)
    for size in itertools.cycle((1, 2, 3)):
        if not kills:
            return
        yield kills[:size]
        del kills[:size]


def recovers(bench: Bench, what: str, count: int, seed: int) -> None:
    """Kill and run again; all files of the folder must be those of a run that nobody killed."""
    work: Any = bench.prepare if what == "prepare" else bench.train
    whole = work("whole", kill_at=0)
    assert (whole.code, whole.errors) == (0, [])
    same = contents(bench.place / "whole")
    struck = 0
    for kills in episodes(count, whole.places, whole.seconds, seed):
        shutil.rmtree(bench.place / "again", ignore_errors=True)
        for kill in kills:
            killed = work("again", **kill)
            assert killed.code in {0, KILLED}, (kills, killed.err)
            struck += killed.code == KILLED
        ended = work("again")
        assert (ended.code, ended.errors) == (0, []), (kills, ended.err)
        assert differing(contents(bench.place / "again"), same) == [], kills
    # A recovery has less to do: some are done before the kill of a later moment strikes.
    assert struck >= 0.6 * count


def test_a_killed_preparation_gives_the_same_bytes(bench: Bench, kills: Kills) -> None:
    recovers(bench, "prepare", kills(30), seed=7)


def test_a_killed_training_gives_the_same_weights(bench: Bench, kills: Kills) -> None:
    """Weights, history, predictions, scores, folds: every file of the run folder."""
    recovers(bench, "train", kills(20), seed=9)


def test_a_killed_group_of_processes(bench: Bench) -> None:
    """The terminal is closed, the machine is switched off: driver and workers end in the same moment."""
    soon = f"{bench.place}/store/*/lots/00001.json"
    killed = bench.prepare(workers=2, signals=[(soon, signal.SIGKILL)], group=True)
    assert killed.code == KILLED
    again = bench.prepare()
    assert (again.code, again.errors) == (0, [])
    assert bench.unlike_the_store() == []


def test_workers_do_not_outlive_their_driver(bench: Bench) -> None:
    soon = f"{bench.place}/store/*/lots/00001.json"
    # As they are started outside of tests: a fork would hold the driver's end of its own pipe.
    killed = bench.prepare(workers=2, signals=[(soon, signal.SIGKILL)], small_lots="apart")
    assert (killed.code, killed.orphans) == (KILLED, False)
    again = bench.prepare()
    assert (again.code, again.errors) == (0, [])
    assert bench.unlike_the_store() == []
