"""Laws of hostile stores: what a file claims is not believed, nothing outside is opened, nothing that it brings is run."""

from __future__ import annotations

import ast
import io
import json
import re
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biosig_mtl import store
from biosig_mtl.store import files, frames, shards
from biosig_mtl.types import DataError

Write = Callable[..., Path]
ROWS = (4, 2, 3)
BODY = np.arange(24, dtype=np.float32).tobytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, write_store: Write) -> Path:
    return write_store(tmp_path_factory.mktemp("whole") / "abc")


def rewritten(folder: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """Change the summary as somebody would who knows how to seal it."""
    told = store.summary(folder)
    del told["seal"]
    told = json.loads(json.dumps(told))
    change(told)
    (folder / "store.json").write_bytes(files.sealed(told))
    return folder


# --------------------------------------------------------------------------------------------------------------- safetensors
def shard(path: Path, header: Any, body: bytes = BODY, length: int | None = None) -> shards.Shard:
    """Write a file with a header as told, and return the array that it should hold; every digest fits."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + body)
    return shards.Shard(path, "waveform", ROWS, "F32", files.sha256(path.read_bytes()), whole=True)


GOOD = {"dtype": "F32", "shape": list(ROWS), "data_offsets": [0, 96]}
HOSTILE: dict[str, Any] = {
    "no offsets": {"dtype": "F32", "shape": [4, 2, 3]},
    "negative": GOOD | {"data_offsets": [-96, 0]},
    "backwards": GOOD | {"data_offsets": [96, 0]},
    "beyond the file": GOOD | {"data_offsets": [96, 192]},
    "huge": GOOD | {"data_offsets": [0, 2**63]},
    "beyond 64 bits": GOOD | {"data_offsets": [2**70, 2**70 + 96]},
    "words": GOOD | {"data_offsets": ["0", "96"]},
    "fractions": GOOD | {"data_offsets": [0.5, 96.5]},
    "three": GOOD | {"data_offsets": [0, 48, 96]},
    "nothing": GOOD | {"data_offsets": None},
    "another shape": GOOD | {"shape": [2, 4, 3]},
    "negative shape": GOOD | {"shape": [-4, -2, 3]},
    "huge shape": GOOD | {"shape": [2**40, 2**40]},
    "shape of words": GOOD | {"shape": "423"},
    "another kind": GOOD | {"dtype": "F64"},
    "objects": GOOD | {"dtype": "O"},
    "a list": [GOOD],
    "a number": 7,
}


def test_the_good_header_is_read(tmp_path: Path) -> None:
    found = shard(tmp_path / "a", {"waveform": GOOD}).array()
    np.testing.assert_array_equal(found.ravel(), np.arange(24))
    assert not found.flags.writeable


@pytest.mark.parametrize("name", HOSTILE)
def test_a_header_that_lies_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    part = shard(tmp_path / "a.safetensors", {"waveform": HOSTILE[name]})
    for take in (part.array, lambda: part.read_into(np.empty(ROWS, np.float32))):
        with pytest.raises(DataError, match=r"a\.safetensors: missing or damaged") as error:
            take()
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("header", [b"", b"[]", b"null", b'"', b"{" * 500, b"[" * 100_000, b'{"waveform": NaN}', b"\xff" * 40])
def test_a_header_that_is_none_is_refused_in_one_line(tmp_path: Path, header: bytes) -> None:
    part = shard(tmp_path / "a.safetensors", header)
    with pytest.raises(DataError, match="missing or damaged"):
        part.array()


@pytest.mark.parametrize("length", [2**64 - 1, 2**63, 2**40, 2**20 + 1, 2**19, 200, 0])
def test_a_header_that_claims_a_length_takes_no_memory(tmp_path: Path, length: int) -> None:
    part = shard(tmp_path / "a.safetensors", {"waveform": GOOD}, length=length)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="missing or damaged"):
            part.array()
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@settings(max_examples=60, deadline=None)
@given(content=st.binary(max_size=120), length=st.none() | st.integers(0, 2**64 - 1))
def test_any_bytes_end_in_one_line(tmp_path_factory: pytest.TempPathFactory, content: bytes, length: int | None) -> None:
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    part = shard(path, content, b"", length)
    with pytest.raises(DataError, match=r"any\.safetensors"):
        part.array()
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"any\.safetensors"):
        frames.index_frame(content, path)
    with pytest.raises(DataError, match=r"any\.safetensors"):
        files.read_json(path, "windows")


# ------------------------------------------------------------------------------------------------------------------- summary
@pytest.mark.parametrize(
    "name",
    [
        "../secret",
        "lots/../../secret",
        "/etc/hostname",
        "lots/00000.json/../../../secret",
        "lots\\00000.json",
        "",
        "lots/1.json",
    ],
)
def test_a_summary_that_names_files_outside_is_refused(whole: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("something")
    folder = Path(shutil.copytree(whole, tmp_path / "s"))
    rewritten(folder, lambda told: told["sha256"].update({name: files.sha256(b"something")}))
    for look in (store.read, store.verify, store.is_finished, store.read_examples):
        with pytest.raises(DataError, match=r"store\.json: missing or damaged"):
            look(folder)


def changes() -> dict[str, Callable[[dict[str, Any]], Any]]:
    """Return lies that a summary may tell of arrays."""

    def first(key: str, value: Any) -> Callable[[dict[str, Any]], Any]:
        return lambda told: told["held"]["arrays"]["values"].update({key: value})

    return {
        "huge": lambda told: told["held"].update(windows=[2**60, 2**60, 2**60]),
        "negative": lambda told: told["held"].update(windows=[-5, 3, 4]),
        "words": lambda told: told["held"].update(windows=["a", "b", "c"]),
        "no arrays": lambda told: told["held"].update(arrays={}),
        "no targets": lambda told: told["held"]["arrays"].pop("targets"),
        "other shape": first("shape", [1]),
        "huge shape": first("shape", [2**40]),
        "shape of words": first("shape", "ab"),
        "kind": first("kind", "PICKLE"),
        "fewer digests": first("sha256", ["0" * 64]),
        "other digests": first("sha256", ["0" * 64] * 3),
        "held": lambda told: told.update(held=[]),
        "held is a word": lambda told: told.update(held="all"),
        "no index": lambda told: told["sha256"].pop("index.parquet"),
        "tracks": lambda told: told["held"].update(tracks={"eeg": {}}),
        "fs": lambda told: told["held"].update(fs="fast"),
        "sums": lambda told: told.update(sha256=[]),
        "lots": lambda told: told.update(lots="many"),
        "sizes": lambda told: told.update(bytes=[]),
    }


@pytest.mark.parametrize("name", changes())
def test_a_summary_that_lies_of_arrays_is_one_line(whole: Path, tmp_path: Path, name: str) -> None:
    folder = rewritten(Path(shutil.copytree(whole, tmp_path / "s")), changes()[name])
    tracemalloc.start()
    try:
        with pytest.raises(DataError) as error:
            store.read(folder)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
    assert str(folder) in str(error.value)


def test_a_summary_may_not_make_the_table_longer_than_its_index(whole: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "s"))
    index = pq.read_table(folder / "index.parquet")
    pq.write_table(index.slice(1), folder / "index.parquet")
    raw = (folder / "index.parquet").read_bytes()

    def fits(told: dict[str, Any]) -> None:
        told["sha256"]["index.parquet"], told["bytes"]["index.parquet"] = files.sha256(raw), len(raw)

    with pytest.raises(DataError, match=r"index\.parquet: missing or damaged"):
        store.read(rewritten(folder, fits))


# ------------------------------------------------------------------------------------------------------------ nothing is run
class Brought(pa.ExtensionType):  # type: ignore[misc]
    """A type of column that brings along code."""

    def __init__(self) -> None:
        super().__init__(pa.int64(), "tests.brought")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: Any, serialized: Any) -> Brought:
        del storage_type, serialized
        return cls()


def content_of(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


@pytest.mark.parametrize("registered", [True, False])
def test_a_table_with_types_of_its_own_is_refused(tmp_path: Path, registered: bool) -> None:
    pa.register_extension_type(Brought())
    try:
        column = pa.ExtensionArray.from_storage(Brought(), pa.array([1, 2], pa.int64()))
        content = content_of(pa.table({"a": column}))
        if registered:
            with pytest.raises(DataError, match="missing or damaged"):
                frames.table_of(content, tmp_path / "t.parquet")
    finally:
        pa.unregister_extension_type("tests.brought")
    if not registered:
        # Nobody here knows the type: what is left of it are its numbers.
        assert frames.table_of(content, tmp_path / "t.parquet").column("a").to_pylist() == [1, 2]


def test_only_numbers_words_times_and_truth_are_taken(tmp_path: Path) -> None:
    for column in (pa.array([b"x"]), pa.array([[1]]), pa.array([{"a": 1}]), pa.array([1], pa.decimal128(5, 2))):
        with pytest.raises(DataError, match="missing or damaged"):
            frames.table_of(content_of(pa.table({"a": column})), tmp_path / "t.parquet")


def test_what_pandas_wrote_beside_the_columns_is_not_followed(tmp_path: Path) -> None:
    table = pa.table({"a": [1, 2]}).replace_schema_metadata(
        {
            "pandas": json.dumps(
                {"index_columns": ["a"], "columns": [{"name": "a", "numpy_type": "interval"}], "column_indexes": []}
            )
        }
    )
    assert frames.index_frame(content_of(table), tmp_path / "t.parquet").to_dict("list") == {"a": [1, 2]}


def test_nothing_in_the_room_loads_objects() -> None:
    room = Path(store.__file__).parent
    for path in room.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)} | {
            n.id for n in ast.walk(tree) if isinstance(n, ast.Name)
        }
        assert not names & {"pickle", "load_module", "memmap", "fromfile", "eval", "exec", "ipc"}, path
        # Numbers come from bytes, JSON and Parquet alone; np.load could be asked for objects.
        assert not re.search(r"np\.load|read_pickle|read_hdf|read_feather", path.read_text(encoding="utf-8")), path
