"""What is written in EDF and BDF is what is read back, by us and by mne."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import mne
import numpy as np
import pytest
from numpy.testing import assert_allclose

from biosig_mtl.data.edf_writer import write_edf
from biosig_mtl.data.readers import entry_for, open_source
from biosig_mtl.types import F32, DataError

NAMES = ("AF3", "F4", "Oz")
STEP = {"edf": 0.1, "bdf": 32767 / (2**23 - 1)}


def wave(seconds: float = 5.0, fs: int = 128) -> F32:
    rng = np.random.default_rng(0)
    return (50 * rng.standard_normal((3, round(seconds * fs)))).astype(np.float32)


@pytest.mark.parametrize("form", ["edf", "bdf"])
def test_samples_come_back_within_half_a_step(tmp_path: Path, form: Literal["edf", "bdf"]) -> None:
    x = wave()
    x[0, :2] = -3000, 3000
    path = tmp_path / f"a.{form}"
    write_edf(path, x, NAMES, 128, 1_600_000_000, form)
    record = open_source(entry_for(path)).read()
    assert tuple(record.channels) == NAMES
    assert {(c.kind, c.unit, c.fs) for c in record.channels.values()} == {("eeg", "uV", 128.0)}
    raw = mne.io.read_raw(path, verbose="error")
    assert raw.ch_names == list(NAMES)
    assert raw.info["meas_date"].timestamp() == 1_600_000_000
    for k, name in enumerate(NAMES):
        assert_allclose(record.channels[name].samples, x[k], rtol=1e-6, atol=0.51 * STEP[form])
        assert_allclose(1e6 * raw.get_data()[k], x[k], rtol=1e-6, atol=0.51 * STEP[form])


@pytest.mark.parametrize("form", ["edf", "bdf"])
def test_a_part_is_a_part_of_the_whole_even_an_empty_one(tmp_path: Path, form: Literal["edf", "bdf"]) -> None:
    path = tmp_path / f"a.{form}"
    write_edf(path, wave(), NAMES, 128, 0, form)
    source = open_source(entry_for(path))
    whole, part, nothing = source.read(), source.read(1.0, 3.0), source.read(2.0, 2.0)
    assert_allclose(part.channels["Oz"].samples, whole.channels["Oz"].samples[128:384])
    assert nothing.channels["Oz"].samples.size == 0


@pytest.mark.parametrize("form", ["edf", "bdf"])
def test_what_does_not_fit_is_cut_off_and_the_last_second_filled(tmp_path: Path, form: Literal["edf", "bdf"]) -> None:
    x = wave(1.5)
    x[1, :3] = 1e9, -np.inf, np.nan
    path = tmp_path / f"a.{form}"
    write_edf(path, x, NAMES, 128, 0, form)
    read = open_source(entry_for(path)).read().channels["F4"].samples
    top, bottom = (3276.7, -3276.8) if form == "edf" else (32767, -32767)
    assert_allclose(read[:3], [top, bottom, 0], rtol=1e-4, atol=0.06)
    assert read.size == 256
    assert_allclose(read[192:], 0, atol=0.06)


def test_labels_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    for names in (("A", "B"), ("A", "B", "X" * 17), ("A", "B", "µ")):
        with pytest.raises(DataError, match="at most 16 ASCII letters"):
            write_edf(tmp_path / "a.edf", wave(), names, 128, 0)
