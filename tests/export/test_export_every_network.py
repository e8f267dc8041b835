"""Every network of the package can be exported: for pressures, and for several modalities.

A graph takes some 10 s of a core to write. The suite writes one of each way in which networks differ for an exporter; all of
them are written with ``BIOSIG_EVERY_NETWORK=1``, which takes some 7 minutes of a core.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from biosig_mtl import models
from biosig_mtl.export.describing import description, put_into
from biosig_mtl.export.graph import graph_of
from biosig_mtl.export.parity import parity
from biosig_mtl.export.runtime import Exported
from biosig_mtl.inference import Predictor
from biosig_mtl.types import WindowTable
from tests.export.cases import affect_table, pressure_table, write_run

pytestmark = pytest.mark.slow

# What shipped recipes and studies ask of the main network beside its plain form.
FORMS: dict[str, dict[str, Any]] = {
    "low rank": {"attention": "low_rank", "attention_rank": 2},
    "ordered": {"ordered": True},
    "gate": {"merge": "gate", "pool": "learnt"},
    "bottleneck": {"merge": "bottleneck"},
    "static masks": {"masks": "static"},
    "patches": {"encoder": "patch"},
    "nothing shared": {"shared_split": False},
    "paper": {"paper_mode": True},
}
EVERY = os.environ.get("BIOSIG_EVERY_NETWORK") == "1"
# Waveforms, their convolutions and several modalities are in the other files too.
PRESSURES = list(models.MODELS) if EVERY else ["mmoe"]
SHOWN = list(FORMS) if EVERY else ["low rank"]


def proved(run: Path, table: WindowTable) -> None:
    predictor = Predictor.load(run)
    members = predictor.ensemble.members
    proto, whole = graph_of(members, predictor.ensemble.spec, predictor.half_width)
    put_into(proto, description(run, predictor, whole, predictor.half_width))
    assert parity(Exported.of(proto.SerializeToString()), members, predictor.ensemble.spec, table).worst < 1e-4


@pytest.mark.parametrize("model", PRESSURES)
def test_pressures(model: str, tmp_path: Path) -> None:
    table = pressure_table(waveform=EVERY)
    proved(write_run(tmp_path / "run", table, model, members=1), table)


@pytest.mark.skipif(not EVERY, reason="only with BIOSIG_EVERY_NETWORK=1")
@pytest.mark.parametrize("model", [name for name in models.MODELS if name != "histn"])
def test_several_modalities(model: str, tmp_path: Path) -> None:
    table = affect_table()
    proved(write_run(tmp_path / "run", table, model, members=1), table)


@pytest.mark.parametrize("form", SHOWN)
def test_forms_of_the_main_network(form: str, tmp_path: Path) -> None:
    table = pressure_table(waveform=EVERY)
    proved(write_run(tmp_path / "run", table, "split_merge", members=1, heads=2, **FORMS[form]), table)
