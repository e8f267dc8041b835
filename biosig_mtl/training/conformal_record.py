"""What a model carries so that ``predict`` makes the intervals of the run: numbers in JSON, nothing to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from biosig_mtl.training.conformal import LEVEL, USUAL, Errors, Rule, Settings, fit_rule
from biosig_mtl.training.conformal_shift import Shift
from biosig_mtl.types import F64, DataError

FORMAT = 1


@dataclass(frozen=True)
class Intervals:
    """One rule a target, None for targets without intervals (classes), and the weights of a shift where there is one."""

    rules: tuple[Rule | None, ...]
    level: float = LEVEL
    shift: Shift | None = None

    def bounds(
        self, estimates: F64, sqi: ArrayLike, values: NDArray[np.floating] | None = None, level: float | None = None
    ) -> tuple[F64, F64]:
        """Return both ends (n, T) of the intervals.

        Parameters
        ----------
        estimates
            (n, T), in the unit of the targets.
        sqi
            Quality of the signal (n,).
        values
            Features (n, F), needed where weights are; without them each window weighs as a usual one.
        level
            Nominal share; None: that of the record.

        Targets without a rule have NaN.
        """
        low, high = np.full(estimates.shape, np.nan), np.full(estimates.shape, np.nan)
        own: ArrayLike = 1.0
        if self.shift is not None and values is not None:
            own = self.shift.ratio(shift_inputs(values, estimates, sqi))
        for j, rule in enumerate(self.rules):
            if rule is not None:
                low[:, j], high[:, j] = rule.bounds(estimates[:, j], sqi, level or self.level, own)
        return low, high

    def half_widths(self) -> list[float | None]:
        """Return the half-width at the level of the record for a window of usual quality and estimate, None without a rule."""
        return [None if rule is None else _usual(rule, self.level) for rule in self.rules]

    def to_json(self) -> dict[str, Any]:
        """Return plain values; `from_json` gives the same intervals back."""
        return {
            "format": FORMAT,
            "level": self.level,
            "rules": [None if rule is None else rule.to_json() for rule in self.rules],
            "shift": None if self.shift is None else self.shift.to_json(),
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Intervals:
        """Read what `to_json` wrote; raise `DataError` where it is something else."""
        try:
            if told["format"] != FORMAT:
                raise DataError(f"the model's intervals have format {told['format']}, this version reads {FORMAT}")
            rules = tuple(None if rule is None else Rule.from_json(rule) for rule in told["rules"])
            shift = None if told["shift"] is None else Shift.from_json(told["shift"])
            return cls(rules, float(told["level"]), shift)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise DataError(f"the model's intervals are not readable ({error!r}): copy the model folder again") from error


def fit_intervals(
    errors: Sequence[Errors | None], settings: Sequence[Settings] = (), shift: Shift | None = None, level: float = LEVEL
) -> Intervals:
    """Return the intervals of several targets, few enough numbers to be carried by a model; None has none (classes)."""
    chosen = settings or [USUAL] * len(errors)
    rules = [None if one is None else fit_rule(one, how) for one, how in zip(errors, chosen, strict=True)]
    return Intervals(tuple(None if rule is None else rule.thin() for rule in rules), level, shift)


def shift_inputs(values: NDArray[np.floating], estimates: F64, sqi: ArrayLike) -> F64:
    """Return what weights look at (n, F + T + 1): features, estimates and the quality of the signal."""
    quality = np.broadcast_to(np.asarray(sqi, np.float64), (len(estimates),))
    return np.column_stack([np.asarray(values, np.float64), estimates, quality])


def _usual(rule: Rule, level: float) -> float:
    said, sqi = (0.0, 1.0) if rule.scale is None else (float(rule.scale.centre[0]), float(rule.scale.centre[1]))
    low, high = rule.bounds(np.array([said]), np.array([sqi]), level)
    return float(high[0] - low[0]) / 2.0
