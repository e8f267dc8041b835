"""Mixed precision, where it pays."""

from __future__ import annotations

import copy
import time

import torch
from torch import nn

from biosig_mtl.training.prediction import device_of
from biosig_mtl.types import Batch

TRIALS = 4
WORTH = 1.15  # bf16 has to be this much faster to be worth its rounding


def autocast(model: nn.Module, *, on: bool) -> torch.autocast:
    """Return a context in which matrix products and convolutions run in bfloat16."""
    return torch.autocast(device_of(model).type, dtype=torch.bfloat16, enabled=on)


def bf16_pays(model: nn.Module, batch: Batch) -> bool:
    """Whether a training step on this machine is clearly faster in bfloat16; tried on a copy, chance left as it was.

    Both are tried in turns, or whatever else the machine does would decide. The layout of convolutions is not tried: channels
    last was the faster one at every size that was measured, see `biosig_mtl.models.blocks.along_time`.
    """
    with torch.random.fork_rng(devices=[]):
        plain, mixed = copy.deepcopy(model), copy.deepcopy(model)
        spent = [(_seconds(plain, batch, on=False), _seconds(mixed, batch, on=True)) for _ in range(TRIALS)]
    first, second = (min(seconds) for seconds in zip(*spent[1:], strict=True))
    return bool(first > WORTH * second)


def _seconds(model: nn.Module, batch: Batch, *, on: bool) -> float:
    start = time.perf_counter()
    with autocast(model, on=on):
        out = model(batch)
    out.predictions.float().square().mean().backward()
    if device_of(model).type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start
