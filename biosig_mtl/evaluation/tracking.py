"""Whether a calibrated estimate follows the changes of a person's pressure, which a held value never does."""

from __future__ import annotations

from typing import Any

import numpy as np

from biosig_mtl.evaluation import intervals, metrics
from biosig_mtl.evaluation.held import POOLED, Asked, mean_with_samples
from biosig_mtl.types import F64, I64, Bool

LARGE = 10.0  # mmHg from the anchors: a change that is one


def concordant(asked: Asked, name: str) -> F64:
    """Return for every query whether estimate and reference moved the same way from the anchors: 1, 0, and ½ for no move.

    The half is what a coin would get, so a held value stands at ½ by construction and not by luck.
    """
    moved, said = asked.truth - asked.level, asked.told[name] - asked.level
    return np.where(said == 0, 0.5, (np.sign(moved) == np.sign(said)).astype(float))


def tracked(asked: Asked, name: str, counts: I64, large: float = LARGE) -> dict[str, Any]:
    """Return how well the changes from the anchors are followed.

    Returns
    -------
    dict
        ``concordance`` is the share of the ``n_large`` windows whose reference moved by ``large`` mmHg or more in which the
        estimate moved the same way (the concordance rate of the four-quadrant plot, Critchley 2010, with the exclusion by the
        reference alone); ``ci95`` over subjects, NaN for fewer than two. ``by_direction`` is the same of rises and falls.
        ``within_r`` is the mean over people of the correlation within the person and ``n_within_r`` their number (three windows
        or more, both sides not constant; a held value has none). ``slope`` is by how many mmHg the estimate moves when the
        reference moves by one: least squares through the origin over all windows, 0 for a held value, 1 for a perfect one.

    Deviation from the four-quadrant plot: windows where the estimate moved little are not left out, for a method may not choose
    what it is judged on.
    """
    change = asked.truth - asked.level
    far = np.abs(change) >= large
    value, ends = _share(asked, name, far, counts)
    per = metrics.per_subject(asked.truth, asked.told[name], asked.person.astype(str))
    r = per.figures["r"]
    said = asked.told[name] - asked.level
    square = float((change**2).sum())
    directions = {"rises": far & (change > 0), "falls": far & (change < 0)}
    return {
        "large": large, "n_large": int(far.sum()), "n_people_large": int(np.unique(asked.person[far]).size),
        "concordance": value, "ci95": list(ends),
        "by_direction": {word: {"concordance": _share(asked, name, own, counts)[0], "n": int(own.sum())}
                         for word, own in directions.items()},
        "within_r": float(np.nanmean(r)) if np.isfinite(r).any() else float("nan"), "n_within_r": int(np.isfinite(r).sum()),
        "slope": float((change * said).sum() / square) if square > 0 else float("nan"),
    }  # fmt: skip


def _share(asked: Asked, name: str, rows: Bool, counts: I64) -> tuple[float, tuple[float, float]]:
    part = asked.only(rows)
    value, samples = mean_with_samples(concordant(part, name), part.weight(POOLED), part.subject, counts)
    return value, intervals.samples_ci95(samples, np.unique(part.subject).size)


def sds(asked: Asked) -> float:
    """Return the SD (n − 1) of target − calibration value over the queries; NaN for fewer than two.

    It says how much there was to be followed: 7.5/4.1 mmHg on a set of short stays make a held value look like a device.
    Source: Joung et al. 2023, Sci Rep, "SDS".
    """
    change = asked.truth - asked.level
    return float(np.std(change, ddof=1)) if change.size > 1 else float("nan")
