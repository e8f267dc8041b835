"""Each known failure of a split network, built on purpose, gets its sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from biosig_mtl import models
from biosig_mtl.models.hard_sharing import HardSharingSettings
from biosig_mtl.models.split_merge import SplitMerge, SplitMergeSettings
from biosig_mtl.training.batches import Scaler, spec_of
from biosig_mtl.training.diagnostics import history_warnings, split_report
from biosig_mtl.training.prediction import predict
from biosig_mtl.types import WindowTable

MakeTable = Callable[..., WindowTable]
ROWS = np.arange(80)


def report(table: WindowTable, change: Callable[[SplitMerge], None], **words: Any) -> dict[str, Any]:
    torch.manual_seed(0)
    settings = SplitMergeSettings(**{"width": 8, "heads": 2, "stride": 8, "dropout": 0.0, **words})
    model = SplitMerge(settings, spec_of(table))
    with torch.no_grad():
        change(model)
    return split_report(model, table, ROWS, Scaler.fit(table, ROWS))


def nothing(_: SplitMerge) -> None:
    """Leave the network as it is."""


def test_the_report_says_what_each_split_does(make_table: MakeTable) -> None:
    told = report(make_table(), nothing, merge="gate")
    assert told["splits"] == ["shared", "sbp", "dbp"]
    assert all(0 < m < 1 for m in told["mask_mean"])
    assert np.diag(told["uhsic"]) == pytest.approx([1, 1, 1], abs=1e-4)
    assert np.array(told["removal"]).shape == (3, 2)
    assert all(0 < g < 1 for g in told["gates"])
    # Without a common path, the split of one task does nothing for the other.
    assert told["removal"][1][1] == told["removal"][2][0] == 0.0
    assert len(told["mae"]) == 2


def test_a_closed_mask_is_told(make_table: MakeTable) -> None:
    def close(model: SplitMerge) -> None:
        model.splitter.logits.weight[1] = 0.0
        model.splitter.logits.bias[1] = -20.0

    warnings = report(make_table(), close)["warnings"]
    assert any("'sbp' split has collapsed" in w for w in warnings)
    assert not any("'dbp' split has collapsed" in w for w in warnings)


def test_a_constant_split_is_told(make_table: MakeTable) -> None:
    table = make_table()
    table.values[:], table.waveform[:] = 0.5, 0.5
    assert any("'dbp' split is constant" in w for w in report(table, nothing)["warnings"])


def test_a_shared_split_that_takes_over_is_told(make_table: MakeTable) -> None:
    table = make_table()
    torch.manual_seed(0)
    model = SplitMerge(SplitMergeSettings(width=8, stride=8, dropout=0.0, merge="concat"), spec_of(table))
    with torch.no_grad():
        model.heads.hidden.weight[:, 8:] = 0.0  # the second half is the task's own split
    scaler = Scaler.fit(table, ROWS)
    # Targets that the network knows but for a little noise: whatever it uses is then missed.
    noise = 0.1 * np.random.default_rng(0).normal(size=(80, 2))
    known = replace(table, targets=(predict(model, table, ROWS, scaler) + noise).astype(np.float32))
    told = split_report(model, known, ROWS, scaler)
    assert sum(w.startswith("the shared split has taken over") for w in told["warnings"]) == 2
    assert told["removal"][1] == told["removal"][2] == [0.0, 0.0]


def test_splits_that_nothing_depends_on_are_told(make_table: MakeTable) -> None:
    def ignore(model: SplitMerge) -> None:
        model.heads.last.weight.zero_()

    assert sum("no split is needed" in w for w in report(make_table(), ignore)["warnings"]) == 2


def test_copies_are_told(make_table: MakeTable) -> None:
    def copy(model: SplitMerge) -> None:
        for p in model.splitter.parameters():
            p[2] = p[1]

    told = report(make_table(), copy)
    assert any("'sbp' and 'dbp' are near copies" in w for w in told["warnings"])
    assert told["uhsic"][1][2] == pytest.approx(1.0, abs=1e-3)


def test_few_rows_and_networks_without_splits(make_table: MakeTable) -> None:
    table = make_table()
    scaler = Scaler.fit(table, ROWS)
    model: nn.Module = models.build("split_merge", SplitMergeSettings(width=8), spec_of(table))
    assert split_report(model, table, ROWS[:5], scaler)["uhsic"] is None
    assert split_report(model, table, ROWS[:0], scaler)["splits"] == []
    hard = models.build("hard_sharing", HardSharingSettings(width=8), spec_of(table))
    assert split_report(hard, table, ROWS, scaler) == {"splits": [], "warnings": []}


def test_what_only_the_course_of_training_shows() -> None:
    nan = float("nan")
    first = {"mi": 0.9, "split_std": 0.2, "critic": -1.0, "mi_skipped": 2.0}
    last = {"mi": 0.2, "split_std": 0.05, "critic": -3.0, "mi_skipped": 0.0}
    told = history_warnings([{"mi": nan, "split_std": 0.1, "critic": nan, "mi_skipped": 1.0}, first, last])
    assert any("3 batches had fewer than 8 windows" in w for w in told)
    assert any("shrunk to 25%" in w for w in told)
    assert any("critic's likelihood fell" in w for w in told)
    assert history_warnings([first | {"mi_skipped": 0.0}, last | {"split_std": 0.2, "critic": nan}]) == []
    assert history_warnings([]) == []
