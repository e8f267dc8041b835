"""Small tables of labels: whatever is wrong is named with file and line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from biosig_mtl.data.affect.columns import read_columns, read_stamped
from biosig_mtl.data.affect.ratings import check_scale, rating, scale_of, unit_of
from biosig_mtl.data.readers.samples import as_samples, parse_numbers
from biosig_mtl.types import DataError


def table(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "labels.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(
    values=st.lists(st.tuples(st.floats(allow_infinity=False), st.floats(allow_infinity=False)), min_size=1, max_size=20),
    end=st.sampled_from(["\n", "\r\n"]),
    start=st.sampled_from(["", "\ufeff"]),
)
def test_what_is_written_is_read(values: list[tuple[float, float]], end: str, start: str, tmp_path: Path) -> None:
    rows = [f'{a!r}, "{b!r}",x' for a, b in values]
    found = read_columns(table(tmp_path, start + end.join(["one,two,three", *rows]) + end), ("two", "one"))
    np.testing.assert_array_equal(found["one"], [a for a, _ in values])
    np.testing.assert_array_equal(found["two"], [b for _, b in values])


def test_blank_cells_are_unknown_and_commas_at_the_end_are_nothing(tmp_path: Path) -> None:
    found = read_columns(table(tmp_path, "a,b\n1,\n ,2,\n,,\n"), ("a", "b"))
    np.testing.assert_array_equal(found["a"], [1, np.nan, np.nan])
    np.testing.assert_array_equal(found["b"], [np.nan, 2, np.nan])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a,b\n1,2\n3\n", "line 3: has 1 cells; its heading has 2"),
        ("a,b\n1,2\n3,4,5\n", "line 3: has 3 cells; its heading has 2"),
        ("a,b\n1,two\n", "line 2: 'two' in column 'b' is no number"),
        ('a,b\n1,"t\nw"\n', "line 2: 't w' in column 'b' is no number"),
        ("a,c\n1,2\n", "no column 'b'; it has a, c"),
        ("a,b\n", "has a heading and no rows"),
        ("\n", "no column 'a'"),
        (b"a,b\n1,\0\n", "holds zero bytes"),
        (b"a,b\n1,\xff\n", "not readable as text"),
        (b"", "the file is empty"),
    ],
)
def test_a_wrong_table_is_one_line(text: str | bytes, says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=says) as error:
        read_columns(table(tmp_path, text), ("a", "b"))
    assert "labels.csv" in str(error.value)
    assert "\n" not in str(error.value)


def test_stamped_samples_come_in_order_of_time(tmp_path: Path) -> None:
    path = table(tmp_path, "timestamp,value,device\n30,3,A\n10,1,A\n,9,A\n20,2,A\n")
    time, values = read_stamped(path, "timestamp", "value", "device", "")
    assert (time.tolist(), values.tolist()) == ([10, 20, 30], [1, 2, 3])
    assert read_stamped(path, "timestamp", "value", "serial", "")[1].tolist() == [1, 2, 3]


# ---------------------------------------------------------------------------------------------------------------- ratings
@given(low=st.integers(-9, 9), width=st.integers(1, 9), value=st.floats(allow_nan=True))
def test_a_rating_is_on_its_scale_or_refused(low: int, width: int, value: float) -> None:
    scale = (float(low), float(low + width))
    assert scale_of(unit_of(scale)) == scale
    if scale[0] <= value <= scale[1]:
        label = rating("valence", value, scale, "file, row 3")
        assert (label.value, label.unit, label.source) == (value, unit_of(scale), "self")
        return
    with pytest.raises(DataError, match="file, row 3: valence is '"):
        rating("valence", value, scale, "file, row 3")


@pytest.mark.parametrize("value", ["", None, "high", "nan", "1,5"])
def test_no_number_is_no_rating(value: object) -> None:
    with pytest.raises(DataError, match="its scale is 1 to 9"):
        rating("arousal", value, (1, 9), "x")


@pytest.mark.parametrize("unit", ["", "1", "9..1", "1..1", "a..b", "nan..2", "1-9"])
def test_no_scale(unit: str) -> None:
    with pytest.raises(ValueError, match="need a scale"):
        scale_of(unit)


def test_the_first_wrong_row_is_named_and_all_are_counted() -> None:
    values = np.array([1.0, 5.0, 5.5, np.nan])
    with pytest.raises(DataError, match=r"x\.csv, line 4: stress is 5\.5; its scale is 1 to 5 \(2 such rows\)"):
        check_scale("stress", values, (1, 5), "x.csv", first_row=2)
    assert check_scale("stress", values[:2], (1, 5), "x.csv") is not None


# ---------------------------------------------------------------------------------------------------------------- samples
@given(values=st.lists(st.floats(allow_infinity=False), min_size=1), mark=st.sampled_from([b",", b"\n", b"\r\n", b" , "]))
def test_numbers_of_a_text(values: list[float], mark: bytes) -> None:
    found = parse_numbers(mark.join(repr(v).encode() for v in values) + b"\n")
    assert found is not None
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("text", [b"1,2,x", b"1 2 0x", b"\xff", b"1;2", b"1..2"])
def test_other_texts_are_no_numbers(text: bytes) -> None:
    assert parse_numbers(text) is None


def test_what_cannot_be_a_sample_is_unknown() -> None:
    found = as_samples(np.array([1.5, np.inf, -np.inf, 1e300, np.nan, -3e38]))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(found), [False, True, True, True, True, False])
