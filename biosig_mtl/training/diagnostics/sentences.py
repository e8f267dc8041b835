"""The known ways in which a split network fails, as plain sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.training.independence import MIN_BATCH
from biosig_mtl.types import F64

CLOSED_MASK = 0.02
CONSTANT_SPLIT = 1e-3  # standard deviation over windows; tokens are layer-normed, so a live split has about 0.1
FLAT_MASK = 0.02  # standard deviation over windows, tokens and features; ours: a mask that is 0.48 to 0.52 selects nothing
COPY = 0.9
TAKEOVER = 0.002  # share by which the error must grow when a split is taken away, to say that the split is used
SHRUNK = 0.5
UNLEARNED = 0.5  # correlation with the masks of a splitter that never learned; ours


def mask_warnings(names: Sequence[str], mask_mean: F64, spread: NDArray[np.floating], flat: F64) -> list[str]:
    """Return what is wrong with masks of mean ``mask_mean``, spread ``flat`` and splits that vary by ``spread``, all (K,)."""
    told = []
    for name, mask, std, over in zip(names, mask_mean, spread, flat, strict=True):
        if mask < CLOSED_MASK:
            told.append(f"the '{name}' split has collapsed: its mask lets {mask:.1%} through; lower training.mi_weight")
        elif std < CONSTANT_SPLIT:
            told.append(f"the '{name}' split is constant over windows (standard deviation {std:.1g}): it carries nothing")
        elif over < FLAT_MASK:
            told.append(
                f"the mask of the '{name}' split is nearly flat ({mask:.2f} ± {over:.3f} everywhere): it selects nothing, "
                "and its map must not be read"
            )
    return told


def removal_warnings(names: Sequence[str], zeros: F64, shuffled: F64) -> list[str]:
    """Return which splits do nothing for their target; growths of the error (K, T) by either operator.

    The last T splits are those of the targets; one before them is shared.

    A split is used where *either* operator makes the error grow: zeros hide a split that the network answers with its mean.
    """
    told = []
    most = np.fmax(zeros, shuffled)
    targets = most.shape[1]
    # Without a shared split there is none that could be missed.
    common = most[0] if len(names) > targets else np.zeros(targets)
    each = np.diag(most[-targets:])
    for name, own, shared in zip(names[-targets:], each, common, strict=True):
        if own < TAKEOVER <= shared:
            told.append(
                f"the shared split has taken over '{name}': without the '{name}' split the error changes by {own:+.1%}, "
                f"without the shared one by {shared:+.1%}; try training.private_head_weight"
            )
        elif own < TAKEOVER and shared < TAKEOVER:
            told.append(f"no split is needed for '{name}': its estimate comes from the linear skip or is constant")
    if len(names) > targets and (common < TAKEOVER).all() and not (each < TAKEOVER).all():
        told.append("the shared split is ignored: no error grows without it, every target lives on its own split")
    return told


def copy_warnings(names: Sequence[str], dependence: NDArray[np.floating]) -> list[str]:
    """Return which splits are near copies, from uHSIC (K, K)."""
    return [
        f"the splits '{names[i]}' and '{names[j]}' are near copies (uHSIC {dependence[i, j]:.2f}): raise training.mi_weight"
        for i in range(len(names))
        for j in range(i + 1, len(names))
        if dependence[i, j] > COPY
    ]


def unlearned_warnings(names: Sequence[str], fresh: F64) -> list[str]:
    """Return which masks look like those of a splitter that never learned; correlations (R, K)."""
    told = []
    for k, name in enumerate(names):
        known = fresh[np.isfinite(fresh[:, k]), k]
        if known.size and float(known.mean()) > UNLEARNED:
            told.append(
                f"the mask of the '{name}' split looks like that of a splitter that never learned (correlation "
                f"{known.mean():.2f}): it comes from the embedding, do not interpret it"
            )
    return told


def history_warnings(history: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what the course of the training tells: skipped batches, shrinking splits, a critic that drifts."""
    told = []
    skipped = sum(int(row.get("mi_skipped", 0)) for row in history)
    if skipped:
        told.append(f"{skipped} batches had fewer than {MIN_BATCH} windows and went without the independence term")
    weighed = [row for row in history if not math.isnan(row.get("mi", math.nan))]
    if len(weighed) >= 2:
        first, last = weighed[0], weighed[-1]
        fell = last["mi"] < first["mi"]
        if fell and last["split_std"] < SHRUNK * first["split_std"]:
            told.append(
                f"the splits have shrunk to {last['split_std'] / first['split_std']:.0%} while the independence term fell: "
                "they may be smaller rather than more distinct"
            )
        if fell and last["critic"] < first["critic"]:
            told.append("the critic's likelihood fell together with its estimate: the estimate cannot be trusted")
    return told
