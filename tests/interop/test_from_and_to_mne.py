"""Laws of the way to mne and back: units are those of mne there and ours here, nothing that can be told is lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from biosig_mtl.data.readers import entry_for, open_source
from biosig_mtl.interop import Signals, from_arrays, from_mne, to_mne
from biosig_mtl.interop.arrays import About
from biosig_mtl.tasks import BLOOD_PRESSURE
from biosig_mtl.types import Channel, DataError, Label, Record, Windows
from biosig_mtl.windows import Windowing, cut

mne: Any = pytest.importorskip("mne")
UNITS = {"F3": "uV", "ecg": "mV", "eda": "uS", "temp": "degC", "ppg": "NU", "abp": "mmHg", "ecg_odd": "NU"}


@pytest.fixture
def record() -> Record:
    rng = np.random.default_rng(0)
    arrays = {name: 10 * rng.normal(size=1000) for name in UNITS}
    arrays["ppg"][100:130] = np.nan
    labels = (Label("sbp", 121.5, "mmHg"), Label("valence", 7.0, "1..9", "self report", 3.5))
    about = About("r1", "s01", labels=labels, stimulus="film 3")
    made = from_arrays(arrays, 125.0, units=UNITS, about=about)
    return replace(made, seams_s=np.array([4.0]))


def same(one: Record, two: Record) -> None:
    assert list(one.channels) == list(two.channels)
    for name, channel in one.channels.items():
        other = two.channels[name]
        assert (channel.kind, channel.unit, channel.fs) == (other.kind, other.unit, other.fs)
        np.testing.assert_array_equal(channel.samples, other.samples)


# ------------------------------------------------------------------------------------------------------------ recordings
def test_a_record_comes_back_from_mne(record: Record) -> None:
    back = from_mne(to_mne(record), about=About("r1"))
    assert isinstance(back, Record)
    same(record, back)
    assert (back.subject, back.stimulus, back.labels) == ("s01", "film 3", record.labels)
    np.testing.assert_allclose(back.seams_s, record.seams_s)


def test_mne_is_given_volts_and_siemens(record: Record) -> None:
    raw = to_mne(record)
    assert raw.get_channel_types() == ["eeg", "ecg", "gsr", "temperature", "misc", "misc", "misc"]
    for name, factor in {"F3": 1e-6, "ecg": 1e-3, "eda": 1e-6, "temp": 1.0, "abp": 1.0}.items():
        np.testing.assert_allclose(raw.get_data()[raw.ch_names.index(name)], record.channels[name].samples * factor, rtol=1e-6)


def test_gaps_are_marked_and_stay_unknown(record: Record) -> None:
    raw = to_mne(record)
    gap = next(a for a in raw.annotations if a["description"] == "BAD_missing")
    assert (gap["onset"], gap["duration"]) == (pytest.approx(100 / 125), pytest.approx(30 / 125))
    assert np.isnan(raw.get_data()[raw.ch_names.index("ppg"), 100:130]).all()


def test_times_are_those_of_the_part(record: Record) -> None:
    part = replace(record, start_s=2.0, seams_s=np.array([1.0, 4.0]))
    marks = {a["description"]: float(a["onset"]) for a in to_mne(part).annotations}
    assert marks["EDGE boundary"] == 2.0
    assert next(at for text, at in marks.items() if "valence" in text) == 1.5


def test_a_recording_goes_through_a_file_of_mne(record: Record, tmp_path: Path) -> None:
    to_mne(record).save(tmp_path / "r_raw.fif", fmt="double", verbose="ERROR")
    back = from_mne(mne.io.read_raw(tmp_path / "r_raw.fif", verbose="ERROR"))
    assert isinstance(back, Record)
    same(record, back)
    assert back.labels == record.labels


def test_a_cropped_recording_keeps_its_marks(record: Record) -> None:
    back = from_mne(to_mne(record).crop(1.0))
    assert isinstance(back, Record)
    assert [label.time_s for label in back.labels if label.name == "valence"] == [2.5]
    np.testing.assert_allclose(back.seams_s, [3.0])


def test_what_mne_opens_is_what_our_reader_opens(data_root: Path) -> None:
    path = data_root / "readers" / "edf_bdf" / "test.bdf"
    theirs, ours = from_mne(mne.io.read_raw(path, verbose="ERROR")), open_source(entry_for(path)).read()
    assert isinstance(theirs, Record)
    assert set(ours.channels) <= set(theirs.channels)
    for name, channel in ours.channels.items():
        other = theirs.channels[name]
        assert (channel.kind, channel.unit, channel.fs) == (other.kind, other.unit, other.fs)
        np.testing.assert_allclose(channel.samples, other.samples, rtol=1e-6, atol=1e-4)


def test_channels_by_our_name_by_theirs_and_by_type() -> None:
    info = mne.create_info(["PLETH", "EXG1", "E12", "Thing"], 100.0, ["misc", "ecg", "eeg", "misc"])
    info["subject_info"] = {"his_id": "X"}
    raw = mne.io.RawArray(np.ones((4, 200)) * 1e-6, info, verbose="ERROR")
    by_name = from_mne(raw)
    assert isinstance(by_name, Record)
    assert {n: (c.kind, c.unit) for n, c in by_name.channels.items()} == {
        "ppg": ("ppg", ""),
        "EXG1": ("ecg", "uV"),
        "E12": ("eeg", "uV"),
    }
    assert by_name.subject == "unknown"
    mapped = from_mne(raw, {"ecg": "EXG1", "ppg": ("no", "PLETH")}, About("r", "me"))
    assert isinstance(mapped, Record)
    assert {n: c.source_name for n, c in mapped.channels.items()} == {"ecg": "EXG1", "ppg": "PLETH"}
    assert (mapped.name, mapped.subject) == ("r", "me")
    assert mapped.channels["ecg"].samples[0] == pytest.approx(1.0)
    with pytest.raises(DataError, match="none of the channels looked for"):
        from_mne(raw, {"ecg": "V1"})


def test_types_that_were_changed_since_have_their_own_unit(record: Record) -> None:
    raw = to_mne(record)
    raw.set_channel_types({"ecg_odd": "eeg"}, verbose="ERROR")
    back = from_mne(raw)
    assert isinstance(back, Record)
    assert back.channels["ecg_odd"].unit == "uV"


@pytest.mark.parametrize(
    "text", ["", "by hand", "biosig-mtl channels: {", "biosig-mtl channels: [1]", 'biosig-mtl channels: {"a": 1}']
)
def test_a_description_of_others_is_let_be(text: str) -> None:
    info = mne.create_info(["ECG"], 100.0, ["ecg"])
    info["description"] = text
    back = from_mne(mne.io.RawArray(np.zeros((1, 50)), info, verbose="ERROR"))
    assert isinstance(back, Record)
    assert back.channels["ecg"].unit == "uV"


def test_several_rates_and_no_channels_are_refused(record: Record) -> None:
    slow = record.with_channel(Channel("resp", "resp", "", 25.0, np.zeros(200, np.float32)))
    with pytest.raises(DataError, match=r"r1: mne knows one rate a recording, got .*resp 25 Hz"):
        to_mne(slow)
    assert to_mne(slow, ["resp"]).info["sfreq"] == 25.0
    with pytest.raises(DataError, match="missing channel 'nose'"):
        to_mne(slow, ["nose"])
    with pytest.raises(DataError, match="no channels"):
        to_mne(slow, [])
    with pytest.raises(DataError, match="need a Raw or Epochs of mne, got dict"):
        from_mne({})


def test_nothing_is_written_to(record: Record) -> None:
    before = {name: channel.samples.copy() for name, channel in record.channels.items()}
    raw = to_mne(record)
    from_mne(raw)
    raw.apply_function(lambda x: x * 0)
    for name, channel in record.channels.items():
        np.testing.assert_array_equal(channel.samples, before[name])


# --------------------------------------------------------------------------------------------------------------- windows
@pytest.fixture
def windows(record: Record) -> Windows:
    return cut(record, Windowing(2.0, ("F3", "ecg"), label="record"), BLOOD_PRESSURE)


def test_windows_come_back_from_epochs(windows: Windows) -> None:
    epochs = to_mne(windows)
    assert epochs.get_channel_types() == ["eeg", "ecg"]
    assert list(epochs.event_id) == ["film 3"]
    assert epochs.metadata["sbp"].tolist() == [121.5] * len(windows)
    back = from_mne(epochs)
    assert isinstance(back, Signals)
    np.testing.assert_array_equal(back.signal, windows.signal)
    assert (back.channels, back.kinds, back.units, back.fs) == (("F3", "ecg"), ("eeg", "ecg"), ("uV", "mV"), 125.0)
    np.testing.assert_allclose(back.onset_s, windows.onset_s)
    assert set(back.event) == {1}


def test_some_channels_of_windows_in_a_unit_that_is_told(windows: Windows) -> None:
    epochs = to_mne(windows, ["ecg"], {"ecg": "uV"})
    np.testing.assert_allclose(epochs.get_data()[:, 0], windows.channel("ecg") * 1e-6, rtol=1e-6)


def test_no_windows_are_refused(record: Record) -> None:
    none = cut(record, Windowing(60.0, ("F3",), label="record"), BLOOD_PRESSURE)
    with pytest.raises(DataError, match="r1: has no windows"):
        to_mne(none)
