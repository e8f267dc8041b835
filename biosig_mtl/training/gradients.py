"""Gradients of the losses of several targets, side by side, and which weights they share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Pieces = list[Tensor | None]


def pieces_of(loss: Tensor, inputs: Sequence[Tensor], *, keep: bool) -> Pieces:
    """Return the gradient of a loss () for every input, None where the loss does not reach it; ``keep`` the graph."""
    if not loss.requires_grad:
        return [None] * len(inputs)
    return list(torch.autograd.grad(loss, inputs, retain_graph=keep, allow_unused=True))


def flattened(pieces: Sequence[Tensor | None], inputs: Sequence[Tensor]) -> Tensor:
    """Return one vector (P,) of pieces, 0 where there is none."""
    parts = [p.new_zeros(p.numel()) if g is None else g.reshape(-1) for g, p in zip(pieces, inputs, strict=True)]
    return torch.cat(parts)


def task_gradients(losses: Sequence[Tensor], inputs: Sequence[Tensor]) -> tuple[Tensor, list[bool]]:
    """Return the Jacobian (m, P) of m losses, one backward pass a row, and which inputs any of them reaches.

    The graph is kept. One pass after the other, not all at once with `torch.vmap`: on a processor that is faster for
    convolutions, and layers that draw chance or carry state go through a backward pass as they always do.
    """
    found = [pieces_of(loss, inputs, keep=True) for loss in losses]
    rows = [flattened(pieces, inputs) for pieces in found]
    reached = [any(pieces[k] is not None for pieces in found) for k in range(len(inputs))]
    columns = sum(p.numel() for p in inputs)
    return (torch.stack(rows) if rows else inputs[0].new_zeros(0, columns)), reached


def shared_columns(rows: Tensor) -> Tensor:
    """Return which columns (P,) of a Jacobian (m, P) more than one row moves.

    The finest reading of "shared": several tasks' layers may lie stacked in one tensor, whose slice of another task has the
    gradient zero to the bit. It is read anew from every batch, so that nothing has to be remembered.
    """
    return (rows != 0).sum(0) > 1
