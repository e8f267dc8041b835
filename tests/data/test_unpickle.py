"""Pickles: what data need is read as Python reads it; whatever else a file wants is refused in one line, and nothing runs."""

from __future__ import annotations

import os
import pickle
import pickletools
import struct
import tracemalloc
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from biosig_mtl.data import unpickle
from biosig_mtl.data.stored_array import StoredArray
from biosig_mtl.data.unpickle import read_pickle
from biosig_mtl.types import DataError
from tests.data.affect.writers_a import Python2

PROTOCOLS = range(6)
OLD = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
F8 = b"cnumpy\ndtype\n(U\x02f8K\x00K\x01tR(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"


def read(tmp_path: Path, raw: bytes) -> Any:
    path = tmp_path / "some.pkl"
    path.write_bytes(raw)
    unpickle._read.cache_clear()
    return read_pickle(path)


def refused(tmp_path: Path, raw: bytes, what: str) -> str:
    with pytest.raises(DataError, match=what) as caught:
        read(tmp_path, raw)
    said = str(caught.value)
    assert said.startswith(str(tmp_path / "some.pkl"))
    assert "\n" not in said
    return said


def harmless(tmp_path: Path, raw: bytes) -> None:
    """Read what may be damaged: it is refused in one line, or its arrays can be read."""
    with suppress(DataError):
        found = read(tmp_path, raw)
        for value in found.values() if isinstance(found, dict) else ():
            plain(value) if isinstance(value, StoredArray) else None
        return
    refused(tmp_path, raw, "refused as a pickle")


def plain(value: Any) -> Any:
    """Return a tree with arrays in the place of stored ones."""
    if isinstance(value, StoredArray):
        return value.array()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return type(value)(plain(item) for item in value) if isinstance(value, list | tuple) else value


# ------------------------------------------------------------------------------------------------------- what is read
TREES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.binary(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=5) | st.integers(0, 9), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(tree=TREES, protocol=st.sampled_from(PROTOCOLS))
def test_plain_values_are_read_as_python_reads_them(tmp_path: Path, tree: object, protocol: int) -> None:
    assert read(tmp_path, pickle.dumps(tree, protocol)) == tree


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(
    array=arrays.arrays(
        st.sampled_from(["f4", "f8", ">f8", "i2", "<i8", "u1", "b1", "f2"]),
        arrays.array_shapes(min_dims=0, max_dims=4, min_side=0),
    ),
    protocol=st.sampled_from(PROTOCOLS),
    fortran=st.booleans(),
)
def test_arrays_are_read_as_numpy_wrote_them(tmp_path: Path, array: np.ndarray[Any, Any], protocol: int, fortran: bool) -> None:
    array = np.asfortranarray(array) if fortran else array
    found = plain(read(tmp_path, pickle.dumps({"a": [array, array]}, protocol)))["a"]
    for one in found:
        np.testing.assert_array_equal(one, array)
        assert (one.dtype, one.shape) == (array.dtype, array.shape)
        assert not one.flags.writeable or one.size == 0


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_single_numbers_of_numpy_become_numbers(tmp_path: Path, protocol: int) -> None:
    found = read(tmp_path, pickle.dumps([np.float32(2.5), np.int64(-7), np.bool_(True)], protocol))
    assert found == [2.5, -7, True]
    assert [type(v) for v in found] == [float, int, bool]


def test_files_of_numpy_1_and_python_2_are_read(tmp_path: Path) -> None:
    data = np.arange(24.0).reshape(2, 3, 4)
    content = {"labels": np.arange(300.0).reshape(3, 100), "data": data, "subject": "S2", "label": np.arange(5, dtype=np.int32)}
    raw = Python2().dump(content)
    assert b"numpy.core.multiarray" in raw
    theirs = pickle.loads(raw, encoding="latin1")
    ours = plain(read(tmp_path, raw))
    assert list(ours) == list(theirs) == list(content)
    assert ours["subject"] == "S2"
    for key in ("labels", "data", "label"):
        np.testing.assert_array_equal(ours[key], theirs[key])
    assert isinstance(read(tmp_path, raw)["data"], StoredArray)
    old = pickle.dumps(data, 3).replace(b"numpy._core.", b"numpy.core.")
    assert b"numpy.core." in old
    np.testing.assert_array_equal(plain(read(tmp_path, old)), data)


def test_python_2_text_files_are_read(tmp_path: Path) -> None:
    raw = b"(dp0\nS'a\\x01\\n\\xff'\np1\nI01\nsS\"it's\"\nL12L\nsS'f'\nF2.5\ns."
    assert read(tmp_path, raw) == pickle.loads(raw, encoding="latin1") == {"a\x01\n\xff": True, "it's": 12, "f": 2.5}


def test_arrays_stay_in_the_file(tmp_path: Path) -> None:
    """The array costs nothing until it is asked for, and then what is asked for."""
    raw = Python2().dump({"data": np.zeros((40, 40, 2000))})
    (tmp_path / "s01.dat").write_bytes(raw)
    tracemalloc.start()
    held = read_pickle(tmp_path / "s01.dat")["data"]
    np.array(held.array()[3, 2, 10:20])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(raw) > 25_000_000
    assert peak < 1_000_000


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    for value in ([1], [1, 2]):
        path.write_bytes(pickle.dumps(value))
        assert read_pickle(path) == value


# --------------------------------------------------------------------------------------------------- what is refused
class Call:
    """An object that pickles to a call of any function."""

    def __init__(self, function: Callable[..., Any], *given: object) -> None:
        self.what = (function, given)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[object, ...]]:
        return self.what


class Plain:
    """An object with a state, as every class has."""

    def __init__(self) -> None:
        self.x = 1


PAYLOADS: dict[str, tuple[Callable[..., Any], tuple[object, ...]]] = {
    "eval": (eval, ("open('ran', 'w')",)),
    "exec": (exec, ("open('ran', 'w')",)),
    "system": (os.system, ("touch ran",)),
    "getattr": (getattr, (os, "system")),
    "memmap": (np.memmap, ("ran", "f8", "w+", 0, (4,))),
    "load": (np.load, ("ran", None, True)),
    "fromfile": (np.fromfile, ("ran",)),
}
PLACES: dict[str, Callable[[Any], Any]] = {
    "alone": lambda x: x,
    "in a list": lambda x: [1, x],
    "as a value": lambda x: {"data": x},
    "in an object array": lambda x: np.array([x, 1], dtype=object),
    "beside an array": lambda x: {"data": np.zeros(3), "labels": (x,)},
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_function_of_the_file_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, payload: str, place: str, protocol: int
) -> None:
    monkeypatch.chdir(tmp_path)
    function, arguments = PAYLOADS[payload]
    if function is getattr:
        arguments = ("x", "upper")  # a module cannot be pickled; the name is what counts
    raw = pickle.dumps(PLACES[place](Call(function, *arguments)), protocol)
    said = refused(tmp_path, raw, "blocked|no plain number")
    assert ("'O8'" if place == "in an object array" else payload) in said
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_call_as_the_key_of_a_dict_is_refused(tmp_path: Path, protocol: int) -> None:
    key = Call(os.system, "touch ran")
    refused(tmp_path, pickle.dumps({key: 1}, protocol), r"blocked '\w+\.system'")


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("value", [Plain(), OrderedDict(a=1), {1, 2}, frozenset({3}), 1j, np.dtype("f8,i4"), np.array(["a"])])
def test_other_values_are_refused(tmp_path: Path, value: object, protocol: int) -> None:
    refused(tmp_path, pickle.dumps(value, protocol), "blocked|no plain number|not need|fields")


REFUSED = {
    "a class made by INST": (b"(S'touch ran'\nios\nsystem\n.", "INST"),
    "a class made by OBJ": (b"(cos\nsystem\nS'touch ran'\no.", r"blocked 'os\.system'"),
    "NEWOBJ of an allowed name": (b"\x80\x02cnumpy\nndarray\nK\x05\x85\x81.", "NEWOBJ"),
    "NEWOBJ_EX": (b"\x80\x04cnumpy\nndarray\n)}\x92.", "NEWOBJ_EX"),
    "registered extensions": (b"\x80\x02\x82\x01.", "EXT1"),
    "registered extensions of 2": (b"\x80\x02\x83\x01\x00.", "EXT2"),
    "registered extensions of 4": (b"\x80\x02\x84\x01\x00\x00\x00.", "EXT4"),
    "a persistent id": (b"Psecret\n.", "PERSID"),
    "a binary persistent id": (b"K\x01Q.", "BINPERSID"),
    "a buffer out of band": (b"\x80\x05\x97.", "NEXT_BUFFER"),
    "a name from the stack": (b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.", r"blocked 'os\.system'"),
    "a dotted name": (b"\x80\x04\x8c\x05numpy\x8c\x11ndarray.__class__\x93.", r"blocked 'numpy\.ndarray\.__class__'"),
    "a dotted module": (b"cnumpy.core.multiarray._reconstruct\n__globals__\n.", "blocked"),
    "a name that is no text": (b"\x80\x04K\x01K\x02\x93.", "function without a name"),
    "a name in the place of a name": (b"\x80\x04cnumpy\nndarray\ncnumpy\nndarray\n\x93.", "function without a name"),
    "a text called as a function": (b"S'dtype'\n(S'f8'\ntR.", "calls what is no function"),
    "a number called as a function": (b"K\x01(tR.", "calls what is no function"),
    "a list as arguments": (b"cnumpy\ndtype\n(lR.", "calls what is no function"),
    "another type reconstructed": (b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\ndtype\n(K\x00tU\x01btR.", "reconstruct"),
    "the type ndarray called": (b"cnumpy\nndarray\n(K\x05tR.", "call of ndarray"),
    "a type with a name of code": (b"cnumpy\ndtype\n(S'O,f8'\ntR.", "no plain number"),
    "a type as a list": (b"cnumpy\ndtype\n((lS'f8'\ntR.", "no plain number"),
    "a type of bytes without end": (b"cnumpy\ndtype\n(S'V999999999999'\nK\x00K\x01tR.", "no plain number"),
    "a type with fields": (
        b"cnumpy\ndtype\n(S'f8'\nK\x00K\x01tR(K\x03S'<'\n(K\x01tNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb.",
        "fields",
    ),
    "a type of strange order": (b"cnumpy\ndtype\n(S'f8'\nK\x00K\x01tR(K\x03S'?'\nNNNtb.", "byte order"),
    "a state for a list": (b"](K\x01tb.", "gives a state to a value of type list"),
    "a state for a dict": (b"}}S'__class__'\nK\x01sb.", "gives a state to a value of type dict"),
    "a state for a name": (b"cnumpy\nndarray\n}S'__reduce__'\nK\x01sb.", "gives a state"),
    "a state of the wrong kind": (OLD + b"}b.", "not understood"),
    "a negative shape": (OLD + b"(K\x01(J\xff\xff\xff\xfft" + F8 + b"I00\nU\x08" + bytes(8) + b"tb.", "shape"),
    "a shape of truth": (OLD + b"(K\x01(I01\nt" + F8 + b"I00\nU\x08" + bytes(8) + b"tb.", "shape"),
    "a shape of text": (OLD + b"(K\x01(S'1'\nt" + F8 + b"I00\nU\x08" + bytes(8) + b"tb.", "shape"),
    "an array without bytes": (OLD + b"(K\x01(K\x01t" + F8 + b"I00\n(ltb.", "without its bytes"),
    "too few bytes": (OLD + b"(K\x01(K\x02t" + F8 + b"I00\nU\x08" + bytes(8) + b"tb.", "claims 16 bytes but brings 8"),
    "another codec": (b"c_codecs\nencode\n(Vx\nVzlib_codec\ntR.", "call of encode"),
    "a codec and how to handle errors": (b"c_codecs\nencode\n(Vx\nVlatin1\nVignore\ntR.", "call of encode"),
    "bytes of a length": (b"c__builtin__\nbytes\n(J\xff\xff\xff\x7ftR.", "call of bytes"),
    "a scalar of more bytes": (b"cnumpy.core.multiarray\nscalar\n(" + F8 + b"U\x10" + bytes(16) + b"tR.", "brings 16"),
    "a list as a key": (b"}]K\x01s.", "key of type list"),
    "a name as a key": (b"}cnumpy\nndarray\nK\x01s.", "key of type _Name"),
    "a list that is none": (b"K\x01K\x02a.", "where there is none"),
    "values that were never brought": (b"K\x01s.", "more values"),
    "values beyond a mark": (b"K\x01(\x85.", "more values"),
    "a value that was never stored": (b"h\x05.", "recalls value 5"),
    "a mark that was never set": (b"K\x01t.", "refused"),
    "nothing at all": (b".", "more values"),
    "a protocol of tomorrow": (b"\x80\x09N.", "protocol 9"),
    "no word": (b"\xff\xfe", "no word"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_tricks_are_refused(tmp_path: Path, name: str) -> None:
    raw, what = REFUSED[name]
    refused(tmp_path, raw, what)


# ------------------------------------------------------------------------------------------------------- memory bombs
def bombs() -> dict[str, bytes]:
    huge = struct.pack("<i", 2**31 - 1)
    wide = b"(" + b"J" + huge + b"J" + huge + b"t"
    text = b"\x80\x02X" + struct.pack("<I", 200_000) + 200_000 * b"a" + b"q\x00"
    return {
        "a shape of many bytes": OLD + b"(K\x01" + wide + F8 + b"I00\nU\x08" + bytes(8) + b"tb.",
        "bytes that are not there": b"\x80\x03B\xff\xff\xff\x7fxx.",
        "many bytes that are not there": b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"xx.",
        "an array of bytes that is not there": b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"xx.",
        "a text that is not there": b"T\xff\xff\xff\x7fxx.",
        "a text of less than nothing": b"T\xff\xff\xff\xffxx.",
        "a number without end": b"\x80\x02\x8b\xff\xff\xff\x7f" + bytes(100) + b".",
        "a number in many digits": b"I" + 5000 * b"9" + b"\n.",
        "a long number in many digits": b"L" + 5000 * b"9" + b"L\n.",
        "a name without end": b"c" + 100_000 * b"x" + b"\ny\n.",
        "decoding again and again": text + 50 * (b"c_codecs\nencode\nh\x00X\x06\x00\x00\x00latin1\x86R") + b".",
        "more words than data have": 20_001 * b"]" + b".",
    }


@pytest.mark.parametrize("name", bombs())
def test_memory_bombs_are_refused_before_they_go_off(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert unpickle.MOST_WORDS <= 1_000_000
    monkeypatch.setattr(unpickle, "MOST_WORDS", 20_000)
    raw = bombs()[name]
    tracemalloc.start()
    refused(tmp_path, raw, "refused as a pickle")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * len(raw) + 3_000_000


def test_a_place_of_the_memo_far_out_costs_nothing(tmp_path: Path) -> None:
    tracemalloc.start()
    assert read(tmp_path, b"K\x07r\xff\xff\xff\xff0j\xff\xff\xff\xff.") == 7
    assert tracemalloc.get_traced_memory()[1] < 3_000_000
    tracemalloc.stop()


def test_lists_that_hold_themselves_are_no_trouble(tmp_path: Path) -> None:
    found = read(tmp_path, b"]q\x00h\x00a.")
    assert found[0] is found
    levels = b"]q\x00" + b"".join(b"](" + 50 * (b"h" + bytes([n])) + b"eq" + bytes([n + 1]) for n in range(60))
    assert len(read(tmp_path, levels + b".")) == 50


# ------------------------------------------------------------------------------------------------------------- damage
RAW = pickle.dumps({"data": np.arange(6.0).reshape(2, 3), "labels": [1, "x", 2.5], "s": np.float32(1)}, 4)
RAW_OLD = Python2().dump({"labels": np.arange(4.0), "data": np.arange(12.0).reshape(3, 4)})


@pytest.mark.parametrize("raw", [RAW, RAW_OLD, pickle.dumps([1, np.zeros(2)], 0)])
def test_files_that_end_early_are_refused(tmp_path: Path, raw: bytes) -> None:
    for size in range(1, len(raw)):
        refused(tmp_path, raw[:size], "refused as a pickle")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(data=st.data())
def test_damage_is_refused_in_one_line_or_harmless(tmp_path: Path, data: st.DataObject) -> None:
    raw = bytearray(data.draw(st.sampled_from([RAW, RAW_OLD])))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    harmless(tmp_path, bytes(raw))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(
    words=st.lists(
        st.sampled_from([op.code.encode("latin-1") for op in pickletools.opcodes]) | st.binary(max_size=3), max_size=30
    )
)
def test_any_words_in_any_order_are_refused_in_one_line_or_harmless(tmp_path: Path, words: list[bytes]) -> None:
    harmless(tmp_path, b"".join(words) + b".")


@pytest.mark.parametrize(("raw", "what"), [(b"", "empty"), (b"version https://git-lfs.github.com/spec/v1\n", "Git-LFS")])
def test_files_that_hold_no_data_are_named(tmp_path: Path, raw: bytes, what: str) -> None:
    path = tmp_path / "s01.dat"
    path.write_bytes(raw)
    with pytest.raises(DataError, match=f"{path.name}.*{what}"):
        read_pickle(path)
    with pytest.raises(DataError, match="no such file"):
        read_pickle(tmp_path / "none.dat")
