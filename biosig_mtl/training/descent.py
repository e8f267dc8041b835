"""The gradient of a step where a plain sum of losses is not enough: rules between targets, flat minima, or both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from biosig_mtl.training.aggregation import Aggregation
from biosig_mtl.training.cosines import cosines
from biosig_mtl.training.flatness import ascent, moved_weights
from biosig_mtl.training.gradients import flattened, pieces_of, shared_columns, task_gradients
from biosig_mtl.types import F64

# The losses (T,) of the batch with other weights, by name.
LossesAt = Callable[[Mapping[str, Tensor]], Tensor]
# The mean over the processes that share a batch, in place.
Mean = Callable[[Tensor], Tensor]


class Descent:
    """Writes the ``grad`` of every weight: shared ones as the rule says, the others plainly.

    A weight, in fact each number in it, is shared in a batch where more than one target's loss moves it (`shared_columns`).
    What belongs to no target (the mutual-information term, private heads, early answers, extra terms, penalties) is never
    shown to the rule: its plain gradient is added. So are the losses, 0, of targets that the batch has no value of: their heads
    get the gradient zero, as they do from a plain sum.

    Parameters
    ----------
    model
        The network; its weights move where ``radius`` is not 0.
    others
        Further parameters that are trained: learnt weights of losses, severities of raters.
    word
        A rule of `AGGREGATORS`, anything else is the plain sum.
    radius
        ρ of `biosig_mtl.training.flatness`; 0 = off.
    mean
        Where several processes share a batch: the mean of their gradients. Rules are not linear, so each sees gradients of the
        whole batch, and the same answer is found everywhere.
    """

    def __init__(
        self, model: nn.Module, others: Sequence[nn.Parameter], word: str, radius: float, mean: Mean = lambda x: x
    ) -> None:
        self.named = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.inputs = [*self.named.values(), *others]
        self.columns = sum(p.numel() for p in self.named.values())
        self.radius, self.mean = radius, mean
        self.rule = Aggregation(word)
        self.flat_rule = Aggregation(word)  # one of its own: a rule may remember what it was shown

    @property
    def skipped(self) -> int:
        """How often the rule said nothing finite and the plain sum was taken."""
        return self.rule.skipped + self.flat_rule.skipped

    def __call__(self, losses: Tensor, present: Tensor, rest: Tensor | None, losses_at: LossesAt) -> F64:
        """Set the gradients and return cosines (T, T) between the targets of this batch.

        ``losses`` (T,) are weighted and finite; ``present`` (T,) says which the batch has values of; ``rest`` () is everything
        else that is minimised.
        """
        tasks = [t for t, here in enumerate(present.tolist()) if here]
        rows, reached = task_gradients([losses[t] for t in tasks], self.inputs)
        rows = self.mean(rows)
        other = pieces_of(self._other(losses, present, rest), self.inputs, keep=False)
        shared = shared_columns(rows)
        direction = rows.sum(0)
        direction[shared] = self.rule(rows[:, shared])
        if self.radius:
            self._flatten(direction, rows, shared, [_one(losses_at, t) for t in tasks])
        direction = direction + self.mean(flattened(other, self.inputs))
        moves = [by_task or by_other is not None for by_task, by_other in zip(reached, other, strict=True)]
        moved = self.mean(direction.new_tensor(moves)).tolist()
        pieces = torch.split(direction, [p.numel() for p in self.inputs])
        for p, piece, here in zip(self.inputs, pieces, moved, strict=True):
            p.grad = piece.view_as(p).clone() if here else None
        return cosines(rows[:, : self.columns], tasks, len(losses))

    @staticmethod
    def _other(losses: Tensor, present: Tensor, rest: Tensor | None) -> Tensor:
        absent = losses[~present].sum() if not bool(present.all()) else losses.new_zeros(())
        return absent if rest is None else absent + rest

    def _flatten(self, direction: Tensor, rows: Tensor, shared: Tensor, losses: Sequence[LossesAt]) -> None:
        """Add to the direction (P,), in place, what makes the place flatter."""
        here, both = rows[:, : self.columns], shared[: self.columns]
        flat = torch.zeros_like(here)
        for row, into, loss_at in zip(here, flat, losses, strict=True):
            weights = moved_weights(self.named, ascent(row, both, self.radius))
            found = pieces_of(loss_at(weights), list(weights.values()), keep=False)
            into.copy_(self.mean(flattened(found, list(weights.values()))) - row)
        added = flat.sum(0)
        added[both] = self.flat_rule(flat[:, both])
        direction[: self.columns] += added

    def state_dict(self) -> dict[str, Any]:
        """Return what the rules remember."""
        return {"rule": self.rule.state_dict(), "flat_rule": self.flat_rule.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where `state_dict` was made."""
        self.rule.load_state_dict(state["rule"])
        self.flat_rule.load_state_dict(state["flat_rule"])


def _one(losses_at: LossesAt, task: int) -> LossesAt:
    return lambda weights: losses_at(weights)[task]
