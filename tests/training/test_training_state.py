"""A training state: whole or refused, no code in it, and a run that was killed ends with the same bits."""

from __future__ import annotations

import hashlib
import math
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from biosig_mtl.training import state as states
from biosig_mtl.training.distributed import ALONE
from biosig_mtl.training.packing import pack, unpack
from biosig_mtl.training.state import DamagedState, clear_state, read_state, write_state
from biosig_mtl.types import DataError
from tests.training.distributed_case import trained

KILLS = 12
CASE = ("pressure", {"merge": "concat"}, {"epochs": 5, "mi": "vclub", "average": 0.9})


# --------------------------------------------------------------------------------------------------------------- packing
def test_values_come_back_as_they_were() -> None:
    shared = torch.arange(6.0).view(2, 3)
    value: dict[Any, Any] = {
        "numbers": [1, -2.5, math.inf, True, None, 0.1 + 0.2, "ä\n"],
        "tuple": (1, (2, 3)),
        4: {"int key": torch.tensor(3, dtype=torch.int64)},
        "empty": [torch.empty(0, 3), {}, [], ()],
        "views": [shared, shared.T, shared[:, 1], shared > 2],
        "bits": torch.randn(5, dtype=torch.float64).to(torch.bfloat16),
    }
    found = unpack(pack(value))
    assert repr(found) == repr(value)
    assert torch.equal(found["bits"], value["bits"])
    assert math.isnan(unpack(pack(math.nan)))
    with pytest.raises(TypeError, match="got object"):
        pack({"a": object()})


@pytest.mark.parametrize("hurt", ["cut", "empty", "flip", "longer", "words"])
def test_bytes_that_are_not_those_that_were_packed_are_refused(hurt: str) -> None:
    content = pack({"a": torch.arange(100.0), "b": "word"})
    changed = {
        "cut": [content[:n] for n in range(0, len(content), 7)],
        "empty": [b"", b"\0" * 16, b"\x80\x04."],
        "longer": [content + b"\0", (2**60).to_bytes(8, "little") + content[8:]],
        "words": [content.replace(b"word", b"lord")],
        "flip": [bytes([*content[:i], content[i] ^ 4, *content[i + 1 :]]) for i in range(0, len(content), 5)],
    }
    for one in changed[hurt]:
        with pytest.raises(DataError, match="damaged"):
            unpack(one)


def test_words_nested_without_end_are_refused() -> None:
    from safetensors.torch import save

    words = "[" * 200_000
    with pytest.raises(DataError, match="damaged"):
        unpack(save({}, {"packed": f"{hashlib.sha256(words.encode()).hexdigest()} {words}"}))


# ---------------------------------------------------------------------------------------------------------------- on disk
def test_the_state_before_is_taken_where_the_last_is_damaged(tmp_path: Path) -> None:
    assert read_state(tmp_path / "none", "run") is None
    for epoch in (1, 2, 3):
        write_state(tmp_path, "run", {"epoch": epoch})
    assert sorted(p.name for p in tmp_path.iterdir()) == [states.EARLIER_FILE, states.STATE_FILE]
    assert read_state(tmp_path, "run") == {"epoch": 3}
    path = tmp_path / states.STATE_FILE
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(DamagedState, match=r"state\.safetensors: damaged"):
        assert read_state(tmp_path, "run") == {"epoch": 2}
    path.unlink()  # a kill between the two renames
    assert read_state(tmp_path, "run") == {"epoch": 2}
    (tmp_path / states.EARLIER_FILE).write_bytes(pack(3))
    with pytest.warns(DamagedState):
        assert read_state(tmp_path, "run") is None
    clear_state(tmp_path)
    assert not list(tmp_path.iterdir())
    clear_state(tmp_path)


def test_a_full_disk_leaves_the_state_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_state(tmp_path, "run", {"epoch": 1})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DataError, match="cannot be written: No space left on device"):
            write_state(tmp_path, "run", {"epoch": 2})
    assert [p.name for p in tmp_path.iterdir()] == [states.STATE_FILE]
    assert read_state(tmp_path, "run") == {"epoch": 1}


def test_a_state_that_may_not_be_read_is_not_taken_for_none(tmp_path: Path) -> None:
    (tmp_path / states.STATE_FILE).mkdir()
    with pytest.raises(DataError, match="not readable as a training state"):
        read_state(tmp_path, "run")


# ------------------------------------------------------------------------------------------------------------------ kills
def _train(folder: str, done: Any, go: Any) -> None:
    torch.set_num_threads(1)
    go.wait()
    found = trained(ALONE, CASE, Path(folder))
    done.put(pack([found.state, list(found.history)]))


@pytest.mark.filterwarnings("ignore:This process .*multi-threaded:DeprecationWarning")
def test_a_run_that_is_killed_at_any_moment_ends_with_the_same_bits(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    start = time.monotonic()
    expected = trained(ALONE, CASE)
    took = time.monotonic() - start
    whole = pack([expected.state, list(expected.history)])
    chance = random.Random(0)
    killed = 0
    for turn in range(200):
        go, done = context.Event(), context.Queue()
        child = context.Process(target=_train, args=(str(tmp_path), done, go), daemon=True)
        child.start()
        go.set()
        if killed < KILLS:
            # Often within an epoch or within the writing of a state; a run that came to its end begins anew.
            child.join(chance.uniform(0.0, 0.5) * took)
            if child.is_alive() and child.pid is not None:
                os.kill(child.pid, signal.SIGKILL)
                child.join()
                killed += 1
                continue
        found = done.get(timeout=120)
        child.join()
        assert found == whole, f"turn {turn}"
        clear_state(tmp_path)
        if killed >= KILLS:
            return
    pytest.fail(f"only {killed} of {KILLS} kills found a run that was alive")


def test_a_damaged_state_ends_with_the_same_bits(tmp_path: Path) -> None:
    expected = trained(ALONE, CASE)

    class Stop(Exception):  # noqa: N818 (no error)
        pass

    def stop(row: dict[str, float]) -> None:
        if row["epoch"] == 2:
            raise Stop

    with pytest.raises(Stop):
        trained(ALONE, CASE, tmp_path, stop)
    path = tmp_path / states.STATE_FILE
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.warns(DamagedState):
        found = trained(ALONE, CASE, tmp_path)
    assert pack([found.state, list(found.history)]) == pack([expected.state, list(expected.history)])


def test_where_and_how_fast_is_no_part_of_what(tmp_path: Path) -> None:
    seen: list[float] = []

    def note(row: dict[str, float]) -> None:
        seen.append(row["epoch"])

    first = trained(ALONE, ("pressure", {}, {"epochs": 2}), tmp_path, note)
    other: Callable[..., Any] = lambda **how: trained(ALONE, ("pressure", {}, {"epochs": 2, **how}), tmp_path, note)  # noqa: E731
    found = other(prefetch="on", parallel="batch", device="cpu")
    assert seen == [0, 1]
    assert all(np.array_equal(first.state[k].numpy(), v.numpy()) for k, v in found.state.items())
    with pytest.raises(DataError, match="other settings, seed or windows"):
        other(shuffle="blocks")
