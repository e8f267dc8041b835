"""From windows to estimates: the networks of a run, or what stands in for them, on the windows of one stream or of many."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast

import numpy as np

from biosig_mtl.inference.predictor import Predictor
from biosig_mtl.inference.stream_words import Estimate, StreamSettings
from biosig_mtl.training import checkpoint
from biosig_mtl.training.prediction import Predicted
from biosig_mtl.types import BiosigError, Features, InputSpec, RecipeError, Windows, WindowTable

# What steps, features and networks may raise on signals that nobody foresaw: windows are refused, the stream goes on.
FAILURES = (
    BiosigError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    ArithmeticError,
    RuntimeError,
    AttributeError,
    AssertionError,
)
_OF = "networks_of"


class Answers(Protocol):
    """What answers tables of windows: the networks of a run, or a file that was made of them."""

    @property
    def spec(self) -> InputSpec:
        """What it takes and gives."""

    def predict_full(self, table: WindowTable, without: tuple[str, ...] = ()) -> Predicted:
        """Return estimates on every window."""


@dataclass(frozen=True)
class Due:
    """Windows of one stream that wait for their estimates, and those that were refused.

    ``shift_s`` is what their times lack to seconds of the stream; ``spent_s`` what was computed for them so far.
    """

    windows: Windows | None
    features: Features | None
    refused: tuple[Estimate, ...]
    shift_s: float
    spent_s: float
    settled: bool

    def __len__(self) -> int:
        """Return the number of windows that wait."""
        return 0 if self.windows is None else len(self.windows)


@dataclass(frozen=True)
class Panel:
    """Who answers: ``settled`` estimates by one predictor, provisional ones by a quicker one; ``without`` as in `Predictor`.

    Streams that share a panel are answered together by `estimates`.
    """

    settled: Predictor
    quick: Predictor
    without: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, predictor: Predictor, settings: StreamSettings, answers: Answers | None = None, without: tuple[str, ...] = ()
    ) -> Panel:
        """Choose the networks as the settings say; ``answers`` stands in for all of them."""
        whole = _some(predictor, settings.networks, answers)
        return cls(whole, _some(whole, settings.quick_networks, answers), without)

    @property
    def remarks(self) -> list[str]:
        """What is to be said of estimates that not all networks gave."""
        return [*self._remark("settled", self.settled), *self._remark("provisional", self.quick)]

    def _remark(self, what: str, predictor: Predictor) -> list[str]:
        whole = predictor.ensemble.extra.get(_OF) if isinstance(predictor.ensemble, checkpoint.Ensemble) else None
        if whole is None:
            return []
        here = len(predictor.ensemble.members)
        return [f"{what} estimates come from {here} of the run's {whole} networks; the interval is that of all"]

    def estimates(self, due: Sequence[Due]) -> list[list[Estimate]]:
        """Return the estimates on the windows of every item, in order of time, with those that were refused.

        Windows go through the networks together. Where that fails each item is tried by itself, and what fails then is refused.
        """
        found: list[list[Estimate]] = [[] for _ in due]
        for predictor, settled in ((self.settled, True), (self.quick, False)):
            mine = [k for k, item in enumerate(due) if item.settled == settled]
            for k, made in zip(mine, self._answered(predictor, [due[k] for k in mine]), strict=True):
                found[k] = sorted([*made, *due[k].refused], key=lambda estimate: estimate.onset_s)
        return found

    def _answered(self, predictor: Predictor, due: Sequence[Due]) -> list[list[Estimate]]:
        try:
            return _answered(predictor, due, self.without)
        except FAILURES as error:
            if len(due) > 1:
                return [self._answered(predictor, [item])[0] for item in due]
            return [_refused(due[0], error)]


def _some(predictor: Predictor, count: int | None, answers: Answers | None) -> Predictor:
    """Return the predictor with only so many of its networks, or with what stands in for them.

    What was usual for the person is added by the stream, which remembers it: here the windows are taken as they are.
    """
    if answers is not None:
        return replace(predictor, ensemble=cast("checkpoint.Ensemble", answers), per_subject="none")
    ensemble = predictor.ensemble
    size = len(ensemble.members)
    if count is not None and not isinstance(ensemble, checkpoint.Ensemble):
        raise RecipeError("networks that answer for one person answer together: leave the number of networks away")
    if count is not None and count < size:
        # They lie seed by seed and fold by fold: an even choice takes from as many as it can.
        members = tuple(ensemble.members[k] for k in ((2 * np.arange(count) + 1) * size // (2 * count)).tolist())
        ensemble = replace(ensemble, members=members, extra={_OF: size, **ensemble.extra})
    return replace(predictor, ensemble=ensemble, per_subject="none")


def _answered(predictor: Predictor, due: Sequence[Due], without: tuple[str, ...]) -> list[list[Estimate]]:
    parts = [(d.windows, d.features) for d in due if d.windows is not None and d.features is not None and len(d)]
    columns = {str(name): column.to_numpy() for name, column in predictor.frame(parts, without).items()} if parts else {}
    ends = np.cumsum([len(item) for item in due]).tolist()
    spans = zip(due, [0, *ends], ends, strict=False)
    return [[_estimate(predictor, columns, row, item) for row in range(first, last)] for item, first, last in spans]


def _refused(item: Due, error: Exception) -> list[Estimate]:
    if item.windows is None:  # they were refused before
        return []
    reason = f"unexpected {type(error).__name__}: {' '.join(str(error).split())}"
    length_s = item.windows.signal.shape[2] / item.windows.fs
    onsets = (item.windows.onset_s + item.shift_s).tolist()
    return [Estimate(at, at + length_s, reason=reason, settled=item.settled) for at in onsets]


def _estimate(predictor: Predictor, columns: dict[str, Any], row: int, item: Due) -> Estimate:
    values: dict[str, float | str] = {}
    lower, upper, shares = {}, {}, {}
    for name, head in zip(predictor.targets, predictor.ensemble.spec.head, strict=True):
        value = columns[name][row]
        if head.classes:
            values[name] = str(value)
            shares[name] = tuple(float(columns[f"{name}_p{k}"][row]) for k in range(head.classes))
            continue
        values[name] = float(value)
        low, high = float(columns[f"{name}_lower"][row]), float(columns[f"{name}_upper"][row])
        if math.isfinite(low) or math.isfinite(high):
            lower[name], upper[name] = low, high
    onset_s, end_s = float(columns["onset_s"][row]) + item.shift_s, float(columns["end_s"][row]) + item.shift_s
    return Estimate(onset_s, end_s, math.nan, values, lower, upper, shares, float(columns["sqi"][row]), "", item.settled)
