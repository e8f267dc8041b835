"""Conductor 2: folds → networks → predictions → scores, with the audit's verdict on all of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from biosig_mtl import splits, store
from biosig_mtl.evaluation import audit, scores
from biosig_mtl.experiment import folder, grading, members, tables
from biosig_mtl.experiment.grading import Graded
from biosig_mtl.experiment.members import CONTROL, MODEL, Job, Result
from biosig_mtl.recipe import Recipe, build, choose
from biosig_mtl.tasks import TASKS
from biosig_mtl.training import checkpoint
from biosig_mtl.types import DataError, Fold, Predictions, RecipeError, Scores, WindowTable

Progress = Callable[[int, int], None]
# A subject-disjoint result below these shares of the median predictor is a leak until proven otherwise
# (blood_pressure.md §6.1: the column "audit if below", divided by the mean predictor).
TOO_GOOD = {"sbp": 0.6, "dbp": 0.6}
SAFE_LEVELS = {"person", "group"}
SHUFFLES = 2


def run(
    recipe: Recipe,
    stores: Sequence[Path],
    out: Path,
    *,
    workers: int = 1,
    progress: Progress | None = None,
    facts: Sequence[Mapping[str, Any]] = (),
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

    Raises
    ------
    RecipeError
        Ids are only records and the recipe does not say that this is accepted, or an ablation names no family of features.
    DataError
        Too few subjects, or the folder holds another run.
    """
    task = TASKS[choose(recipe.task, TASKS, "task")]
    protocol = build(splits.Protocol, recipe.split, "split")
    name, _, training = members.settings(recipe)
    table = tables.read(stores)
    level = subject_level(recipe, table)
    folds = splits.make(table, protocol)
    for family in protocol.ablations:
        tables.without(table, family)  # refused now rather than after the other networks are trained
    out.mkdir(parents=True, exist_ok=True)
    folder.write_recipe(out, recipe)
    jobs = _jobs(recipe, protocol, folds, training.ensemble, (tuple(stores), out))
    for done, _ in enumerate(members.train(jobs, workers), start=1):
        if progress is not None:
            progress(done, len(jobs))
    results = [members.result(job) for job in jobs]
    graded = grading.gather(table, folds, results, training.balance_subjects)
    widths = grading.half_widths(table, folds, results)
    half = np.stack([widths[s, f] for s, f in zip(graded.model.seed, graded.model.fold, strict=True)])
    rng = np.random.default_rng(0)
    mase = _mase(graded, rng)
    evidence = evidence_of(recipe, table, folds, graded, stores) | {
        "negative_control": _control(graded, rng),
        "mase": mase,
        "floor": {} if protocol.scheme == "random_window" else TOO_GOOD,
        "subject_level": audit_level(level),
        "allow_record_level": recipe.data.allow_record_level,
    }
    checks = audit.run(audit.Evidence(task=task, **evidence), rng)
    told = _told(protocol, table, stores, level, facts)
    extras = _extras(graded, half, rng) | {"warnings": _warnings(results, tables.linked(stores), table.target_names)}
    described = scores.Protocol(
        dataset=recipe.data.dataset if not recipe.data.test_dataset else f"{recipe.data.dataset} → {recipe.data.test_dataset}",
        protocol=protocol.scheme,
        folds=len({f.number for f in folds}),
        seeds=protocol.seeds,
        model=name,
        extras=extras,
        **told,
    )
    _write(out, recipe, _Made(table, folds, stores, results, graded, half))
    folder.write_json(out / "dataset.json", facts[0] if len(facts) == 1 else {"datasets": list(facts)})
    result = scores.score(task, described, graded.model, graded.baselines, checks, rng)
    # Last, and only then is the training work thrown away: a run folder with scores is complete.
    folder.write(out / "scores.json", scores.to_json(result))
    shutil.rmtree(out / "work", ignore_errors=True)
    return result


def subject_level(recipe: Recipe, table: WindowTable) -> str:
    """Return what the ids are; refuse ids that are only records unless the recipe accepts them."""
    levels = set(table.index["subject_level"].astype(str))
    unsafe = sorted(levels - SAFE_LEVELS)
    if unsafe and not recipe.data.allow_record_level:
        raise RecipeError(
            f"{recipe.data.dataset}: its ids are of level '{unsafe[0]}', so one person may be on both sides of a split; "
            "set data.allow_record_level: true to accept that, and the report will say so"
        )
    return unsafe[0] if unsafe else min(levels)


def audit_level(level: str) -> str:
    """Return the word of the audit for a level of the manifest."""
    return "subject" if level in SAFE_LEVELS else level


def _jobs(
    recipe: Recipe, protocol: splits.Protocol, folds: Sequence[Fold], ensemble: int, places: tuple[tuple[Path, ...], Path]
) -> list[Job]:
    stores, out = places
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
        # another shuffle, for with few people a single shuffle may look like skill by luck.
        first = [fold for fold in folds if fold.seed == protocol.seeds[0]]
        jobs += [
            Job(CONTROL, fold, k, max(ensemble, SHUFFLES), content, stores, out) for fold in first for k in range(SHUFFLES)
        ]
    return jobs


def _median(graded: Graded) -> Predictions:
    median = graded.baselines[scores.MEDIAN]
    if isinstance(median, scores.Absent):
        raise DataError(f"the training median could not be computed: {median.reason}")
    return median


def _mase(graded: Graded, rng: np.random.Generator) -> dict[str, float]:
    median = _median(graded)
    return {name: scores.mase(graded.model, median, name, rng)[0] for name in graded.model.target_names}


def _control(graded: Graded, rng: np.random.Generator) -> dict[str, audit.Control]:
    control = graded.variants.get(CONTROL)
    if control is None:
        return {}
    median = grading.subset(_median(graded), grading.control_rows(_median(graded), control))
    return {name: audit.Control(*scores.mase(control, median, name, rng)) for name in control.target_names}


def evidence_of(
    recipe: Recipe, table: WindowTable, folds: Sequence[Fold], graded: Graded | None, stores: Sequence[Path]
) -> dict[str, Any]:
    """Return what the audit looks at, as far as it comes from the table, the folds and the predictions."""
    uses_waveform = recipe.model.get("use_waveform", True)
    facts = [c for c in table.index.columns if c not in {"subject", "session", "record", "stimulus", "dataset"}]
    return {
        "folds": tuple(folds),
        "subject": table.subject,
        "window_id": table.index["window_id"].to_numpy(dtype=str),
        "fingerprints": tables.read_fingerprints(stores)[table.index["store_row"].to_numpy()],
        "waveform": table.waveform if table.waveform.shape[1] else None,
        "inputs": audit.Inputs(
            features=table.names, channels=table.waveform_channels if uses_waveform else (), facts=tuple(map(str, facts))
        ),
        "fitted": graded.fitted if graded else (),
        "predictions": graded.model if graded else None,
    }


def _told(
    protocol: splits.Protocol,
    table: WindowTable,
    stores: Sequence[Path],
    level: str,
    facts: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Return what the scores say of the data: rejected windows, coverage, reference, stamps."""
    summaries = [store.summary(s) for s in stores]
    rejected = sum(s["windows_rejected"] for s in summaries)
    simulated = any(f.get("simulated") for f in facts)
    stamps = ["SIMULATED DATA"] if simulated else []
    if level not in SAFE_LEVELS:
        stamps.append("record-level ids")
    if protocol.scheme == "random_window":
        stamps.append("LEAK DEMONSTRATION")
    sources = set(table.index["label_source"].astype(str)) if "label_source" in table.index else {"unknown"}
    return {
        "n_rejected": rejected,
        "coverage": len(table) / max(len(table) + rejected, 1),
        "reference": "simulated" if simulated else min(sources),
        "stamps": tuple(stamps),
    }


def _extras(graded: Graded, half: np.ndarray[Any, Any], rng: np.random.Generator) -> dict[str, Any]:
    """Return further keys of the scores: intervals, negative control, ablations."""
    median = _median(graded)
    extras: dict[str, Any] = {
        "intervals": grading.interval_facts(graded.model, half),
    }
    if control := _control(graded, rng):
        extras["negative_control"] = {name: {"mase": c.mase, "mase_ci95": list(c.ci95)} for name, c in control.items()}
    ablations = {name: p for name, p in graded.variants.items() if name != CONTROL}
    if ablations:
        extras["ablation"] = [
            {"variant": name, "target": target, **_ablation(graded.model, without, median, target, rng)}
            for name, without in ablations.items()
            for target in without.target_names
        ]
    target = graded.baselines.get(grading.TARGET_MEDIAN)
    if isinstance(target, Predictions):
        names = graded.model.target_names
        found = {name: scores.mase(graded.model, target, name, rng) for name in names}
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


def _ablation(
    model: Predictions, without: Predictions, median: Predictions, target: str, rng: np.random.Generator
) -> dict[str, Any]:
    ratio, interval = scores.mase(without, median, target, rng)
    against, against_interval = scores.mase(without, model, target, rng)
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
    half: np.ndarray[Any, Any]


def _write(out: Path, recipe: Recipe, made: _Made) -> None:
    rows = [
        {"variant": r.job.variant, "seed": r.job.fold.seed, "fold": r.job.fold.number, "member": r.job.member, **row}
        for r in made.results
        for row in r.history
    ]
    folder.write_history(out, rows)
    folder.write_predictions(out, made.table, made.graded.model, made.half)
    folder.write_rejected(out, made.stores)
    folder.write_folds(out, made.table, made.folds)
    folder.write_environment(out, made.stores)
    folder.write_json(out / "examples.json", _examples(made.table, made.graded, made.stores))
    folder.write_json(out / "split_report.json", _split_report(made.results))
    _write_model(out, recipe, made.results, made.half)


def _write_model(out: Path, recipe: Recipe, results: Sequence[Result], half: np.ndarray[Any, Any]) -> None:
    saved = {r.job.name: r.job.place / "model" for r in results if r.job.variant == MODEL}
    extra = {"half_width": half.max(axis=0).tolist(), "interval_level": grading.LEVEL}
    checkpoint.collect(out / "model", saved, recipe.to_dict(), extra)


def _examples(table: WindowTable, graded: Graded, stores: Sequence[Path]) -> list[dict[str, Any]]:
    """Return the stores' example windows with their estimates beside the reference."""
    model = graded.model
    records = table.index["record"].to_numpy()[model.row].tolist()
    place = {key: i for i, key in reversed(list(enumerate(zip(records, model.onset_s.tolist(), strict=True))))}
    found = []
    for folder_ in stores:
        for example in store.read_examples(folder_):
            i = place.get((example["record"], example["onset_s"]))
            if i is not None:
                estimate = {name: round(float(v), 1) for name, v in zip(model.target_names, model.y_pred[i], strict=True)}
                found.append({**example, "y_pred": estimate})
    return found


def _split_report(results: Sequence[Result]) -> dict[str, Any]:
    """Return the split reports of the first member of every fold, and their warnings as sentences."""
    reports = {f"seed {r.job.fold.seed}, fold {r.job.fold.number}": dict(r.split_report) for r in results if r.split_report}
    sentences: dict[str, list[str]] = {}
    for where, report in reports.items():
        for sentence in report.get("warnings", []):
            sentences.setdefault(sentence, []).append(where)
    told = [f"{sentence} ({'; '.join(where)})" for sentence, where in sentences.items()]
    return {"sentences": told, "folds": reports}
