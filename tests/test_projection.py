from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biosig_mtl.pipeline.projection import Cluster, DataSize, Rates, makespan_s, most_workers, project

RATES = Rates(s_per_mb=0.08, s_per_record=0.005, store_share=2.0)
SIZE = DataSize(bytes=1e12, records=20_000)
tasks = st.lists(st.floats(0.01, 10.0), min_size=1, max_size=40).map(np.array)


@given(tasks, st.integers(1, 8), st.floats(0.0, 1.0))
def test_no_schedule_beats_its_bounds(task_s: np.ndarray, workers: int, dispatch_s: float) -> None:
    end = makespan_s(task_s, workers, dispatch_s)
    assert end >= max(task_s.sum() / workers, task_s.max(), len(task_s) * dispatch_s) - 1e-9
    assert end <= task_s.sum() + len(task_s) * dispatch_s + 1e-9


@given(tasks, st.floats(0.0, 1.0))
def test_one_worker_does_one_task_after_the_other(task_s: np.ndarray, dispatch_s: float) -> None:
    end = makespan_s(task_s, 1, 0.0)
    assert end == pytest.approx(task_s.sum())
    # With a lot in hand a worker waits for the first, and for what is shorter than a hand-over.
    assert makespan_s(task_s + dispatch_s, 1, dispatch_s) == pytest.approx(task_s.sum() + (len(task_s) + 1) * dispatch_s)


def test_without_cost_equal_tasks_are_shared_evenly() -> None:
    assert makespan_s(np.ones(1000), 10, 0.0) == pytest.approx(100.0)
    # In turns of one the scheduler is asked only when a worker is idle: each hand-over is waited for.
    assert makespan_s(np.ones(100), 1, 0.1, in_flight=1) == pytest.approx(110.0)
    assert makespan_s(np.ones(100), 1, 0.1) == pytest.approx(100.1)


def test_a_scheduler_that_falls_behind_is_named() -> None:
    slow = project(SIZE, RATES, Cluster(workers=1000, dispatch_s=1.0))
    assert slow.limit == "scheduler"
    assert slow.wall_h * 3600 >= slow.lots * 1.0
    fast = project(SIZE, RATES, Cluster(workers=1000))
    assert fast.limit == "workers"
    assert fast.wall_h < slow.wall_h


def test_a_narrow_line_is_named() -> None:
    found = project(SIZE, RATES, Cluster(workers=100, line_mb_s=10.0))
    assert found.limit == "line"
    assert found.wall_h == pytest.approx(1e6 / 10.0 / 3600)


def test_work_and_price_follow_from_the_rates() -> None:
    one = project(SIZE, RATES, Cluster(workers=1, start_s=0.0))
    assert one.work_h == pytest.approx((1e6 * 0.08 + 20_000 * 0.005) / 3600)
    assert one.efficiency == pytest.approx(1.0, abs=1e-3)
    assert one.store_bytes == 2e12
    many = project(SIZE, RATES, Cluster(workers=64))
    assert many.price(Cluster(workers=64), 0.05) == pytest.approx(64 * many.wall_h * 0.05)
    assert many.wall_h < one.wall_h / 55


def test_more_workers_than_lots_are_of_no_use() -> None:
    small = DataSize(bytes=64 * 2**20 * 10, records=10)
    assert project(small, RATES, Cluster(workers=1000, start_s=0, spread=0)).wall_h == pytest.approx(
        project(small, RATES, Cluster(workers=10, start_s=0, spread=0)).wall_h
    )
    assert most_workers(small, RATES, Cluster(workers=1, start_s=0, spread=0)) <= 16
    assert most_workers(SIZE, RATES, Cluster(workers=1)) >= 256


@pytest.mark.parametrize(
    "make",
    [
        lambda: Rates(0.0, 0.0, 0.0),
        lambda: replace(RATES, store_share=-1.0),
        lambda: Cluster(workers=0),
        lambda: Cluster(workers=1, line_mb_s=-1.0),
        lambda: DataSize(0.0, 1),
    ],
)
def test_nonsense_is_refused(make: object) -> None:
    with pytest.raises(ValueError, match="need"):
        make()  # type: ignore[operator]
