"""What follows the last epoch: the kernel beside a network, and sentences about what went wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from biosig_mtl.training.batches import BatchSource
from biosig_mtl.training.kernel import choose_share, fit_kernel
from biosig_mtl.training.prediction import EVALUATION_BATCH, device_of, moved
from biosig_mtl.types import F32


@dataclass(frozen=True)
class Side:
    """The windows of one part: their batches, scaled targets (n, T) and subjects (n,)."""

    source: BatchSource
    targets: F32
    subject: NDArray[np.str_]


def set_beside(model: nn.Module, train: Side, validation: Side, seed: int) -> None:
    """Fit the kernel beside a network, if it has one, and its share of the prediction; in place."""
    kernel = getattr(model, "beside", None)
    if kernel is None or len(validation.source) == 0:
        return
    values = train.source.linear_inputs()[0][:, : kernel.landmarks.shape[1]]
    truth = train.targets.astype(np.float64)
    device = device_of(model)
    with torch.no_grad():
        kernel.cpu()
        fit_kernel(kernel, values, truth, train.subject, train.source.weight.double().numpy(), seed)
        kernel.to(device)
        batches = (moved(b, model) for b in validation.source.in_order(EVALUATION_BATCH))
        parts = [(model(b).predictions, kernel(b)) for b in batches]
        network, beside = (torch.cat(side).double().cpu().numpy() for side in zip(*parts, strict=True))
        shares = choose_share(network, beside, validation.targets.astype(np.float64), validation.subject)
        kernel.share.copy_(torch.from_numpy(shares))


def remarks_on_epochs(best: int, epochs: int, *, validated: bool) -> Iterator[str]:
    """Yield what the number of the best epoch tells."""
    if not validated:
        yield "no validation windows: the last epoch was kept, and no kernel stands beside the network"
    elif best == epochs - 1 > 0:
        yield f"the last epoch ({best}) was the best: train longer"
