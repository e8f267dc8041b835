"""Laws of tables for pandas and xarray: all numbers are there, under their names, in their order."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from biosig_mtl.interop import from_arrays, to_pandas, to_xarray
from biosig_mtl.interop.arrays import About
from biosig_mtl.tasks import BLOOD_PRESSURE
from biosig_mtl.types import DataError, Features, Label, Track, Windows, WindowTable
from biosig_mtl.windows import Windowing, cut


@pytest.fixture
def windows() -> Windows:
    rng = np.random.default_rng(0)
    about = About("r1", "s01", labels=(Label("sbp", 121.0, "mmHg"), Label("dbp", 80.0, "mmHg")))
    record = from_arrays({"ppg": rng.normal(size=1000), "ecg": rng.normal(size=1000)}, 125.0, about=about)
    return cut(record, Windowing(2.0, ("ppg", "ecg"), label="record"), BLOOD_PRESSURE)


@pytest.fixture
def table() -> WindowTable:
    rng = np.random.default_rng(1)
    index = pd.DataFrame({"subject": ["a", "a", "b"], "onset_s": [0.0, 2.0, 0.0], "sbp": [1.0, 2.0, 3.0]})
    eeg = Track(("F3",), 64.0, rng.normal(size=(3, 1, 8)).astype(np.float32))
    values, waveform = rng.normal(size=(3, 2)).astype(np.float32), rng.normal(size=(3, 1, 5)).astype(np.float32)
    targets = np.array([[1, 4], [2, 5], [3, 6]], np.float32)
    return WindowTable(index, values, ("hr.mean", "hr.sd"), waveform, ("ppg",), 125.0, targets, ("sbp", "dbp"), {"eeg": eeg})


def test_windows_as_a_table(windows: Windows) -> None:
    made = to_pandas(windows)
    assert len(made) == len(windows) == 4
    assert made["onset_s"].tolist() == windows.onset_s.tolist()
    assert made["sbp"].tolist() == [121.0] * 4
    assert {"record", "subject", "session", "stimulus", "sqi.ppg", "sqi.ecg", "window_id"} <= set(made)
    assert made.columns.is_unique


def test_features_and_whole_tables(table: WindowTable) -> None:
    features = to_pandas(Features(table.values, table.names, table.waveform, ("ppg",)))
    np.testing.assert_array_equal(features.to_numpy(), table.values)
    whole = to_pandas(replace(table, index=table.index.set_index(pd.Index([7, 8, 9]))))
    assert list(whole) == ["subject", "onset_s", "sbp", "dbp", "hr.mean", "hr.sd"]
    np.testing.assert_array_equal(whole[list(table.names)], table.values)
    assert whole["dbp"].tolist() == [4.0, 5.0, 6.0]


def test_windows_as_a_cube(windows: Windows) -> None:
    pytest.importorskip("xarray")
    made = to_xarray(windows)
    assert dict(made.sizes) == {"window": 4, "channel": 2, "time": 250, "target": 2}
    for k, name in enumerate(windows.channels):
        np.testing.assert_array_equal(made.signal.sel(channel=name), windows.signal[:, k])
    assert made.targets.sel(target="dbp").values.tolist() == [80.0] * 4
    assert float(made.time[-1]) == pytest.approx(249 / 125)
    assert made.subject.values.tolist() == ["s01"] * 4
    assert made.attrs["fs"] == 125.0


def test_a_table_as_a_cube_goes_through_a_file(table: WindowTable) -> None:
    xarray = pytest.importorskip("xarray")
    made = to_xarray(table)
    back = xarray.Dataset.from_dict(made.to_dict())
    np.testing.assert_array_equal(back["values"].sel(feature="hr.sd"), table.values[:, 1])
    np.testing.assert_array_equal(back.waveform, table.waveform)
    np.testing.assert_array_equal(back.track_eeg.sel(eeg_channel="F3"), table.tracks["eeg"].signal[:, 0])
    assert back.track_eeg.attrs["fs"] == 64.0
    assert made.sbp.values.tolist() == [1.0, 2.0, 3.0]


def test_without_xarray_the_way_to_it_is_told(windows: Windows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(DataError, match=r"pip install 'biosig-mtl\[xarray\]'"):
        to_xarray(windows)
