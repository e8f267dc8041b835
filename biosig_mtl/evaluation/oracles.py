"""Predictors that know what nobody may know: marks on the wall, never rivals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from biosig_mtl.types import F64, Predictions

SUBJECT_MEAN = "subject_mean_oracle"
ORACLES = frozenset({SUBJECT_MEAN})


def subject_mean(given: Predictions) -> Predictions:
    """Return the mean reference of each tested subject for all of its windows: who knows the person, but not the moment.

    Of classes it is the person's commonest class (the lower of two equally common), with the shares of the person's windows as
    probabilities. It reads the test labels, so it is printed as an oracle and never counts as the best baseline.
    """
    names, code = np.unique(given.subject, return_inverse=True)
    pred = np.full(given.y_true.shape, np.nan)
    shares: dict[str, F64] = {}
    for j, (name, head) in enumerate(zip(given.target_names, given.head, strict=True)):
        true = given.y_true[:, j].astype(float)
        known = np.isfinite(true)
        count = np.bincount(code[known], minlength=names.size)
        count = np.where(count > 0, count, np.nan)
        if not head.classes:
            pred[:, j] = (np.bincount(code[known], true[known], minlength=names.size) / count)[code]
            continue
        cell = code[known] * head.classes + true[known].astype(np.int64)
        table = np.bincount(cell, minlength=names.size * head.classes).reshape(names.size, head.classes)
        # A subject without a reference is not graded; it needs some answer all the same.
        shares[name] = np.where(np.isfinite(count)[:, None], table / count[:, None], 1 / head.classes)[code]
        pred[:, j] = shares[name].argmax(axis=1)
    everyone = np.nanmean(pred, axis=0, keepdims=True) if np.isfinite(pred).any(axis=0).all() else pred
    return replace(given, y_pred=np.where(np.isfinite(pred), pred, everyone), probabilities=shares)
