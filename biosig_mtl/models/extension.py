"""Further tasks for a trained Split 'n' Merge, without touching what it knows.

The protocol is the universal feature learning of Medusa (Spencer et al., CVPR workshops 2022): train on some tasks, freeze the
backbone, give an unseen task parts of its own. What becomes of it here is ours. The old network stays whole inside a new one; a
task that comes later has a split, a merge, a head, a private head, a linear skip and a kernel ridge of its own beside it. It
reads the old network's tokens H and its shared split z_0, and nothing reads what it makes:

    M_new = σ(MHA_new(H, H, H) W_new / τ);   z_new = M_new ⊙ H;   e_new = merge_new(z_new, z_0);   ŷ_new = head_new(e_new)

One stacked matrix product over more tasks may round in another way, so the new parts are no further slices of the old stacks:
old answers are the old network's own, bit for bit. Where splits compete for features (``mask_normaliser: softmax``) a new one
would take from the old, so the mask of a later task is a sigmoid.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import cast

import torch
from torch import Tensor, nn

from biosig_mtl.models.answers import Answers, Heads
from biosig_mtl.models.classes import outputs_of
from biosig_mtl.models.kernel import KernelRidge
from biosig_mtl.models.merging import PoolTokens, make_merge, merged_width
from biosig_mtl.models.network import kernel_beside
from biosig_mtl.models.split_merge import SplitMerge, SplitMergeSettings, tokens_in_a_window
from biosig_mtl.models.splitting import make_splitter
from biosig_mtl.types import Batch, Head, InputSpec, Output


@dataclass(frozen=True)
class ExtendedSettings(SplitMergeSettings):
    """Settings of an extended network: those of the old one; the last ``added`` targets came later."""

    added: int = 0

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        super().__post_init__()
        if self.added < 0:
            raise ValueError(f"need added >= 0, got {self.added}")

    def base(self) -> SplitMergeSettings:
        """Return the settings of the old network."""
        return SplitMergeSettings(**{f.name: getattr(self, f.name) for f in fields(SplitMergeSettings)})


class AddedTask(nn.Module):
    """The parts of one later task; ``spec`` has one target, ``tokens`` is N of a window. Its answers have shape (B, 1)."""

    def __init__(self, settings: SplitMergeSettings, spec: InputSpec, tokens: int, unseen: frozenset[int]) -> None:
        super().__init__()
        s, outputs, form = settings, outputs_of(spec.head), settings.merge_form()
        choice = s.split_choice()
        if choice.normaliser == "softmax":
            choice = replace(choice, normaliser="sigmoid")
        self.splitter = make_splitter(1, tokens, s.width, choice)
        self.merger = make_merge(s.merge, 1, s.width, s.heads, s.dropout, form)
        self.heads = Heads(1, merged_width(s.merge, s.width, form), s.width, s.dropout, outputs)
        alone = s.private_head and not s.paper_mode
        self.private = Heads(1, s.width, s.width, s.dropout, outputs) if alone else None
        skip = s.linear_skip and not s.paper_mode
        self.answers = Answers(spec, linear_skip=skip, min_pulse_pressure=None, unseen=unseen)
        # The kernel knows no classes; the old network may well have one.
        wanted = s.kernel_landmarks if outputs == 1 and not s.paper_mode else 0
        self.beside: KernelRidge | None = kernel_beside(wanted, spec)

    def split(self, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mask and the split of the task, both (B, 1, N, D)."""
        mask, split = self.splitter(embedding)
        return mask, split

    def answer(self, shared: Tensor | None, own: Tensor, batch: Batch, pool: PoolTokens) -> Output:
        """Answer from the shared split, where there is one, and the task's own, both (B, 1, N, D)."""
        splits = own if shared is None else torch.cat([shared, own], dim=1)
        augmented, gates = self.merger(splits, pool)
        predictions, logits = self.answers(self.heads(augmented), batch)
        if self.beside is not None and not self.training:
            predictions = self.beside.blend(predictions, batch)
        made = Output(predictions, gates=gates, logits=logits)
        if self.private is None:
            return made
        alone = self.answers.plain(self.private(pool(own, 0)), batch)
        return replace(made, private=alone.predictions, private_logits=alone.logits)


class AllAnswers:
    """The answers of an extended network as training asks for them, were all of it trained at once: without a ridge start."""

    skip: nn.Linear | None = None

    def __init__(self, parts: Sequence[Answers]) -> None:
        self.parts = tuple(parts)
        self.seen = list(parts[0].seen)
        self.outputs = max(part.outputs for part in parts)

    def set_target_scale(self, mean: Tensor, scale: Tensor) -> None:
        """Tell each part how scaled units relate to the unit of its targets; both (T,)."""
        first = 0
        for part in self.parts:
            last = first + len(part.targets)
            part.set_target_scale(mean[first:last], scale[first:last])
            first = last

    def set_linear_skip(self, slopes: Tensor, offsets: Tensor) -> None:
        """Do nothing: the skips of the parts start where they are."""

    def said_for(self, targets: Tensor) -> Tensor:
        """Return the targets themselves: there is no skip to start."""
        return targets


class Extended(nn.Module):
    """An old network and the tasks that were added to it; targets are the old ones, then the added ones in order.

    ``embed``, ``split`` and ``answer`` are those of `SplitMerge`, with the splits of added tasks last.
    """

    def __init__(self, settings: ExtendedSettings, spec: InputSpec) -> None:
        super().__init__()
        kept = len(spec.targets) - settings.added
        if kept < 1:
            raise ValueError(f"need more targets than were added, got {len(spec.targets)} and added {settings.added}")
        self.settings, self.spec = settings, spec
        self.paper_mode = settings.paper_mode
        base = settings.base()
        self.old = SplitMerge(base, part_of(spec, 0, kept))
        tokens, unseen = tokens_in_a_window(self.old.tokens, spec), self.old.tokens.by_electrode
        self.added = nn.ModuleList(
            AddedTask(base, part_of(spec, i, i + 1), tokens, unseen) for i in range(kept, len(spec.targets))
        )

    @property
    def tasks(self) -> tuple[AddedTask, ...]:
        """The added tasks in order."""
        return tuple(cast("AddedTask", part) for part in self.added)

    @property
    def answers(self) -> Answers | AllAnswers:
        """What turns the heads' answers into predictions."""
        return AllAnswers([self.old.answers, *(task.answers for task in self.tasks)]) if self.added else self.old.answers

    @property
    def beside(self) -> KernelRidge | None:
        """The kernel ridge that training may set: that of a network without added tasks. Each added task has its own."""
        return None if self.added else self.old.beside

    @property
    def uses_waveform(self) -> bool:
        """Whether batches need their waveform."""
        return self.old.uses_waveform

    @property
    def uses_tracks(self) -> tuple[str, ...]:
        """Tracks that batches need."""
        return self.old.uses_tracks

    @property
    def shown(self) -> dict[str, tuple[str, ...]]:
        """What the columns of the weights in an `Output` belong to, by name."""
        return self.old.shown

    def before(self) -> Iterator[nn.Module]:
        """Yield all but the last added task: what has been learned before it."""
        yield self.old
        yield from self.tasks[:-1]

    def pool(self, batch: Batch) -> PoolTokens:
        """Return the average over tokens that the old network takes."""

        def pool(x: Tensor, axis: int) -> Tensor:
            return self.old.tokens.pool(x, self.old.settings.pool, batch, axis)

        return pool

    def shared(self, splits: Tensor) -> Tensor | None:
        """Return the shared split (B, 1, N, D) of splits (B, K, N, D), None where the old network has none."""
        return splits[:, :1] if self.settings.shared_split else None

    def embed(self, batch: Batch) -> Tensor:
        """Return the embedding H (B, N, D)."""
        return self.old.embed(batch)

    def split(self, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """Return masks and splits, both (B, K + added, N, D)."""
        parts = [self.old.split(embedding), *(task.split(embedding) for task in self.tasks)]
        return torch.cat([mask for mask, _ in parts], dim=1), torch.cat([split for _, split in parts], dim=1)

    def answer(self, masks: Tensor, splits: Tensor, batch: Batch) -> Output:
        """Answer all targets from masks and splits as `split` gives them."""
        kept = splits.shape[1] - len(self.added)
        said = self.old.answer(masks[:, :kept], splits[:, :kept], self._for(batch, 0, len(self.old.spec.targets)))
        owns = [splits[:, kept + i : kept + i + 1] for i in range(len(self.added))]
        return replace(self._joined(said, self._later(self.shared(splits), owns, batch), batch), masks=masks, splits=splits)

    def forward(self, batch: Batch) -> Output:
        """Return predictions (B, T) in scaled units; the old ones are those of the old network, bit for bit."""
        embedded = self.old.tokens.look(batch)
        masks, splits = self.old.split(embedded.tokens)
        # The old network answers from its very own tensors: a slice of a longer row may be summed in another order.
        said = self.old.answer(masks, splits, self._for(batch, 0, len(self.old.spec.targets)))
        later = [task.split(embedded.tokens) for task in self.tasks]
        made = self._joined(said, self._later(self.shared(splits), [split for _, split in later], batch), batch)
        return replace(
            made,
            masks=torch.cat([masks, *(mask for mask, _ in later)], dim=1),
            splits=torch.cat([splits, *(split for _, split in later)], dim=1),
            weights=embedded.weights,
        )

    def _later(self, shared: Tensor | None, owns: Sequence[Tensor], batch: Batch) -> list[Output]:
        kept, pool = len(self.old.spec.targets), self.pool(batch)
        return [
            task.answer(shared, own, self._for(batch, kept + i, kept + i + 1), pool)
            for i, (task, own) in enumerate(zip(self.tasks, owns, strict=True))
        ]

    def _for(self, batch: Batch, first: int, last: int) -> Batch:
        """Return the batch as the part that answers targets ``first`` to ``last`` needs it."""
        return batch if batch.offset is None else replace(batch, offset=batch.offset[:, first:last])

    def _joined(self, said: Output, later: Sequence[Output], batch: Batch) -> Output:
        """Put the answers of all parts side by side."""
        if not later:
            return said
        parts = [said, *later]
        heads = [self.old.spec.head, *((head,) for head in self.spec.head[len(self.old.spec.targets) :])]
        private = [part.private for part in parts if part.private is not None]
        gates = [part.gates for part in parts if part.gates is not None]
        return replace(
            said,
            predictions=torch.cat([part.predictions for part in parts], dim=1),
            logits=_side_by_side([part.logits for part in parts], heads, len(batch.values)),
            private=torch.cat(private, dim=1) if private else None,
            private_logits=_side_by_side([part.private_logits for part in parts], heads, len(batch.values)),
            gates=torch.cat(gates, dim=1) if gates else None,
        )


class LastTask(nn.Module):
    """The last task of an extended network as a network of one target: what training sees of it.

    Masks and splits are those of all tasks, so that the mutual-information term keeps the new split apart from the old ones.
    Where no weight of the old parts may change they stay in evaluation mode, as they will be used: no dropout, no gradient.
    """

    def __init__(self, whole: Extended) -> None:
        super().__init__()
        if not whole.added:
            raise ValueError("need a network with an added task, got one without")
        self.whole = whole
        self.settings, self.paper_mode = whole.settings, whole.paper_mode
        self.spec = part_of(whole.spec, len(whole.spec.targets) - 1, len(whole.spec.targets))

    @property
    def last(self) -> AddedTask:
        """The parts of the last task."""
        return self.whole.tasks[-1]

    @property
    def answers(self) -> Answers:
        """What turns the head's answers into predictions."""
        return self.last.answers

    @property
    def beside(self) -> KernelRidge | None:
        """The kernel ridge of the last task."""
        return self.last.beside

    @property
    def uses_waveform(self) -> bool:
        """Whether batches need their waveform."""
        return self.whole.uses_waveform

    @property
    def uses_tracks(self) -> tuple[str, ...]:
        """Tracks that batches need."""
        return self.whole.uses_tracks

    @property
    def shown(self) -> dict[str, tuple[str, ...]]:
        """What the columns of the weights in an `Output` belong to, by name."""
        return self.whole.shown

    @property
    def frozen(self) -> bool:
        """Whether no weight of the old parts may change."""
        return not any(p.requires_grad for part in self.whole.before() for p in part.parameters())

    def train(self, mode: bool = True) -> LastTask:  # noqa: FBT001, FBT002 (as torch has it)
        """Set the mode; frozen parts stay in evaluation mode."""
        super().train(mode)
        if self.frozen:
            for part in self.whole.before():
                part.eval()
        return self

    def forward(self, batch: Batch) -> Output:
        """Return predictions (B, 1) of the last task, in scaled units."""
        frozen = self.frozen
        with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
            embedded = self.whole.old.tokens.look(batch)
            parts = [self.whole.old.split(embedded.tokens)]
            parts += [task.split(embedded.tokens) for task in self.whole.tasks[:-1]]
        parts.append(self.last.split(embedded.tokens))
        shared, own = self.whole.shared(parts[0][1]), parts[-1][1]
        return replace(
            self.last.answer(shared, own, batch, self.whole.pool(batch)),
            masks=torch.cat([mask for mask, _ in parts], dim=1),
            splits=torch.cat([split for _, split in parts], dim=1),
            weights=embedded.weights,
        )


def extended(model: nn.Module, target: str, head: Head | None = None) -> Extended:
    """Return a trained network with one more task; all that was there is copied bit for bit, and ``model`` is left alone.

    The chance of the new parts comes from torch's global generator.

    Raises
    ------
    ValueError
        ``model`` is no Split 'n' Merge, or answers the target already.
    """
    if not isinstance(model, SplitMerge | Extended):
        raise ValueError(f"need a Split 'n' Merge to add a task to, got {type(model).__name__}")
    if target in model.spec.targets:
        raise ValueError(f"need a target that is not answered yet, got {target}")
    old = model if isinstance(model, SplitMerge) else model.old
    before = () if isinstance(model, SplitMerge) else model.tasks
    told = {f.name: getattr(model.settings, f.name) for f in fields(SplitMergeSettings)}
    heads = (*model.spec.head, head or Head()) if model.spec.heads or head is not None else ()
    spec = replace(model.spec, targets=(*model.spec.targets, target), heads=heads)
    made = Extended(ExtendedSettings(**told, added=len(before) + 1), spec).to(next(model.parameters()).device)
    made.old.load_state_dict(old.state_dict())
    for copy, part in zip(made.tasks[: len(before)], before, strict=True):
        copy.load_state_dict(part.state_dict())
    return made


@contextmanager
def frozen(model: Extended) -> Iterator[None]:
    """Hold the weights of all but the last added task; inside, no gradient reaches them and no optimiser sees them.

    What was free before is free again afterwards, and not for order's sake only: torch chooses between two matrix products by
    whether a weight asks for a gradient, and their last bits differ.
    """
    held = [p for part in model.before() for p in part.parameters() if p.requires_grad]
    for p in held:
        p.requires_grad = False
    try:
        yield
    finally:
        for p in held:
            p.requires_grad = True


def part_of(spec: InputSpec, first: int, last: int) -> InputSpec:
    """Return the same inputs with the targets ``first`` to ``last`` only."""
    return replace(spec, targets=spec.targets[first:last], heads=spec.heads[first:last])


def _side_by_side(parts: Sequence[Tensor | None], heads: Sequence[tuple[Head, ...]], windows: int) -> Tensor | None:
    """Join logits (B, T_i, O_i) of parts with their own numbers of classes; a part without any regresses only."""
    told = [part for part in parts if part is not None]
    if not told:
        return None
    wide = max(part.shape[2] for part in told)
    rows = []
    for part, own in zip(parts, heads, strict=True):
        row = told[0].new_zeros(windows, len(own), wide)
        if part is not None:
            row[:, :, : part.shape[2]] = part
            classed = torch.tensor([head.classes > 0 for head in own], device=row.device)
            row[:, classed, part.shape[2] :] = float("-inf")
        rows.append(row)
    return torch.cat(rows, dim=1)
