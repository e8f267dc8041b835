"""A finished run in memory, of people whose pressures move, for tests of personal calibration."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from biosig_mtl import splits
from biosig_mtl.experiment import members
from biosig_mtl.lifecycle.opened import Opened
from biosig_mtl.recipe import load
from biosig_mtl.training import Scaler, spec_of
from biosig_mtl.training.calibration.known import Kept, Person, Shown
from biosig_mtl.training.checkpoint import Ensemble, Member
from biosig_mtl.types import F64, WindowTable

WORDS = (
    "split.folds=2", "training.epochs=1", "training.ensemble=3", "model.width=8", "model.heads=2", "split.ablations=[]",
    "model.kernel_landmarks=0", "model.use_waveform=false",
)  # fmt: skip
PEOPLE, PER = 24, 10


def moving_table(people: int = PEOPLE, per: int = PER, seed: int = 0) -> WindowTable:
    """Return windows of people, two of whom are one subject now and then, in two stays of half the windows each.

    Pressures move within people, and the features know something of both levels and changes.
    """
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(people), per)
    place = np.tile(np.arange(per), people)
    stay = person * 2 + place // (per // 2)
    level = rng.normal(120, 15, people)[person] + rng.normal(0, 8, 2 * people)[stay] + rng.normal(0, 4, person.size)
    low = 0.5 * level + 18 + rng.normal(0, 3, person.size)
    values = np.stack([level + rng.normal(0, 6, level.size), low + rng.normal(0, 4, level.size), rng.normal(size=level.size)])
    onset = 8.0 * (place % (per // 2))
    index = pd.DataFrame({
        "dataset": "moving", "subject": [f"g{p - p // 4 % 2:02d}" for p in person], "person": [f"p{p:02d}" for p in person],
        "session": [f"s{s}" for s in stay], "record": [f"r{s}" for s in stay], "stimulus": "", "session_s": 0.0,
        "onset_s": onset, "end_s": onset + 8.0, "sqi": rng.uniform(0.4, 1, person.size), "label_source": "invasive",
        "sbp": level, "dbp": low, "map": low,
    })  # fmt: skip
    empty = rng.normal(size=(person.size, 1, 16)).astype(np.float32)
    targets = np.stack([level, low], axis=1).astype(np.float32)
    return WindowTable(index, values.T.astype(np.float32), ("a", "b", "c"), empty, ("ppg",), 2.0, targets, ("sbp", "dbp"))


def opened_run(table: WindowTable | None = None) -> Opened:
    """Return a run whose networks were never trained: what they say is poor, and whom they know is told all the same."""
    table = moving_table() if table is None else table
    recipe = load("demo_bp", WORDS)
    name, made, training = members.settings(recipe)
    folds = tuple(splits.make(table, splits.Protocol(folds=2)))
    found = []
    for fold in folds:
        for number in range(training.ensemble):
            inner = splits.inner(fold, table, number, training.ensemble)
            model = members.fresh(name, made, spec_of(table), 7 * fold.number + number).eval()
            word = f"model-seed{fold.seed}-fold{fold.number}-member{number}"
            found.append(Member(word, model, Scaler.fit(table, inner.train)))
    return Opened(recipe, table, folds, Ensemble(tuple(found), spec_of(table), {}, {}, {}), training)


def alone(opened: Opened) -> Opened:
    """Return the same run with one network a fold."""
    found = []
    for fold in opened.folds:
        model = opened.member(fold, 0).model
        found.append(Member(opened.member(fold, 0).name, model, Scaler.fit(opened.table, fold.train)))
    ensemble = replace(opened.ensemble, members=tuple(found))
    return replace(opened, ensemble=ensemble, training=replace(opened.training, ensemble=1))


def run_folder(place: Path) -> Path:
    """Write what of a run folder is read beside what `opened_run` gives."""
    (place / "model").mkdir(parents=True)
    (place / "model" / "model.json").write_text("{}")
    scores = {"dataset": "moving", "model": "split_merge", "reference": "invasive", "stamps": ["SIMULATED DATA"]}
    (place / "scores.json").write_text(json.dumps(scores))
    return place


@dataclass(frozen=True)
class Wrong:
    """Answers the mean reading, off by so many mmHg; keeps what it was shown."""

    by: float
    seen: list[tuple[Shown, Person]]

    def answer(self, shown: Shown, person: Person) -> F64:
        self.seen.append((shown, person))
        level = shown.truth[person.anchors].mean(axis=0)
        return np.repeat(level[None] + self.by, person.queries.size, axis=0)

    def kept(self) -> Kept:
        return Kept()


@dataclass(frozen=True)
class WrongMethod:
    name: str
    by: float
    seen: list[tuple[Shown, Person]]
    fitted: list[tuple[Shown, Sequence[Person]]]
    needs: tuple[str, ...] = ()

    def fit(self, shown: Shown, people: Sequence[Person], rng: np.random.Generator) -> Wrong:
        self.fitted.append((shown, people))
        assert rng.random() >= 0
        return Wrong(self.by, self.seen)

    def restore(self, _: Kept) -> Wrong:
        return Wrong(self.by, [])


def wrong(by: float = 0.0) -> WrongMethod:
    return WrongMethod("wrong", by, [], [])
