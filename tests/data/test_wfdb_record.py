"""Laws of the WFDB reader: it agrees with wfdb, parts equal the whole, what is missing is told."""

from __future__ import annotations

import warnings
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wfdb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from biosig_mtl.data.readers import entry_for, open_source
from biosig_mtl.data.readers.wfdb_header import read_header
from biosig_mtl.types import DataError, Record, Source

FORMATS = ("8", "16", "24", "32", "61", "80", "160", "212", "310", "311", "508", "516", "524")
# Largest value that a format holds; differences for format 8.
LIMITS = {"8": 60, "80": 120, "508": 120, "212": 2000, "310": 500, "311": 500}
CHANNELS = (("NU", "PLETH"), ("mV", "II"))


def packed(fmt: str, digital: np.ndarray[Any, Any]) -> bytes:
    """Encode samples in the formats that wfdb does not write, as signal(5) describes them."""
    flat = digital.reshape(-1)
    if fmt == "8":
        return np.diff(digital, axis=0, prepend=digital[:1]).astype(np.int8).tobytes()
    if fmt == "61":
        return flat.astype(">i2").tobytes()
    if fmt == "160":
        return (flat + 32768).astype("<u2").tobytes()
    a, b, c = np.pad(flat, (0, -flat.size % 3)).reshape(-1, 3).T & 0x3FF
    if fmt == "311":
        return bytes((a | b << 10 | c << 20).astype("<u4").tobytes())
    words = np.stack([a << 1 | (c & 31) << 11, b << 1 | c >> 5 << 11], axis=1)
    return bytes(words.astype("<u2").tobytes())


def write(folder: Path, name: str, fmt: str, samples: int = 1003) -> np.ndarray[Any, Any]:
    """Write two channels in a format; return what they hold, in mV, with a gap in the second where the format knows gaps."""
    rng = np.random.default_rng(7)
    limit = LIMITS.get(fmt, 30000)
    digital = rng.integers(-limit // 4, limit // 4, (samples, 2))
    if fmt == "8":
        digital = np.cumsum(np.sign(digital), axis=0)
    physical = digital / 50.0
    if fmt != "8":
        physical[100:130, 1] = np.nan
    if fmt in {"8", "61", "160", "310", "311"}:
        digital[np.isnan(physical)] = -512 if fmt in {"310", "311"} else -32768
        (folder / f"{name}.dat").write_bytes(packed(fmt, digital))
        lines = [f"{name}.dat {fmt} 50/{unit} 16 0 {digital[0, n]} 0 0 {label}" for n, (unit, label) in enumerate(CHANNELS)]
        (folder / f"{name}.hea").write_text("\n".join([f"{name} 2 125 {samples}", *lines]) + "\n", encoding="ascii")
        return physical
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        units, labels = ([c[n] for c in CHANNELS] for n in (0, 1))
        wfdb.wrsamp(
            name, 125, units, labels, physical, fmt=[fmt] * 2, adc_gain=[50] * 2, baseline=[0] * 2, write_dir=str(folder)
        )
    return physical


def opened(path: Path) -> Source:
    return open_source(entry_for(path))


def joined(source: Source, cuts: list[float]) -> dict[str, np.ndarray[Any, Any]]:
    edges = [0.0, *sorted(cuts), source.duration_s]
    parts = [source.read(a, b) for a, b in pairwise(edges)]
    return {name: np.concatenate([p.channel(name).samples for p in parts]) for name in source.channels}


def assert_same(record: Record, parts: dict[str, np.ndarray[Any, Any]]) -> None:
    for name, samples in parts.items():
        np.testing.assert_array_equal(record.channel(name).samples, samples)


@pytest.mark.parametrize("fmt", FORMATS)
def test_every_format_holds_what_was_written(tmp_path: Path, fmt: str) -> None:
    written = write(tmp_path, "rec", fmt)
    source = opened(tmp_path / "rec")
    record = source.read()
    assert set(record.channels) == {"ppg", "ecg"}
    assert record.channel("ppg").unit == "NU"
    assert record.channel("ecg").samples.dtype == np.float32
    np.testing.assert_allclose(record.channel("ppg").samples, written[:, 0], atol=1e-6)
    np.testing.assert_allclose(record.channel("ecg").samples, written[:, 1], atol=1e-6)
    assert_same(record, joined(source, [0.008, 1.0, 3.336, 7.9]))


def test_format_8_goes_on_from_the_sum_of_its_differences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = write(tmp_path, "rec", "8")
    monkeypatch.setattr("biosig_mtl.data.readers.wfdb_samples._BLOCK", 100)
    record = opened(tmp_path / "rec").read(4.0, 5.0)
    np.testing.assert_allclose(record.channel("ppg").samples, written[500:625, 0], atol=1e-6)


@pytest.mark.parametrize("fmt", FORMATS)
def test_blocks_join_without_a_seam(tmp_path: Path, fmt: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Formats pack two or three values together, and a block may begin within such a group."""
    write(tmp_path, "rec", fmt)
    source = opened(tmp_path / "rec")
    whole = source.read(1.0, 7.0)
    monkeypatch.setattr("biosig_mtl.data.readers.wfdb_samples._BLOCK", 14)
    assert_same(whole, {name: channel.samples for name, channel in source.read(1.0, 7.0).channels.items()})


def test_a_file_that_shrinks_while_it_is_read_is_told(tmp_path: Path) -> None:
    for fmt in ("16", "212", "516"):
        write(tmp_path, f"rec{fmt}", fmt)
        source = opened(tmp_path / f"rec{fmt}.hea")
        data = tmp_path / f"rec{fmt}.dat"
        data.write_bytes(data.read_bytes()[:300])
        with pytest.raises(DataError, match=rf"rec{fmt}\.dat: "):
            source.read()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["rec.dat 516 50/mV 16 0 0 0 0 II"], "FLAC of 2 signals where the header names 1"),
        (["rec.dat 516x2 50/mV 16 0 0 0 0 II", "rec.dat 516 50/mV 16 0 0 0 0 V"], "FLAC of 2 signals"),
        (
            ["rec.dat 508 50/mV 16 0 0 0 0 II", "rec.dat 508 50/mV 16 0 0 0 0 V"],
            "FLAC of PCM_16 where the header",
        ),
        (["rec.dat 516 50/mV 16 0 0 0 0 II", "rec.dat 16 50/mV 16 0 0 0 0 V"], "several formats"),
    ],
)
def test_a_header_that_does_not_fit_its_flac_is_refused(tmp_path: Path, lines: list[str], message: str) -> None:
    write(tmp_path, "rec", "516")
    (tmp_path / "rec.hea").write_text("\n".join([f"rec {len(lines)} 125", *lines]) + "\n", encoding="ascii")
    with pytest.raises(DataError, match=message):
        opened(tmp_path / "rec.hea").read()


def write_multi_rate(folder: Path) -> None:
    rng = np.random.default_rng(1)
    frames = 300
    fast, slow = rng.integers(-900, 900, frames * 4), rng.integers(-900, 900, frames)
    flat = np.concatenate([fast.reshape(frames, 4), slow.reshape(frames, 1)], axis=1).astype("<i2")
    (folder / "rate.dat").write_bytes(flat.tobytes())
    (folder / "rate.hea").write_text(
        "rate 2 125 300\nrate.dat 16x4 100/mV 16 0 0 0 0 II\nrate.dat 16:2 50(10)/NU 16 0 0 0 0 PLETH\n", encoding="ascii"
    )
    np.savez(folder / "truth.npz", fast=fast, slow=slow)


def test_each_channel_keeps_its_rate_and_a_skewed_one_is_put_back(tmp_path: Path) -> None:
    write_multi_rate(tmp_path)
    truth = np.load(tmp_path / "truth.npz")
    source = opened(tmp_path / "rate.hea")
    record = source.read()
    assert {n: c.fs for n, c in source.channels.items()} == {"ppg": 125.0, "ecg": 500.0}
    np.testing.assert_allclose(record.channel("ecg").samples, truth["fast"] / 100, rtol=1e-6)
    np.testing.assert_allclose(record.channel("ppg").samples[:-2], (truth["slow"][2:] - 10) / 50, rtol=1e-6)
    assert np.isnan(record.channel("ppg").samples[-2:]).all()
    assert_same(record, joined(source, [0.4, 1.0, 2.384]))


def write_segments(folder: Path, *, clocks: bool = False) -> dict[str, np.ndarray[Any, Any]]:
    """Write a record of variable layout: PLETH and II, a gap, II alone, both again."""
    first = write(folder, "s_0001", "16", 500)
    third = write(folder, "s_0003", "212", 250)
    rng = np.random.default_rng(3)
    lone = rng.integers(-100, 100, (375, 1)) / 50.0
    wfdb.wrsamp("s_0002", 125, ["mV"], ["II"], lone, fmt=["16"], adc_gain=[50], baseline=[0], write_dir=str(folder))
    (folder / "s_layout.hea").write_text(
        "s_layout 2 125 0\n~ 0 50/NU 16 0 0 0 0 PLETH\n~ 0 50/mV 16 0 0 0 0 II\n", encoding="ascii"
    )
    (folder / "s.hea").write_text("s/5 2 125 1225\ns_layout 0\ns_0001 500\n~ 100\ns_0002 375\ns_0003 250\n", encoding="ascii")
    if clocks:
        for name, clock in (("s_0002", "23:59:58"), ("s_0003", "0:00:31")):
            path = folder / f"{name}.hea"
            lines = path.read_text(encoding="ascii").splitlines()
            path.write_text("\n".join([f"{lines[0]} {clock}", *lines[1:]]) + "\n", encoding="ascii")
    nothing = np.full(100, np.nan)
    return {
        "ppg": np.concatenate([first[:, 0], nothing, np.full(375, np.nan), third[:, 0]]),
        "ecg": np.concatenate([first[:, 1], nothing, lone[:, 0], third[:, 1]]),
    }


def test_segments_are_joined_with_gaps_as_nan_and_seams_at_gaps_only(tmp_path: Path) -> None:
    truth = write_segments(tmp_path)
    source = opened(tmp_path / "s.hea")
    record = source.read()
    for name, values in truth.items():
        np.testing.assert_allclose(record.channel(name).samples, values, atol=1e-6)
    assert record.seams_s.tolist() == [4.0, 4.8]
    assert record.notes == ()
    assert_same(record, joined(source, [1.0, 4.4, 4.8, 7.0]))


def test_clocks_that_do_not_fit_make_a_seam(tmp_path: Path) -> None:
    write_segments(tmp_path, clocks=True)
    assert opened(tmp_path / "s.hea").read(0, 1).seams_s.tolist() == [4.0, 4.8, 7.8]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.floats(0, 9.8), max_size=5))
def test_parts_joined_equal_the_whole(tmp_path: Path, cuts: list[float]) -> None:
    if not (tmp_path / "s.hea").is_file():
        write_segments(tmp_path)
    source = opened(tmp_path / "s.hea")
    assert_same(source.read(), joined(source, cuts))


def test_a_part_says_where_it_begins_and_times_beyond_the_ends_are_cut(tmp_path: Path) -> None:
    write(tmp_path, "rec", "16")
    source = opened(tmp_path / "rec.hea")
    assert source.read(1.003, 2.0).start_s == 1.0
    assert source.read(-5, 1e9).duration_s == source.duration_s
    assert source.read(3, 2).channel("ppg").samples.size == 0
    assert source.read(100, float("inf")).channel("ppg").samples.size == 0


def test_missing_segments_are_nan_and_told(tmp_path: Path) -> None:
    write_segments(tmp_path)
    (tmp_path / "s_0002.dat").unlink()
    record = opened(tmp_path / "s.hea").read()
    assert record.notes == ("1 of 3 segments missing: s_0002",)
    assert np.isnan(record.channel("ecg").samples[600:975]).all()
    for name in ("s_0001", "s_0003"):
        (tmp_path / f"{name}.hea").unlink()
    with pytest.raises(DataError, match="none of its segments can be read"):
        opened(tmp_path / "s.hea")


def test_a_segment_in_another_unit_or_cut_short_leaves_nan(tmp_path: Path) -> None:
    write_segments(tmp_path)
    header = tmp_path / "s_0003.hea"
    header.write_text(header.read_text(encoding="ascii").replace("/mV", "/uV"), encoding="ascii")
    data = tmp_path / "s_0001.dat"
    data.write_bytes(data.read_bytes()[:1000])
    record = opened(tmp_path / "s.hea").read()
    assert np.isnan(record.channel("ecg").samples[975:]).all()
    assert np.isnan(record.channel("ppg").samples[250:500]).all()
    assert not np.isnan(record.channel("ppg").samples[:250]).any()
    assert record.notes == ("s_0001.dat: holds 250 of 500 samples, 50% are missing",)


def test_without_a_layout_the_segments_say_what_there_is(tmp_path: Path) -> None:
    write_segments(tmp_path)
    (tmp_path / "s_layout.hea").unlink()
    (tmp_path / "s.hea").write_text("s/3 2 125 9999\ns_0001 500\ns_0002 375\ns_0003 250\n", encoding="ascii")
    record = opened(tmp_path / "s.hea").read()
    assert set(record.channels) == {"ppg", "ecg"}
    assert record.notes == ("s.hea: claims 9999 samples, its segments add up to 1125",)


def test_a_truncated_file_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    written = write(tmp_path, "rec", "212")
    data = tmp_path / "rec.dat"
    data.write_bytes(data.read_bytes()[:601])
    record = opened(tmp_path / "rec.hea").read()
    assert record.channel("ppg").samples.size == 200
    np.testing.assert_allclose(record.channel("ppg").samples, written[:200, 0], atol=1e-6)
    assert record.notes == ("rec.dat: holds 200 of 1003 samples, 80% are missing",)


def test_a_header_without_a_length_takes_it_from_the_file(tmp_path: Path) -> None:
    write(tmp_path, "rec", "16")
    header = tmp_path / "rec.hea"
    header.write_text(header.read_text(encoding="ascii").replace(" 125 1003", " 125"), encoding="ascii")
    source = opened(header)
    assert source.read().channel("ppg").samples.size == 1003
    assert_same(source.read(), joined(source, [1.0, 4.0]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rec 1 125 100000000000\nrec.dat 16 50/mV 16 0 0 0 0 II\n", "claims 100000000000 samples, the signal file holds 100"),
        ("rec 1 125 100\n../rec.dat 16 50/mV 16 0 0 0 0 II\n", "refers to '../rec.dat'"),
        ("rec 1 125 100\n/etc/passwd 16 50/mV 16 0 0 0 0 II\n", "refers to '/etc/passwd'"),
        ("rec/1 1 125 100\n../other 100\n", "refers to '../other'"),
        ("rec/2 1 125 100000000100\nseg 100\n~ 100000000000\n", "claims 100000000100 samples, the files hold 100"),
        ("rec 1 125 100\nrec.dat 99 50/mV 16 0 0 0 0 II\n", "storage format 99 is unknown"),
        ("rec 1 125 100\nrec.dat sixteen\n", "line of signal 1 is not readable"),
        ("rec 1 125 100\nrec.dat 16 loud\n", "line of signal 1 is not readable"),
        ("rec 2 125 100\nrec.dat 16 50/mV 16 0 0 0 0 II\n", "promises 2 signals and lists 1"),
        ("rec/2 1 125 100\nseg 100\n", "promises 2 segments and lists 1"),
        ("rec/1 1 125 100\nseg hundred\n", "line of a segment is not readable"),
        ("rec/1 1 125 100\nrec 100\n", "a segment that consists of segments"),
        ("rec 0 125 100\n", "lists no signals"),
        ("rec 1 0 100\nrec.dat 16 50/mV 16 0 0 0 0 II\n", "sampling rate of 0 Hz"),
        ("\x00\x01\x02\n", "not a WFDB header"),
        ("# nothing\n", "not a WFDB header"),
        ("rec 1 125 100\nrec.dat 516 50/mV 16 0 0 0 0 II\n", "not readable as FLAC"),
        ("rec 1 125 100\nrec.dat 16+200 50/mV 16 0 0 0 0 II\n", "holds no complete sample"),
        ("rec 1 125 100\ngone.dat 16 50/mV 16 0 0 0 0 II\n", "gone.dat: no such file"),
        ("rec 1 125 0\n~ 0 50/mV 16 0 0 0 0 II\n", "is the layout"),
    ],
)
def test_nonsense_is_refused_in_one_line_that_names_the_file(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "rec.hea").write_text(text, encoding="ascii")
    (tmp_path / "rec.dat").write_bytes(bytes(200))
    (tmp_path / "seg.hea").write_text("seg 1 125 100\nrec.dat 16 50/mV 16 0 0 0 0 II\n", encoding="ascii")
    with pytest.raises(DataError) as error:
        opened(tmp_path / "rec.hea").read()
    assert message in str(error.value)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(spot=st.integers(0, 150), byte=st.integers(0, 255))
def test_a_changed_byte_of_a_header_never_ends_in_a_traceback(tmp_path: Path, spot: int, byte: int) -> None:
    if not (tmp_path / "good.hea").is_file():
        write(tmp_path, "good", "16")
        (tmp_path / "bad.dat").write_bytes((tmp_path / "good.dat").read_bytes())
    text = bytearray((tmp_path / "good.hea").read_bytes().replace(b"good", b"bad"))
    text[spot % len(text)] = byte
    (tmp_path / "bad.hea").write_bytes(bytes(text))
    with suppress(DataError):
        assert opened(tmp_path / "bad.hea").read().duration_s > 0


def test_declared_channels_are_taken_in_order_of_preference(tmp_path: Path) -> None:
    write(tmp_path, "rec", "16")
    entry = entry_for(tmp_path / "rec.hea", channels={"ecg": ("V", "ii"), "abp": ("ABP",)})
    source = open_source(entry)
    assert {n: c.kind for n, c in source.channels.items()} == {"ecg": "ecg"}
    assert source.read().channel("ecg").source_name == "II"
    with pytest.raises(DataError, match=r"none of the channels looked for \(abp: ABP\); it has PLETH, II"):
        open_source(entry_for(tmp_path / "rec.hea", channels={"abp": ("ABP",)}))


@pytest.mark.parametrize(
    "pattern", ["readers/wfdb/*.hea", "readers/wfdb/041s/*.hea", "annotated/*.hea", "bp/mimic3_atm/34*.hea"]
)
def test_real_headers_and_samples_agree_with_wfdb(data_root: Path, pattern: str) -> None:
    """Golden values: wfdb 4.3 itself, to the last bit of float32 (its format 61 and 8 are tested above)."""
    paths = sorted(data_root.glob(pattern))
    assert paths
    for path in paths:
        name = str(path.with_suffix(""))
        source = opened(path)
        part = source.read(1.0, 6.0)
        header = read_header(path)
        multi = bool(header.segments)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reference = wfdb.rdheader(name)
            names = wfdb.rdheader(name, rd_segments=True).segments[0].sig_name if multi else reference.sig_name
        assert (reference.fs, reference.sig_len) == (header.fs, header.frames)
        first, stop = round(1.0 * header.fs), min(round(6.0 * header.fs), header.frames)
        for channel in part.channels.values():
            position = names.index(channel.source_name)
            if not multi and reference.fmt[position] in {"61", "8"}:
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                record = wfdb.rdrecord(name, first, stop, channels=[position], smooth_frames=False)
            np.testing.assert_array_equal(channel.samples, record.e_p_signal[0].astype(np.float32), err_msg=name)
            assert channel.unit == record.units[0]


def test_opening_reads_no_samples(data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("samples were read")

    monkeypatch.setattr("biosig_mtl.data.readers.wfdb_record.read_digital", refuse)
    assert open_source(entry_for(data_root / "bp/mimic3_atm/3400715.hea")).duration_s == 60
