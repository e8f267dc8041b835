"""The split report: what each split does, and the known ways in which a split network fails, as plain sentences.

Attention and masks alone explain nothing; the removal test does: take a split away and see whose error grows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn

from biosig_mtl.training.independence import MIN_BATCH, pooled, projection, uhsic
from biosig_mtl.training.prediction import moved, source_for
from biosig_mtl.training.scaling import Scaler
from biosig_mtl.training.scoring import subject_mae
from biosig_mtl.types import F64, I64, Batch, Output, WindowTable

CLOSED_MASK = 0.02
CONSTANT_SPLIT = 1e-3  # standard deviation over windows; tokens are layer-normed, so a live split has about 0.1
COPY = 0.9
TAKEOVER = 0.002  # share by which the error must grow when a split is taken away, to say that the split is used
SHRUNK = 0.5
REPORT_ROWS = 1024  # uHSIC needs the square of this


class SplittingNetwork(Protocol):
    """A network whose splits can be taken away one by one."""

    def embed(self, batch: Batch) -> Tensor:
        """Return the embedding."""

    def split(self, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """Return masks and splits."""

    def answer(self, masks: Tensor, splits: Tensor, batch: Batch) -> Output:
        """Return predictions of given splits."""


@dataclass(frozen=True)
class _Seen:
    """What the report measures, gathered over batches; arrays have the split axis first."""

    mask_mean: F64
    mask_std: F64
    pooled: Tensor
    gates: F64 | None
    errors: F64
    removed: F64


def split_report(
    model: nn.Module, table: WindowTable, rows: I64, scaler: Scaler, history: Sequence[Mapping[str, float]] = ()
) -> dict[str, Any]:
    """Report on the splits of a trained network, on rows that it did not learn from.

    Returns
    -------
    dict
        ``splits`` (names, the shared one first), ``mask_mean``, ``mask_std`` and ``split_std`` of each, ``uhsic`` between
        them (K × K), ``mae`` of each target in its unit (in classes, of the expected class number, where its head has
        classes), ``removal`` (K × T: by how much the error of a target grows, as a
        share, when a split is replaced by zeros), ``gates`` (mean share of the shared split, None without gates) and
        ``warnings`` (sentences). A network that does not split gives only an empty list of splits and of warnings.
        ``history`` of the fit adds the failures that can only be seen over time.
    """
    names = ("shared", *table.target_names)
    told = history_warnings(history)
    if not hasattr(model, "split") or len(rows) == 0:
        return {"splits": [], "warnings": told}
    # Evenly spaced, so that all subjects are met and the report is the same each time.
    some = np.sort(rows)[np.linspace(0, len(rows) - 1, min(len(rows), REPORT_ROWS)).astype(int)]
    seen = _look(model, table, some, scaler)
    v = pooled_of(seen.pooled)
    dependence = uhsic(v).numpy() if v.shape[1] >= MIN_BATCH else None
    subject = table.subject[some]
    mae = subject_mae(seen.errors, subject)
    removal = np.stack([subject_mae(part, subject) / np.maximum(mae, 1e-12) - 1.0 for part in seen.removed])
    spread = seen.pooled.std(1, correction=0).mean(-1).numpy()
    told += _mask_warnings(names, seen.mask_mean, spread)
    told += _removal_warnings(names, removal)
    if dependence is not None:
        told += _copy_warnings(names, dependence)
    return {
        "splits": list(names),
        "mask_mean": _rounded(seen.mask_mean),
        "mask_std": _rounded(seen.mask_std),
        "split_std": _rounded(spread),
        "uhsic": None if dependence is None else _rounded(dependence),
        "mae": _rounded(mae * scaler.target_scale),
        "removal": _rounded(removal),
        "gates": None if seen.gates is None else _rounded(seen.gates),
        "warnings": told,
    }


def pooled_of(means: Tensor) -> Tensor:
    """Return standardised splits (K, n, d) of their token means (K, n, D)."""
    return pooled(means.transpose(0, 1).unsqueeze(2), projection(means.shape[-1]))


def _look(model: nn.Module, table: WindowTable, rows: I64, scaler: Scaler) -> _Seen:
    model.eval()
    net = cast("SplittingNetwork", model)
    source = source_for([model], table, rows, scaler)
    masks_, pooled_, gates_, errors_, removed_ = [], [], [], [], []
    with torch.inference_mode():
        for given in source.in_order(256):
            batch = moved(given, model)
            masks, splits = net.split(net.embed(batch))
            out = net.answer(masks, splits, batch)
            masks_.append(masks.mean((2, 3)).cpu())
            pooled_.append(splits.mean(2).transpose(0, 1).cpu())
            errors_.append((out.predictions - batch.targets).cpu())
            removed_.append(torch.stack([_without(net, masks, splits, batch, k) for k in range(splits.shape[1])]).cpu())
            if out.gates is not None:
                gates_.append(out.gates.cpu())
    share = torch.cat(masks_)
    return _Seen(
        mask_mean=share.mean(0).double().numpy(),
        mask_std=share.std(0, correction=0).double().numpy(),
        pooled=torch.cat(pooled_, dim=1).float(),
        gates=torch.cat(gates_).mean(0).double().numpy() if gates_ else None,
        errors=torch.cat(errors_).double().numpy(),
        removed=torch.cat(removed_, dim=1).double().numpy(),
    )


def _without(net: SplittingNetwork, masks: Tensor, splits: Tensor, batch: Batch, k: int) -> Tensor:
    """Return the errors (B, T) with split ``k`` replaced by zeros."""
    keep = torch.ones(splits.shape[1], 1, 1, device=splits.device, dtype=splits.dtype)
    keep[k] = 0.0
    return net.answer(masks, splits * keep, batch).predictions - batch.targets


def _mask_warnings(names: Sequence[str], mask_mean: F64, spread: np.ndarray[Any, Any]) -> list[str]:
    told = []
    for name, mask, std in zip(names, mask_mean, spread, strict=True):
        if mask < CLOSED_MASK:
            told.append(f"the '{name}' split has collapsed: its mask lets {mask:.1%} through; lower training.mi_weight")
        elif std < CONSTANT_SPLIT:
            told.append(f"the '{name}' split is constant over windows (standard deviation {std:.1g}): it carries nothing")
    return told


def _removal_warnings(names: Sequence[str], removal: F64) -> list[str]:
    told = []
    for t, name in enumerate(names[1:]):
        own, shared = removal[t + 1, t], removal[0, t]
        if own < TAKEOVER <= shared:
            told.append(
                f"the shared split has taken over '{name}': without the '{name}' split the error changes by {own:+.1%}, "
                f"without the shared one by {shared:+.1%}; try training.private_head_weight"
            )
        elif own < TAKEOVER and shared < TAKEOVER:
            told.append(f"no split is needed for '{name}': its estimate comes from the linear skip or is constant")
    return told


def _copy_warnings(names: Sequence[str], dependence: np.ndarray[Any, Any]) -> list[str]:
    return [
        f"the splits '{names[i]}' and '{names[j]}' are near copies (uHSIC {dependence[i, j]:.2f}): raise training.mi_weight"
        for i in range(len(names))
        for j in range(i + 1, len(names))
        if dependence[i, j] > COPY
    ]


def history_warnings(history: Sequence[Mapping[str, float]]) -> list[str]:
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


def _rounded(values: np.ndarray[Any, Any]) -> Any:
    """Return nested lists; what is not a number is None."""
    if values.ndim > 1:
        return [_rounded(row) for row in values]
    return [round(float(x), 5) if math.isfinite(x) else None for x in values]
