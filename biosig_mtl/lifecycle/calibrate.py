"""Calibrate the people of a finished run with few readings each, and tell what that is worth over holding the readings.

For every fold, methods are fitted on its training people and answer its test people, whom neither the networks nor the methods
have learned from. Which method is the headline is chosen on the training people, by inner folds, for every fold, K and target;
figures of the tested people choose nothing. Source of the protocol: first K readings in time with an embargo, the same queries
for every K, baselines that hold; see `biosig_mtl.splits.anchors`, and `docs/calibration.md` for what comes out.

Every fold is written by rename when it is done: a run that was killed goes on from there.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from biosig_mtl.evaluation.scores import plain
from biosig_mtl.experiment import folder
from biosig_mtl.lifecycle.calibrate_answers import FIRST, Proof, Terms, work
from biosig_mtl.lifecycle.calibrate_content import Done, about_run, audit, content, joined, long_table
from biosig_mtl.lifecycle.calibrate_judge import Judged, markdown
from biosig_mtl.lifecycle.calibrate_kept import Compared, keep
from biosig_mtl.lifecycle.calibrate_shown import Sides, sides_of
from biosig_mtl.lifecycle.opened import Opened, open_run
from biosig_mtl.splits import anchors
from biosig_mtl.splits.anchors import Anchoring, Course
from biosig_mtl.tasks import BLOOD_PRESSURE
from biosig_mtl.training.calibration import keeping
from biosig_mtl.training.calibration.known import Method
from biosig_mtl.training.threads import one_thread
from biosig_mtl.types import AuditError, DataError, Fold, RecipeError

FILE, TABLE, WORDS = "calibration.json", "calibrated.parquet", "calibration.md"
VERSION = 1  # of what a half-done fold holds
Progress = Callable[[int, int], None]
Say = Callable[[str], None]


@dataclass(frozen=True)
class CalibrateSettings:
    """How people are calibrated.

    ``anchoring`` says which windows are told and asked for. ``methods`` are names of the methods to compare, empty = all that
    there are. ``also`` are baselines whose estimates methods may use beside those of the networks. ``seeds`` of the run are
    used, the first ones: each is another dealing of the same people. ``parts`` is the number of inner folds of the choice.
    ``keep`` also fits the methods on all people and leaves them in the run, in ``personal/``, for somebody new;
    not with ``also``.
    """

    anchoring: Anchoring = field(default_factory=Anchoring)
    methods: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    seeds: int = 1
    parts: int = 3
    keep: bool = True

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if self.seeds < 1 or self.parts < 2:
            raise ValueError(f"need seeds >= 1 and parts >= 2, got {self.seeds}, {self.parts}")
        if len(set(self.methods)) != len(self.methods):
            raise ValueError(f"need every method once, got {', '.join(self.methods)}")


USUAL = CalibrateSettings()


def calibrate(
    run: Path,
    stores: Path,
    out: Path,
    settings: CalibrateSettings = USUAL,
    progress: Progress | None = None,
    say: Say | None = None,
) -> dict[str, Any]:
    """Calibrate the people of a finished run; return what ``calibration.json`` holds.

    Parameters
    ----------
    run, stores
        Folder of a run, and of the window stores that it was made from.
    out
        Folder to write: ``calibration.json``, ``calibration.md``, ``calibrated.parquet``. The run gets a folder ``personal/``
        with methods for somebody new, and stays as it is otherwise.
    settings
        See `CalibrateSettings`.
    progress, say
        Told how many folds are done, of all; and in words what takes long.

    Returns
    -------
    dict
        See ``docs/calibration.md``.

    Raises
    ------
    DataError
        The run cannot be opened with these stores, its people have one reading each, or too few windows for these K.
    RecipeError
        The run does not estimate pressures, or there is no such method.
    AuditError
        Something was known that must not be; nothing is written then.
    """
    opened = open_run(run, stores)
    methods = chosen_methods(settings.methods)
    check(opened, run)
    course = anchors.course_of(opened.table)
    folds = _folds(opened.folds, settings.seeds)
    terms = Terms(settings.anchoring, methods, settings.parts)
    place = out / "work" / _key(run, settings, list(methods))
    job = _Job(opened, course, terms, place, settings.also)
    with one_thread():
        done = []
        for number, fold in enumerate(folds):
            if progress is not None:
                progress(number, len(folds))
            done.append(job.fold(fold, say))
        if progress is not None:
            progress(len(folds), len(folds))
    answers = joined(done, "answers")
    if not (answers["common"] & (answers["draw"] == FIRST)).any():
        k, gap = settings.anchoring.most, settings.anchoring.gap_s(course)
        raise DataError(f"{run}: nobody has a window {gap:g} s after {k} readings; lower --embargo or the largest --k")
    checks = audit(done, answers, course, settings.anchoring)
    if failed := [f"{one.name}: {one.detail}" for one in checks if not one.passed]:
        raise AuditError(f"{run}: the calibration knew what it must not know: {'; '.join(failed)}")
    about = about_run(run, opened)
    judged = Judged(opened.table, course, about["reference"])
    told = content(about, judged, terms, done, checks)
    folder.write(out / TABLE, folder.parquet(long_table(answers, judged)))
    folder.write_json(out / FILE, told)
    folder.write(out / WORDS, "\n".join([f"# {told['run']}, calibrated", "", *markdown(told)]) + "\n")
    # Estimates of baselines are not at hand for somebody new.
    if settings.keep and methods and not settings.also:
        compared = Compared(folds, terms, answers, [one.told["inner"] for one in done])
        with one_thread():
            keeping.save(run / keeping.FOLDER, keep(opened, course, compared, say), run / "model" / "model.json")
    shutil.rmtree(out / "work")
    return told


def chosen_methods(names: Sequence[str]) -> dict[str, Method]:
    """Return methods by name, all without a name; raise `RecipeError` for one that is not there."""
    from biosig_mtl.recipe import choose
    from biosig_mtl.training.calibration.methods import METHODS

    return {choose(name, METHODS, "method"): METHODS[name] for name in names or METHODS}


def check(opened: Opened, run: Path) -> None:
    """Refuse a run whose people cannot be calibrated, and say why."""
    names = opened.table.target_names
    if not set(names) <= set(BLOOD_PRESSURE.target_names) or any(head.classes for head in opened.table.head):
        raise RecipeError(f"{run}: estimates {', '.join(names)}; personal calibration takes readings of pressures in mmHg")
    for fold in opened.folds:
        learned = opened.table.subject[np.concatenate([fold.train, fold.validation])]
        if fold.leaky or np.isin(opened.table.subject[fold.test], learned).any():
            raise DataError(
                f"{run}: its protocol tests people whom it learned from, so nothing can be told of new people; calibrate a run "
                "whose split.scheme keeps people apart, such as subject_kfold"
            )
    _check_readings(opened, run)


def _check_readings(opened: Opened, run: Path) -> None:
    """Refuse people of whom nothing changes: holding their reading is the truth."""
    table, course = opened.table, anchors.course_of(opened.table)
    tested = np.unique(np.concatenate([fold.test for fold in opened.folds]))
    person = course.person[tested]
    low, high = (np.full((course.names.size, len(table.target_names)), sign * np.inf) for sign in (1, -1))
    known = course.place[tested] >= 0
    np.minimum.at(low, person[known], table.targets[tested[known]])
    np.maximum.at(high, person[known], table.targets[tested[known]])
    if not (low < high).any():
        raise DataError(
            f"{run}: each of its {np.unique(person).size} people has one reading, which all their windows share: after "
            "calibration there is nothing left to estimate; take a data set with several readings a person"
        )


def _folds(folds: Sequence[Fold], seeds: int) -> list[Fold]:
    wanted = sorted({fold.seed for fold in folds})[:seeds]
    return [fold for fold in folds if fold.seed in wanted]


def _key(run: Path, settings: CalibrateSettings, methods: Sequence[str]) -> str:
    """Return a name for half-done work, which other networks or settings do not share."""
    model = hashlib.sha256((run / "model" / "model.json").read_bytes()).hexdigest()
    told = json.dumps([VERSION, model, plain(asdict(settings)), list(methods)], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:12]


# ------------------------------------------------------------------------------------------------------------- folds
@dataclass(frozen=True, eq=False)
class _Job:
    opened: Opened
    course: Course
    terms: Terms
    place: Path
    also: tuple[str, ...]

    def fold(self, fold: Fold, say: Say | None) -> Done:
        """Answer a fold, or read what is there of it."""
        import pandas as pd

        place = self.place / f"seed{fold.seed}-fold{fold.number}"
        if not (place / "fold.json").is_file():
            self._work(fold, place, say)
        elif say is not None:
            say(f"fold {fold.number}: done before")
        told = json.loads((place / "fold.json").read_text(encoding="utf-8"))
        frames = {name: pd.read_parquet(place / f"{name}.parquet") for name in ("answers", "chains")}
        return Done(fold, frames, told)

    def _work(self, fold: Fold, place: Path, say: Say | None) -> None:
        sides = sides_of(self.opened, fold, self.course, self.also, say)
        found = work(sides, self.course, self.terms, say)
        for name, frame in (("answers", found.answers), ("chains", found.chains)):
            folder.write(place / f"{name}.parquet", folder.parquet(frame.assign(seed=fold.seed, fold=fold.number)))
        told = {
            "chosen": found.chosen, "inner": found.inner, "seconds": dict(found.seconds), "without": found.without,
            "proof": _plain_proof(found.proof), "strangers": _strangers(sides, self.opened),
        }  # fmt: skip
        # Last: a fold with this file is whole.
        folder.write_json(place / "fold.json", _with_words(told))


def _with_words(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same with words as keys, as JSON has them."""
    numbered = {key: {str(k): each for k, each in told[key].items()} for key in ("chosen", "inner")}
    return {**told, **numbered}


def _plain_proof(proof: Proof) -> dict[str, Any]:
    return {
        "queries": proof.queries, "seen_truth": proof.seen_truth, "also_anchors": proof.also_anchors,
        "fitted_people": sorted(proof.fitted_people), "answered_people": sorted(proof.answered_people),
    }  # fmt: skip


def _strangers(sides: Sides, opened: Opened) -> dict[str, int]:
    """Return how many estimates there are, and how many are by a network that had learned from the subject."""
    subject = np.unique(opened.table.subject, return_inverse=True)[1]
    known = sum(int(np.isin(subject[asked], np.unique(subject[learned])).sum()) for learned, asked in sides.makers)
    return {"estimates": sum(int(asked.size) for _, asked in sides.makers), "by_acquaintances": known}
