"""What the networks make of windows, up to the part that a person may have of their own.

Everything before that part is the same for everybody. It is worked out once for all windows of a `Shown` and remembered with
the network's `View`, for as long as that lives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from biosig_mtl.training.batches import BatchSource, check_table
from biosig_mtl.training.calibration.known import Person, Shown, View
from biosig_mtl.training.prediction import EVALUATION_BATCH, as_network, source_for
from biosig_mtl.types import F64, Batch, DataError, WindowTable


@dataclass(frozen=True, eq=False)
class Stem:
    """What the unchanging part of a network makes of n windows.

    ``given`` (n, …) goes into the part that may change: the splits, where the network has a merge, else the embedding of each
    task. ``hidden`` (n, T, H) goes into the last layer. ``batch`` holds values, missing flags and tracks for the answers, and
    ``kernel`` (n, T) what a kernel ridge beside the network says, None without one.
    """

    given: Tensor
    hidden: F64
    batch: Batch
    kernel: Tensor | None


_STEMS: WeakKeyDictionary[View, tuple[Any, Stem]] = WeakKeyDictionary()


def views_for(shown: Shown, person: Person) -> tuple[View, ...]:
    """Return the networks that did not learn from a person.

    Raises
    ------
    DataError
        There is none, or there are no windows to show to it.
    """
    if shown.table is None or not shown.views:
        raise DataError("a method that looks into the networks needs the networks and the windows: open the run with its store")
    rows = np.concatenate([person.anchors, person.queries])
    found = tuple(view for view in shown.views if view.unseen[rows].all())
    if not found:
        raise DataError(f"every network has learned from {person.name}: nothing honest can be fitted on this person")
    return found


def hidden_of(view: View, shown: Shown) -> F64:
    """Return the hidden numbers (n, T, H) before the last layer."""
    return stem_of(view, shown).hidden


def stem_of(view: View, shown: Shown) -> Stem:
    """Return the stem of all windows; worked out at the first call."""
    table = shown.table
    if table is None:
        raise DataError("a method that looks into the networks needs the windows: open the run with its store")
    known = _STEMS.get(view)
    # Targets change from use to use and are no input: the features tell whether these are the same windows.
    if known is None or known[0] is not table.values:
        known = (table.values, _work(view, table))
        _STEMS[view] = known
    return known[1]


def has_merge(model: nn.Module) -> bool:
    """Whether a network splits and merges, so that its merge can be a person's own."""
    return hasattr(model, "merger") and hasattr(model, "splitter")


def check_model(model: nn.Module, name: str) -> None:
    """Raise `DataError` for a network without the heads that a person could have of their own, or with classes."""
    heads = getattr(model, "heads", None)
    if heads is None or not hasattr(heads, "last"):
        raise DataError(f"{name}: has no heads that could be a person's own: use another method")
    if any(head.classes for head in as_network(model).spec.head):
        raise DataError(f"{name}: answers classes, and readings are numbers: personal calibration cannot use it")


def _work(view: View, table: WindowTable) -> Stem:
    model: Any = view.member.model
    check_model(model, view.member.name)
    check_table(table, as_network(model).spec)
    model.eval()
    caught: dict[str, Tensor] = {}

    def catch(name: str) -> Any:
        def hook(_: nn.Module, given: tuple[Tensor, ...]) -> None:
            caught[name] = given[0].detach()

        return hook

    hooks = [
        (model.merger if has_merge(model) else model.heads).register_forward_pre_hook(catch("given")),
        model.heads.last.register_forward_pre_hook(catch("hidden")),
    ]
    given, hidden, kernels = [], [], []
    source = source_for([model], table, np.arange(len(table), dtype=np.int64), view.member.scaler)
    try:
        with torch.no_grad():
            for batch in source.in_order(EVALUATION_BATCH):
                model(batch)
                given.append(caught["given"])
                hidden.append(caught["hidden"][:, :, 0].transpose(0, 1).double())
                if getattr(model, "beside", None) is not None:
                    kernels.append(model.beside(batch))
    finally:
        for hook in hooks:
            hook.remove()
    # The part that may change sees no waveform.
    lean = BatchSource(table, source.rows, view.member.scaler, waveform=False, tracks=as_network(model).uses_tracks)
    whole = lean.batch(torch.arange(len(lean)))
    return Stem(torch.cat(given), torch.cat(hidden).numpy(), whole, torch.cat(kernels) if kernels else None)


def taken(batch: Batch, rows: Tensor) -> Batch:
    """Return some windows of a batch without waveform."""

    def some(whole: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: x[rows] for name, x in whole.items()}

    return Batch(
        torch.empty(len(rows), 0, 0), batch.values[rows], batch.missing[rows], batch.targets[rows], batch.weight[rows],
        some(batch.tracks), some(batch.present),
    )  # fmt: skip
