"""Sections of the model card that are figures: scores, baselines, classes, intervals, and the head for machines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from biosig_mtl.report_card_parts import NOT_TOLD, Block, Section, called, ends_of
from biosig_mtl.report_sections import Run, interval, name_of, number
from biosig_mtl.report_verdict import CLASSES, RANKED_BY, REGRESSION, kind_of, versus_model

_OF_NUMBERS = (("mae", "mean error", 1), ("me", "bias", 1), ("rmse", "RMSE", 1), ("r", "r", 2), ("ccc", "CCC", 2),
               ("mase", "of the training median", 2))  # fmt: skip
_OF_CLASSES = (("balanced_accuracy", "balanced accuracy", 2), ("macro_f1", "macro F1", 2), ("auc", "AUC", 2), ("kappa", "κ", 2))


def scores(run: Run) -> Section:
    """Return the figures of every target with their intervals: means over subjects, and pooled over windows."""
    blocks = [
        Block(text="Means over subjects who were not learned from, with 95 % intervals over subjects.")
        if _independent(run)
        else Block(text="Means over subjects, with 95 % intervals. The protocol learned from the tested people.")
    ]
    for classes, figures in ((False, _OF_NUMBERS), (True, _OF_CLASSES)):
        chosen = {n: t for n, t in run.scores["targets"].items() if (kind_of(t) == CLASSES) == classes}
        if chosen:
            rows = tuple((_named(n, t), *(ends_of(t, key, d) for key, _, d in figures)) for n, t in chosen.items())
            blocks.append(Block(header=("target", *(word for _, word, _ in figures)), rows=rows))
            blocks.append(Block(lines=tuple(_pooled(n, t, classes=classes) for n, t in chosen.items())))
    return Section("Scores", tuple(blocks))


def _independent(run: Run) -> bool:
    return bool((run.scores.get("protocol_guarantee") or {}).get("subject_independent", True))


def _named(name: str, target: Mapping[str, Any]) -> str:
    word = called(name, target)
    return word if kind_of(target) == CLASSES or not target.get("unit") else f"{word}, {target['unit']}"


def _pooled(name: str, target: Mapping[str, Any], *, classes: bool) -> str:
    pooled = target.get("pooled") or {}
    figures = (
        _OF_CLASSES if classes else (("mae", "mean error", 1), ("me", "bias", 1), ("sd", "SD of the error", 1), ("r", "r", 2))
    )
    told = ", ".join(f"{word} {number(pooled[key], digits)}" for key, word, digits in figures if key in pooled)
    return f"{name}, every window alike: {told or NOT_TOLD}"


def baselines(run: Run) -> Section:
    """Return what else reaches: predictors that see no signal, and plain models on the same windows."""
    blocks = []
    for name, target in run.scores["targets"].items():
        figure, word, _ = RANKED_BY[CLASSES if kind_of(target) == CLASSES else REGRESSION]
        digits = 2 if kind_of(target) == CLASSES else 1
        rows = [("this model", ends_of(target, figure, digits), "")]
        for other, found in run.scores["baselines"].items():
            entry = found.get(name)
            if not isinstance(entry, Mapping):
                rows.append((name_of(other), "–", str(found.get("unavailable") or "not made")))
                continue
            rows.append((name_of(other), ends_of(entry, figure, digits), _versus(versus_model(entry, figure), digits)))
        blocks.append(Block(header=(_named(name, target), word, "this model against it"), rows=tuple(rows)))
    return Section("Baselines on the same windows", tuple(blocks))


def _versus(found: Mapping[str, Any], digits: int) -> str:
    if found.get("difference") is None:
        return "–"
    told = interval(found.get("ci95"), digits)
    return f"{found.get('verdict') or ''} {number(found['difference'], digits)}".strip() + (f" ({told})" if told else "")


def classes(run: Run) -> Section:
    """Return the error by class of the reference."""
    blocks = []
    for name, target in run.scores["targets"].items():
        found = [row for row in target.get("classes") or () if isinstance(row, Mapping)]
        rows = tuple(
            (str(row["class"]), str(row["n_subjects"]), str(row["n_windows"]), number(row["mae"]), number(row["me"]))
            for row in found
        )
        if rows:
            blocks.append(
                Block(
                    header=(f"{_named(name, target)} of the reference", "subjects", "windows", "mean error", "bias"), rows=rows
                )
            )
    return Section("By class of the reference", tuple(blocks))


def intervals(run: Run, model: Mapping[str, Any]) -> Section:
    """Return how often intervals held, and how wide they are."""
    found = run.scores.get("intervals") or {}
    half = dict(
        zip((model.get("spec") or {}).get("targets", ()), (model.get("extra") or {}).get("half_width", ()), strict=False)
    )
    rows = tuple(
        (
            name,
            f"{100 * row['level']:.0f} %" if row.get("level") is not None else "–",
            f"{100 * row['coverage']:.1f} %" if row.get("coverage") is not None else "–",
            number(row.get("width")),
            f"± {number(half[name])}" if half.get(name) is not None else "–",
        )
        for name, row in found.items()
        if isinstance(row, Mapping)
    )
    if not rows:
        return Section("Intervals", (Block(text=f"Coverage of intervals: {NOT_TOLD}."),))
    header = ("target", "nominal", "covered, each subject alike", "mean width", "in predictions")
    return Section("Intervals", (Block(header=header, rows=rows), *_class_coverage(found)))


def _class_coverage(found: Mapping[str, Any]) -> list[Block]:
    """Return coverage by class of the reference, where the run has it."""
    lines = [
        f"{name}, reference {one.get('class')}: {100 * one['coverage']:.1f} % covered"
        for name, row in found.items()
        for one in ((row.get("classes") or row.get("by_class") or ()) if isinstance(row, Mapping) else ())
        if isinstance(one, Mapping) and one.get("coverage") is not None
    ]
    return [Block(lines=tuple(lines))] if lines else []


def head(run: Run, name: str) -> dict[str, Any]:
    """Return the head that model hubs read."""
    s, told = run.scores, run.dataset or {}
    figures = []
    for target, found in s["targets"].items():
        keys = _OF_CLASSES if kind_of(found) == CLASSES else _OF_NUMBERS
        for key, word, _ in keys:
            if found.get(key) is not None:
                full = f"{word}, {_named(target, found)}, mean over subjects"
                figures.append({"type": key, "name": full, "value": round(float(found[key]), 4)})
    return {
        "library_name": "biosig-mtl",
        "license": "other",
        "license_name": f"data: {told.get('licence') or NOT_TOLD}",
        "tags": ["biosignals", "multi-task-learning", str(s["task"]), "research-use-only", "not-a-medical-device"],
        "datasets": [str(s["dataset"])],
        "model-index": [
            {
                "name": name,
                "results": [
                    {
                        "task": {"type": str(s["task"])},
                        "dataset": {
                            "type": str(s["dataset"]),
                            "name": str(told.get("title") or s["dataset"]),
                            "split": str(s["protocol"]),
                        },
                        "metrics": figures,
                    }
                ],
            }
        ],
    }
