"""`torch.compile` for the forward pass of training, where it pays.

The network itself stays what it was: its weights keep their names, and states and model files are those of an uncompiled run.
What is compiled is called beside it, in training only. Chance is drawn by the same generators as without
(``fallback_random``), so that a compiled run differs from an uncompiled one by rounding only.
"""

from __future__ import annotations

import copy
import logging
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from biosig_mtl.training.precision import TRIALS
from biosig_mtl.training.prediction import device_of
from biosig_mtl.types import Batch, Output

BACKEND = "inductor"
PAYS_BACK = 2.0  # the time that compiling takes has to be won this many times over in what is left to train
AGAIN = 1  # further compilations a run has to expect: the last batch of an epoch is smaller


class Forward:
    """The forward pass of a network in training: as it is, or compiled.

    ``on`` says which. ``remark`` is what a reader should know: '' or why it is not compiled although that was asked for.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model, self.on, self.remark = model, False, ""
        self._compiled: Callable[[Batch], Output] = model

    def __call__(self, batch: Batch) -> Output:
        """Return what the network says of a batch."""
        return self._compiled(batch)

    def settle(self, word: str, batch: Batch, steps: int, *, bf16: bool) -> None:
        """Try both on a copy and keep the compiled one if ``word`` is ``on``, or ``auto`` and it pays over ``steps`` steps."""
        if word == "off":
            return
        device = device_of(self.model)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            plain = copy.deepcopy(self.model).train()
            try:
                made = compiled(copy.deepcopy(self.model).train())
                began = _seconds(made, batch, device, bf16=bf16)
            except Exception as error:  # noqa: BLE001 (whatever a compiler stumbles over, training goes on without it)
                self.remark = f"the network could not be compiled ({_first_line(error)}); it was trained without"
                return
            if word == "auto":
                spent = [[_seconds(f, batch, device, bf16=bf16) for f in (plain, made)] for _ in range(TRIALS)]
                before, after = (min(seconds) for seconds in zip(*spent[1:], strict=True))
                if steps * (before - after) < PAYS_BACK * (1 + AGAIN) * began:
                    return
        self.take_up()

    def take_up(self) -> None:
        """Compile from now on."""
        self.on, self._compiled = True, compiled(self.model)


def compiled(model: nn.Module) -> Callable[[Batch], Output]:
    """Return the forward pass of a network, to be compiled when it is first called."""
    options: dict[str, Any] = {"options": {"fallback_random": True}} if BACKEND == "inductor" else {}
    made: Callable[[Batch], Output] = torch.compile(model, backend=BACKEND, **options)
    return made


def _seconds(forward: Callable[[Batch], Output], batch: Batch, device: torch.device, *, bf16: bool) -> float:
    start = time.perf_counter()
    quiet = logging.getLogger("torch._dynamo")
    level = quiet.level
    quiet.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
            warnings.simplefilter("ignore")
            forward(batch).predictions.float().square().mean().backward()  # type: ignore[no-untyped-call]
    finally:
        quiet.setLevel(level)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:200]
