"""Laws of records from arrays and from wfdb's own records, and of the record as an opened source."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from biosig_mtl import pipeline
from biosig_mtl.data.readers import entry_for, open_source
from biosig_mtl.interop import RecordSource, from_arrays, from_wfdb, opened
from biosig_mtl.interop.arrays import About
from biosig_mtl.recipe import load
from biosig_mtl.types import DataError, Record, Source


# ---------------------------------------------------------------------------------------------------------------- arrays
def test_a_record_does_not_share_its_arrays() -> None:
    given = np.zeros(10, np.float32)
    record = from_arrays({"ppg": given}, 125.0)
    given[:] = 1
    assert not record.channels["ppg"].samples.any()


@pytest.mark.parametrize(
    ("arrays", "fs", "more", "message"),
    [
        ({}, 125.0, {}, "has no channels"),
        ({"ppg": np.zeros((2, 5))}, 125.0, {}, r"channel 'ppg' needs one row of samples, got an array of shape \(2, 5\)"),
        ({"ppg": ["a"]}, 125.0, {}, "channel 'ppg' holds something that is no number"),
        ({"ppg": [1.0]}, 0.0, {}, "channel 'ppg' needs a rate fs > 0 Hz, got 0"),
        ({"ppg": [1.0]}, {"ecg": 1.0}, {}, "channel 'ppg' needs a rate fs > 0 Hz, got None"),
        ({"ppg": [1.0]}, 125.0, {"units": {"ecg": "mV"}}, "a channel 'ecg', of which there is no array"),
    ],
)
def test_what_is_no_recording_is_told_by_channel(arrays: Any, fs: Any, more: Any, message: str) -> None:
    with pytest.raises(DataError, match=f"mine: .*{message}"):
        from_arrays(arrays, fs, about=About("mine"), **more)


def test_kinds_are_told_or_by_name() -> None:
    record = from_arrays({"ppg": [0.0], "wave": [0.0], "Cz": [0.0]}, 10.0, kinds={"wave": "ecg"})
    assert [c.kind for c in record.channels.values()] == ["ppg", "ecg", "eeg"]


# ---------------------------------------------------------------------------------------------------------------- source
@pytest.fixture
def record() -> Record:
    rng = np.random.default_rng(0)
    rates = {"ppg": 125.0, "eda": 4.0, "ecg": 250.0}
    return from_arrays({n: rng.normal(size=round(60 * fs)) for n, fs in rates.items()}, rates)


def test_a_record_is_a_source(record: Record) -> None:
    source, entry = opened(record)
    assert isinstance(source, Source)
    assert source.read() is record
    assert (entry.record, entry.subject, source.duration_s) == ("record", "unknown", 60.0)
    assert source.channels["eda"].fs == 4.0


@pytest.mark.parametrize(
    ("start_s", "stop_s"), [(10.0, 20.0), (0.1, 5.3), (-5.0, 7.0), (50.0, 100.0), (30.0, 30.0), (5.0, None)]
)
def test_parts_are_aligned_and_meet(record: Record, start_s: float, stop_s: float | None) -> None:
    source = RecordSource(record)
    part = source.read(start_s, stop_s)
    for name, channel in part.channels.items():
        first = round(part.start_s * channel.fs)
        assert part.start_s * channel.fs == pytest.approx(first)
        whole = record.channels[name].samples
        np.testing.assert_array_equal(channel.samples, whole[first : first + channel.samples.size])
    assert abs(part.start_s - np.clip(start_s, 0, 60)) <= 0.5
    before = source.read(0.0, start_s)
    joined = np.concatenate([before.channels["ecg"].samples, part.channels["ecg"].samples])
    np.testing.assert_array_equal(joined, record.channels["ecg"].samples[: joined.size])


def test_rates_that_never_meet_give_the_whole() -> None:
    odd = from_arrays({"a": np.zeros(1000), "b": np.zeros(1000)}, {"a": 100.0, "b": 99.9871})
    assert RecordSource(odd).read(2.0, 3.0) is odd
    assert RecordSource(Record("none", "s", "1", {})).read(1.0, 2.0).channels == {}


def test_a_part_is_no_source(record: Record) -> None:
    with pytest.raises(DataError, match="starts at 10 s"):
        opened(RecordSource(record).read(10.0, 20.0))


def test_a_record_made_of_arrays_is_prepared_as_its_file(data_root: Path) -> None:
    path = next((data_root / "bp" / "uci_kachuee").rglob("*.hea"))
    there = open_source(entry_for(path)).read()
    arrays = {name: channel.samples for name, channel in there.channels.items()}
    mine = from_arrays(arrays, {n: c.fs for n, c in there.channels.items()})
    made = pipeline.preparation(load("demo_bp")).unlabelled()
    np.testing.assert_array_equal(made.apply(mine)[2].values, made.apply(there)[2].values)


# ------------------------------------------------------------------------------------------------------------------ wfdb
@pytest.mark.parametrize(
    "words", [{}, {"smooth_frames": False}, {"physical": False}, {"physical": False, "smooth_frames": False}]
)
@pytest.mark.parametrize("name", ["a103l", "v102s", "3000003_0003"])
def test_a_record_of_wfdb_is_that_of_our_reader(data_root: Path, name: str, words: dict[str, Any]) -> None:
    import wfdb

    path = data_root / "readers" / "wfdb" / name
    ours, theirs = open_source(entry_for(path)).read(), from_wfdb(wfdb.rdrecord(str(path), **words))
    assert list(theirs.channels) == list(ours.channels)
    assert theirs.name == theirs.subject == name
    for key, channel in ours.channels.items():
        got = theirs.channels[key]
        assert (got.kind, got.unit, got.fs, got.source_name) == (channel.kind, channel.unit, channel.fs, channel.source_name)
        np.testing.assert_allclose(got.samples, channel.samples, rtol=1e-6)


def test_several_samples_a_frame_are_a_rate_of_their_own() -> None:
    signals = [np.arange(40.0), np.array([1.0, np.nan] * 5)]
    words = {"p_signal": None, "d_signal": None, "e_p_signal": signals, "e_d_signal": None, "samps_per_frame": [4, 1]}
    given = SimpleNamespace(record_name="x", sig_name=["ECG", "RESP"], fs=100, units=["mV", None], **words)
    made = from_wfdb(given, {"fast": "ECG", "resp": ("no", "RESP")}, About("mine", "me"))
    assert [(c.fs, c.samples.size, c.unit) for c in made.channels.values()] == [(400.0, 40, "mV"), (100.0, 10, "")]
    assert (made.name, made.subject) == ("mine", "me")
    assert np.isnan(made.channels["resp"].samples[1])


def test_what_is_no_record_with_samples_is_told(data_root: Path) -> None:
    import wfdb

    place = data_root / "readers" / "wfdb"
    with pytest.raises(DataError, match=r"need a wfdb\.Record, got dict"):
        from_wfdb({})
    with pytest.raises(DataError, match="a103l: holds no samples"):
        from_wfdb(wfdb.rdheader(str(place / "a103l")))
    with pytest.raises(DataError, match="is made of segments"):
        from_wfdb(wfdb.rdrecord(str(place / "041s" / "041s"), m2s=False))
    with pytest.raises(DataError, match="a103l: none of the channels looked for"):
        from_wfdb(wfdb.rdrecord(str(place / "a103l")), {"eeg": "Fz"})
