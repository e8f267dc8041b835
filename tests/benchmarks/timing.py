"""CPU seconds and peak memory: several jobs in turns in one process, or one job in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

# The peak of this process would be that of whatever ran before, hence a process of its own.
_CHILD = """
import contextlib, json, os, sys, time, warnings
from pathlib import Path
warnings.simplefilter("ignore")
def memory_mb(which):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(which)).split()[1]) / 1024
arguments = sys.argv[1:]
with open(os.devnull, "w") as sink, contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
    {prelude}
    base_mb, start = memory_mb("VmRSS"), time.process_time()
    {job}
    cpu_s = time.process_time() - start
print(json.dumps({{"cpu_s": cpu_s, "peak_mb": memory_mb("VmHWM"), "base_mb": base_mb}}))
"""


class Seconds(float):
    """The median of several runs, which also knows the single ones, in their order."""

    runs: tuple[float, ...]

    def __new__(cls, runs: Sequence[float]) -> Seconds:
        """Make the median of at least one run."""
        made = super().__new__(cls, median(runs))
        made.runs = tuple(float(one) for one in runs)
        return made

    def __getnewargs__(self) -> tuple[tuple[float, ...]]:  # type: ignore[override]
        """Say what a copy is made from."""
        return (self.runs,)


def spread(ours: float, theirs: float) -> float | None:
    """Return how far the ratio of two jobs that were run in turns lies off its middle, as a share; None without several runs.

    Half of what lies between the largest and the smallest ratio of one turn, divided by their median. Ours and the peer's of
    one turn had the same machine to themselves, or did not.
    """
    if not (isinstance(ours, Seconds) and isinstance(theirs, Seconds)) or not 1 < len(ours.runs) == len(theirs.runs):
        return None
    ratios = [b / a for a, b in zip(ours.runs, theirs.runs, strict=True)]
    return (max(ratios) - min(ratios)) / 2 / median(ratios)


def cpu_medians(jobs: Mapping[str, Callable[[], object]], runs: int) -> dict[str, float]:
    """Return the median CPU seconds of each job (user and system), run in turns after one round that does not count.

    What is returned are `Seconds`, so that a ratio can tell its `spread`.
    """
    spent: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(runs + 1):
        for name in list(jobs)[:: 1 if turn % 2 else -1]:
            start = time.process_time()
            jobs[name]()
            spent[name].append(time.process_time() - start)
    return {name: Seconds(seconds[1:]) for name, seconds in spent.items()}


def alone(prelude: str, job: str, *arguments: object) -> dict[str, float]:
    """Run a line of Python, after another one that imports and warms up, in a process of its own; return what it took.

    ``cpu_s`` of the job alone; ``peak_mb`` of the whole process, ``base_mb`` before the job. Both lines see the ``arguments``
    as a list of strings.
    """
    code = _CHILD.format(prelude=prelude, job=job)
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    if done.returncode:
        raise RuntimeError(f"{job}: {done.stderr.strip().splitlines()[-1]}")
    measured: dict[str, Any] = json.loads(done.stdout)
    return {name: float(value) for name, value in measured.items()}
