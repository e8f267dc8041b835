from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from biosig_mtl import store
from biosig_mtl.places import Place
from biosig_mtl.store import Lot, remote
from biosig_mtl.types import DataError
from tests.store.conftest import DATASET

PLAN = {"records": 8}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIOSIG_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(f"file://{tmp_path / 'far' / '0123'}")


def written(folder: Path, lot: Callable[..., Lot], numbers: range, place: Place | None = None) -> None:
    store.write_plan(folder, PLAN)
    for number in numbers:
        store.write_lot(folder, number, lot(number), DATASET)
        if place is not None:
            remote.publish_lot(place, folder, number)


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_store_that_two_machines_wrote_is_that_of_one(place: Place, lot: Callable[..., Lot], tmp_path: Path) -> None:
    written(tmp_path / "own", lot, range(4))
    store.finish(tmp_path / "own", 4)
    written(tmp_path / "one", lot, range(2), place)
    written(tmp_path / "two", lot, range(2, 4), place)
    assert not list((tmp_path / "two" / "lots").glob("*.safetensors"))
    assert not remote.is_published(place)
    assert remote.bring_lots(place, tmp_path / "two") == {0, 1, 2, 3}
    store.finish(tmp_path / "two", 4)
    remote.publish(place, tmp_path / "two")
    assert remote.is_published(place)
    staged = remote.stage(place, tmp_path / "third")
    assert contents(staged) == contents(tmp_path / "own")
    assert store.verify(staged) == []


def test_an_unfinished_store_is_told(place: Place, lot: Callable[..., Lot], tmp_path: Path) -> None:
    written(tmp_path / "one", lot, range(2), place)
    with pytest.raises(DataError, match="not a finished window store"):
        remote.stage(place, tmp_path / "here")


def test_a_lot_without_its_sidecar_does_not_exist(place: Place, lot: Callable[..., Lot], tmp_path: Path) -> None:
    written(tmp_path / "one", lot, range(2), place)
    (tmp_path / "far" / "0123" / "lots" / "00001.json").unlink()
    assert remote.bring_lots(place, tmp_path / "two") == {0}
    assert sorted(p.name for p in (tmp_path / "two" / "lots").iterdir()) == ["00000.json", "00000.parquet"]


def test_copies_of_another_store_are_not_taken_for_this_one(place: Place, lot: Callable[..., Lot], tmp_path: Path) -> None:
    written(tmp_path / "one", lot, range(2), place)
    remote.bring_lots(place, tmp_path / "one")
    store.finish(tmp_path / "one", 2)
    remote.publish(place, tmp_path / "one")
    here = remote.stage(place, tmp_path / "here")
    before = contents(here)
    (here / "store.json").write_text("{}")
    (here / "lots" / "00000.safetensors").write_bytes(b"\0" * len(before["lots/00000.safetensors"]))
    assert contents(remote.stage(place, here)) == before
    (here / "lots" / "00001.parquet").unlink()
    assert contents(remote.stage(place, here)) == before


def test_stores_at_a_place_are_found_by_their_plans(place: Place, lot: Callable[..., Lot], tmp_path: Path) -> None:
    written(tmp_path / "one", lot, range(1), place)
    remote.bring_lots(place, tmp_path / "one")
    store.finish(tmp_path / "one", 1)
    remote.publish(place, tmp_path / "one")
    above = Place(place.url.rpartition("/")[0])
    found = remote.bring_plans(above)
    assert found == remote.folder_for(above)
    assert sorted(p.relative_to(found).as_posix() for p in found.rglob("*") if p.is_file()) == [
        "0123/plan.json",
        "0123/store.json",
    ]


def test_what_else_lies_beside_the_lots_is_passed_over(place: Place, lot: Callable[..., Lot], tmp_path: Path) -> None:
    written(tmp_path / "one", lot, range(2), place)
    far = tmp_path / "far" / "0123" / "lots"
    for name in (".00002.json.ab12.tmp", "notes.txt", "README"):  # of a writer that was killed, and of somebody
        (far / name).write_text("{}")
    assert remote.bring_lots(place, tmp_path / "two") == {0, 1}
    assert sorted(p.name for p in (tmp_path / "two" / "lots").iterdir()) == [
        f"0000{i}.{kind}" for i in range(2) for kind in ("json", "parquet")
    ]


def test_lots_are_brought_anew_without_a_moment_in_which_they_are_not_there(
    place: Place, lot: Callable[..., Lot], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path / "one", lot, range(2), place)
    here = tmp_path / "two"
    remote.bring_lots(place, here)
    names = {p: p.read_bytes() for p in (here / "lots").iterdir()}
    (here / "lots" / "00000.parquet").write_bytes(b"x" * (here / "lots" / "00000.parquet").stat().st_size)
    fetch = Place.fetch

    def seen(self: Place, name: str, path: Path) -> Path:
        assert all(p.is_file() for p in names)
        return fetch(self, name, path)

    monkeypatch.setattr(Place, "fetch", seen)
    remote.bring_lots(place, here)
    assert {p: p.read_bytes() for p in names} == names


def test_a_lot_is_not_vouched_for_when_one_of_its_files_is_gone(place: Place, lot: Callable[..., Lot], tmp_path: Path) -> None:
    written(tmp_path / "one", lot, range(1))
    (tmp_path / "one" / "lots" / "00000.parquet").unlink()
    with pytest.raises(DataError, match="not there"):
        remote.publish_lot(place, tmp_path / "one", 0)
    assert "lots/00000.json" not in place.files()


def test_a_killed_staging_is_gone_on_with(
    place: Place, lot: Callable[..., Lot], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path / "one", lot, range(3), place)
    remote.bring_lots(place, tmp_path / "one")
    store.finish(tmp_path / "one", 3)
    remote.publish(place, tmp_path / "one")
    fetch, brought = Place.fetch, list[str]()

    def dies(self: Place, name: str, path: Path) -> Path:
        if name == "lots/00002.parquet":
            raise KeyboardInterrupt
        return fetch(self, name, path)

    def seen(self: Place, name: str, path: Path) -> Path:
        brought.append(name)
        return fetch(self, name, path)

    monkeypatch.setattr(Place, "fetch", dies)
    with pytest.raises(KeyboardInterrupt):
        remote.stage(place, tmp_path / "here")
    assert not store.is_finished(tmp_path / "here")
    monkeypatch.setattr(Place, "fetch", seen)
    (tmp_path / "far" / "0123" / "lots" / ".00001.json.ab.tmp").write_text("of a killed writer")
    staged = remote.stage(place, tmp_path / "here")
    assert {name for name in brought if "/" in name} == {"lots/00002.parquet", "lots/00002.safetensors"}
    assert store.verify(staged) == []
    assert sorted(p.name for p in staged.rglob(".*")) == []
    # Made anew at the place, in equal sizes, while the staging of the earlier one was broken off: nothing of it stays.
    (staged / "store.json").rename(staged / remote._BEGUN)
    brought.clear()
    told = tmp_path / "far" / "0123" / "store.json"
    told.write_bytes(told.read_bytes().replace(b'"seal"', b'"sael"'))
    remote.stage(place, tmp_path / "here")
    assert {f"lots/0000{i}.parquet" for i in range(3)} < set(brought)
