"""A tiny blood-pressure run, fixed before networks took several modalities: it must never move by accident.

The numbers were made by this very run on one processor; another may differ in the last digits, hence the tolerance.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from biosig_mtl import models
from biosig_mtl.training.batches import Scaler, spec_of
from biosig_mtl.training.loop import TrainingData, fit
from biosig_mtl.training.settings import TrainingSettings
from biosig_mtl.types import Fold, WindowTable

MakeTable = Callable[..., WindowTable]
FOLD = Fold(train=np.arange(48), validation=np.arange(48, 64), test=np.arange(64, 80))
GOLDEN: dict[str, tuple[str, dict[str, Any], dict[str, Any], int, float, list[float]]] = {
    "cross attention": (
        "split_merge",
        {"width": 8, "heads": 2, "stride": 8},
        {},
        4258,
        607.348813,
        [0.4701244, 0.5010096, 0.5940483, 0.5661148, 0.5421594],
    ),
    "ordered, gate": (
        "split_merge",
        {"width": 16, "merge": "gate", "ordered": True, "encoder": "patch"},
        {"weighting": "uncertainty", "mi": "vclub"},
        6768,
        793.557922,
        [0.3485635, 0.3999251, 0.5953781, 0.7213901, 0.8531545],
    ),
    "kernel": (
        "split_merge",
        {"width": 8, "heads": 2, "kernel_landmarks": 10, "merge": "concat"},
        {"loss": "mae"},
        3570,
        435.689823,
        [1.0980552, 1.1685833, 1.2817264, 1.2464408, 1.1965709],
    ),
    "paper mode": (
        "split_merge",
        {"width": 8, "heads": 2, "paper_mode": True, "pool": "mean"},
        {},
        4454,
        598.679556,
        [0.870317, 0.9045362, 0.9532711, 0.9513076, 0.9395273],
    ),
    "hard sharing": (
        "hard_sharing",
        {"width": 8},
        {"weighting": "dwa"},
        2712,
        320.079616,
        [0.2209626, 0.2002193, 0.2581927, 0.2026596, 0.1859371],
    ),
}


@pytest.mark.parametrize("case", GOLDEN)
def test_blood_pressure_is_what_it_was(make_table: MakeTable, case: str) -> None:
    name, words, how, parameters, first, losses = GOLDEN[case]
    table = make_table()
    torch.manual_seed(0)
    model = models.build(name, models.MODELS[name].settings(**words), spec_of(table))
    assert sum(p.numel() for p in model.parameters()) == parameters
    drawn = sum(float(v.double().abs().sum()) for k, v in model.state_dict().items() if v.is_floating_point())
    assert drawn == pytest.approx(first, rel=1e-6)
    settings = TrainingSettings(epochs=5, batch_size=16, mi_ramp_epochs=2, patience=0, **how)
    found = fit(model, TrainingData(table, FOLD, Scaler.fit(table, FOLD.train)), settings, 7)
    assert [row["loss"] for row in found.history] == pytest.approx(losses, rel=1e-4)


def test_the_names_of_weights_are_those_of_saved_models(make_table: MakeTable) -> None:
    model = models.build("split_merge", models.MODELS["split_merge"].settings(width=8), spec_of(make_table()))
    assert {name.split(".")[0] for name in model.state_dict()} == {
        "tokens",
        "splitter",
        "merger",
        "heads",
        "private",
        "answers",
    }
    named = {name for name in model.state_dict() if name.startswith(("tokens.", "answers.")) and ".encoder." not in name}
    assert named == {
        "tokens.waveform.embedding", "tokens.features.embedding", "tokens.norm.weight", "tokens.norm.bias",
        *(f"tokens.features.maps.{i}.{kind}" for i in range(4) for kind in ("weight", "bias")),
        "answers.target_mean", "answers.target_scale", "answers.skip.weight", "answers.skip.bias",
    }  # fmt: skip
