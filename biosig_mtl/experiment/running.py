"""Conductor 2: folds → networks → predictions → scores, with the audit's verdict on all of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from biosig_mtl import splits, store
from biosig_mtl.evaluation import audit, controls, scores
from biosig_mtl.experiment import (
    answers,
    folder,
    following,
    grading,
    grading_intervals,
    interpretation,
    members,
    splits_seen,
    stamps,
    tables,
)
from biosig_mtl.experiment.grading import Graded
from biosig_mtl.experiment.members import CONTROL, MODEL, TWIN, Job, Result
from biosig_mtl.recipe import Recipe, build
from biosig_mtl.training import checkpoint
from biosig_mtl.training.conformal import LEVEL
from biosig_mtl.types import DataError, Fold, Predictions, RecipeError, Scores, Task, WindowTable

Progress = Callable[[int, int], None]
# A subject-disjoint result below these shares of the median predictor is a leak until proven otherwise
# (blood_pressure.md §6.1: the column "audit if below", divided by the mean predictor).
TOO_GOOD = {"sbp": 0.6, "dbp": 0.6}
SHUFFLES = 2
NOTES = 12


def run(  # noqa: PLR0913 (one more than usual: the start of its networks)
    recipe: Recipe,
    stores: Sequence[Path],
    out: Path,
    *,
    workers: int = 1,
    progress: Progress | None = None,
    facts: Sequence[Mapping[str, Any]] = (),
    begin: members.Begin | None = None,
) -> Scores:
    """Train and grade a recipe on prepared stores; write the run folder (all but the report).

    Parameters
    ----------
    recipe
        Its ``split model training`` blocks say what to do.
    stores
        The store of the data set; for a transfer a second one, the target.
    out
        Run folder. A run that was killed goes on from what is there.
    workers
        Training processes.
    progress
        Called with (networks trained, networks).
    facts
        Manifest facts of the data sets, for the report.
    begin
        Gives every network its start, in the process that trains it.

    Raises
    ------
    RecipeError
        Ids are only records and the recipe does not say that this is accepted, or an ablation names no family of features.
    DataError
        Too few subjects, or the folder holds another run.
    """
    task, _ = answers.of(recipe)
    protocol = build(splits.Protocol, recipe.split, "split")
    name, _, training = members.settings(recipe)
    table = answers.table_of(recipe, stores)
    level = subject_level(recipe, table)
    folds = splits.make(table, protocol)
    for family in protocol.ablations:
        tables.without(table, family)  # refused now rather than after the other networks are trained
    out.mkdir(parents=True, exist_ok=True)
    folder.write_recipe(out, recipe)
    jobs = _jobs(recipe, protocol, folds, training.ensemble, (tuple(stores), out))
    for done, _ in enumerate(following.train(jobs, workers, begin), start=1):
        if progress is not None:
            progress(done, len(jobs))
    results = [members.result(job) for job in jobs]
    graded = grading.gather(table, folds, results, training.balance_subjects)
    bounded = grading_intervals.bound(table, folds, results, graded.model)
    rng = np.random.default_rng(0)
    mase = _mase(graded, rng)
    found = _control(task, graded, rng)
    evidence = evidence_of(recipe, table, folds, graded, stores) | {
        "negative_control": found,
        "mase": mase,
        "floor": {} if protocol.scheme == "random_window" else {k: v for k, v in TOO_GOOD.items() if k in mase},
        "subject_level": audit_level(level),
        "allow_record_level": recipe.data.allow_record_level,
    }
    checks = audit.run(audit.Evidence(task=task, **evidence), rng)
    told = _told(recipe, table, stores, (level, facts))
    extras = _extras(graded, rng) | {
        "intervals": grading_intervals.facts(table, graded.model, bounded),
        "warnings": _warnings(results, tables.linked(stores), table.target_names) + _notes(folds, table, stores),
        "protocol_guarantee": _promise(protocol),
    }
    if found:
        extras["negative_control"] = controls.facts(found)
    described = scores.Protocol(
        dataset=recipe.data.dataset if not recipe.data.test_dataset else f"{recipe.data.dataset} → {recipe.data.test_dataset}",
        protocol=protocol.scheme,
        folds=len({f.number for f in folds}),
        seeds=protocol.seeds,
        model=name,
        extras=extras,
        **told,
    )
    _write(out, recipe, _Made(table, folds, stores, results, graded, bounded))
    folder.write_json(out / "dataset.json", facts[0] if len(facts) == 1 else {"datasets": list(facts)})
    shown = interpretation.interpretation(table, folds, results)
    why = {name: told for s in stores for name, told in store.summary(s).get("about", {}).get("reasons", {}).items()}
    folder.write_json(out / "interpretation.json", interpretation.with_reasons(shown, why))
    if TWIN in graded.variants:
        twin = scores.score(task, replace(described, extras={}), graded.variants[TWIN], {}, checks, rng)
        described = replace(described, extras={**extras, "uncalibrated_twin": {"targets": twin.content["targets"]}})
    result = scores.score(task, described, graded.model, graded.baselines, checks, rng)
    # Last, and only then is the training work thrown away: a run folder with scores is complete.
    folder.write(out / "scores.json", scores.to_json(result))
    shutil.rmtree(out / "work", ignore_errors=True)
    folder.sweep(out)
    return result


def subject_level(recipe: Recipe, table: WindowTable) -> str:
    """Return what the ids are; refuse ids that are only records unless the recipe accepts them."""
    levels = set(table.index["subject_level"].astype(str))
    unsafe = sorted(levels - stamps.SAFE_LEVELS)
    if unsafe and not recipe.data.allow_record_level:
        raise RecipeError(
            f"{recipe.data.dataset}: its ids are of level '{unsafe[0]}', so one person may be on both sides of a split; "
            "set data.allow_record_level: true to accept that, and the report will say so"
        )
    return unsafe[0] if unsafe else min(levels)


def audit_level(level: str) -> str:
    """Return the word of the audit for a level of the manifest."""
    return "subject" if level in stamps.SAFE_LEVELS else level


def _jobs(
    recipe: Recipe, protocol: splits.Protocol, folds: Sequence[Fold], ensemble: int, places: tuple[tuple[Path, ...], Path]
) -> list[Job]:
    stores, out = places
    twins = [Job(TWIN, f.twin, k, ensemble, recipe.to_dict(), stores, out) for f in folds if f.twin for k in range(ensemble)]
    variants = {MODEL: ensemble} | {f"without {family}": ensemble for family in protocol.ablations}
    content = recipe.to_dict()
    jobs = [
        Job(variant, fold, member, ensemble, content, stores, out)
        for variant, count in variants.items()
        for fold in folds
        for member in range(count)
    ]
    if protocol.negative_control:
        # The first seed is enough: the control asks whether anything leaks, not how well an ensemble does. Each network gets
        # another shuffle and is graded by itself, for with few people a single shuffle may look like skill by luck.
        first = [fold for fold in folds if fold.seed == protocol.seeds[0]]
        jobs += [
            Job(CONTROL, fold, k, max(ensemble, SHUFFLES), content, stores, out) for fold in first for k in range(SHUFFLES)
        ]
    return [*jobs, *twins]


def _median(graded: Graded) -> Predictions:
    median = graded.baselines[scores.MEDIAN]
    if isinstance(median, scores.Absent):
        raise DataError(f"the training median could not be computed: {median.reason}")
    return median


def _numbers(graded: Graded) -> list[str]:
    """Return the targets that are answered by a number."""
    return [name for name, head in zip(graded.model.target_names, graded.model.head, strict=True) if not head.classes]


def _mase(graded: Graded, rng: np.random.Generator) -> dict[str, float]:
    return {name: scores.mase(graded.model, _median(graded), name, rng)[0] for name in _numbers(graded)}


def _control(task: Task, graded: Graded, rng: np.random.Generator) -> dict[str, tuple[controls.Control, ...]]:
    control = graded.variants.get(CONTROL)
    if control is None:
        return {}
    return controls.controls(task, control, _median(graded) if _numbers(graded) else None, rng)


def evidence_of(
    recipe: Recipe, table: WindowTable, folds: Sequence[Fold], graded: Graded | None, stores: Sequence[Path]
) -> dict[str, Any]:
    """Return what the audit looks at, as far as it comes from the table, the folds and the predictions."""
    uses_waveform = recipe.model.get("use_waveform", True)
    shown = (*table.waveform_channels, *(channel for track in table.tracks.values() for channel in track.channels))
    facts = [c for c in table.index.columns if c not in {"subject", "session", "record", "stimulus", "dataset"}]
    return {
        "folds": tuple(folds),
        "subject": table.subject,
        "window_id": table.index["window_id"].to_numpy(dtype=str),
        "fingerprints": tables.read_fingerprints(stores)[table.index["store_row"].to_numpy()],
        "waveform": tables.first_waveform(table),
        "inputs": audit.Inputs(
            features=table.names,
            channels=shown if uses_waveform else (),
            facts=tuple(map(str, facts)),
        ),
        "guarantee": splits.PROTOCOLS[str(recipe.split.get("scheme", "subject_kfold"))].guarantee,
        "trial": table.trial,
        "stimulus": table.stimulus,
        "spans": audit.spans_of(table),
        "fitted": graded.fitted if graded else (),
        "predictions": graded.model if graded else None,
    }


def _told(
    recipe: Recipe,
    table: WindowTable,
    stores: Sequence[Path],
    about: tuple[str, Sequence[Mapping[str, Any]]],
) -> dict[str, Any]:
    """Return what the scores say of the data: rejected windows, coverage, reference, stamps."""
    level, facts = about
    summaries = [store.summary(s) for s in stores]
    rejected = sum(s["windows_rejected"] for s in summaries)
    simulated = stamps.simulated(stores, facts)
    sources = set(table.index["label_source"].astype(str)) if "label_source" in table.index else {"unknown"}
    return {
        "n_rejected": rejected,
        "coverage": len(table) / max(len(table) + rejected, 1),
        "reference": "simulated" if simulated else min(sources),
        "stamps": stamps.of(recipe, level, is_simulated=simulated),
    }


def _promise(protocol: splits.Protocol) -> dict[str, Any]:
    guarantee = splits.PROTOCOLS[protocol.scheme].guarantee
    return {
        "disjoint": list(guarantee.disjoint),
        "subject_independent": guarantee.subject_independent,
        "says": splits.describe(protocol),
    }


def _notes(folds: Sequence[Fold], table: WindowTable, stores: Sequence[Path]) -> list[str]:
    """Return what a reader should know of the folds, and what readers of the recordings noted, each sentence once."""
    told = [sentence] if (sentence := splits.left_out(folds, table)) else []
    notes: dict[str, list[str]] = {}
    for folder_ in stores:
        for record, note in store.summary(folder_)["notes"]:
            notes.setdefault(note, []).append(record)
    counted = sorted(notes.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    told += [
        f"{note} ({records[0]}{f' and {len(records) - 1} more' if len(records) > 1 else ''})"
        for note, records in counted[:NOTES]
    ]
    if len(counted) > NOTES:
        told.append(f"{len(counted) - NOTES} further notes on recordings are in the store")
    return told


def _extras(graded: Graded, rng: np.random.Generator) -> dict[str, Any]:
    """Return further keys of the scores: ablations, the target's own median."""
    extras: dict[str, Any] = {}
    ablations = {name: p for name, p in graded.variants.items() if name not in {CONTROL, TWIN}}
    if ablations:
        extras["ablation"] = [
            {"variant": name, "target": target, **_ablation(graded, without, target, rng)}
            for name, without in ablations.items()
            for target in without.target_names
        ]
    target = graded.baselines.get(grading.TARGET_MEDIAN)
    if isinstance(target, Predictions):
        found = {name: scores.mase(graded.model, target, name, rng) for name in _numbers(graded)}
        extras["against_target_median"] = {name: {"mase": m, "mase_ci95": list(ci)} for name, (m, ci) in found.items()}
    return extras


def _warnings(results: Sequence[Result], linked: Sequence[tuple[str, str]], names: Sequence[str]) -> list[str]:
    """Return what a reader of the scores should know: merged ids, and what went wrong in training."""
    told = sorted({w for r in results if r.job.variant == MODEL for w in r.warnings})
    shares = [r.kernel_share for r in results if r.job.variant == MODEL and r.kernel_share]
    if shares:
        mean = ", ".join(f"{name} {100 * s:.0f} %" for name, s in zip(names, np.mean(shares, axis=0), strict=True))
        told.insert(0, f"the estimates are a blend; share of the kernel ridge beside the network: {mean}")
    if linked:
        pairs = ", ".join(f"{a} = {b}" for a, b in linked)
        told.insert(0, f"{len(linked)} pairs of ids share waveform; each pair counts as one subject, or is left out: {pairs}")
    return told


def _ablation(graded: Graded, without: Predictions, target: str, rng: np.random.Generator) -> dict[str, Any]:
    if target not in _numbers(graded):
        control = controls.of_classes(without, target, rng)
        full = controls.of_classes(graded.model, target, rng)
        return {**control.facts(), "balanced_accuracy_of_full_model": full.value}
    ratio, interval = scores.mase(without, _median(graded), target, rng)
    against, against_interval = scores.mase(without, graded.model, target, rng)
    return {
        "mase": ratio,
        "mase_ci95": list(interval),
        "mae_over_full_model": against,
        "mae_over_full_model_ci95": list(against_interval),
    }


@dataclass(frozen=True, slots=True)
class _Made:
    """What a run made, on its way to the run folder."""

    table: WindowTable
    folds: Sequence[Fold]
    stores: Sequence[Path]
    results: Sequence[Result]
    graded: Graded
    bounded: grading_intervals.Bounded


def _write(out: Path, recipe: Recipe, made: _Made) -> None:
    rows = [
        {"variant": r.job.variant, "seed": r.job.fold.seed, "fold": r.job.fold.number, "member": r.job.member, **row}
        for r in made.results
        for row in r.history
    ]
    folder.write_history(out, rows)
    folder.write_predictions(out, made.table, made.graded.model, made.bounded.at[LEVEL])
    folder.write_rejected(out, made.stores)
    folder.write_folds(out, made.table, made.folds)
    folder.write_environment(out, made.stores)
    folder.write_json(out / "examples.json", _examples(made.table, made.graded, made.stores))
    folder.write_json(out / "split_report.json", _split_report(made.results))
    _write_model(out, recipe, made)


def _write_model(out: Path, recipe: Recipe, made: _Made) -> None:
    saved = {r.job.name: r.job.place / "model" for r in made.results if r.job.variant == MODEL}
    intervals = grading_intervals.record(made.table, made.folds, made.results)
    checkpoint.collect(out / "model", saved, recipe.to_dict(), scores.plain(grading_intervals.carried(intervals)))


def _examples(table: WindowTable, graded: Graded, stores: Sequence[Path]) -> list[dict[str, Any]]:
    """Return the stores' example windows with reference and estimate of what is answered: of classes their numbers."""
    model = graded.model
    records = table.index["record"].to_numpy()[model.row].tolist()
    place = {key: i for i, key in reversed(list(enumerate(zip(records, model.onset_s.tolist(), strict=True))))}
    found = []
    for folder_ in stores:
        for example in store.read_examples(folder_):
            i = place.get((example["record"], example["onset_s"]))
            if i is not None:
                sides = {"y_true": model.y_true[i], "y_pred": model.y_pred[i]}
                told = {
                    side: dict(zip(model.target_names, values.round(1).tolist(), strict=True)) for side, values in sides.items()
                }
                found.append({**example, **told})
    return found


def _split_report(results: Sequence[Result]) -> dict[str, Any]:
    """Return the split reports of the first member of every fold, and what they say together."""
    reports = {f"seed {r.job.fold.seed}, fold {r.job.fold.number}": dict(r.split_report) for r in results if r.split_report}
    return splits_seen.gather(reports)
