"""What networks cost is measured for every one of them."""

from __future__ import annotations

import numpy as np
import pytest

from biosig_mtl import models
from biosig_mtl.experiment import costs, entrants
from biosig_mtl.experiment.entrants import Choice
from biosig_mtl.recipe import Recipe
from biosig_mtl.training import spec_of
from biosig_mtl.types import WindowTable


def test_every_network_has_its_cost_and_more_width_costs_more(
    tiny: Recipe, whole: WindowTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(costs, "ROUNDS", 1)
    names = tuple(name for name in models.MODELS if name != "histn")
    entered = entrants.enter(tiny, spec_of(whole), Choice(names, parameters=20_000))
    found = costs.measure(entered, whole, np.arange(16))
    assert set(found) == set(names)
    for cost in found.values():
        assert min(cost.flops_per_window, cost.step_ms, cost.latency_ms) > 0
        assert cost.step_windows == 16
    wide = entrants.enter(tiny, spec_of(whole), Choice(("hard_sharing",), parameters=100_000))
    assert costs.measure(wide, whole, np.arange(16))["hard_sharing"].flops_per_window > found["hard_sharing"].flops_per_window
