"""Laws of samples as text: the numbers that were written arrive, and a line that is none is told by its number."""

from __future__ import annotations

import io
import json
import math
import os
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biosig_mtl.inference.stream_words import Chunk
from biosig_mtl.live import LineSettings, LineSource, LiveSource
from biosig_mtl.types import ChannelInfo, DataError, RecipeError

ANY = LineSettings({})
AT_10 = LineSettings({}, fs_hz=10.0)


def source(text: str | bytes, settings: LineSettings = ANY) -> LineSource:
    return LineSource(io.BytesIO(text if isinstance(text, bytes) else text.encode()), settings)


def read(made: LineSource) -> list[Chunk]:
    return [c for c in made.chunks() if c is not None]


def joined(made: LineSource, name: str) -> list[float]:
    return [float(v) for c in read(made) for v in np.asarray(c.samples.get(name, ()), np.float64)]


def table(rows: int, fs: float = 10.0, head: str = "time,ppg,ecg") -> str:
    return "\n".join([head, *(f"{k / fs:.6f},{k},{-k}" for k in range(rows))]) + "\n"


class Slow(io.BytesIO):
    """Gives a few bytes at a time, as a pipe does."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        super().__init__(data)
        self.sizes = sizes

    def read1(self, size: int | None = -1, /) -> bytes:
        return super().read1(self.sizes.pop() if self.sizes else size)


# -------------------------------------------------------------------------------------------------------------------- CSV
@given(st.lists(st.integers(1, 40), max_size=60))
def test_however_a_table_arrives_its_samples_are_the_same(sizes: list[int]) -> None:
    made = LineSource(Slow(table(50).encode(), sizes), ANY)
    assert isinstance(made, LiveSource)
    assert joined(made, "ppg") == list(range(50))
    assert made.notes == []


def test_a_table_tells_names_units_rate_and_times() -> None:
    made = source(
        "timestamp (s);PLETH [a.u.];II (mV);other\n" + "".join(f"{100 + k / 125:.3f};{k};{-k};x\n" for k in range(400))
    )
    assert made.channels == {
        "ppg": ChannelInfo("ppg", "ppg", "a.u.", 125.0),
        "ecg": ChannelInfo("ecg", "ecg", "mV", 125.0),
    }
    chunks = read(made)
    assert chunks[0].at_s == pytest.approx(100, abs=1e-3)
    assert sum(np.size(c.samples["ecg"]) for c in chunks) == 400
    assert made.name == "stdin"


@pytest.mark.parametrize("fs", [4.0, 31.25, 100.0, 125.0, 256.0, 360.0, 1000.0])
def test_stamps_to_the_millisecond_tell_the_rate(fs: float) -> None:
    text = "time_ms,ppg\n" + "".join(f"{round(1000 * k / fs)},{k}\n" for k in range(600))
    assert source(text).channels["ppg"].fs == pytest.approx(fs, rel=2e-3)
    exact = "time,ppg\n" + "".join(f"{k / fs!r},{k}\n" for k in range(600))
    assert source(exact).channels["ppg"].fs == fs


def test_a_hole_in_the_stamps_is_a_chunk_with_a_later_time() -> None:
    rows = [f"{k / 10},{k}" for k in range(60) if not 40 <= k < 50]
    chunks = read(source("t,ppg\n" + "\n".join(rows) + "\n"))
    assert [c.at_s for c in chunks] == [pytest.approx(0), pytest.approx(5)]
    assert [np.size(c.samples["ppg"]) for c in chunks] == [40, 10]


def test_dates_are_times_too() -> None:
    text = "time,ppg\n" + "".join(f"2026-01-31T23:59:{59 + k / 20 if k < 20 else 59.99:06.3f}Z,{k}\n" for k in range(19))
    assert source(text).channels["ppg"].fs == 20.0


def test_rows_without_stamps_need_a_rate() -> None:
    made = source("ppg\n1\n2\n3\n", AT_10)
    assert made.channels["ppg"].fs == 10
    chunks = read(made)
    assert [c.at_s for c in chunks] == [None]
    np.testing.assert_array_equal(chunks[0].samples["ppg"], [1, 2, 3])
    with pytest.raises(DataError, match=r"no column of time stamps \(ppg, ecg\); say the rate of the rows with --fs"):
        source("ppg,ecg\n1,2\n")
    with pytest.raises(DataError, match="the time stamps of the first 3 rows do not advance; say the rate with --fs"):
        source("t,ppg\n1,1\n1,2\n1,3\n")


def test_a_line_that_is_none_is_a_lost_sample_and_is_told_by_its_number() -> None:
    made = source("ppg,ecg,note\n1,2,a\n,4,b\n5,six,c\n7,8\n9,10,d\n\nnan,12,e\n", AT_10)
    values = np.array([1, math.nan, math.nan, math.nan, 9, math.nan])
    chunks = read(made)
    np.testing.assert_array_equal(np.concatenate([c.samples["ppg"] for c in chunks]), values)
    np.testing.assert_array_equal(np.concatenate([c.samples["ecg"] for c in chunks]), [2, 4, math.nan, math.nan, 10, 12])
    assert made.notes == [
        "standard input, line 4: 'six' is no number",
        "standard input, line 5: 2 cells, the heading has 3",
    ]


def test_a_bad_stamp_is_told_and_its_row_follows_on() -> None:
    lines = table(40).splitlines()
    lines[10] = "soon,9,-9"
    made = source("\n".join(lines))
    assert math.isnan(joined(made, "ppg")[9])
    assert made.notes == ["standard input, line 11: 'soon' is no number"]


def test_what_is_no_recording_ends_with_the_line() -> None:
    with pytest.raises(DataError, match=r"standard input, line 51: 'x' is no number; so were the 49 before") as error:
        read(source("ppg\n" + "x\n" * 60, AT_10))
    assert error.value.exit_code == 3
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "ended before the heading"),
        ("\n \n", "ended before the heading"),
        ("0.1,0.2\n0.3,0.4\n", r"line 1: holds numbers; the first line names the columns"),
        ('{"ppg": [1]}\n', r"line 1: no channels; write"),
        ('{"channels": {"ppg": {"unit": "mV"}}}\n', "channel 'ppg': need a rate fs_hz above 0, got None"),
        ('{"channels": {"ppg": -1}}\n', "need a rate fs_hz above 0, got -1"),
        ('{"channels": {"ppg": true}}\n', "need a rate fs_hz above 0"),
        ('{"channels": \n', "not readable as JSON"),
        ("{" * 100000, "not readable as JSON"),
    ],
)
def test_a_heading_that_is_none_is_told(text: str, says: str) -> None:
    with pytest.raises(DataError, match=says) as error:
        source(text)
    assert str(error.value).startswith("standard input")


def test_a_line_without_an_end_is_not_kept_for_ever() -> None:
    with pytest.raises(DataError, match="longer than 4 MB; is it text"):
        source(b"\0" * (1 << 23))


def test_bytes_of_any_kind_are_no_crash() -> None:
    made = source(b"\xef\xbb\xbfppg\r\n1\r\n\xff\xfe\r\n3\r\n", AT_10)
    values = joined(made, "ppg")
    assert values[0] == 1
    assert values[2] == 3
    assert math.isnan(values[1])


def test_channels_are_named_or_guessed_and_only_the_wanted_are_taken() -> None:
    text = "time,red,infrared,PLETH\n" + "".join(f"{k / 10},1,2,3\n" for k in range(30))
    assert set(source(text).channels) == {"ppg"}
    named = source(text, LineSettings({"ppg": ("infrared",)}))
    assert joined(named, "ppg") == [2] * 30
    with pytest.raises(
        RecipeError, match=r"none of the channels eeg in red, infrared, PLETH; say which is which with --channel"
    ):
        source(text, LineSettings({}, only=("eeg",)))
    with pytest.raises(ValueError, match="need fs_hz > 0"):
        LineSettings({}, fs_hz=0.0)


# ------------------------------------------------------------------------------------------------------------------- JSON
HEAD = json.dumps({"channels": {"PLETH": {"fs_hz": 125, "unit": "a.u."}, "II": 250, "extra": 1}}) + "\n"


def test_json_lines_keep_rates_times_and_holes() -> None:
    made = source(HEAD + '{"at_s": 12.5, "PLETH": [1, null, 3], "II": [0.5]}\n\n{"II": []}\n{"extra": [1]}\n{"at_s": 13}\n')
    assert made.channels["ppg"] == ChannelInfo("ppg", "ppg", "a.u.", 125.0)
    assert made.channels["ecg"].fs == 250
    chunks = read(made)
    assert [c.at_s for c in chunks] == [12.5, None, None, 13.0]
    np.testing.assert_array_equal(chunks[0].samples["ppg"], np.array([1, np.nan, 3], np.float32))
    assert chunks[3].samples == {}
    assert made.notes == []


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"PLETH": [1}', "not readable as JSON"),
        ("[1, 2]", "need an object in braces"),
        ('{"PLETH": 1}', "'PLETH' is no list of numbers"),
        ('{"PLETH": ["1"]}', "'PLETH' holds what is no number"),
        ('{"PLETH": [[1]]}', "'PLETH' holds what is no number"),
        ('{"PLETH": [true]}', "'PLETH' holds what is no number"),
        ('{"what": [1]}', "'what' is not among the channels of the first line"),
        ('{"at_s": "noon", "PLETH": [1]}', "could not convert"),
    ],
)
def test_a_json_line_that_is_none_is_left_out_and_told(line: str, says: str) -> None:
    made = source(HEAD + '{"PLETH": [1]}\n' + line + '\n{"PLETH": [2]}\n')
    assert joined(made, "ppg") == [1, 2]
    assert made.notes[0].startswith("standard input, line 3: ")
    assert says in made.notes[0]


# ------------------------------------------------------------------------------------------------------------------ pipes
def test_a_pipe_is_read_as_it_comes_and_silence_is_told() -> None:
    out, into = os.pipe()
    with os.fdopen(out, "rb") as stream:
        os.write(into, table(30).encode())
        made = LineSource(stream, ANY)
        parts = made.chunks()
        assert next(parts) is not None
        assert next(parts) is None
        os.write(into, b"3.0,30,-30\n3.1,31,")
        chunk = next(parts)
        assert chunk is not None
        # The half of a line waits for the other.
        np.testing.assert_array_equal(chunk.samples["ppg"], [30])
        os.write(into, b"-31")
        os.close(into)
        assert [float(np.asarray(c.samples["ppg"])[0]) for c in parts if c is not None] == [31]


def test_a_source_that_is_closed_ends() -> None:
    out, into = os.pipe()
    with os.fdopen(out, "rb") as stream:
        os.write(into, table(30).encode())
        made = LineSource(stream, ANY)
        threading.Timer(0.05, made.close).start()
        told: list[Any] = list(made.chunks())
        assert len(told) >= 1
    os.close(into)
