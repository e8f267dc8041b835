"""Containers that mne reads."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import mne
import numpy as np
import pytest

from biosig_mtl.data.readers import entry_for, open_source
from biosig_mtl.types import DataError


def write_fif(path: Path) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    values = np.random.default_rng(0).normal(size=(3, 1000)) * 1e-5
    info = mne.create_info(["Fp1", "ECG", "T"], 200.0, ["eeg", "ecg", "misc"])
    raw = mne.io.RawArray(values, info, verbose="ERROR")
    raw.set_annotations(mne.Annotations([2.5], [0], ["BAD boundary"]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        raw.save(path, verbose="ERROR")
    return values


def test_volts_become_microvolts_and_boundaries_seams(tmp_path: Path) -> None:
    values = write_fif(tmp_path / "a_raw.fif")
    source = open_source(entry_for(tmp_path / "a_raw.fif", channels={"fp1": ("Fp1",), "ecg": ("ECG",), "temp": ("T",)}))
    whole = source.read()
    np.testing.assert_allclose(whole.channel("ecg").samples, values[1] * 1e6, rtol=1e-5)
    np.testing.assert_allclose(whole.channel("temp").samples, values[2], rtol=1e-5)
    assert (whole.channel("fp1").unit, whole.channel("temp").unit, source.duration_s) == ("uV", "", 5.0)
    assert whole.seams_s.tolist() == [2.5]
    parts = [source.read(a, b).channel("ecg").samples for a, b in ((0, 1.234), (1.234, 5))]
    np.testing.assert_array_equal(np.concatenate(parts), whole.channel("ecg").samples)
    assert source.read(5, 6).channel("ecg").samples.size == 0


def test_garbage_is_refused_in_one_line(tmp_path: Path) -> None:
    for name in ("a.fif", "a.vhdr", "a.set"):
        (tmp_path / name).write_bytes(b"nothing of the kind\n" * 40)
        with pytest.raises(DataError) as error:
            open_source(entry_for(tmp_path / name))
        assert name in str(error.value)
        assert "\n" not in str(error.value)


def test_a_header_without_its_data_is_refused(data_root: Path, tmp_path: Path) -> None:
    folder = data_root / "readers" / "brainvision"
    for path in folder.iterdir():
        shutil.copyfile(path, tmp_path / path.name)
    (tmp_path / "test.eeg").unlink()
    with pytest.raises(DataError, match=r"test\.vhdr: not readable"):
        open_source(entry_for(tmp_path / "test.vhdr"))
    (tmp_path / "test.vhdr").unlink()
    (tmp_path / "test.eeg").write_bytes(b"x")
    with pytest.raises(DataError, match=r"its header test\.vhdr is missing"):
        entry_for(tmp_path / "test.eeg")


def test_a_cut_data_file_is_told(data_root: Path, tmp_path: Path) -> None:
    for path in (data_root / "readers" / "brainvision").iterdir():
        shutil.copyfile(path, tmp_path / path.name)
    (tmp_path / "test.eeg").write_bytes((tmp_path / "test.eeg").read_bytes()[:100_001])
    record = open_source(entry_for(tmp_path / "test.vhdr")).read()
    assert record.channel("FP1").samples.size == 1562
    assert "test.eeg: ends within a sample: it was cut" in record.notes


@pytest.mark.parametrize("name", ["test.vhdr", "test.eeg"])
def test_real_brainvision_is_read(data_root: Path, name: str) -> None:
    record = open_source(entry_for(data_root / "readers" / "brainvision" / name)).read(1, 2)
    assert len(record.channels) == 28
    assert {c.kind for c in record.channels.values()} == {"eeg"}
    assert record.channel("FP1").samples.size == 1000
    assert np.abs(record.channel("FP1").samples).max() > 0.5


def test_a_fif_that_says_what_a_channel_is_is_believed(tmp_path: Path) -> None:
    names = ["E1", "E2", "Fp1", "EXG1", "sweat", "STI"]
    info = mne.create_info(names, 100.0, ["eeg", "eeg", "eeg", "ecg", "gsr", "stim"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mne.io.RawArray(np.ones((6, 300)) * 1e-5, info, verbose="ERROR").save(tmp_path / "a_raw.fif", verbose="ERROR")
    channels = open_source(entry_for(tmp_path / "a_raw.fif")).channels
    assert {n: (c.kind, c.unit) for n, c in channels.items()} == {
        "Fp1": ("eeg", "uV"), "E1": ("eeg", "uV"), "E2": ("eeg", "uV"), "EXG1": ("ecg", "uV"), "sweat": ("eda", "uS"),
    }  # fmt: skip


def test_eeglab_is_read_in_microvolts(tmp_path: Path) -> None:
    from scipy.io import savemat

    values = np.random.default_rng(0).normal(0, 20, (3, 1000)).astype(np.float32)
    places = np.array([(name,) for name in ("Fp1", "ECG", "AF3")], dtype=[("labels", object)])
    empty: list[float] = []
    content = {
        "setname": "x", "nbchan": 3, "trials": 1, "pnts": 1000, "srate": 128.0, "xmin": 0.0, "xmax": 999 / 128, "data": values,
        "chanlocs": places, "event": empty, "epoch": empty, "icawinv": empty, "icasphere": empty, "icaweights": empty,
        "icachansind": empty, "ref": "common",
    }  # fmt: skip
    savemat(tmp_path / "a.set", {"EEG": content}, appendmat=False)
    source = open_source(entry_for(tmp_path / "a.set"))
    record = source.read()
    assert {n: (c.kind, c.unit, c.fs) for n, c in record.channels.items()} == {
        "Fp1": ("eeg", "uV", 128.0), "AF3": ("eeg", "uV", 128.0), "ecg": ("ecg", "uV", 128.0)
    }  # fmt: skip
    np.testing.assert_allclose(record.channel("AF3").samples, values[2], rtol=1e-5)
    parts = [source.read(a, b).channel("Fp1").samples for a, b in ((0, 2.3), (2.3, 9))]
    np.testing.assert_array_equal(np.concatenate(parts), record.channel("Fp1").samples)
