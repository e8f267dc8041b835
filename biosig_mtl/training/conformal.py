"""Intervals that hold for new people: conformal prediction in which the person, not the window, is the unit.

Errors on people whose networks never saw them say how wrong the networks are on the next person. The windows of one person err
together, so many windows of few people tell little. Source: Lee, Barber & Willett 2023, "Distribution-free inference with
hierarchical data", §3 (HCP); Dunn, Wasserman & Ramdas 2023 (JASA), "Distribution-free prediction sets for two-layer
hierarchical models". With K people of n_k windows and scores s, the width is the quantile of

    Σ_k Σ_i δ(s_ki) / ((K + 1) n_k) + δ(∞) / (K + 1):

each person weighs alike, and the new one has a share that may lie anywhere. Where people are exchangeable, at least the stated
share of the next person's windows is held, in the mean over people. It is no promise for each person or each class of pressure.

Deviations. The promise asks for one fixed network; ours are the networks of an ensemble, each with the errors of the people
that it did not learn from, around the mean of all (cross-conformal, Vovk 2015). Those people also stopped its training. A scale
is fitted on the same people, but the scores that are ranked come from a fit without the person. All three are small against
the spread between data sets, and the coverage on tested people, which nothing here has seen, stands in ``scores.json``.

Why no library: crepes 0.9 and MAPIE 1.6 rank windows as if each were a person; neither has people of unequal numbers of windows
with the (K + 1)-correction over people. With one window a person and no scale ours are crepes' intervals: a test compares them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from biosig_mtl.training.conformal_scale import Scale, alike, cross_fitted, fit_scale
from biosig_mtl.types import F64, I64

LEVEL = 0.9
LEVELS = (0.8, 0.9, 0.95)
# Of a ladder that is written down: each dropped knot widens by less than 1 / KNOTS of all people, and never narrows.
KNOTS = 400
# With fewer people a fitted scale is noise: with 29 it widened the intervals of three folds in five by more than a tenth.
FEWEST_FOR_SCALE = 60
# A fitted scale may cost this much mean width: it says which windows are the doubtful ones, one width for all does not.
MAY_COST = 1.05
_EDGE = 1e-9


@dataclass(frozen=True)
class Errors:
    """What networks said of people that they did not learn from, of one target: all (n,).

    ``truth`` and ``estimate`` are in the unit of the target, truth NaN where unknown; ``sqi`` in [0, 1]; ``network`` numbers
    which network said it; ``weight`` is a likelihood ratio of `biosig_mtl.training.conformal_shift`, 1 where nothing shifted.
    """

    subject: NDArray[np.str_]
    truth: F64
    estimate: F64
    sqi: F64
    network: I64
    weight: F64

    @classmethod
    def of(cls, subject: ArrayLike, truth: ArrayLike, estimate: ArrayLike, sqi: ArrayLike | None = None) -> Errors:
        """Return errors of one network, all of weight 1; of signals of unknown quality it is 1."""
        told = np.asarray(truth, np.float64)
        quality = np.ones(told.size) if sqi is None else np.asarray(sqi, np.float64)
        one = np.asarray(subject, dtype=np.str_)
        return cls(one, told, np.asarray(estimate, np.float64), quality, np.zeros(told.size, np.int64), np.ones(told.size))

    def at(self, rows: NDArray[Any]) -> Errors:
        """Return some of the windows."""
        parts = {name: getattr(self, name)[rows] for name in self.__dataclass_fields__}
        return Errors(**parts)

    def known(self) -> Errors:
        """Return the windows whose truth and estimate are known."""
        return self.at(np.isfinite(self.truth) & np.isfinite(self.estimate))

    @property
    def residual(self) -> F64:
        """Truth − estimate."""
        return self.truth - self.estimate

    @property
    def people(self) -> int:
        """Number of people."""
        return int(np.unique(self.subject).size)


# ------------------------------------------------------------------------------------------------------------------ ladder
@dataclass(frozen=True)
class Ladder:
    """Scores in rising order (m,) and the mass of all up to each (m,): unweighted, a person has the mass 1."""

    score: F64
    mass: F64

    @property
    def total(self) -> float:
        """Mass of all people."""
        return float(self.mass[-1]) if self.mass.size else 0.0

    def quantile(self, level: float, own: ArrayLike = 1.0) -> F64:
        """Return the score that holds a share ``level`` when ``own``, the mass of the new person, may lie anywhere.

        Infinite where the people are too few: K people can promise at most K / (K + 1).
        """
        need = level * (self.total + np.asarray(own, np.float64))
        return np.asarray(self._beyond[np.searchsorted(self.mass, need - _EDGE * (self.total + 1.0))])

    @cached_property
    def _beyond(self) -> F64:
        return np.append(self.score, np.inf)

    def thin(self, knots: int = KNOTS) -> Ladder:
        """Return a ladder of about so many knots, whose quantiles are never smaller."""
        if self.score.size <= knots:
            return self
        place = np.searchsorted(self.mass, np.linspace(0.0, self.total, knots + 1)[1:] - _EDGE)
        kept = np.unique(np.append(np.minimum(place, self.score.size - 1), self.score.size - 1))
        return Ladder(self.score[kept], self.mass[kept])


def ladder(score: ArrayLike, subject: ArrayLike, weight: ArrayLike | None = None) -> Ladder:
    """Return the ladder of scores (n,): a person's windows share the person's mass, each its ``weight``-th part.

    >>> ladder([3.0, 1.0, 2.0], ["a", "a", "b"]).quantile(0.5).item()
    2.0
    """
    values = np.asarray(score, np.float64)
    if not values.size:
        return Ladder(np.empty(0), np.empty(0))
    share = alike(np.asarray(subject)) * (1.0 if weight is None else np.asarray(weight, np.float64))
    order = np.argsort(values, kind="stable")
    return Ladder(values[order], np.cumsum(share[order]))


# -------------------------------------------------------------------------------------------------------------------- rule
@dataclass(frozen=True)
class Settings:
    """How intervals of one target are made.

    Parameters
    ----------
    scale
        ``none``: one width for all. ``fitted``: width follows a function of estimate and quality that was fitted to the errors.
        ``choose``: fitted where there are people enough and it makes their intervals no wider, but for `MAY_COST`.
    sides
        ``alike``: the same below and above. ``apart``: each side holds its own half of what may be missed (Romano, Patterson &
        Candès 2019, §3, with the estimate itself in place of quantiles).
    edges
        Inner edges of classes of the *estimate*, each with a width of its own (Mondrian, Vovk et al. 2005, §4.5). The class of
        the truth is not known when a width is needed.
    """

    scale: Literal["none", "fitted", "choose"] = "choose"
    sides: Literal["alike", "apart"] = "alike"
    edges: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if self.scale not in {"none", "fitted", "choose"}:
            raise ValueError(f"need scale none, fitted or choose, got {self.scale}")
        if self.sides not in {"alike", "apart"}:
            raise ValueError(f"need sides alike or apart, got {self.sides}")
        if list(self.edges) != sorted(set(self.edges)):
            raise ValueError(f"need edges that rise, got {self.edges}")


USUAL = Settings()
PLAIN = Settings(scale="none")


@dataclass(frozen=True)
class Rule:
    """How wide the intervals of one target are.

    ``below`` and ``above`` have a ladder for each class of the estimate and last one for all people; ``above`` is empty where
    both sides are alike. ``people`` is the number of people behind it, ``effective`` what they are worth under weights.
    """

    below: tuple[Ladder, ...]
    above: tuple[Ladder, ...] = ()
    edges: tuple[float, ...] = ()
    scale: Scale | None = None
    people: int = 0
    effective: float = field(default=math.nan)

    def bounds(self, estimate: ArrayLike, sqi: ArrayLike, level: float = LEVEL, own: ArrayLike = 1.0) -> tuple[F64, F64]:
        """Return both ends (n,) for estimates (n,) in the unit of the target.

        Where the people are too few for the level, the largest error that was seen stands in: see `promised`. A class of the
        estimate with too few people uses the width of all.
        """
        if not 0.0 < level < 1.0:
            raise ValueError(f"need 0 < level < 1, got {level}")
        said = np.asarray(estimate, np.float64)
        mass, quality = (np.broadcast_to(np.asarray(each, np.float64), said.shape) for each in (own, sqi))
        scale = np.ones(said.shape) if self.scale is None else self.scale.of(said, quality)
        below = self._widths(self.below, said, level if not self.above else 0.5 + 0.5 * level, mass)
        above = self._widths(self.above, said, 0.5 + 0.5 * level, mass) if self.above else below
        return said - scale * below, said + scale * above

    def _widths(self, ladders: Sequence[Ladder], said: F64, level: float, own: F64) -> F64:
        everyone = ladders[-1]
        wide = np.minimum(everyone.quantile(level, own), everyone.score[-1])
        place = np.digitize(said, self.edges) if self.edges else said
        for number, own_class in enumerate(ladders[:-1]):
            width = own_class.quantile(level, own)
            wide = np.where((place == number) & np.isfinite(width), width, wide)
        return np.asarray(wide)

    def promised(self, level: float = LEVEL) -> float:
        """Return the share of new people's windows that is promised: less than ``level`` where people are too few."""
        side = level if not self.above else 0.5 + 0.5 * level
        most = self.below[-1].total / (self.below[-1].total + 1.0)
        return level if side <= most + _EDGE else (most if not self.above else 2.0 * most - 1.0)

    def thin(self) -> Rule:
        """Return a rule of at most about `KNOTS` scores a ladder, whose intervals are a little wider or the same."""
        below, above = (tuple(one.thin() for one in side) for side in (self.below, self.above))
        return replace(self, below=below, above=above)

    def to_json(self) -> dict[str, Any]:
        """Return plain values; `from_json` gives the same rule back."""
        sides = {"below": self.below, "above": self.above}
        told: dict[str, Any] = {k: [[one.score.tolist(), one.mass.tolist()] for one in side] for k, side in sides.items()}
        effective = None if math.isnan(self.effective) else self.effective
        scale = None if self.scale is None else self.scale.to_json()
        return told | {"edges": list(self.edges), "scale": scale, "people": self.people, "effective": effective}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Rule:
        """Read what `to_json` wrote; raise `ValueError`, `KeyError` or `TypeError` for anything else."""
        sides = [tuple(Ladder(*(np.array(part, np.float64) for part in one)) for one in told[k]) for k in ("below", "above")]
        edges = tuple(float(edge) for edge in told["edges"])
        wanted = len(edges) + 2 if edges else 1
        if (
            len(sides[0]) != wanted
            or len(sides[1]) not in {0, wanted}
            or any(not side[-1].score.size for side in sides if side)
        ):
            raise ValueError(f"need {wanted} ladders a side, the last one with scores, got {len(sides[0])} and {len(sides[1])}")
        if any(one.score.shape != one.mass.shape or one.score.ndim != 1 for side in sides for one in side):
            raise ValueError("need as many masses as scores")
        scale = None if told["scale"] is None else Scale.from_json(told["scale"])
        effective = math.nan if told["effective"] is None else float(told["effective"])
        return cls(sides[0], sides[1], edges, scale, int(told["people"]), effective)


def fit_rule(errors: Errors, settings: Settings = USUAL) -> Rule | None:
    """Return how wide intervals have to be, None where no truth is known."""
    held = errors.known()
    if not held.truth.size:
        return None
    scores, scale = scaled(held, settings)
    sides = [np.abs(scores)] if settings.sides == "alike" else [-scores, scores]
    ladders = [_by_class(side, held, settings.edges) for side in sides]
    return Rule(
        below=ladders[0],
        above=ladders[1] if len(ladders) > 1 else (),
        edges=settings.edges,
        scale=scale,
        people=held.people,
        effective=effective_people(held.subject, held.weight),
    )


def _by_class(score: F64, held: Errors, edges: tuple[float, ...]) -> tuple[Ladder, ...]:
    place = np.digitize(held.estimate, edges)
    masks = [place == number for number in range(len(edges) + 1)] if edges else []
    return tuple(ladder(score[m], held.subject[m], held.weight[m]) for m in [*masks, np.ones(score.size, np.bool_)])


def scaled(held: Errors, settings: Settings) -> tuple[F64, Scale | None]:
    """Return signed scores (n,) of known errors and the scale they are in, None for the unit of the target."""
    few = held.people < FEWEST_FOR_SCALE
    if settings.scale == "none" or (settings.scale == "choose" and few) or held.people < 2:
        return held.residual, None
    each = cross_fitted(held.subject, held.estimate, held.sqi, held.residual)
    scores = held.residual / each
    if settings.scale == "choose":
        plain, fitted = (ladder(np.abs(s), held.subject, held.weight).quantile(LEVEL) for s in (held.residual, scores))
        if not fitted * _mean(each, held) <= MAY_COST * plain:
            return held.residual, None
    return scores, fit_scale(held.subject, held.estimate, held.sqi, held.residual)


def _mean(values: F64, held: Errors) -> float:
    return float(np.average(values, weights=held.weight * alike(held.subject)))


def effective_people(subject: ArrayLike, weight: F64) -> float:
    """Return (Σ W)² / Σ W² of people's weights W, each the mean over windows: as many people of equal weight tell as much."""
    _, code, count = np.unique(np.asarray(subject), return_inverse=True, return_counts=True)
    mass = np.bincount(code, weight) / count
    return float(mass.sum() ** 2 / np.square(mass).sum())
