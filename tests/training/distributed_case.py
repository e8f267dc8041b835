"""Several processes that really talk to each other: started by spawning, told what to do by name, answers by file."""

from __future__ import annotations

import multiprocessing
import os
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from biosig_mtl import models
from biosig_mtl.training import distributed
from biosig_mtl.training.batches import NO_AUGMENTATION, BatchSource, Scaler, spec_of
from biosig_mtl.training.descent import Descent
from biosig_mtl.training.distributed import ALONE, World
from biosig_mtl.training.distributed_batch import Given, Loader, Shared, start_together
from biosig_mtl.training.independence import IndependenceTerm
from biosig_mtl.training.loop import FitResult, TrainingData, fit
from biosig_mtl.training.losses import Objective, mask_coverage
from biosig_mtl.training.packing import pack, unpack
from biosig_mtl.training.settings import TrainingSettings
from biosig_mtl.training.severity import Severity
from biosig_mtl.training.waveform import waveform_loss
from biosig_mtl.training.weighting import LossWeights
from biosig_mtl.types import Batch, Fold, Head, Output, Track, WindowTable

FOLD = Fold(train=np.arange(47), validation=np.arange(48, 64), test=np.arange(64, 80))
QUICK = TrainingSettings(epochs=2, batch_size=16, mi_ramp_epochs=0, patience=0)
LIMIT_S = 600


# ------------------------------------------------------------------------------------------------------------ processes
def together(job: str, size: int, folder: Path, *words: Any, ends: tuple[int, ...] | None = None) -> list[Any]:
    """Run a function of this module in so many processes; return what each returned (None where it did not end well)."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    crew = [context.Process(target=_work, args=(rank, size, port, folder, job, words), daemon=True) for rank in range(size)]
    for one in crew:
        one.start()
    for one in crew:
        one.join(LIMIT_S)
        assert one.exitcode is not None, f"{job}: a process still runs after {LIMIT_S} s"
    assert tuple(one.exitcode for one in crew) == (ends or (0,) * size)
    found = [folder / f"{job}-{rank}" for rank in range(size)]
    return [unpack(path.read_bytes()) if path.is_file() else None for path in found]


def _work(rank: int, size: int, port: int, folder: Path, job: str, words: tuple[Any, ...]) -> None:
    told = {"RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in told.items()})
    torch.set_num_threads(1)
    with distributed.joined() as world:
        assert (world.rank, world.size) == (rank, size)
        assert size == 1 or distributed.current() is world
        (folder / f"{job}-{rank}").write_bytes(pack(globals()[job](world, *words)))


# --------------------------------------------------------------------------------------------------------------- tables
def pressures(*, reference: bool = False) -> WindowTable:
    """80 windows of 20 people: 6 features, two channels, two targets of which each is unknown here and there."""
    rng = np.random.default_rng(0)
    n = 80
    values = rng.normal(size=(n, 6)).astype(np.float32)
    values[rng.random(values.shape) < 0.05] = np.nan
    targets = (np.array([125.0, 75.0]) + 10 * rng.normal(size=(n, 2))).astype(np.float32)
    targets[rng.random(targets.shape) < 0.2] = np.nan
    waveform = rng.normal(size=(n, 2, 64)).astype(np.float32)
    index = pd.DataFrame({"subject": np.repeat([f"s{i:02d}" for i in range(20)], 4)})
    names = ("pulse.a", "pulse.b", "hr.mean", "person.age", "person.bmi", "ppg.snr")
    abp = Track(("abp",), 32.0, rng.normal(90, 10, (n, 1, 64)).astype(np.float32)) if reference else None
    return WindowTable(
        index, values, names, waveform, ("ppg", "vpg"), 32.0, targets, ("sbp", "dbp"), heads=(), reference=abp
    )  # fmt: skip


def feelings(heads: tuple[Head, ...] = ()) -> WindowTable:
    """80 windows of 20 people with an EEG track that some lack, and two targets on 1…9."""
    rng = np.random.default_rng(1)
    n = 80
    eeg = rng.normal(size=(n, 4, 128)).astype(np.float32)
    eeg[::7] = np.nan
    values = rng.normal(size=(n, 5)).astype(np.float32)
    names = ("eeg_de.alpha.F3", "eeg_de.alpha.F4", "eeg_asym.alpha", "eda.scl", "hr.mean")
    targets = rng.uniform(1, 9, (n, 2)).astype(np.float32)
    index = pd.DataFrame({"subject": np.repeat([f"s{i:02d}" for i in range(20)], 4)})
    tracks = {"eeg": Track(("F3", "F4", "Cz", "O1"), 64.0, eeg)}
    empty = np.empty((n, 0, 0), np.float32)
    return WindowTable(index, values, names, empty, (), 64.0, targets, ("valence", "arousal"), tracks, heads)


def network(table: WindowTable, name: str = "split_merge", **words: Any) -> nn.Module:
    torch.manual_seed(0)
    small = {"width": 8, "heads": 2, "stride": 8} if name == "split_merge" else {}
    return models.build(name, models.MODELS[name].settings(**{**small, **words}), spec_of(table))


# ------------------------------------------------------------------------------------------------------- whole trainings
Case = tuple[str, dict[str, Any], dict[str, Any]]
TRAININGS: dict[str, Case] = {
    "as it comes": ("pressure", {}, {}),
    "three batches and a rest": ("pressure", {"merge": "gate"}, {"batch_size": 23, "shuffle": "blocks", "block_windows": 4}),
    "fewer rows than processes": ("pressure", {"merge": "gate"}, {"batch_size": 46, "mi": "xcov"}),
    "critic, learnt weights": ("pressure", {"merge": "gate"}, {"weighting": "uncertainty", "mi": "vclub"}),
    "PCGrad": ("pressure", {"merge": "gate"}, {"weighting": "pcgrad"}),
    "flat minima": ("pressure", {"merge": "concat"}, {"flat_radius": 0.05, "average": 0.0}),
    "DWA, kernel, masks": (
        "pressure", {"merge": "concat", "kernel_landmarks": 10}, {"weighting": "dwa", "mask_coverage_weight": 0.1},
    ),
    "waveform": ("reference", {"waveform_head": True}, {"waveform_weight": 0.5}),
    "raters": ("raters", {}, {"prefetch": "on"}),
}  # fmt: skip
RATERS = (Head("rasch", edges=(3.0, 5.0, 7.0)), Head("ordinal", edges=(5.0,)))


def table_of(word: str) -> WindowTable:
    return feelings(RATERS) if word == "raters" else pressures(reference=word == "reference")


def trained(world: World, case: Case, folder: Path | None = None, on_epoch: Any = None) -> FitResult:
    table, words, how = table_of(case[0]), case[1], case[2]
    data = TrainingData(table, FOLD, Scaler.fit(table, FOLD.train), world=world)
    # Another start in each process: that of process 0 has to win.
    torch.manual_seed(world.rank)
    model = network(table, **words)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.5 * world.rank)
    return fit(model, data, replace(QUICK, **how), 7, folder, on_epoch)


def trainings(world: World) -> dict[str, Any]:
    """Return, for each case, how far the weights and losses of the processes are from those of one, and the weights' size."""
    found = {}
    for name, case in TRAININGS.items():
        ours = trained(world, case)
        if world.leads:
            alone = trained(ALONE, case)
            away = max(float((ours.state[k].double() - v.double()).abs().max()) for k, v in alone.state.items())
            losses = [(a["loss"], b["loss"]) for a, b in zip(ours.history, alone.history, strict=True)]
            told = {"warnings": list(ours.warnings), "alone": list(alone.warnings)}
            found[name] = {"away": away, "losses": losses, **told}
    return found


def own_chance(world: World) -> dict[str, Any]:
    """Train with chance drawn by each process for itself, twice."""
    runs = [trained(world, ("pressure", {}, {"chance": "rank"})) for _ in range(2)]
    same = all(torch.equal(runs[0].state[k], v) for k, v in runs[1].state.items())
    return {"same": same, "loss": [row["loss"] for row in runs[0].history]}


# ------------------------------------------------------------------------------------------------------------ gradients
def gradients(world: World) -> dict[str, Any]:
    """Return, by case, how far float64 gradients of shared batches are from those of one process, how many there are, and their
    largest number.
    """
    found: dict[str, Any] = {}
    for size in (16, 7, 1):
        for rule in ("sum", "upgrad"):
            torch.manual_seed(3)
            ours = _gradient(world, size, rule)
            torch.manual_seed(3)
            alone = _gradient(ALONE, size, rule)
            away = [float((a - b).abs().max()) for a, b in zip(ours, alone, strict=True)]
            found[f"{rule}, {size} rows"] = [max(away), len(away), float(max(b.abs().max() for b in alone))]
    return found


def _gradient(world: World, size: int, rule: str) -> list[Tensor]:
    """Return the float64 gradient of every weight of a network with all losses there are, in one batch with dropout."""
    table = pressures(reference=True)
    scaler = Scaler.fit(table, FOLD.train)
    model = network(table, waveform_head=True, merge="gate").double().train()
    source = BatchSource(table, FOLD.train, scaler, waveform=True)
    source.reference = True
    source.weight = torch.rand(47, generator=torch.Generator().manual_seed(1))
    # Without augmentation: the exponential of a gain is rounded in float32, otherwise at the end of a vector than within.
    how = replace(QUICK, mask_coverage_weight=0.1, augmentation=NO_AUGMENTATION)
    load = Loader(world, source, how, spec_of(table), torch.Generator().manual_seed(5))
    shared = Shared(world, how)
    weights = LossWeights("uncertainty" if rule == "sum" else "sum", 2).double()
    severity = Severity(table.subject[FOLD.train], (Head("rasch", edges=(1.0,)),) * 2).double()
    with torch.no_grad():
        severity.raw.copy_(torch.randn(severity.raw.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2)))
    objective = Objective.fit(spec_of(table).head, "huber", scaler.targets(table.targets[FOLD.train]), np.ones(47))
    assert not shared.prepare(model, _Double(source))
    given = load(torch.arange(size))
    own, judged = doubled(given.own), doubled(given.judged)
    # A rater's offset goes into the network and a penalty on it into the loss: on both sides of the exchange.
    own = replace(own, offset=severity(given.positions[given.rows.run]))
    out, batch = shared(lambda b: _offset(model(b), b), replace(given, own=own, judged=judged))
    losses, present = objective(out.predictions, out.logits, batch.targets, batch.weight)
    each = weights.each(losses, present)
    rest = [severity.penalty(), waveform_loss(_known(out.reference), _known(batch.reference), batch.weight)]
    rest.append(mask_coverage(_known(out.masks)))
    rest.append(objective(_known(out.private), None, batch.targets, batch.weight)[0].sum())
    term = IndependenceTerm("uhsic", "all", 3, 8)(_known(out.splits))
    rest += [] if term is None else [term]
    parameters = [*model.parameters(), *weights.parameters(), *severity.parameters()]
    total = torch.stack(rest).sum()
    if rule == "sum":
        (each.sum() + total).backward()  # type: ignore[no-untyped-call]
        world.mean_gradients(parameters)
    else:
        Descent(model, [*weights.parameters(), *severity.parameters()], rule, 0.0, world.mean)(
            each, present, total, lambda _: each
        )
    return [p.grad for p in parameters if p.grad is not None]


def _known(x: Tensor | None) -> Tensor:
    assert x is not None
    return x


def _offset(out: Output, batch: Batch) -> Output:
    return replace(out, predictions=out.predictions + _known(batch.offset).tanh())


def doubled(batch: Batch) -> Batch:
    """Return a batch in float64."""
    return replace(
        batch,
        waveform=batch.waveform.double(),
        values=batch.values.double(),
        targets=batch.targets.double(),
        weight=batch.weight.double(),
        tracks={name: track.double() for name, track in batch.tracks.items()},
        reference=None if batch.reference is None else batch.reference.double(),
    )


class _Double(BatchSource):
    """A source whose batches are float64."""

    def __init__(self, source: BatchSource) -> None:
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def batch(self, positions: Tensor) -> Batch:
        return doubled(self._source.batch(positions))


# -------------------------------------------------------------------------------------------------------- every network
def networks(world: World) -> dict[str, float]:
    """Return, for every network there is, how far its answers in training (with dropout) are from those of one process."""
    found = {}
    for name in models.MODELS:
        table = feelings()
        torch.manual_seed(0)
        model = network(table, name).train()
        source = BatchSource(table, FOLD.train, Scaler.fit(table, FOLD.train), waveform=False, tracks=("eeg",))
        shared = Shared(world, QUICK)
        said = shared.prepare(model, source)
        positions = torch.arange(15)
        start_together(world, model, name, table.targets)
        torch.manual_seed(11)
        alone = model(source.batch(positions)).predictions
        end = torch.get_rng_state()
        torch.manual_seed(11)
        given = Given(positions, given_rows(world), shared.part(source, positions), source.batch(positions))
        out, _ = shared(model, given)
        found[name] = -1.0 if said else float((out.predictions - alone).detach().abs().max())
        assert said or torch.equal(torch.get_rng_state(), end), f"{name}: chance stands elsewhere than after one process"
    return found


def given_rows(world: World) -> Any:
    from biosig_mtl.training.distributed_chance import Rows

    return Rows.of(15, world.rank, world.size)


# --------------------------------------------------------------------------------------------------------- what goes wrong
def odd_ones(world: World) -> list[str]:
    """Return what is said where one process has other windows, or other weights."""
    said = [_error(lambda: start_together(world, nn.Linear(1, 1), "a", np.full(3, world.rank)))]
    said.append(_error(lambda: world.agree("weights", lambda: bytes([world.rank % 2]))))
    world.agree("weights", lambda: b"the same")
    return said


def exchanges(world: World) -> dict[str, Any]:
    """Return what exchanges gave."""
    world.meet()
    taken = sorted(n for part in world.each([world.take("count") for _ in range(3)]) for n in part)
    if world.leads:
        world.tell("a word", {"a": 1})
    told = world.asked("a word")
    p, q = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(3))
    p.grad = torch.full((2,), float(world.rank)) if world.rank else None
    world.mean_gradients([p, q])
    name = world.same(world.drawer() if world.leads else None)
    return {
        "same": world.same(["of", world.rank]),
        "each": world.each({"rank": world.rank, "x": torch.arange(world.rank)}),
        "taken": taken,
        "told": told,
        "has": [world.has("a word"), world.has("no word")],
        "gradients": [p.grad, q.grad],
        "drawer": name,
    }


def loses_one(world: World, folder: str) -> str:
    """Train while process 1 dies in its second epoch; return what process 0 says."""

    def die(row: dict[str, float]) -> None:
        if world.rank == 1 and row["epoch"] == 1:
            os._exit(9)

    case: Case = ("pressure", {}, {"epochs": 4})
    return _error(lambda: trained(world, case, Path(folder), die))


def fails_one(world: World) -> str:
    """Let process 1 fail with an error of its own while process 0 waits for it; return what process 0 says."""
    if world.leads:
        return _error(lambda: world.each(1))
    world.leave_word("store X is missing")
    raise SystemExit(3)


def _error(do: Callable[[], object]) -> str:
    from biosig_mtl.types import DataError

    try:
        do()
    except DataError as error:
        return str(error)
    return ""


def everything(world: World) -> dict[str, Any]:
    """Return what all parts of a crew's test found: one start of processes for all of them."""
    jobs: tuple[Callable[[World], Any], ...] = (gradients, networks, exchanges, odd_ones, own_chance, trainings)
    return {job.__name__: job(world) for job in jobs}


def paced(world: World, size: int) -> float:
    """Return the windows a second of a training, for benchmarks."""
    case: Case = ("pressure", {"width": 32}, {"epochs": 4, "batch_size": size})
    trained(world, case)
    start = time.perf_counter()
    trained(world, case)
    return 4 * len(FOLD.train) / (time.perf_counter() - start)
