"""Intervals of a run: for its tested windows, for the model that it leaves, and what they turn out to hold.

Tested windows get theirs from the validation people of their own fold, whom each network did not learn from. The model gets its
rules from the validation people of all folds, in the same way. No truth of a tested window is used for either. In a transfer
the weights come from the inputs of the tested people, without labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from biosig_mtl.evaluation import coverage, selective
from biosig_mtl.experiment.members import MODEL, Result
from biosig_mtl.tasks import within_scale
from biosig_mtl.training.conformal import LEVEL, LEVELS, PLAIN, USUAL, Errors, Rule, Settings, fit_rule
from biosig_mtl.training.conformal_plus import cv_plus
from biosig_mtl.training.conformal_record import Intervals, fit_intervals, shift_inputs
from biosig_mtl.training.conformal_shift import COIN, Shift, fit_shift
from biosig_mtl.types import F64, I64, Bool, Fold, Predictions, WindowTable

# Of the tested windows for which CV+ is computed beside the run's own; it is not what a model carries.
MOST_PLUS = 20_000
Ends = tuple[F64, F64]


@dataclass(frozen=True)
class Bounded:
    """Intervals for the rows of a run's predictions, both ends (n, T) each.

    ``at`` has them by level, ``other`` by the name of another way to make them, at `LEVEL`. ``spread`` (n, T) is the standard
    deviation of the networks' answers, NaN for a single one. ``folds`` tells what each fold's intervals were made of.
    """

    at: Mapping[float, Ends]
    other: Mapping[str, Ends]
    spread: F64
    folds: tuple[_Fold, ...]

    @property
    def lower(self) -> F64:
        """Lower ends at `LEVEL`."""
        return self.at[LEVEL][0]

    @property
    def upper(self) -> F64:
        """Upper ends at `LEVEL`."""
        return self.at[LEVEL][1]


@dataclass(frozen=True)
class _Fold:
    rules: tuple[Rule | None, ...]
    shift: Shift | None


# ------------------------------------------------------------------------------------------------------------------ making
def bound(table: WindowTable, folds: Sequence[Fold], results: Sequence[Result], model: Predictions) -> Bounded:
    """Return intervals for the tested windows of a run.

    Parameters
    ----------
    table
        All windows.
    folds, results
        Of the run; only its own networks' results are used, not those of controls.
    model
        Its predictions, for which there are to be intervals.
    """
    shape = model.y_pred.shape
    at = {level: (np.full(shape, np.nan), np.full(shape, np.nan)) for level in LEVELS}
    other: dict[str, Ends] = {}
    spread, told = np.full(shape, np.nan), []
    for fold in folds:
        own = [
            r for r in results if r.job.variant == MODEL and (r.job.fold.seed, r.job.fold.number) == (fold.seed, fold.number)
        ]
        mine = (model.seed == fold.seed) & (model.fold == fold.number)
        errors = errors_of(table, own)
        if len(own) > 1:
            spread[mine] = np.std([r.test for r in own], axis=0, ddof=1)
        shift = _shift(table, own, fold.test, model.y_pred[mine])
        new = _New(table, fold.test, model.y_pred[mine], shift)
        weighed = _weighed(table, own, errors, shift)
        rules = tuple(None if one is None else fit_rule(one, _how(shift)) for one in weighed)
        for level in LEVELS:
            _put(at[level], mine, new.ends(rules, level))
        for name, ends in _others(new, errors, own, plus=len(model.row) <= MOST_PLUS).items():
            _put(other.setdefault(name, (np.full(shape, np.nan), np.full(shape, np.nan))), mine, ends)
        told.append(_Fold(rules, shift))
    return Bounded(at, other, spread, tuple(told))


def record(table: WindowTable, folds: Sequence[Fold], results: Sequence[Result]) -> Intervals:
    """Return the intervals that a model carries: from the validation people of all folds, each person alike."""
    own = [r for r in results if r.job.variant == MODEL]
    errors = errors_of(table, own)
    tested = np.unique(np.concatenate([fold.test for fold in folds]))
    # Where a network's answers for the tested windows were not kept, there is nothing to weigh by.
    told = all(len(r.test) == tested.size for r in own)
    shift = _shift(table, own, tested, np.mean([r.test for r in own], axis=0)) if told else None
    return fit_intervals(_weighed(table, own, errors, shift), [_how(shift)] * len(errors), shift)


def _how(shift: Shift | None) -> Settings:
    """Return how intervals are made. Other people: which of their windows are doubtful was learned from people unlike them."""
    return USUAL if shift is None else PLAIN


def carried(intervals: Intervals) -> dict[str, Any]:
    """Return what a model folder's ``extra`` holds of its intervals; ``half_width`` is for readers of one number."""
    return {"half_width": intervals.half_widths(), "interval_level": intervals.level, "intervals": intervals.to_json()}


def errors_of(table: WindowTable, results: Sequence[Result]) -> list[Errors | None]:
    """Return what networks said of their validation people, by target; None for targets with classes."""
    rows = np.concatenate([r.validation_rows for r in results])
    said = within_scale(table.target_names, np.concatenate([r.validation for r in results]))
    network = np.repeat(np.arange(len(results)), [r.validation_rows.size for r in results])
    sqi = _sqi(table, rows)
    truth, one = table.targets[rows].astype(np.float64), np.ones(rows.size)
    return [
        None if head.classes else Errors(table.subject[rows], truth[:, j], said[:, j], sqi, network, one)
        for j, head in enumerate(table.head)
    ]


def _sqi(table: WindowTable, rows: I64) -> F64:
    return np.asarray(table.index["sqi"].to_numpy(np.float64)[rows] if "sqi" in table.index else np.ones(rows.size))


def _shift(table: WindowTable, results: Sequence[Result], tested: I64, said: F64) -> Shift | None:
    """Return the weights of a transfer, None where both sides are of one data set or one side is a single person."""
    rows = np.concatenate([r.validation_rows for r in results])
    sides = table.subject[rows], table.subject[tested]
    if "transfer_test" not in table.index or min(np.unique(side).size for side in sides) < 2:
        return None
    known = shift_inputs(table.values[rows], np.concatenate([r.validation for r in results]), _sqi(table, rows))
    return fit_shift(known, sides[0], shift_inputs(table.values[tested], said, _sqi(table, tested)), sides[1])


def _weighed(
    table: WindowTable, results: Sequence[Result], errors: Sequence[Errors | None], shift: Shift | None
) -> list[Errors | None]:
    if shift is None:
        return list(errors)
    rows = np.concatenate([r.validation_rows for r in results])
    given = shift_inputs(table.values[rows], np.concatenate([r.validation for r in results]), _sqi(table, rows))
    weight = shift.ratio(given)
    return [None if one is None else replace(one, weight=weight) for one in errors]


class _New:
    """Tested windows of a fold, for which intervals are asked in several ways."""

    def __init__(self, table: WindowTable, rows: I64, said: F64, shift: Shift | None) -> None:
        self.names, self.said, self.sqi = table.target_names, said, _sqi(table, rows)
        self.values = table.values[rows]
        self.shift = shift

    def ends(self, rules: tuple[Rule | None, ...], level: float = LEVEL, *, weighed: bool = True) -> Ends:
        made = Intervals(rules, level, self.shift if weighed else None)
        low, high = made.bounds(self.said, self.sqi, self.values)
        return within_scale(self.names, low), within_scale(self.names, high)


def _others(new: _New, errors: Sequence[Errors | None], results: Sequence[Result], *, plus: bool) -> dict[str, Ends]:
    """Return the intervals of other ways, all unweighted."""

    def made(settings: Mapping[str, Settings] | Settings) -> Ends:
        usual = [settings if isinstance(settings, Settings) else settings.get(name, PLAIN) for name in new.names]
        rules = tuple(None if one is None else fit_rule(one, how) for one, how in zip(errors, usual, strict=True))
        return new.ends(rules, weighed=False)

    found = {
        "one width": made(PLAIN),
        "fitted width": made(Settings(scale="fitted")),
        "two sides apart": made(Settings(scale="none", sides="apart")),
    }
    if any(name in coverage.EDGES for name in new.names):
        classes = {name: Settings(scale="none", edges=edges) for name, edges in coverage.EDGES.items()}
        found["by class of the estimate"] = made(classes)
    if plus and len(results) > 1:
        found["CV+"] = _plus(new, errors, np.stack([r.test for r in results]))
    return found


def _plus(new: _New, errors: Sequence[Errors | None], said: F64) -> Ends:
    low, high = np.full(new.said.shape, np.nan), np.full(new.said.shape, np.nan)
    for j, one in enumerate(errors):
        if one is not None and np.isfinite(one.truth).any():
            low[:, j], high[:, j] = cv_plus(one, said[:, :, j], new.sqi)
    return within_scale(new.names, low), within_scale(new.names, high)


def _put(whole: Ends, mine: Bool, part: Ends) -> None:
    for side, values in zip(whole, part, strict=True):
        side[mine] = values


# ------------------------------------------------------------------------------------------------------------------- facts
def facts(table: WindowTable, model: Predictions, bounded: Bounded) -> dict[str, dict[str, Any]]:
    """Return the ``intervals`` of ``scores.json``, by target that is answered by a number.

    Keys: those of `biosig_mtl.evaluation.coverage.figures` at `LEVEL`, ``method`` in words, ``calibration_people`` (fewest of a
    fold), ``promised`` (less than the level where they are too few), ``levels``, ``people``, ``classes``, ``quality``,
    ``folds``, ``other`` (other ways, for comparison), ``shift`` for a transfer, ``selective`` (refuse when unsure).
    """
    sqi = _sqi(table, model.row)
    told = {}
    for j, name in enumerate(model.target_names):
        if model.head[j].classes:
            continue
        rng = np.random.default_rng(0)  # of its own, so that other figures of a run do not depend on these

        def held(ends: Ends, column: int = j) -> coverage.Bounds:
            lower, upper = (side[:, column] for side in ends)
            return coverage.Bounds(model.subject, model.y_true[:, column], lower, upper, sqi, model.fold, model.seed)

        usual = held(bounded.at[LEVEL])
        told[name] = {
            "level": LEVEL,
            **coverage.figures(usual, rng),
            **_method(bounded, j),
            "levels": [{"level": level, **coverage.figures(held(ends), rng)} for level, ends in bounded.at.items()],
            "people": coverage.people(usual),
            "classes": coverage.by_class(usual, name, rng),
            "quality": coverage.by_quality(usual, rng),
            "folds": coverage.by_fold(usual, rng),
            "other": [{"method": other, **coverage.figures(held(ends), rng)} for other, ends in bounded.other.items()],
            "selective": _selective(model, bounded, sqi, j),
        }
    return told


def _method(bounded: Bounded, j: int) -> dict[str, Any]:
    """Return how the intervals of a target were made."""
    rules = [rule for rule in (fold.rules[j] for fold in bounded.folds) if rule is not None]
    shifts = [fold.shift for fold in bounded.folds if fold.shift is not None]
    if not rules:
        return {"method": "none: no truth is known", "calibration_people": 0, "promised": np.nan}
    fitted = sum(rule.scale is not None for rule in rules)
    width = "one width" if not fitted else f"width by estimate and signal quality in {fitted} of {len(rules)} folds"
    words = f"split conformal by person, {width}"
    told: dict[str, Any] = {
        "method": f"{words}, weighted to the tested people" if shifts else words,
        "calibration_people": min(rule.people for rule in rules),
        "promised": min(rule.promised(LEVEL) for rule in rules),
    }
    if shifts:
        told["shift"] = {
            "effective_people": min(rule.effective for rule in rules),
            "log_loss": float(np.mean([shift.log_loss for shift in shifts])),
            "log_loss_of_a_coin": COIN,
        }
    return told


def _selective(model: Predictions, bounded: Bounded, sqi: F64, j: int) -> dict[str, Any]:
    """Return how far the width of the interval, the disagreement of networks and the signal quality rank the errors."""
    error = np.abs(model.y_pred[:, j] - model.y_true[:, j])
    unsure = {"interval width": (bounded.upper - bounded.lower)[:, j]}
    if np.isfinite(bounded.spread[:, j]).any():
        unsure["disagreement of networks"] = bounded.spread[:, j]
    if np.isfinite(sqi).any() and np.nanmax(sqi) > np.nanmin(sqi):
        unsure["signal quality"] = -sqi
    return selective.facts(error, unsure, model.subject, np.random.default_rng(0))
