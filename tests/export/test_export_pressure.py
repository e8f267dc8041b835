"""A graph of pressures says what the networks say: features with gaps, waveforms, the kernel beside, any number of windows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from biosig_mtl.export import Evidence, Exported, ExportSettings, export, exporting
from biosig_mtl.export.exporting import Written
from biosig_mtl.export.parity import parity
from biosig_mtl.export.whole import Whole
from biosig_mtl.inference import Predictor
from biosig_mtl.types import DataError, RecipeError
from tests.export.cases import folds_of, part, pressure_table, write_run

TABLE = pressure_table()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("r") / "run", TABLE, kernel_landmarks=9)


@pytest.fixture(scope="module")
def written(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Written:
    out = tmp_path_factory.mktemp("o") / "model.onnx"
    return export(run, out, ExportSettings(members="2", int8=True), Evidence(TABLE, tuple(folds_of(TABLE))))


@pytest.fixture(scope="module")
def exported(written: Written) -> Exported:
    return Exported.load(written.model)


@pytest.mark.parametrize("windows", [1, 7, 48])
def test_the_graph_says_what_the_networks_say(run: Path, exported: Exported, windows: int) -> None:
    ensemble = Predictor.load(run).ensemble
    few = replace(ensemble, members=tuple(m for m in ensemble.members if m.name in exported.networks))
    table = part(TABLE, slice(0, windows))
    found, expected = exported.predict_full(table), few.predict_full(table)
    assert np.abs(found.estimates - expected.estimates).max() < 1e-4
    assert np.abs(exported.predict(table) - found.estimates).max() == 0
    assert np.abs(found.networks.mean(axis=1) - found.estimates).max() < 1e-4
    # The example must be able to tell networks apart.
    assert np.abs(found.networks[:, 0] - found.networks[:, 1]).max() > 0.1


def test_a_window_does_not_depend_on_its_neighbours(exported: Exported) -> None:
    whole = exported.predict(TABLE)
    each = np.concatenate([exported.predict(part(TABLE, slice(i, i + 1))) for i in range(5)])
    assert np.abs(each - whole[:5]).max() < 1e-4


def test_missing_features_are_imputed_in_the_graph(run: Path, exported: Exported) -> None:
    ensemble = Predictor.load(run).ensemble
    few = replace(ensemble, members=tuple(m for m in ensemble.members if m.name in exported.networks))
    for nothing in (np.nan, np.inf, -np.inf):
        table = replace(part(TABLE, slice(0, 4)), values=np.full((4, 6), nothing, np.float32))
        assert np.abs(exported.predict(table) - few.predict(table)).max() < 1e-4
    # A modality that is taken away is one that is missing.
    table = part(TABLE, slice(0, 6))
    assert np.abs(exported.predict_full(table, ("hr",)).estimates - few.predict_full(table, ("hr",)).estimates).max() < 1e-4
    assert not np.allclose(exported.predict_full(table, ("hr",)).estimates, exported.predict(table))
    assert np.isfinite(table.values[:, 2]).any()


def test_intervals_are_half_widths_about_the_estimates(exported: Exported) -> None:
    found = exported.predict_full(TABLE)
    np.testing.assert_allclose(found.upper - found.estimates, np.tile([20.0, 21.0], (48, 1)), atol=1e-4)
    np.testing.assert_allclose(found.estimates - found.lower, np.tile([20.0, 21.0], (48, 1)), atol=1e-4)


def test_no_windows_are_no_answers(exported: Exported) -> None:
    found = exported.predict_full(part(TABLE, slice(0, 0)))
    assert found.estimates.shape == (0, 2)
    assert found.networks.shape == (0, 2, 2)


def test_the_file_tells_what_it_is(written: Written, exported: Exported) -> None:
    proto = onnx.load(str(written.model))
    onnx.checker.check_model(proto, full_check=True)
    told = {entry.key: entry.value for entry in proto.metadata_props}
    assert json.loads(told["features"]) == list(TABLE.names)
    assert json.loads(told["units"]) == {"sbp": "mmHg", "dbp": "mmHg"}
    assert "Research use only" in told["use"]
    assert "Research use only" in proto.doc_string
    # Nothing of the machine that wrote it.
    content = written.model.read_bytes() + written.recipe.read_bytes()
    for place in (str(Path(__file__).parents[2]), str(Path.home()), str(written.model.parent)):
        assert place.encode() not in content
    names = [value.name for value in proto.graph.input]
    assert names == ["features", "waveform"]
    for value in [*proto.graph.input, *proto.graph.output]:
        assert "windows" in [dim.dim_param for dim in value.type.tensor_type.shape.dim]
    assert exported.units == {"sbp": "mmHg", "dbp": "mmHg"}
    assert exported.targets == ("sbp", "dbp")
    # One of each fold before the second of any.
    assert sorted(exported.networks) == ["model-seed0-fold0-member0", "model-seed0-fold1-member0"]
    assert exported.told["parity"]["worst"] < 1e-4
    assert exported.told["parity"]["on"] == "store"
    recipe = json.loads(written.recipe.read_text(encoding="utf-8"))
    assert recipe["preparation"]["windows"]["length_s"] == 8
    assert recipe["channels"]["ppg"]["kind"] == "ppg"
    assert recipe["needed"] == ["ppg", "ecg"]
    assert set(recipe["sha256"]) == {"model.onnx", "model.int8.onnx"}
    assert recipe["model_sha256"] == exported.told["model_sha256"]


def test_costs_are_measured_on_people_who_were_not_learned_from(written: Written) -> None:
    fewer = written.figures["fewer_networks"]
    assert [one["target"] for one in fewer] == ["sbp", "dbp"]
    assert all(one["judged"] == len(TABLE) and one["max_difference"] > 0 for one in fewer)
    small = written.figures["int8"]
    assert small["bytes"] == written.model.with_suffix(".int8.onnx").stat().st_size
    assert all(one["mean_difference"] > 0 for one in small["costs"])
    said = "\n".join(written.lines)
    assert "2 of 4 networks in one graph" in said
    assert "8 bits, sbp: differs by" in said
    assert "parity: " in said


def test_the_file_in_8_bits_is_a_file_of_the_same_kind(written: Written, exported: Exported) -> None:
    small = Exported.load(written.model.with_suffix(".int8.onnx"))
    gap = np.abs(small.predict(TABLE) - exported.predict(TABLE))
    assert 0 < gap.max() < 30
    assert small.networks == exported.networks
    assert small.recipe == exported.recipe


def test_an_altered_file_is_refused(written: Written, tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    content = bytearray(written.model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    (tmp_path / "model.recipe.json").write_bytes(written.recipe.read_bytes())
    with pytest.raises(DataError, match=r"was altered after the export.*export the run anew"):
        Exported.load(model)
    (tmp_path / "model.recipe.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match="not readable: copy it again"):
        Exported.load(model)


def test_what_is_no_export_is_refused(written: Written, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="missing or not readable"):
        Exported.load(tmp_path / "none.onnx")
    (tmp_path / "junk.onnx").write_bytes(b"junk")
    with pytest.raises(DataError, match="ONNX Runtime cannot read it"):
        Exported.load(tmp_path / "junk.onnx")
    proto = onnx.load(str(written.model))
    told = {entry.key: entry for entry in proto.metadata_props}["biosig_mtl"]
    told.value = json.dumps({**json.loads(told.value), "format": 99})
    with pytest.raises(DataError, match="has format 99, this version reads 1"):
        Exported.of(proto.SerializeToString())
    del proto.metadata_props[:]
    with pytest.raises(DataError, match="was not written by biosig-mtl export"):
        Exported.of(proto.SerializeToString())


def test_other_windows_are_refused(exported: Exported) -> None:
    with pytest.raises(DataError, match=r"other features than the model was made for: pulse\.a, x"):
        exported.predict(replace(TABLE, names=("x", *TABLE.names[1:])))
    with pytest.raises(DataError, match=r"other waveform channels .*: their order"):
        exported.predict(replace(TABLE, waveform_channels=("vpg", "ppg")))
    with pytest.raises(DataError, match=r"'waveform' needs the shape \(windows, 2, 96\), got \(48, 2, 95\)"):
        exported.predict(replace(TABLE, waveform=TABLE.waveform[:, :, 1:]))
    broken = TABLE.waveform.copy()
    broken[3, 1, 5] = np.nan
    with pytest.raises(DataError, match="window 3: channel 'vpg' has values that are not finite"):
        exported.predict(replace(TABLE, waveform=broken))
    with pytest.raises(DataError, match="the input 'waveform' is missing; there are features"):
        exported.answer({"features": TABLE.values})
    with pytest.raises(DataError, match="as many windows in every input"):
        exported.answer({"features": TABLE.values, "waveform": TABLE.waveform[:3]})
    with pytest.raises(RecipeError, match="unknown modality 'eeg'; choose from pulse"):
        exported.predict_full(TABLE, ("eeg",))


def test_a_graph_that_says_something_else_is_not_written(
    run: Path, written: Written, exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = Predictor.load(run)
    others = [m for m in predictor.ensemble.members if m.name not in exported.networks]
    with pytest.raises(DataError, match=r"the graph differs from the networks by .*: nothing was written"):
        parity(exported, others, exported.spec, TABLE)
    graph = onnx.load(str(written.model)), Whole(others, exported.spec, predictor.half_width)
    monkeypatch.setattr(exporting, "choose_members", lambda *_: others)
    monkeypatch.setattr(exporting, "graph_of", lambda *_: graph)
    with pytest.raises(DataError, match="nothing was written"):
        export(run, tmp_path / "model.onnx", ExportSettings(members="2"))
    # A graph that is none is refused before.
    graph[0].graph.node[0].op_type = "NoSuchOperation"
    with pytest.raises(DataError, match="the graph is not valid ONNX"):
        export(run, tmp_path / "model.onnx", ExportSettings(members="2"))
    assert not list(tmp_path.iterdir())
