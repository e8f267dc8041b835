"""Add a target to the networks of a finished run: without touching the old answers, or with what that costs.

Every network of every fold learns the new target from the very windows that it learned the old ones from, and is judged on the
people that its fold tests. Beside it stand baselines without a network and, for comparison, a network that learned all
targets together from the start.

- ``frozen``: the old network is held; the new task gets parts of its own (`biosig_mtl.models.extension`). Old answers stay, bit
  for bit.
- ``ewc``: old weights move too, held by elastic weight consolidation; no old label is needed.
- ``rehearsal``: old weights move too, while some old windows are shown again with their old labels.
- ``joint``: everything is trained anew on all targets. What was validated before has to be validated anew.

Ours: with ``ewc`` and ``rehearsal`` there is no weight decay, which would pull old weights to zero and not to where
they were.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch
from torch import nn

from biosig_mtl.evaluation import grades, intervals, scores
from biosig_mtl.experiment import folder, grading, grading_intervals, members
from biosig_mtl.lifecycle.consolidation import AddSettings, OldTasks, keeping
from biosig_mtl.lifecycle.opened import Opened, open_run
from biosig_mtl.lifecycle.suggest_tasks import NewTarget, label_of, with_target
from biosig_mtl.models import baselines
from biosig_mtl.models.extension import Extended, LastTask, extended, frozen
from biosig_mtl.models.split_merge import SplitMerge, SplitMergeSettings
from biosig_mtl.training import Scaler, TrainingData, TrainingSettings, checkpoint, fit, predict, subject_weights
from biosig_mtl.training.checkpoint import Member
from biosig_mtl.training.conformal_record import Intervals
from biosig_mtl.training.threads import one_thread
from biosig_mtl.types import F64, DataError, Fold, Predictions, WindowTable

BASELINES = ("train_median", "ridge", "gradient_boosting")
EXTENDED = "extended_split_merge"
FILE = "add_task.json"
LEVEL = 0.9  # of the intervals: 90 % of the validation errors are smaller, as in a run
TOLD = 0.95  # rank correlation from which a feature is said to tell the new target by itself
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class _Learnt:
    """One network: what it said of the test windows of its fold before and after, and the joint one beside it."""

    fold: Fold
    name: str
    model: nn.Module
    scaler: Scaler
    before: F64
    after: F64
    joint: F64 | None
    validation: F64


@dataclass(frozen=True)
class _Windows:
    """The windows with old targets, with old and new ones, and with the new one alone; and how networks are trained on them."""

    old: WindowTable
    both: WindowTable
    new: WindowTable
    training: TrainingSettings


USUAL = AddSettings()


def add_task(
    run: Path, stores: Path, new: NewTarget, out: Path, settings: AddSettings = USUAL, progress: Progress | None = None
) -> dict[str, Any]:
    """Add a target to a finished run and write a new run folder; return what ``add_task.json`` holds.

    Parameters
    ----------
    run
        Folder of a run of ``split_merge``, or of an earlier `add_task`.
    stores
        Folder of the window stores that the run was made from.
    new
        The target and where its label stands.
    out
        Folder to write: ``model/``, ``add_task.json``, ``add_task.md`` and what is needed to go on from it. The old run stays.
    settings
        See `AddSettings`.
    progress
        Called with the number of networks that are done, and of all.

    Returns
    -------
    dict
        ``target``, ``new`` (``mae``, ``mae_ci95`` and ``skill`` = 1 − MAE / MAE of the training median, means over the people
        tested), ``joint`` (the same), ``share_of_joint`` of the skill, ``baselines``, ``old`` (the error of each old target
        before and after, the largest change of an answer, and whether all are the same bits), ``told_by`` (features that tell
        the target by themselves), ``parameters``, ``sentences``.

    Raises
    ------
    DataError
        The run has no Split 'n' Merge, answers or sees the target already, or the label is nowhere to be found.
    """
    opened = open_run(run, stores)
    windows, added = _windows(opened, run, stores, new)
    jobs = list(_jobs(opened, settings.members))
    if settings.how in {"ewc", "rehearsal"} and added:
        raise DataError(f"{run}: was extended before; add a further task with --how frozen or joint")
    learnt = []
    with one_thread():
        for done, (fold, member) in enumerate(jobs):
            learnt.append(_learn(windows, settings, fold, member))
            if progress is not None:
                progress(done + 1, len(jobs))
    told = {"schema": 1, "run": run.name, "how": settings.how, **_judged(windows, new, learnt)}
    _write(out, run, opened, learnt, windows)
    told["added"] = [*added, {"name": new.name, "column": new.source, "store": new.store.name if new.store else ""}]
    told["sentences"] = sentences(told)
    folder.write_json(out / FILE, told)
    folder.write(out / "add_task.md", "\n".join(in_words(told)) + "\n")
    return told


# --------------------------------------------------------------------------------------------------------------- windows
def _windows(opened: Opened, run: Path, stores: Path, new: NewTarget) -> tuple[_Windows, list[dict[str, str]]]:
    """Return the windows with their targets, and what was added to the run before."""
    first = opened.ensemble.members[0].model
    if not isinstance(first, SplitMerge | Extended):
        raise DataError(
            f"{run}: add_task needs networks of split_merge, the run has others; train one with model.name=split_merge"
        )
    if new.name in opened.ensemble.spec.targets:
        raise DataError(f"{run}: answers '{new.name}' already")
    seen = [name for name in (new.source, new.name) if name in opened.table.names]
    if seen:
        raise DataError(
            f"{run}: '{seen[0]}' is an input of its networks; train a run without it (--set features.families=…) and give the "
            "store that has it as the store of the label"
        )
    added: list[dict[str, str]] = []
    if (run / FILE).is_file():
        added = json.loads((run / FILE).read_text(encoding="utf-8"))["added"]
    old = opened.table
    for one in added:
        known = NewTarget(one["name"], one["column"], stores / one["store"] if one["store"] else None)
        old = with_target(old, known.name, label_of(opened.table, known))
    label = label_of(opened.table, new)
    both = with_target(old, new.name, label)
    alone = replace(both, targets=both.targets[:, -1:], target_names=(new.name,), heads=both.heads[-1:])
    training = replace(opened.training, weighting="sum", fixed_weights=())
    return _Windows(old, both, alone, training), added


# -------------------------------------------------------------------------------------------------------------- learning
def _jobs(opened: Opened, members: int) -> Iterator[tuple[Fold, Member]]:
    """Yield the networks to extend, each with the fold as it learned from it."""
    for fold in opened.folds:
        for number in range(min(members or opened.training.ensemble, opened.training.ensemble)):
            inner, member = opened.inner(fold, number), opened.member(fold, number)
            # The new target is learned from the people that the old ones were learned from, and from nobody else.
            if not np.array_equal(np.sort(member.scaler.fitted_rows), np.sort(inner.train)):
                raise DataError(f"{member.name}: did not learn from the windows that its fold names; copy the run folder again")
            yield inner, member


def _learn(windows: _Windows, s: AddSettings, fold: Fold, member: Member) -> _Learnt:
    seed = int(np.random.SeedSequence([fold.seed, fold.number, crc32(member.name.encode())]).generate_state(1)[0])
    fresh = Scaler.fit(windows.new, fold.train)
    # Inputs and old targets stay scaled as they were.
    scaler = replace(
        member.scaler,
        target_mean=np.append(member.scaler.target_mean, fresh.target_mean),
        target_scale=np.append(member.scaler.target_scale, fresh.target_scale),
        heads=windows.both.heads,
    )
    joint = _joint(windows, fold, member, seed) if s.compare or s.how == "joint" else None
    model = joint if joint is not None and s.how == "joint" else _extend(windows, s, fold, member, seed)
    return _Learnt(
        fold,
        member.name,
        model,
        scaler,
        before=predict(member.model, windows.old, fold.test, member.scaler),
        after=predict(model, windows.both, fold.test, scaler),
        joint=None if joint is None else predict(joint, windows.both, fold.test, scaler),
        validation=predict(model, windows.both, fold.validation, scaler),
    )


def _joint(windows: _Windows, fold: Fold, member: Member, seed: int) -> nn.Module:
    old: Any = member.model
    words = {f.name: getattr(old.settings, f.name) for f in fields(SplitMergeSettings)}
    spec = replace(old.spec, targets=windows.both.target_names, heads=windows.both.heads)
    model = members.fresh("split_merge", SplitMergeSettings(**words), spec, seed)
    fit(model, TrainingData(windows.both, fold, Scaler.fit(windows.both, fold.train)), windows.training, seed)
    return model


def _extend(windows: _Windows, s: AddSettings, fold: Fold, member: Member, seed: int) -> Extended:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        whole = extended(member.model, windows.new.target_names[0])
    hooks = keeping(whole, OldTasks(windows.old, fold, member.scaler, windows.training), s, seed)
    training = windows.training if s.how == "frozen" else replace(windows.training, weight_decay=0.0)
    with frozen(whole) if s.how == "frozen" else nullcontext():
        data = TrainingData(windows.new, fold, Scaler.fit(windows.new, fold.train), hooks)
        fit(LastTask(whole), data, training, seed)
    return whole


# --------------------------------------------------------------------------------------------------------------- judging
def _judged(windows: _Windows, new: NewTarget, learnt: Sequence[_Learnt]) -> dict[str, Any]:
    table, folds = windows.new, _folds(learnt)
    made = {name: _baseline(table, folds, name, windows.training.balance_subjects) for name in BASELINES}
    median = _mae(made["train_median"], new.name)
    counts = intervals.draw(median.size, np.random.default_rng(0))

    def figures(given: Predictions) -> dict[str, Any]:
        each = _mae(given, new.name)
        mae, usual = float(np.nanmean(each)), float(np.nanmean(median))
        skill = 1.0 - mae / usual if usual > 0 else float("nan")
        return {"mae": mae, "mae_ci95": list(intervals.mean_ci95(each, counts)), "skill": skill}

    found = figures(_joined(windows.both, learnt, [one.after for one in learnt]))
    joints = [one.joint for one in learnt if one.joint is not None]
    joint = figures(_joined(windows.both, learnt, joints)) if joints else None
    known = np.isfinite(table.targets[:, 0])
    return {
        "target": {"name": new.name, "unit": new.unit, "label": new.source, "windows": int(known.sum())},
        "people": int(np.isfinite(median).sum()),
        "networks": len(learnt),
        "new": found,
        "joint": joint,
        "share_of_joint": found["skill"] / joint["skill"] if joint and joint["skill"] > 0 else None,
        "baselines": {name: figures(given) for name, given in made.items()},
        "old": _old(windows, learnt),
        "told_by": _told_by(table, folds[0]),
        "parameters": _parameters(learnt[0].model),
    }


def _folds(learnt: Sequence[_Learnt]) -> list[Fold]:
    return list({(one.fold.seed, one.fold.number): one.fold for one in learnt}.values())


def _joined(table: WindowTable, learnt: Sequence[_Learnt], said: Sequence[F64]) -> Predictions:
    """Return the mean of the networks of each fold, on its test windows."""
    parts = []
    for fold in _folds(learnt):
        own = [
            each for one, each in zip(learnt, said, strict=True) if (one.fold.seed, one.fold.number) == (fold.seed, fold.number)
        ]
        parts.append((fold, grading.mean_of([members.Estimated(each, {}) for each in own])))
    return grading.predictions(table, parts)


def _baseline(table: WindowTable, folds: Sequence[Fold], name: str, alpha: float) -> Predictions:
    parts = []
    for fold in folds:
        side = np.sort(np.concatenate([fold.train, fold.validation]))
        fitted = baselines.fit(name, table, side, subject_weights(table.subject[side], alpha), seed=fold.seed)
        answer = fitted.answer(table, fold.test)
        unknown = np.full((fold.test.size, 1), np.nan)
        parts.append((fold, members.Estimated(answer.estimate if answer is not None else unknown, {})))
    return grading.predictions(table, parts)


def _mae(given: Predictions, target: str) -> F64:
    """Return the mean absolute error of every person; of classes that of the expected class number."""
    return grades.grade(given, target).mae


def _old(windows: _Windows, learnt: Sequence[_Learnt]) -> dict[str, Any]:
    """Return what became of the old targets."""
    told: dict[str, Any] = {}
    before = _joined(windows.old, learnt, [one.before for one in learnt])
    after = _joined(windows.both, learnt, [one.after for one in learnt])
    for t, name in enumerate(windows.old.target_names):
        changes = [np.abs(one.after[:, t] - one.before[:, t]).max(initial=0.0) for one in learnt]
        told[name] = {
            "mae_before": float(np.nanmean(_mae(before, name))),
            "mae_after": float(np.nanmean(_mae(after, name))),
            "largest_change": float(max(changes)),
            "identical": all(np.array_equal(one.after[:, t], one.before[:, t]) for one in learnt),
        }
    return told


def _told_by(table: WindowTable, fold: Fold) -> dict[str, float]:
    """Return the features that tell the new target by themselves: their rank correlation on the training windows of a fold."""
    from scipy.stats import rankdata

    truth, found = table.targets[fold.train, 0], {}
    for name, column in zip(table.names, np.asarray(table.values[fold.train]).T, strict=True):
        known = np.isfinite(column) & np.isfinite(truth)
        ranks = [rankdata(side[known]) for side in (column, truth)]
        if known.sum() > 2 and all(np.ptp(side) > 0 for side in ranks):
            rho = float(np.corrcoef(ranks)[0, 1])
            if abs(rho) >= TOLD:
                found[name] = rho
    return dict(sorted(found.items(), key=lambda pair: -abs(pair[1])))


def _parameters(model: nn.Module) -> dict[str, int]:
    new = sum(p.numel() for p in model.tasks[-1].parameters()) if isinstance(model, Extended) else 0
    return {"all": sum(p.numel() for p in model.parameters()), "new": new}


# --------------------------------------------------------------------------------------------------------------- writing
def _write(out: Path, run: Path, opened: Opened, learnt: Sequence[_Learnt], windows: _Windows) -> None:
    folder.write_recipe(out, opened.recipe)
    for name in ("environment.json", "folds.parquet"):
        folder.write(out / name, (run / name).read_bytes())
    places = {}
    for one in learnt:
        places[one.name] = out / "work" / one.name
        checkpoint.save(places[one.name], EXTENDED if isinstance(one.model, Extended) else "split_merge", one.model, one.scaler)
    extra = grading_intervals.carried(_intervals(windows.both, learnt))
    checkpoint.collect(out / "model", places, opened.recipe.to_dict(), scores.plain(extra))
    shutil.rmtree(out / "work")


def _intervals(table: WindowTable, learnt: Sequence[_Learnt]) -> Intervals:
    """Return the intervals from the validation people of all folds, as a run has them."""
    results = []
    for one in learnt:
        job = members.Job(members.MODEL, one.fold, 0, 1, {}, (), Path())
        rows, fitted = one.fold.validation, one.scaler.fitted_rows
        results.append(members.Result(job, one.after, rows, one.validation, fitted, [], (), {}, None, ()))
    return grading_intervals.record(table, _folds(learnt), results)


def sentences(told: Mapping[str, Any]) -> list[str]:
    """Return what ``add_task.json`` says, in words."""
    new, unit = told["new"], told["target"]["unit"]
    low, high = new["mae_ci95"]
    said = [
        f"{told['target']['name']}: MAE {new['mae']:.3g} {unit} (95 % CI {low:.3g}–{high:.3g}) on {told['people']} people that "
        f"nothing was fitted on; skill {new['skill']:.3f} above the training median."
    ]
    if told["joint"]:
        share = f", so {100 * told['share_of_joint']:.0f} % of it were reached" if told["share_of_joint"] is not None else ""
        said.append(f"Networks that learned all targets together have skill {told['joint']['skill']:.3f}{share}.")
    best = max(told["baselines"], key=lambda name: np.nan_to_num(told["baselines"][name]["skill"], nan=-np.inf))
    said.append(f"The best baseline is {best} with skill {told['baselines'][best]['skill']:.3f}.")
    if all(old["identical"] for old in told["old"].values()):
        said.append(f"The answers for {', '.join(told['old'])} are the same bits as before.")
    else:
        changed = [f"{name} {old['mae_before']:.3g} → {old['mae_after']:.3g}" for name, old in told["old"].items()]
        said.append(f"Old answers changed; MAE: {', '.join(changed)}. What was validated before has to be validated anew.")
    if told["told_by"]:
        names = ", ".join(f"{name} ({rho:.2f})" for name, rho in list(told["told_by"].items())[:4])
        said.append(f"Little had to be learned: the inputs tell the target by themselves, in rank correlation {names}.")
    return said


def in_words(told: Mapping[str, Any]) -> list[str]:
    """Return ``add_task.json`` as lines of Markdown: a table of predictors, one of old targets, and the sentences."""
    rows = {f"added ({told['how']})": told["new"]}
    rows |= {"joint network": told["joint"]} if told["joint"] and told["how"] != "joint" else {}
    lines = [
        f"# {told['target']['name']}, added to {told['run']}",
        "",
        "| predictor | MAE | 95 % CI | skill |",
        "|---|---|---|---|",
    ]
    for name, found in (rows | told["baselines"]).items():
        low, high = found["mae_ci95"]
        lines.append(f"| {name} | {found['mae']:.3g} | {low:.3g}–{high:.3g} | {found['skill']:.3f} |")
    lines += ["", "| old target | MAE before | MAE after | largest change | same bits |", "|---|---|---|---|---|"]
    for name, old in told["old"].items():
        same = "yes" if old["identical"] else "no"
        lines.append(f"| {name} | {old['mae_before']:.3g} | {old['mae_after']:.3g} | {old['largest_change']:.3g} | {same} |")
    return [*lines, "", *(f"- {sentence}" for sentence in told["sentences"])]
