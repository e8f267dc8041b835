"""Fine-tuning of the last split: merge and heads of the network take a step or two towards the person's readings.

All that comes before (encoder, split) stays as it is, so that tuning needs little memory: only the last tensors have gradients,
one for each reading, and nothing is kept between steps. Source of the idea: sparse update of a memory-chosen subset of layers
with an occasional reference sensor (Lin et al., "On-Device Training Under 256KB Memory", NeurIPS 2022). Ours: what is learned
from, K cuff readings; which tensors, from the answer backwards (`biosig_mtl.training.calibration.tail.PARTS`); the step.

    answer = hold + share · (tuned estimate − hold),   hold = the mean reading

K readings leave nothing to stop early by: damping and number of steps, and the share, are chosen on training people, each
answered by networks that did not learn from them. A person's networks are all pulled by the same residual (reading − estimate
of all), so that with share 1 readings which are as estimated change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from biosig_mtl.training.calibration.courses import check_people, lay, weights
from biosig_mtl.training.calibration.known import Calibrator, Kept, Person, Shown, View
from biosig_mtl.training.calibration.looking import stem_of, views_for
from biosig_mtl.training.calibration.robust import least_absolute
from biosig_mtl.training.calibration.tail import PARTS, Tail
from biosig_mtl.training.calibration.words import number
from biosig_mtl.types import F64, I64, DataError

DAMPING = (0.1, 0.3, 1.0)  # of a step, as a share of the mean square of a gradient
STEPS = (0, 1, 2)
HALVINGS = 4  # of a step that would lead uphill
MOST_PEOPLE, MOST_QUERIES = 40, 8  # that steps are chosen on: each costs a tuning for every damping
Own = Mapping[str, Mapping[str, Tensor]]
"""A person's tensors: name of the network → name of the tensor → tensor."""


@dataclass(frozen=True, eq=False)
class LastSplit:
    """So many ``steps`` with a ``damping`` on the first ``parts`` of `PARTS`; ``share`` (T,) of the outcome is believed."""

    damping: float
    steps: int
    share: F64
    parts: int = len(PARTS)

    def within(self, parts: int) -> LastSplit:
        """Return the same on fewer parts."""
        return replace(self, parts=min(parts, self.parts))

    def answer(self, shown: Shown, person: Person) -> F64:
        """Return answers (Q, T); see `Calibrator.answer`."""
        return self.tell(shown, person, self.tune(shown, person))

    def tune(self, shown: Shown, person: Person) -> Own:
        """Return a person's own tensors; networks stay as they are."""
        found = {}
        for view in views_for(shown, person):
            tail = Tail.of(view, stem_of(view, shown))
            found[view.member.name] = _tuned(tail, _pull(shown, person.anchors, view), self)[-1]
        return found

    def tell(self, shown: Shown, person: Person, own: Own) -> F64:
        """Return answers (Q, T) from a person's own tensors; raise `DataError` where they are of other networks."""
        views = [view for view in shown.views if view.member.name in own]
        if not views:
            raise DataError("none of these networks was tuned for the person: personalise with this run")
        moved = [_change(Tail.of(v, stem_of(v, shown)), person.queries, own[v.member.name]) for v in views]
        laid = lay(shown, [person])
        return laid.finish(laid.hold + self.share * (laid.estimate + np.mean(moved, axis=0) - laid.hold))

    def kept(self) -> Kept:
        """Return damping, steps and share."""
        words = {"steps": self.steps, "parts": self.parts}
        return Kept(words, {"damping": np.array([self.damping]), "share": self.share})


@dataclass(frozen=True)
class LastSplitMethod:
    """Chooses damping, steps and share of `LastSplit`, by the mean over targets of the error as a share of that of holding."""

    name: str = "last_split"
    needs: tuple[str, ...] = ("views",)
    parts: int = len(PARTS)

    def fit(self, shown: Shown, people: Sequence[Person], rng: np.random.Generator) -> Calibrator:
        """Choose steps and share; see `Method.fit`."""
        check_people(people)
        some = [_fewer(people[i]) for i in sorted(rng.permutation(len(people))[:MOST_PEOPLE])]
        laid = lay(shown, some)
        weight = weights(laid, some)
        away = shown.truth[laid.query] - laid.hold
        known = np.isfinite(away) & laid.told
        weighed = weight[:, None] * known
        away = np.where(known, away, 0.0)
        held = np.maximum((weighed * np.abs(away)).sum(axis=0), 1e-12)
        best = (np.inf, LastSplit(DAMPING[-1], 0, np.zeros(len(shown.targets)), self.parts))
        for damping in DAMPING:
            way = np.concatenate([self._moved(shown, person, damping) for person in some], axis=1)
            for steps, moved in zip(STEPS, way, strict=True):
                change = laid.estimate + moved - laid.hold
                share = np.array([_slope(change[:, t], away[:, t], weighed[:, t]) for t in range(change.shape[1])])
                error = float(((weighed * np.abs(away - share * change)).sum(axis=0) / held).mean())
                if error < best[0]:
                    best = (error, LastSplit(damping, steps, share, self.parts))
        return best[1]

    def _moved(self, shown: Shown, person: Person, damping: float) -> F64:
        """Return what tuning changes (S, Q, T) after each of `STEPS`."""
        settings = LastSplit(damping, STEPS[-1], np.ones(1), self.parts)
        found = []
        for view in views_for(shown, person):
            tail = Tail.of(view, stem_of(view, shown))
            way = _tuned(tail, _pull(shown, person.anchors, view), settings)
            found.append([_change(tail, person.queries, way[step]) for step in STEPS])
        return np.asarray(np.mean(found, axis=0))

    def restore(self, kept: Kept) -> Calibrator:
        """Make the calibrator again; see `Method.restore`."""
        steps, parts = kept.words.get("steps"), kept.words.get("parts")
        if not isinstance(steps, int) or not isinstance(parts, int) or not (0 <= steps <= 100 and 1 <= parts <= len(PARTS)):
            raise DataError("a kept calibrator does not tell its steps: fit it again with calibrate")
        return LastSplit(float(number(kept, "damping", 1)[0]), steps, number(kept, "share", 1), parts)


def _fewer(person: Person) -> Person:
    """Return the person with a few of the queries, evenly spread."""
    even = np.linspace(0, person.queries.size - 1, min(MOST_QUERIES, person.queries.size)).astype(np.int64)
    return Person(person.name, person.anchors, person.queries[even])


def _slope(change: F64, away: F64, weight: F64) -> float:
    known = weight > 0
    return float(np.clip(least_absolute(change[known, None], away[known], weight[known])[0], 0.0, 1.0))


@dataclass(frozen=True, eq=False)
class _Pull:
    """Rows (K,), which of their targets are told (K, T), and by how much those estimates are to move (R,), in scaled units."""

    rows: Tensor
    told: Tensor
    by: Tensor


def _pull(shown: Shown, anchors: I64, view: View) -> _Pull:
    wrong = (shown.truth[anchors] - shown.estimate[anchors]) / view.member.scaler.target_scale
    told = np.isfinite(wrong)
    return _Pull(torch.from_numpy(np.array(anchors, order="C")), torch.from_numpy(told), torch.from_numpy(wrong[told]).float())


def _tuned(tail: Tail, pull: _Pull, settings: LastSplit) -> list[dict[str, Tensor]]:
    """Return the tensors before the first step and after each.

    A step is the least change of the tensors that takes the estimates at the readings towards their goal: with one gradient a
    told reading, J (R, P), and what is missing, e (R,),

        Δθ = Jᵀ (J Jᵀ + damping · m I)⁻¹ e,   m = trace(J Jᵀ) / R

    (Levenberg, Quarterly of Applied Mathematics 2, 1944, in the space of readings: R ≤ K · T numbers instead of P). A step that
    would not make the error at the readings less is halved until it does, and not taken at all where that does not help.
    """
    own = tail.tensors(settings.parts)
    way = [own]
    with torch.no_grad():
        goal = tail.estimate(pull.rows, own)[pull.told] + pull.by

    def missing(tensors: Mapping[str, Tensor]) -> Tensor:
        return goal - tail.estimate(pull.rows, tensors)[pull.told]

    for _ in range(settings.steps if len(goal) else 0):
        step, before = _step(own, missing, settings.damping)
        with torch.no_grad():
            own = _downhill(own, step, missing, before)
        way.append(own)
    return way + [own] * (settings.steps + 1 - len(way))


def _step(
    own: Mapping[str, Tensor], missing: Callable[[Mapping[str, Tensor]], Tensor], damping: float
) -> tuple[dict[str, Tensor], float]:
    """Return the change of every tensor, and the squared error that it starts from."""
    leaves = {name: x.clone().requires_grad_() for name, x in own.items()}
    with torch.enable_grad():
        away = missing(leaves)
        each = torch.autograd.grad(away, list(leaves.values()), torch.eye(len(away)), allow_unused=True, is_grads_batched=True)
    # What is missing falls as estimates rise: the sign turns.
    slopes = {name: -g for name, g in zip(leaves, each, strict=True) if g is not None}
    wide = torch.cat([g.reshape(len(away), -1) for g in slopes.values()], dim=1)
    gram = (wide @ wide.T).double()
    mean = float(gram.diagonal().mean())
    error = away.detach()
    pull = torch.linalg.solve(gram + max(damping * mean, 1e-12) * torch.eye(len(away), dtype=torch.float64), error.double())
    step = {name: torch.tensordot(pull.to(g.dtype), g, dims=1) for name, g in slopes.items()}
    return step, float(error.square().sum())


def _downhill(
    own: dict[str, Tensor], step: Mapping[str, Tensor], missing: Callable[[Mapping[str, Tensor]], Tensor], before: float
) -> dict[str, Tensor]:
    for halved in range(HALVINGS + 1):
        moved = {name: x + step[name] / 2**halved if name in step else x for name, x in own.items()}
        if float(missing(moved).square().sum()) < before:
            return moved
    return own


def _change(tail: Tail, rows: I64, own: Mapping[str, Tensor]) -> F64:
    """Return what a person's tensors change (Q, T), in the unit of the targets."""
    asked = torch.from_numpy(np.array(rows, dtype=np.int64, order="C"))
    with torch.no_grad():
        moved = tail.estimate(asked, own) - tail.estimate(asked, {})
    return np.asarray(moved.double().numpy() * tail.view.member.scaler.target_scale)
