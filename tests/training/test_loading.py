"""Loading: the thread changes nothing but when; blocks are a permutation that stays near; devices and compiling fall back."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from biosig_mtl.training import compiling, devices
from biosig_mtl.training.batches import BatchSource, Scaler
from biosig_mtl.training.compiling import Forward
from biosig_mtl.training.distributed import ALONE
from biosig_mtl.training.loading import ahead, pinned, placed
from biosig_mtl.training.loading_order import blocked, order_of
from biosig_mtl.training.settings import TrainingSettings
from biosig_mtl.types import RecipeError, WindowTable
from tests.training.distributed_case import FOLD, network, pressures, trained

MakeTable = Callable[..., WindowTable]


def waiting() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name == "batches"]


# ----------------------------------------------------------------------------------------------------------------- thread
def test_the_thread_makes_the_same_in_the_same_order() -> None:
    with ahead(range(50), lambda x: x * x) as made:
        assert waiting() == ["batches"]
        assert list(made) == [x * x for x in range(50)]
    assert not waiting()


def test_an_error_of_the_thread_is_raised_where_it_belongs() -> None:
    def make(x: int) -> float:
        return 1 / (3 - x)

    seen: list[float] = []
    with pytest.raises(ZeroDivisionError), ahead(range(9), make) as made:
        seen.extend(made)
    assert seen == [1 / 3, 1 / 2, 1.0]
    assert not waiting()

    def broken() -> Iterator[int]:
        yield 1
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"), ahead(broken(), lambda x: x) as other:
        list(other)
    assert not waiting()


def test_one_who_stops_early_leaves_no_thread() -> None:
    count: list[int] = []

    def stop() -> None:
        while len(count) < 3:
            time.sleep(0.01)
        raise KeyError

    with pytest.raises(KeyError), ahead(range(10**9), count.append, depth=2):
        stop()
    assert not waiting()
    assert len(count) <= 5  # it runs no further ahead than it was told


@pytest.mark.parametrize("how", [{}, {"shuffle": "blocks", "block_windows": 4, "buffer_blocks": 3}])
def test_training_with_the_thread_ends_with_the_same_bits(how: dict[str, Any]) -> None:
    first, second = (trained(ALONE, ("pressure", {"merge": "concat"}, {**how, "prefetch": word})) for word in ("off", "on"))
    assert all(torch.equal(first.state[k], v) for k, v in second.state.items())
    assert repr(first.history) == repr(second.history)
    assert not waiting()


def test_a_batch_is_moved_whole() -> None:
    table = pressures(reference=True)
    source = BatchSource(table, FOLD.train, Scaler.fit(table, FOLD.train), waveform=True)
    source.reference = True
    batch = replace(source.batch(torch.arange(4)), offset=torch.zeros(4, 2), tracks={"a": torch.ones(4, 1, 2)})
    assert placed(batch, torch.device("cpu")) is batch
    assert pinned(batch) is batch or torch.cuda.is_available()
    moved = placed(batch, torch.device("meta"))
    tensors = [moved.waveform, moved.values, moved.missing, moved.targets, moved.weight, moved.tracks["a"]]
    assert {t.device.type for t in [*tensors, moved.offset, moved.reference] if t is not None} == {"meta"}
    assert moved.waveform.shape == batch.waveform.shape


# ------------------------------------------------------------------------------------------------------------------ order
@pytest.mark.parametrize("n", [1, 5, 64, 1000, 1037])
@pytest.mark.parametrize(("block", "buffer"), [(1, 1), (16, 4), (100, 1), (5000, 3)])
def test_blocks_hold_every_window_once(n: int, block: int, buffer: int) -> None:
    parts = blocked(n, 32, torch.Generator().manual_seed(0), block, buffer)
    assert sorted(torch.cat(parts).tolist()) == list(range(n))
    assert {len(p) for p in parts[:-1]} <= {32}


def test_blocks_stay_near_and_differ_between_epochs() -> None:
    rng = torch.Generator().manual_seed(0)
    first, second = (torch.cat(blocked(10_000, 50, rng, 100, 5)) for _ in range(2))
    assert not torch.equal(first, second)
    # 500 windows are of two buffers of 5 blocks that lie across two stretches each; at random they would touch nearly all.
    for start in range(0, 10_000, 500):
        pages = np.unique(first[start : start + 500].numpy() // 100)
        assert len(pages) <= 22
    # Within a buffer they are mixed: neighbours in the order are seldom neighbours in the store.
    assert float((first[1:] - first[:-1] == 1).float().mean()) < 0.02


def test_the_order_of_windows_is_what_it_was() -> None:
    plain = order_of(TrainingSettings(batch_size=7), 50, torch.Generator().manual_seed(3))
    expected = torch.split(torch.randperm(50, generator=torch.Generator().manual_seed(3)), 7)
    assert all(torch.equal(a, b) for a, b in zip(plain, expected, strict=True))
    mixed = order_of(TrainingSettings(batch_size=7, shuffle="blocks"), 50, torch.Generator().manual_seed(3))
    assert sorted(torch.cat(mixed).tolist()) == list(range(50))


@pytest.mark.parametrize("word", ["block_windows", "buffer_blocks"])
def test_blocks_of_nothing_are_refused(word: str) -> None:
    with pytest.raises(ValueError, match=f"need {word} >= 1, got 0"):
        TrainingSettings(**{word: 0})  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------------------------- devices
def test_a_gpu_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices.chosen("auto") == devices.chosen("cpu") == torch.device("cpu")
    with pytest.raises(RecipeError, match="no GPU is found here; set auto or cpu"):
        devices.chosen("cuda")


@pytest.mark.parametrize(("local", "index"), [("0", 0), ("3", 1), ("x", 0)])
def test_processes_of_one_machine_share_its_gpus(monkeypatch: pytest.MonkeyPatch, local: str, index: int) -> None:
    seen: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", seen.append)
    monkeypatch.setenv("LOCAL_RANK", local)
    assert devices.chosen("auto") == torch.device("cuda", index)
    assert seen == [torch.device("cuda", index)]
    assert devices.chosen("cpu") == torch.device("cpu")


# -------------------------------------------------------------------------------------------------------------- compiling
@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Follow the network as a compiler does, but run what it does as it is: the logic without a compiler's minute."""

    def follow(model: nn.Module) -> Any:
        return lambda batch: model(batch)

    monkeypatch.setattr(compiling, "compiled", follow)


@pytest.mark.usefixtures("eager")
def test_a_compiled_run_is_the_same_run(tmp_path: Any) -> None:
    first = trained(ALONE, ("pressure", {}, {"compile": "off"}))
    second = trained(ALONE, ("pressure", {}, {"compile": "on"}), tmp_path)
    assert first.state.keys() == second.state.keys()
    assert all(torch.equal(first.state[k], v) for k, v in second.state.items())
    again = trained(ALONE, ("pressure", {}, {"compile": "off"}), tmp_path)
    assert all(torch.equal(first.state[k], v) for k, v in again.state.items())


def test_a_compiler_that_breaks_is_told_and_training_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: nn.Module) -> Any:
        def fail(_: Any) -> None:
            raise RuntimeError("\nno compiler here\nat line 3")

        return fail

    expected = trained(ALONE, ("pressure", {}, {}))
    monkeypatch.setattr(compiling, "compiled", broken)
    found = trained(ALONE, ("pressure", {}, {"compile": "on"}))
    assert all(torch.equal(found.state[k], v) for k, v in expected.state.items())
    assert "the network could not be compiled (no compiler here); it was trained without" in found.warnings


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(
    ("plain", "made", "steps", "on"), [(1.0, 0.5, 1000, True), (1.0, 0.5, 3, False), (1.0, 1.1, 1000, False)]
)
def test_it_is_compiled_where_that_pays(
    monkeypatch: pytest.MonkeyPatch, plain: float, made: float, steps: int, on: bool
) -> None:
    table = pressures()
    model = network(table)
    source = BatchSource(table, FOLD.train, Scaler.fit(table, FOLD.train), waveform=True)
    monkeypatch.setattr(compiling, "_seconds", lambda f, *_, **__: plain if isinstance(f, nn.Module) else made)
    forward = Forward(model)
    before = torch.get_rng_state()
    forward.settle("auto", source.batch(torch.arange(4)), steps, bf16=False)
    assert forward.on is on
    assert torch.equal(torch.get_rng_state(), before)
    assert forward(source.batch(torch.arange(4))).predictions.shape == (4, 2)


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("BIOSIG_COMPILE"), reason="only with BIOSIG_COMPILE=1: it compiles for minutes")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the compiler itself
def test_a_real_compiler_says_the_same(tmp_path: Any) -> None:  # noqa: ARG001
    from torch import _dynamo

    _dynamo.reset()
    first = trained(ALONE, ("pressure", {"merge": "gate"}, {"epochs": 1}))
    second = trained(ALONE, ("pressure", {"merge": "gate"}, {"epochs": 1, "compile": "on"}))
    assert not [w for w in second.warnings if "compiled" in w]
    assert max(float((first.state[k].double() - v.double()).abs().max()) for k, v in second.state.items()) < 1e-3
