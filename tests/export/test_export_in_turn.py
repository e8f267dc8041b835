"""Networks that cannot run side by side are written one beside the other, and features alone need no waveform."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from biosig_mtl.export import Exported, ExportSettings, export, graph, whole
from biosig_mtl.export.parity import noise, parity
from biosig_mtl.inference import Predictor
from biosig_mtl.types import DataError
from tests.export.cases import pressure_table, write_run

TABLE = pressure_table(waveform=False)


def refuse(*_: Any) -> Any:
    raise NotImplementedError("a convolution that is not along time")


def test_what_cannot_be_stacked_is_written_one_beside_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_run(tmp_path / "run", TABLE, trunk_layers=0)
    monkeypatch.setattr(whole.SideBySide, "forward", refuse)
    # Without a store parity is looked at on noise.
    written = export(run, tmp_path / "model.onnx", ExportSettings(members="2"))
    assert written.figures["parity"]["on"] == "random"
    assert "int8" not in written.figures
    exported = Exported.load(written.model)
    members = [m for m in Predictor.load(run).ensemble.members if m.name in exported.networks]
    assert parity(exported, members, exported.spec, TABLE).worst < 1e-4
    assert list(exported.answer({"features": TABLE.values}).estimates.shape) == [len(TABLE), 2]
    assert np.isnan(noise(members[0], exported.spec).values).any()
    monkeypatch.setattr(whole.InTurn, "forward", refuse)
    with pytest.raises(DataError, match="cannot be written as a graph: a convolution"):
        graph.graph_of(members, exported.spec, np.zeros(2))
