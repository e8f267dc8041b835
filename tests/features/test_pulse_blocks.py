"""Beats of many windows are worked in blocks, those of few all at once: no number tells which."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from biosig_mtl import features
from biosig_mtl.features import pulse_beats
from biosig_mtl.tasks import TASKS


@pytest.mark.parametrize("block", [4, 7])
def test_the_size_of_a_block_changes_no_bit(
    simulate: Callable[..., Any], pulse: Any, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows, task = simulate(pulse, 4), TASKS["blood_pressure"]
    settings = features.FeatureSettings(families=("pulse_shape", "perfusion"))
    whole = features.extract(windows, settings, task)
    monkeypatch.setattr(pulse_beats, "BLOCK", block)
    parts = features.extract(windows, settings, task)
    assert parts.names == whole.names
    assert np.array_equal(parts.values, whole.values, equal_nan=True)
