"""Laws of integrity: a flipped bit is named before any number is made of it, and what the message advises heals the store."""

from __future__ import annotations

import json
import pickle
import random
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from biosig_mtl import store
from biosig_mtl.store import files, finishing, frames, reading, shards
from biosig_mtl.store.shards import Shard, Sharded
from biosig_mtl.types import DataError

Write = Callable[..., Path]
Contents = Callable[[Path], dict[str, bytes]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, write_store: Write) -> Path:
    return write_store(tmp_path_factory.mktemp("whole") / "abc")


def everything(folder: Path) -> dict[str, Any]:
    """Return every number and word that a reader can get out of a store."""
    table = store.read(folder)
    return {
        "index": table.index.to_csv(),
        "values": np.asarray(table.values).tobytes(),
        "targets": np.asarray(table.targets).tobytes(),
        "waveform": np.asarray(table.waveform).tobytes(),
        "fingerprints": store.read_fingerprints(folder).tobytes(),
        "examples": store.read_examples(folder),
        "rejected": store.read_rejected(folder),
        "told": {k: v for k, v in store.summary(folder).items() if k not in {"sha256", "bytes", "seal"}},
        "form": (table.names, table.waveform_channels, table.fs, table.target_names),
    }


def attempt(folder: Path) -> tuple[dict[str, Any] | None, str | None]:
    """Return everything, or why it cannot be had."""
    try:
        return everything(folder), None
    except DataError as error:
        return None, str(error)


# ---------------------------------------------------------------------------------------------------- nothing wrong silently
@pytest.mark.parametrize("seed", range(6))
def test_a_flipped_bit_anywhere_is_named_or_changes_no_number(whole: Path, tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    expected = everything(whole)
    folder = Path(shutil.copytree(whole, tmp_path / "s"))
    named = 0
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        content = path.read_bytes()
        changed = bytearray(content)
        changed[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        found, told = attempt(folder)
        named += told is not None
        if told is None:
            assert found == expected, path
        else:
            assert str(path) in told
            assert "delete it and run `biosig-mtl prepare` again" in told
        path.write_bytes(content)
    assert named >= 6  # what reading has no use for: the tables of lots, the plan, most sidecars
    assert everything(folder) == expected


def test_a_waveform_is_compared_when_it_is_first_touched_and_the_rest_is_not(whole: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "s"))
    path = folder / "lots" / "00002.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 64
    path.write_bytes(content)
    table = store.read(folder)
    good = np.flatnonzero(table.index["lot"] != 2)
    np.testing.assert_array_equal(table.waveform[good], store.read(whole).waveform[good])
    bad = np.flatnonzero(table.index["lot"] == 2)
    for _ in range(2):
        with pytest.raises(DataError, match=r"00002\.safetensors: content does not match its sha256"):
            table.waveform[bad[-1:]]
    with pytest.raises(DataError, match=r"00002\.safetensors"):
        np.asarray(table.waveform)


def test_a_file_is_compared_once_and_again_after_it_was_written(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "s"))
    compared: list[str] = []
    once = shards.digest_of

    def watched(file: Any, start: int, stop: int) -> str:
        compared.append(Path(file.name).name)
        return once(file, start, stop)

    monkeypatch.setattr(shards, "digest_of", watched)
    for _ in range(3):
        np.asarray(store.read(folder).waveform)
    assert sorted(compared) == [f"0000{i}.safetensors" for i in range(3)]
    path = folder / "lots" / "00001.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"00001\.safetensors: content does not match"):
        np.asarray(store.read(folder).waveform)


@pytest.mark.parametrize("what", ["garbage", "zeros"])
def test_garbage_of_the_same_length_is_named(whole: Path, tmp_path: Path, what: str) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "s"))
    expected = everything(whole)
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        content = path.read_bytes()
        path.write_bytes(random.Random(1).randbytes(len(content)) if what == "garbage" else bytes(len(content)))
        if path.suffix == ".parquet" and path.parent.name == "lots":
            assert everything(folder) == expected
        elif path.name not in {"plan.json", "00001.json", "00002.json", "00000.json"}:
            with pytest.raises(DataError, match=re.escape(str(path))):
                everything(folder)
        assert store.verify(folder) if path.name != "store.json" else True
        path.write_bytes(content)


def test_files_cut_short_anywhere_are_named_and_made_again(
    whole: Path, tmp_path: Path, write_store: Write, contents: Contents
) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "s"))
    before = contents(folder)
    for name, content in before.items():
        if name == "plan.json":
            continue
        for length in sorted({0, 1, 7, 8, 9, *(len(content) * k // 7 for k in range(1, 7)), len(content) - 1}):
            (folder / name).write_bytes(content[:length])
            with pytest.raises(DataError, match=re.escape(name)) as error:
                store.read(folder)
            assert "\n" not in str(error.value)
        if name != "store.json":
            assert not store.is_finished(folder)
            # What is too short is made anew by the same command, with nothing to delete.
            write_store(folder)
            assert contents(folder) == before
        (folder / name).write_bytes(content)


def test_what_the_message_names_is_what_has_to_be_deleted(
    whole: Path, tmp_path: Path, write_store: Write, contents: Contents
) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "s"))
    before = contents(folder)
    rng = random.Random(3)
    for name, content in before.items():
        changed = bytearray(content)
        changed[rng.randrange(len(content) // 2, len(content))] ^= 4
        (folder / name).write_bytes(changed)
        advice = store.verify(folder) if name != "store.json" else []
        if not advice:
            with pytest.raises(DataError) as error:
                store.is_finished(folder)
            advice = [str(error.value)]
        assert len(advice) == 1
        Path(advice[0].partition(": ")[0]).unlink()
        assert not store.is_finished(folder)
        write_store(folder)
        assert contents(folder) == before


def test_the_table_of_a_lot_is_compared_before_it_is_merged(tmp_path: Path, write_store: Write, contents: Contents) -> None:
    folder = write_store(tmp_path / "s")
    before = contents(folder)
    path = folder / "lots" / "00001.parquet"
    changed = bytearray(path.read_bytes())
    changed[len(changed) // 3] ^= 1
    path.write_bytes(changed)
    (folder / "index.parquet").unlink()
    with pytest.raises(DataError, match=r"00001\.parquet: content does not match its sha256"):
        store.finish(folder, 3)
    path.unlink()
    write_store(folder)
    assert contents(folder) == before


def test_a_sidecar_that_was_touched_is_no_sidecar(tmp_path: Path, write_store: Write, contents: Contents) -> None:
    folder = write_store(tmp_path / "s")
    before = contents(folder)
    path = folder / "lots" / "00001.json"
    path.write_text(path.read_text().replace('"flat ppg"', '"flat ecg"'))
    assert store.missing_lots(folder, 3) == [1]
    with pytest.raises(DataError, match=r"00001\.json: content does not match its sha256"):
        store.finish(folder, 3)
    (folder / "store.json").unlink()
    write_store(folder)
    assert contents(folder) == before


@pytest.mark.parametrize("content", [{}, {"a": 1}, {"zz": ["x"], "seam": {"seal": "0" * 64}}, {"é": '\n"seal": "1"'}])
def test_a_seal_holds_for_what_was_sealed_and_for_nothing_else(tmp_path: Path, content: dict[str, Any]) -> None:
    path = tmp_path / "a.json"
    raw = files.sealed(content | {"word": 1})
    path.write_bytes(raw)
    told = files.read_json(path, "word")
    assert told.pop("seal") == json.loads(raw)["seal"]
    assert told == content | {"word": 1}
    for at in range(len(raw)):
        changed = bytearray(raw)
        changed[at] ^= 1
        path.write_bytes(changed)
        try:
            found = files.read_json(path, "word")
        except DataError:
            continue
        # Only the name of the seal itself may be lost: then there is none, and everything else is as it was.
        assert {k: v for k, v in found.items() if k in told} == told
        assert "seal" not in found


# -------------------------------------------------------------------------------------------------- stores of the format before
def test_a_store_of_the_format_before_reads_the_same(whole: Path, tmp_path: Path, as_before: Callable[[Path], Path]) -> None:
    folder = as_before(Path(shutil.copytree(whole, tmp_path / "s")))
    assert store.is_finished(folder)
    assert store.verify(folder) == []
    new, old = everything(whole), everything(folder)
    assert {k: v for k, v in old.items() if k != "told"} == {k: v for k, v in new.items() if k != "told"}


def test_damage_to_a_store_of_the_format_before_is_named_all_the_same(
    whole: Path, tmp_path: Path, as_before: Callable[[Path], Path]
) -> None:
    folder = as_before(Path(shutil.copytree(whole, tmp_path / "s")))
    for name in ("lots/00001.safetensors", "index.parquet", "rejected.csv"):
        content = (folder / name).read_bytes()
        for changed in (content[:-3], content[:-1] + bytes([content[-1] ^ 1]), b"\xff" * len(content), b""):
            (folder / name).write_bytes(changed)
            with pytest.raises(DataError, match=re.escape(str(folder / name))):
                everything(folder)
        (folder / name).write_bytes(content)


# --------------------------------------------------------------------------------------------------------------------- reading
def test_the_index_is_what_pandas_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_store: Write) -> None:
    monkeypatch.setattr(frames, "GROUP_ROWS", 3)
    folder = write_store(tmp_path / "s", 6)
    pd.testing.assert_frame_equal(store.read(folder).index, pd.read_parquet(folder / "index.parquet"))


def test_lots_with_other_facts_are_one_index(tmp_path: Path) -> None:
    import pyarrow as pa

    one = pd.DataFrame({"window_id": ["a", "b"], "x": [1.5, np.nan], "n": [1, 2], "w": ["p", "p"], "ok": [True, False]})
    two = pd.DataFrame({"window_id": ["c"], "y": [2.5], "n": [3], "w": [None]})
    tables = [frames.table_of(frames.parquet(f), tmp_path) for f in (one, two)]
    schema = frames.joint_schema([t.schema for t in tables])
    path = tmp_path / "index.parquet"
    with path.open("wb") as file:
        frames.write_index(file, tables, schema)
    found = frames.index_frame(path.read_bytes(), path)
    pd.testing.assert_frame_equal(found, pd.read_parquet(path))
    expected = pd.concat([one, two], ignore_index=True)
    pd.testing.assert_frame_equal(found.fillna("?"), expected.fillna("?"))
    assert schema.field("x").nullable is False
    assert isinstance(schema.field("w").type, pa.DataType)


def test_the_bytes_of_the_index_do_not_depend_on_how_rows_were_handed_over(tmp_path: Path) -> None:
    frame = pd.DataFrame({"window_id": [f"{i}" for i in range(50)], "x": np.arange(50.0), "w": ["a", "b"] * 25})
    made = []
    for cuts in ([50], [10, 40], [1] * 50):
        bounds = np.cumsum([0, *cuts])
        tables = [frames.table_of(frames.parquet(frame.iloc[a:b]), tmp_path) for a, b in pairwise(bounds)]
        path = tmp_path / "i.parquet"
        with path.open("wb") as file:
            frames.write_index(file, tables, frames.joint_schema([t.schema for t in tables]))
        made.append(path.read_bytes())
    assert made[0] == made[1] == made[2]


def test_a_summary_is_read_again_only_when_it_was_written_again(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "s"))
    read: list[Path] = []
    once = files.read_json

    def watched(path: Path, word: str) -> dict[str, Any]:
        read.append(path)
        return once(path, word)

    monkeypatch.setattr(reading, "read_json", watched)
    first = store.summary(folder)
    first["windows"] = -1  # what a caller does to it is his own
    assert store.summary(folder)["windows"] > 0
    assert len(read) == 1
    path = folder / "store.json"
    path.write_bytes(files.sealed({**{k: v for k, v in store.summary(folder).items() if k != "seal"}, "windows": 99_999}))
    assert store.summary(folder)["windows"] == 99_999
    assert len(read) == 2
    for i in range(12):
        store.summary(Path(shutil.copytree(whole, tmp_path / f"s{i}")))
    assert len(reading._summaries) <= 8


def test_parts_travel_to_other_processes_by_name(whole: Path) -> None:
    waveform: Any = store.read(whole).waveform
    expected = np.asarray(waveform)
    sent = pickle.dumps(waveform)
    assert len(sent) < expected.nbytes / 2
    np.testing.assert_array_equal(np.asarray(pickle.loads(sent)), expected)


def test_only_so_many_parts_stay_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "_OPEN", 4)
    whole = np.arange(1200, dtype=np.float32).reshape(20, 60)
    sharded = Sharded([whole[i : i + 1] for i in range(20)])
    rng = np.random.default_rng(0)
    for _ in range(50):
        rows = rng.integers(0, 20, rng.integers(1, 9))
        np.testing.assert_array_equal(sharded[rows], whole[rows])
        assert len(sharded._opened.arrays) <= 8


def test_long_rows_and_slices_over_many_parts_are_those_of_the_whole() -> None:
    whole = np.random.default_rng(0).random((40, 3, 300)).astype(np.float32)
    bounds = [0, 1, 1, 7, 20, 20, 40]
    sharded = Sharded([whole[a:b] for a, b in pairwise(bounds)])
    rows = np.random.default_rng(1).integers(-40, 40, (5, 7))
    np.testing.assert_array_equal(sharded[rows], whole[rows])
    indices: tuple[Any, ...] = (
        slice(None),
        slice(3, 25),
        slice(25, 3),
        slice(-5, None),
        slice(None, None, 3),
        12,
        np.int32(-1),
        [],
    )
    for index in indices:
        np.testing.assert_array_equal(sharded[index], whole[index])
    assert sharded.size == whole.size
    with pytest.raises(IndexError, match="rows 3 to 40 of 40"):
        sharded[np.array([3, 40])]


def test_a_lot_whose_windows_have_another_length_is_refused(tmp_path: Path, lot: Any) -> None:
    store.write_plan(tmp_path, {})
    store.write_lot(tmp_path, 0, lot(0), {"dataset": "demo"})
    other = lot(1)
    shorter = tuple(replace(f, waveform=f.waveform[:, :, :40]) for f in other.features)
    store.write_lot(tmp_path, 1, replace(other, features=shorter), {"dataset": "demo"})
    with pytest.raises(DataError, match=r"do not agree on their waveform, \[1, 50\] and \[1, 40\]"):
        store.finish(tmp_path, 2)


def test_finishing_reads_no_arrays(tmp_path: Path, write_store: Write, contents: Contents) -> None:
    # Where lots are sent to another place as they are written, their arrays are not here at the end.
    folder = write_store(tmp_path / "s")
    before = contents(folder)
    for path in (folder / "lots").glob("*.safetensors"):
        path.unlink()
    finishing.finish(folder, 3)
    assert {k: v for k, v in before.items() if not k.endswith(".safetensors")} == contents(folder)


def test_a_shard_that_is_empty_is_an_array(tmp_path: Path) -> None:
    from safetensors.numpy import save

    path = tmp_path / "a.safetensors"
    path.write_bytes(save({"waveform": np.empty((3, 0, 0), np.float32)}))
    part = Shard(path, "waveform", (3, 0, 0), "F32", files.sha256(b""))
    assert Sharded([part, part])[[5, 0]].shape == (2, 0, 0)
