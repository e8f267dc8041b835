"""The negative control: a model that learned from shuffled labels must do no better than one that sees no signal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from biosig_mtl.evaluation import class_grades, grades, intervals
from biosig_mtl.evaluation.trials import select
from biosig_mtl.types import Predictions, Task

Figure = Literal["mase", "ccc", "balanced_accuracy"]
# The margin is for the shuffles that were drawn, whose luck the interval over subjects does not see.
_MASE_MARGIN = 0.05
_CCC_MARGIN = 0.05
_ACCURACY_MARGIN = 0.1  # of chance: 0.55 for two classes, 0.22 for five that everybody has


@dataclass(frozen=True, slots=True)
class Control:
    """A figure of the model that was trained on shuffled labels, with its subject-bootstrap interval.

    ``figure`` is ``mase`` (an error, 1 by chance), ``ccc`` (0 by chance) or ``balanced_accuracy`` (``chance`` is 1 ÷
    classes that occur in a subject's reference, as for any constant answer among them).
    """

    value: float
    ci95: tuple[float, float]
    figure: Figure = "mase"
    chance: float = 1.0

    @property
    def clean(self) -> bool:
        """Whether the figure is no better than chance: within the margin, or with chance inside its interval.

        The interval is for small sets, where a figure beyond the margin is luck too. What is unknown is not clean.
        """
        low, high = self.ci95
        # A comparison with NaN is false, so all questions are put the passing way.
        if self.figure == "mase":
            return self.value >= self.chance - _MASE_MARGIN or bool(np.isfinite(self.value) and high >= self.chance)
        margin = _CCC_MARGIN if self.figure == "ccc" else _ACCURACY_MARGIN * self.chance
        return self.value <= self.chance + margin or bool(np.isfinite(self.value) and low <= self.chance)

    def facts(self) -> dict[str, Any]:
        """Return the figure and its interval as ``scores.json`` has them."""
        return {self.figure: self.value, f"{self.figure}_ci95": list(self.ci95)}

    def __str__(self) -> str:
        """Return the figure and its interval in words."""
        name = {"mase": "MASE", "ccc": "CCC", "balanced_accuracy": "balanced accuracy"}[self.figure]
        return f"{name} {self.value:.3f} ({self.ci95[0]:.3f}–{self.ci95[1]:.3f})"


def controls(
    task: Task, control: Predictions, median: Predictions | None, rng: np.random.Generator
) -> dict[str, tuple[Control, ...]]:
    """Return the controls of every target: balanced accuracy of classes; MASE of numbers, and CCC where they are no pressures.

    Parameters
    ----------
    task
        Names and units of the targets.
    control
        Test predictions of the model that learned from shuffled labels.
    median
        Those of the training median, for at least the same seeds and windows; needed for targets answered by regression.
    rng
        Draws the bootstrap samples.

    Raises
    ------
    ValueError
        A target is answered by regression, and there is no training median that answers it.
    """
    found: dict[str, tuple[Control, ...]] = {}
    for target in task.targets:
        if target.name not in control.target_names:
            continue
        if control.head[control.target_names.index(target.name)].classes:
            found[target.name] = (of_classes(control, target.name, rng),)
            continue
        if median is None:
            raise ValueError(f"need the training median to judge '{target.name}'")
        one = of_error(control, median, target.name, rng)
        found[target.name] = (one,) if target.unit == "mmHg" else (one, of_agreement(control, target.name, rng))
    return found


def of_error(control: Predictions, median: Predictions, target: str, rng: np.random.Generator) -> Control:
    """Return MAE of the control ÷ MAE of the training median on the same windows of the same seeds."""
    same = select(median, np.flatnonzero(np.isin(median.seed, np.unique(control.seed))))
    return Control(*mase(control, same, target, rng))


def of_agreement(control: Predictions, target: str, rng: np.random.Generator) -> Control:
    """Return the mean over subjects of the concordance; pooled where fewer than two subjects have one."""
    counts = intervals.draw(np.unique(control.subject).size, rng)
    graded = grades.grade(control, target, counts)
    own = graded.subjects.figures["ccc"]
    return _over_people(own, (graded.pooled["ccc"], graded.draws["ccc"]), counts, ("ccc", 0.0))


def of_classes(control: Predictions, target: str, rng: np.random.Generator) -> Control:
    """Return the mean over subjects of the balanced accuracy; pooled where fewer than two subjects have one."""
    counts = intervals.draw(np.unique(control.subject).size, rng)
    graded = class_grades.grade(control, target, counts)
    pooled = graded.pooled[class_grades.MAIN], graded.draws[class_grades.MAIN]
    own = graded.figures[class_grades.MAIN]
    alone = int(np.isfinite(own).sum()) >= intervals.FEWEST
    chance = graded.chance_over_subjects if alone else graded.chance_pooled
    return _over_people(own, pooled, counts, ("balanced_accuracy", chance))


def mase(model: Predictions, median: Predictions, target: str, rng: np.random.Generator) -> tuple[float, tuple[float, float]]:
    """Return MAE of the model ÷ MAE of the training median on the same windows (means over subjects), with its interval."""
    own, other = grades.grade(model, target).mae, grades.grade(median, target).mae
    if own.shape != other.shape:
        raise ValueError(f"need the same subjects on both sides, got {own.size} and {other.size}")
    return grades.ratio(own, other), intervals.ratio_ci95(own, other, intervals.draw(own.size, rng))


def facts(found: Mapping[str, tuple[Control, ...]]) -> dict[str, dict[str, Any]]:
    """Return the ``negative_control`` of ``scores.json``: figures and intervals by target."""
    return {name: {k: v for control in several for k, v in control.facts().items()} for name, several in found.items()}


def _over_people(own: Any, pooled: tuple[float, Any], counts: Any, what: tuple[Figure, float]) -> Control:
    known = np.isfinite(own)
    if known.sum() >= intervals.FEWEST:
        return Control(float(own[known].mean()), intervals.mean_ci95(own, counts), *what)
    return Control(pooled[0], intervals.samples_ci95(pooled[1], own.size), *what)
