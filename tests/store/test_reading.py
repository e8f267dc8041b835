"""Laws of reading: one array over many shards, and damage that does not go unseen."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from biosig_mtl import store
from biosig_mtl.store import Lot
from biosig_mtl.store.shards import Sharded
from biosig_mtl.types import DataError


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, lot: Callable[..., Lot]) -> Path:
    folder = tmp_path_factory.mktemp("store") / "abc"
    store.write_plan(folder, {"lots": 3})
    for i in range(3):
        store.write_lot(folder, i, lot(i), {"dataset": "demo"})
    store.finish(folder, 3)
    return folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "abc"))


# ------------------------------------------------------------------------------------------------------------------- shards
def shards(sizes: list[int]) -> tuple[Sharded, Any]:
    whole = np.arange(sum(sizes) * 6, dtype=np.float32).reshape(-1, 2, 3)
    bounds = np.cumsum([0, *sizes])
    return Sharded([whole[a:b] for a, b in pairwise(bounds)]), whole


RESTS: list[tuple[Any, ...]] = [
    (),
    (0,),
    (slice(1),),
    (slice(None), 2),
    (1, slice(None, None, -1)),
    (..., 1),
    ([0, 1, 1],),
]
SIZES = st.lists(st.integers(0, 5), min_size=1, max_size=5)


@settings(max_examples=120, deadline=None)
@given(sizes=SIZES, data=st.data())
def test_any_index_gives_what_numpy_gives_on_the_whole(sizes: list[int], data: st.DataObject) -> None:
    sharded, whole = shards(sizes)
    index = data.draw(hnp.basic_indices(whole.shape, allow_newaxis=True, max_dims=5) if whole.size else st.just(slice(None)))
    found = sharded[index]
    assert found.dtype == whole.dtype
    np.testing.assert_array_equal(found, whole[index])


@settings(max_examples=100, deadline=None)
@given(sizes=SIZES.filter(any), data=st.data())
def test_arrays_of_rows_and_masks_give_what_numpy_gives(sizes: list[int], data: st.DataObject) -> None:
    sharded, whole = shards(sizes)
    n = len(whole)
    rows = data.draw(
        hnp.integer_array_indices((n,), result_shape=hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)).map(
            lambda found: found[0]
        )
        | hnp.arrays(bool, n)
        | hnp.arrays(bool, n).map(list)
        | st.lists(st.integers(-n, n - 1), max_size=6)
    )
    rest = data.draw(st.sampled_from(RESTS))
    try:
        expected = whole[(rows, *rest)]
    except IndexError:
        with pytest.raises(IndexError):
            sharded[(rows, *rest)]
        return
    np.testing.assert_array_equal(sharded[(rows, *rest)], expected)
    if not rest:
        np.testing.assert_array_equal(sharded[rows], expected)


def test_it_looks_like_an_array() -> None:
    sharded, whole = shards([3, 0, 2])
    assert len(sharded) == 5
    assert sharded.shape == whole.shape
    assert sharded.ndim == 3
    assert sharded.dtype == np.float32
    np.testing.assert_array_equal(np.asarray(sharded), whole)
    assert np.asarray(sharded, np.float64).dtype == np.float64
    np.testing.assert_array_equal(sharded[()], whole)
    for outside in (5, -6, [0, 9]):
        with pytest.raises(IndexError):
            sharded[outside]


def test_what_is_read_may_be_written_to_without_touching_the_shards() -> None:
    sharded, whole = shards([3, 2])
    sharded[[0, 4]][:] = -1
    sharded[1:4][:] = -1
    np.testing.assert_array_equal(np.asarray(sharded), whole)
    assert whole.min() == 0


# ------------------------------------------------------------------------------------------------------------------- damage
def test_an_unfinished_store_is_one_line(tmp_path: Path) -> None:
    for look in (store.read, store.summary, store.verify, store.read_examples):
        with pytest.raises(DataError, match="not a finished window store; run `biosig-mtl prepare` again") as error:
            look(tmp_path)
        assert "\n" not in str(error.value)
    assert not store.is_finished(tmp_path)


def files_of(folder: Path) -> list[str]:
    return sorted(store.summary(folder)["sha256"])


def test_a_whole_store_has_no_problems_and_every_file_is_known(finished: Path) -> None:
    assert store.verify(finished) == []
    there = {p.relative_to(finished).as_posix() for p in finished.rglob("*") if p.is_file()}
    assert there == {*files_of(finished), "store.json"}


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_damage_to_any_file_is_found_and_named(finished: Path, tmp_path: Path, damage: str) -> None:
    rng = random.Random(0)
    for name in files_of(finished):
        folder = Path(shutil.copytree(finished, tmp_path / name.replace("/", "_")))
        path = folder / name
        content = bytearray(path.read_bytes())
        if damage == "flip":
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
            path.write_bytes(content)
        elif damage == "truncate":
            path.write_bytes(content[:-1])
        else:
            path.unlink()
        (problem,) = store.verify(folder)
        assert problem.startswith(str(path))
        assert ("missing" in problem) == (damage == "remove")
        assert store.is_finished(folder) == (damage == "flip")


def test_a_damaged_file_that_is_deleted_is_written_again_the_same(copied: Path, lot: Callable[..., Lot]) -> None:
    before = (copied / "lots/00001.safetensors").read_bytes()
    (copied / "lots/00001.safetensors").unlink()
    assert store.missing_lots(copied, 3) == [1]
    store.write_lot(copied, 1, lot(1), {"dataset": "demo"})
    store.finish(copied, 3)
    assert (copied / "lots/00001.safetensors").read_bytes() == before
    assert store.verify(copied) == []


@pytest.mark.parametrize("content", [b"", b"\x00" * 4, b"\xff" * 64, b"{}", b"\x10" + b"\x00" * 7 + b'{"a": {}}       '])
@pytest.mark.parametrize("name", ["lots/00001.safetensors", "lots/00001.json", "index.parquet", "store.json"])
def test_reading_a_damaged_store_is_one_line_that_names_the_file(copied: Path, name: str, content: bytes) -> None:
    (copied / name).write_bytes(content)
    with pytest.raises(DataError) as error:
        store.read(copied)
    assert "\n" not in str(error.value)
    assert str(copied / name) in str(error.value)


def test_reading_a_shortened_shard_is_one_line(copied: Path) -> None:
    path = copied / "lots/00001.safetensors"
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(DataError, match=r"00001\.safetensors: missing or damaged"):
        store.read(copied)
