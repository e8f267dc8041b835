"""Further numbers of the pulse's shape: what hangs on the points of its derivatives, and how its limbs bend.

They stand beside `pulse_shape` as a family of their own, so that models which were trained on that one see what they saw.
Not made at all: histograms of the derivatives, which restate slopes and derivative ratios in many loose columns.
"""

from __future__ import annotations

import numpy as np

from biosig_mtl.features.inputs import Inputs
from biosig_mtl.features.pulse import areas, how_many
from biosig_mtl.features.pulse_beats import FALL, RISE, PulseBeats, at_points, each_part
from biosig_mtl.features.summary import collect, medians, ranges
from biosig_mtl.types import F32, F64

COUNTED = ("v", "w", "a", "b", "c", "d", "e", "f", "p1", "p2")


def pulse_points(inputs: Inputs) -> dict[str, F32]:
    """Return medians over beats, their ``.iqr``, and ``points.n.X``: in how many beats the point X exists; each (window,).

    A point that the detector does not tell (``v w f p1 p2`` are optional) leaves its numbers NaN and its count 0.

    - ``X_s``: time from the foot to the waves ``v w`` of the first and ``a … f`` of the second derivative and to the early and
      late systolic wave ``p1 p2``; ``p1_p2_s`` between the two.
    - ``X_height``: height above the line from onset to end, as a share of the peak's.
    - ``v_u``, ``w_u`` (first derivative there over that at the steepest point), ``f_a`` (second derivative).
    - ``augmentation_index`` = (p2 − p1) / peak height, ``p2_p1`` = p2 / p1 (heights; Takazawa et al. 1998).
    - ``ipad``: inflection point area ratio (area after the notch over that before) + d/a (Ahn, J. Physiol. Anthropol. 36
      (2017) 17).
    - ``rate_per_min``: 60 over the beat's own period (instantaneous pulse rate).
    - ``up_deviation``, ``down_deviation``: mean of the rising (falling) limb less its chord, over the height;
      ``…_above`` and ``…_below``: where it is farthest from it on either side (the up- and down-slope deviation curves, usdc
      and dsdc; one signed extreme would jump where a rise is S-shaped).
    """
    beats = inputs.pulse_beats
    with np.errstate(divide="ignore", invalid="ignore"):
        values = {**_times(beats), **_heights(inputs, beats), **_derivatives(inputs, beats), **each_part(beats, _limbs)}
    names, found = tuple(values), collect(values, beats.window, inputs.count)
    counts = {f"points.n.{name}": how_many(beats.points[name], beats.window, inputs.count) for name in COUNTED}
    return medians(names, found, "points.") | ranges(names, found, "points.", names) | counts


def _times(b: PulseBeats) -> dict[str, F32 | F64]:
    times: dict[str, F32 | F64] = {f"{name}_s": (b.points[name] - b.foot) / b.fs for name in COUNTED}
    return times | {"p1_p2_s": (b.points["p2"] - b.points["p1"]) / b.fs, "rate_per_min": 60 * b.fs / b.period}


def _heights(inputs: Inputs, b: PulseBeats) -> dict[str, F32 | F64]:
    x = at_points(inputs.pulse, b, ("v", "w", "f", "p1", "p2"))
    h = {name: (value - b.line(b.points[name])) / b.height for name, value in x.items()}
    heights: dict[str, F32 | F64] = {f"{name}_height": value for name, value in h.items()}
    return heights | {"augmentation_index": h["p2"] - h["p1"], "p2_p1": h["p2"] / h["p1"]}


def _derivatives(inputs: Inputs, b: PulseBeats) -> dict[str, F32 | F64]:
    area = inputs.once("pulse areas", areas)["inflection_area"]
    u, v, w = at_points(inputs.vpg, b, tuple("uvw")).values()
    a, d, f = at_points(inputs.apg, b, tuple("adf")).values()
    # Where these are not positive the wave was not found.
    u, a = np.where(u > 0, u, np.nan), np.where(a > 0, a, np.nan)
    return {"v_u": v / u, "w_u": w / u, "f_a": f / a, "ipad": area + d / a}


def _limbs(b: PulseBeats) -> dict[str, F32 | F64]:
    out: dict[str, F32 | F64] = {}
    rising, falling = np.arange(RISE + 1) / RISE, 1 - np.arange(FALL + 1) / FALL
    for name, limb, chord in (("up", b.rise, rising), ("down", b.fall, falling)):
        away = limb - chord.astype(np.float32)
        out[f"{name}_deviation"] = away.mean(axis=1)
        out[f"{name}_above"] = away.max(axis=1, initial=0)
        out[f"{name}_below"] = away.min(axis=1, initial=0)
    return out
