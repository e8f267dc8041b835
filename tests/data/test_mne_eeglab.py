"""EEGLAB recordings, read by a reader of our own: the samples are those that were saved, and those of mne."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import mne
import numpy as np
import pytest

from biosig_mtl.data.readers import entry_for, open_source
from biosig_mtl.types import DataError, Record

VALUES = np.random.default_rng(0).normal(0, 20, (3, 500)).astype(np.float32)
PLACES = np.array([("Fp1",), ("ECG",), ("AF3",)], dtype=[("labels", object)])


def content(**changed: Any) -> dict[str, Any]:
    empty: list[float] = []
    return {
        "setname": "x", "nbchan": 3, "trials": 1, "pnts": 500, "srate": 100.0, "xmin": 0.0, "xmax": 4.99, "data": VALUES,
        "chanlocs": PLACES, "event": empty, "epoch": empty, "icawinv": empty, "icasphere": empty, "icaweights": empty,
        "icachansind": empty, "ref": "common",
    } | changed  # fmt: skip


def write(folder: Path, *, flat: bool = False, packed: bool = False, **changed: Any) -> Path:
    from scipy.io import savemat

    held = content(**changed)
    savemat(folder / "a.set", held if flat else {"EEG": held}, appendmat=False, do_compression=packed)
    return folder / "a.set"


def read(path: Path) -> Record:
    return open_source(entry_for(path)).read()


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_both_layouts_give_what_was_saved_and_what_mne_reads(tmp_path: Path, flat: bool, packed: bool) -> None:
    path = write(tmp_path, flat=flat, packed=packed)
    record = read(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = mne.io.read_raw_eeglab(path, preload=True, verbose="ERROR")
    for row, name in enumerate(("Fp1", "ecg", "AF3")):
        samples = record.channel(name).samples
        np.testing.assert_array_equal(samples, VALUES[row])
        np.testing.assert_allclose(samples, theirs.get_data(picks=[row])[0] * 1e6, rtol=1e-5)
    assert theirs.info["sfreq"] == record.channel("Fp1").fs == 100.0


def test_samples_beside_are_read_also_after_both_were_renamed(tmp_path: Path) -> None:
    path = write(tmp_path, data="old_name.fdt")
    VALUES.T.astype("<f4").tofile(tmp_path / "a.fdt")
    np.testing.assert_array_equal(read(path).channel("AF3").samples, VALUES[2])
    source = open_source(entry_for(path))
    parts = [source.read(a, b).channel("Fp1").samples for a, b in ((0, 1.23), (1.23, 9))]
    np.testing.assert_array_equal(np.concatenate(parts), VALUES[0])
    (tmp_path / "a.fdt").write_bytes(bytes(12 * 400))
    with pytest.raises(DataError, match="became shorter"):
        source.read()
    assert read(path).notes == ("a.set: claims 500 samples and holds 400",)
    (tmp_path / "a.fdt").write_bytes(bytes(11))
    with pytest.raises(DataError, match=r"its samples in a\.fdt are none"):
        read(path)


def test_boundaries_are_seams(tmp_path: Path) -> None:
    events = np.array(
        [("boundary", 101.0), ("square", 150.0), ("boundary", np.nan), (5.0, 7.0)],
        dtype=[("type", object), ("latency", object)],
    )
    assert read(write(tmp_path, event=events)).seams_s.tolist() == [1.0]


def test_channels_without_names_are_named_as_mne_names_them(tmp_path: Path) -> None:
    assert set(read(write(tmp_path, chanlocs=[])).channels) == {"EEG 000", "EEG 001", "EEG 002"}
    some = np.array([("Fz",), (3.0,)], dtype=[("labels", object)])
    assert set(read(write(tmp_path, chanlocs=some)).channels) == {"Fz", "EEG 001", "EEG 002"}


def test_values_that_were_never_measured_are_nan(tmp_path: Path) -> None:
    values = VALUES.astype(np.float64)
    values[1, 5], values[1, 6] = np.inf, 1e300
    samples = read(write(tmp_path, data=values)).channel("ecg").samples
    assert np.isnan(samples[5:7]).all()
    assert np.isfinite(samples[:5]).all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"trials": 5}, "holds 5 epochs"),
        ({"srate": 0.0}, "claims 3 channels at 0 Hz"),
        ({"srate": np.inf}, "claims 3 channels at 0 Hz"),
        ({"srate": "fast"}, "claims 3 channels at 0 Hz"),
        ({"nbchan": 1e9}, "claims 1000000000 channels"),
        ({"nbchan": -1}, "claims -1 channels"),
        ({"nbchan": 4}, "needs samples of 4 channels, got numbers of shape"),
        ({"data": {"x": 1}}, "needs samples of 3 channels, got struct"),
        ({"data": VALUES.astype(complex)}, "needs samples of 3 channels, got other"),
        ({"data": "a.set"}, "its samples in a.set are none"),
        ({"data": "gone.fdt"}, "a.fdt: no such file"),
    ],
)
def test_nonsense_is_refused_in_one_line(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as error:
        read(write(tmp_path, **changed))
    assert message in str(error.value)
    assert "a.set" in str(error.value) or "a.fdt" in str(error.value)


def test_other_matlab_files_are_no_recordings(tmp_path: Path) -> None:
    from scipy.io import savemat

    savemat(tmp_path / "a.set", {"x": 1}, appendmat=False)
    with pytest.raises(DataError, match="is no recording of EEGLAB; it has x"):
        read(tmp_path / "a.set")
    savemat(tmp_path / "a.set", {"EEG": {"x": 1}}, appendmat=False)
    with pytest.raises(DataError, match="claims 1 channels at 0 Hz"):
        read(tmp_path / "a.set")
