"""MATLAB v5: read as scipy reads it where scipy survives, and refused in one line where a file is damaged or wants too much."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from biosig_mtl.data import inflated, mat5
from biosig_mtl.data.mat5 import Mat, open_mat5
from biosig_mtl.data.matlab import hdf5_dataset, open_hdf5
from biosig_mtl.types import DataError
from tests.data.affect.writers_a import cells, save

NUMBERS = arrays.arrays(
    st.sampled_from(["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"]),
    arrays.array_shapes(min_dims=2, max_dims=3, min_side=0, max_side=4),
)
NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,20}", fullmatch=True)
VALUES = st.recursive(
    NUMBERS | st.text(st.characters(codec="latin-1", categories=["L", "N"]), min_size=1, max_size=9),
    lambda inner: st.lists(inner, min_size=1, max_size=3).map(cells) | st.dictionaries(NAMES, inner, min_size=1, max_size=3),
    max_leaves=8,
)


def same(found: Mat, value: Any) -> None:
    if isinstance(value, dict):
        assert (found.kind, set(found.fields)) == ("struct", set(value))
        for name, inner in value.items():
            same(found[name], inner)
    elif isinstance(value, str):
        assert found.text() == value
    elif value.dtype == object:
        assert (found.kind, found.shape) == ("cell", value.shape)
        for number, inner in enumerate(value.ravel(order="F")):
            same(found.cell(number), inner)
    else:
        np.testing.assert_array_equal(found.array(), value)
        assert (found.array().dtype, found.shape) == (value.dtype, value.shape)


def refused(path: Path, what: str) -> None:
    mat5._open.cache_clear()
    with pytest.raises(DataError, match=what) as caught:
        walk_all(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def walk_all(path: Path) -> None:
    mat5._open.cache_clear()
    file = open_mat5(path)
    for name in file.names:
        read_all(file[name])


def read_all(mat: Mat) -> None:
    for inner in (*mat.items, *(v for values in mat.fields.values() for v in values)):
        read_all(inner)
    if mat.kind == "numbers":
        mat.array()
    if mat.kind == "text":
        mat.text()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(content=st.dictionaries(NAMES, VALUES, min_size=1, max_size=3), compress=st.booleans())
def test_what_scipy_writes_is_read(tmp_path: Path, content: dict[str, Any], compress: bool) -> None:
    save(tmp_path / "a.mat", content, compress=compress)
    mat5._open.cache_clear()
    file = open_mat5(tmp_path / "a.mat")
    assert set(file.names) == set(content)
    for name, value in content.items():
        same(file[name], value)


def test_a_struct_array_and_names_for_messages(tmp_path: Path) -> None:
    table = np.zeros((1, 2), [("a", object), ("b", object)])
    table["a"][0] = [np.array([[1.0]]), np.array([[2.0]])]
    table["b"][0] = ["x", cells([np.eye(2), np.ones((1, 3))])]
    save(tmp_path / "a.mat", {"s": table})
    found = open_mat5(tmp_path / "a.mat")["s"]
    assert [m.array().item() for m in found.fields["a"]] == [1, 2]
    assert found.fields["b"][1].cell(1).name == "s(2).b{2}"
    with pytest.raises(DataError, match=r"a\.mat: no single 'a' in s; it has a, b"):
        found["a"]
    with pytest.raises(DataError, match=r"no cell 3 in s\(2\)\.b; it holds 2"):
        found.fields["b"][1].cell(2)
    with pytest.raises(DataError, match=r"s\(1\)\.a is numbers, where a text belongs"):
        found.fields["a"][0].text()
    with pytest.raises(DataError, match=r"s is struct, where numbers belong"):
        found.array()
    with pytest.raises(DataError, match=r"no variable 't'; it has s"):
        open_mat5(tmp_path / "a.mat")["t"]


def test_sparse_and_complex_arrays_are_known_for_what_they_are_not(tmp_path: Path) -> None:
    save(tmp_path / "a.mat", {"s": scipy.sparse.eye(3, format="csc"), "c": np.array([[1j]]), "x": np.ones((1, 2))})
    file = open_mat5(tmp_path / "a.mat")
    assert {name: file[name].kind for name in file.names} == {"s": "other", "c": "other", "x": "numbers"}
    with pytest.raises(DataError, match="c is other, where numbers belong"):
        file["c"].array()


def big_endian(name: bytes, values: list[float]) -> bytes:
    def element(kind: int, raw: bytes) -> bytes:
        return struct.pack(">II", kind, len(raw)) + raw + bytes(-len(raw) % 8)

    body = element(6, struct.pack(">II", 6, 0)) + element(5, struct.pack(">ii", 1, len(values)))
    body += element(1, name) + element(9, struct.pack(f">{len(values)}d", *values))
    return b"MATLAB 5.0 MAT-file".ljust(124) + b"\x01\x00MI" + struct.pack(">II", 14, len(body)) + body


def test_files_of_the_other_byte_order_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.mat").write_bytes(big_endian(b"abcdefghi", [1.5, -2.0, 3.0]))
    assert open_mat5(tmp_path / "a.mat")["abcdefghi"].array().tolist() == [[1.5, -2.0, 3.0]]
    np.testing.assert_array_equal(scipy.io.loadmat(tmp_path / "a.mat")["abcdefghi"], [[1.5, -2.0, 3.0]])


def test_any_part_of_compressed_bytes_in_any_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """States kept on the way do not change what is read."""
    import mmap

    raw = np.random.default_rng(0).integers(0, 9, 300_000).astype(np.uint8).tobytes()
    (tmp_path / "z").write_bytes(b"xx" + zlib.compress(raw) + b"yy")
    monkeypatch.setattr(inflated, "_STATE_EVERY", 40_000)
    monkeypatch.setattr(inflated, "_OUT_BYTES", 7_000)
    monkeypatch.setattr(inflated, "_IN_BYTES", 1_000)
    with (tmp_path / "z").open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        found = inflated.Inflated(data, 2, len(data) - 2)
        for at, count in ((0, 10), (250_000, 60_000), (5, 100_000), (299_990, 50), (123, 1), (300_000, 5), (170_000, 90_000)):
            assert found.read(at, count) == raw[at : at + count]
        assert len(found._states) > 5


def test_a_part_of_a_large_variable_costs_that_part(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    save(tmp_path / "a.mat", {"big": cells([rng.standard_normal((50_000, 14)) for _ in range(4)])})
    tracemalloc.start()
    cell = open_mat5(tmp_path / "a.mat")["big"].cell(2)
    walked = tracemalloc.get_traced_memory()[1]
    assert cell.array().shape == (50_000, 14)
    tracemalloc.stop()
    assert walked < 2_500_000


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    for value in (1.0, 22.0):
        save(tmp_path / "a.mat", {"x": np.full((1, int(value)), value)})
        assert open_mat5(tmp_path / "a.mat")["x"].array()[0, 0] == value


# ------------------------------------------------------------------------------------------------------------- damage
def whole(body: bytes, kind: int = 14) -> bytes:
    return b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + struct.pack("<II", kind, len(body)) + body


def element(kind: int, raw: bytes) -> bytes:
    return struct.pack("<II", kind, len(raw)) + raw + bytes(-len(raw) % 8)


def array(kind: int, dims: tuple[int, ...], rest: bytes) -> bytes:
    head = element(6, struct.pack("<II", kind, 0)) + element(5, struct.pack(f"<{len(dims)}i", *dims)) + element(1, b"x")
    return head + rest


def matrix(body: bytes) -> bytes:
    return struct.pack("<II", 14, len(body)) + body


def bombs() -> dict[str, tuple[bytes, str]]:
    zeros = zlib.compress(matrix(array(6, (8000, 1000), element(9, bytes(64_000_000)))), 9)
    nested = array(6, (1, 1), element(9, bytes(8)))
    for _ in range(40):
        nested = array(1, (1, 1), matrix(nested))
    return {
        "a shape without numbers": (whole(array(6, (2**31 - 1, 2**31 - 1), element(9, bytes(8)))), "claims"),
        "numbers that are not there": (whole(array(6, (1, 2**28), struct.pack("<II", 9, 2**31) + bytes(8))), "ends beyond"),
        "cells that are not there": (whole(array(1, (2**31 - 1, 2**31 - 1), b"")), "parts"),
        "many cells that are not there": (whole(array(1, (1, 400_000), b"")), "ends in the middle|ends beyond"),
        "a negative shape": (whole(array(6, (-1, -1), element(9, bytes(8)))), "has the shape"),
        "cells in cells in cells": (whole(nested), "levels"),
        "fields of no width": (whole(array(2, (1, 1), element(5, struct.pack("<i", 0)) + element(1, b"a"))), "field names"),
        "a type that is none": (whole(array(6, (1, 1), element(99, bytes(8)))), "stored in type 99"),
        "zeros without end": (whole(zeros, 15), "holds more than"),
        "no array": (whole(element(9, bytes(8))), "not readable"),
        "a short element that is long": (whole(struct.pack("<HH", 6, 200) + bytes(60)), "short element"),
        "no variable": (whole(bytes(8), 3), "no variable at byte 128"),
        "no compressed bytes": (whole(b"not deflate at all", 15), "damaged"),
    }


@pytest.mark.parametrize("name", bombs())
def test_files_that_want_too_much_are_refused(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflated, "SMALL_BYTES", 1 << 20)
    raw, what = bombs()[name]
    (tmp_path / "a.mat").write_bytes(raw)
    tracemalloc.start()
    refused(tmp_path / "a.mat", what)
    assert tracemalloc.get_traced_memory()[1] < 8_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("compress", [True, False])
def test_damage_is_refused_in_one_line_or_harmless(tmp_path: Path, compress: bool) -> None:
    path = tmp_path / "a.mat"
    save(path, {"a": {"b": cells([np.eye(2), "text"])}, "c": np.arange(6, dtype=np.int16).reshape(2, 3)}, compress=compress)
    raw = path.read_bytes()
    rng = np.random.default_rng(1)
    for size in range(1, len(raw), 7):
        path.write_bytes(raw[:size])
        with suppress(DataError):
            walk_all(path)
    for _ in range(150):
        broken = bytearray(raw)
        for at in rng.integers(0, len(raw), rng.integers(1, 4)):
            broken[at] = rng.integers(0, 256)
        path.write_bytes(broken)
        with suppress(DataError):
            walk_all(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(600))
    refused(path, r"is MATLAB v7\.3")
    path.write_bytes(b"x" * 600)
    refused(path, "is no MATLAB v5 file")
    path.write_bytes(b"")
    refused(path, "empty")
    save(path, {"x": np.ones((3, 3))}, compress=False)
    path.write_bytes(path.read_bytes()[:-20])
    refused(path, "ends at byte")


# --------------------------------------------------------------------------------------------------------------- v7.3
def hdf5(path: Path) -> Path:
    with h5py.File(path, "w", userblock_size=512) as file:
        file["data"] = np.arange(6.0).reshape(2, 3)
        file["group/inner"] = np.arange(3, dtype="i4")
        file["text"] = "abc"
        file["soft"] = h5py.SoftLink("/data")
        file["outside"] = h5py.ExternalLink("other.mat", "/data")
        file.create_dataset("elsewhere", (4,), "f8", external=[(str(path.with_suffix(".bin")), 0, 32)])
        file.create_dataset("nothing", (10**6, 10**6), "f8", chunks=(100, 100))
    return path


def test_numbers_of_hdf5_are_taken_by_name(tmp_path: Path) -> None:
    with open_hdf5(hdf5(tmp_path / "a.mat")) as file:
        assert hdf5_dataset(file, "data", tmp_path / "a.mat")[1].tolist() == [3, 4, 5]
        assert hdf5_dataset(file, "group/inner", tmp_path / "a.mat")[:].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("soft", "link"),
        ("outside", "link"),
        ("elsewhere", "keeps its samples elsewhere"),
        ("nothing", "claims 8000000000000 bytes"),
        ("text", "no array of numbers"),
        ("group", "no array of numbers"),
        ("missing", "no 'missing'; it has data, elsewhere"),
        ("data/inner", "no 'data/inner'"),
    ],
)
def test_links_and_claims_of_hdf5_are_refused(tmp_path: Path, name: str, what: str) -> None:
    path = hdf5(tmp_path / "a.mat")
    (tmp_path / "a.bin").write_bytes(bytes(32))
    with open_hdf5(path) as file, pytest.raises(DataError, match=rf"a\.mat: .*{what}"):
        hdf5_dataset(file, name, path)


def test_files_that_are_no_hdf5_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "old.mat", {"x": np.ones((2, 2))})
    (tmp_path / "text.mat").write_bytes(b"x" * 600)
    hdf5(tmp_path / "cut.mat")
    (tmp_path / "cut.mat").write_bytes((tmp_path / "cut.mat").read_bytes()[:3000])
    for name, what in (
        ("old", "is MATLAB v5"),
        ("text", "is not MATLAB v7"),
        ("cut", "not readable"),
        ("none", "no such file"),
    ):
        with pytest.raises(DataError, match=what), open_hdf5(tmp_path / f"{name}.mat"):
            pass
