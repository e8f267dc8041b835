"""Windows a second of our training loop beside a plain PyTorch loop with the same network, and of two processes beside one.

On a GPU also the share of the rate that the device reaches on large matrices of the same kind of numbers. The plain loop has
the network, AdamW, the Huber loss and batches that lie ready in memory; ours also reads, scales and augments, clips, averages
and writes history. It is the price of these that is measured.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from biosig_mtl.training.batches import Scaler
from biosig_mtl.training.loop import TrainingData, fit
from biosig_mtl.training.prediction import moved, source_for
from biosig_mtl.training.settings import TrainingSettings
from biosig_mtl.types import Batch, Fold
from tests.benchmarks.test_bench_network import network, table
from tests.training.distributed_case import QUICK, together

pytestmark = pytest.mark.benchmark

EPOCHS, BATCH, RUNS = 3, 64, 5
LEAST = 0.5  # of the plain loop's rate; ours does more
MATRIX = 4096


def say(line: str) -> None:
    """Show a figure: ``pytest -s``."""
    sys.stdout.write(f"{line}\n")


def seconds(job: Callable[[], object], runs: int = RUNS) -> float:
    spent = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        job()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        spent.append(time.perf_counter() - start)
    return median(spent[1:])


def rates(device: torch.device, amp: str) -> tuple[float, float, float]:
    """Return windows a second of our loop and of the plain one, and operations a window (forward and backward)."""
    windows = table(3, 1250, 125.0, 0)
    n = len(windows)
    fold = Fold(np.arange(n), np.arange(0), np.arange(0))
    scaler = Scaler.fit(windows, fold.train)
    model = network("split_merge", windows).to(device)
    how = TrainingSettings(
        epochs=EPOCHS, batch_size=BATCH, mi="none", skip_start="zero", amp="bf16" if amp == "bf16" else "off", patience=0
    )
    ours = n * EPOCHS / seconds(lambda: fit(model, TrainingData(windows, fold, scaler), how, 0))
    source = source_for([model], windows, fold.train, scaler)
    ready = [moved(batch, model) for batch in source.in_order(BATCH)]
    plain = n * EPOCHS / seconds(lambda: plain_loop(model, ready, device, bf16=amp == "bf16"))
    return ours, plain, operations(model, ready[0]) / len(ready[0].targets)


def plain_loop(model: nn.Module, ready: list[Batch], device: torch.device, *, bf16: bool) -> None:
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model.train()
    for _ in range(EPOCHS):
        for batch in ready:
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
                out = model(batch)
            loss = functional.huber_loss(out.predictions.float(), batch.targets)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()


def operations(model: nn.Module, batch: Batch) -> float:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        model(batch).predictions.sum().backward()
    return float(counter.get_total_flops())


def matrix_rate(device: torch.device, kind: torch.dtype) -> float:
    """Return operations a second of a large product of matrices."""
    a, b = (torch.randn(MATRIX, MATRIX, device=device, dtype=kind) for _ in range(2))
    return 2.0 * MATRIX**3 / seconds(lambda: a @ b)


@pytest.mark.parametrize("amp", ["off", "bf16"])
def test_our_loop_on_a_gpu(amp: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU here: nothing to measure")
    device = torch.device("cuda")
    ours, plain, work = rates(device, amp)
    share = ours * work / matrix_rate(device, torch.bfloat16 if amp == "bf16" else torch.float32)
    say(f"{amp}: ours {ours:.0f} windows/s, plain {plain:.0f} ({ours / plain:.2f}), {100 * share:.2f} % of the matrix rate")
    assert ours > LEAST * plain


def test_our_loop_on_a_cpu() -> None:
    ours, plain, _ = rates(torch.device("cpu"), "off")
    say(f"CPU: ours {ours:.0f} windows/s, plain {plain:.0f} ({ours / plain:.2f})")
    assert ours > LEAST * plain


def test_two_processes_beside_one(tmp_path: Path) -> None:
    alone = together("paced", 1, tmp_path, QUICK.batch_size)[0]
    shared = together("paced", 2, tmp_path, QUICK.batch_size)[0]
    say(f"1 process {alone:.0f} windows/s, 2 processes with gloo {shared:.0f} ({shared / alone:.2f})")
    assert shared > 0
