"""What a contest says: a row for every model, Δ_m against single-task networks, ranks, learning curves; and its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from biosig_mtl.evaluation import contest, intervals
from biosig_mtl.evaluation.contest import Errors
from biosig_mtl.evaluation.scores import plain
from biosig_mtl.experiment import answers, folder
from biosig_mtl.experiment.costs import Cost
from biosig_mtl.experiment.entrants import SINGLE, TRIALS, Entrant
from biosig_mtl.recipe import Recipe
from biosig_mtl.types import Check, Fold, Predictions, WindowTable

SCHEMA = 1
OURS = "split_merge"


@dataclass(frozen=True)
class Point:
    """One point of a learning curve: what a model gets wrong that learned from a share of the training subjects."""

    label: str
    size: float
    subjects: float
    target: str
    errors: Errors

    def facts(self) -> dict[str, Any]:
        """Return it as plain content."""
        told = {"label": self.label, "size": self.size, "subjects": self.subjects, "target": self.target}
        return {**told, "error": self.errors.point, "error_ci95": _ends(self.errors)}


@dataclass(frozen=True)
class Standings:
    """All that is known of the contestants so far; see `biosig_mtl.experiment.comparing`."""

    recipe: Recipe
    table: WindowTable
    folds: Sequence[Fold]
    entered: tuple[Entrant, ...]
    errors: Mapping[str, Mapping[str, Errors]]
    seconds: Mapping[str, float]
    absent: Mapping[str, str]
    terms: object
    stamps: tuple[str, ...] = ()

    def content(self, points: Sequence[Point], checks: Sequence[Check], costs: Mapping[str, Cost]) -> dict[str, Any]:
        """Return the content of ``compare.json``, schema 1."""
        made = self.so_far()
        for row in made["rows"]:
            if row["label"] in costs:
                row |= asdict(costs[row["label"]])
        audit = {"passed": all(c.passed for c in checks), "checks": [asdict(c) for c in checks]}
        whole: dict[str, Any] = plain({**made, "finished": True, "curves": [p.facts() for p in points], "audit": audit})
        return whole

    def so_far(self) -> dict[str, Any]:
        """Return what can be said before the contest has ended."""
        task, heads = answers.of(self.recipe)
        terms = asdict(self.terms) if is_dataclass(self.terms) and not isinstance(self.terms, type) else {}
        changes = [dict(changed) for changed in TRIALS[: terms.get("trials", 1)]]
        gains = {label: contest.gain(found, self.errors[SINGLE]) for label, found in self.errors.items()}
        here = [one for one in self.entered if one.label in gains]
        # A variant may have more than sharing to thank for its gain (an ensemble, something beside the network).
        plain_ones = [one for one in here if one.label == one.recipe.model.get("name", OURS)]
        joint = [one.label for one in plain_ones if not one.apart]
        variants = [one.label for one in here if one not in plain_ones]
        told: dict[str, Any] = {
            "schema": SCHEMA,
            "finished": False,
            "task": self.recipe.task,
            "dataset": self.recipe.data.dataset,
            "recipe": self.recipe.name,
            "protocol": str(self.recipe.split.get("scheme", "subject_kfold")),
            "folds": len({fold.number for fold in self.folds}),
            "seeds": sorted({fold.seed for fold in self.folds}),
            "n_subjects": int(np.unique(self.table.subject).size),
            "n_windows": len(self.table),
            "stamps": list(self.stamps),
            "reference": SINGLE,
            "targets": {
                t.name: {"unit": t.unit, "classes": heads[t.name].classes, "is": _word(heads[t.name].classes)}
                for t in task.targets
            },
            "terms": {**terms, "changes": changes},
            "headline": contest.headline(gains, joint, OURS, variants) if joint else "",
            "rows": [self._row(label, gains[label]) for label in self.errors],
            "waiting": [one.label for one in self.entered if one.label not in self.errors],
            "absent": dict(self.absent),
            "ranking": asdict(contest.ranking(self.errors)),
        }
        whole: dict[str, Any] = plain(told)
        return whole

    def _row(self, label: str, gain: contest.Gain) -> dict[str, Any]:
        targets = {
            name: {"error": one.point, "error_ci95": _ends(one), "ccc": one.ccc} for name, one in self.errors[label].items()
        }
        return {
            "label": label,
            **self._network(label),
            "targets": targets,
            "delta_m": gain.value,
            "delta_m_ci95": list(gain.ci95),
            "verdict": "reference" if label == SINGLE else gain.verdict,
            "delta_of_target": {name: {"value": value, "ci95": list(ci)} for name, (value, ci) in gain.of_target.items()},
        }

    def _network(self, label: str) -> dict[str, Any]:
        """Return what only networks have; the seconds are those of all trials and targets, for one fold."""
        for one in self.entered:
            if one.label == label:
                known = {"parameters": one.parameters, "width": one.width, "train_cpu_s": self.seconds.get(label)}
                return {"kind": "network", "network": one.recipe.model.get("name", OURS), **known}
        return {"kind": "baseline"}


def _word(classes: int) -> str:
    return "1 − balanced accuracy" if classes else "mean absolute error"


def _ends(one: Errors) -> list[float]:
    return list(intervals.samples_ci95(one.draws, int(np.isfinite(one.of_subject).sum())))


def write_tables(out: Path, made: Mapping[str, Any], said: Mapping[str, Predictions]) -> None:
    """Write ``compare.csv`` (one row a model) and ``predictions.parquet`` (one row a model, window, target and seed)."""
    import pandas as pd

    frame = pd.DataFrame([_flat(row, made["targets"]) for row in made["rows"]])
    folder.write(out / "compare.csv", frame.to_csv(index=False, lineterminator="\n"))
    parts = []
    for label, one in said.items():
        for j, name in enumerate(one.target_names):
            keys = {"row": one.row, "fold": one.fold, "seed": one.seed, "subject": one.subject}
            told = {"y_true": one.y_true[:, j].astype(np.float32), "y_pred": one.y_pred[:, j].astype(np.float32)}
            parts.append(pd.DataFrame({"model": label, "target": name, **keys, **told}))
    whole = pd.concat(parts, ignore_index=True)
    whole = whole.assign(**{word: whole[word].astype("category") for word in ("model", "target", "subject")})
    folder.write(out / "predictions.parquet", folder.parquet(whole))


def _flat(row: Mapping[str, Any], targets: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {"model": row["label"], "kind": row["kind"]}
    for name in targets:
        one = row["targets"].get(name, {})
        low, high = one.get("error_ci95", (None, None))
        flat |= {f"{name}_error": one.get("error"), f"{name}_low": low, f"{name}_high": high}
    flat |= {"delta_m": row["delta_m"], "delta_m_low": row["delta_m_ci95"][0], "delta_m_high": row["delta_m_ci95"][1]}
    words = ("verdict", "parameters", "width", "flops_per_window", "train_cpu_s", "step_ms", "latency_ms")
    whole: dict[str, Any] = plain({**flat, **{word: row.get(word) for word in words}})
    return whole
