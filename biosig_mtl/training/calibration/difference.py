"""Difference from calibration: a small Siamese network sees a query beside the person's readings and corrects `shrink`.

Both windows, the query and the mean of the anchors, go through the same map φ of the features; a second layer sees φ(query) −
φ(anchors), φ(query) and what is told (readings, estimates, same stay or not, how long ago), and answers what `shrink` is wrong
by. The idea is that of Schlesinger et al. ("Blood pressure estimation from PPG signals using convolutional neural networks and
Siamese network", ICASSP 2020: a shared encoder, the difference of embeddings, the change from a calibration window). Ours: it
works on features, is taught a residual, on many pairs of every training person, and is believed by a share (0 to 1) that inner
folds of people decide, so that a network that learned nothing changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from biosig_mtl.training.calibration.courses import Laid, check_people, lay, spread, weights
from biosig_mtl.training.calibration.known import Calibrator, Kept, Person, Shown
from biosig_mtl.training.calibration.robust import least_absolute
from biosig_mtl.training.calibration.shrink import Shrink, fit_shrink
from biosig_mtl.training.calibration.siamese import Lesson, Twins, teach
from biosig_mtl.training.calibration.words import number
from biosig_mtl.types import F64, DataError

NETWORKS = 3
MOST_QUERIES = 40_000  # of all episodes together, so that a large set does not take hours


@dataclass(frozen=True, eq=False)
class Difference:
    """`Shrink` and what networks say it is wrong by; ``share`` (T,) of that is believed, ``scale`` (T,) is its unit.

    ``center`` (T,) is what readings are seen from.
    """

    base: Shrink
    twins: tuple[Twins, ...]
    share: F64
    center: F64
    scale: F64

    def answer(self, shown: Shown, person: Person) -> F64:
        """Return answers (Q, T); see `Calibrator.answer`."""
        laid = lay(shown, [person])
        if shown.values.shape[1] != self.twins[0].features:
            raise DataError(
                f"a calibrator for {self.twins[0].features} features is shown {shown.values.shape[1]}: it is of another run"
            )
        said = np.mean([twin.say(*_inputs(shown, laid, self.center, self.scale)) for twin in self.twins], axis=0)
        return laid.finish(self.base.tell(laid) + self.share * self.scale * said)

    def kept(self) -> Kept:
        """Return slopes, shares and weights."""
        numbers = {"slopes": self.base.slopes, "share": self.share, "center": self.center, "scale": self.scale}
        for i, twin in enumerate(self.twins):
            numbers |= {f"{i}.{name}": x for name, x in twin.numbers().items()}
        return Kept({"networks": len(self.twins)}, numbers)


@dataclass(frozen=True)
class DifferenceMethod:
    """Fits `Difference`: three networks on all training people; the share on two halves of them, each answered by the other."""

    name: str = "difference"
    needs: tuple[str, ...] = ()

    def fit(self, shown: Shown, people: Sequence[Person], rng: np.random.Generator) -> Calibrator:
        """Fit all parts; see `Method.fit`."""
        check_people(people)
        episodes = _fewer(spread(people, rng))
        laid = lay(shown, episodes)
        weight = weights(laid, episodes)
        truth = shown.truth[laid.query]
        center, scale = np.nanmean(truth, axis=0), np.nanstd(truth, axis=0)
        scale = np.where(scale > 0, scale, 1.0)
        known = np.isfinite(truth) & laid.told
        inputs = _inputs(shown, laid, center, scale)
        # Untold targets have no error and no weight.
        base = fit_shrink(shown, laid, weight)
        wrong = np.where(known, (truth - base.tell(laid)) / scale, 0.0)
        lesson = Lesson(*inputs, wrong, weight[:, None] * known)
        seeds = [int(seed) for seed in rng.integers(2**31, size=NETWORKS + 2)]
        share = _share(shown, laid, lesson, seeds[:2])
        return Difference(base, tuple(teach(lesson, seed) for seed in seeds[2:]), share, center, scale)

    def restore(self, kept: Kept) -> Calibrator:
        """Make the calibrator again; see `Method.restore`."""
        many = kept.words.get("networks")
        if not isinstance(many, int) or not 1 <= many <= 100:
            raise DataError("a kept calibrator does not tell how many networks it has: fit it again with calibrate")
        twins = tuple(Twins(*(number(kept, f"{i}.{name}", axes) for name, axes in Twins.AXES.items())) for i in range(many))
        share, center, scale = (number(kept, name, 1) for name in ("share", "center", "scale"))
        return Difference(Shrink(number(kept, "slopes", 2)), twins, share, center, scale)


def _inputs(shown: Shown, laid: Laid, center: F64, scale: F64) -> tuple[F64, F64, F64]:
    """Return features of queries and anchors (M, F), and what is told (M, E)."""
    columns = [
        (laid.near - laid.hold) / scale, (laid.estimate - laid.hold) / scale, (laid.estimate - laid.held) / scale,
        (laid.near_held - laid.held) / scale, (laid.hold - center) / scale, (laid.estimate - center) / scale,
        laid.same, np.log1p(laid.gap_s / 60.0),
    ]  # fmt: skip
    return shown.values[laid.query], laid.values, np.concatenate(columns, axis=1).astype(np.float64)


def _share(shown: Shown, laid: Laid, lesson: Lesson, seeds: Sequence[int]) -> F64:
    """Return the share (T,) of what networks say that made strangers' errors least, between 0 and 1."""
    groups, code = np.unique(shown.subject[laid.query], return_inverse=True)
    half = np.random.default_rng(seeds[0]).permutation(groups.size)[code] % 2
    said = np.zeros_like(lesson.wrong)
    for part in (0, 1):
        if (half == part).any() and (half != part).any():
            one = teach(lesson.of(half != part), seeds[part])
            said[half == part] = one.say(*(x[half == part] for x in (lesson.query, lesson.anchor, lesson.told)))
    found = [
        least_absolute(said[:, [t]], lesson.wrong[:, t], np.maximum(lesson.weight[:, t], 1e-12))[0]
        for t in range(said.shape[1])
    ]
    return np.asarray(np.clip(found, 0.0, 1.0), dtype=np.float64)


def _fewer(episodes: list[Person]) -> list[Person]:
    """Return episodes with every n-th query alone, where there are too many of them."""
    step = -(-sum(person.queries.size for person in episodes) // MOST_QUERIES)
    return [Person(one.name, one.anchors, one.queries[::step]) for one in episodes] if step > 1 else episodes
