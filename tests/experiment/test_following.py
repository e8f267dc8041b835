"""Several processes and one run: who trains what, who speaks, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from biosig_mtl import splits
from biosig_mtl.cli import together as verbs
from biosig_mtl.experiment import following, members
from biosig_mtl.experiment.members import MODEL, Job
from biosig_mtl.recipe import Recipe
from biosig_mtl.training import distributed
from biosig_mtl.training.distributed import UNHEARD, World
from biosig_mtl.training.packing import pack, unpack
from biosig_mtl.types import DataError, RecipeError, WindowTable


@dataclass
class Words:
    """A store in memory: enough for what processes leave for each other."""

    kept: dict[str, bytes] = field(default_factory=dict)

    def set(self, key: str, value: bytes) -> None:
        self.kept[key] = value

    def get(self, key: str) -> bytes:
        return self.kept[key]

    def check(self, keys: list[str]) -> bool:
        return all(key in self.kept for key in keys)

    def add(self, key: str, more: int) -> int:
        self.kept[key] = str(int(self.kept.get(key, b"0")) + more).encode()
        return int(self.kept[key])


@pytest.fixture
def jobs(tiny: Recipe, place: Path, whole: WindowTable, tmp_path: Path) -> list[Job]:
    fold = splits.make(whole, splits.Protocol(folds=2))[0]
    return [Job(MODEL, fold, k, 9, tiny.to_dict(), (place,), tmp_path) for k in range(9)]


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Note what would be trained, by which rank (−1: alone), and write a result."""
    seen: list[tuple[str, int]] = []

    def work(job: Job, begin: Any = None, world: World | None = None) -> None:  # noqa: ARG001 (as the real one)
        seen.append((job.name, -1 if world is None else world.rank))
        job.place.mkdir(parents=True, exist_ok=True)
        (job.place / members.RESULT).write_text("{}")

    monkeypatch.setattr(members, "work", work)
    return seen


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Words:
    words = Words()
    monkeypatch.setattr(distributed._Current, "world", World(0, 2, words))
    return words


def named(jobs: list[Job]) -> list[str]:
    return [job.name for job in jobs]


def test_many_networks_are_trained_apart_and_few_together(jobs: list[Job], done: list[tuple[str, int]], store: Words) -> None:
    assert named(list(following.train(jobs, 3))) == named(jobs)
    assert sorted(done) == sorted((name, -1) for name in named(jobs))
    done.clear()
    assert named(list(following.train(jobs, 3))) == named(jobs)
    assert done == []
    few = [replace(job, out=job.out / "few") for job in jobs[:3]]
    assert named(list(following.train(few, 3))) == named(few)
    assert done == [(job.name, 0) for job in few]
    # A start that only process 0 knows can be shared, not handed out.
    begun = [replace(job, out=job.out / "begun") for job in jobs]
    assert len(list(following.train(begun, 3, lambda *_: ()))) == 9
    assert [rank for _, rank in done[3:]] == [0] * 9
    apart = [replace(job, recipe={**job.recipe, "training": {"parallel": "networks"}}, out=job.out / "x") for job in jobs]
    with pytest.raises(RecipeError, match="which only 'batch' can share"):
        list(following.train(apart, 3, lambda *_: ()))
    assert store.kept


def test_one_who_follows_does_what_is_handed_out(jobs: list[Job], done: list[tuple[str, int]], store: Words) -> None:
    leader, other = World(0, 2, store), World(1, 2, store)
    leader.hand_out({"way": "batch", "job": following._told(jobs[0])})
    leader.hand_out({"way": "networks", "name": "d", "count": 2})
    for i in range(2):
        leader.tell(f"d/{i}", following._told(jobs[i + 1]))
    leader.hand_out(None)
    following.follow(other)
    assert done == [(jobs[0].name, 1), (jobs[1].name, -1), (jobs[2].name, -1)]
    assert other.has("d/0/done")
    assert other.has("d/1/done")


def test_a_job_is_the_same_after_its_way(jobs: list[Job]) -> None:
    found = following._job(unpack(pack(following._told(jobs[3]))))
    assert (found.name, found.place, found.stores, found.recipe) == (
        jobs[3].name, jobs[3].place, jobs[3].stores, jobs[3].recipe,
    )  # fmt: skip
    for part, rows in jobs[3].fold.parts().items():
        assert np.array_equal(found.fold.parts()[part], rows), part


def test_what_others_wrote_must_be_seen(jobs: list[Job], monkeypatch: pytest.MonkeyPatch, store: Words) -> None:
    monkeypatch.setattr(following, "UNSEEN_S", 0.0)
    leader = World(0, 2, store)
    leader.tell("d/0/done", None)
    with pytest.raises(DataError, match="give all one --out folder"):
        following._check(leader, {"name": "d"}, {0: jobs[0]})
    World(1, 2, store).leave_word("no space left")
    with pytest.raises(DataError, match="training process 1 of 2: no space left"):
        following._check(leader, {"name": "d"}, {})


def test_the_others_are_sent_home_whatever_happens(monkeypatch: pytest.MonkeyPatch, store: Words) -> None:
    from contextlib import nullcontext

    leader = World(0, 2, store)
    monkeypatch.setattr(distributed, "joined", lambda: nullcontext(leader))
    with pytest.raises(DataError), following.together():
        raise DataError("no such store")
    assert World(1, 2, store).handed() is None
    with pytest.raises(DataError, match="training process 0 of 2: no such store"):
        World(1, 2, store).check()


@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory"), MemoryError(), KeyboardInterrupt()])
def test_one_who_stops_says_so_whatever_it_was(monkeypatch: pytest.MonkeyPatch, store: Words, error: BaseException) -> None:
    from contextlib import nullcontext

    other = World(1, 2, store)
    monkeypatch.setattr(distributed, "joined", lambda: nullcontext(other))
    with pytest.raises(type(error)), following.together():
        raise error
    with pytest.raises(DataError, match=f"training process 1 of 2: stopped by {type(error).__name__}"):
        World(0, 2, store).check()


# ------------------------------------------------------------------------------------------------------ the command line
def test_other_verbs_are_for_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    verbs.refuse(["predict", "run"])
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    verbs.refuse(["train", "demo_bp"])
    verbs.refuse(["--help"])
    with pytest.raises(RecipeError, match="predict: one process does this"):
        verbs.refuse(["predict", "run"])


def test_only_one_process_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    error = DataError("x")
    assert verbs.speaks(error)
    for name, word in {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, word)
    assert not verbs.speaks(error)
    error.add_note(UNHEARD)
    assert verbs.speaks(error)
    monkeypatch.setenv("RANK", "0")
    assert verbs.speaks(DataError("y"))


def test_the_first_conducts_and_the_others_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    from contextlib import nullcontext

    did: list[str] = []
    verbs.led(lambda: did.append("alone"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setattr(following, "follow", lambda world: did.append(f"followed {world.rank}"))
    for rank in (0, 1):
        monkeypatch.setattr(following, "together", lambda rank=rank: nullcontext(World(rank, 2)))
        verbs.led(lambda: did.append("led"))
    assert did == ["alone", "led", "followed 1"]
