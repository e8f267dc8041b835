"""One's own recording as CSV or Parquet."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from biosig_mtl.data.readers import csv_file, entry_for, open_source, parquet_file
from biosig_mtl.types import DataError, Source

FS = 125.0


def signals(rows: int = 2500) -> np.ndarray[Any, Any]:
    return np.round(np.random.default_rng(0).normal(size=(rows, 2)), 4)


def clock(seconds: float) -> str:
    seconds %= 86400
    return f"[{int(seconds // 3600):02d}:{int(seconds // 60 % 60):02d}:{seconds % 60:06.3f}]"


def write_csv(
    path: Path, stamps: list[str], values: np.ndarray[Any, Any], heading: str = "Time,PLETH,II", mark: str = ","
) -> None:
    rows = [mark.join([s, *map(str, v)]) for s, v in zip(stamps, values, strict=True)]
    path.write_text("\n".join([heading.replace(",", mark), *rows]) + "\n", encoding="utf-8")


def opened(path: Path, **options: Any) -> Source:
    return open_source(entry_for(path, options=options))


def ppg(path: Path, **options: Any) -> np.ndarray[Any, Any]:
    return opened(path, **options).read().channel("ppg").samples


def test_seconds_give_the_rate(tmp_path: Path) -> None:
    values = signals()
    write_csv(tmp_path / "a.csv", [f"{n / FS:.3f}" for n in range(len(values))], values)
    source = opened(tmp_path / "a.csv")
    record = source.read()
    assert {n: (c.kind, c.fs) for n, c in record.channels.items()} == {"ppg": ("ppg", FS), "ecg": ("ecg", FS)}
    np.testing.assert_array_equal(record.channel("ecg").samples, values[:, 1].astype(np.float32))
    assert (source.duration_s, record.notes, record.seams_s.size) == (20.0, (), 0)


@pytest.mark.parametrize("fs", [31.25, 64.0, 360.0, 250.0, 1000.0])
def test_rates_survive_stamps_rounded_to_the_millisecond(tmp_path: Path, fs: float) -> None:
    values = signals(4000)
    write_csv(tmp_path / "a.csv", [f"{n / fs:.3f}" for n in range(4000)], values)
    source = opened(tmp_path / "a.csv")
    assert source.channels["ppg"].fs == fs
    np.testing.assert_array_equal(source.read().channel("ppg").samples, values[:, 0].astype(np.float32))


@pytest.mark.parametrize(
    ("stamp", "heading"),
    [
        (lambda n: clock(86390 + n / FS), "Time,PLETH,II"),  # passes midnight
        (lambda n: f"{(50 * 60 + n / FS) // 60:.0f}:{(n / FS) % 60:06.3f}", "Elapsed time,PLETH,II"),
        (lambda n: clock(3600 + n / FS)[1:-1] + " 01/02/2003", "'Time','PLETH','II'"),
        (lambda n: str(np.datetime64("2024-02-28T23:59:55.000") + np.timedelta64(8 * n, "ms")), "timestamp,PLETH,II"),
        (lambda n: str(np.datetime64("2024-02-28T23:59:55.000") + np.timedelta64(8 * n, "ms")) + "Z", "datetime,PLETH,II"),
        (lambda n: str(1_700_000_000_000 + 8 * n), "timestamp,PLETH,II"),  # milliseconds since 1970
        (lambda n: str(8 * n), "time_ms,PLETH,II"),
        (lambda n: str(8 * n), "Time (ms),PLETH (a.u.),II (mV)"),
    ],
)
def test_clocks_and_dates_are_understood(tmp_path: Path, stamp: Any, heading: str) -> None:
    values = signals()
    write_csv(tmp_path / "a.csv", [stamp(n) for n in range(len(values))], values, heading)
    source = opened(tmp_path / "a.csv")
    assert (source.channels["ppg"].fs, source.duration_s) == (FS, 20.0)
    parts = [source.read(a, b).channel("ppg").samples for a, b in pairwise([0, 4.9, 5.1, 20])]
    np.testing.assert_array_equal(np.concatenate(parts), values[:, 0].astype(np.float32))


@pytest.mark.parametrize("mark", [";", "\t", "|", " ", ", "])
def test_delimiters_are_found(tmp_path: Path, mark: str) -> None:
    values = signals(300)
    write_csv(tmp_path / "a.csv", [f"{n / FS:.3f}" for n in range(300)], values, mark=mark)
    np.testing.assert_array_equal(ppg(tmp_path / "a.csv"), values[:, 0].astype(np.float32))


def test_decimal_commas(tmp_path: Path) -> None:
    values = signals(300)
    write_csv(tmp_path / "a.csv", [f"{n / FS:.3f}" for n in range(300)], values, mark=";")
    text = (tmp_path / "a.csv").read_text(encoding="utf-8").replace(".", ",")
    (tmp_path / "a.csv").write_text(text, encoding="latin-1")
    np.testing.assert_array_equal(ppg(tmp_path / "a.csv", fs_hz=FS), values[:, 0].astype(np.float32))


def test_missing_rows_and_missing_values_become_nan(tmp_path: Path) -> None:
    values = signals().astype(object)
    values[10, 0], values[11, 0] = "-", ""
    keep = np.ones(2500, bool)
    keep[500:900] = False
    write_csv(tmp_path / "a.csv", [f"{n / FS:.3f}" for n in np.flatnonzero(keep)], values[keep])
    source = opened(tmp_path / "a.csv")
    samples = source.read().channel("ppg").samples
    assert source.duration_s == 20.0
    truth = np.where(keep, pd.to_numeric(pd.Series(values[:, 0]), errors="coerce"), np.nan).astype(np.float32)
    np.testing.assert_array_equal(samples, truth)
    parts = [source.read(a, b).channel("ppg").samples for a, b in pairwise([0, 3.9, 4.1, 6.5, 20])]
    np.testing.assert_array_equal(np.concatenate(parts), truth)


@pytest.mark.parametrize("start", [0.0, 86395.0])
@pytest.mark.parametrize("gap", [False, True])
def test_a_part_of_a_long_table_equals_the_same_part_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gap: bool, start: float
) -> None:
    monkeypatch.setattr(csv_file, "_ROWS_PER_MARK", 64)
    monkeypatch.setattr(csv_file, "_BLOCK_BYTES", 1000)
    values = signals(3000)
    keep = np.ones(3000, bool)
    keep[900:1200] = not gap
    write_csv(tmp_path / "a.csv", [clock(start + n / FS) for n in np.flatnonzero(keep)], values[keep])
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n").rstrip())
    truth = np.where(keep, values[:, 0], np.nan).astype(np.float32)
    source = opened(path)
    np.testing.assert_array_equal(source.read().channel("ppg").samples, truth)
    for a, b in ((0, 10), (500, 700), (511, 513), (899, 1201), (1000, 1001), (2990, 3000), (5, 5)):
        np.testing.assert_array_equal(source.read(a / FS, b / FS).channel("ppg").samples, truth[a:b])


def test_the_rate_may_be_said_instead(tmp_path: Path) -> None:
    values = signals(300)
    path = tmp_path / "a.csv"
    path.write_text("\n".join(f"{a},{b}" for a, b in values), encoding="utf-8")
    record = opened(path, fs_hz=100).read(1.0, 2.0)
    np.testing.assert_array_equal(record.channel("column_2").samples, values[100:200, 1].astype(np.float32))
    write_csv(path, ["0"] * 300, values)
    record = opened(path, fs_hz=100).read()
    assert record.notes == ("a.csv: time column 'Time' is not used, since fs_hz is given",)
    with pytest.raises(DataError, match="do not advance"):
        opened(path)
    with pytest.raises(DataError, match="need a rate above 0, got -1"):
        opened(path, fs_hz=-1)
    with pytest.raises(DataError, match="no column 'when'; it has Time, PLETH, II"):
        opened(path, time="when")


def test_quoted_lines_with_a_unit_line_and_a_mark_are_read(tmp_path: Path) -> None:
    """The export of PhysioBank ATM: every line in quotes, names in other quotes."""
    rows = [f"\"'[10:00:{n * 8 // 1000:02d}.{n * 8 % 1000:03d}]',{n},-\"" for n in range(200)]
    text = "\n".join(["\"'Time','PLETH','II'\"", "\"'hh:mm:ss.mmm','NU','mV'\"", *rows])
    (tmp_path / "a.csv").write_text(text, encoding="utf-8-sig")
    record = opened(tmp_path / "a.csv").read()
    assert record.channel("ppg").unit == "NU"
    np.testing.assert_array_equal(record.channel("ppg").samples, np.arange(200))
    assert np.isnan(record.channel("ecg").samples).all()


def lines_of(stamps: list[str]) -> str:
    return "\n".join(["Time,PLETH", *[f"{s},1" for s in stamps]]) + "\n"


STAMPS = [f"{n / FS:.3f}" for n in range(300)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("\n\n", "the table holds nothing"),
        ("Time,PLETH\ns,NU\n", "has a heading and no rows"),
        ("Time,PLETH\n", "has a heading and no rows"),
        ("ECG,PLETH\n1,2\n3,4\n", "no time column (ECG, PLETH); say the sampling rate (option fs_hz)"),
        (lines_of([*STAMPS[:100], "0.796", *STAMPS[101:]]), ""),
        (lines_of([*STAMPS[:100], "0.830", *STAMPS[101:]]), "line 102: time stamps are uneven for 125 Hz"),
        (lines_of([*STAMPS[:100], "0.400", *STAMPS[101:]]), "line 102: time stamps are uneven for 125 Hz"),
        (lines_of([*STAMPS[:100], *STAMPS[50:]]), "line 102: time stamps are uneven"),
        (lines_of([*STAMPS[:100], "soon", *STAMPS[101:]]), "line 102: time stamp 'soon' is not readable"),
        (lines_of(STAMPS[::-1]), "do not advance"),
        (lines_of(["0", "1", "0"]), "the last time stamp is not later than the first"),
        (lines_of([*STAMPS, "9999999"]), "time stamps or rate are wrong"),
        (lines_of(STAMPS).replace("0.800,1", "0.800,loud"), "line 102: 'loud' in column 'PLETH' is no number"),
        (lines_of(STAMPS).replace("0.800,1", "0.800,1\0"), "is not a text table"),
        ("Time,NOISE\n" + lines_of(STAMPS)[11:], ""),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    if not message:
        assert opened(tmp_path / "a.csv").read().duration_s == 2.4
        return
    with pytest.raises(DataError) as error:
        opened(tmp_path / "a.csv").read()
    assert message in str(error.value)
    assert str(error.value).startswith(str(tmp_path / "a.csv"))
    assert "\n" not in str(error.value)


def test_utf16_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(lines_of(STAMPS), encoding="utf-16")
    with pytest.raises(DataError, match="UTF-16"):
        opened(tmp_path / "a.csv")


def test_latin_1_headings_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(lines_of(STAMPS).replace("PLETH", "PLETH (µV)").encode("latin-1"))
    assert opened(tmp_path / "a.csv").channels["ppg"].unit == "µV"


def frame_of(rows: int, stamps: Any) -> pa.Table:
    values = signals(rows)
    schema = pa.schema([("time", stamps.type), pa.field("PPG", pa.float32(), metadata={"unit": "NU"}), ("ECG", pa.int32())])
    return pa.Table.from_arrays(
        [stamps, pa.array(values[:, 0], pa.float32()), pa.array(np.arange(rows), pa.int32())], schema=schema
    )


@pytest.mark.parametrize("kind", ["seconds", "timestamp", "zoned", "text", "gap"])
def test_parquet_parts_equal_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(parquet_file, "_ROWS_PER_MARK", 128)
    seconds = np.arange(1500) / FS + (np.arange(1500) >= 700) * (4.0 if kind == "gap" else 0.0)
    milliseconds = pa.array((seconds * 1000).round().astype(np.int64))
    stamps = {
        "timestamp": milliseconds.cast(pa.timestamp("ms")),
        "zoned": milliseconds.cast(pa.timestamp("ms", "UTC")),
        "text": pa.array([clock(s) for s in seconds]),
    }.get(kind, pa.array(seconds))
    if kind == "text":
        stamps = pa.array([clock(s)[1:-1] for s in seconds])
    pq.write_table(frame_of(1500, stamps), tmp_path / "a.parquet", row_group_size=400)
    source = opened(tmp_path / "a.parquet")
    whole = source.read()
    truth = np.full(source.frames, np.nan, np.float32)  # type: ignore[attr-defined]
    truth[np.rint(seconds * FS).astype(int)] = signals(1500)[:, 0].astype(np.float32)
    np.testing.assert_array_equal(whole.channel("ppg").samples, truth)
    assert (whole.channel("ppg").fs, whole.channel("ppg").unit) == (FS, "NU")
    for a, b in ((0, 1), (390, 410), (600, 1300), (1499, 1500), (127, 129)):
        np.testing.assert_array_equal(source.read(a / FS, b / FS).channel("ppg").samples, truth[a:b])


def test_parquet_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1" + bytes(50))
    with pytest.raises(DataError, match="not readable as Parquet"):
        opened(path)
    pq.write_table(pa.table({"time": [0.0, 0.1, 0.2], "PPG": ["a", "b", "c"]}), path)
    with pytest.raises(DataError, match="column 'PPG' is string, not numbers"):
        opened(path).read()
    pq.write_table(pa.table({"time": pa.array([], pa.float64())}), path)
    with pytest.raises(DataError, match="has no rows"):
        opened(path)
    pq.write_table(pa.table({"time": np.arange(300) / FS, "PPG": [None if n == 7 else 1.0 for n in range(300)]}), path)
    assert np.flatnonzero(np.isnan(ppg(path))).tolist() == [7]
    pq.write_table(pa.table({"time": np.sort(np.random.default_rng(0).uniform(0, 2, 300)), "PPG": np.ones(300)}), path)
    with pytest.raises(DataError, match=r"line \d+: time stamps are uneven"):
        opened(path).read()


def test_real_exports_agree_with_their_wfdb_copies(data_root: Path) -> None:
    """Golden: the WFDB records were encoded from these exports (2000 steps a mV, 4096 a NU, 100 a mmHg)."""
    folder = data_root / "bp" / "mimic3_atm"
    paths = sorted((folder / "csv_original").glob("*.csv"))
    assert len(paths) == 7
    for path in paths:
        table = opened(path).read()
        record = opened(folder / f"{path.name.split('_')[0]}.hea").read()
        for name, step in (("ppg", 1 / 4096), ("ecg", 1 / 2000), ("abp", 1 / 100)):
            a, b = table.channel(name), record.channel(name)
            assert (a.fs, a.unit, a.samples.size) == (b.fs, b.unit, b.samples.size)
            np.testing.assert_allclose(a.samples, b.samples, atol=0.51 * step)


def test_a_real_eight_minute_table_is_read(data_root: Path) -> None:
    source = opened(data_root / "annotated" / "bidmc_01_Signals.csv")
    record = source.read(100, 110)
    assert (source.duration_s, record.channel("ppg").samples.size, record.channel("ppg").fs) == (480.008, 1250, 125.0)
    assert record.channel("ecg").source_name == "II"
