"""The last part of a network as a function of its tensors: what a person may have of their own, and what that costs in bytes.

The parts are named from the answer backwards, so that a small budget takes the last ones. Bytes are counted as a small device
would hold them while one network is tuned: what is kept for good, gradients, the state of the optimiser, what the way back
needs of the way there, and what the unchanging part made of the readings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from biosig_mtl.training.calibration.known import View
from biosig_mtl.training.calibration.looking import Stem, has_merge, taken
from biosig_mtl.types import Batch, RecipeError

PARTS: tuple[tuple[str, ...], ...] = (
    ("heads.last.",),
    ("heads.hidden.",),
    ("merger.norms.",),
    ("merger.narrow.", "merger.wide."),
    ("merger.out.", "merger.values."),
    ("merger.queries.", "merger.keys."),
    ("merger.",),
)
"""Parts that may be a person's own, from the answer backwards; the last takes what is left of any merge."""
OPTIMISER_BYTES = 0  # nothing is kept between steps
HEADER_BYTES = 160  # of a tensor in a file: its name, shape and place
Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Bytes:
    """What tuning takes: ``kept`` for good, over all networks, and the rest for one network at a time."""

    kept: int
    gradients: int
    optimiser: int
    activations: int
    inputs: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.kept + self.gradients + self.optimiser + self.activations + self.inputs

    @property
    def megabytes(self) -> float:
        """All of it in MB, of 10⁶ bytes."""
        return self.total / 1e6


class _Last(nn.Module):
    """From the stem to estimates (B, T) in scaled units."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.heads = model.heads
        self.merger = model.merger if has_merge(model) else nn.Identity()
        self._merges = has_merge(model)
        self.answers, self.tokens, self.how = model.answers, model.tokens, model.settings.pool
        self.beside = getattr(model, "beside", None)

    def forward(self, given: Tensor, batch: Batch, kernel: Tensor | None) -> Tensor:
        def pool(x: Tensor, axis: int) -> Tensor:
            pooled: Tensor = self.tokens.pool(x, self.how, batch, axis)
            return pooled

        merged = self.merger(given, pool)[0] if self._merges else given
        said: Tensor = self.answers(self.heads(merged), batch).predictions
        return said if kernel is None or self.beside is None else said + self.beside.share * (kernel - said)


@dataclass(frozen=True, eq=False)
class Tail:
    """The last part of one network with what goes into it, for all windows."""

    view: View
    stem: Stem
    last: nn.Module
    trained: Tensors

    @classmethod
    def of(cls, view: View, stem: Stem) -> Tail:
        """Return the tail of a network; see `biosig_mtl.training.calibration.looking.stem_of`."""
        last = _Last(view.member.model)
        last.eval()
        # Without gradients: else the way back would reach, and remember, every tensor of the network.
        return cls(view, stem, last, {name: x.detach() for name, x in last.named_parameters()})

    def tensors(self, parts: int) -> dict[str, Tensor]:
        """Return the trained tensors of the first so many `PARTS` by name."""
        wanted = tuple(prefix for part in PARTS[:parts] for prefix in part)
        return {name: x for name, x in self.trained.items() if name.startswith(wanted)}

    def estimate(self, rows: Tensor, own: Tensors) -> Tensor:
        """Return estimates (B, T) in scaled units of rows, with a person's own tensors in place of the trained ones."""
        stem = self.stem
        kernel = None if stem.kernel is None else stem.kernel[rows]
        said: Tensor = functional_call(self.last, {**self.trained, **own}, (stem.given[rows], taken(stem.batch, rows), kernel))
        return said


def bytes_for(tail: Tail, parts: int, readings: int, networks: int) -> Bytes:
    """Count what tuning so many parts takes with so many readings.

    Activations are counted by asking autograd what it keeps of one way there, each storage once; the trained tensors among
    them are not counted again.
    """
    own = {name: x.clone().requires_grad_() for name, x in tail.tensors(parts).items()}
    rows = torch.zeros(readings, dtype=torch.long)
    # Tensors that lie there anyway: weights and buffers of the network.
    resident = {x.untyped_storage().data_ptr() for x in (*own.values(), *tail.view.member.model.state_dict().values())}
    seen: dict[int, int] = {}

    def pack(x: Tensor) -> Tensor:
        place = x.untyped_storage()
        if place.data_ptr() not in resident:
            seen[place.data_ptr()] = place.nbytes()
        return x

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        said = int(tail.estimate(rows, own).shape[1])
    each = sum(x.numel() * x.element_size() for x in own.values())
    given = tail.stem.given[:1]
    inputs = readings * given.numel() * given.element_size()
    # A gradient for each number that is told (see `biosig_mtl.training.calibration.last_split`), and the step.
    gradients = (readings * said + 1) * each
    return Bytes(networks * each, gradients, OPTIMISER_BYTES, sum(seen.values()), inputs)


def parts_within(tail: Tail, max_mb: float, readings: int, networks: int, beside_mb: float = 0.0) -> tuple[int, Bytes]:
    """Return how many of `PARTS` fit into so many megabytes beside what takes ``beside_mb``, and what they take.

    Raises
    ------
    RecipeError
        Not even the last layer fits: the message tells the smallest budget that would do.
    """
    counts = [(number, bytes_for(tail, number, readings, networks)) for number in _different(tail)]
    fitting = [
        (number, count) for number, count in counts if count.megabytes + beside_mb + _names(tail, number, networks) <= max_mb
    ]
    if not fitting:
        plural = "" if readings == 1 else "s"
        number, count = counts[0]
        least = math.ceil((count.megabytes + beside_mb + _names(tail, number, networks)) * 1000) / 1000
        raise RecipeError(
            f"max_mb {max_mb:g}: too small to tune the last layer of {networks} networks with {readings} reading{plural}; "
            f"need {least:g} MB or more, or the method offset, which keeps the readings alone"
        )
    return fitting[-1]


def _names(tail: Tail, parts: int, networks: int) -> float:
    """Return the most that names of tensors take in a file, in MB."""
    return networks * len(tail.tensors(parts)) * HEADER_BYTES / 1e6


def _different(tail: Tail) -> Sequence[int]:
    """Return the numbers of parts that add a tensor."""
    sizes = [len(tail.tensors(number)) for number in range(len(PARTS) + 1)]
    return [number for number in range(1, len(PARTS) + 1) if sizes[number] > sizes[number - 1]]
