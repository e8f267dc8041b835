"""How long a preparation will take, and what it will cost: measured rates, and a scheduler that is simulated task by task.

One scheduler hands out lots, one after the other, each hand-over at its measured cost; a worker holds one lot more than the one
it works on, so that it waits only when the scheduler falls behind. What all workers read together goes through one line of
limited width, if it is said to. The rest is assumed away and said with the result: no worker is lost, all are equally fast.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, replace

import numpy as np

from biosig_mtl.types import F64

HOUR_S = 3600.0
TB = 1e12
IN_FLIGHT = 2


@dataclass(frozen=True, slots=True)
class Rates:
    """What one worker was measured to do: processor seconds for each megabyte of input and for each record, and how many bytes
    of store come of a byte of input.
    """

    s_per_mb: float
    s_per_record: float
    store_share: float

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if not (self.s_per_mb > 0 and self.s_per_record >= 0 and self.store_share >= 0):
            raise ValueError(f"need rates above 0, got {self.s_per_mb}, {self.s_per_record}, {self.store_share}")


@dataclass(frozen=True, slots=True)
class Cluster:
    """Workers, and what stands between them.

    ``dispatch_s`` is what the scheduler spends on each lot; ``start_s`` passes before the first lot; ``spread`` is the standard
    deviation of the logarithm of a lot's time; ``line_mb_s`` is what all workers together can read, None for no limit.
    """

    workers: int
    dispatch_s: float = 0.0016
    start_s: float = 30.0
    spread: float = 0.3
    line_mb_s: float | None = None

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if self.workers < 1 or min(self.dispatch_s, self.start_s, self.spread) < 0 or (self.line_mb_s or 1) <= 0:
            raise ValueError(f"need at least 1 worker and no time below 0, got {self}")


@dataclass(frozen=True, slots=True)
class DataSize:
    """How much there is to prepare, and how it is cut."""

    bytes: float
    records: int
    lot_bytes: float = 64 * 2**20

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if not (self.bytes > 0 and self.records > 0 and self.lot_bytes > 0):
            raise ValueError(f"need data, got {self}")


@dataclass(frozen=True, slots=True)
class Projection:
    """What is to be expected: ``efficiency`` is work divided by what all workers were there for; ``limit`` names what was
    waited for: ``workers``, ``scheduler`` or ``line``.
    """

    lots: int
    work_h: float
    wall_h: float
    efficiency: float
    store_bytes: float
    limit: str

    def price(self, cluster: Cluster, per_worker_hour: float) -> float:
        """Return what the workers cost, in the unit of ``per_worker_hour``; storage and traffic are not in it."""
        return cluster.workers * self.wall_h * per_worker_hour


def makespan_s(task_s: F64, workers: int, dispatch_s: float, in_flight: int = IN_FLIGHT) -> float:
    """Return when the last of some tasks ends, as a scheduler hands them out in their order.

    >>> makespan_s(np.full(100, 1.0), 10, 0.0)
    10.0
    >>> makespan_s(np.full(100, 1.0), 1000, 0.1) >= 10.0  # no faster than they are handed out
    True
    """
    slots = [(0.0, worker) for worker in range(workers)] * in_flight
    heapq.heapify(slots)
    free = np.zeros(workers)
    handed = end = 0.0
    for task in task_s.tolist():
        asked, worker = heapq.heappop(slots)
        handed = max(handed, asked) + dispatch_s
        free[worker] = max(handed, free[worker]) + task
        end = max(end, float(free[worker]))
        heapq.heappush(slots, (float(free[worker]), worker))
    return end


def project(size: DataSize, rates: Rates, cluster: Cluster, seed: int = 0) -> Projection:
    """Return what a preparation is to be expected to take.

    Lots differ in their time by a log-normal factor of mean 1. More workers than lots are of no use, as the efficiency shows.
    """
    lots = max(math.ceil(size.bytes / size.lot_bytes), 1)
    work_s = size.bytes / 1e6 * rates.s_per_mb + size.records * rates.s_per_record
    chance = np.random.default_rng(seed).lognormal(-(cluster.spread**2) / 2, cluster.spread, lots)
    task_s = work_s / lots * chance / chance.mean()
    wall_s = cluster.start_s + makespan_s(task_s, cluster.workers, cluster.dispatch_s)
    line_s = size.bytes / 1e6 / cluster.line_mb_s if cluster.line_mb_s else 0.0
    limit = "scheduler" if lots * cluster.dispatch_s > work_s / cluster.workers else "workers"
    if line_s > wall_s:
        wall_s, limit = line_s, "line"
    efficiency = work_s / (cluster.workers * wall_s)
    return Projection(lots, work_s / HOUR_S, wall_s / HOUR_S, efficiency, size.bytes * rates.store_share, limit)


def most_workers(size: DataSize, rates: Rates, cluster: Cluster, efficiency: float = 0.8) -> int:
    """Return the largest number of workers, in powers of two, of which this share of the time is work."""
    count = 1
    while count < 2**16 and project(size, rates, replace(cluster, workers=2 * count)).efficiency >= efficiency:
        count *= 2
    return count
