"""Conductor of a joint training: one network for data sets that label different targets, beside one network for each set.

Every window teaches the targets that it has a label of; what it lacks does not count (`biosig_mtl.training.losses`). All
networks have the settings of the first recipe, the same folds and the same start. Each is one resumable job, worked by a pool
of processes, in a folder that is named after everything that it was made from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from biosig_mtl import splits
from biosig_mtl.evaluation import audit, contest, intervals
from biosig_mtl.evaluation.scores import Absent, plain
from biosig_mtl.experiment import answers, baseline_jobs, folder, grading, joint_page, members, running, stamps
from biosig_mtl.experiment.baseline_jobs import BaselineJob
from biosig_mtl.experiment.entrants import BESIDE, protocol_of
from biosig_mtl.experiment.joint_jobs import JointJob, read, result, rows_digest, work
from biosig_mtl.experiment.joint_tables import JointTable, joint_folds
from biosig_mtl.experiment.members import Estimated
from biosig_mtl.models import baselines
from biosig_mtl.recipe import Recipe, build
from biosig_mtl.training.cooccurrence import Cooccurrence
from biosig_mtl.training.sampling import Sampling
from biosig_mtl.types import Check, Fold, Predictions, RecipeError, Task, WindowTable

JOINT, MATCHED, ALONE = "joint", "joint, matched", "alone"
WORD = "cooccurrence"
SCHEMES = ("subject_kfold", "leave_one_subject_out", "epic_subject")
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class JointTerms:
    """How it is done.

    ``seeds`` whole sets of folds; ``folds`` of people in place of the splits of the recipes (None: their own); ``baselines`` by
    name (empty: all that fit a set); ``sampling`` of batches.
    """

    seeds: int = 1
    folds: int | None = None
    sampling: Sampling = field(default_factory=Sampling)
    baselines: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if self.seeds < 1 or (self.folds is not None and self.folds < 2):
            raise ValueError(f"need seeds >= 1 and folds >= 2, got {self.seeds} and {self.folds}")
        for name in self.baselines:
            if name not in baselines.BASELINES:
                raise ValueError(f"need baselines out of {', '.join(baselines.BASELINES)}, got '{name}'")


@dataclass
class _Held:
    """What is held while it runs; ``recipes`` are cleared of what only a joint training knows."""

    recipes: tuple[Recipe, ...]
    stores: tuple[Path, ...]
    out: Path
    terms: JointTerms
    pairs: tuple[Cooccurrence, ...]
    table: JointTable
    folds: tuple[Fold, ...]
    levels: tuple[str, ...]
    predictions: list[dict[str, Predictions]] = field(default_factory=list)
    absent: list[dict[str, str]] = field(default_factory=list)
    parameters: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    best: dict[str, list[int]] = field(default_factory=dict)
    fitted: list[audit.Fitted] = field(default_factory=list)


def joint(
    recipes: Sequence[Recipe],
    stores: Sequence[Path],
    out: Path,
    terms: JointTerms,
    workers: int = 1,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train and grade; write ``joint.json`` and ``joint.md``, and return what the first holds.

    Parameters
    ----------
    recipes
        One a set. Each says its data, features, answers and split; ``model`` and ``training`` of the *first* are those of all
        networks, but for the kernel beside them and for ensembles, which are left out. ``training.cooccurrence`` of any of
        them lists pairs of targets (`Cooccurrence`): then a second joint network learns with them.
    stores
        One a recipe, in the same order.
    out
        Folder. What was trained there before on the same terms is not trained again.
    terms, workers, progress
        How it is done, by how many processes, and who hears of (jobs done, of how many).

    Raises
    ------
    RecipeError
        Recipes that cannot be joined, a split that is not by people, or a co-occurrence of targets that are not there.
    DataError
        Too few people, or no label in a training part.
    """
    held = _hold(recipes, stores, out, terms)
    networks = {ALONE: [_job(held, number, fold) for number, fold in _tested(held)], JOINT: _joint_jobs(held, ())}
    if held.pairs:
        networks[MATCHED] = _joint_jobs(held, held.pairs)
    beside = _baseline_jobs(held)
    jobs = [job for own in networks.values() for job in own]
    total, done = len(jobs) + sum(len(own) for own in beside), 0
    for finished in _each(
        members.finish(jobs, work, workers), *(members.finish(b, baseline_jobs.work, workers) for b in beside)
    ):
        done += finished
        if progress is not None:
            progress(done, total)
    for number, own in enumerate(beside):
        held.predictions.append({label: _predictions(held, number, jobs) for label, jobs in networks.items()})
        held.absent.append({})
        for name, found in baseline_jobs.gather(held.table.parts[number].table, own).items():
            if isinstance(found, Absent):
                held.absent[number][name] = found.reason
            else:
                held.predictions[number][name] = found
    for label, own_jobs in networks.items():
        _note(held, label, own_jobs)
    made = _content(held)
    folder.write_json(out / "joint.json", made)
    folder.write(out / "joint.md", joint_page.page(made))
    return made


def _each(*many: Iterable[Any]) -> Iterable[int]:
    for some in many:
        for _ in some:
            yield 1


# ------------------------------------------------------------------------------------------------------------- preparation
def _hold(recipes: Sequence[Recipe], stores: Sequence[Path], out: Path, terms: JointTerms) -> _Held:
    pairs = tuple(pair for recipe in recipes for pair in pairs_of(recipe))
    cleared = tuple(_cleared(recipe, recipes[0], terms) for recipe in recipes)
    table = read(cleared, stores)
    levels = tuple(running.subject_level(r, part.table) for r, part in zip(cleared, table.parts, strict=True))
    own = [
        splits.make(part.table, build(splits.Protocol, recipe.split, "split"))
        for recipe, part in zip(cleared, table.parts, strict=True)
    ]
    return _Held(cleared, tuple(stores), out, terms, pairs, table, joint_folds(table, own), levels)


def pairs_of(recipe: Recipe) -> tuple[Cooccurrence, ...]:
    """Return the pairs of targets that a recipe lists as ``training.cooccurrence``."""
    told = recipe.training.get(WORD) or ()
    if isinstance(told, str | Mapping) or not isinstance(told, Sequence):
        raise RecipeError(f"training.{WORD}: need a list of pairs, got {type(told).__name__}")
    return tuple(build(Cooccurrence, one, f"training.{WORD}") for one in told)


def _cleared(recipe: Recipe, first: Recipe, terms: JointTerms) -> Recipe:
    """Return a recipe with the network and the training of the first, its own answers, and its split on these terms."""
    split = dict(protocol_of(recipe, range(terms.seeds)).split)
    scheme = str(split.get("scheme", SCHEMES[0]))
    if scheme not in SCHEMES or recipe.data.test_dataset:
        raise RecipeError(f"{recipe.name}: a joint training needs a split by people ({', '.join(SCHEMES)}), got '{scheme}'")
    if terms.folds is not None:
        split |= {"scheme": SCHEMES[0], "folds": terms.folds}
    model = {word: value for word, value in first.model.items() if word not in {*BESIDE, answers.WORD}}
    own = {word: value for word, value in recipe.model.items() if word == answers.WORD}
    training = {word: value for word, value in first.training.items() if word not in {WORD, "per_subject"}}
    kept = {word: value for word, value in recipe.training.items() if word == "per_subject"}
    return replace(recipe, split=split, model={**model, **own}, training={**training, **kept, "ensemble": 1})


# -------------------------------------------------------------------------------------------------------------------- jobs
def _tested(held: _Held) -> list[tuple[int, Fold]]:
    """Return the folds of every set in which it is tested."""
    numbers = range(len(held.table.parts))
    return [(number, fold) for number in numbers for fold in held.folds if held.table.own(number, fold.test).size]


def _job(held: _Held, number: int, fold: Fold, pairs: tuple[Cooccurrence, ...] = ()) -> JointJob:
    content = tuple(recipe.to_dict() for recipe in held.recipes)
    return JointJob(number, fold, content, held.stores, pairs, held.terms.sampling, held.out)


def _joint_jobs(held: _Held, pairs: tuple[Cooccurrence, ...]) -> list[JointJob]:
    return [_job(held, -1, fold, pairs) for fold in held.folds]


def _baseline_jobs(held: _Held) -> list[list[BaselineJob]]:
    found = []
    for number, (recipe, place) in enumerate(zip(held.recipes, held.stores, strict=True)):
        table = held.table.parts[number].table
        names = [name for name in baselines.names_for(table) if name in (held.terms.baselines or baselines.BASELINES)]
        folds = [held.table.own_fold(number, fold) for one, fold in _tested(held) if one == number]
        content, out = recipe.to_dict(), held.out / "beside"
        found.append([BaselineJob(name, fold, content, (place,), out / rows_digest(fold)) for name in names for fold in folds])
    return found


# ----------------------------------------------------------------------------------------------------------------- results
def _predictions(held: _Held, number: int, jobs: Sequence[JointJob]) -> Predictions:
    """Return what networks say of the tested people of one set, for the targets that it has."""
    table = held.table.parts[number].table
    parts = []
    for job in jobs:
        mine = held.table.code(job.fold.test) == number
        if job.number not in {-1, number} or not mine.any():
            continue
        parts.append((held.table.own_fold(number, job.fold), _said(held, job, mine, table)))
    return grading.predictions(table, parts)


def _said(held: _Held, job: JointJob, mine: np.ndarray[Any, Any], table: WindowTable) -> Estimated:
    """Return the answers of a network to the windows and targets of one set."""
    told = result(job)
    names = held.table.table.target_names if job.number < 0 else table.target_names
    rows = mine if job.number < 0 else slice(None)
    estimate = np.array(told["test"], np.float64)[rows][:, [names.index(name) for name in table.target_names]]
    shares = {name: np.array(share, np.float64)[rows] for name, share in told["shares"].items() if name in table.target_names}
    return grading.decided(Estimated(estimate, shares), table)


def _note(held: _Held, label: str, jobs: Sequence[JointJob]) -> None:
    """Note what networks cost and what they were fitted on."""
    told = [result(job) for job in jobs]
    held.seconds[label] = float(sum(one["seconds"] for one in told))
    held.best[label] = [one["best_epoch"] for one in told]
    first = {job.number: one["parameters"] for job, one in reversed(list(zip(jobs, told, strict=True)))}
    held.parameters[label] = int(sum(first.values()))
    for job, one in zip(jobs, told, strict=True):
        rows = np.array(one["fitted_rows"], np.int64) + (held.table.starts[job.number] if job.number >= 0 else 0)
        held.fitted.append(audit.Fitted(f"network {label}", rows, job.fold.number, job.fold.seed, ("train", "validation")))


def _content(held: _Held) -> dict[str, Any]:
    checks = _audit(held)
    made: dict[str, Any] = plain(
        {
            "schema": 1,
            "network": members.settings(held.recipes[0])[0],
            "terms": asdict(held.terms),
            "cooccurrence": [asdict(pair) for pair in held.pairs],
            "sets": [_of_set(held, number) for number in range(len(held.table.parts))],
            "people_in_several_sets": [list(pair) for pair in held.table.linked],
            "notes": [*held.table.notes, *_unmatched(held)],
            "best_epochs": held.best,
            "parameters": held.parameters,
            "train_cpu_s": held.seconds,
            "audit": {"passed": all(check.passed for check in checks), "checks": [asdict(check) for check in checks]},
        }
    )
    made["headline"] = joint_page.headline(made)
    return made


def _unmatched(held: _Held) -> list[str]:
    """Say so where the weights that were kept are older than the loss of the pairs: it cannot have done anything then."""
    epochs = held.best.get(MATCHED, [])
    early = sum(epoch == 0 for epoch in epochs)
    if not early or not all(pair.ramp_epochs for pair in held.pairs):
        return []
    return [f"{MATCHED}: {early} of {len(epochs)} networks were best in epoch 0, where the loss of the pairs has no weight yet"]


def _of_set(held: _Held, number: int) -> dict[str, Any]:
    part, said = held.table.parts[number], held.predictions[number]
    people = np.unique(next(iter(said.values())).subject)
    draws = intervals.draw(people.size, np.random.default_rng(0))
    errors = {label: contest.errors(one, draws) for label, one in said.items()}
    networks = [label for label in (JOINT, MATCHED) if label in errors]
    gains = {label: contest.gain(errors[label], errors[ALONE]).of_target for label in networks}
    others = [held.table.parts[k].table.names for k in range(len(held.table.parts)) if k != number]
    marks = stamps.of(held.recipes[number], held.levels[number], is_simulated=stamps.simulated([held.stores[number]], ()))
    return {
        "name": part.name,
        "dataset": held.recipes[number].data.dataset,
        "stamps": marks,
        "windows": len(part.table),
        "people": np.unique(part.table.subject).size,
        "features": len(part.table.names),
        "features_shared": len(set(part.table.names) & {name for names in others for name in names}),
        "folds": len([1 for one, _ in _tested(held) if one == number]),
        "absent": held.absent[number],
        "targets": {
            name: {
                "error": "1 − balanced accuracy" if head.classes else "mean absolute error",
                "errors": {label: _told(found[name]) for label, found in errors.items() if name in found},
                "gains": {label: _gain(*gains[label][name]) for label in networks},
            }
            for name, head in zip(part.table.target_names, part.table.head, strict=True)
        },
    }


def _told(one: contest.Errors) -> dict[str, Any]:
    return {"value": one.point, "ci95": intervals.samples_ci95(one.draws, int(np.isfinite(one.of_subject).sum()))}


def _gain(value: float, ci95: tuple[float, float]) -> dict[str, Any]:
    """Return the gain over the network of the set alone, in per cent; the interval is that of the same people."""
    verdict = "better" if ci95[0] > 0 else "worse" if ci95[1] < 0 else intervals.NOT_DISTINGUISHABLE
    return {"value": value, "ci95": ci95, "verdict": verdict}


# ------------------------------------------------------------------------------------------------------------------- audit
def _audit(held: _Held) -> list[Check]:
    """Answer the audit for each set, and what only all of them together can be asked."""
    checks = [check for number in range(len(held.table.parts)) for check in _audit_set(held, number)]
    table = held.table.table
    evidence = audit.Evidence(
        Task("joint", (), frozenset()),
        held.folds,
        table.subject,
        window_id=table.index["window_id"].to_numpy(dtype=str),
        fingerprints=np.concatenate([part.fingerprints for part in held.table.parts]),
        fitted=tuple(held.fitted),
    )
    across = (audit.subject_overlap, audit.equal_windows, audit.near_equal_windows, audit.fitted_outside_training)
    return [*checks, *(_named("all sets", look(evidence)) for look in across)]


def _audit_set(held: _Held, number: int) -> list[Check]:
    recipe, part = held.recipes[number], held.table.parts[number]
    task, _ = answers.of(recipe)
    folds = tuple(held.table.own_fold(number, fold) for one, fold in _tested(held) if one == number)
    known = {(fold.seed, fold.number) for fold in folds}
    told: dict[str, Any] = running.evidence_of(recipe, part.table, folds, None, [held.stores[number]])
    told |= {
        "fitted": tuple(replace(f, rows=held.table.own(number, f.rows)) for f in held.fitted if (f.seed, f.fold) in known),
        "predictions": held.predictions[number][JOINT],
        "subject_level": running.audit_level(held.levels[number]),
        "allow_record_level": recipe.data.allow_record_level,
    }
    found = audit.run(audit.Evidence(task=task, **told), np.random.default_rng(0))
    return [_named(part.name, check) for check in found]


def _named(where: str, check: Check) -> Check:
    return Check(f"{where}: {check.name}", check.passed, check.detail)
