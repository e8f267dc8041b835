"""Conductor of a contest: the same folds, seeds, sizes and number of trials for every network, and baselines beside them.

Every network is one resumable job, worked by a pool of processes; what is there is not done again. A trial is chosen fold by
fold on validation subjects, who are of the training side of that fold: those who are tested choose nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from biosig_mtl import splits
from biosig_mtl.evaluation import audit, contest, intervals
from biosig_mtl.evaluation.scores import Absent
from biosig_mtl.experiment import answers, baseline_jobs, costs, entrants, folder, grading, members, running, stamps, standings
from biosig_mtl.experiment.entrants import SINGLE, Choice, Entrant
from biosig_mtl.experiment.members import Estimated, Job, Result
from biosig_mtl.experiment.standings import OURS, Point, Standings
from biosig_mtl.recipe import Recipe, build
from biosig_mtl.training import spec_of
from biosig_mtl.types import I64, Check, Fold, Predictions, RecipeError, WindowTable

Progress = Callable[[int, int], None]
Told = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class Terms:
    """The terms of a contest.

    ``seeds`` whole sets of folds; ``trials`` settings are tried for each network and fold; ``sizes`` are shares of the training
    subjects for learning curves, of the labels in ``curves`` (empty: single-task networks, hard sharing and ours).
    """

    seeds: int = 5
    trials: int = 1
    sizes: tuple[float, ...] = ()
    curves: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if self.seeds < 1:
            raise ValueError(f"need seeds >= 1, got {self.seeds}")
        if not 1 <= self.trials <= len(entrants.TRIALS):
            raise ValueError(f"need 1 <= trials <= {len(entrants.TRIALS)}, got {self.trials}")
        if not all(0.0 < size < 1.0 for size in self.sizes):
            raise ValueError(f"need sizes between 0 and 1, got {self.sizes}")


@dataclass(frozen=True)
class Crew:
    """Who works and who watches: ``progress`` hears (jobs done, of how many), ``told`` the standings after each contestant.

    ``facts`` are those of the manifests of the data sets: whether they are simulated is stamped on the page.
    """

    workers: int = 1
    progress: Progress | None = None
    told: Told | None = None
    facts: tuple[Mapping[str, Any], ...] = ()


@dataclass
class _Contest:
    """What a contest holds while it runs."""

    recipe: Recipe
    stores: tuple[Path, ...]
    out: Path
    terms: Terms
    table: WindowTable
    folds: tuple[Fold, ...]
    entered: list[Entrant]
    level: str
    marks: tuple[str, ...] = ()
    predictions: dict[str, Predictions] = field(default_factory=dict)
    errors: dict[str, dict[str, contest.Errors]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    points: list[Point] = field(default_factory=list)
    fitted: list[audit.Fitted] = field(default_factory=list)

    def place(self, label: str) -> Path:
        """Return the folder of a contestant."""
        return self.out / "entrants" / "".join(c if c.isalnum() or c in "-_." else "_" for c in label)

    @cached_property
    def draws(self) -> I64:
        """Return how often each tested person comes in each bootstrap sample."""
        tested = np.unique(self.table.subject[np.concatenate([fold.test for fold in self.folds])])
        return intervals.draw(tested.size, np.random.default_rng(0))


def compare(
    recipe: Recipe, stores: Sequence[Path], out: Path, choice: Choice, terms: Terms, crew: Crew
) -> dict[str, Any]:  # fmt: skip
    """Train and grade all entrants on prepared stores; write and return the content of ``compare.json``.

    Parameters
    ----------
    recipe
        Data, windows, features and split are the same for all; its model and training are where all entrants start.
    stores
        As for a run.
    out
        Folder of the contest. One that was killed goes on from what is there.
    choice, terms, crew
        Who enters, on what terms, who works.

    Raises
    ------
    RecipeError
        An unknown network, or one that cannot be made for these inputs.
    DataError
        Too few subjects, or the folder holds another contest.
    """
    recipe = entrants.protocol_of(recipe, range(terms.seeds))
    table = answers.table_of(recipe, stores)
    level = running.subject_level(recipe, table)
    folds = tuple(splits.make(table, build(splits.Protocol, recipe.split, "split")))
    entered = entrants.enter(recipe, spec_of(table), choice)
    marks = stamps.of(recipe, level, is_simulated=stamps.simulated(stores, crew.facts))
    held = _Contest(recipe, tuple(stores), out, terms, table, folds, entered, level, marks)
    for entrant in entered:
        held.place(entrant.label).mkdir(parents=True, exist_ok=True)
        folder.write_recipe(held.place(entrant.label), entrant.recipe)
    _work(held, crew)
    rows = folds[0].train[np.linspace(0, folds[0].train.size - 1, costs.STEP_WINDOWS).astype(int)]
    made = _standings(held).content(held.points, _audit(held), costs.measure(entered, table, rows))
    folder.write_json(out / "compare.json", made)
    standings.write_tables(out, made, held.predictions)
    return made


def fitting(recipe: Recipe, stores: Sequence[Path]) -> tuple[str, ...]:
    """Return the networks that can be made for the inputs of a recipe."""
    return entrants.fitting(recipe, spec_of(answers.table_of(recipe, stores)))


# ------------------------------------------------------------------------------------------------------------------ jobs
def _work(held: _Contest, crew: Crew) -> None:
    """Train and grade everybody, one contestant after the other, so that standings can be told on the way."""
    beside = baseline_jobs.jobs(held.recipe, held.table, held.folds, (held.stores, held.out))
    own = {entrant.label: _jobs(held, entrant) for entrant in held.entered}
    curves = {entrant.label: _curve_jobs(held, entrant) for entrant in _curved(held)}
    count = _Count(len(beside) + sum(len(jobs) for jobs in (*own.values(), *curves.values())), crew.progress)
    for entrant in held.entered:
        count.all(members.finish(own[entrant.label], members.work, crew.workers))
        held.predictions[entrant.label] = _predictions(held, entrant, held.folds, _trials(held))
        held.seconds[entrant.label] = sum(map(members.seconds, own[entrant.label])) / len(held.folds)
        _judge(held, entrant.label, crew)
    count.all(members.finish(beside, baseline_jobs.work, crew.workers))
    for name, found in baseline_jobs.gather(held.table, beside).items():
        if isinstance(found, Absent):
            held.absent[name] = found.reason
        else:
            held.predictions[name] = found
            _judge(held, name, crew)
    for entrant in _curved(held):
        count.all(members.finish(curves[entrant.label], members.work, crew.workers))
        _draw_curve(held, entrant)


class _Count:
    """Counts finished jobs."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.done, self.total, self.progress = 0, total, progress

    def all(self, jobs: Iterable[Any]) -> None:
        for _ in jobs:
            self.done += 1
            if self.progress is not None:
                self.progress(self.done, self.total)


def _judge(held: _Contest, label: str, crew: Crew) -> None:
    held.errors[label] = contest.errors(held.predictions[label], held.draws)
    if crew.told is not None:
        crew.told(_standings(held).so_far())


def _standings(held: _Contest) -> Standings:
    known = (held.recipe, held.table, held.folds, tuple(held.entered))
    return Standings(*known, held.errors, held.seconds, held.absent, held.terms, held.marks)


def _trials(held: _Contest) -> tuple[str, ...]:
    return tuple(f"trial {number}" for number in range(held.terms.trials))


def _jobs(held: _Contest, entrant: Entrant) -> list[Job]:
    return [
        job
        for word, recipe in entrant.groups()
        for number, variant in enumerate(_trials(held))
        for job in _folded(held, (entrant.label, word), entrants.trial(recipe, number), variant, held.folds)
    ]


def _folded(
    held: _Contest, names: tuple[str, str], recipe: Recipe, variant: str, folds: Sequence[Fold]
) -> list[Job]:  # fmt: skip
    many = members.settings(recipe)[2].ensemble
    place = held.place(names[0]) / names[1]
    return [Job(variant, fold, k, many, recipe.to_dict(), held.stores, place) for fold in folds for k in range(many)]


def _curved(held: _Contest) -> list[Entrant]:
    """Return who has a learning curve."""
    by_label = {one.label: one for one in held.entered}
    for label in held.terms.curves:
        if label not in by_label:
            raise RecipeError(f"learning curves: '{label}' does not enter; there are {', '.join(by_label)}")
    wanted = held.terms.curves or (SINGLE, "hard_sharing", OURS)
    return [by_label[label] for label in wanted if label in by_label and held.terms.sizes]


def _curve_jobs(held: _Contest, entrant: Entrant) -> list[Job]:
    return [
        job
        for size in held.terms.sizes
        for word, recipe in entrant.groups()
        for job in _folded(held, (entrant.label, word), recipe, f"size {size:g}", [_smaller(held, f, size) for f in held.folds])
    ]


def _smaller(held: _Contest, fold: Fold, share: float) -> Fold:
    """Return the fold with a share of its training subjects; a smaller share is part of a larger one."""
    people = np.unique(held.table.subject[fold.train])
    order = np.random.default_rng([fold.seed, fold.number]).permutation(people)
    kept = order[: max(2, math.ceil(share * people.size))]
    return replace(fold, train=fold.train[np.isin(held.table.subject[fold.train], kept)])


def _draw_curve(held: _Contest, entrant: Entrant) -> None:
    """Grade the networks that learned from a part of the training subjects, beside those that learned from all of them."""
    for size in (*held.terms.sizes, 1.0):
        folds = held.folds if size == 1.0 else [_smaller(held, fold, size) for fold in held.folds]
        people = float(np.mean([np.unique(held.table.subject[fold.train]).size for fold in folds]))
        errors = held.errors[entrant.label]
        if size < 1.0:
            errors = contest.errors(_predictions(held, entrant, folds, (f"size {size:g}",)), held.draws)
        held.points += [Point(entrant.label, size, people, target, one) for target, one in errors.items()]


# --------------------------------------------------------------------------------------------------------------- results
def _predictions(held: _Contest, entrant: Entrant, folds: Sequence[Fold], variants: Sequence[str]) -> Predictions:
    """Join what the chosen trial of every fold says; members of an ensemble are averaged."""
    parts, groups = [], entrant.groups()
    for fold in folds:
        chosen = [_chosen(held, (entrant.label, word), recipe, fold, variants) for word, recipe in groups]
        held.fitted += [_fitted(entrant.label, result) for results in chosen for result in results]
        each = [grading.mean_of([Estimated(r.test, r.shares) for r in results]) for results in chosen]
        whole = Estimated(
            np.concatenate([one.estimate for one in each], axis=1),
            {name: share for one in each for name, share in one.shares.items()},
        )
        parts.append((fold, grading.decided(whole, held.table)))
    return grading.predictions(held.table, parts)


def _fitted(label: str, result: Result) -> audit.Fitted:
    fold = result.job.fold
    return audit.Fitted(f"network {label}", result.fitted_rows, fold.number, fold.seed, ("train", "validation"))


def _chosen(held: _Contest, names: tuple[str, str], recipe: Recipe, fold: Fold, variants: Sequence[str]) -> list[Result]:
    """Return the members of the trial with the best validation score of this fold; nothing else is looked at."""
    tried = [[members.result(job) for job in _folded(held, names, recipe, variant, [fold])] for variant in variants]
    scores = [float(np.mean([_validation(result) for result in results])) for results in tried]
    return tried[int(np.nanargmin(scores)) if np.isfinite(scores).any() else 0]


def _validation(result: Result) -> float:
    """Return the best validation score of a training; NaN where there were no validation windows."""
    known = [row["validation"] for row in result.history if row.get("validation") is not None]
    return min((value for value in known if math.isfinite(value)), default=math.nan)


def _audit(held: _Contest) -> tuple[Check, ...]:
    task, _ = answers.of(held.recipe)
    told: dict[str, Any] = running.evidence_of(held.recipe, held.table, held.folds, None, held.stores)
    told |= {"fitted": tuple(held.fitted), "predictions": next(iter(held.predictions.values()))}
    told |= {"subject_level": running.audit_level(held.level), "allow_record_level": held.recipe.data.allow_record_level}
    return tuple(audit.run(audit.Evidence(task=task, **told), np.random.default_rng(0)))
