"""The linear skip of a network starts where a ridge on the training rows ends."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from biosig_mtl.training.batches import BatchSource
from biosig_mtl.training.losses import Objective
from biosig_mtl.training.prediction import as_network, device_of
from biosig_mtl.training.warm_start import Start, heads_start, ridge_start


def start_skip(model: nn.Module, train: BatchSource, objective: Objective, subject: NDArray[np.str_], seed: int) -> None:
    """Set the skip of a network, in place, from its training windows, of which ``subject`` (n,) are the people."""
    answers = as_network(model).answers
    inputs, targets = train.linear_inputs()
    columns = [*answers.seen, *(len(as_network(model).spec.features) + column for column in answers.seen)]
    shown = inputs[:, columns].double().numpy()
    weight = train.weight.double()
    if answers.outputs == 1:
        said = answers.said_for(targets.to(device_of(model))).double().cpu().numpy()
        slopes, offsets = ridge_start(shown, said, subject, weight.numpy(), seed)
    else:
        each = objective.weights(targets, weight).numpy()
        start = Start(shown, targets.double().numpy(), subject, each, seed)
        slopes, offsets = heads_start(start, as_network(model).spec.head, answers.outputs)
    answers.set_linear_skip(torch.from_numpy(slopes), torch.from_numpy(offsets))
