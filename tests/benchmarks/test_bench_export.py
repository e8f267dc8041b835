"""Milliseconds for one window of an exported run through ONNX Runtime on one thread, beside the same networks in torch.

The networks are untrained: speed does not depend on what they learned. That both say the same is looked at first.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from biosig_mtl.export import Exported, ExportSettings, export
from biosig_mtl.inference import Predictor
from biosig_mtl.types import WindowTable
from tests.export.cases import part, pressure_table, write_run

pytestmark = pytest.mark.benchmark

RUNS = 300
# What stands in the plan for one window of a network, and what is allowed for all networks of a run.
ONE_NETWORK_MS = 0.9
CASES = {"features": (False, 300), "features and waveform": (True, 300)}


def milliseconds(work: Callable[[], object], runs: int = RUNS) -> tuple[float, float]:
    """Return median and 99th percentile of the wall time of a call."""
    for _ in range(10):
        work()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - start))
    return float(np.quantile(times, 0.5)), float(np.quantile(times, 0.99))


def timed(run: Path, table: WindowTable, members: str) -> tuple[int, tuple[float, float], tuple[float, float]]:
    """Return the number of networks, and the times of the graph and of torch for one window."""
    exported = Exported.load(export(run, run.parent / f"{members}.onnx", ExportSettings(members=members)).model)
    ensemble = Predictor.load(run).ensemble
    one = part(table, slice(0, 1))
    if members == "all":
        assert np.abs(exported.predict(one) - ensemble.predict(one)).max() < 1e-4
    return len(exported.networks), milliseconds(lambda: exported.predict(one)), milliseconds(lambda: ensemble.predict(one), 30)


@pytest.mark.parametrize("case", list(CASES))
def test_one_window_takes_less_than_a_millisecond_a_network(case: str, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    waveform, landmarks = CASES[case]
    table = pressure_table(waveform)
    run = write_run(tmp_path / "run", table, "split_merge", members=5, width=32, heads=2, kernel_landmarks=landmarks)
    for members in ("1", "all"):
        networks, (p50, p99), (torch_p50, _) = timed(run, table, members)
        beside = f"; all {len(Predictor.load(run).ensemble.members)} in torch {torch_p50:.2f} ms"
        print(f"{case}, {networks} networks: p50 {p50:.3f} ms, p99 {p99:.3f} ms{beside}")  # noqa: T201 (what a benchmark is for)
        if networks == 1:
            assert p50 < ONE_NETWORK_MS
        else:
            assert p50 < torch_p50
