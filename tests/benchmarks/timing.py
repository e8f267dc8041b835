"""CPU seconds and peak memory: several jobs in turns in one process, or one job in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
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


def cpu_medians(jobs: Mapping[str, Callable[[], object]], runs: int) -> dict[str, float]:
    """Return the median CPU seconds of each job (user and system), run in turns after one round that does not count."""
    spent: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(runs + 1):
        for name in list(jobs)[:: 1 if turn % 2 else -1]:
            start = time.process_time()
            jobs[name]()
            spent[name].append(time.process_time() - start)
    return {name: median(seconds[1:]) for name, seconds in spent.items()}


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
