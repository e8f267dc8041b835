"""Known answers: simulated tasks whose kinship is known must be learned together where that helps, and not be harmed where not.

Each network learns from 300 windows of 30 people (24 to learn from, 6 to stop on) and is judged on 40 others, against the
truth without noise, which a simulation knows. The rival is the true single-task network: the plain trunk trained on one
target alone, with its own early stopping. Figures over more seeds stand in docs/synthetic_tasks.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
import torch

from biosig_mtl.data.synthetic_tasks import synthetic_tasks
from biosig_mtl.evaluation import intervals
from biosig_mtl.models import build
from biosig_mtl.models.hard_sharing import HardSharingSettings
from biosig_mtl.models.split_merge import SplitMergeSettings
from biosig_mtl.training import Scaler, TrainingData, TrainingSettings, fit, predict, spec_of
from biosig_mtl.types import F64, Fold, WindowTable

pytestmark = pytest.mark.slow

LEARNED, STOPPED_ON, TESTED = 24, 6, 40
TRAINING = TrainingSettings(epochs=40, batch_size=32, lr=3e-3)


@dataclass(frozen=True)
class Case:
    """Simulated tasks, and the seeds that they are asked with.

    ``skip`` is the linear path beside every network: with it a ridge for each target answers first, and there is less to share.
    """

    correlation: float
    conflict: bool
    targets: int
    degree: int
    noise: float
    seeds: range
    skip: bool


KIN = Case(0.8, conflict=False, targets=4, degree=2, noise=1.0, seeds=range(400, 404), skip=False)
STRANGERS = Case(0.0, conflict=True, targets=4, degree=2, noise=1.0, seeds=range(500, 503), skip=False)
RIVALS = Case(0.0, conflict=True, targets=2, degree=3, noise=0.5, seeds=range(200, 205), skip=True)


def settings(name: str, case: Case) -> HardSharingSettings | SplitMergeSettings:
    """Return a small network for features alone."""
    if name == "hard_sharing":
        return HardSharingSettings(width=16, use_waveform=False, linear_skip=case.skip)
    return SplitMergeSettings(width=16, use_waveform=False, linear_skip=case.skip, heads=1, merge="gate")


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


def tables(case: Case, seed: int) -> tuple[WindowTable, F64]:
    """Return windows with noise on their targets, and the truth of the same windows."""
    noisy, clean = (
        synthetic_tasks(
            case.correlation,
            case.degree,
            noise,
            n_subjects=LEARNED + STOPPED_ON + TESTED,
            windows_per_subject=10,
            targets=case.targets,
            conflict=case.conflict,
            seed=seed,
        )
        for noise in (case.noise, 0.0)
    )
    assert np.array_equal(noisy.values, clean.values)
    return noisy, clean.targets.astype(np.float64)


def learned(name: str, table: WindowTable, case: Case, seed: int) -> F64:
    """Return what a network that learned from the first people says of the last, (window, target)."""
    code = np.unique(table.subject, return_inverse=True)[1]
    parts = [code < LEARNED, (code >= LEARNED) & (code < LEARNED + STOPPED_ON), code >= LEARNED + STOPPED_ON]
    train, validation, test = (np.flatnonzero(part) for part in parts)
    scaler = Scaler.fit(table, train)
    torch.manual_seed(seed)
    model = build(name, settings(name, case), spec_of(table))
    fit(model, TrainingData(table, Fold(train, validation, test), scaler), TRAINING, seed)
    return predict(model, table, test, scaler)


def alone(table: WindowTable, case: Case, seed: int) -> F64:
    """Return what networks say that each learned one target only."""
    names = table.target_names
    each = [replace(table, targets=table.targets[:, [t]], target_names=names[t : t + 1]) for t in range(len(names))]
    return np.concatenate([learned("hard_sharing", one, case, seed) for one in each], axis=1)


@cache
def errors(name: str, case: Case, seed: int) -> F64:
    """Return the mean absolute error of every tested person, mean over targets."""
    table, truth = tables(case, seed)
    said = alone(table, case, seed) if name == "alone" else learned(name, table, case, seed)
    size = np.abs(said - truth[-len(said) :]).mean(axis=1)
    return np.asarray(size.reshape(TESTED, -1).mean(axis=1))


def against_alone(name: str, case: Case) -> intervals.Paired:
    """Compare with the single-task networks on the same people, each seed's being others; negative is better."""
    model, single = (np.concatenate([errors(who, case, seed) for seed in case.seeds]) for who in (name, "alone"))
    return intervals.paired(model, single, intervals.draw(single.size, np.random.default_rng(0)))


def test_the_plain_trunk_gains_from_kin() -> None:
    """Or the simulation would not ask the question."""
    told = against_alone("hard_sharing", KIN)
    assert told.verdict == "better", told


def test_the_plain_trunk_does_not_gain_from_rivals() -> None:
    told = against_alone("hard_sharing", RIVALS)
    assert told.verdict != "better", told


def test_split_merge_gains_from_kin() -> None:
    told = against_alone("split_merge", KIN)
    assert told.verdict == "better", told


def test_split_merge_is_not_harmed_by_strangers() -> None:
    told = against_alone("split_merge", STRANGERS)
    assert told.verdict != "worse", told
