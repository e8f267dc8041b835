"""Picture of an estimated waveform over its reference, at more than one resolution."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from biosig_mtl.plots import FOUR, MUTED, ONE, TWO, sheet
from biosig_mtl.types import F64

_COLOURS = (TWO, ONE, FOUR)


def waveforms(reference: ArrayLike, estimates: Sequence[ArrayLike], length_s: float, unit: str) -> str:
    """Draw the reference (L,) in grey and estimates (S,) of any resolutions over it, on one axis of ``length_s`` seconds.

    Each is sampled evenly from the start of the window. The coarsest is drawn as dots, so that it can be seen to lie on the
    others. What is NaN is not drawn. Raises `ValueError` where a window has no length.
    """
    if not length_s > 0:
        raise ValueError(f"need length_s > 0, got {length_s}")
    told = sorted((np.asarray(row, np.float64) for row in estimates), key=lambda row: -row.size)
    with sheet("waveforms", 2.6) as (axes, out):
        truth = np.asarray(reference, np.float64)
        axes.plot(_seconds(truth.size, length_s), truth, color=MUTED, lw=1.6, label="reference")
        for number, row in enumerate(told):
            dots = number == len(told) - 1 and number > 0
            colour = _COLOURS[number % len(_COLOURS)]
            how = {"ls": "none", "marker": "o", "ms": 2.2} if dots else {"ls": "-", "lw": 1.1}
            axes.plot(_seconds(row.size, length_s), row, color=colour, label=f"estimate, {row.size} points", **how)
        axes.set(xlabel="seconds", ylabel=unit, xlim=(0, length_s))
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2)
    return out[0]


def _seconds(points: int, length_s: float) -> F64:
    return np.arange(points, dtype=np.float64) * (length_s / max(points, 1))
