"""Where others may reach into training: the order of windows, further losses, what follows a step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from biosig_mtl.types import Batch, Output

# The positions, within the training rows, of every batch of an epoch; all chance comes from the generator.
Order = Callable[[int, torch.Generator], Iterable[Tensor]]
# A term that is added to the loss: (network, what it said, what it was given, epoch) → (), finite.
Extra = Callable[[nn.Module, Output, Batch, int], Tensor]
AfterStep = Callable[[nn.Module], None]


@dataclass(frozen=True)
class Hooks:
    """Each is called where it is not None.

    ``order`` gives the batches of an epoch, of size as asked; ``extra`` are added to the loss, their weight is their own
    business; ``after_step`` may change weights in place (keep pruned ones at zero, say) before they are averaged.
    """

    order: Order | None = None
    extra: tuple[Extra, ...] = ()
    after_step: AfterStep | None = None


NO_HOOKS = Hooks()
