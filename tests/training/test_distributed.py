"""Several processes that share each batch end where one process ends, and no one waits for ever for one who is gone."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed import HashStore  # type: ignore[attr-defined]

from biosig_mtl import models
from biosig_mtl.training import distributed
from biosig_mtl.training.distributed import ALONE, launched
from biosig_mtl.types import DataError
from tests.training.distributed_case import TRAININGS, Case, together, trained


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("d")


@pytest.fixture(scope="module")
def two(place: Path) -> dict[str, list[Any]]:
    """Return what two processes found: whole trainings, gradients, every network."""
    return {"everything": together("everything", 2, place)}


# ------------------------------------------------------------------------------------------------------- the same answer
def test_two_processes_end_where_one_ends(two: dict[str, list[Any]]) -> None:
    found = two["everything"][0]["trainings"]
    assert found.keys() == TRAININGS.keys()
    for name, one in found.items():
        assert one["away"] < 2e-4, name  # float32, after two epochs; weights are of size 1
        assert all(ours == pytest.approx(alone, rel=1e-4) for ours, alone in one["losses"]), name
        assert one["warnings"] == one["alone"], name


def test_gradients_are_exact_in_float64(two: dict[str, list[Any]]) -> None:
    for found in two["everything"]:
        assert len(found["gradients"]) == 6
        for name, (away, count, size) in found["gradients"].items():
            assert away < 1e-10, name
            assert count > 30
            assert size > 1e-3


def test_every_network_says_what_it_says_in_one_process(two: dict[str, list[Any]]) -> None:
    for found in two["everything"]:
        assert found["networks"].keys() == models.MODELS.keys()
        assert {name: away for name, away in found["networks"].items() if not 0 <= away < 1e-4} == {}


def test_chance_of_ones_own_is_repeated_too(two: dict[str, list[Any]]) -> None:
    found = [one["own_chance"] for one in two["everything"]]
    assert all(one["same"] for one in found)
    assert found[0]["loss"] == found[1]["loss"]


def test_exchanges(two: dict[str, list[Any]]) -> None:
    for found in (one["exchanges"] for one in two["everything"]):
        assert found["same"] == ["of", 0]
        assert [one["rank"] for one in found["each"]] == [0, 1]
        assert [len(one["x"]) for one in found["each"]] == [0, 1]
        assert found["taken"] == [0, 1, 2, 3, 4, 5]
        assert found["told"] == {"a": 1}
        assert found["has"] == [True, False]
        assert torch.equal(found["gradients"][0], torch.full((2,), 0.5))
        assert found["gradients"][1] is None


def test_other_windows_or_weights_are_told_in_one_line(two: dict[str, list[Any]]) -> None:
    for found in (one["odd_ones"] for one in two["everything"]):
        assert "training process 1 of 2 has other settings or windows than process 0" in found[0]
        assert "training process 1 of 2 has other weights than process 0" in found[1]


# ---------------------------------------------------------------------------------------------------------------- losing
def test_a_process_that_is_killed_is_named_and_the_run_goes_on(tmp_path: Path) -> None:
    said = together("loses_one", 2, tmp_path, str(tmp_path / "run"), ends=(0, 9))[0]
    assert "training process 1 of 2 was lost; run the same command again" in said
    seen: list[float] = []
    case: Case = ("pressure", {}, {"epochs": 4})
    found = trained(ALONE, case, tmp_path / "run", lambda row: seen.append(row["epoch"]))
    # Alone it goes on where both stood: a state knows no number of processes.
    assert seen == [2, 3]
    expected = trained(ALONE, case)
    away = [float((found.state[k] - v).abs().max()) for k, v in expected.state.items() if v.is_floating_point()]
    assert max(away) < 2e-4


def test_a_process_that_fails_tells_why(tmp_path: Path) -> None:
    said = together("fails_one", 2, tmp_path, ends=(0, 3))[0]
    assert said == "training process 1 of 2: store X is missing"


# ----------------------------------------------------------------------------------------------------------------- alone
def test_one_process_is_a_world_of_its_own() -> None:
    with distributed.joined() as world:
        assert world is ALONE is distributed.current()
        assert world.same(3) == 3
        assert world.each(3) == [3]
        world.meet()
        world.agree("anything", lambda: pytest.fail("nobody to agree with"))
        world.leave_word("to nobody")
        parameter = torch.nn.Parameter(torch.zeros(2))
        world.mean_gradients([parameter])
        assert parameter.grad is None
        assert world.mean(flat := torch.ones(2)) is flat
    assert distributed.speaks(ValueError())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({}, (0, 1)),
        ({"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "a", "MASTER_PORT": "1"}, (1, 2)),
        ({"RANK": "2", "WORLD_SIZE": "2", "MASTER_ADDR": "a", "MASTER_PORT": "1"}, (0, 1)),
        ({"RANK": "x", "WORLD_SIZE": "2", "MASTER_ADDR": "a", "MASTER_PORT": "1"}, (0, 1)),
        ({"RANK": "1", "WORLD_SIZE": "2"}, (0, 1)),
    ],
)
def test_what_started_us_is_read_from_the_environment(words: dict[str, str], expected: tuple[int, int]) -> None:
    assert launched(words) == expected


@pytest.mark.parametrize("limit", ["soon", "0", "nan", "1e9"])
def test_a_limit_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    for name, word in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, word)
    monkeypatch.setenv(distributed.TIMEOUT, limit)
    with pytest.raises(DataError, match="needs seconds"), distributed.joined():
        pass


def test_a_start_is_not_mistaken_for_an_earlier_one_in_the_same_store() -> None:
    store = HashStore()
    names: list[str] = []
    for _ in range(3):  # a launcher with --max-restarts keeps its store, and in it the words of those that were killed
        with ThreadPoolExecutor(3) as crew:
            # The leader comes last: what the others find first is what the start before has left.
            others = [crew.submit(distributed.agreed_start, store, rank, 3, 60.0) for rank in (1, 2)]
            time.sleep(0.1)
            leader = crew.submit(distributed.agreed_start, store, 0, 3, 60.0)
            found = {one.result() for one in [leader, *others]}
        assert len(found) == 1
        names += found
    assert len(set(names)) == 3


def test_who_did_not_come_is_named() -> None:
    with pytest.raises(RuntimeError, match=r"process 1, 2 did not come within 0\.05 s"):
        distributed.agreed_start(HashStore(), 0, 3, 0.05)
    with pytest.raises(RuntimeError, match="process 0 did not come"):
        distributed.agreed_start(HashStore(), 1, 3, 0.05)
