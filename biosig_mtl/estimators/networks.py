"""Networks that are trained on a table in memory, and what they say in double precision.

Training is single: torch has one source of chance and one number of threads for a whole process, so fits in several threads
take turns; processes work side by side. Estimates are computed in double precision, because a row must be told the same alone
and among others, which sums in single precision are not.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from biosig_mtl import models
from biosig_mtl.estimators.tables import Rows
from biosig_mtl.splits import assign
from biosig_mtl.training import FitResult, Scaler, TrainingData, TrainingSettings, fit, spec_of
from biosig_mtl.training.checkpoint import Member
from biosig_mtl.training.prediction import EVALUATION_BATCH, as_network, source_for
from biosig_mtl.training.threads import one_thread
from biosig_mtl.types import F64, I64, Batch, Fold, InputSpec, WindowTable

# With fewer people (or rows, without groups) nothing is held back to stop by.
LEAST_UNITS = 10
_TURN = threading.Lock()


@dataclass(frozen=True)
class Plan:
    """A network by its word, its settings, how it is trained, how many of it, and the share that is held back."""

    model: str
    settings: object
    training: TrainingSettings
    members: int
    validation: float
    device: str

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if self.members < 1 or not 0 <= self.validation <= 0.5:
            raise ValueError(f"need ensemble >= 1 and 0 <= validation <= 0.5, got {self.members}, {self.validation}")


@dataclass(frozen=True)
class Trained:
    """Networks; rows of their histories; errors on what each held back (m, T), and of whom those rows are (m,)."""

    members: tuple[Member, ...]
    history: list[dict[str, float]]
    warnings: tuple[str, ...]
    errors: F64
    unit: I64


def train(table: WindowTable, rows: Rows, plan: Plan, seed: int) -> Trained:
    """Train the networks of an ensemble; each holds back another part, of whole persons where they are told."""
    made: list[Member] = []
    history: list[dict[str, float]] = []
    warnings: dict[str, None] = {}
    errors, unit = [np.empty((0, len(table.target_names)))], [np.empty(0, np.int64)]
    with _TURN, one_thread():
        for number in range(plan.members):
            own = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
            fold = _fold(table, rows, plan, seed, number)
            member, rest = _member(table, fold, plan, f"member{number}", own)
            made.append(member)
            history += [{"member": float(number), **row} for row in rest.history]
            warnings |= dict.fromkeys(rest.warnings)
            held = fold.validation
            errors.append(np.asarray(table.targets[held]) - estimates([member], _some(table, held))[0])
            unit.append(rows.unit[held])
    return Trained(tuple(made), history, tuple(warnings), np.concatenate(errors), np.concatenate(unit))


def _member(table: WindowTable, fold: Fold, plan: Plan, name: str, seed: int) -> tuple[Member, FitResult]:
    scaler = Scaler.fit(table, fold.train)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = models.build(plan.model, plan.settings, spec_of(table)).to(plan.device)
    found = fit(model, TrainingData(table, fold, scaler), plan.training, seed)
    return Member(name, model.cpu(), scaler), found


def _fold(table: WindowTable, rows: Rows, plan: Plan, seed: int, number: int) -> Fold:
    """Return what is learned from and what is held back; nothing is, where people are few."""
    every = np.arange(len(table), dtype=np.int64)
    units = np.unique(rows.unit).size
    nothing = Fold(every, every[:0], every[:0], seed=seed)
    if plan.validation == 0 or units < LEAST_UNITS:
        return nothing
    parts = min(max(2, round(1 / plan.validation)), units)
    held = assign(rows.unit, table.targets, table.target_names, parts, seed) == number % parts
    known = np.isfinite(table.targets[~held]).any(axis=0).all()
    return Fold(every[~held], every[held], every[:0], seed=seed) if known else nothing


def _some(table: WindowTable, rows: I64) -> WindowTable:
    kept = table.index.iloc[rows]
    return replace(table, index=kept, values=table.values[rows], waveform=table.waveform[rows], targets=table.targets[rows])


def estimates(members: Sequence[Member], table: WindowTable) -> tuple[F64, Mapping[int, F64]]:
    """Return the mean of networks: (n, T) in the unit of the targets, and the shares (n, C) of the classes by target."""
    each = [_told(member, table) for member in members]
    means = {t: np.mean([shares[t] for _, shares in each], axis=0) for t in each[0][1]}
    return np.mean([values for values, _ in each], axis=0), means


def _told(member: Member, table: WindowTable) -> tuple[F64, dict[int, F64]]:
    model = copy.deepcopy(member.model).double().eval()
    spec: InputSpec = as_network(model).spec
    source = source_for([model], table, np.arange(len(table), dtype=np.int64), member.scaler)
    values = [np.empty((0, len(spec.targets)))]
    shares: dict[int, list[F64]] = {t: [np.empty((0, h.classes))] for t, h in enumerate(spec.head) if h.classes}
    with torch.inference_mode():
        for batch in source.in_order(EVALUATION_BATCH):
            out = model(_double(batch))
            values.append(out.predictions.numpy())
            for t, found in shares.items():
                found.append(torch.softmax(out.logits[:, t, : spec.head[t].classes], dim=1).numpy())
    return member.scaler.unscale(np.concatenate(values)), {t: np.concatenate(found) for t, found in shares.items()}


def _double(batch: Batch) -> Batch:
    return replace(batch, waveform=batch.waveform.double(), values=batch.values.double(), targets=batch.targets.double())
