"""The part of the split report that needs the network: masks, dependence, removal, gates, maps, warnings.

Attention and masks alone explain nothing; the removal test does: take a split away and see whose error grows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from biosig_mtl.training.diagnostics import sentences
from biosig_mtl.training.diagnostics.maps import maps_of, sensitivity
from biosig_mtl.training.diagnostics.seen import Seen, look
from biosig_mtl.training.independence import MIN_BATCH, pooled, projection, uhsic
from biosig_mtl.training.scaling import Scaler
from biosig_mtl.training.scoring import subject_mae
from biosig_mtl.types import F64, I64, WindowTable


@dataclass(frozen=True)
class Subjects:
    """A network to be looked at: windows that it did not learn from, the scaler of those that it did, the course of its fit."""

    table: WindowTable
    rows: I64
    scaler: Scaler
    history: Sequence[Mapping[str, Any]] = ()


def split_report(
    model: nn.Module, table: WindowTable, rows: I64, scaler: Scaler, history: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """Report on the splits of a trained network, on rows that it did not learn from.

    Returns
    -------
    dict
        ``splits`` (names, the shared one first where there is one), ``mask_mean``, ``mask_std``, ``mask_spread`` and
        ``split_std`` of each, ``uhsic`` between them (K × K), ``mae`` of each target in its unit (in classes, of the expected
        class number, where its head has classes), ``removal`` (K × T: by how much the error of a target grows, as a share,
        when a split is replaced by zeros), ``removal_shuffled`` (by that of another window, mostly another person's),
        ``gates`` (mean share of the shared split, None without gates), ``fresh`` (correlation of each mask with those of
        splitters that never learned, mean over draws), ``maps`` (see `maps_of`; with ``sensitivity`` in ``beat``) and
        ``warnings`` (sentences). A network that does not split gives only an empty list of splits and of warnings.
        ``history`` of the fit adds the failures that can only be seen over time.
    """
    _, told = look_and_report(model, Subjects(table, rows, scaler, history))
    return told


def look_and_report(model: nn.Module, given: Subjects) -> tuple[Seen | None, dict[str, Any]]:
    """Return `split_report` with what it is made of, None for a network that does not split or where there is no window."""
    told = sentences.history_warnings(given.history)
    if not hasattr(model, "split") or len(given.rows) == 0:
        return None, {"splits": [], "warnings": told}
    seen = look(model, given.table, given.rows, given.scaler)
    targets = given.table.target_names
    names = ("shared", *targets) if len(seen.mask_mean) > len(targets) else targets
    v = pooled_of(torch.from_numpy(seen.pooled))
    dependence = uhsic(v).numpy() if v.shape[1] >= MIN_BATCH else None
    mae = subject_mae(seen.errors, seen.subject)
    zeros, shuffled = growth(seen.zeros, mae, seen.subject), growth(seen.shuffled, mae, seen.subject)
    spread = seen.pooled.std(axis=1, dtype=np.float64).mean(axis=-1)
    told += sentences.mask_warnings(names, seen.mask_mean, spread, seen.mask_spread)
    told += sentences.removal_warnings(names, zeros, shuffled)
    told += sentences.copy_warnings(names, dependence) if dependence is not None else []
    told += sentences.unlearned_warnings(names, seen.fresh)
    maps = maps_of(seen, given.table)
    if maps["beat"] is not None:
        maps["beat"]["sensitivity"] = sensitivity(model, given.table, seen.rows, given.scaler)
    return seen, {
        "splits": list(names), "mask_mean": rounded(seen.mask_mean), "mask_std": rounded(seen.mask_std),
        "mask_spread": rounded(seen.mask_spread), "split_std": rounded(spread), "uhsic": rounded(dependence),
        "mae": rounded(mae * given.scaler.target_scale), "removal": rounded(zeros), "removal_shuffled": rounded(shuffled),
        "gates": rounded(None if seen.gates is None else seen.gates.mean(axis=0)),
        "fresh": rounded(seen.fresh.mean(axis=0) if len(seen.fresh) else None), "maps": rounded(maps), "warnings": told,
    }  # fmt: skip


def growth(errors: F64, mae: F64, subject: NDArray[np.str_]) -> F64:
    """Return by how much the errors (K, n, T) are larger than ``mae`` (T,), as a share, (K, T)."""
    return np.stack([subject_mae(part, subject) / np.maximum(mae, 1e-12) - 1.0 for part in errors])


def pooled_of(means: Tensor) -> Tensor:
    """Return standardised splits (K, n, d) of their token means (K, n, D)."""
    return pooled(means.transpose(0, 1).unsqueeze(2), projection(means.shape[-1]))


def rounded(values: Any) -> Any:
    """Return nested lists and mappings with five digits after the point; what is not a number is None."""
    if isinstance(values, Mapping):
        return {key: rounded(value) for key, value in values.items()}
    if isinstance(values, np.ndarray | list | tuple):
        return [rounded(row) for row in values]
    if isinstance(values, float | np.floating):
        return round(float(values), 5) if math.isfinite(values) else None
    return int(values) if isinstance(values, np.integer) else values
