"""What networks cost, measured side by side: parameters, floating-point operations, a training step, one window."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from biosig_mtl.experiment import members
from biosig_mtl.experiment.entrants import Entrant
from biosig_mtl.training import Scaler, spec_of, to_batch
from biosig_mtl.training.threads import one_thread
from biosig_mtl.types import I64, Batch, Output, WindowTable

ROUNDS = 15
STEP_WINDOWS = 256


@dataclass(frozen=True)
class Cost:
    """``flops_per_window`` of a forward pass (matrix products and convolutions, as torch counts them), medians over rounds of
    one training step on ``step_windows`` windows and of one window's answer, in milliseconds, on one thread.
    """

    flops_per_window: float
    step_ms: float
    step_windows: int
    latency_ms: float


def measure(entrants: Sequence[Entrant], table: WindowTable, rows: I64) -> dict[str, Cost]:
    """Measure all entrants on the same windows, in turns, so that a busy moment of the machine meets all of them."""
    with one_thread():
        made = {one.label: _network(one, table) for one in entrants}
        some = np.unique(rows)
        scaler = Scaler.fit(table, some)
        batch, single = to_batch(table, some, scaler), to_batch(table, some[:1], scaler)
        steps: dict[str, list[float]] = {label: [] for label in made}
        lone: dict[str, list[float]] = {label: [] for label in made}
        optimisers = {label: torch.optim.AdamW(net.parameters(), lr=1e-6) for label, net in made.items()}
        for _ in range(ROUNDS):
            for label, net in made.items():
                steps[label].append(_step(net, optimisers[label], batch))
                lone[label].append(_answer(net, single))
        return {
            label: Cost(_flops(net, single), _median(steps[label]), len(some), _median(lone[label]))
            for label, net in made.items()
        }


def _network(entrant: Entrant, table: WindowTable) -> nn.Module:
    name, made, _ = members.settings(entrant.recipe)
    return members.fresh(name, made, spec_of(table), 0)


def _step(net: nn.Module, optimiser: torch.optim.Optimizer, batch: Batch) -> float:
    net.train()
    began = time.perf_counter()
    optimiser.zero_grad()
    out: Output = net(batch)
    loss: Tensor = out.predictions.square().mean()
    if out.private is not None:
        loss = loss + out.private.square().mean()
    for early in out.early:
        loss = loss + early.square().mean()
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return 1000 * (time.perf_counter() - began)


def _answer(net: nn.Module, batch: Batch) -> float:
    net.eval()
    with torch.inference_mode():
        began = time.perf_counter()
        net(batch)
        return 1000 * (time.perf_counter() - began)


def _flops(net: nn.Module, batch: Batch) -> float:
    from torch.utils.flop_counter import FlopCounterMode

    net.eval()
    # With gradients on: the counter follows modules by their inputs' gradient functions, which it otherwise asks for in vain.
    with FlopCounterMode(display=False) as counter:
        net(batch)
    return float(counter.get_total_flops())


def _median(values: Sequence[float]) -> float:
    return float(np.median(values))
