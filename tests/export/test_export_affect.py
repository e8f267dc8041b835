"""Graphs of several modalities and of classes: missing tracks, dead electrodes, shares that sum to one, scales that are cut."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from biosig_mtl.export import Evidence, Exported, ExportSettings, export, run_alone
from biosig_mtl.export.parity import noise
from biosig_mtl.inference import Predictor
from biosig_mtl.training.checkpoint import Ensemble
from biosig_mtl.types import DataError, Head, Track
from tests.export.cases import affect_table, folds_of, part, write_run

# One number on a scale, and one answer in ordered classes.
TABLE = affect_table((Head(), Head("ordinal", (3.0, 5.0, 7.0))))


class Three(SimpleNamespace):
    """Three windows, with as much of them as a table of estimates tells."""

    def __len__(self) -> int:
        return 3


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Convolutions over a waveform are exported with the pressures.
    place = tmp_path_factory.mktemp("r")
    return write_run(place / "run", TABLE, members=1, stretch=8.0, encoder="patch", trunk_layers=0)


@pytest.fixture(scope="module")
def exported(run: Path) -> Exported:
    return Exported.load(export(run, run.parent / "m.onnx", ExportSettings(), Evidence(TABLE, tuple(folds_of(TABLE)))).model)


@pytest.fixture(scope="module")
def ensemble(run: Path) -> Ensemble:
    return Predictor.load(run).ensemble


def test_estimates_and_shares_are_those_of_the_networks(exported: Exported, ensemble: Ensemble) -> None:
    for windows in (1, 7, len(TABLE)):
        table = part(TABLE, slice(0, windows))
        found, expected = exported.predict_full(table), ensemble.predict_full(table)
        assert np.abs(found.estimates - expected.estimates).max() < 1e-4
        assert list(found.probabilities) == list(expected.probabilities) == [1]
        assert np.abs(found.probabilities[1] - expected.probabilities[1]).max() < 1e-5
    np.testing.assert_allclose(found.probabilities[1].sum(axis=1), 1.0, atol=1e-5)
    assert exported.told["classes"] == {"arousal": ["≤ 3", "> 3 to 5", "> 5 to 7", "> 7"]}
    assert exported.predict_full(part(TABLE, slice(0, 0))).probabilities[1].shape == (0, 4)


def test_a_missing_modality_is_missing_in_both(exported: Exported, ensemble: Ensemble) -> None:
    table = part(TABLE, slice(0, 12))
    for without in (("eeg",), ("eda",), ("eeg", "eda")):
        gap = exported.predict_full(table, without).estimates - ensemble.predict_full(table, without).estimates
        assert np.abs(gap).max() < 1e-4
    assert not np.allclose(exported.predict_full(table, ("eeg",)).estimates, exported.predict(table))
    # Taking away leaves the table alone.
    assert np.array_equal(table.values, TABLE.values[:12], equal_nan=True)


def test_dead_and_missing_electrodes(exported: Exported, ensemble: Ensemble) -> None:
    for seed in range(4):
        rng = np.random.default_rng(seed)
        eeg = (30 * rng.normal(size=(8, 4, 128))).astype(np.float32)
        for window, gone in enumerate(rng.random((8, 4)) < 0.5):
            eeg[window, gone] = np.nan if window % 2 else 12.0
        tracks = {"eeg": Track(TABLE.tracks["eeg"].channels, 64.0, eeg), "eda": part(TABLE, slice(0, 8)).tracks["eda"]}
        table = replace(part(TABLE, slice(0, 8)), tracks=tracks)
        assert np.abs(exported.predict(table) - ensemble.predict(table)).max() < 1e-4


def test_a_scale_is_cut_and_its_uncut_estimate_kept(exported: Exported) -> None:
    found = exported.predict_full(TABLE)
    assert found.lower[:, 0].min() >= 1.0
    assert found.upper[:, 0].max() <= 9.0
    np.testing.assert_allclose(found.lower[:, 0], np.clip(found.estimates[:, 0] - 20, 1, 9), atol=1e-4)
    np.testing.assert_allclose(found.upper[:, 0], np.clip(found.estimates[:, 0] + 20, 1, 9), atol=1e-4)
    # Classes have no interval, and are no scale.
    assert np.isnan(found.lower[:, 1]).all()
    outside = np.abs(found.estimates[:, 0] - 5) > 4
    assert outside.any(), "the example must leave the scale"
    given = {"features": TABLE.values} | {f"track_{name}": track.signal for name, track in TABLE.tracks.items()}
    cut = exported._session.run(["estimates"], given)[0][:, 0]
    np.testing.assert_allclose(cut, np.clip(found.estimates[:, 0], 1, 9), atol=1e-4)


def test_broken_tracks_are_refused(exported: Exported) -> None:
    eda = TABLE.tracks["eda"].signal.copy()
    eda[3, 0, 5] = np.nan
    table = replace(TABLE, tracks={**TABLE.tracks, "eda": replace(TABLE.tracks["eda"], signal=eda)})
    with pytest.raises(DataError, match="window 3: channel 'eda' has values that are not finite"):
        exported.predict(table)
    with pytest.raises(DataError, match="made for a track 'eda'; the table has no such track"):
        exported.predict(replace(TABLE, tracks={"eeg": TABLE.tracks["eeg"]}))
    short = replace(TABLE.tracks["eda"], signal=TABLE.tracks["eda"].signal[:, :, 1:])
    with pytest.raises(DataError, match=r"'track_eda' needs the shape \(windows, 1, 40\)"):
        exported.predict(replace(TABLE, tracks={**TABLE.tracks, "eda": short}))


def test_noise_has_every_input_and_gaps(exported: Exported, ensemble: Ensemble) -> None:
    made = noise(ensemble.members[0], exported.spec)
    assert np.isnan(made.tracks["eeg"].signal).any()
    assert np.abs(exported.predict(made) - ensemble.predict(made)).max() < 1e-4


def test_alone_it_tells_classes_and_missing_tracks(exported: Exported) -> None:
    table = part(TABLE, slice(0, 3))
    windows: Any = Three(record="r", onset_s=np.arange(3.0), signal=np.zeros((3, 1, 256)), fs=64.0)
    columns = run_alone._columns(exported, table, exported.predict_full(table), windows)
    assert list(columns)[3:6] == ["valence", "valence_lower", "valence_upper"]
    assert set(columns["arousal"]) <= {"≤ 3", "> 3 to 5", "> 5 to 7", "> 7"}
    np.testing.assert_allclose(sum(columns[f"arousal_p{k}"] for k in range(4)), 1.0, atol=1e-5)
    assert np.all((columns["valence"] >= 1) & (columns["valence"] <= 9))
    gone = run_alone._track(Track(("eda",), 1.0, np.full((3, 1, 7), np.nan, np.float32)), ("eda",), 40, 4.0)
    assert gone.signal.shape == (3, 1, 40)
    assert run_alone._track(table.tracks["eda"], ("eda",), 40, 4.0) is table.tracks["eda"]
