"""One batch, several processes: each runs the network on its rows, and all judge the answers of all rows.

Gradient averaging of separate losses, the usual way, is not the gradient of the loss of the whole batch here: losses are
divided by the known targets of a batch, the mutual-information term looks at pairs of windows, and rules between gradients
are not linear. So the *answers* are exchanged (`gathered`), every process computes the one loss of the whole batch, and going
backward each takes the part of its own rows through its network. The mean over processes of those gradients, with the rows'
part times their number, is the gradient of the whole batch:

    mean_r [ R · Σ_{i in rows of r} ∂L/∂out_i ∂out_i/∂θ  +  ∂L/∂θ beside the network ]  =  ∂L/∂θ

which is exact for weights before the exchange, after it (learnt weights of losses), and on both sides of it (severities of
raters). Only the order of sums differs from one process. No layer of ours looks across the rows of a batch (there is no
batch norm).

Compare `torch.nn.parallel.DistributedDataParallel`, which averages the gradients of separate losses while the backward pass
still runs. Nothing is overlapped here: one message forward (what the losses look at; of splits their mean over tokens) and one
backward (all gradients).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from biosig_mtl.training.augmentation import Augmentation
from biosig_mtl.training.batches import BatchSource
from biosig_mtl.training.distributed import World
from biosig_mtl.training.distributed_chance import OwnChance, Plan, Rows, StrangeChanceError, WholeChance
from biosig_mtl.training.loading import pinned, placed
from biosig_mtl.training.prediction import EVALUATION_BATCH, moved
from biosig_mtl.training.settings import TrainingSettings
from biosig_mtl.types import Batch, DataError, InputSpec, Output


@dataclass(frozen=True)
class Given:
    """A batch as the network gets it, and as the losses see it: the same where there is one process.

    Where processes share a batch ``own`` has the rows of this one, and ``judged`` targets and weights of all rows, no inputs.
    """

    positions: Tensor
    rows: Rows
    own: Batch
    judged: Batch

    @classmethod
    def alone(cls, positions: Tensor, batch: Batch) -> Given:
        """Return a batch that no other process shares."""
        return cls(positions, Rows.of(len(positions), 0, 1), batch, batch)

    def pinned(self) -> Given:
        """Return the same in memory that a GPU copies from by itself."""
        return self._each(pinned)

    def placed(self, device: torch.device) -> Given:
        """Return the same on a device."""
        return self if device.type == "cpu" else self._each(lambda batch: placed(batch, device))

    def _each(self, change: Callable[[Batch], Batch]) -> Given:
        own = change(self.own)
        judged = own if self.judged is self.own else change(self.judged)
        return replace(self, own=own, judged=judged)


class Loader:
    """Makes the batches of a run: read, augmented, and of a shared batch only the rows of this process."""

    def __init__(
        self, world: World, source: BatchSource, settings: TrainingSettings, spec: InputSpec, rng: torch.Generator
    ) -> None:
        self.world, self.source, self.spec, self.rng = world, source, spec, rng
        self.augmentation: Augmentation = settings.augmentation
        self.own_chance = settings.chance == "rank"

    def __call__(self, positions: Tensor) -> Given:
        """Return the windows at ``positions`` (B,)."""
        if self.world.size == 1:
            return Given.alone(positions, self.augmentation.apply(self.source.batch(positions), self.rng, self.spec))
        rows = Rows.of(len(positions), self.world.rank, self.world.size)
        mine = self.source.batch(positions[rows.run])
        if self.own_chance:
            seed = int(torch.randint(2**62, (), generator=self.rng)) + self.world.rank
            batch = self.augmentation.apply(mine, torch.Generator().manual_seed(seed), self.spec)
        else:
            with WholeChance(rows):
                batch = self.augmentation.apply(mine, self.rng, self.spec)
        targets, weight = self.source.judged(positions)
        # Of the inputs nothing goes along: only what losses look at is of all rows.
        none = torch.empty(len(positions), 0)
        judged = Batch(none.unsqueeze(2), none, none.bool(), targets, weight)
        return Given(positions, rows, batch, judged)


class Shared:
    """Runs a network on this process's rows and returns the answers for all rows of the batch."""

    def __init__(self, world: World, settings: TrainingSettings) -> None:
        self.world, self.own_chance = world, settings.chance == "rank"
        self.masks = settings.mask_coverage_weight > 0
        self.plan: Plan | None = None

    def prepare(self, model: nn.Module, source: BatchSource) -> str:
        """Find out how the network draws chance; return what a reader should know, '' if nothing.

        A network that draws in a way that cannot be cut into rows gets chance of its own in each process.
        """
        if self.world.size == 1 or self.own_chance:
            return ""

        def run(rows: int) -> object:
            with torch.no_grad():
                return model(moved(source.batch(torch.arange(rows) % len(source)), model))

        model.train()
        self.plan = Plan.of(run)
        self.own_chance = self.plan is None
        return "dropout was drawn by each training process for its own windows" if self.own_chance else ""

    def part(self, source: BatchSource, positions: Tensor) -> Batch:
        """Return this process's rows of a batch, as they are."""
        return source.batch(positions[Rows.of(len(positions), self.world.rank, self.world.size).run])

    def __call__(self, forward: Callable[[Batch], Output], given: Given) -> tuple[Output, Batch]:
        """Return the answers for all rows, and the batch that they are judged by."""
        if self.world.size == 1:
            return forward(given.own), given.judged
        try:
            with self._chance(given.rows):
                out = forward(given.own)
        except StrangeChanceError as error:
            raise DataError(
                f"the network draws chance in another way than in its trial ({error}): set training.chance: rank"
            ) from error
        fields = _fields(out, masks=self.masks)
        reference = given.own.reference
        if reference is not None:
            fields["of_batch"] = reference
        whole = dict(zip(fields, gathered(self.world, given.rows, list(fields.values())), strict=True))
        judged = replace(given.judged, reference=whole.pop("of_batch", None))
        return _output(whole), judged

    def _chance(self, rows: Rows) -> AbstractContextManager[Any]:
        if self.own_chance:
            return OwnChance(self.world.rank)
        return WholeChance(rows, self.plan) if self.plan is not None else nullcontext()


def _fields(out: Output, *, masks: bool) -> dict[str, Tensor]:
    """Return what losses look at, by name; of splits their mean over tokens, which is all that the terms ask of them."""
    found = {
        "predictions": out.predictions, "logits": out.logits, "private": out.private, "private_logits": out.private_logits,
        "reference": out.reference, "masks": out.masks if masks else None,
        "splits": None if out.splits is None else _pooled(out.splits),
    }  # fmt: skip
    found |= {f"early.{i}": early for i, early in enumerate(out.early)}
    found |= {f"early_logits.{i}": early for i, early in enumerate(out.early_logits)}
    return {name: field for name, field in found.items() if field is not None}


def _pooled(splits: Tensor) -> Tensor:
    return splits.to(torch.promote_types(splits.dtype, torch.float32)).mean(2, keepdim=True)


def _output(whole: Mapping[str, Tensor]) -> Output:
    single = {name: field for name, field in whole.items() if "." not in name}
    several = {w: tuple(whole[name] for name in whole if name.startswith(f"{w}.")) for w in ("early", "early_logits")}
    return Output(**single, **several)  # type: ignore[arg-type]


# -------------------------------------------------------------------------------------------------------------- exchange
def gathered(world: World, rows: Rows, fields: list[Tensor]) -> list[Tensor]:
    """Return each field (b, …) of this process's rows as that of all rows (B, …); gradients go back to one's own rows."""
    flat = torch.cat([_as_bytes(field.detach()) for field in fields], dim=1)[: rows.own]
    parts = [Rows.of(rows.whole, rank, world.size).own for rank in range(world.size)]
    found = world.rows(flat, max(parts))
    everything = torch.cat([part[:n] for part, n in zip(found, parts, strict=True)])
    widths = [_as_bytes(field.detach()[:1]).shape[1] for field in fields]
    return [
        _take(field, _as_field(piece, field), rows, world.size)
        for field, piece in zip(fields, torch.split(everything, widths, dim=1), strict=True)
    ]


def _as_bytes(x: Tensor) -> Tensor:
    return x.reshape(len(x), -1).contiguous().view(torch.uint8)


def _as_field(piece: Tensor, like: Tensor) -> Tensor:
    return piece.contiguous().view(like.dtype).view(len(piece), *like.shape[1:])


class _Taken(torch.autograd.Function):
    """Forward: the answers of all rows. Backward: the gradient of one's own rows, times the number of processes."""

    @staticmethod
    def forward(ctx: Any, field: Tensor, whole: Tensor, rows: Rows, size: int) -> Tensor:
        ctx.rows, ctx.size, ctx.shape = rows, size, field.shape
        return whole.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        rows: Rows = ctx.rows
        own = gradient.new_zeros(ctx.shape)  # a stand-in row counts nothing
        own[: rows.own] = gradient[rows.start : rows.stop] * ctx.size
        return own, None, None, None


def _take(field: Tensor, whole: Tensor, rows: Rows, size: int) -> Tensor:
    if not field.requires_grad:
        return whole
    taken: Callable[..., Tensor] = functools.partial(_Taken.apply)
    return taken(field, whole, rows, size)


# ------------------------------------------------------------------------------------------------- beside the batches
def start_together(world: World, model: nn.Module, name: str, targets: NDArray[np.floating]) -> None:
    """Wait for the leader, see that all train the same on the same, and give all its weights.

    Raises
    ------
    DataError
        A process has other settings, windows or targets.
    """
    if world.size == 1:
        return
    world.meet()
    world.agree("settings or windows", lambda: name.encode() + targets.tobytes())
    model.load_state_dict(world.same(model.state_dict()))


def digest_of(model: nn.Module) -> bytes:
    """Return the bytes of all weights of a network."""
    return b"".join(value.detach().cpu().numpy().tobytes() for value in model.state_dict().values())


def run_in_turns(world: World, source: BatchSource, said: Callable[[Batch], Output]) -> tuple[Tensor, Tensor | None]:
    """Return predictions (n, T), and logits (n, T, O) where there are any, of all windows; each process runs every R-th batch.

    Whole batches, not rows of them: a network's answer may differ in its last digit with the number of rows beside it, and
    early stopping must see what one process sees.
    """
    parts: list[list[Any]] = []
    with torch.inference_mode():
        for turn, start in enumerate(range(0, len(source), EVALUATION_BATCH)):
            if turn % world.size == world.rank:
                out = said(source.batch(torch.arange(start, min(start + EVALUATION_BATCH, len(source)))))
                logits = None if out.logits is None else out.logits.float().cpu()
                parts.append([out.predictions.float().cpu(), logits])
    everybody = world.each(parts)
    count = sum(map(len, everybody))
    ordered = [everybody[turn % world.size][turn // world.size] for turn in range(count)]
    predictions = torch.cat([part[0] for part in ordered])
    return predictions, None if ordered[0][1] is None else torch.cat([part[1] for part in ordered])
