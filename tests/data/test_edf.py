"""EDF and BDF, read in place: the samples are those of mne, at each channel's own rate."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import mne
import numpy as np
import pytest

from biosig_mtl.data.readers import entry_for, open_source
from biosig_mtl.types import DataError

LABELS = ("PLETH", "ECG II", "EDF Annotations")


def field(text: object, width: int) -> bytes:
    return str(text).encode("latin-1").ljust(width)[:width]


def write_edf(
    path: Path, records: int = 4, claimed: int | None = None, kind: str = "EDF+C", onsets: list[float] | None = None
) -> None:
    """Write two channels (100 and 250 Hz) and annotations; data records of 1 s."""
    samples = (100, 250, 20)
    records_claimed = records if claimed is None else claimed
    words = [
        (0, 8),
        ("x", 80),
        ("x", 80),
        ("01.01.20", 8),
        ("00.00.00", 8),
        (1024, 8),
        (kind, 44),
        (records_claimed, 8),
        (1, 8),
        (3, 4),
    ]
    head = b"".join(field(word, width) for word, width in words)
    none = ("", "", "")
    columns: list[tuple[tuple[object, ...], int]] = [
        (LABELS, 16), (none, 80), (("NU", "µV", ""), 8), ((-1, -1000, -1), 8), ((1, 1000, 1), 8), ((-32768,) * 3, 8),
        ((32767,) * 3, 8), (none, 80), (samples, 8), (none, 32),
    ]  # fmt: skip
    body = b"".join(field(value, width) for values, width in columns for value in values)
    data = b""
    rng = np.random.default_rng(0)
    for number in range(records):
        onset = number if onsets is None else onsets[number]
        data += (
            rng.integers(-30000, 30000, 100).astype("<i2").tobytes() + rng.integers(-30000, 30000, 250).astype("<i2").tobytes()
        )
        data += f"+{onset}\x14\x14\0".encode().ljust(40, b"\0")
    path.write_bytes(head + body + data)


def test_each_channel_keeps_its_rate_and_parts_equal_the_whole(tmp_path: Path) -> None:
    write_edf(tmp_path / "a.edf")
    source = open_source(entry_for(tmp_path / "a.edf"))
    whole = source.read()
    assert {n: (c.fs, c.unit) for n, c in source.channels.items()} == {"ppg": (100.0, "NU"), "ecg": (250.0, "µV")}
    assert (source.duration_s, whole.notes, whole.seams_s.size) == (4.0, (), 0)
    parts = [source.read(a, b) for a, b in pairwise([0, 0.02, 1.5, 2.98, 3.0, 4.0])]
    for name in whole.channels:
        np.testing.assert_array_equal(np.concatenate([p.channel(name).samples for p in parts]), whole.channel(name).samples)
    assert source.read(9, 10).channel("ppg").samples.size == 0


def test_an_interrupted_recording_has_seams(tmp_path: Path) -> None:
    write_edf(tmp_path / "a.edf", kind="EDF+D", onsets=[0, 1, 7, 8])
    record = open_source(entry_for(tmp_path / "a.edf")).read()
    assert record.seams_s.tolist() == [2.0]
    assert record.notes == ("a.edf: 1 interruptions; the time between them is left out",)


def test_a_truncated_or_unclosed_file_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    write_edf(tmp_path / "a.edf", claimed=10)
    assert open_source(entry_for(tmp_path / "a.edf")).read().notes == ("a.edf: holds 4 of 10 data records, 60% are missing",)
    write_edf(tmp_path / "a.edf", claimed=-1)
    source = open_source(entry_for(tmp_path / "a.edf"))
    assert source.read().notes == ("a.edf: was never closed; it holds 4 data records",)
    (tmp_path / "a.edf").write_bytes((tmp_path / "a.edf").read_bytes()[:2000])
    with pytest.raises(DataError, match="became shorter"):
        source.read()


@pytest.mark.parametrize(
    ("spot", "word", "message"),
    [
        (0, b"PK\3\4", "is no EDF or BDF file"),
        (184, b"99999999", "ends within its header"),
        (184, b"512     ", "claims only 512 bytes"),
        (244, b"0       ", "data records of 0 s"),
        (252, b"many", "holds 'many' where a number belongs"),
        (252, b"0   ", "ends within its header"),
        (236, b"nan     ", "holds 'nan' where a number belongs"),
        (256 + 3 * 216, b"-5      ", "claims -5 samples"),
        (236, b"0       ", "holds no complete data record"),
    ],
)
def test_broken_headers_are_refused(tmp_path: Path, spot: int, word: bytes, message: str) -> None:
    write_edf(tmp_path / "a.edf")
    data = bytearray((tmp_path / "a.edf").read_bytes())
    data[spot : spot + len(word)] = word
    (tmp_path / "a.edf").write_bytes(bytes(data))
    with pytest.raises(DataError, match=message):
        open_source(entry_for(tmp_path / "a.edf"))


def test_annotations_alone_are_no_recording(tmp_path: Path) -> None:
    write_edf(tmp_path / "a.edf")
    whole = bytearray((tmp_path / "a.edf").read_bytes())
    for n in range(3):
        whole[256 + 16 * n : 272 + 16 * n] = b"EDF Annotations "
    (tmp_path / "a.edf").write_bytes(bytes(whole))
    with pytest.raises(DataError, match="no channels besides annotations"):
        open_source(entry_for(tmp_path / "a.edf"))


@pytest.mark.parametrize("name", ["test.edf", "test.bdf", "duplicate_channel_labels.edf"])
def test_real_samples_agree_with_mne(data_root: Path, name: str) -> None:
    """Golden: mne 1.13, whose values are in volts; equal but for its rounding in double precision."""
    path = data_root / "readers" / "edf_bdf" / name
    record = open_source(entry_for(path)).read()
    reader = mne.io.read_raw_bdf if path.suffix == ".bdf" else mne.io.read_raw_edf
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        raw = reader(path, preload=False, verbose="ERROR")
        values = raw.get_data(verbose="ERROR") * 1e6
    compared = 0
    for position, label in enumerate(raw.ch_names):
        if label in record.channels and record.channels[label].unit == "uV":
            np.testing.assert_allclose(record.channels[label].samples, values[position], rtol=1e-6, atol=1e-3)
            compared += 1
    assert compared >= (1 if "duplicate" in name else 30)
    assert record.notes == ()


def test_uneven_rates_and_duplicate_labels_stay_apart(data_root: Path) -> None:
    folder = data_root / "readers" / "edf_bdf"
    uneven = open_source(entry_for(folder / "test_uneven_samp.edf"))
    assert [c.fs for c in uneven.channels.values()] == [100.0, 12.8]
    double = open_source(entry_for(folder / "duplicate_channel_labels.edf")).read()
    assert list(double.channels) == ["EEG F1-Ref", "EEG F2-Ref", "EEG F1-Ref#3"]
    assert [c.source_name for c in double.channels.values()] == ["EEG F1-Ref", "EEG F2-Ref", "EEG F1-Ref"]
