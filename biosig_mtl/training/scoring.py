"""The score that early stopping reads: the mean over validation subjects, so that nobody steers by having many windows."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from biosig_mtl.training.losses import Objective, class_terms
from biosig_mtl.types import F64


def subject_mae(errors: NDArray[np.floating], subject: NDArray[np.str_]) -> F64:
    """Return the mean over subjects of each subject's mean absolute error, (T,), from errors (n, T) with NaN where unknown."""
    _, code = np.unique(subject, return_inverse=True)
    known = np.isfinite(errors)
    size = np.where(known, np.abs(errors), 0.0)
    scores = np.full(errors.shape[1], np.nan)
    for t in range(errors.shape[1]):
        counts = np.bincount(code, known[:, t])
        sums = np.bincount(code, size[:, t])
        if counts.any():
            scores[t] = (sums[counts > 0] / counts[counts > 0]).mean()
    return scores


def validation_scores(
    objective: Objective, predictions: Tensor, logits: Tensor | None, targets: NDArray[np.floating], subject: NDArray[np.str_]
) -> F64:
    """Return a score for each target (T,), lower is better, NaN where a target is unknown everywhere.

    Regression: the absolute error in scaled units, a mean over subjects of each one's mean. Classes: the cross-entropy of the
    true class in units of log C, where 1 is knowing nothing, also a mean over subjects; windows weigh as in the loss, so that a
    balanced head is stopped by what it is trained for. It is a proper score, finite for a subject with one class only, where
    balanced accuracy is neither. Both kinds are near 1 for a guess, so that their mean over targets is fair enough.
    """
    scores = subject_mae(predictions.numpy() - targets, subject)
    _, code = np.unique(subject, return_inverse=True)
    for t, head in enumerate(objective.heads):
        if not head.classes or logits is None:
            continue
        numbers = torch.from_numpy(targets[:, t])
        terms = class_terms(logits[:, t, : head.classes].double(), numbers).numpy() / math.log(head.classes)
        weight = objective.window_weight(t, numbers, torch.ones(len(numbers))).double().numpy()
        totals = np.bincount(code, weight)
        sums = np.bincount(code, terms * weight)
        scores[t] = (sums[totals > 0] / totals[totals > 0]).mean() if (totals > 0).any() else np.nan
    return scores
